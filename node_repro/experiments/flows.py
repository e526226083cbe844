"""Figures 4 and 5: continuous flows compared with planar flows."""

from node_repro.experiments.description import Experiment

_FIGURE4 = "Figure 4"
_FIGURE5 = "Figure 5"

_LONGER = {"trainer.iterations": "${budget.${profile}.discrete_iterations}"}
"""Planar flows train for more iterations than continuous flows, as in the paper."""

_RECIPE = {
    "trainer.iterations": "${budget.${profile}.recipe_iterations}",
    "trainer.batch_size": 100,
    "optimizer": "rmsprop",
    "optimizer.lr": 1e-5,
    "schedule": "constant",
    "task.annealing": 10000,
    "model.start": "small",
}
"""The planar flow's training by Rezende and Mohamed (2015)."""

_WIDTHS = (2, 8, 32)


_TARGETS = {"u1": "", "u2": "", "u3": "", "u4": " (target not in the paper)"}
_FLOW = {"task": "density_match", "model": "cnf"}
_PLANAR = {"task": "density_match", "model": "planar_flow"}

_FIGURE4_EXPERIMENTS = (
    *(
        Experiment(
            f"fig4_{target}_cnf_{width}",
            f"target {target.upper()}, continuous flow of {width} units{note}",
            _FIGURE4,
            {**_FLOW, "data": target, "model.width": width},
            probes=("width_cost",) if (target, width) == ("u1", 32) else (),
        )
        for target, note in _TARGETS.items()
        for width in _WIDTHS
    ),
    *(
        Experiment(
            f"fig4_{target}_nf_{depth}",
            f"target {target.upper()}, planar flow of {depth} maps, trained for longer{note}",
            _FIGURE4,
            {**_PLANAR, "data": target, "model.depth": depth, **_LONGER},
        )
        for target, note in _TARGETS.items()
        for depth in _WIDTHS
    ),
    *(
        Experiment(
            f"fig4_u1_nf_fair_{depth}",
            f"target U1, planar flow of {depth} maps, iterations of the continuous flow "
            "(not in the paper)",
            _FIGURE4,
            {**_PLANAR, "data": "u1", "model.depth": depth},
        )
        for depth in _WIDTHS
    ),
    *(
        Experiment(
            f"fig4_{target}_nf_rmsprop_{depth}",
            f"target {target.upper()}, planar flow of {depth} maps by the recipe of Rezende and "
            "Mohamed, which the paper used",
            _FIGURE4,
            {**_PLANAR, **_RECIPE, "data": target, "model.depth": depth},
        )
        for target, depths in (("u1", _WIDTHS), ("u2", (32,)), ("u3", (32,)))
        for depth in depths
    ),
    Experiment(
        "fig4_u1_cnf_short_32",
        "target U1, continuous flow from t = 0 to 1 instead of 10 (not in the paper)",
        _FIGURE4,
        {**_FLOW, "data": "u1", "model.width": 32, "model.end": 1.0},
    ),
    Experiment(
        "fig4_u1_cnf_constant_32",
        "target U1, continuous flow without time, as many parameters as the planar flow "
        "(not in the paper)",
        _FIGURE4,
        {**_FLOW, "data": "u1", "model.width": 32, "model.hyper_hidden": None},
    ),
)

_POINTS = {"task": "cnf", "model": "cnf"}

_FIGURE5_EXPERIMENTS = (
    *(
        Experiment(
            f"fig5_{name}_cnf",
            f"two {name}, continuous flow of 64 units",
            _FIGURE5,
            {**_POINTS, "data": f"two_{name}"},
            probes=("inversion",),
        )
        for name in ("circles", "moons")
    ),
    *(
        Experiment(
            f"fig5_{name}_nf",
            f"two {name}, planar flow of 64 maps from the data to the base",
            _FIGURE5,
            {
                "task": "cnf",
                "data": f"two_{name}",
                "model": "planar_flow",
                "model.depth": 64,
                "model.direction": "to_base",
                **_LONGER,
            },
        )
        for name in ("circles", "moons")
    ),
    *(
        Experiment(
            f"fig5_{data}",
            f"{data.replace('_', ' ')}, continuous flow of 64 units (data not in the paper)",
            _FIGURE5,
            {**_POINTS, "data": data},
            probes=probes,
        )
        for data, probes in (
            ("checkerboard", ()),
            ("eight_gaussians", ("inversion",)),
            ("pinwheel", ("inversion",)),
            ("two_spirals", ()),
        )
    ),
    Experiment(
        "fig5_circles_hutchinson",
        "two circles, a perceptron as dynamics and its trace estimated (not in the paper)",
        _FIGURE5,
        {
            "task": "cnf",
            "data": "two_circles",
            "model": "mlp_cnf",
            "model.trace": "hutchinson",
        },
    ),
)

EXPERIMENTS = (*_FIGURE4_EXPERIMENTS, *_FIGURE5_EXPERIMENTS)
