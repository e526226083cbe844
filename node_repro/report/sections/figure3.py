"""Figure 3: error, time and evaluations against the tolerance, and evaluations over training."""

import math
import statistics
from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

from node_repro.report import margins, paper
from node_repro.report.artifact import Claim, Drawing
from node_repro.report.format import (
    describe_fall,
    describe_met,
    format_at,
    format_list,
    format_number,
    format_tolerance,
)
from node_repro.report.probe_rows import ProbeRows, reference_notes
from node_repro.report.rules import Condition, Rule, at_least, between, every, increasing
from node_repro.report.section import Parts, section
from node_repro.report.selection import Selection, get_number
from node_repro.report.statistics import Pairs
from node_repro.report.tables import Column, Table

if TYPE_CHECKING:
    from node_repro.figures.report_probes import Plot

EXPERIMENT = "table1_odenet"
TRAINING = 1e-3
"""The tolerance of the training."""
LARGEST_OF_PAPER = 150
"""The end of the axis of evaluations in the paper's figure."""


class Solver(NamedTuple):
    """A solver with a gradient method, and its name in the report."""

    solver: str
    gradient: str
    name: str

    def rows(self, rows: ProbeRows) -> ProbeRows:
        """The measured rows of this solver."""
        return rows.where(solver=self.solver, gradient=self.gradient)


VODE = Solver("vode_adams", "adjoint_flat", "VODE-Adams, one norm over the whole state")
DOPRI5 = Solver("dopri5", "adjoint", "dopri5")
SOLVERS = (
    VODE,
    Solver("lsoda", "adjoint_flat", "LSODA, one norm over the whole state"),
    DOPRI5,
    Solver("dopri5", "adjoint_seminorm", "dopri5, seminorm"),
    Solver("tsit5", "adjoint", "tsit5"),
)

BELOW: Condition[tuple[float, float]] = Condition(
    "median error < tolerance", lambda pair: pair[1] < pair[0]
)
FALLING = increasing("error falls whenever the tolerance does")
CONTROLLED = Rule(every(BELOW, "at every tolerance") & FALLING)
STRAIGHT = Rule(
    at_least("correlation of seconds and evaluations of VODE-Adams", margins.TIME_CORRELATION)
)
COMPARABLE = Rule(between("convolutions in a forward solve", *margins.LAYERS))


@section(
    order=70,
    name="figure3",
    title="Figure 3: error, time and evaluations",
    source="section 3, figure 3 a to d",
    experiments=[EXPERIMENT],
    probe="tolerance",
)
def figure3(selection: Selection) -> Parts:
    """The trained ODE-Net solved at tolerances from 1 to 1e-5, forward and backward.

    Error is the root mean square distance of the final state from a float64 solve of the same
    weights. A dot is a test minibatch, for LSODA a single digit. Whether the backward solve takes
    half as many evaluations is judged at equal error of the gradient, in a section of its own.
    """
    rows = ProbeRows.read(selection, EXPERIMENT, "tolerance")
    epochs = ProbeRows.read(selection, EXPERIMENT, "epochs").where(source="measured")
    yield from (_controlled(rows, solver) for solver in (VODE, DOPRI5))
    yield _straight(rows)
    yield from (_comparable(rows, solver) for solver in (VODE, DOPRI5))
    yield _table(rows)
    yield from _drawings(rows, epochs, selection.profile)
    yield (
        "Grey boxes and the paper's columns are read off its figure by eye (±10 %). The paper used "
        "an implicit Adams method of scipy; VODE-Adams with one norm over the whole augmented "
        "state comes nearest to it. The paper does not say what a dot is."
    )
    yield from reference_notes(rows, "rms", "The reference's final state")


def _ratio(rows: ProbeRows) -> float | None:
    """The median of backward over forward evaluations."""
    pairs = rows.pairs("nfe_forward", "nfe_backward")
    return statistics.median(b / f for f, b in pairs) if pairs else None


def _slowest(rows: ProbeRows) -> float:
    return max((get_number(row, "forward_seconds") or 0.0 for row in rows), default=0.0)


