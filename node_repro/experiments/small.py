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
    Experiment(
        "demo_field_fit",
        "the smallest complete run: the adjoint method learns a known field",
        None,
        {"task": "field_fit", "gradient": "adjoint"},
        probes=("gradient_error", "memory", "sensitivity_cost"),
    ),
)

EXPERIMENTS = (*_FIGURE1_EXPERIMENTS, *_TOY_EXPERIMENTS)
