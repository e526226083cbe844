"""Figure 3 a to c: what a tolerance buys."""

import statistics
from collections.abc import Sequence
from typing import NamedTuple

from node_repro.report import TOLERANCE, Artifact, Cell, Claim, Column, Drawing, Table, Verdict
from node_repro.report.absent import unprobed
from node_repro.report.measured import Measured, Row, falls, measured, median, moved, points, values
from node_repro.report.runs import Runs
from node_repro.report.spread import found
from node_repro.report.words import at, number
from node_repro.report.words import tolerance as told_tolerance

EXPERIMENT = "table1_odenet"
WAYS = {
    ("vode_adams", "adjoint_flat"): "VODE-Adams, one norm over all",
    ("lsoda", "adjoint_flat"): "LSODA, one norm over all",
    ("dopri5", "adjoint"): "dopri5",
    ("dopri5", "adjoint_seminorm"): "dopri5, seminorm",
    ("tsit5", "adjoint"): "tsit5",
}
PAPERS = ("vode_adams", "adjoint_flat")
OURS = ("dopri5", "adjoint")
HALF, STRAIGHT = 0.6, 0.9


class Digitised(NamedTuple):
    """The paper's ranges at one tolerance, read off its figure by eye; error None: off the axis."""

    forward: tuple[float, float]
    error: tuple[float, float] | None
    time: tuple[float, float]
    backward: tuple[float, float]


PAPER = {
    1.0: Digitised((8, 16), (2e-3, 2e-2), (0.07, 0.20), (6, 6)),
    1e-1: Digitised((12, 22), (4e-4, 3e-2), (0.20, 0.25), (7, 7)),
    1e-2: Digitised((15, 30), (1e-4, 4e-3), (0.13, 0.30), (8, 12)),
    1e-3: Digitised((28, 46), (5e-5, 7e-4), (0.20, 0.42), (10, 25)),
    1e-4: Digitised((47, 70), (1e-5, 6e-5), (0.33, 0.78), (18, 37)),
    1e-5: Digitised((98, 145), None, (0.77, 1.00), (40, 80)),
}


def artifact(runs: Runs) -> Artifact:
    """Figure 3 a to c."""
    found_rows = measured(runs, EXPERIMENT, "tolerance")
    examples = found_rows.facts.get("examples_a_batch", "?")
    return Artifact(
        name="figure3",
        title="Figure 3 a–c: error, time and evaluations against the tolerance",
        source="section 3, figure 3 a to c",
        about=(
            "The trained ODE-Net solved at tolerances from 1 to 1e-5, forward and backward. "
            "Error is the root mean square of the final state's distance from a float64 solve of "
            f"the same weights ({found_rows.facts.get('reference', 'not measured')}); every dot "
            f"is a test minibatch of {examples}, for LSODA a single digit."
        ),
        claims=_claims(found_rows),
        tables=(_table(found_rows),),
        drawings=_drawings(found_rows),
        notes=[
            "Grey boxes and the paper's columns are its figure read by eye (±10 %). The paper used "
            "an implicit Adams method through scipy; VODE-Adams with one norm over the whole "
            "augmented state comes nearest to it. It does not say what one of its dots is.",
            *moved(found_rows, "rms", "The reference's final state"),
        ],
        runs=found_rows.runs,
        missing=unprobed(runs, [EXPERIMENT], "tolerance"),
        probe="tolerance",
    )


def _of(rows: Measured, way: tuple[str, str]) -> list[Row]:
    return rows.where(solver=way[0], gradient=way[1])


def _at(rows: Sequence[Row], tolerance: float) -> list[Row]:
    return [row for row in rows if row["tolerance"] == tolerance]


def _ratio(rows: Sequence[Row]) -> float | None:
    pairs = points(rows, "nfe_forward", "nfe_backward", whole=True)
    return statistics.median(b / f for f, b in pairs) if pairs else None


def _by_tolerance(rows: Sequence[Row], y: str) -> list[tuple[float, float]]:
    """At each tolerance the medians of the forward evaluations and of y."""
    pairs = []
    for tolerance in reversed(values(rows, "tolerance")):
        here = _at(rows, tolerance)
        nfe, value = median(here, "nfe_forward"), median(here, y)
        if nfe is not None and value is not None:
            pairs.append((nfe, value))
    return pairs


def _slowest(rows: Sequence[Row]) -> float:
    return max((found(row, "forward_seconds") or 0.0 for row in rows), default=0.0)


def _table(rows: Measured) -> Table:
    columns = (
        Column("solver"),
        TOLERANCE,
        Column("NFE forward", 0),
        Column("paper's forward"),
        Column("NFE backward", 0),
        Column("paper's backward"),
        Column("backward / forward", 2),
        Column("error"),
        Column("paper's error"),
        Column("relative time", 2),
    )
    lines: list[list[Cell]] = []
    for way, name in WAYS.items():
        mine = _of(rows, way)
        for tolerance in reversed(values(mine, "tolerance")):
            here, paper = _at(mine, tolerance), PAPER.get(tolerance)
            seconds = median(here, "forward_seconds")
            lines.append(
                [
                    name,
                    tolerance,
                    median(here, "nfe_forward"),
                    _range(paper and paper.forward),
                    median(here, "nfe_backward"),
                    _range(paper and paper.backward),
                    _ratio(here),
                    median(here, "error_rms"),
                    _range(paper and paper.error),
                    None if seconds is None else seconds / _slowest(mine),
                ]
            )
    caption = "Medians over the minibatches; relative time is of the slowest solve by that solver."
    return Table("figure3", caption, columns, lines)


