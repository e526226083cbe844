"""What is not there, and the commands that make it."""

from collections.abc import Iterable, Sequence

from node_repro.report import Missing
from node_repro.report.runs import Run, Runs


def missing(runs: Runs, experiments: Iterable[str]) -> tuple[Missing, ...]:
    """Those experiments without a finished run that could be used; one with another state says so.

    Names that are no experiments of this version are left out.
    """
    lacking = []
    for name in experiments:
        if runs.of(name) or (runs.experiments and name not in runs.experiments):
            continue
        command = f"node-run experiment={name} profile={runs.profile} seed=0"
        lacking.append(Missing(command, _state(runs, name)))
    return tuple(lacking)


def unprobed(runs: Runs, experiments: Iterable[str], probe: str) -> tuple[Missing, ...]:
    """Those experiments whose finished runs a probe has not measured, and those without runs."""
    lacking = list(missing(runs, experiments))
    for name in experiments:
        if (done := runs.of(name)) and not runs.probed(name, probe):
            words = f"experiment={name} profile={runs.profile} seed={done[0].seed}"
            command = f"node-run job=probe probe={probe} {words}"
            lacking.append(Missing(command))
    return tuple(lacking)


def commands(profile: str, runs: Sequence[Run], probe: str | None) -> tuple[str, ...]:
    """What regenerates an artifact: the runs, their probe, the report."""
    if not runs:
        return (f"node-run job=report profile={profile}",)
    names = ",".join(dict.fromkeys(run.experiment for run in runs))
    seeds = ",".join(str(seed) for seed in sorted({run.seed for run in runs}))
    sweep = "-m " if "," in f"{names}{seeds}" else ""
    words = f"experiment={names} seed={seeds} profile={profile}"
    lines = [f"node-run {sweep}{words}"]
    if probe is not None:
        lines.append(f"node-run {sweep}job=probe probe={probe} {words}")
    return (*lines, f"node-run job=report profile={profile}")


def _state(runs: Runs, experiment: str) -> str:
    known = [run for run in runs.found if run.experiment == experiment]
    states = {run.state.lower() for run in known if run.result is None}
    if any(run.result is not None for run in known):
        states.add("finished on other digits only")
    return ", ".join(sorted(states))
