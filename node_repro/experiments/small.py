"""Figure 1, small problems that are not in the paper (docs/toys.md), and the smallest run."""

from node_repro.experiments.description import OWN_DATA, Experiment

_TOYS = "Toys"

_FIGURE1_EXPERIMENTS = (
    Experiment(
        "fig1_resnet",
        "left: five residual layers, each one step",
        "Figure 1",
        {
            "task": "regression",
            "data": "plateaus",
            "model": "residual_chain",
            "model.dimensions": None,
            "model.blocks": 5,
        },
    ),
    Experiment(
        "fig1_odenet",
        "right: an ODE that moves the state continuously, over the depth of five layers",
        "Figure 1",
        {
            "task": "regression",
            "data": "plateaus",
            "model": "encoded_ode",
            "gradient": "adjoint",
            "model.dimensions": None,
            "model.end": 5.0,
        },
        probes=("solvers",),
    ),
)


def _toy(name: str, purpose: str, overrides: dict[str, object]) -> Experiment:
    former = (f"seed2_{name}",)
    return Experiment(
        f"toys_{name}", purpose, _TOYS, {**overrides, **OWN_DATA}, former_names=former
    )


def _encoded(task: str, data: str, **dimensions: int) -> dict[str, object]:
    chosen = {"task": task, "data": data, "model": "encoded_ode", "gradient": "adjoint"}
    return {**chosen, **{f"model.{key}": value for key, value in dimensions.items()}}


_SPANS = {"half": 0.5, "2": 2.0, "4": 4.0}

_TRAINED = {
    "t0": ("t0 trained from 0 and t1 = 1", "t0", 1.0),
    "t1": ("t1 trained from 1 and t0 = 0", "t1", 1.0),
    "times": ("t0 trained from 0 and t1 from 1", "both", 1.0),
    "times_half": ("t0 trained from 0 and t1 from 0.5", "both", 0.5),
    "times_4": ("t0 trained from 0 and t1 from 4", "both", 4.0),
}

_TOY_EXPERIMENTS = (
    _toy(
        "regression",
        "encoder, ODE and decoder fit a noisy function that is not monotonic",
        _encoded("regression", "wave"),
    ),
    _toy(
        "classification",
        "encoder, ODE and decoder separate two spiral arms",
        _encoded("classification", "labelled_spirals", dimensions=3),
    ),
    _toy(
        "rings",
        "two rings in the plane, which no ODE of the plane separates (Dupont et al. 2019)",
        _encoded("classification", "labelled_circles", dimensions=2),
    ),
    _toy(
        "rings_lifted",
        "two rings encoded in three dimensions, where an ODE separates them",
        _encoded("classification", "labelled_circles", dimensions=3),
    ),
    _toy(
        "linear",
        "dy/dx = a from a known start: one parameter instead of the two of y = a x + b",
        {
            "task": "line",
            "data": "line",
            "model": "constant_slope",
            "gradient": "forward",
            "optimizer.lr": 1e-1,
        },
    ),
    *(
        Experiment(
            f"toys_span_{name}",
            f"the regression over times from 0 to {end:g} instead of 1",
            _TOYS,
            {**_encoded("regression", "wave"), "model.end": end, **OWN_DATA},
        )
        for name, end in _SPANS.items()
    ),
    *(
        Experiment(
            f"toys_trained_{name}",
            f"the regression with {words}",
            _TOYS,
            {
                **_encoded("regression", "wave"),
                "model": "trained_span_ode",
                "model.trained": trained,
                "model.end": end,
                **OWN_DATA,
            },
        )
        for name, (words, trained, end) in _TRAINED.items()
    ),
    Experiment(
        "demo_field_fit",
        "the smallest complete run: the adjoint method learns a known field",
        None,
        {"task": "field_fit", "gradient": "adjoint"},
        probes=(
            "adjoint_path",
            "closed_forms",
            "gradient_error",
            "memory",
            "sensitivity_cost",
        ),
    ),
)

EXPERIMENTS = (*_FIGURE1_EXPERIMENTS, *_TOY_EXPERIMENTS)
