"""What probes measured: rows over all probed seeds of an experiment, and their medians."""

import statistics
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from itertools import pairwise
from typing import Any, NamedTuple

from node_repro.report.runs import Run, Runs
from node_repro.report.spread import found
from node_repro.report.words import number

Row = Mapping[str, Any]


class Measured(NamedTuple):
    """runs: those that were probed. facts: of the lowest seed. rows: of all, in their order."""

    runs: tuple[Run, ...]
    facts: Mapping[str, Any]
    rows: Sequence[Row]

    def where(self, **values: Hashable) -> list[Row]:
        """The rows with these values."""
        return [row for row in self.rows if all(row.get(k) == v for k, v in values.items())]


def measured(runs: Runs, experiment: str, probe: str) -> Measured:
    """Empty where nothing was."""
    probed = runs.probed(experiment, probe)
    contents = [run.probes[probe] for run in probed]
    rows = [row for content in contents for row in content["rows"]]
    return Measured(probed, contents[0]["facts"] if contents else {}, rows)


def runs_of(parts: Iterable[Measured]) -> tuple[Run, ...]:
    """All that were probed."""
    return tuple(run for rows in parts for run in rows.runs)


def median(rows: Iterable[Row], value: str) -> float | None:
    """The median of a value over the rows that have it; None of none."""
    known = [number for row in rows if (number := found(row, value)) is not None]
    return statistics.median(known) if known else None


def points(
    rows: Sequence[Row], x: str, y: str, *, whole: bool = False
) -> list[tuple[float, float]]:
    """x and the median of y at each, in order; whole: every row's pair instead."""
    pairs = [
        (a, b)
        for row in rows
        if (a := found(row, x)) is not None and (b := found(row, y)) is not None
    ]
    if whole:
        return pairs
    at: dict[float, list[float]] = {}
    for a, b in pairs:
        at.setdefault(a, []).append(b)
    return [(a, statistics.median(at[a])) for a in sorted(at)]


def groups(rows: Sequence[Row], key: Callable[[Row], str]) -> dict[str, list[Row]]:
    """Rows by a name, in the order of their first."""
    parts: dict[str, list[Row]] = {}
    for row in rows:
        parts.setdefault(key(row), []).append(row)
    return parts


def values(rows: Sequence[Row], key: str) -> list[float]:
    """The different values of a number, ascending."""
    return sorted({number for row in rows if (number := found(row, key)) is not None})


def moved(rows: Measured, key: str, what: str) -> list[str]:
    """A note on how exact the reference of a probe is; none where it does not say."""
    far = found(rows.facts, "reference_at_ten_times_the_tolerance", key)
    if far is None:
        return []
    return [
        f"{what} moves by {number(far, None)} when its own tolerance is ten times "
        "larger: errors not well above that are partly the reference's."
    ]


def falls(pairs: Sequence[tuple[float, float]]) -> bool:
    """Whether y falls wherever x does; pairs in the order of x."""
    return all(a < b for (_, a), (_, b) in pairwise(pairs))
