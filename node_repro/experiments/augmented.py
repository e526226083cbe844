"""Augmented neural ODEs: zeros appended to the state before the ODE (Dupont et al. 2019)."""

from node_repro.experiments.description import OWN_DATA, Experiment

_AUGMENTED = "Augmented dimensions"

EXPERIMENTS = (
    Experiment(
        "toys_rings_augmented",
        "two rings encoded in the plane, and a third dimension that starts at zero",
        _AUGMENTED,
        {
            "task": "classification",
            "data": "labelled_circles",
            "model": "encoded_ode",
            "gradient": "adjoint",
            "model.dimensions": 2,
            "model.augment": 1,
            **OWN_DATA,
        },
    ),
    Experiment(
        "table1_odenet_augmented",
        "ODE-Net with 32 more channels that start at zero",
        _AUGMENTED,
        {"task": "mnist", "model": "odenet", "gradient": "adjoint", "model.augment": 32},
    ),
)
