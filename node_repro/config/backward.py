"""The adjoint's backward solve: the solver and the controller that gradient.* name.

`gradient.solver=` chooses another method, with the controller that its yaml in conf/solver chooses.
A controller that was chosen for the forward solve instead of its solver's own is kept where it
fits. `gradient.controller=`, `gradient.step_size=` and `gradient.max_steps=` change one thing each,
with and without another method.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from node_repro.config import BackwardConfig, Component, ConfigError, ODEConfig, SolverConfig
from node_repro.config.choices import Choices, load, unknown_choice
from node_repro.config.options import OPTIONS

KEYS = ("solver", "controller", "step_size", "max_steps")
"""Keys of conf/gradient that say how to solve backwards; what is left is for the constructor."""


def backward_of(ode: ODEConfig, choices: Choices) -> BackwardConfig | None:
    """The backward solve where it is told to differ from the forward one, else None.

    ConfigError for a choice that does not exist, or a step size where steps have many.
    """
    asked = {key: ode.gradient.options.get(key) for key in KEYS}
    if all(value is None for value in asked.values()):
        return None
    solver = ode.solver if asked["solver"] is None else _solver(str(asked["solver"]), choices)
    controller = _controller(asked["controller"], solver, ode, choices)
    if asked["step_size"] is not None:
        if "step_size" not in controller.options:
            raise ConfigError(
                f"gradient.step_size={asked['step_size']:g} is for steps of one size, and the "
                f"backward solve by {solver.name} has the controller {controller.name}: remove "
                "gradient.step_size=, or add gradient.controller=constant"
            )
        controller = replace(controller, options={"step_size": asked["step_size"]})
    if asked["max_steps"] is not None:
        solver = replace(solver, options={**solver.options, "max_steps": asked["max_steps"]})
    return BackwardConfig(solver, controller, _is_adaptive(controller.name, choices))


def differences(ode: ODEConfig) -> dict[str, Any]:
    """gradient.* keys -> what the backward solve does otherwise than the forward one. Two ways to
    ask for the same solve have the same differences.
    """
    if ode.backward is None:
        return {}
    found: dict[str, Any] = {}
    controller, size = ode.backward.controller, ode.backward.controller.options.get("step_size")
    if controller.name != ode.controller.name:
        found["gradient.controller"] = controller.name
    if size is not None and size != ode.controller.options.get("step_size"):
        found["gradient.step_size"] = size
    if ode.gradient.options.get("max_steps") is not None:
        found["gradient.max_steps"] = ode.gradient.options["max_steps"]
    return found


def solver_config(name: str, inside: Mapping[str, Any]) -> SolverConfig:
    """A solver from the content of its yaml."""
    options = {k: v for k, v in inside.items() if k != "method" and not k.startswith("_")}
    return SolverConfig(
        name=name,
        method=inside.get("method"),
        target=inside.get("_target_"),
        adaptive=inside["_adaptive_"],
        options=options,
    )


def fits(controller: Component, solver: SolverConfig, *, adaptive: bool) -> bool:
    """Whether a controller, adaptive or not, can decide the steps of a solver."""
    own = solver.target is not None
    return own == (controller.target is None) and (solver.adaptive or not adaptive)


def _solver(name: str, choices: Choices) -> SolverConfig:
    if name not in choices.names("solver"):
        raise unknown_choice("gradient.solver", name, choices.names("solver"))
    content = _checked("solver", name, choices)
    return solver_config(name, content)


def _controller(asked: object, solver: SolverConfig, ode: ODEConfig, choices: Choices) -> Component:
    """The one asked for; else the forward solve's, if it was chosen and fits; else the solver's."""
    if asked is None:
        chosen = ode.controller.name != choices.brings("solver", ode.solver.name, "controller")
        fitting = fits(ode.controller, solver, adaptive=ode.error_controlled)
        keep = solver is ode.solver or (chosen and fitting)
        own = None if keep else choices.brings("solver", solver.name, "controller")
        name = own or ode.controller.name
    else:
        name = str(asked)
        if name not in choices.names("controller"):
            raise unknown_choice("gradient.controller", name, choices.names("controller"))
    if name == ode.controller.name:
        return ode.controller
    content = _checked("controller", name, choices)
    options = {key: value for key, value in content.items() if not key.startswith("_")}
    return Component(name, content["_target_"], options)


def _is_adaptive(controller: str, choices: Choices) -> bool:
    return bool(load(choices.path("controller", controller))["_adaptive_"])


def _checked(group: str, name: str, choices: Choices) -> dict[str, Any]:
    """The content of a choice's yaml, each value in its option's type."""
    content = load(choices.path(group, name))
    return {
        key: OPTIONS[f"{group}.{key}"].checked(value)
        for key, value in content.items()
        if key != "defaults"
    }