class _Line(NamedTuple):
    """A row of the table: a solver at a tolerance."""

    solver: Solver
    tolerance: float
    rows: ProbeRows
    slowest: float

    @property
    def paper(self) -> paper.Ranges | None:
        return paper.FIGURE_3.get(self.tolerance)

    @property
    def relative_time(self) -> float | None:
        seconds = self.rows.median("forward_seconds")
        return None if seconds is None else seconds / self.slowest


def _table(rows: ProbeRows) -> Table:
    columns: list[Column[_Line]] = [
        Column("solver", lambda line: line.solver.name),
        Column("tolerance", lambda line: line.tolerance, power=True),
        Column("NFE forward", lambda line: line.rows.median("nfe_forward"), 0),
        Column("paper's forward", lambda line: line.paper and _range(line.paper.forward)),
        Column("NFE backward", lambda line: line.rows.median("nfe_backward"), 0),
        Column("paper's backward", lambda line: line.paper and _range(line.paper.backward)),
        Column("backward / forward", lambda line: _ratio(line.rows), 2),
        Column("error", lambda line: line.rows.median("error_rms")),
        Column("paper's error", lambda line: line.paper and _range(line.paper.error)),
        Column("relative time", lambda line: line.relative_time, 2),
    ]
    lines = [
        _Line(solver, tolerance, group, _slowest(solver.rows(rows)))
        for solver in SOLVERS
        for tolerance, group in solver.rows(rows).by_tolerance()
    ]
    facts = rows.facts
    caption = (
        f"Medians over minibatches of {facts.get('examples_a_batch', '?')} test digits; error "
        f"against {facts.get('reference', 'a reference')}; time relative to the slowest solve by "
        "the same solver."
    )
    return Table("figure3", caption, columns, lines)


def _range(ends: tuple[float, float] | None) -> str | None:
    if ends is None:
        return None
    low, high = (f"{end:g}" if end >= 0.05 else format_number(end, None) for end in ends)
    return low if low == high else f"{low} – {high}"


def _controlled(rows: ProbeRows, solver: Solver) -> Claim:
    text = f"The error stays below the tolerance and falls with it: {solver.name}"
    pairs = solver.rows(rows).medians("tolerance", "error_rms")

    def describe(pairs: Pairs) -> str:
        (small, least), *_, (large, most) = pairs
        ends = f"{format_at(most, large)}, {format_at(least, small)}"
        return f"{ends}, {describe_fall(pairs)}; below {describe_met(pairs, BELOW.test)}"

    return CONTROLLED.claim(text, pairs if len(pairs) > 1 else None, describe)


def _straight(rows: ProbeRows) -> Claim:
    text = "Forward time is proportional to the evaluations of f"
    pairs = VODE.rows(rows).pairs("nfe_forward", "forward_seconds")
    known = len({x for x, _ in pairs}) >= 3
    r = statistics.correlation(*zip(*pairs, strict=True)) if known else None
    return STRAIGHT.claim(text, r, lambda r: f"correlation {r:.2f} over {len(pairs)} solves")


def _comparable(rows: ProbeRows, solver: Solver) -> Claim:
    """Each evaluation of f passes the state through two convolutions, as a residual block does."""
    nfe = solver.rows(rows).where(tolerance=TRAINING).median("nfe_forward")
    layers = None if nfe is None else margins.CONVOLUTIONS * nfe
    published = format_list([f"{name} {count}" for name, count in paper.LAYERS.items()])
    return COMPARABLE.claim(
        f"The evaluations are comparable in number to the layers of modern networks: {solver.name}",
        layers,
        lambda layers: (
            f"{layers:g} convolutions in {nfe:g} evaluations at tolerance "
            f"{format_tolerance(TRAINING)}; layers of {published}"
        ),
    )


