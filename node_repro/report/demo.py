"""The demo: a known field learned from its trajectory through the adjoint."""

from node_repro.report import Artifact, Cell, Column, Table
from node_repro.report.absent import missing
from node_repro.report.pictures import taken
from node_repro.report.runs import Runs
from node_repro.report.spread import score, trained


def artifact(runs: Runs) -> Artifact:
    """Its errors and its picture."""
    done = runs.of("demo_field_fit")
    columns = (
        Column("field"),
        Column("mean |error|", 4),
        Column("field's relative error", 3),
        Column("NFE forward", 1),
        Column("NFE backward", 1),
        Column("seeds"),
    )
    rows: list[list[Cell]] = []
    if done:
        values = [score(done, name) for name in ("absolute_error", "field_error")]
        evaluations = [trained(done, name) for name in ("nfe_forward", "nfe_backward")]
        rows.append(["cubic spiral", *values, *evaluations, len(done)])
    caption = "Errors of the selected model, mean ± standard deviation over seeds."
    return Artifact(
        name="demo",
        title="Demo: learning a field by the adjoint",
        source="no figure of the paper; the public demonstration of the method",
        about="A small network learns dy/dt = A y³ from one trajectory through the adjoint.",
        tables=(Table("demo", caption, columns, rows),),
        drawings=taken(
            "demo",
            done,
            "field.png",
            "Coordinates in time, the trajectory, directions of the field; learned and true.",
            "Three panels in which the learned curves and arrows lie beside the true ones.",
        ),
        runs=done,
        missing=missing(runs, ["demo_field_fit"]),
    )
