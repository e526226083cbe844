"""Provenance of all runs found, including those that the report does not use."""

from collections import Counter

from node_repro.report.commands import missing_runs
from node_repro.report.section import Parts, section
from node_repro.report.selection import Selection, get_number
from node_repro.report.tables import Cell, Column, Table
from node_repro.runs.stored_run import StoredRun

Machine = tuple[Cell, ...]
MACHINE = ("commit", "python", "torch", "device", "processor", "threads")


@section(
    order=230,
    name="provenance",
    title="Environment and provenance",
    source="not in the paper",
)
def provenance(selection: Selection) -> Parts:
    """Every run of the profile that was found, finished or not."""
    yield _environments(selection)
    yield _runs(selection)
    digits = "the embedded digits" if selection.uses_embedded_digits else "full MNIST"
    yield f"Of the runs on digits, only those on {digits} are used."
    yield (
        "If an experiment has finished runs of several configurations, those of the newest are "
        "used; the others are marked “left out”."
    )
    yield from missing_runs(selection, sorted(selection.experiments))


def _environments(selection: Selection) -> Table:
    counts = Counter(_machine(run) for run in selection.finished)
    columns: list[Column[tuple[Machine, int]]] = [
        Column(title, lambda item, i=i: item[0][i]) for i, title in enumerate(MACHINE)
    ]
    columns.append(Column("runs", lambda item: item[1]))
    caption = "Where the finished runs were made; “+” marks a working tree with changes."
    return Table("environments", caption, columns, sorted(counts.items(), key=lambda i: str(i[0])))


def _machine(run: StoredRun) -> Machine:
    environment = run.environment
    gpus = ", ".join((environment.get("gpu") or {}).get("names") or [])
    threads = get_number(environment, "torch", "threads")
    return (
        run.commit,
        environment.get("python"),
        run.torch,
        gpus or (run.result.device if run.result else None),
        environment.get("cpu_model"),
        None if threads is None else int(threads),
    )


def _runs(selection: Selection) -> Table:
    unused = {run.path for run in selection.unused()}
    columns: list[Column[StoredRun]] = [
        Column("experiment", lambda run: run.experiment),
        Column("data", lambda run: run.data),
        Column("signature", lambda run: run.signature),
        Column("seed", lambda run: str(run.seed)),
        Column("state", lambda run: "left out" if run.path in unused else run.state.lower()),
        Column("finished", lambda run: run.since[:16].replace("T", " ") if run.result else None),
        Column("training, s", lambda run: run.result and run.result.training_seconds, 0),
        Column("iterations", lambda run: run.result and run.result.iterations),
        Column("device", lambda run: run.result and run.result.device),
        Column("torch", lambda run: run.torch),
        Column("commit", lambda run: run.commit),
    ]
    return Table("runs", "All runs of the profile.", columns, selection.runs)
