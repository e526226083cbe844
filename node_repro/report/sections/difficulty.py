"""Whether a solve costs more for more difficult examples."""

import math
import statistics
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import NamedTuple

from node_repro.report import margins
from node_repro.report.artifact import Claim, Drawing
from node_repro.report.comparisons import above, describe_mean, mean_at_least
from node_repro.report.format import format_interval, format_number
from node_repro.report.probe_rows import ProbeRows, Row
from node_repro.report.section import Parts, section
from node_repro.report.selection import Selection, get_number
from node_repro.report.statistics import (
    Interval,
    Pairs,
    Spread,
    correlation_interval,
    rank_correlation,
    spread,
)
from node_repro.report.tables import Column, Table

NETWORK = "table1_odenet"
COSTS = {
    "vode_adams_forward": "VODE-Adams, forward",
    "vode_adams_backward": "VODE-Adams, backward",
    "dopri5_forward": "dopri5, forward",
    "dopri5_backward": "dopri5, backward",
}
MEASURES: dict[str, tuple[str, Callable[[Row], float | None]]] = {
    "loss": ("loss", lambda row: get_number(row, "loss_nats")),
    "margin": ("− margin", lambda row: -row["margin"]),
    "error": ("misclassified", lambda row: float(row["error"])),
}
"""Measures of difficulty, larger for more difficult examples."""

SCALES = above("rank correlation of evaluations and loss", margins.DIFFICULTY_CORRELATION)
MOVES = mean_at_least("rank correlation within a digit", margins.DIFFICULTY_CORRELATION)


class Correlation(NamedTuple):
    """A rank correlation over the same digits for every seed, and its interval for one seed."""

    value: float
    interval: Interval
    digits: int
    seeds: int


@section(
    order=85,
    name="difficulty",
    title="Evaluations and the difficulty of an example",
    source="the authors' talk: “cost scales with instance difficulty”",
    experiments=[NETWORK],
    probe="difficulty",
)
def difficulty(selection: Selection) -> Parts:
    """Test digits solved one by one, forward and backward, against how difficult they are.

    Difficulty is measured by the loss, by the margin (the score of the digit's class less the
    largest other one) and by whether the digit is misclassified; and it is varied by rotating
    digits and by adding noise.
    """
    rows = ProbeRows.read(selection, NETWORK, "difficulty")
    tests = rows.where(source="test")
    for cost, name in COSTS.items():
        yield _scales(tests, cost, name, selection.decides)
    for source, words in (("rotation", "the angle of a digit"), ("noise", "noise on a digit")):
        yield _moves(rows.where(source=source), words, selection.decides)
    yield _table(tests)
    yield from _drawings(rows)


def correlate(tests: ProbeRows, cost: str, measure: str) -> Correlation | None:
    """The rank correlation of evaluations and difficulty over digits.

    Over several seeds it is the mean by Fisher's transformation. All are tested on the same digits,
    so that the interval is that of one seed.
    """
    get = MEASURES[measure][1]
    found, digits = [], 0
    for group in tests.by_seed().values():
        pairs = group.with_value("difficulty", get).pairs("difficulty", cost)
        value = rank_correlation(pairs)
        if value is not None:
            found.append(math.atanh(max(-0.999999, min(0.999999, value))))
            digits = len(pairs)
    if not found:
        return None
    mean = math.tanh(statistics.mean(found))
    interval = correlation_interval(mean, digits, margins.CONFIDENCE)
    return Correlation(mean, interval, digits, len(found))


def within_digits(rows: ProbeRows, cost: str) -> Spread | None:
    """The rank correlation of level and evaluations within a digit, over digits.

    A digit whose evaluations do not change counts as 0. Over several seeds, a digit's value is the
    mean over them.
    """
    digits = []
    for example in rows.values("example"):
        values = [
            rank_correlation(group.where(example=example).pairs("level", cost)) or 0.0
            for group in rows.by_seed().values()
        ]
        digits.append(statistics.mean(values))
    return spread(digits)


def _scales(tests: ProbeRows, cost: str, name: str, decides: bool) -> Claim:
    found = correlate(tests, cost, "loss")

    def describe(interval: Interval) -> str:
        assert found
        seeds = f", {found.seeds} seeds" if found.seeds > 1 else ""
        ends = format_interval(interval, 2, margins.CONFIDENCE)
        return f"{format_number(found.value, 2)}, {ends} (n = {found.digits} digits{seeds})"

    return SCALES.claim(
        f"The cost of a solve scales with the difficulty of the instance: {name}",
        found and found.interval,
        describe,
        decides=decides,
        of_paper=cost.startswith("vode_adams"),
    )


