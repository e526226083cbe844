"""Figure 3 d: evaluations of f over the training."""

from collections.abc import Sequence
from typing import NamedTuple

from node_repro.report import paper
from node_repro.report.artifact import Claim, Drawing
from node_repro.report.comparisons import above_zero, describe_difference
from node_repro.report.format import format_tolerance
from node_repro.report.probe_rows import ProbeRows
from node_repro.report.section import Parts, section
from node_repro.report.selection import Selection, get_number
from node_repro.report.statistics import Difference, paired_difference, spread
from node_repro.report.tables import Column, Table

EXPERIMENT = "table1_odenet"
SOLVERS = {"vode_adams": "VODE-Adams", "dopri5": "dopri5"}
"""The paper's solver, on which its claim is judged, and the one of the training."""
SIZES = {"state_rms": "z(0)", "field_rms": "f at z(0)"}
MOVED = "|z(1) − z(0)| / |z(0)|"
STATES = {**{key: f"RMS of {name}" for key, name in SIZES.items()}, "displacement": MOVED}
RECORDED = {
    "validation, forward": "nfe_forward",
    "training, forward": "nfe_forward_training",
    "training, backward": "nfe_backward_training",
}
GROWS = above_zero("evaluations after the last epoch − after epoch 1")


class Growth(NamedTuple):
    """Evaluations after the first and the last epoch.

    Attributes:
        first, last: Means over digits and seeds.
        epochs: The last epoch.
        difference: Paired over seeds, or over the digits of a single seed.
        units: What it is paired over, "3 seeds".
    """

    first: float
    last: float
    epochs: float
    difference: Difference
    units: str


@section(
    order=80,
    name="figure3d",
    title="Figure 3 d: evaluations over training",
    source="section 3, figure 3 d",
    experiments=[EXPERIMENT],
    probe="epochs",
)
def figure3d(selection: Selection) -> Parts:
    """The same test digits solved one by one with the weights of every epoch.

    Growth is judged from the end of epoch 1 on: the first iterations change the scale of the
    stem's output, and with it the number of evaluations, whatever the ODE learns.
    """
    rows = ProbeRows.read(selection, EXPERIMENT, "epochs")
    measured = rows.where(source="measured")
    ways = _ways(measured)
    for solver, tolerance in ways or [(solver, None) for solver in SOLVERS]:
        yield _grows(measured, solver, tolerance, selection.decides)
    yield _table(rows, ways)
    yield from _drawings(rows, ways)
    yield (
        "The paper's curve, in grey, climbs from about 7 to 16 evaluations. It does not fit its "
        "own panels a to c at a tolerance of 1e-3 (28 to 46 evaluations); its tolerance is unknown."
    )


def _ways(measured: ProbeRows) -> list[tuple[str, float]]:
    return [
        (solver, tolerance)
        for solver in SOLVERS
        for tolerance, _ in measured.where(solver=solver).by_tolerance()
    ]


def _name(solver: str, tolerance: float) -> str:
    return f"{SOLVERS[solver]} at {format_tolerance(tolerance)}"


def growth(rows: ProbeRows) -> Growth | None:
    """The growth from the end of epoch 1 to the last epoch, for one solver and tolerance."""
    pairs: list[tuple[float, float]] = []
    digits: list[tuple[float, float]] = []
    epochs = 0.0
    for group in rows.by_seed().values():
        trained = sorted((row for row in group if row["epoch"] >= 1), key=lambda r: r["epoch"])
        if len(trained) < 2:
            continue
        first, last = trained[0], trained[-1]
        pairs.append((last["nfe_forward"], first["nfe_forward"]))
        digits = list(zip(last["nfe_each"], first["nfe_each"], strict=True))
        epochs = last["epoch"]
    if not pairs:
        return None
    last, first = (sum(values) / len(pairs) for values in zip(*pairs, strict=True))
    several = len(pairs) > 1
    units = f"{len(pairs)} seeds" if several else f"{len(digits)} digits of one seed"
    return Growth(first, last, epochs, paired_difference(pairs if several else digits), units)


