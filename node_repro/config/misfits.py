"""What does not fit together, though each value is right alone: refused before anything starts."""

from collections.abc import Mapping
from typing import Any

from node_repro.config import Config, ConfigError, ODEConfig, SolverConfig
from node_repro.config.choices import Choices
from node_repro.config.options import ODE_GROUPS

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
        _refuse_misfit_solver("solver", config.ode.solver, config.ode)
        if config.ode.backward:
            _refuse_misfit_solver("gradient.solver", config.ode.backward, config.ode)


def refuse_ignored(config: Config, typed: set[str], choices: Choices) -> None:
    """ConfigError for options that were asked for, `typed` or by the experiment, and that nothing
    would read.
    """
    asked = dict.fromkeys(sorted(typed), "")
    if config.experiment is not None:
        keys = choices.keys("experiment", config.experiment)
        groups = choices.chosen_by("experiment", config.experiment)
        origin = f" (asked for by experiment={config.experiment})"
        asked = dict.fromkeys((*keys, *groups), origin) | asked
    for key, origin in asked.items():
        about_ode = key in ("rtol", "atol") or key.partition(".")[0] in ODE_GROUPS
        if config.ode is None and about_ode:
            raise ConfigError(f"model={config.model.name} solves no ODE: remove {key}={origin}")
    if config.ode and not config.ode.error_controlled and {"rtol", "atol"} & typed:
        raise ConfigError(
            f"controller={config.ode.controller.name} controls no error: remove rtol= and atol=, "
            "or choose an adaptive solver; controller.step_size sets the accuracy"
        )
    if config.data.options.get("source") == "embedded" and "data.root" in typed:
        raise ConfigError(
            "data.source=embedded (typed, or by the profile) reads no files: remove data.root=, or "
            "add data.source=full"
        )
    if config.trainer.iterations is not None and "trainer.epochs" in typed:
        raise ConfigError(
            f"trainer.iterations={config.trainer.iterations} already decides the length: "
            "remove trainer.epochs=, or add trainer.iterations=null"
        )


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


def _refuse_misfit_solver(key: str, solver: SolverConfig, ode: ODEConfig) -> None:
    controller = ode.controller
    if (solver.target is None) != (controller.target is not None):
        kind = "controls its steps itself" if solver.target else "has no steps of its own control"
        other = "remove controller=" if key == "solver" else "take one of the kind that solver= is"
        raise ConfigError(
            f"{key}={solver.name} {kind}, and controller={controller.name} does not fit: {other}"
        )
    if ode.error_controlled and not solver.adaptive:
        raise ConfigError(
            f"controller={controller.name} needs an error estimate, which "
            f"{key}={solver.name} has not: use controller=constant or another solver"
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
