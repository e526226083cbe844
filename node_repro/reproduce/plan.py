"""Plan the jobs of a request: every experiment with every seed, and the probes of every run.

A run is done if there is a finished run with the same signature, a probe if it was measured on that
run with the same options. The configurations are composed in this process to compute signatures, so
that no process is started for a job that is done.
"""

import json
from collections.abc import Iterator, Sequence

from node_repro.config import Config, ConfigError
from node_repro.config.choices import Choices
from node_repro.config.compose import compose
from node_repro.config.overrides import literal
from node_repro.config.signature import signature
from node_repro.reproduce import Job, Request
from node_repro.reproduce.cost import probe_seconds, training_seconds
from node_repro.reproduce.stored import StoredRuns
from node_repro.runs.stored_run import StoredRun

_SMALLEST = {
    "tolerances": "[1e-1,1e-2]",
    "steps": "[1,2]",
    "batches": "1",
    "batch": "2",
    "images": "4",
    "examples": "4",
    "repeats": "1",
    "widths": "[2,8]",
    "reference": "1e-4",
    "fixed": "1e-2",
    "sizes": "[2]",
    "channels": "[4]",
    "disturbed": "2",
    "evaluations": "100",
}
"""Options of probes in profile=smoke, which only tests that everything runs."""


def make_plan(request: Request, choices: Choices) -> list[Job]:
    """All jobs, the longest first, so that concurrent processes end at about the same time.

    Raises:
        ConfigError: An override in `request.extra` fits no experiment.
    """
    stored = StoredRuns(request, choices)
    fitting = _fitting_overrides(request)
    jobs: list[Job] = []
    for name in request.experiments:
        jobs += _jobs(name, fitting[name], request, choices, stored)
    return sorted(jobs, key=lambda job: -(float("inf") if job.seconds is None else job.seconds))


def is_smallest(request: Request) -> bool:
    """Whether probes use their smallest options, as the profile only tests that everything runs."""
    return request.profile == "smoke"


def _jobs(
    name: str, extra: Sequence[str], request: Request, choices: Choices, stored: StoredRuns
) -> Iterator[Job]:
    experiment = choices.experiment(name)
    common = [f"experiment={name}", f"profile={request.profile}", *extra]
    seconds = training_seconds(experiment, request.profile, choices, embedded=stored.embedded)
    finished = {seed: stored.finished(name, seed) for seed in request.seeds_of(name)}
    config = compose(common, request.folders) if any(finished.values()) else None
    for seed in request.seeds_of(name):
        run = _matching(config, finished[seed])
        yield Job(
            f"{name}-seed{seed}",
            _words([*common, f"seed={seed}"], request),
            seconds=seconds,
            done=run is not None,
        )
        for probe in experiment.probes:
            words = ["job=probe", f"probe={probe}", *common, *_smallest(request, probe, choices)]
            yield Job(
                f"{probe}-{name}-seed{seed}",
                _words([*words, f"seed={seed}"], request),
                after=f"{name}-seed{seed}",
                seconds=probe_seconds(probe, smallest=is_smallest(request)),
                done=run is not None and _is_measured(run, probe, words, request),
            )


def _words(words: Sequence[str], request: Request) -> tuple[str, ...]:
    folders = [f"--config-dir={folder}" for folder in request.folders]
    quiet = [] if any(word.startswith("progress=") for word in words) else ["progress=off"]
    return (*folders, *words, *quiet, literal("outputs", str(request.outputs)))


def _smallest(request: Request, probe: str, choices: Choices) -> list[str]:
    if not is_smallest(request):
        return []
    keys = choices.keys("probe", probe)
    return [f"probe.{key}={value}" for key, value in _SMALLEST.items() if key in keys]


def _matching(config: Config | None, finished: Sequence[StoredRun]) -> StoredRun | None:
    """The finished run whose signature is that of the configuration with the run's data set."""
    if config is None:
        return None
    return next((run for run in finished if run.signature == signature(config, run.data)), None)


def _is_measured(run: StoredRun, probe: str, words: Sequence[str], request: Request) -> bool:
    measured = run.probes.get(probe)
    if measured is None or measured.get("signature") != run.signature:
        return False
    chosen = compose(words, request.folders).probe
    return chosen is not None and measured.get("options") == json.loads(json.dumps(chosen.options))


def _fitting_overrides(request: Request) -> dict[str, list[str]]:
    """Experiment -> the overrides in `request.extra` with which it can be composed."""
    refusals: dict[str, ConfigError] = {}
    fitting = {}
    for name in request.experiments:
        words = [f"experiment={name}", f"profile={request.profile}"]
        fitting[name] = _fitting(words, request, refusals)
    for word in request.extra:
        if not any(word in kept for kept in fitting.values()):
            raise ConfigError(f"{word}: none of the experiments accepts it ({refusals[word]})")
    return fitting


def _fitting(words: list[str], request: Request, refusals: dict[str, ConfigError]) -> list[str]:
    """Try all overrides together, then add them one by one; an override may depend on another."""
    kept: list[str] = []
    waiting = list(request.extra)
    try:
        if waiting:
            compose([*words, *waiting], request.folders)
        return waiting
    except ConfigError:
        pass
    grown = True
    while grown:
        grown = False
        for word in list(waiting):
            try:
                compose([*words, *kept, word], request.folders)
            except ConfigError as error:
                refusals.setdefault(word, error)
            else:
                kept.append(word)
                waiting.remove(word)
                grown = True
    return kept
