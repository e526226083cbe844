"""`node-run list`: cost, state and purpose of experiments and probes."""

from collections import Counter
from statistics import mean

from node_repro.config.choices import Choices
from node_repro.reproduce import Request
from node_repro.reproduce.cost import probe_seconds, training_seconds
from node_repro.reproduce.plan import is_smallest
from node_repro.reproduce.stored import StoredRuns
from node_repro.runs.duration import format_duration
from node_repro.runs.stored_run import StoredRun

_WORDS = {"COMPLETED": "done", "RUNNING": "running", "FAILED": "failed"}
_NOTE = "~: estimated for one thread from finished runs that shared their machine; rough"


def format_list(request: Request, choices: Choices) -> str:
    """Format the table as text.

    A cost is that of one seed on one thread: the mean of the finished runs, else an estimate (~) or
    unknown (?). States are read from the runs' files; whether a finished run has the current
    configuration is only checked by `node-run` and `node-run reproduce`.
    """
    stored = StoredRuns(request, choices)
    experiments = [choices.experiment(name) for name in request.experiments]
    probes = choices.names("probe")
    names = ["experiment", *probes, *request.experiments]
    width = max(map(len, names)) + 2
    lines = [f"{'experiment':<{width}}{'cost':>8}  {'state':<26}purpose"]
    to_go, words = 0.0, Counter[str]()
    for one in experiments:
        runs = [stored.best(one.name, seed) for seed in request.seeds_of(one.name)]
        states = [state(run) for run in runs]
        words.update(states)
        guess = training_seconds(one, request.profile, choices, embedded=stored.embedded)
        to_go += (guess or 0) * sum(word != "done" for word in states)
        cost = _format_cost([seconds for run in runs if (seconds := _seconds(run))], guess)
        lines.append(f"{one.name:<{width}}{cost:>8}  {_format_states(states):<26}{one.title}")
    lines += ["", f"{'probe':<{width}}{'cost':>8}  {'state':<26}purpose"]
    for probe in probes:
        probed = [one.name for one in experiments if probe in one.probes]
        runs = [stored.best(name, seed) for name in probed for seed in request.seeds_of(name)]
        done = sum(run is not None and run.file(f"probes/{probe}.json") is not None for run in runs)
        seconds = probe_seconds(probe, smallest=is_smallest(request))
        to_go += (seconds or 0) * (len(runs) - done)
        progress = f"{done} of {_count(len(runs), 'run')}" if runs else "no run listed"
        purpose = choices.comment("probe", probe)
        lines.append(f"{probe:<{width}}{_format_cost([], seconds):>8}  {progress:<26}{purpose}")
    counts = [len(request.seeds_of(one.name)) for one in experiments]
    total, most = sum(counts), max(counts)
    seeds = _count(most, "seed") + " at most" * (min(counts) < most)
    digits = "the 5,000 embedded digits" if stored.embedded else "all digits"
    lines += [
        "",
        f"profile={request.profile}, {digits}: {words['done']} of {_count(total, 'run')} done "
        f"({_count(len(experiments), 'experiment')}, {seeds}); about "
        f"{format_duration(to_go)} of one core to go",
        _NOTE,
    ]
    return "\n".join(lines) + "\n"


def state(run: StoredRun | None) -> str:
    """ "done", "running", "failed", "interrupted" or "missing"."""
    return "missing" if run is None else _WORDS.get(run.state, "interrupted")


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'s' * (number != 1)}"


def _seconds(run: StoredRun | None) -> float | None:
    seconds = run.result.training_seconds if run and run.result else None
    return seconds if isinstance(seconds, int | float) else None


def _format_cost(measured: list[float], guess: float | None) -> str:
    if measured:
        return format_duration(mean(measured))
    return "?" if guess is None else f"~{format_duration(guess)}"


def _format_states(states: list[str]) -> str:
    """ "2 of 3 done, 1 failed"; the state itself for a single seed."""
    words = Counter(states)
    if len(states) == 1:
        return states[0]
    rest = (f", {words[one]} {one}" for one in ("running", "interrupted", "failed") if words[one])
    return f"{words['done']} of {len(states)} done{''.join(rest)}"
