"""The demo: a known vector field learned from a trajectory."""

from node_repro.report.drawings import run_picture
from node_repro.report.section import Parts, section
from node_repro.report.selection import Seeds, Selection
from node_repro.report.tables import Column, Table

EXPERIMENT = "demo_field_fit"
COLUMNS: list[Column[Seeds]] = [
    Column("field", lambda _: "cubic spiral"),
    Column("mean |error|", lambda seeds: seeds.test("absolute_error"), 4),
    Column("field's relative error", lambda seeds: seeds.test("field_error"), 3),
    Column("NFE forward", lambda seeds: seeds.training("nfe_forward"), 1),
    Column("NFE backward", lambda seeds: seeds.training("nfe_backward"), 1),
    Column("seeds", lambda seeds: seeds.count),
]


@section(
    order=220,
    name="demo",
    title="Demo: learning a vector field by the adjoint method",
    source="not in the paper; torchdiffeq's public demonstration",
    experiments=[EXPERIMENT],
)
def demo(selection: Selection) -> Parts:
    """A small network learns dy/dt = A y³ from one trajectory, with the adjoint method."""
    seeds = selection.seeds(EXPERIMENT)
    caption = "Errors of the selected model, mean ± standard deviation over seeds."
    yield Table("demo", caption, COLUMNS, [seeds] if seeds else [])
    yield from run_picture(
        "demo",
        seeds,
        "field.png",
        "Coordinates over time, trajectory, and directions of the field; learned and true.",
        "Three panels in which the learned curves and arrows lie beside the true ones.",
    )
