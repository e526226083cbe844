"""Choices as validated components: the options of a yaml in conf/, checked against its class.

Code that chooses by name, such as a probe, uses `load` and `load_solver`. Properties of a class are
derived from the parameters of its constructor: a controller controls the error if it has `rtol`, a
model solves an ODE if it has `solver`.
"""

from collections.abc import Mapping
from typing import Any

from node_repro.config import Component, ConfigError, SolverConfig, Value, source
from node_repro.config.choices import Choices
from node_repro.config.option import Option
from node_repro.config.options import COMPONENTS, component_options


def section(choices: Choices, group: str, name: str) -> dict[str, Any]:
    """The entries of one choice's yaml; for a task, those of its section `task`."""
    content = choices.content(group, name)
    if group == "task":
        if not isinstance(content.get("task"), Mapping):
            raise ConfigError(f"{choices.path(group, name)} has no section 'task'")
        content = content["task"]
    return {key: value for key, value in content.items() if key != "defaults"}


def options_of(choices: Choices, group: str, name: str) -> dict[str, Option]:
    """Dotted key -> option of one choice. Raises ConfigError if yaml and class disagree."""
    if group not in (*COMPONENTS, "solver", "probe"):
        return {}
    try:
        return component_options(group, section(choices, group, name))
    except ConfigError as error:
        raise ConfigError(f"{choices.path(group, name)}: {error}") from error


def load(choices: Choices, group: str, name: str, **given: Value) -> Component:
    """Load one choice, with some of its options replaced.

    Args:
        choices: The folders to look in.
        group: A group such as "controller".
        name: A choice of the group such as "integral".
        given: Values for options that the choice has. Options whose value in the yaml is an
            interpolation are left out if they are not given.

    Raises:
        ConfigError: There is no such choice or option, or a value is not allowed.
    """
    content = section(choices, group, name)
    return Component(name, content.get("_target_"), _values(choices, group, name, given))


def load_solver(choices: Choices, name: str, **given: Value) -> SolverConfig:
    """Load a solver, with some of its options replaced, like `load`."""
    content = section(choices, "solver", name)
    values = _values(choices, "solver", name, given)
    return solver_config(choices, name, content.get("_target_"), values)


def solver_config(
    choices: Choices, name: str, target: str | None, values: Mapping[str, Value]
) -> SolverConfig:
    """Make a solver from its class and options.

    Its method is assumed to estimate the error if its yaml chooses an error-controlled controller.
    """
    method = values.get("method")
    controller = choices.brings("solver", name, "controller")
    return SolverConfig(
        name=name,
        method=None if method is None else str(method),
        target=target,
        adaptive=controller is None or controls_error(load(choices, "controller", controller)),
        options={key: value for key, value in values.items() if key != "method"},
    )


def controls_error(controller: Component) -> bool:
    """Whether a controller uses tolerances."""
    return controller.target is None or takes(controller.target, "rtol")


def takes(target: str, parameter: str) -> bool:
    """Whether the class at a dotted path has a parameter of this name."""
    return parameter in source.parameters(target)


def is_reversible(method: str) -> bool:
    """Whether the method at a dotted path can undo a step."""
    made_by = source.variable_class(method)
    return made_by is not None and source.method_types(made_by, "unstep") is not None


def kinds_wanted(group: str, task: str) -> set[str]:
    """The dotted paths of the data or model classes that a task accepts."""
    if group == "data":
        return source.types_of(source.parameters(task).get("data"))
    return source.types_of((source.method_types(task, "loss") or [None])[0])


def kinds_given(group: str, target: str) -> list[str]:
    """The dotted paths of the class that data load, or of a model's class, and of its bases."""
    paths = {target}
    if group == "data":
        paths = source.types_of((source.method_types(target, "load") or [None])[-1])
    return [one.path for path in paths for one in source.ancestors(source.require(path))]


def of_kind(choices: Choices, group: str, kind: str) -> list[str]:
    """The choices of data that load a class of this name, or of models that implement it."""

    def kinds(name: str) -> set[str]:
        target = str(section(choices, group, name)["_target_"])
        return {path.rpartition(".")[2] for path in kinds_given(group, target)}

    return [name for name in choices.names(group) if kind in kinds(name)]


def fits_task(group: str, target: str, task: str) -> bool:
    """Whether a task accepts the data or model; True if their source declares no class."""
    wanted, given = kinds_wanted(group, task), kinds_given(group, target)
    return not wanted or not given or not wanted.isdisjoint(given)


def _values(
    choices: Choices, group: str, name: str, given: Mapping[str, Value]
) -> dict[str, Value]:
    options = options_of(choices, group, name)
    for key in given:
        if f"{group}.{key}" not in options:
            raise ConfigError(f"{group}={name} has no key '{group}.{key}'")
    values = {**section(choices, group, name), **given}
    return {
        key: options[f"{group}.{key}"].check(list(value) if isinstance(value, tuple) else value)
        for key, value in values.items()
        if not key.startswith("_") and not (isinstance(value, str) and value.startswith("${"))
    }
