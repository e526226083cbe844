"""Options of a choice: the keys of its yaml, as declared by the constructor of its class."""

from collections.abc import Mapping
from dataclasses import replace
from functools import cache
from typing import Any

from node_repro.config import ConfigError, source
from node_repro.config.option import Option

GROUPS = {
    "task": "what is learned, and how it is scored",
    "model": "the network",
    "solver": "the method that takes one step of the ODE",
    "controller": "the choice of the step size",
    "gradient": "how the loss is differentiated through the solve",
    "engine": "what runs the steps: plain Python, or compiled code",
    "data": "the data set",
    "optimizer": "the optimizer",
    "schedule": "the learning rate during the training",
    "profile": "how much work",
    "experiment": "a row or panel of the paper",
    "probe": "a measurement of a finished run, with job=probe",
}
COMPONENTS = ("task", "model", "controller", "gradient", "engine", "data", "optimizer", "schedule")
"""Groups of which every run has a choice, except the solver."""
ODE_GROUPS = ("solver", "controller", "gradient", "engine")
RUNGE_KUTTA = "node_repro.ode.solver.RungeKutta"
_CONFIG = "node_repro.config"


@cache
def root_options() -> Mapping[str, Option]:
    """Key -> option for the keys that belong to no group."""
    return {
        **source.options(f"{_CONFIG}.Settings"),
        **source.options(f"{_CONFIG}.Tolerances"),
        **_below("trainer", source.options(f"{_CONFIG}.TrainerConfig")),
    }


def backward_options() -> list[str]:
    """The keys of a gradient method's yaml that describe its backward solve."""
    return list(source.options(f"{_CONFIG}.BackwardOptions"))


def component_options(group: str, section: Mapping[str, Any]) -> dict[str, Option]:
    """Dotted key -> option of one choice.

    Args:
        group: Group of the choice.
        section: The entries of its yaml.

    Raises:
        ConfigError: The class named by the section does not exist or lacks one of the options.
    """
    target = class_path(group, section)
    if target is None:
        return {}
    declared = _declared(group, target)
    chosen = {}
    for name in section:
        if not name.startswith("_"):
            if name not in declared:
                names = ", ".join(sorted(declared))
                raise ConfigError(
                    f"{target} has no argument {name!r} ({group}.{name}); it has: {names}"
                )
            chosen[f"{group}.{name}"] = declared[name]
    return chosen


def class_path(group: str, section: Mapping[str, Any]) -> str | None:
    """The dotted path of a choice's class; None for the controller of a solver that has its own."""
    if group == "solver" and "_target_" not in section:
        return RUNGE_KUTTA
    if "_target_" not in section:
        raise ConfigError(f"the chosen {group} has no _target_, the dotted path of its class")
    return section["_target_"]


@cache
def _declared(group: str, target: str) -> Mapping[str, Option]:
    """Name -> option of a class."""
    declared = source.options(target)
    if group == "gradient" and "solver" in declared:
        declared |= source.options(f"{_CONFIG}.BackwardOptions")
    return {name: replace(one, key=f"{group}.{name}") for name, one in declared.items()}


def _below(section: str, options: Mapping[str, Option]) -> dict[str, Option]:
    keys = {name: f"{section}.{name}" for name in options}
    return {keys[name]: replace(option, key=keys[name]) for name, option in options.items()}
