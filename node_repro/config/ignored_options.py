"""Refuse options that would have no effect, so that no option is silently ignored.

A rule names keys that are valid but unused under a condition on the other choices. The condition is
evaluated on facts: the chosen name of every group ("task": "line"), the values by dotted key, and
the facts that `known_facts` adds.
"""

import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple

from node_repro.config import Config, ConfigError, source
from node_repro.config.choices import Choices
from node_repro.config.components import takes
from node_repro.config.options import GROUPS, ODE_GROUPS

Facts = Mapping[str, Any]
FULL, FLAT = (f"node_repro.ode.norm.{name}" for name in ("FULL", "FLAT"))


class Rule(NamedTuple):
    """A rule on unused options.

    Attributes:
        keys: The options.
        holds: The condition under which they have no effect.
        why: The reason, a text that may contain {facts}.
        instead: The end of the message: what to do instead of removing {key}.
    """

    keys: tuple[str, ...]
    holds: Callable[[Facts], bool]
    why: str
    instead: str = ""


def _backward_uncontrolled(facts: Facts) -> bool:
    return facts["solves_ode"] and "gradient.rtol" in facts and not facts["backward_controlled"]


RULES = (
    Rule(
        ("rtol", "atol"),
        lambda facts: facts["solves_ode"] and not facts["error_controlled"],
        "controller={controller} controls no error",
        ", or choose an adaptive solver; controller.step_size sets the accuracy, and "
        "gradient.{key} is the tolerance of an adjoint's backward solve",
    ),
    Rule(
        ("gradient.rtol", "gradient.atol"),
        _backward_uncontrolled,
        "the backward solve uses constant steps, which have no tolerance",
        ", or choose an adaptive gradient.solver=; gradient.step_size sets the accuracy",
    ),
    Rule(
        ("gradient",),
        lambda facts: _backward_uncontrolled(facts) and facts["gradient.norm"] != FULL,
        "gradient={gradient} differs from adjoint only in the norm of the error, and the backward "
        "solve uses constant steps, whose error is not estimated",
        ", or choose gradient=adjoint",
    ),
    Rule(
        ("gradient",),
        lambda facts: (
            facts.get("gradient.norm") == FLAT and str(facts["backward_target"]).endswith(".Lsoda")
        ),
        "LSODA controls the error of every element separately, so gradient={gradient} is the same "
        "as adjoint",
        ", or choose gradient=adjoint",
    ),
    Rule(
        ("engine", "engine.backend"),
        lambda facts: facts["engine"] != "auto" and not facts["has_engine"],
        "solver={solver} runs its steps itself, on the CPU",
        ", or choose a Runge-Kutta method such as solver=dopri5",
    ),
    Rule(
        ("gradient",),
        lambda facts: facts["task"] == "hmc",
        "task={task} differentiates no solution",
    ),
    Rule(
        ("task.mark_sd", "task.poisson_term", "data.mark_sd"),
        lambda facts: not facts.get("data.marks", True),
        "data={data} has no marks (data.marks=false)",
    ),
    Rule(
        ("task.kl_warmup",),
        lambda facts: "model.samples" not in facts,
        "model={model} has no posterior, so there is no KL divergence to anneal",
    ),
    Rule(
        ("task.noise_annealing",),
        lambda facts: "model.samples" not in facts,
        "model={model} has no posterior, so the noise is only a factor of its loss",
    ),
    Rule(
        ("trainer.eval_batch_size",),
        lambda facts: facts["evaluates_at_once"],
        "task={task} evaluates all examples at once",
    ),
    Rule(
        ("data.seed",),
        lambda facts: facts["data"] == "cubic_spiral" and facts["data.noise_sd"] == 0,
        "data={data} has no randomness other than the noise, and data.noise_sd is 0",
    ),
    Rule(
        ("data.root", "data.download"),
        lambda facts: facts.get("data.source") == "embedded",
        "data.source=embedded (given, or chosen by the profile) reads no files",
        ", or add data.source=full",
    ),
    Rule(
        ("schedule.factor",),
        lambda facts: not facts.get("schedule.milestones", ["none"]),
        "schedule.milestones is empty, so the learning rate is constant",
    ),
    Rule(
        ("trainer.epochs",),
        lambda facts: facts["trainer.iterations"] is not None,
        "trainer.iterations={trainer.iterations} already sets the length of the training",
        ", or add trainer.iterations=null",
    ),
)


