"""Convert the configuration composed by hydra to a validated `Config`.

All keys must exist, all values must be in range, and they must be consistent.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import MissingMandatoryValue, OmegaConfBaseException

from node_repro.config import Component, Config, ConfigError, ODEConfig, TrainerConfig, Value
from node_repro.config.backward import backward_config
from node_repro.config.choices import Choices
from node_repro.config.components import controls_error, solver_config, takes
from node_repro.config.cross_checks import check_kinds, check_together
from node_repro.config.experiments import PROBES
from node_repro.config.ignored_options import check_ignored, known_facts
from node_repro.config.options import (
    COMPONENTS,
    GROUPS,
    component_options,
    root_options,
)
from node_repro.config.overrides import misplaced_key, unknown_key
from node_repro.runs.json_values import flatten

_NO_KEYS = ("profile", "budget", PROBES, *GROUPS)


def validate(
    cfg: DictConfig, chosen: Mapping[str, str | None], typed: set[str], choices: Choices
) -> Config:
    """Check a composed configuration and return it as plain objects.

    Args:
        cfg: The configuration composed by hydra.
        chosen: Group -> name of the choice.
        typed: Keys and groups of the command line.
        choices: The folders of yaml files.

    Raises:
        ConfigError: The configuration is wrong.
    """
    content = _resolved(cfg)
    sections = _sections(content, chosen, choices)
    targets = {group: section.get("_target_") for group, section in sections.items()}
    check_kinds(targets, chosen, choices)
    values = _root_values(content, choices) | _component_values(sections, chosen, choices)
    config = _build(values, targets, chosen, choices)
    check_together(config, values, choices)
    facts = known_facts(chosen, values, targets)
    if config.ode is not None and (back := config.ode.backward) is not None:
        facts["backward_controlled"] = back.error_controlled
        facts["backward_target"] = back.solver.target
        facts["has_engine"] = config.ode.has_engine
    check_ignored(config, facts, typed, choices)
    return config


def _resolved(cfg: DictConfig) -> dict[str, Any]:
    """The composed content with its interpolations resolved."""
    profile, budgets = cfg.get("profile"), cfg.get("budget", {})
    if budgets and profile not in budgets:
        raise ConfigError(
            f"the task has no budget for profile={profile}: add budget.{profile} to its yaml, or "
            f"use one of {', '.join(budgets)}"
        )
    try:
        content = OmegaConf.to_container(cfg, resolve=True, throw_on_missing=True)
    except MissingMandatoryValue as error:
        raise ConfigError(f"{error.full_key} has no value; set {error.full_key}=...") from error
    except OmegaConfBaseException as error:
        reason = str(error).splitlines()[0]
        key = error.full_key or "a key"
        raise ConfigError(f"the value of {key} cannot be determined: {reason}") from error
    assert isinstance(content, dict)
    return {str(key): value for key, value in content.items()}


def _sections(
    content: Mapping[str, Any], chosen: Mapping[str, str | None], choices: Choices
) -> dict[str, Mapping[str, Any]]:
    """Group -> content of every group whose choice has a class."""
    probe = ("probe",) if chosen.get("probe") else ()
    sections = {}
    for group in (*COMPONENTS, "solver", *probe):
        if chosen.get(group) is None or not isinstance(content.get(group), Mapping):
            names = ", ".join(choices.names(group))
            raise ConfigError(f"no {group} is chosen; there are: {names}")
        sections[group] = content[group]
    return sections


def _root_values(content: Mapping[str, Any], choices: Choices) -> dict[str, Value]:
    """Dotted key -> checked value of the keys that belong to no group."""
    options = root_options()
    values = flatten({key: one for key, one in content.items() if key not in _NO_KEYS})
    for key in values:
        if key not in options:
            raise unknown_key(key, choices)
    for key in options:
        if key not in values:
            raise ConfigError(f"the key {key!r} is missing; it must be {options[key].allowed}")
    return {key: options[key].check(value) for key, value in values.items()}


def _component_values(
    sections: Mapping[str, Mapping[str, Any]],
    chosen: Mapping[str, str | None],
    choices: Choices,
) -> dict[str, Value]:
    """Dotted key -> checked value of the groups' options."""
    values: dict[str, Value] = {}
    for group, section in sections.items():
        name = str(chosen[group])
        known = choices.keys(group, name)
        for key in section:
            own = f"task.{key}" if group == "task" else key
            if own not in known and not any(one.startswith(f"{own}.") for one in known):
                raise misplaced_key(f"{group}.{key}", f"{group}={name}", choices)
        try:
            options = component_options(group, section)
        except ConfigError as error:
            raise ConfigError(f"{group}={name}: {error}") from error
        for key, option in options.items():
            values[key] = option.check(section[key.partition(".")[2]])
    return values


def _build(
    values: Mapping[str, Any],
    targets: Mapping[str, str | None],
    chosen: Mapping[str, str | None],
    choices: Choices,
) -> Config:
    def options(group: str) -> dict[str, Value]:
        start = f"{group}."
        return {key.removeprefix(start): values[key] for key in values if key.startswith(start)}

    def component(group: str) -> Component:
        return Component(str(chosen[group]), targets[group], options(group))

    parts = {group: component(group) for group in COMPONENTS}
    ode = None
    if takes(str(targets["model"]), "solver"):
        name, target = str(chosen["solver"]), targets.get("solver")
        forward = ODEConfig(
            solver=solver_config(choices, name, target, options("solver")),
            controller=parts["controller"],
            gradient=parts["gradient"],
            engine=parts["engine"],
            rtol=values["rtol"],
            atol=values["atol"],
            error_controlled=controls_error(parts["controller"]),
        )
        ode = replace(forward, backward=backward_config(forward, choices))
    trainer: dict[str, Any] = options("trainer")
    tolerances = ("rtol", "atol")  # of the ODE, if the model has one
    root = {key: values[key] for key in root_options() if "." not in key and key not in tolerances}
    return Config(
        **root,
        probe=component("probe") if chosen.get("probe") else None,
        task=parts["task"],
        model=parts["model"],
        ode=ode,
        data=parts["data"],
        optimizer=parts["optimizer"],
        schedule=parts["schedule"],
        trainer=TrainerConfig(**trainer),
        profile=str(chosen["profile"]),
        experiment=chosen.get("experiment"),
    )
