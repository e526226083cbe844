"""Memory and time of a gradient against the number of solver steps: table 1's last columns."""

import math
import statistics
from typing import NamedTuple

from node_repro.report import margins
from node_repro.report.artifact import Claim, Drawing
from node_repro.report.drawings import line_plots
from node_repro.report.probe_rows import ProbeRows, Row, log_plot
from node_repro.report.rules import Rule, at_least, at_most, between
from node_repro.report.section import Parts, section
from node_repro.report.selection import Selection, get_number
from node_repro.report.tables import Column, Table

NETWORK = "table1_odenet"
FIELD = "demo_field_fit"
"""Small enough for forward sensitivities."""

CONSTANT = Rule(at_most("memory at most steps over memory at fewest", margins.CONSTANT_GROWTH))
PROPORTIONAL = Rule(at_least("growth of memory over growth of steps", margins.PROPORTIONAL_SHARE))
LINEAR = Rule(between("exponent of the steps, by least squares", *margins.TIME_EXPONENT))
SECONDS_NOTE = (
    "Seconds depend on the machine and on what else ran on it; bytes and evaluations do not."
)


class Growth(NamedTuple):
    """The growth factors of the steps and of the memory held, from the fewest to the most steps.

    steps: That of another unit of depth, such as blocks, where one is given.
    """

    steps: float
    factor: float


@section(
    order=30,
    name="memory",
    title="Memory and time against the number of steps",
    source="table 1, columns memory and time; section 2",
    experiments=[NETWORK, FIELD],
    probe="memory",
)
def memory(selection: Selection) -> Parts:
    """The cost of a gradient as the solver takes more steps, for every gradient method."""
    probes = {name: ProbeRows.read(selection, name, "memory") for name in (NETWORK, FIELD)}
    adjoint, direct = (probes[NETWORK].where(gradient=g) for g in ("adjoint", "direct"))
    yield CONSTANT.claim(
        "Memory of the adjoint method does not grow with the number of steps, O(1)",
        growth.factor if (growth := memory_growth(adjoint)) else None,
        lambda _: _describe(growth),
    )
    yield _proportional(memory_growth(direct))
    yield LINEAR.claim(
        "Time of the adjoint method is proportional to the number of steps, O(L̃)",
        time_exponent(adjoint),
        lambda exponent: f"seconds grow as steps to the power {exponent:.2f}",
    )
    for name, rows in probes.items():
        yield _table(name, rows)
        yield from _curves(name, rows)
        for gradient, reason in rows.facts.get("left_out", {}).items():
            yield f"{gradient} is left out of {name}: {reason}."
    yield SECONDS_NOTE


def _proportional(growth: Growth | None) -> Claim:
    text = "Memory of direct back-propagation grows in proportion to the number of steps, O(L̃)"
    share = growth.factor / growth.steps if growth else None
    return PROPORTIONAL.claim(text, share, lambda _: _describe(growth))


def _describe(growth: Growth | None) -> str:
    assert growth is not None
    return f"{growth.factor:.2f} times for {growth.steps:g} times the steps"


def memory_growth(rows: ProbeRows, unit: str = "steps") -> Growth | None:
    """Growth of the bytes held for the backward pass, of one gradient method or kind of blocks.

    None if only one number of steps (or of another unit of depth) was measured.
    """
    held = rows.medians(unit, "held_bytes")
    if len(held) < 2 or not held[0][1]:
        return None
    return Growth(held[-1][0] / held[0][0], held[-1][1] / held[0][1])


def time_exponent(rows: ProbeRows) -> float | None:
    """p of seconds ~ steps^p, of one gradient method; None if one number of steps was measured.

    Fitted by least squares over all numbers of steps: the fewest steps take the shortest time,
    which is the noisiest.
    """
    timed = [
        (steps, seconds)
        for row in rows
        if (steps := get_number(row, "steps")) and (seconds := _seconds(row))
    ]
    if len({steps for steps, _ in timed}) < 2:
        return None
    logs = [[math.log(number) for number in column] for column in zip(*timed, strict=True)]
    return statistics.linear_regression(*logs).slope


def _seconds(row: Row) -> float | None:
    """Seconds of the forward and the backward pass."""
    forward, backward = (get_number(row, f"{name}_seconds") for name in ("forward", "backward"))
    return None if forward is None or backward is None else forward + backward


class _Line(NamedTuple):
    """A gradient method: its rows, and those at the fewest and the most steps of all methods."""

    gradient: str
    rows: ProbeRows
    fewest: ProbeRows
    most: ProbeRows

    @property
    def ratio(self) -> float | None:
        growth = memory_growth(self.rows)
        known = _megabytes(self.fewest) is not None and _megabytes(self.most) is not None
        return growth.factor if growth and known else None


def _megabytes(rows: ProbeRows, key: str = "held_bytes") -> float | None:
    held = rows.median(key)
    return None if held is None else held / 1e6


def _median_seconds(rows: ProbeRows) -> float | None:
    parts = [rows.median(f"{name}_seconds") for name in ("forward", "backward")]
    return None if None in parts else sum(part or 0.0 for part in parts)


def _table(name: str, rows: ProbeRows) -> Table:
    steps = rows.values("steps")
    few, many = (f", {steps[0]:g} step", f", {steps[-1]:g} steps") if steps else ("", "")
    few, many = few or ", fewest steps", many or ", most steps"
    columns: list[Column[_Line]] = [
        Column("gradient", lambda line: line.gradient),
        Column(f"MB held{few}", lambda line: _megabytes(line.fewest), 4),
        Column(f"MB held{many}", lambda line: _megabytes(line.most), 4),
        Column("ratio", lambda line: line.ratio, 2),
        Column("peak MB, most steps", lambda line: _megabytes(line.most, "peak_bytes"), 4),
        Column("seconds, fewest steps", lambda line: _median_seconds(line.fewest), 3),
        Column("seconds, most steps", lambda line: _median_seconds(line.most), 3),
        Column("seconds grow as steps to the power", lambda line: time_exponent(line.rows), 2),
    ]
    caption = (
        f"{name}: the trained ODE on {rows.facts.get('examples', '?')} examples, with constant "
        "steps of dopri5: memory held between forward and backward pass, peak memory, and seconds "
        "of both passes."
    )
    lines = [
        _Line(gradient, group, group.where(steps=steps[0]), group.where(steps=steps[-1]))
        for gradient, group in rows.groups("gradient").items()
    ]
    return Table(f"memory_{name}", caption, columns, lines)


def _curves(name: str, rows: ProbeRows) -> list[Drawing]:
    rows = rows.with_value("mb", lambda row: (get_number(row, "held_bytes") or 0.0) / 1e6)
    groups = rows.with_value("seconds", _seconds).groups("gradient")
    plots = [
        log_plot("steps", label, groups, "steps", key)
        for key, label in (("mb", "MB held for backward"), ("seconds", "seconds per gradient"))
    ]
    return line_plots(
        f"memory_{name}",
        f"Memory held for the backward pass and seconds per gradient against the steps, {name}.",
        "Two panels over the number of steps, a line for each gradient method.",
        plots,
    )
