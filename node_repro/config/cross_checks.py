"""Cross-field validation: refuse inconsistent combinations of valid values."""

from collections.abc import Mapping
from typing import Any

from node_repro.config import Component, Config, ConfigError, ODEConfig, SolverConfig, source
from node_repro.config.backward import fits
from node_repro.config.choices import Choices
from node_repro.config.components import fits_task, is_reversible, section

_EPSILON = {"float32": 2.0**-23, "float64": 2.0**-52}
_NAME_LENGTH = 100
_GROUP_NORM_GROUPS = 32


def check_kinds(
    targets: Mapping[str, str | None], chosen: Mapping[str, Any], choices: Choices
) -> None:
    """Raise ConfigError if the task does not accept the data or the model."""
    task = str(targets["task"])
    for group, verb in (("data", "learns from"), ("model", "trains")):
        if not fits_task(group, str(targets[group]), task):
            fitting = [
                name
                for name in choices.names(group)
                if fits_task(group, str(section(choices, group, name).get("_target_")), task)
            ]
            raise ConfigError(
                f"task={chosen['task']} {verb} another kind of {group} than {group}="
                f"{chosen[group]}: choose another task, or {group}={f' or {group}='.join(fitting)}"
            )


def check_together(config: Config, values: Mapping[str, Any], choices: Choices) -> None:
    """Raise ConfigError for inconsistent values.

    Args:
        config: The configuration.
        values: The same values by dotted key.
        choices: The choices that messages list.
    """
    _check_job(config, choices)
    if config.name is not None:
        _check_name(config.name)
    for prefix in ("", "gradient."):
        if f"{prefix}rtol" in values:
            _check_tolerances(prefix, values, config.precision)
    _check_channels(values)
    milestones = values.get("schedule.milestones")
    if milestones is not None and list(milestones) != sorted(set(milestones)):
        raise ConfigError(f"schedule.milestones={list(milestones)} must increase")
    if values.get("data.source") == "embedded" and values["data.dataset"] != "mnist":
        raise ConfigError(
            f"data={config.data.name} has no embedded images: use data.source=auto or full"
        )
    if config.trainer.epochs is None and config.trainer.iterations is None:
        raise ConfigError(
            "trainer.epochs=null and trainer.iterations=null: one of them must be a whole number "
            ">= 1"
        )
    if config.ode:
        _check_gradient(config.ode)
        _check_solver("", config.ode.solver, config.ode.controller, config.ode.error_controlled)
        if back := config.ode.backward:
            _check_solver("gradient.", back.solver, back.controller, back.error_controlled)


def _check_channels(values: Mapping[str, Any]) -> None:
    """Check the numbers of channels before and in the ODE, which GroupNorm divides."""
    channels, augment = values.get("model.channels", 1), values.get("model.augment", 0)
    sizes = {f"model.channels={channels}": channels}
    if "model.channels" in values and augment:
        sizes[f"model.channels={channels} + model.augment={augment}"] = channels + augment
    for words, size in sizes.items():
        if size > _GROUP_NORM_GROUPS and size % _GROUP_NORM_GROUPS:
            raise ConfigError(
                f"{words} must be at most {_GROUP_NORM_GROUPS} or a multiple of it, "
                f"since GroupNorm forms {_GROUP_NORM_GROUPS} groups"
            )


def _check_job(config: Config, choices: Choices) -> None:
    if (config.job == "probe") != (config.probe is not None):
        names = ", ".join(choices.names("probe"))
        raise ConfigError(f"job=probe and probe=... need each other; the probes are: {names}")
    if config.runs and config.job not in ("probe", "compare"):
        raise ConfigError(f"job={config.job} reads no runs=: remove it, or use job=compare")
    if config.job == "compare" and len(config.runs) < 2:
        raise ConfigError("job=compare needs two runs or more, as in runs=[outputs/a,outputs/b]")


def _check_gradient(ode: ODEConfig) -> None:
    """Check that the solver can repeat or invert its steps, if the gradient method needs this."""
    needs = source.attribute(str(ode.gradient.target), "needs")
    own_steps = ode.solver.target is not None
    reversible = ode.solver.method is not None and is_reversible(ode.solver.method)
    if needs == "reversible" and not reversible:
        raise ConfigError(
            f"gradient={ode.gradient.name} inverts the steps, which is impossible with "
            f"solver={ode.solver.name}: use a reversible solver such as solver=reversible_dopri5"
        )
    if needs == "runge_kutta" and own_steps:
        raise ConfigError(
            f"gradient={ode.gradient.name} needs access to every step, which solver="
            f"{ode.solver.name} does not provide: use gradient=adjoint or another solver"
        )


def _check_solver(
    prefix: str, solver: SolverConfig, controller: Component, error_controlled: bool
) -> None:
    """Check solver and controller; `prefix` of the keys: "gradient." for the backward solve."""
    if fits(controller, solver, error_controlled=error_controlled):
        return
    if (solver.target is None) != (controller.target is not None):
        kind = "controls its steps itself" if solver.target else "has no step control of its own"
        raise ConfigError(
            f"{prefix}solver={solver.name} {kind}, so {prefix}controller={controller.name} does "
            f"not fit: remove {prefix}controller="
        )
    raise ConfigError(
        f"{prefix}controller={controller.name} needs an error estimate, which "
        f"{prefix}solver={solver.name} does not have: use {prefix}controller=constant or another "
        "solver"
    )


def _check_name(name: str) -> None:
    valid = all(letter.isalnum() or letter in "_-.+" for letter in name)
    if not valid or name.startswith(".") or len(name) > _NAME_LENGTH:
        raise ConfigError(
            f"name={name} is used as the name of a folder: use at most {_NAME_LENGTH} letters, "
            "digits, '_', '-', '+' and '.', and do not begin with '.'"
        )


def _check_tolerances(prefix: str, values: Mapping[str, Any], precision: str) -> None:
    rtol, atol = values[f"{prefix}rtol"], values[f"{prefix}atol"]
    if rtol == 0 and atol == 0:
        raise ConfigError(f"{prefix}rtol and {prefix}atol are both zero: one must be larger")
    smallest = source.constant("node_repro.ode.norm.SMALLEST_RTOL") * _EPSILON[precision]
    key = f"{prefix}rtol" if rtol else f"{prefix}atol"
    if values[key] < smallest:
        wider = "" if precision == "float64" else ", or use precision=float64"
        raise ConfigError(
            f"{key}={values[key]:g} is below the rounding error of {precision}: use at least "
            f"{smallest:.3g}{wider}"
        )