def known_facts(
    chosen: Mapping[str, Any], values: Mapping[str, Any], targets: Mapping[str, str | None]
) -> dict[str, Any]:
    """The facts on which the rules are evaluated, if the backward solve is like the forward one.

    Args:
        chosen: Group -> name of the choice.
        values: Dotted key -> value.
        targets: Group -> dotted path of the class; None for the solver if it is a Runge-Kutta
            method.
    """
    controller = targets["controller"]
    controlled = controller is None or takes(controller, "rtol")
    return {
        **values,
        **{group: chosen[group] for group in ("task", "model", "data", *ODE_GROUPS)},
        "solves_ode": takes(str(targets["model"]), "solver"),
        "evaluates_at_once": source.attribute(str(targets["task"]), "evaluates_whole_split"),
        "error_controlled": controlled,
        "backward_controlled": controlled,
        "backward_target": targets["solver"],
        "has_engine": targets["solver"] is None,
    }


def reason(key: str, facts: Facts, origin: str = "") -> str | None:
    """The reason why a key has no effect and what to do, as one sentence; None if it has an effect.

    Args:
        key: The key or group.
        facts: The facts of the configuration.
        origin: Text after "key=" that says where the key is set.
    """
    if not facts["solves_ode"] and (key in ("rtol", "atol") or key.partition(".")[0] in ODE_GROUPS):
        return f"model={facts['model']} solves no ODE: remove {key}={origin}"
    for rule in RULES:
        if key in rule.keys and rule.holds(facts):
            text = f"{rule.why}: remove {key}={origin}{rule.instead}".replace("{key}", key)
            return re.sub(r"\{([\w.]+)\}", lambda name: str(facts[name[1]]), text)
    return None


def check_ignored(config: Config, facts: Facts, typed: set[str], choices: Choices) -> None:
    """Raise ConfigError for options without effect.

    An option set by the experiment may lose its effect by choices on the command line, except by a
    model that solves no ODE.

    Args:
        config: The configuration.
        facts: Its facts.
        typed: Keys and groups of the command line.
        choices: The folders of yaml files.
    """
    _check_ignored_by_job(config.job, bool(config.runs), typed)
    for key in sorted(typed):
        if (message := reason(key, facts)) is not None:
            raise ConfigError(message)
    if config.experiment is None:
        return
    other = any(key.partition(".")[0] in GROUPS for key in typed - {"experiment", "profile"})
    keys = choices.keys("experiment", config.experiment)
    for key in (*keys, *choices.chosen_by("experiment", config.experiment)):
        message = reason(key, facts, f" (set by experiment={config.experiment})")
        if message is not None and (not other or config.ode is None):
            raise ConfigError(message)


_JOB_READS = {
    "report": ("job", "profile", "outputs", "debug"),
    "compare": ("job", "runs", "debug"),
    "probe": ("job", "runs", "probe", "device", "threads", "deterministic", "outputs", "debug"),
}
"""Keys read by the jobs on finished runs; by job=probe if it has runs=."""


def _check_ignored_by_job(job: str, runs: bool, typed: Iterable[str]) -> None:
    if job not in _JOB_READS or (job == "probe" and not runs):
        return
    reads = _JOB_READS[job]
    for key in sorted(typed):
        if key not in reads and not (job == "probe" and key.startswith("probe.")):
            what = "job=probe with runs=" if job == "probe" else f"job={job}"
            words = ", ".join(f"{name}=" for name in reads if name != "job")
            raise ConfigError(f"{what} reads only {words}: remove {key}=")
