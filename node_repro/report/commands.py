"""Missing runs, and the commands that produce them or repeat an artifact."""

from collections.abc import Iterable, Sequence

from node_repro.report.artifact import Missing
from node_repro.report.selection import Selection
from node_repro.runs.stored_run import StoredRun


def missing_runs(selection: Selection, experiments: Iterable[str]) -> list[Missing]:
    """The commands of those experiments that have no usable finished run.

    Names that are not experiments of this version are left out.
    """
    known = selection.experiments
    return [
        Missing(
            f"node-run experiment={name} profile={selection.profile} seed=0",
            _states(selection, name),
        )
        for name in experiments
        if not selection.seeds(name) and (not known or name in known)
    ]


def missing_probes(selection: Selection, experiments: Iterable[str], probe: str) -> list[Missing]:
    """The commands for the probe of those experiments that have runs but were not probed."""
    return [
        Missing(
            f"node-run job=probe probe={probe} experiment={name} profile={selection.profile} "
            f"seed={seeds.runs[0].seed}"
        )
        for name in experiments
        if (seeds := selection.seeds(name)) and not selection.probed(name, probe)
    ]


def regenerate(profile: str, runs: Sequence[StoredRun], probe: str | None) -> list[str]:
    """The commands that repeat an artifact: its runs, their probe, the report."""
    lines = []
    if runs:
        names = ",".join(dict.fromkeys(run.experiment for run in runs))
        seeds = ",".join(str(seed) for seed in sorted({run.seed for run in runs}))
        sweep = "-m " if "," in f"{names}{seeds}" else ""
        words = f"experiment={names} seed={seeds} profile={profile}"
        lines.append(f"node-run {sweep}{words}")
        if probe is not None:
            lines.append(f"node-run {sweep}job=probe probe={probe} {words}")
    return [*lines, f"node-run job=report profile={profile}"]


def _states(selection: Selection, experiment: str) -> str:
    runs = [run for run in selection.runs if run.experiment == experiment]
    states = {run.state.lower() for run in runs if run.result is None}
    if any(run.result is not None for run in runs):
        states.add("finished on other digits only")
    return ", ".join(sorted(states))
