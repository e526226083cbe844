"""From what hydra composed to a `Config`: every key known, every value in range, all of it fitting
(what fits together is said in misfits.py).

Choices carry facts in keys between underscores, which are no arguments of a constructor:
`_target_` (the class), `_steps_` of a solver (what its steps are) and of a gradient method (which
it needs), `_kind_` of data and of a model, `_data_` and `_model_` of a task (the kinds that it
takes), `_whole_` of a task (it evaluates all examples at once), `_ode_` of a model (it solves an
ODE), `_adaptive_` of a solver (the method estimates its error) and of a controller (it needs that
estimate), `_lr_batch_` of an optimizer (the batch size that lr is given for).
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import MissingMandatoryValue, OmegaConfBaseException

from node_repro.config import (
    Component,
    Config,
    ConfigError,
    ODEConfig,
    TrainerConfig,
    Value,
)
from node_repro.config.backward import backward_of, solver_config
from node_repro.config.choice_options import COMPONENTS
from node_repro.config.choices import Choices, leaves
from node_repro.config.experiments import PROBES
from node_repro.config.misfits import refuse_ignored, refuse_misfits
from node_repro.config.options import JOB, ODE_GROUPS, OPTIONS, ROOT, TRAINER
from node_repro.config.overrides import misplaced_key, unknown_key

_FACTS = {
    "task._data_",
    "task._model_",
    "data._kind_",
    "model._kind_",
    "model._ode_",
    "solver._steps_",
    "gradient._steps_",
    "solver._adaptive_",
    "controller._adaptive_",
    "optimizer._lr_batch_",
}


def validate(
    cfg: DictConfig, chosen: Mapping[str, str | None], typed: set[str], choices: Choices
) -> Config:
    """Check a composed configuration and return it as plain objects.

    `chosen` holds each group's choice, `typed` the keys and groups on the command line.
    ConfigError says in one sentence what is wrong.
    """
    values = _checked_values(_plain(cfg), chosen, choices)
    config = _build(values, chosen, choices)
    refuse_misfits(config, values, choices)
    refuse_ignored(config, values, typed, choices)
    return config


def _plain(cfg: DictConfig) -> dict[str, Any]:
    """The composed keys and values, without the profile and the task's budgets."""
    profile, budgets = cfg.get("profile"), cfg.get("budget", {})
    if budgets and profile not in budgets:
        raise ConfigError(
            f"the task has no budget for profile={profile}: add budget.{profile} to its yaml, or "
            f"take one of {', '.join(budgets)}"
        )
    try:
        content = OmegaConf.to_container(cfg, resolve=True, throw_on_missing=True)
    except MissingMandatoryValue as error:
        raise ConfigError(f"{error.full_key} has no value; give {error.full_key}=...") from error
    except OmegaConfBaseException as error:
        reason = str(error).splitlines()[0]
        key = error.full_key or "a key"
        raise ConfigError(f"cannot work out the value of {key}: {reason}") from error
    assert isinstance(content, dict)
    return {str(k): value for k, value in content.items() if k not in ("profile", "budget", PROBES)}


def _checked_values(
    content: Mapping[str, Any], chosen: Mapping[str, str | None], choices: Choices
) -> dict[str, Value]:
    """The leaves by dotted key, after refusing unknown, misplaced, missing and wrong ones."""
    expected = {option.key for option in (*JOB, *ROOT, *TRAINER)} | _FACTS
    probe = ("probe",) if chosen.get("probe") else ()
    for group in (*COMPONENTS, "solver", *probe):
        name = chosen.get(group)
        if name is None or not isinstance(content.get(group), Mapping):
            raise ConfigError(f"no {group} is chosen; there are: {', '.join(choices.names(group))}")
        expected |= _keys_of(group, name, choices)
    _refuse_wrong_kinds(content, chosen, choices)
    found = dict(leaves(content))
    for key in found:
        if key not in OPTIONS:
            raise unknown_key(key, choices)
        group = key.partition(".")[0]
        if key not in expected:
            raise misplaced_key(key, f"{group}={chosen.get(group)}", choices)
    for key in sorted(expected - found.keys()):
        raise ConfigError(f"the key {key!r} is missing; its value must be {_words(key)}")
    return {key: OPTIONS[key].checked(value) for key, value in found.items()}


def _keys_of(group: str, name: str, choices: Choices) -> set[str]:
    """Dotted keys that a choice must have; only a task's yaml lies at the root."""
    keys = choices.keys(group, name)
    if group == "task":
        return {key for key in keys if key.startswith("task.")}
    return {f"{group}.{key}" for key in keys}


def _words(key: str) -> str:
    return (
        OPTIONS[key].allowed()
        if key in OPTIONS
        else "declared in node_repro/config/choice_options.py"
    )


def _build(values: Mapping[str, Any], chosen: Mapping[str, str | None], choices: Choices) -> Config:
    parts = {group: _component(group, values, chosen) for group in COMPONENTS}
    ode = None
    if values["model._ode_"]:
        inside = {k.partition(".")[2]: v for k, v in values.items() if k.startswith("solver.")}
        forward = ODEConfig(
            solver=solver_config(str(chosen["solver"]), inside),
            controller=parts["controller"],
            gradient=parts["gradient"],
            rtol=values["rtol"],
            atol=values["atol"],
            error_controlled=values["controller._adaptive_"],
        )
        ode = replace(forward, backward=backward_of(forward, choices))
    trainer = {option.key.partition(".")[2]: values[option.key] for option in TRAINER}
    root = {option.key: values[option.key] for option in ROOT if option.key not in ("rtol", "atol")}
    return Config(
        job=values["job"],
        runs=values["runs"],
        probe=_component("probe", values, chosen) if chosen.get("probe") else None,
        **{group: part for group, part in parts.items() if group not in ODE_GROUPS},
        ode=ode,
        lr_batch=values["optimizer._lr_batch_"],
        trainer=TrainerConfig(**trainer),
        profile=str(chosen["profile"]),
        experiment=chosen.get("experiment"),
        **root,
    )


def _component(group: str, values: Mapping[str, Any], chosen: Mapping[str, Any]) -> Component:
    inside = {
        key.partition(".")[2]: value for key, value in values.items() if key.startswith(f"{group}.")
    }
    options = {key: value for key, value in inside.items() if not key.startswith("_")}
    return Component(str(chosen[group]), inside["_target_"], options)


def _refuse_wrong_kinds(
    content: Mapping[str, Any], chosen: Mapping[str, str | None], choices: Choices
) -> None:
    """Data and models that are not what the task is about."""
    for group in ("data", "model"):
        kind, wanted = content[group].get("_kind_"), content["task"].get(f"_{group}_")
        if kind != wanted:
            fitting = f" or {group}=".join(choices.of_kind(group, str(wanted)))
            raise ConfigError(
                f"task={chosen['task']} takes {group} of the kind {wanted!r}, and "
                f"{group}={chosen[group]} is of the kind {kind!r}: choose another task, or "
                f"{group}={fitting}"
            )
