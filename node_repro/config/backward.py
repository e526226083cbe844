"""Backward solve of an adjoint method with other settings than the forward solve.

`gradient.solver=` chooses another solver with its default controller. If the forward solve has a
controller other than its solver's default, this one is used instead, provided that it fits.
`gradient.controller=`, `gradient.step_size=` and `gradient.max_steps=` each change one setting,
with or without another solver.
"""

from dataclasses import replace
from typing import Any

from node_repro.config import BackwardConfig, Component, ConfigError, ODEConfig, SolverConfig
from node_repro.config.choices import Choices, unknown_choice
from node_repro.config.components import controls_error, load, load_solver

KEYS = ("solver", "controller", "step_size", "max_steps")
"""Options of conf/gradient that define the backward solve; others are passed to the constructor."""


def backward_config(ode: ODEConfig, choices: Choices) -> BackwardConfig | None:
    """The backward solve; None if it has the settings of the forward solve.

    Raises:
        ConfigError: A choice does not exist, or a step size is given for adaptive steps.
    """
    given = {key: ode.gradient.options.get(key) for key in KEYS}
    if all(value is None for value in given.values()):
        return None
    solver = ode.solver
    if given["solver"] is not None:
        solver = load_solver(choices, _check_name("solver", given["solver"], choices))
    controller = _controller(given["controller"], solver, ode, choices)
    if given["step_size"] is not None:
        if "step_size" not in controller.options:
            raise ConfigError(
                f"gradient.step_size={given['step_size']:g} needs constant steps, and the backward "
                f"solve by {solver.name} has the controller {controller.name}: remove "
                "gradient.step_size=, or add gradient.controller=constant"
            )
        controller = replace(controller, options={"step_size": given["step_size"]})
    if given["max_steps"] is not None:
        solver = replace(solver, options={**solver.options, "max_steps": given["max_steps"]})
    return BackwardConfig(solver, controller, controls_error(controller))


def differences(ode: ODEConfig) -> dict[str, Any]:
    """Settings of the backward solve that differ from the forward solve, by gradient.* key.

    Different options that lead to the same solve have the same differences.
    """
    if ode.backward is None:
        return {}
    differing: dict[str, Any] = {}
    controller, size = ode.backward.controller, ode.backward.controller.options.get("step_size")
    if controller.name != ode.controller.name:
        differing["gradient.controller"] = controller.name
    if size is not None and size != ode.controller.options.get("step_size"):
        differing["gradient.step_size"] = size
    if ode.gradient.options.get("max_steps") is not None:
        differing["gradient.max_steps"] = ode.gradient.options["max_steps"]
    return differing


def fits(controller: Component, solver: SolverConfig, *, error_controlled: bool) -> bool:
    """Whether a controller can be used with a solver."""
    own = solver.target is not None
    return own == (controller.target is None) and (solver.adaptive or not error_controlled)


def _check_name(group: str, name: object, choices: Choices) -> str:
    if name not in choices.names(group):
        raise unknown_choice(f"gradient.{group}", name, choices.names(group))
    return str(name)


def _controller(given: object, solver: SolverConfig, ode: ODEConfig, choices: Choices) -> Component:
    """The requested controller, else the forward solve's if chosen and fitting, or the default."""
    if given is None:
        chosen = ode.controller.name != choices.brings("solver", ode.solver.name, "controller")
        fitting = fits(ode.controller, solver, error_controlled=ode.error_controlled)
        keep = solver is ode.solver or (chosen and fitting)
        own = None if keep else choices.brings("solver", solver.name, "controller")
        name = own or ode.controller.name
    else:
        name = _check_name("controller", given, choices)
    return ode.controller if name == ode.controller.name else load(choices, "controller", name)
