"""From what is asked for to targets: every experiment with every seed once, and the probes."""

import hashlib
import os
from collections.abc import Iterable, Iterator
from pathlib import Path

from node_repro.config import ConfigError
from node_repro.config.choices import Choices, load
from node_repro.config.overrides import literal
from node_repro.reproduce import Ask, Experiment, Target
from node_repro.reproduce.cost import probe_seconds, training_seconds
from node_repro.reproduce.experiments import Experiments
from node_repro.reproduce.states import has_digits

_SMALLEST = {
    "tolerances": "[1e-1,1e-2]",
    "steps": "[1,2]",
    "batches": "1",
    "batch": "2",
    "images": "4",
    "examples": "4",
    "repeats": "1",
    "reference": "1e-4",
}
"""Options of probes in profile=smoke, which proves that everything runs, where a probe has them."""
_RUNNING_ONLY = ("threads=", "progress=", "debug=")


def targets(ask: Ask, choices: Choices) -> list[Target]:
    """All targets, the dearest first, so that processes beside each other end together.

    A probe measures the runs of the first seed asked for. ConfigError for an extra override whose
    key no experiment reads.
    """
    conf = _fingerprint(choices)
    reader = Experiments(choices, ask.profile)
    found = [reader.read(name) for name in ask.experiments]
    words = {one.name: reader.fitting(ask.extra, one) for one in found}
    for word in ask.extra:
        if not any(word in fitting for fitting in words.values()):
            raise ConfigError(f"{word!r}: none of the experiments reads this key")
    embedded = is_embedded(ask, choices)
    runs = [
        _target(ask, conf, one, seed, words[one.name], training_seconds(one, embedded=embedded))
        for one in found
        for seed in ask.seeds
    ]
    probes = [
        _target(
            ask,
            conf,
            one,
            ask.seeds[0],
            (*words[one.name], *_smallest(ask, probe, choices)),
            probe_seconds(probe, smallest=is_smallest(ask)),
            probe,
        )
        for probe, one in probed(found, choices)
    ]
    return sorted([*runs, *probes], key=lambda target: -target.seconds)


def probed(experiments: Iterable[Experiment], choices: Choices) -> Iterator[tuple[str, Experiment]]:
    """Which probes measure the runs of which experiments, by the experiments' descriptions."""
    for one in experiments:
        for probe in choices.experiment(one.name).probes:
            yield probe, one


def is_embedded(ask: Ask, choices: Choices) -> bool:
    """Whether the digits are the embedded ones, by profile or for want of others."""
    budget = load(choices.path("task", "mnist"))["budget"][ask.profile]
    return budget["source"] == "embedded" or not has_digits(ask.extra)


def is_smallest(ask: Ask) -> bool:
    """Whether it is only to be seen that everything runs."""
    return ask.profile == "smoke"


def usable_cores() -> int:
    """The cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _smallest(ask: Ask, probe: str, choices: Choices) -> tuple[str, ...]:
    if not is_smallest(ask):
        return ()
    keys = choices.keys("probe", probe)
    return tuple(f"probe.{key}={value}" for key, value in _SMALLEST.items() if key in keys)


def _target(
    ask: Ask,
    conf: str,
    experiment: Experiment,
    seed: int,
    extra: tuple[str, ...],
    seconds: float,
    probe: str | None = None,
) -> Target:
    run = f"{experiment.name}-seed{seed}"
    words = [f"experiment={experiment.name}", f"profile={ask.profile}", f"seed={seed}", *extra]
    words = [*(["job=probe", f"probe={probe}"] if probe else []), *words]
    lasting = [word for word in words if not word.startswith(_RUNNING_ONLY)]
    key = hashlib.sha256("\n".join([conf, *lasting]).encode()).hexdigest()[:16]
    words += ["progress=off"] * (not any(word.startswith("progress=") for word in extra))
    return Target(
        name=f"{probe}-{run}" if probe else run,
        experiment=experiment.name,
        seed=seed,
        probe=probe,
        after=run if probe else None,
        words=(*words, literal("outputs", ask.outputs)),
        key=key,
        seconds=seconds,
    )


def _fingerprint(choices: Choices) -> str:
    """A hash of every yaml: a changed configuration makes every target be looked at again."""
    digest = hashlib.sha256()
    for folder in choices.folders:
        for path in sorted(Path(folder).rglob("*.yaml")):
            digest.update(f"{path.relative_to(folder)}\0".encode() + path.read_bytes())
    return digest.hexdigest()
