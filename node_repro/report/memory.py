"""Table 1's columns of memory and time, measured: bytes and seconds against the steps."""

import math
import statistics
from collections.abc import Callable, Sequence

from node_repro.report import Artifact, Cell, Claim, Column, Drawing, Table, Verdict
from node_repro.report.absent import unprobed
from node_repro.report.measured import (
    Measured,
    Row,
    groups,
    measured,
    median,
    points,
    runs_of,
    values,
)
from node_repro.report.plots import Lines, drawn
from node_repro.report.runs import Runs
from node_repro.report.spread import found

NETWORK = "table1_odenet"
FIELD = "demo_field_fit"  # small enough for forward sensitivities, too
FLAT = 1.05
PAYING = 0.5
IN_PROPORTION = (0.75, 1.25)
SECONDS = (
    "Seconds are of a machine as it was, perhaps with other runs beside; bytes and evaluations do "
    "not depend on that."
)


def memory(runs: Runs) -> Artifact:
    """Bytes and seconds against the number of steps, by gradient method."""
    both = {name: measured(runs, name, "memory") for name in (NETWORK, FIELD)}
    left_out = [
        f"{gradient} is left out of {name}: {why}."
        for name, rows in both.items()
        for gradient, why in rows.facts.get("left_out", {}).items()
    ]
    return Artifact(
        name="memory",
        title="Memory and time against the number of steps",
        source="table 1, columns memory and time; section 2",
        about="What a gradient costs when the solver takes more steps, for every gradient method.",
        claims=_memory_claims(both[NETWORK]),
        tables=[_memory_table(name, rows) for name, rows in both.items()],
        drawings=[one for name, rows in both.items() for one in _memory_curves(name, rows)],
        notes=[*left_out, SECONDS],
        runs=runs_of(both.values()),
        missing=unprobed(runs, both, "memory"),
        probe="memory",
    )


def _memory_table(name: str, rows: Measured) -> Table:
    ends = values(rows.rows, "steps")
    columns = (
        Column("gradient"),
        Column(f"MB held, {ends[0]:g} step" if ends else "MB held, fewest steps", 4),
        Column(f"MB held, {ends[-1]:g} steps" if ends else "MB held, most steps", 4),
        Column("ratio", 2),
        Column("MB at most, most steps", 4),
        Column("seconds, fewest steps", 3),
        Column("seconds, most steps", 3),
        Column("seconds grow as steps to the power", 2),
    )
    lines: list[list[Cell]] = []
    for gradient, some in groups(rows.rows, lambda row: str(row["gradient"])).items():
        few, many = ([r for r in some if r["steps"] == end] for end in (ends[0], ends[-1]))
        held = [median(part, "held_bytes") for part in (few, many)]
        most, grown = median(many, "peak_bytes"), growth(some)
        lines.append(
            [
                gradient,
                *(None if b is None else b / 1e6 for b in held),
                grown[1] if grown and None not in held else None,
                None if most is None else most / 1e6,
                *(_seconds(part) for part in (few, many)),
                power(some),
            ]
        )
    caption = (
        f"{name}: the trained ODE on {rows.facts.get('examples', '?')} examples in constant steps "
        "of dopri5: bytes held between forward and backward pass, the most at any moment, and "
        "seconds of both passes."
    )
    return Table(f"memory_{name}", caption, columns, lines)


def _seconds(rows: Sequence[Row]) -> float | None:
    parts = [median(rows, name) for name in ("forward_seconds", "backward_seconds")]
    return None if None in parts else sum(part or 0.0 for part in parts)


def power(rows: Sequence[Row]) -> float | None:
    """p of seconds ~ steps^p of one gradient method, by least squares over all numbers of steps,
    as the ends alone would rest on the shortest time, which is the noisiest; None of one number.
    """
    timed = [
        (steps, seconds)
        for row in rows
        if (steps := found(row, "steps")) and (seconds := _seconds([row]))
    ]
    if len({steps for steps, _ in timed}) < 2:
        return None
    logs = [[math.log(number) for number in column] for column in zip(*timed, strict=True)]
    return statistics.linear_regression(*logs).slope


def growth(rows: Sequence[Row]) -> tuple[float, float] | None:
    """How many times more steps, and how many times the bytes held for the backward pass, of one
    gradient method; None of one number of steps.
    """
    held = points(rows, "steps", "held_bytes")
    if len(held) < 2 or not held[0][1]:
        return None
    return held[-1][0] / held[0][0], held[-1][1] / held[0][1]


def _memory_claims(rows: Measured) -> list[Claim]:
    return [
        _growth_claim(
            "Memory of the adjoint method does not grow with the number of steps, O(1)",
            growth(rows.where(gradient="adjoint")),
            f"holds: at most {FLAT} times from the fewest to the most steps",
            lambda steps, ratio: ratio <= FLAT,
        ),
        _growth_claim(
            "Memory of direct back-propagation grows in proportion to the steps, O(L̃)",
            growth(rows.where(gradient="direct")),
            f"holds: by at least {PAYING} of the factor of the steps",
            lambda steps, ratio: ratio >= PAYING * steps,
        ),
        _time_claim(power(rows.where(gradient="adjoint"))),
    ]


def _time_claim(p: float | None) -> Claim:
    text = "Time of the adjoint method grows in proportion to the steps, O(L̃)"
    low, high = IN_PROPORTION
    rule = f"holds: as a power of the steps between {low} and {high}, by least squares"
    if p is None:
        return Claim(text, "not measured", Verdict.OPEN, rule)
    verdict = Verdict.HOLDS if low <= p <= high else Verdict.FAILS
    return Claim(text, f"seconds grow as steps to the power {p:.2f}", verdict, rule)


def _growth_claim(
    text: str,
    grown: tuple[float, float] | None,
    rule: str,
    holds: Callable[[float, float], bool],
) -> Claim:
    if grown is None:
        return Claim(text, "not measured", Verdict.OPEN, rule)
    verdict = Verdict.HOLDS if holds(*grown) else Verdict.FAILS
    return Claim(text, f"{grown[1]:.2f} times for {grown[0]:g} times the steps", verdict, rule)


def _memory_curves(name: str, rows: Measured) -> tuple[Drawing, ...]:
    scaled = [
        {**row, "mb": (found(row, "held_bytes") or 0.0) / 1e6, "seconds": _seconds([row])}
        for row in rows.rows
    ]
    parts = groups(scaled, lambda row: str(row["gradient"]))
    plots = [
        Lines(
            "steps",
            label,
            {method: points(some, "steps", key) for method, some in parts.items()},
            log_x=True,
            log_y=True,
        )
        for key, label in (("mb", "MB held for backward"), ("seconds", "seconds a gradient"))
    ]
    return drawn(
        f"memory_{name}",
        f"Bytes held for the backward pass and seconds of a gradient against the steps, {name}.",
        "Two panels over the number of steps, a line for each gradient method.",
        plots,
    )