def _range(ends: tuple[float, float] | None) -> str | None:
    if ends is None:
        return None
    low, high = (f"{end:g}" if end >= 0.05 else number(end, None) for end in ends)
    return low if low == high else f"{low} – {high}"


def _claims(rows: Measured) -> list[Claim]:
    return [
        *(_below(rows, way) for way in (PAPERS, OURS)),
        _straight(rows),
        *(_halved(rows, way) for way in WAYS),
    ]


def _below(rows: Measured, way: tuple[str, str]) -> Claim:
    text = f"The true error keeps below the tolerance and falls with it: {WAYS[way]}"
    rule = "holds: medians below at every tolerance and falling; in part: one of the two"
    pairs = points(_of(rows, way), "tolerance", "error_rms")
    if len(pairs) < 2:
        return Claim(text, "not measured", Verdict.OPEN, rule)
    kept = sum(error < tolerance for tolerance, error in pairs)
    falling = falls(pairs)
    states = (kept == len(pairs), falling)
    verdict = Verdict.HOLDS if all(states) else Verdict.PARTLY if any(states) else Verdict.FAILS
    (small, least), (large, most) = pairs[0], pairs[-1]
    words = "falling throughout" if falling else "not falling throughout"
    words = f"{at(most, large)}, {at(least, small)}, {words}"
    return Claim(text, f"{words}; below at {kept} of {len(pairs)}", verdict, rule)


def _straight(rows: Measured) -> Claim:
    text = "Forward time is proportional to the evaluations of f"
    rule = f"holds: correlation of seconds and evaluations at least {STRAIGHT}, for VODE-Adams"
    pairs = points(_of(rows, PAPERS), "nfe_forward", "forward_seconds", whole=True)
    if len({x for x, _ in pairs}) < 3:
        return Claim(text, "not measured", Verdict.OPEN, rule)
    r = statistics.correlation(*zip(*pairs, strict=True))
    verdict = Verdict.HOLDS if r >= STRAIGHT else Verdict.FAILS
    return Claim(text, f"correlation {r:.2f} over {len(pairs)} solves", verdict, rule)


def _halved(rows: Measured, way: tuple[str, str]) -> Claim:
    text = f"The backward solve needs about half the evaluations of the forward one: {WAYS[way]}"
    rule = f"holds: median ratio over all tolerances at most {HALF}; in part: below 1"
    ratio = _ratio(_of(rows, way))
    if ratio is None:
        return Claim(text, "not measured", Verdict.OPEN, rule)
    judged = Verdict.HOLDS if ratio <= HALF else Verdict.PARTLY if ratio < 1 else Verdict.FAILS
    mine = _of(rows, way)
    by_tolerance = ", ".join(
        f"{single:.2f} at {told_tolerance(tolerance)}"
        for tolerance in reversed(values(mine, "tolerance"))
        if (single := _ratio(_at(mine, tolerance))) is not None
    )
    return Claim(text, f"{ratio:.2f} ({by_tolerance})", judged, rule)


def _drawings(rows: Measured) -> tuple[Drawing, ...]:
    shown = [way for way in (PAPERS, OURS) if _of(rows, way)]
    if not shown:
        return ()
    from node_repro.figures.report_probes import Plot, coloured, panels

    grid = [_row_of_panels(_of(rows, way), WAYS[way]) for way in shown]
    known = {name: _of(rows, way) for way, name in WAYS.items() if _of(rows, way)}
    backward, errors = (
        {name: _by_tolerance(some, key) for name, some in known.items()}
        for key in ("nfe_backward", "error_rms")
    )
    backward = {name: pairs for name, pairs in backward.items() if pairs}
    both = Plot("NFE forward", "NFE backward", backward, diagonal=True)
    work = Plot("NFE forward", "error (RMS)", errors, log_y=True)
    return (
        Drawing(
            "figure3",
            "Error, time and backward evaluations against forward evaluations; colour is the "
            "tolerance, dotted lines are the tolerances, grey boxes are read off the paper's "
            "figure.",
            "Three panels a solver: error falls, time and backward evaluations rise with forward "
            "evaluations; the paper's ranges as grey boxes.",
            coloured(grid, "tolerance"),
        ),
        Drawing(
            "figure3_solvers",
            "The same for all solvers, medians at each tolerance.",
            "Backward evaluations and error over forward evaluations, a line for each solver.",
            panels([work, both], 2),
        ),
    )


def _row_of_panels(rows: Sequence[Row], name: str) -> list:
    """Panels a, b and c of one solver, single minibatches, with the paper's ranges."""
    from node_repro.figures.report_probes import Plot

    slowest, tols, paper = _slowest(rows), values(rows, "tolerance"), list(PAPER.values())
    timed = [{**row, "relative": (found(row, "forward_seconds") or 0.0) / slowest} for row in rows]
    error, time, backward = (
        {f"{tol:g}": points(_at(timed, tol), "nfe_forward", y, whole=True) for tol in tols}
        for y in ("error_rms", "relative", "nfe_backward")
    )
    errors = [(*p.forward, *p.error) for p in paper if p.error]
    times = [(*p.forward, *p.time) for p in paper]
    backs = [(*p.forward, p.backward[0] - 0.5, p.backward[1] + 0.5) for p in paper]
    x, a = "NFE forward", f"a. {name}"
    return [
        Plot(x, "error (RMS)", error, a, log_y=True, levels=tols, boxes=errors),
        Plot(x, "relative time", time, "b.", boxes=times),
        Plot(x, "NFE backward", backward, "c.", diagonal=True, boxes=backs),
    ]