def _grows(measured: ProbeRows, solver: str, tolerance: float | None, decides: bool) -> Claim:
    text = "The number of evaluations grows with training"
    if tolerance is None:
        return GROWS.claim(f"{text}: {SOLVERS[solver]}", None, str, of_paper=solver == "vode_adams")
    found = growth(measured.where(solver=solver, tolerance=tolerance))

    def describe(difference: Difference) -> str:
        assert found
        return (
            f"{found.first:.1f} after epoch 1, {found.last:.1f} after epoch {found.epochs:g} "
            f"(n = {found.units}): {describe_difference(difference, 1)}"
        )

    return GROWS.claim(
        f"{text}: {_name(solver, tolerance)}",
        found and found.difference,
        describe,
        decides=decides,
        of_paper=solver == "vode_adams",
    )


def _table(rows: ProbeRows, ways: Sequence[tuple[str, float]]) -> Table:
    def column(title: str, key: str, digits: int, **values: str | float) -> Column[float]:
        """A number of the rows with these values at each epoch, over seeds."""
        chosen = rows.where(**values)
        return Column(
            title,
            lambda epoch: spread(get_number(row, key) for row in chosen.where(epoch=epoch)),
            digits,
        )

    columns: list[Column[float]] = [Column("epoch", lambda epoch: int(epoch))]
    columns += [
        column(
            f"NFE, {_name(solver, tolerance)}",
            "nfe_forward",
            1,
            source="measured",
            solver=solver,
            tolerance=tolerance,
        )
        for solver, tolerance in ways
    ]
    columns += [column(title, key, 3, source="state") for key, title in STATES.items()]
    epochs = rows.where(source="measured").values("epoch")
    count = rows.facts.get("examples", "?")
    caption = (
        f"Means over {count} test digits, each solved by itself with the weights of every epoch, "
        f"and standard deviations over seeds; epoch 0 is before training. {_seeds(rows)}"
    )
    return Table("figure3d", caption, columns, epochs)


def _seeds(rows: ProbeRows) -> str:
    seeds = len(rows.by_seed())
    return f"{seeds} seed{'s' if seeds != 1 else ''}."


def _drawings(rows: ProbeRows, ways: Sequence[tuple[str, float]]) -> Parts:
    from node_repro.figures.report_probes import Plot, panels

    measured, states = rows.where(source="measured"), rows.where(source="state")
    if not ways:
        return
    of_way = {f"{SOLVERS[s]}, {t:g}": measured.where(solver=s, tolerance=t) for s, t in ways}
    recorded = rows.where(source="recorded")
    plots = [
        Plot(
            "epoch",
            "NFE forward",
            {name: group.means("epoch", "nfe_forward") for name, group in of_way.items()},
            "on fixed digits",
            curve=paper.FIGURE_3D,
            dots={name: group.pairs("epoch", "nfe_forward") for name, group in of_way.items()},
        ),
        Plot(
            "epoch",
            "NFE",
            {name: recorded.means("epoch", key) for name, key in RECORDED.items()},
            "recorded, at the training's tolerance",
            dots={name: recorded.pairs("epoch", key) for name, key in RECORDED.items()},
        ),
        Plot(
            "epoch", "root mean square", {SIZES[key]: states.means("epoch", key) for key in SIZES}
        ),
        Plot("epoch", MOVED, {MOVED: states.means("epoch", "displacement")}),
    ]
    examples = rows.facts.get("examples", "?")
    yield Drawing(
        "figure3d",
        f"Evaluations of f over the training on {examples} fixed test digits, and what changes "
        f"beside them. Lines are means over seeds, pale dots single seeds. {_seeds(rows)}",
        "Panels over the epochs: evaluations on fixed digits with the paper's curve, recorded "
        "evaluations, sizes of the state and the field, relative change of the state.",
        panels(plots, 2),
    )
