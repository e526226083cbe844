"""All runs that there are: where they come from, and which of them speak for nothing."""

from node_repro.report import Artifact, Cell, Column, Table
from node_repro.report.absent import missing
from node_repro.report.runs import Run, Runs
from node_repro.report.spread import found


def artifact(runs: Runs) -> Artifact:
    """Environment and provenance."""
    left_out = {run.path for run in runs.left_out()}
    tables = [_environments(runs)]
    if runs.found:
        tables.append(_table(runs, left_out))
    digits = "the embedded digits" if runs.digits else "full MNIST"
    notes = [
        f"Of the digits, runs on {digits} are shown, and none of the others'.",
        "Where an experiment has finished runs of several configurations, those of the newest are "
        "shown; the rest are marked “left out”.",
    ]
    return Artifact(
        name="provenance",
        title="Environment and provenance",
        source="not of the paper",
        about=f"Every run of profile {runs.profile} that was found, finished or not.",
        tables=tables,
        notes=notes,
        missing=missing(runs, sorted(runs.experiments)),
    )


def _environments(runs: Runs) -> Table:
    columns = (
        Column("commit"),
        Column("python"),
        Column("torch"),
        Column("device"),
        Column("processor"),
        Column("threads"),
        Column("runs"),
    )
    counted: dict[tuple[Cell, ...], int] = {}
    for run in runs.found:
        if run.result is None:
            continue
        machine = run.environment
        gpus = ", ".join((machine.get("gpu") or {}).get("names") or [])
        threads = found(machine, "torch", "threads")
        key = (
            run.commit,
            machine.get("python"),
            run.torch,
            gpus or str(run.result["device"]),
            machine.get("cpu_model"),
            None if threads is None else int(threads),
        )
        counted[key] = counted.get(key, 0) + 1
    rows = [[*key, count] for key, count in sorted(counted.items(), key=lambda item: str(item[0]))]
    caption = "Where the finished runs were made; “+” marks a working tree with changes."
    return Table("environments", caption, columns, rows)


def _table(runs: Runs, left_out: set) -> Table:
    columns = (
        Column("experiment"),
        Column("data"),
        Column("signature"),
        Column("seed"),
        Column("state"),
        Column("finished"),
        Column("training, s", 0),
        Column("iterations"),
        Column("device"),
        Column("torch"),
        Column("commit"),
    )
    caption = "All runs of the profile."
    return Table("runs", caption, columns, [_row(run, run.path in left_out) for run in runs.found])


def _row(run: Run, unused: bool) -> list[Cell]:
    result = run.result
    state = "left out" if unused else run.state.lower()
    head: list[Cell] = [run.experiment, run.data, run.signature, str(run.seed), state]
    if result is None:
        return [*head, None, None, None, None, run.torch, run.commit]
    seconds = found(result, "training", "seconds")
    facts: list[Cell] = [
        run.since[:16].replace("T", " ") or None,
        seconds,
        result["iterations"],
        result["device"],
    ]
    return [*head, *facts, run.torch, run.commit]
