"""Reading records: rows by name, medians, ratios."""

from statistics import median
from typing import Any, NamedTuple

Row = dict[str, Any]
Records = dict[str, dict[str, Any]]
"""Records by subject."""


def number(value: float) -> str:
    """Three significant digits, without an exponent from 0.001 on."""
    if value >= 1000:
        digits = 3 - len(f"{value:.0f}")
        return f"{round(value, digits):,.0f}"
    return f"{value:.3g}"


def find(rows: list[Row], name: str) -> Row | None:
    """The row of a contender, None if it did not run."""
    return next((row for row in rows if row["name"] == name and "not_run" not in row), None)


def case(records: Records, size: int, end: float) -> list[Row]:
    """The rows of a case of the solver alone."""
    cases = records.get("solver", {}).get("cases", ())
    return next((c["rows"] for c in cases if (c["size"], c["end"]) == (size, end)), [])


def rows_of(records: Records, subject: str) -> list[Row]:
    """The rows of a subject, [] if it was not measured."""
    return records.get(subject, {}).get("rows", [])


def ratio(slow: Row, fast: Row) -> float:
    """How many times the fast one's seconds the slow one takes: the median over the rounds."""
    return median(a / b for a, b in zip(slow["seconds"], fast["seconds"], strict=True))


def per_step(row: Row) -> list[float]:
    """Microseconds of an attempted step, for every round."""
    return [1e6 * seconds / row["attempted"] for seconds in row["seconds"]]


def step_ratio(slow: Row, fast: Row) -> float:
    """The same as `ratio`, for the time of an attempted step."""
    return ratio(slow, fast) * fast["attempted"] / slow["attempted"]


class Best(NamedTuple):
    """Our fastest row beside a peer's. equal: its gradient error is no larger than the peer's."""

    row: Row
    ratio: float
    equal: bool


def best(rows: list[Row], peer: str, only: str = "") -> Best | None:
    """Our fastest row whose gradient error is no larger than a peer's; if there is none, our
    fastest row. None if there is nothing to compare.

    Args:
        rows: The rows of a training iteration.
        peer: The name of the peer's row.
        only: A word in the names of the rows that count.
    """
    other = find(rows, peer)
    ours = [
        row
        for row in rows
        if row["name"].startswith("ours") and only in row["name"] and "not_run" not in row
    ]
    if other is None or not ours:
        return None
    equal = [row for row in ours if row["gradient_error"] <= other["gradient_error"]]
    found = [Best(row, ratio(other, row), bool(equal)) for row in equal or ours]
    return max(found, key=lambda one: one.ratio)


def fastest(rows: list[Row], prefix: str) -> Row | None:
    """The row with the smallest median among those whose names begin like this."""
    ran = [row for row in rows if row["name"].startswith(prefix) and "not_run" not in row]
    return min(ran, key=lambda row: median(row["seconds"]), default=None)


def growth(case: dict[str, Any], factor: float) -> tuple[float, float] | None:
    """How much more memory a solve with `factor` times the evaluations needs.

    Returns:
        The factor of evaluations and the larger of the two factors of memory (saved, allocated);
        None if it did not run.
    """
    if "not_run" in case:
        return None
    first, *more = sorted(case["rows"], key=lambda row: row["nfe"])
    many = next((row for row in more if row["nfe"] >= factor * first["nfe"]), more[-1])
    grown = max(many[key] / first[key] for key in ("saved", "allocated"))
    return many["nfe"] / first["nfe"], grown
