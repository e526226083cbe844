"""Figures 7 and 9 and table 2: latent variable models of time series."""

from node_repro.experiments.description import OWN_DATA, Experiment

_FIGURE7 = "Figure 7"
_TABLE2 = "Table 2"
_NOT_IN_PAPER = "(not in the paper)"

_ANNEALED = {"model": "latent_ode", "task.noise_annealing": "${budget.${profile}.annealing}"}
_ODE_RNN = {
    "model": "ode_rnn",
    "model.rollout": 0.5,
    "solver": "rk4",
    "controller.step_size": 1.0,
}
_OTHER_SPIRALS = {
    "quiet": ("noise 0.05", {"data.noise_sd": 0.05}),
    "noisy": ("noise 0.2", {"data.noise_sd": 0.2}),
    "loose": ("half as many turns", {"data.shape": "node_repro.data.spirals.loose"}),
    "tight": ("twice as many turns", {"data.shape": "node_repro.data.spirals.tight"}),
    "example": (
        "data of torchdiffeq's example",
        {"data": "spirals_torchdiffeq", "data.observed": 100},
    ),
}
_INFORMATIVE = {"task": "poisson", "data": "poisson_noisy_marks", "task.mark_sd": "${data.mark_sd}"}


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
    Experiment(
        "fig7_times",
        "the joint model, where values are so noisy that times matter",
        _FIGURE7,
        {**_INFORMATIVE, **OWN_DATA},
    ),
    Experiment(
        "fig7_times_ignored",
        "the same events without the Poisson term",
        _FIGURE7,
        {**_INFORMATIVE, "task.poisson_term": False, **OWN_DATA},
    ),
    *(
        Experiment(
            f"table2_{name}_{observed}",
            f"{noun}, {observed} of 100 points seen",
            _TABLE2,
            {"task": "latent_ode", **model, "data.observed": observed, **OWN_DATA},
        )
        for name, noun, model in (
            ("latent_ode", "latent ODE", {"model": "latent_ode"}),
            ("latent_ode_annealed", f"latent ODE with annealed noise {_NOT_IN_PAPER}", _ANNEALED),
            ("rnn", "RNN", {"model": "rnn"}),
            ("rnn_dt", "RNN with time gaps", {"model": "rnn_dt"}),
            (
                "rnn_dt_rollout",
                f"RNN with time gaps, trained on its own predictions {_NOT_IN_PAPER}",
                {"model": "rnn_dt", "model.rollout": 0.5},
            ),
            ("gru_dt", f"GRU with time gaps {_NOT_IN_PAPER}", {"model": "gru_dt"}),
            ("ode_rnn", f"ODE-RNN, trained on its own predictions {_NOT_IN_PAPER}", _ODE_RNN),
        )
        for observed in (30, 50, 100)
    ),
    *(
        Experiment(
            f"spirals_{spirals}_{name}",
            f"{noun}, {change}",
            _TABLE2,
            {"task": "latent_ode", **model, **({"data.observed": 30} | data), **OWN_DATA},
        )
        for spirals, (change, data) in _OTHER_SPIRALS.items()
        for name, noun, model in (
            ("latent_ode", "latent ODE with annealed noise", _ANNEALED),
            ("rnn", "RNN", {"model": "rnn"}),
            ("gru_dt", "GRU with time gaps", {"model": "gru_dt"}),
        )
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
