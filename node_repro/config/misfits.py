"""What does not fit together, though each value is right alone: refused before anything starts."""

from collections.abc import Mapping
from typing import Any

from node_repro.config import Component, Config, ConfigError, ODEConfig, SolverConfig
from node_repro.config.backward import fits
from node_repro.config.choices import Choices
from node_repro.config.options import GROUPS
from node_repro.config.unread import reason, refuse_unread_by_job

_EPSILON = {"float32": 2.0**-23, "float64": 2.0**-52}
_NAME_LENGTH = 100
_GROUPS = 32


def refuse_misfits(config: Config, values: Mapping[str, Any], choices: Choices) -> None:
    """ConfigError for values, by dotted key, that are right alone but not together."""
    _refuse_misfit_job(config, choices)
    if config.name is not None:
        _refuse_bad_name(config.name)
    for prefix in ("", "gradient."):
        if f"{prefix}rtol" in values:
            _refuse_bad_tolerances(prefix, values, config.precision)
    channels = values.get("model.channels", 1)
    if channels > _GROUPS and channels % _GROUPS:
        raise ConfigError(
            f"model.channels={channels} must be at most {_GROUPS} or a multiple of it: "
            f"GroupNorm has {_GROUPS} groups"
        )
    milestones = values.get("schedule.milestones")
    if milestones is not None and list(milestones) != sorted(set(milestones)):
        raise ConfigError(f"schedule.milestones={list(milestones)}: they must increase")
    if values.get("data.source") == "embedded" and values["data.dataset"] != "mnist":
        raise ConfigError(
            f"data={config.data.name} has no embedded images: use data.source=auto or full"
        )
    if config.trainer.epochs is None and config.trainer.iterations is None:
        raise ConfigError(
            "trainer.epochs=null must be a whole number >= 1 where trainer.iterations is null, too"
        )
    if config.ode:
        _refuse_misfit_steps(config.ode, values["solver._steps_"], values["gradient._steps_"])
        ode = config.ode
        _refuse_misfit_solver("", ode.solver, ode.controller, adaptive=ode.error_controlled)
        if back := ode.backward:
            _refuse_misfit_solver(
                "gradient.", back.solver, back.controller, adaptive=back.error_controlled
            )


def refuse_ignored(
    config: Config, values: Mapping[str, Any], typed: set[str], choices: Choices
) -> None:
    """ConfigError for options that were asked for, `typed` or by the experiment, and that nothing
    would read. What the experiment asks for may be left unread by other choices that are typed, but
    not by a model that solves no ODE.
    """
    refuse_unread_by_job(config.job, bool(config.runs), typed)
    facts = _facts(config, values)
    for key in sorted(typed):
        if (found := reason(key, facts)) is not None:
            raise ConfigError(found)
    if config.experiment is None:
        return
    other = any(key.partition(".")[0] in GROUPS for key in typed - {"experiment", "profile"})
    keys = choices.keys("experiment", config.experiment)
    for key in (*keys, *choices.chosen_by("experiment", config.experiment)):
        found = reason(key, facts, f" (asked for by experiment={config.experiment})")
        if found is not None and (not other or config.ode is None):
            raise ConfigError(found)


def _facts(config: Config, values: Mapping[str, Any]) -> dict[str, Any]:
    """What the rules of `unread` are asked with."""
    parts = {"task": config.task, "model": config.model, "data": config.data}
    facts = dict(values) | {group: part.name for group, part in parts.items()}
    if config.ode is not None:
        back = config.ode.backward
        facts |= {
            "controller": config.ode.controller.name,
            "gradient": config.ode.gradient.name,
            "gradient.controlled": config.ode.backward_controlled,
            "gradient.target": (config.ode.solver if back is None else back.solver).target,
        }
    return facts


def _refuse_misfit_job(config: Config, choices: Choices) -> None:
    """A job without what it is about, and the other way round."""
    if (config.job == "probe") != (config.probe is not None):
        names = ", ".join(choices.names("probe"))
        raise ConfigError(f"job=probe and probe=... need each other; there are: {names}")
    if config.runs and config.job not in ("probe", "compare"):
        raise ConfigError(f"job={config.job} reads no runs=: remove it, or take job=compare")
    if config.job == "compare" and len(config.runs) < 2:
        raise ConfigError("job=compare needs two runs or more, as in runs=[outputs/a,outputs/b]")


def _refuse_misfit_steps(ode: ODEConfig, given: str, needed: str) -> None:
    sentences = {
        ("single", "own"): "needs every single step, which solver={} keeps to itself: use "
        "gradient=adjoint or another solver",
        ("reversible", "own"): "undoes steps, which solver={} cannot: use solver=reversible_dopri5",
        ("reversible", "single"): "undoes steps, which solver={} cannot: use a solver=reversible_*",
    }
    if (needed, given) in sentences:
        sentence = sentences[needed, given].format(ode.solver.name)
        raise ConfigError(f"gradient={ode.gradient.name} {sentence}")


def _refuse_misfit_solver(
    prefix: str, solver: SolverConfig, controller: Component, *, adaptive: bool
) -> None:
    """prefix: of the keys, "gradient." for the backward solve."""
    if fits(controller, solver, adaptive=adaptive):
        return
    if (solver.target is None) != (controller.target is not None):
        kind = "controls its steps itself" if solver.target else "has no steps of its own control"
        raise ConfigError(
            f"{prefix}solver={solver.name} {kind}, and {prefix}controller={controller.name} does "
            f"not fit: remove {prefix}controller="
        )
    raise ConfigError(
        f"{prefix}controller={controller.name} needs an error estimate, which "
        f"{prefix}solver={solver.name} has not: use {prefix}controller=constant or another solver"
    )


def _refuse_bad_name(name: str) -> None:
    fine = all(letter.isalnum() or letter in "_-.+" for letter in name)
    if not fine or name.startswith(".") or len(name) > _NAME_LENGTH:
        raise ConfigError(
            f"name={name}: it names a folder, so use at most {_NAME_LENGTH} letters, digits, "
            "'_', '-', '+' and '.', not beginning with '.'"
        )


def _refuse_bad_tolerances(prefix: str, values: Mapping[str, Any], precision: str) -> None:
    rtol, atol = values[f"{prefix}rtol"], values[f"{prefix}atol"]
    if rtol == 0 and atol == 0:
        raise ConfigError(f"{prefix}rtol and {prefix}atol are both zero: one must be larger")
    smallest = 4 * _EPSILON[precision]
    key = f"{prefix}rtol" if rtol else f"{prefix}atol"
    if values[key] < smallest:
        wider = "" if precision == "float64" else ", or use precision=float64"
        raise ConfigError(
            f"{key}={values[key]:g} is below what {precision} resolves: "
            f"it must be at least {smallest:.3g}{wider}"
        )