def _drawings(rows: ProbeRows, epochs: ProbeRows, profile: str) -> Parts:
    shown = [solver for solver in (VODE, DOPRI5) if solver.rows(rows)]
    if not shown:
        return
    from node_repro.figures.report_probes import Plot, coloured, panels

    seeds = len(rows.by_seed())
    for solver in shown:
        a, b, c = _panels(solver.rows(rows))
        name = "figure3" if solver is VODE else f"figure3_{solver.solver}"
        digits = epochs.facts.get("examples", "?")
        yield Drawing(
            name,
            f"{solver.name}: a, error, b, time and c, backward evaluations against forward "
            f"evaluations, a dot for each of {len(solver.rows(rows).where(tolerance=TRAINING))} "
            f"minibatches of {rows.facts.get('examples_a_batch', '?')} test digits ({seeds} "
            f"seed{'s' if seeds != 1 else ''}) "
            f"at tolerances from 1 to 10⁻⁵; d, means over {digits} fixed test digits by epoch of "
            f"training, a line for each seed and tolerance. Profile {profile}. "
            "Dotted lines are the tolerances; grey boxes and the grey curve are read off the "
            "paper's figure.",
            "Four panels: error falls, time and backward evaluations rise with forward "
            "evaluations; forward evaluations over the epochs; the paper's values in grey.",
            coloured(
                [[a, b], [c, _over_training(epochs.where(solver=solver.solver))]], "tolerance"
            ),
        )
    backward, errors = (
        {
            solver.name: pairs
            for solver in SOLVERS
            if (pairs := _by_tolerance(solver.rows(rows), key)) or key == "error_rms"
        }
        for key in ("nfe_backward", "error_rms")
    )
    errors = {name: pairs for name, pairs in errors.items() if pairs or name in backward}
    yield Drawing(
        "figure3_solvers",
        "The same for all solvers, medians at each tolerance.",
        "Backward evaluations and error over forward evaluations, a line for each solver.",
        panels(
            [
                Plot("NFE forward", "error (RMS)", errors, log_y=True),
                Plot("NFE forward", "NFE backward", backward, diagonal=True),
            ],
            2,
        ),
    )


def _by_tolerance(rows: ProbeRows, key: str) -> Pairs:
    """Medians of the forward evaluations and of a number, at each tolerance."""
    medians = ((group.median("nfe_forward"), group.median(key)) for _, group in rows.by_tolerance())
    return [(nfe, value) for nfe, value in medians if nfe is not None and value is not None]


def _panels(rows: ProbeRows) -> Sequence:
    """Panels a, b and c of one solver: single minibatches, with the paper's ranges."""
    from node_repro.figures.report_probes import Plot

    slowest, ranges = _slowest(rows), paper.FIGURE_3.values()
    rows = rows.with_value(
        "relative", lambda row: (get_number(row, "forward_seconds") or 0.0) / slowest
    )
    tolerances = rows.values("tolerance")
    error, time, backward = (
        {f"{t:g}": rows.where(tolerance=t).pairs("nfe_forward", key) for t in tolerances}
        for key in ("error_rms", "relative", "nfe_backward")
    )
    errors = [(*r.forward, *r.error) for r in ranges if r.error]
    times = [(*r.forward, *r.time) for r in ranges]
    backs = [(*r.forward, r.backward[0] - 0.5, r.backward[1] + 0.5) for r in ranges]
    most = max((*rows.values("nfe_forward"), LARGEST_OF_PAPER))
    dots = Plot("NFE forward", "", {}, joined=False, x_range=(0, most))
    return [
        dots._replace(
            title="a. error of the final state",
            y="error (RMS)",
            series=error,
            log_y=True,
            levels=tolerances,
            boxes=errors,
        ),
        dots._replace(
            title="b. time of the forward solve", y="relative time", series=time, boxes=times
        ),
        dots._replace(
            title="c. evaluations of the backward solve",
            y="NFE backward",
            series=backward,
            diagonal=True,
            boxes=backs,
        ),
    ]


def _over_training(epochs: ProbeRows) -> "Plot":
    """Panel d: a line for each seed, between pairs of NaN."""
    from node_repro.figures.report_probes import Plot

    series = {
        f"{tolerance:g}": [
            pair
            for seed in group.by_seed().values()
            for pair in (*seed.means("epoch", "nfe_forward"), (math.nan, math.nan))
        ]
        for tolerance, group in epochs.by_tolerance()
    }
    title = "d. evaluations over training"
    return Plot("training epoch", "NFE forward", series, title, curve=paper.FIGURE_3D)
