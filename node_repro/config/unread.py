"""Keys that nothing would read: refused, so that no option is accepted and ignored.

A rule holds for keys whose choice is there, but which have no effect beside the other choices. It
is asked with facts: the group names with their choices ("task": "line"), and dotted keys with their
values; `gradient.controlled` says whether the backward solve keeps to tolerances, and
`gradient.target` is the dotted path of scipy's solver where that does it.
"""

import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple

from node_repro.config import ConfigError
from node_repro.config.options import ODE_GROUPS

Facts = Mapping[str, Any]
FULL, FLAT = (f"node_repro.ode.norm.{name}" for name in ("FULL", "FLAT"))


class Rule(NamedTuple):
    """keys: that have no effect where `holds`. why, instead: with {names} of facts and {key}."""

    keys: tuple[str, ...]
    holds: Callable[[Facts], bool]
    why: str
    instead: str = ""


def _solves(facts: Facts) -> bool:
    return bool(facts["model._ode_"])


def _backward_uncontrolled(facts: Facts) -> bool:
    return _solves(facts) and "gradient.rtol" in facts and not facts["gradient.controlled"]


RULES = (
    Rule(
        ("rtol", "atol"),
        lambda facts: _solves(facts) and not facts["controller._adaptive_"],
        "controller={controller} controls no error",
        ", or choose an adaptive solver; controller.step_size sets the accuracy, and "
        "gradient.{key} is for an adjoint's backward solve alone",
    ),
    Rule(
        ("gradient.rtol", "gradient.atol"),
        _backward_uncontrolled,
        "the backward solve takes steps of one size, which keep to no tolerance",
        ", or choose an adaptive gradient.solver=; gradient.step_size sets its accuracy",
    ),
    Rule(
        ("gradient",),
        lambda facts: _backward_uncontrolled(facts) and facts["gradient.norm"] != FULL,
        "gradient={gradient} differs from adjoint in how errors are judged, and the backward solve "
        "takes steps of one size, which judge none",
        ", or choose gradient=adjoint",
    ),
    Rule(
        ("gradient",),
        lambda facts: (
            facts.get("gradient.norm") == FLAT and str(facts["gradient.target"]).endswith(".Lsoda")
        ),
        "LSODA judges every element of the backward solve alone, so gradient={gradient} is adjoint",
        ", or choose gradient=adjoint",
    ),
    Rule(
        ("task.mark_sd",),
        lambda facts: not facts["data.marks"],
        "data={data} has no marks (data.marks=false)",
    ),
    Rule(
        ("task.kl_warmup",),
        lambda facts: "model.samples" not in facts,
        "model={model} has no posterior, whose divergence is warmed up",
    ),
    Rule(
        ("trainer.eval_batch_size",),
        lambda facts: bool(facts.get("task._whole_")),
        "task={task} evaluates all examples at once",
    ),
    Rule(
        ("data.seed",),
        lambda facts: facts["data._kind_"] == "trajectory" and facts["data.noise_sd"] == 0,
        "data={data} draws nothing but noise, and data.noise_sd is 0",
    ),
    Rule(
        ("data.root", "data.download"),
        lambda facts: facts.get("data.source") == "embedded",
        "data.source=embedded (typed, or by the profile) reads no files",
        ", or add data.source=full",
    ),
    Rule(
        ("schedule.factor",),
        lambda facts: not facts.get("schedule.milestones", ["none"]),
        "schedule.milestones is empty, so the rate never falls",
    ),
    Rule(
        ("trainer.epochs",),
        lambda facts: facts["trainer.iterations"] is not None,
        "trainer.iterations={trainer.iterations} already decides the length",
        ", or add trainer.iterations=null",
    ),
)


def reason(key: str, facts: Facts, origin: str = "") -> str | None:
    """Why nothing would read a key, and what to do, as one sentence; None if it is read."""
    if not _solves(facts) and (key in ("rtol", "atol") or key.partition(".")[0] in ODE_GROUPS):
        return f"model={facts['model']} solves no ODE: remove {key}={origin}"
    for rule in RULES:
        if key in rule.keys and rule.holds(facts):
            text = f"{rule.why}: remove {key}={origin}{rule.instead}".replace("{key}", key)
            return re.sub(r"\{([\w.]+)\}", lambda name: str(facts[name[1]]), text)
    return None


_JOB_READS = {
    "report": ("job", "profile", "outputs", "debug"),
    "compare": ("job", "runs", "debug"),
    "probe": ("job", "runs", "probe", "device", "threads", "deterministic", "outputs", "debug"),
}
"""What a job reads that is about finished runs; of a probe, where runs= names them."""


def refuse_unread_by_job(job: str, runs: bool, typed: Iterable[str]) -> None:
    """ConfigError for a typed key that the job, which neither trains nor finds a run, ignores."""
    if job not in _JOB_READS or (job == "probe" and not runs):
        return
    reads = _JOB_READS[job]
    for key in sorted(typed):
        if key not in reads and not (job == "probe" and key.startswith("probe.")):
            what = "job=probe with runs=" if job == "probe" else f"job={job}"
            words = ", ".join(f"{name}=" for name in reads if name != "job")
            raise ConfigError(f"{what} reads {words} alone: remove {key}=")