def _moves(rows: ProbeRows, words: str, decides: bool) -> Claim:
    return MOVES.claim(
        f"The cost of a solve rises with {words}: VODE-Adams, forward",
        within_digits(rows, "vode_adams_forward"),
        lambda mean: f"{describe_mean(mean, 2)} over digits",
        decides=decides,
        of_paper=False,
    )


class _Line(NamedTuple):
    """The evaluations of a solver and direction."""

    cost: str
    name: str
    tests: ProbeRows

    def correlation(self, measure: str) -> str | None:
        found = correlate(self.tests, self.cost, measure)
        if found is None:
            return None
        low, high = (format_number(end, 2) for end in found.interval)
        return f"{format_number(found.value, 2)} ({low} to {high})"


def _column(title: str, measure: str) -> Column[_Line]:
    return Column(title, lambda line: line.correlation(measure))


def _table(tests: ProbeRows) -> Table:
    columns: list[Column[_Line]] = [
        Column("evaluations", lambda line: line.name),
        Column("fewest", lambda line: min(line.tests.values(line.cost), default=None), 0),
        Column("median", lambda line: line.tests.median(line.cost), 0),
        Column("most", lambda line: max(line.tests.values(line.cost), default=None), 0),
    ]
    columns += [_column(title, measure) for measure, (title, _) in MEASURES.items()]
    facts = tests.facts
    caption = (
        f"Evaluations of single solves of {facts.get('examples', '?')} test digits at tolerance "
        f"{facts.get('tolerance', '?')}, and their rank correlations with the digits' difficulty "
        "(95 % interval)."
    )
    lines = [_Line(cost, name, tests) for cost, name in COSTS.items()] if tests else []
    return Table("difficulty", caption, columns, lines)


def _drawings(rows: ProbeRows) -> Parts:
    from node_repro.figures.report_probes import Plot, panels

    tests = rows.where(source="test")
    if not tests:
        return
    forward = {
        "VODE-Adams": "vode_adams_forward",
        "dopri5": "dopri5_forward",
    }
    y = "NFE forward"
    by_rank = {name: _by_quantile(tests.pairs("loss_nats", key)) for name, key in forward.items()}
    plots = [
        Plot(
            "loss, nats",
            y,
            {name: tests.pairs("loss_nats", key) for name, key in forward.items()},
            log_x=True,
            joined=False,
        ),
        Plot("loss, rank in %", f"mean {y}", by_rank),
        Plot(
            y,
            "NFE backward",
            {
                name: tests.pairs(key, key.replace("forward", "backward"))
                for name, key in forward.items()
            },
            joined=False,
            diagonal=True,
        ),
        Plot(
            "class",
            f"mean {y}",
            {name: tests.means("class", key) for name, key in forward.items()},
            joined=False,
        ),
    ]
    plots += [
        Plot(
            label,
            f"mean {y}",
            {name: rows.where(source=source).means("level", key) for name, key in forward.items()},
        )
        for source, label in (("rotation", "rotation, degrees"), ("noise", "noise, of white"))
    ]
    facts = rows.facts
    yield Drawing(
        "difficulty",
        f"Evaluations of single solves of {facts.get('examples', '?')} test digits: against the "
        "loss, in means over tenths of the digits by loss, backward against forward, by class; and "
        f"of {facts.get('disturbed', '?')} of them rotated and with noise.",
        "Six panels: forward evaluations over loss, its rank, class, rotation and noise, and "
        "backward over forward evaluations.",
        panels(plots, 3),
    )


def _by_quantile(pairs: Pairs, parts: int = 10) -> Sequence[tuple[float, float]]:
    """Means of y over `parts` equal parts of the pairs by x, at the middle of each in per cent."""
    ordered = sorted(pairs)
    cuts = [len(ordered) * i // parts for i in range(parts + 1)]
    return [
        (100 * (i + 0.5) / parts, statistics.mean(y for _, y in ordered[low:high]))
        for i, (low, high) in enumerate(pairwise(cuts))
        if high > low
    ]
