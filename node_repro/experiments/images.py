"""Table 1: classification of MNIST."""

from node_repro.experiments.description import Experiment

_TABLE1 = "Table 1"

_ODENET_PROBES = (
    "backward_cost",
    "difficulty",
    "epochs",
    "gradient_error",
    "memory",
    "minibatch_cost",
    "precision",
    "reconstruction",
    "test_tolerance",
    "tolerance",
)


def _mnist(
    name: str,
    noun: str,
    detail: str,
    chosen: dict[str, object],
    probes: tuple[str, ...] = (),
    *,
    keep_weights: bool = False,
) -> tuple[Experiment, Experiment]:
    """A network of table 1, and the same one with the convolutional stem.

    keep_weights: whether the first keeps the weights of every epoch, which its probes measure.
    """
    chosen = {"task": "mnist", **chosen}
    kept = {"trainer.keep_weights": True} if keep_weights else {}
    return (
        Experiment(
            f"table1_{name}",
            f"{noun}{detail}",
            _TABLE1,
            chosen | kept,
            (*probes, "wrong_digits"),
        ),
        Experiment(
            f"table1_{name}_conv",
            f"{noun}, with the stem of strided convolutions (not in the paper)",
            _TABLE1,
            {**chosen, "model.stem": "conv"},
            ("wrong_digits",),
        ),
    )


EXPERIMENTS = (
    Experiment(
        "table1_mlp",
        "1-layer MLP, 784-300-10, on random crops",
        _TABLE1,
        {"task": "mnist", "model": "mlp"},
        ("wrong_digits",),
    ),
    Experiment(
        "table1_mlp_plain",
        "1-layer MLP without random crops (not in the paper)",
        _TABLE1,
        {"task": "mnist", "model": "mlp", "task.crop_padding": 0},
        ("wrong_digits",),
    ),
    Experiment(
        "table1_mlp_deskewed",
        "1-layer MLP on deskewed digits without random crops (LeCun et al. 1998)",
        _TABLE1,
        {"task": "mnist", "model": "mlp", "data": "mnist_deskewed", "task.crop_padding": 0},
        ("wrong_digits",),
    ),
    *_mnist(
        "odenet",
        "ODE-Net",
        ", one ODE block, gradients by the adjoint method",
        {"model": "odenet", "gradient": "adjoint"},
        _ODENET_PROBES,
        keep_weights=True,
    ),
    Experiment(
        "table1_odenet_softplus",
        "ODE-Net whose field is smooth, with softplus in place of relu (not in the paper)",
        _TABLE1,
        {
            "task": "mnist",
            "model": "odenet",
            "gradient": "adjoint",
            "model.activation": "softplus",
        },
        ("gradient_error", "wrong_digits"),
    ),
    *_mnist("resnet", "ResNet of six blocks", "", {"model": "resnet", "model.blocks": 6}),
    *_mnist(
        "resnet1",
        "ResNet of one block",
        " (not in the paper)",
        {"model": "resnet", "model.blocks": 1},
    ),
    *_mnist(
        "rknet",
        "RK-Net",
        ", the same network as ODE-Net, gradients through the solver's steps",
        {"model": "odenet", "gradient": "direct"},
        ("test_tolerance",),
    ),
    *_mnist(
        "stem_only",
        "no block between stem and classifier",
        " (not in the paper)",
        {"model": "stem_only"},
    ),
    Experiment(
        "table1_revnet",
        "RevNet of twelve reversible blocks (Gomez et al. 2017; not in the paper)",
        _TABLE1,
        {"task": "mnist", "model": "revnet"},
        ("depth_memory", "wrong_digits"),
    ),
)
