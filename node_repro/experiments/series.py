"""Figures 7 and 9 and table 2: latent variable models of time series."""

from node_repro.experiments.description import OWN_DATA, Experiment

_FIGURE7 = "Figure 7"
_TABLE2 = "Table 2"


EXPERIMENTS = (
    Experiment(
        "fig7_poisson",
        "the rate of a Poisson process as a function of a latent state",
        _FIGURE7,
        {"task": "poisson", **OWN_DATA},
    ),
    Experiment(
        "fig7_poisson_marked",
        "the joint model, events and the values seen at them",
        _FIGURE7,
        {"task": "poisson", "data": "poisson_marked", **OWN_DATA},
    ),
    *(
        Experiment(
            f"table2_{model}_{observed}",
            f"{noun}, {observed} of 100 points seen",
            _TABLE2,
            {"task": "latent_ode", "model": model, "data.observed": observed, **OWN_DATA},
        )
        for model, noun in (
            ("latent_ode", "latent ODE"),
            ("rnn", "RNN"),
            ("rnn_dt", "RNN with time gaps"),
            ("gru_dt", "GRU with time gaps (not in the paper)"),
        )
        for observed in (30, 50, 100)
    ),
    Experiment(
        "latent_3d",
        "latent ODE with a 3-D latent state, as in the authors' talk",
        "Figure 9",
        {
            "task": "latent_ode",
            "model": "latent_ode",
            "model.latent": 3,
            "data.observed": 100,
            **OWN_DATA,
        },
    ),
)
