"""Rows measured by probes, for all probed seeds of an experiment, and their medians."""

import statistics
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

from node_repro.report.artifact import Drawing
from node_repro.report.drawings import line_plots
from node_repro.report.format import capitalised, format_number, format_tolerance
from node_repro.report.selection import Selection, get_number
from node_repro.report.statistics import Pairs
from node_repro.report.tables import Column, Table

if TYPE_CHECKING:
    from node_repro.figures.report_probes import Plot

Row = Mapping[str, Any]


@dataclass(frozen=True)
class ProbeRows:
    """Rows of a probe. facts: the values common to all rows, of the lowest seed."""

    rows: Sequence[Row] = ()
    facts: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def read(cls, selection: Selection, experiment: str, probe: str) -> "ProbeRows":
        """The rows of all probed seeds of an experiment, each with its run's seed; empty if none
        was probed.
        """
        runs = selection.probed(experiment, probe)
        rows = [{**row, "seed": run.seed} for run in runs for row in run.probes[probe]["rows"]]
        return cls(rows, runs[0].probes[probe]["facts"] if runs else {})

    def __len__(self) -> int:
        return len(self.rows)

    def __iter__(self) -> Iterator[Row]:
        return iter(self.rows)

    def where(self, **values: Hashable) -> "ProbeRows":
        """The rows that have these values."""
        rows = [row for row in self.rows if all(row.get(k) == v for k, v in values.items())]
        return ProbeRows(rows, self.facts)

    def groups(self, *keys: str) -> "dict[str, ProbeRows]":
        """The rows by the text of these values, "adjoint, dopri5", in the order of the first."""
        groups: dict[str, list[Row]] = {}
        for row in self.rows:
            groups.setdefault(", ".join(str(row.get(key, "?")) for key in keys), []).append(row)
        return {name: ProbeRows(rows, self.facts) for name, rows in groups.items()}

    def by_tolerance(self) -> "list[tuple[float, ProbeRows]]":
        """The rows of each tolerance, from the largest."""
        tolerances = reversed(self.values("tolerance"))
        return [(tolerance, self.where(tolerance=tolerance)) for tolerance in tolerances]

    def lines(self, *keys: str) -> "list[Line]":
        """The rows of each group and tolerance."""
        return [
            Line(name, tolerance, rows)
            for name, group in self.groups(*keys).items()
            for tolerance, rows in group.by_tolerance()
        ]

    def with_value(self, key: str, compute: Callable[[Row], float | None]) -> "ProbeRows":
        """The rows with a further value."""
        return ProbeRows([{**row, key: compute(row)} for row in self.rows], self.facts)

    def values(self, key: str) -> list[float]:
        """The different values of a number, ascending."""
        return sorted({value for row in self if (value := get_number(row, key)) is not None})

    def by_seed(self) -> "dict[int, ProbeRows]":
        """The rows of each seed."""
        return {int(seed): self.where(seed=seed) for seed in self.values("seed")}

    def median(self, key: str) -> float | None:
        """The median of a number over the rows that have it; None if none has."""
        known = [value for row in self if (value := get_number(row, key)) is not None]
        return statistics.median(known) if known else None

    def pairs(self, x: str, y: str) -> Pairs:
        """x and y of every row that has both."""
        return [
            (a, b)
            for row in self
            if (a := get_number(row, x)) is not None and (b := get_number(row, y)) is not None
        ]

    def medians(self, x: str, y: str) -> Pairs:
        """Each x with the median of its y, ascending."""
        return self._reduced(x, y, statistics.median)

    def means(self, x: str, y: str) -> Pairs:
        """Each x with the mean of its y, ascending."""
        return self._reduced(x, y, statistics.mean)

    def _reduced(self, x: str, y: str, reduce: Callable[[list[float]], float]) -> Pairs:
        ys: dict[float, list[float]] = {}
        for a, b in self.pairs(x, y):
            ys.setdefault(a, []).append(b)
        return [(a, reduce(ys[a])) for a in sorted(ys)]


class Line(NamedTuple):
    """A line of a table: the rows of a group at one tolerance."""

    name: str
    tolerance: float
    rows: ProbeRows

    @property
    def iteration(self) -> int | None:
        """The iterations of training."""
        step = self.rows.median("step")
        return None if step is None else int(step)


def median_column(title: str, key: str, digits: int | None = None) -> Column[Line]:
    """A column of medians."""
    return Column(title, lambda line: line.rows.median(key), digits)


TOLERANCE: Column[Line] = Column("tolerance", lambda line: line.tolerance, power=True)


def reference_notes(rows: ProbeRows, key: str, what: str) -> list[str]:
    """A note on the accuracy of a probe's reference solution, if the probe measured it."""
    change = get_number(rows.facts, "reference_at_ten_times_the_tolerance", key)
    if change is None:
        return []
    return [
        f"{what} changes by {format_number(change, None)} if its own tolerance is ten times "
        "larger. Smaller errors than that are partly errors of the reference."
    ]


def table_by_tolerance(
    name: str, caption: str, heading: str, groups: Mapping[str, ProbeRows], key: str
) -> Table:
    """Medians of a number: a row for each group, a column for each tolerance."""
    tolerances = sorted({t for rows in groups.values() for t in rows.values("tolerance")})
    columns: list[Column[Any]] = [Column(heading, lambda item: item[0])]
    for t in reversed(tolerances):
        title = f"at {format_tolerance(t)}"
        columns.append(Column(title, lambda item, t=t: item[1].where(tolerance=t).median(key)))
    return Table(name, caption, columns, groups.items())


def plot_by_tolerance(
    name: str, caption: str, y: str, groups: Mapping[str, ProbeRows], key: str
) -> list[Drawing]:
    """Medians of a number against the tolerance, a line for each group, on logarithmic axes."""
    plot = log_plot("tolerance", y, groups, "tolerance", key)._replace(falling=True)
    alt = f"{capitalised(y)} over the tolerance on logarithmic axes, {len(groups)} lines."
    return line_plots(name, caption, alt, [plot])


def log_plot(x: str, y: str, groups: Mapping[str, ProbeRows], x_key: str, y_key: str) -> "Plot":
    """Medians of y against x, a line for each group, on logarithmic axes."""
    from node_repro.figures.report_probes import Plot

    series = {group: rows.medians(x_key, y_key) for group, rows in groups.items()}
    return Plot(x, y, series, log_x=True, log_y=True)
