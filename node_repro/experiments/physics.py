"""Mechanical systems with and without physical structure, and a bouncing ball (docs/physics.md)."""

from node_repro.experiments.description import OWN_DATA, Experiment

_FIELDS = {
    "plain": ("plain_field", "a plain neural ODE"),
    "hamiltonian": ("hamiltonian", "a Hamiltonian network"),
    "lagrangian": ("lagrangian", "a Lagrangian network"),
}
_SYSTEMS = {"pendulum": "a pendulum", "kepler": "an orbit around a fixed sun"}
_UNITS = {
    ("pendulum", "plain"): 80,
    ("pendulum", "hamiltonian"): 100,
    ("pendulum", "lagrangian"): 100,
    ("kepler", "plain"): 80,
    ("kepler", "hamiltonian"): 120,
}
"""Hidden units, so that fields of one system have about equally many parameters (400 or 720)."""

_CAREFUL: dict[str, object] = {
    "gradient": "checkpointed",
    "solver.max_steps": 2000,
    "schedule.warmup": 0.1,
    "optimizer.lr": 3e-3,
}
"""For Lagrangian networks. Where the mass matrix is nearly singular, accelerations are so large
that a solve takes thousands of steps, whose activations fill the memory with the gradient "direct".
Slow first iterations avoid it, and a solve that meets it nevertheless fails."""


def _field(system: str, field: str) -> Experiment:
    model, words = _FIELDS[field]
    overrides: dict[str, object] = {
        "task": "physics",
        "data": system,
        "model": model,
        "gradient": "direct",
        "model.hidden": _UNITS[system, field],
    }
    if field == "lagrangian":
        overrides |= _CAREFUL
    purpose = f"{_SYSTEMS[system]} by {words}"
    return Experiment(f"physics_{system}_{field}", purpose, "Physics", overrides | OWN_DATA)


def _ball(name: str, purpose: str, task: str, model: str, **more: object) -> Experiment:
    overrides = {"task": task, "model": model, "gradient": "direct", **more, **OWN_DATA}
    return Experiment(f"physics_ball_{name}", purpose, "Physics", overrides)


EXPERIMENTS = (
    *(_field(system, field) for system, field in _UNITS),
    _ball(
        "times",
        "gravity, floor and restitution from the times of bounces, by gradients through events",
        "ball_times",
        "bouncing_ball",
    ),
    _ball(
        "heights",
        "gravity, floor and restitution from noisy heights, by gradients through events",
        "ball_heights",
        "bouncing_ball",
    ),
    _ball(
        "plain",
        "the same heights by a plain neural ODE, which has no events",
        "ball_heights",
        "plain_field",
        **{
            "trainer.iterations": "${budget.${profile}.field_iterations}",
            "trainer.batch_size": 12,
            "trainer.clip": 0.1,
            "optimizer.lr": 3e-2,
        },
    ),
)
