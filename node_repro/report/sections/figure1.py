"""Figure 1: a residual network beside an ODE network."""

from node_repro.report.artifact import Drawing
from node_repro.report.drawings import format_seeds, run_arrays
from node_repro.report.section import Parts, section
from node_repro.report.selection import Seeds, Selection
from node_repro.report.tables import Column, Table

NETWORKS = {"fig1_resnet": "residual network", "fig1_odenet": "ODE network"}


@section(
    order=40,
    name="figure1",
    title="Figure 1: a residual network and an ODE network",
    source="section 1, figure 1",
    experiments=NETWORKS,
)
def figure1(selection: Selection) -> Parts:
    """Both networks learn the same map of a line to itself.

    The residual network moves its state in five jumps, the ODE network along a vector field; dots
    are evaluations.
    """
    networks = {name: selection.seeds(key) for key, name in NETWORKS.items()}
    columns: list[Column[tuple[str, Seeds]]] = [
        Column("network", lambda row: row[0]),
        Column("parameters", lambda row: row[1].parameters),
        Column("test RMSE", lambda row: row[1].test("rmse_values"), 3),
        Column("NFE", lambda row: row[1].test("nfe_forward"), 0),
        Column("seeds", lambda row: row[1].count),
    ]
    rows = [(name, seeds) for name, seeds in networks.items() if seeds]
    yield Table("figure1", "The two networks of the figure.", columns, rows)
    yield from _paths(list(networks.values()))


def _paths(networks: list[Seeds]) -> Parts:
    from node_repro.figures.depth import figure1
    from node_repro.figures.journal import styled

    arrays = [found for seeds in networks if (found := run_arrays(seeds, "figure1.npz"))]
    if arrays:
        caption = (
            "Paths of eleven inputs through the depth, which points upwards; arrows are the "
            f"layers' residuals and the vector field. {format_seeds(s for s, _ in arrays)}"
        )
        alt = "Left: straight lines between five layers. Right: smooth curves along arrows."
        yield Drawing("figure1", caption, alt, styled(lambda: figure1([a for _, a in arrays])))
