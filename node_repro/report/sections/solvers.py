"""Methods of different order on the learned field of figure 1."""

from collections.abc import Mapping

from node_repro.report import margins
from node_repro.report.drawings import run_picture
from node_repro.report.probe_rows import ProbeRows, Row
from node_repro.report.rules import Condition, Rule, more_than
from node_repro.report.section import Parts, section
from node_repro.report.selection import Selection
from node_repro.report.tables import Column, Table

EXPERIMENT = "fig1_odenet"
ORDERS = {"euler": 1, "midpoint": 2, "rk4": 4}

AS_ORDERS: Rule[Mapping[str, float]] = Rule(
    Condition(
        f"observed orders of Euler, midpoint and RK4 within {margins.ORDER} of 1, 2 and 4",
        lambda orders: all(abs(orders[name] - n) <= margins.ORDER for name, n in ORDERS.items()),
    )
)
TOO_LONG = Rule(more_than("relative error of Euler with one step per layer", margins.EULER_ERROR))
COLUMNS: list[Column[Row]] = [
    Column("solver", lambda row: row["solver"]),
    Column("steps", lambda row: row["steps"]),
    Column("tolerance", lambda row: row["tolerance"], power=True),
    Column("NFE", lambda row: row["nfe"]),
    Column("RMS error", lambda row: row["error_rms"]),
    Column("relative", lambda row: row["error_relative_rms"]),
]


@section(
    order=50,
    name="solvers",
    title="From Euler's method to adaptive steps on one learned field",
    source="not in the paper; a residual network is Euler's method with one step per layer",
    experiments=[EXPERIMENT],
    probe="solvers",
)
def solvers(selection: Selection) -> Parts:
    """The field that the ODE network of figure 1 learned, solved by other methods."""
    rows = ProbeRows.read(selection, EXPERIMENT, "solvers")
    yield AS_ORDERS.claim(
        "Errors decrease with the step size as the order of the method says",
        rows.facts.get("observed_order") or None,
        lambda orders: ", ".join(f"{name} {orders[name]:.2f}" for name in ORDERS),
        of_paper=False,
    )
    layers = rows.facts.get("depth")
    yield TOO_LONG.claim(
        "One Euler step per layer, as in a residual network, is too long for the learned field",
        rows.where(solver="euler", steps=layers).median("error_relative_rms"),
        lambda error: f"relative error {error:.2f} with {layers:g} steps",
        of_paper=False,
    )
    reference = rows.facts.get("reference", "a reference")
    yield Table("solvers", f"Errors against {reference}, of all seeds probed.", COLUMNS, rows)
    probed = selection.probed(EXPERIMENT, "solvers")
    for name, caption in (
        ("solvers_paths", "The same field solved in five ways; dots are evaluations of the field."),
        ("solvers_error", "Error of the final state against evaluations of the field."),
    ):
        yield from run_picture(name, probed, f"{name}.png", caption, caption)
