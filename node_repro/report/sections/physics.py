"""Mechanical systems with and without physical structure, and a ball learned through events."""

import math
from collections.abc import Callable, Mapping
from typing import Any

from node_repro.report import margins
from node_repro.report.artifact import Claim, Drawing
from node_repro.report.comparisons import (
    above_zero,
    describe_difference,
    describe_mean,
    mean_at_most,
)
from node_repro.report.drawings import format_seeds, line_plots, run_arrays, run_picture
from node_repro.report.format import format_number
from node_repro.report.section import Parts, section
from node_repro.report.selection import Seeds, Selection
from node_repro.report.statistics import Difference, difference_over_seeds, percent, scaled
from node_repro.report.tables import Cell, Column, Table

SYSTEMS = {"pendulum": "pendulum", "kepler": "two bodies"}
FIELDS = {"plain": "plain field", "hamiltonian": "Hamiltonian", "lagrangian": "Lagrangian"}
LEARNED = {
    "pendulum": ("plain", "hamiltonian", "lagrangian"),
    "kepler": ("plain", "hamiltonian"),
}
BALLS = {
    "times": "events, from the times of bounces",
    "heights": "events, from heights",
    "plain": "plain field, from heights",
}
CONSTANTS = {
    "gravity": ("gravity is recovered", margins.BALL_SHARE, 100.0, " %"),
    "restitution": ("restitution is recovered", margins.BALL_SHARE, 100.0, " %"),
    "floor": ("the height of the floor is recovered", margins.BALL_FLOOR, 100.0, " cm"),
}
NAMES = [
    *(f"physics_{system}_{field}" for system, fields in LEARNED.items() for field in fields),
    *(f"physics_ball_{key}" for key in BALLS),
]
POINTS = 60  # of a line

Fields = Mapping[str, Seeds]


@section(
    order=65,
    name="physics",
    title="Physics: learned energies, and a ball learned through events",
    source="not in the paper",
    experiments=NAMES,
)
def physics(selection: Selection) -> Parts:
    """Fields of a pendulum and of two bodies, learned from noisy motions and solved ten times as
    far; and the constants of a bouncing ball, learned by gradients through the times of bounces.
    """
    systems = {
        name: {field: selection.seeds(f"physics_{key}_{field}") for field in LEARNED[key]}
        for key, name in SYSTEMS.items()
    }
    balls = {key: selection.seeds(f"physics_ball_{key}") for key in BALLS}
    for name, fields in systems.items():
        yield from _field_claims(name, fields, selection.decides)
    yield from _ball_claims(balls, selection.decides)
    yield _field_table(systems)
    yield _ball_table(balls)
    for key, name in SYSTEMS.items():
        yield from _over_time(key, name, systems[name])
        for field, seeds in systems[name].items():
            yield from run_picture(
                f"physics_{key}_{field}",
                seeds,
                "motions.png",
                f"{name.capitalize()}, {FIELDS[field]}: test motions, the learned field, and error "
                "and drift of the energy over time; the training horizon is grey.",
                "Four panels: paths, arrows, and two rising curves.",
            )
    for key, words in BALLS.items():
        caption = f"Bouncing ball, {words}: two test throws; the training horizon is grey."
        alt = "Heights of a ball over time, as arcs that become smaller."
        yield from run_picture(f"physics_ball_{key}", balls[key], "throws.png", caption, alt)


def _field_claims(system: str, fields: Fields, decides: bool) -> list[Claim]:
    claims = []
    for field in list(fields)[1:]:
        network = f"{system}: a {FIELDS[field]} network"
        pair = fields[field], fields["plain"]
        claims.append(
            _lower(
                f"{network} keeps the energy better than a plain field",
                "energy_drift",
                *pair,
                decides,
                log=True,
            )
        )
        claims.append(
            _lower(
                f"{network} predicts ahead better than a plain field", "rmse_ahead", *pair, decides
            )
        )
    return claims


def _ball_claims(balls: Fields, decides: bool) -> list[Claim]:
    claims = []
    for name, (words, limit, factor, unit) in CONSTANTS.items():
        what = f"error of the {name}"
        error = scaled(balls["times"].diagnostic("error", name), factor)
        claims.append(
            mean_at_most(what, factor * limit, unit).claim(
                f"From the times of three bounces {words} within {factor * limit:g}{unit}",
                error,
                lambda mean, unit=unit: describe_mean(mean, 2, unit),
                decides=decides,
                of_paper=False,
            )
        )
    text = "Bouncing ball: with events, heights ahead are predicted better than by a plain field"
    return [*claims, _lower(text, "rmse_ahead", balls["heights"], balls["plain"], decides)]


def _lower(
    text: str, metric: str, ours: Seeds, other: Seeds, decides: bool, *, log: bool = False
) -> Claim:
    """The claim that a score is lower than that of the plain field, seed by seed.

    log: Whether to compare the logarithms to base 10.
    """
    change: Callable[[float], float] = math.log10 if log else float
    a, b = (
        {seed: change(score) for seed, score in seeds.tests_by_seed(metric).items()}
        for seeds in (other, ours)
    )
    difference = difference_over_seeds(a, b) if a and b else None
    words = "plain field − other"

    def describe(difference: Difference) -> str:
        means = [seeds.test(metric) for seeds in (ours, other)]
        pair = " against ".join(format_number(mean.mean, None) for mean in means if mean)
        unit = " decades" if log else ""
        return f"{pair}: {describe_difference(difference, 3, unit)}"

    rule = above_zero(f"log10 of the drift: {words}" if log else words)
    return rule.claim(text, difference, describe, decides=decides, of_paper=False)


def _field_table(systems: Mapping[str, Fields]) -> Table:
    columns: list[Column[tuple[str, str, Seeds]]] = [
        Column("system", lambda row: row[0]),
        Column("field", lambda row: FIELDS[row[1]]),
        Column("parameters", lambda row: row[2].parameters),
        Column("RMSE within the horizon", lambda row: row[2].test("rmse_within"), 4),
        Column("RMSE ahead", lambda row: row[2].test("rmse_ahead"), 3),
        Column("drift of the energy", lambda row: row[2].test("energy_drift")),
        Column("of its own energy", lambda row: row[2].diagnostic("own_energy_drift")),
        Column("seeds", lambda row: row[2].count),
    ]
    rows = [
        (name, field, seeds)
        for name, fields in systems.items()
        for field, seeds in fields.items()
        if seeds
    ]
    caption = (
        "Test motions over ten training horizons. The drift of the energy is |E(t) − E(0)| / "
        "|E(0)| after the first horizon, averaged over time, and geometrically over the motions. "
        "That of the energy which a network conserves by construction is due to the solver."
    )
    return Table("physics_fields", caption, columns, rows)


def _ball_table(balls: Fields) -> Table:
    def error(name: str) -> Callable[[tuple[str, Seeds]], Cell]:
        return lambda row: percent(row[1].diagnostic("error", name))

    columns: list[Column[tuple[str, Seeds]]] = [
        Column("model", lambda row: row[0]),
        Column("parameters", lambda row: row[1].parameters),
        Column("error of gravity, %", error("gravity"), 2),
        Column("of restitution, %", error("restitution"), 2),
        Column("of the floor, cm", error("floor"), 2),
        Column("RMSE within the horizon, m", lambda row: row[1].test("rmse_within"), 4),
        Column("RMSE ahead, m", lambda row: row[1].test("rmse_ahead"), 3),
        Column("seeds", lambda row: row[1].count),
    ]
    rows = [(BALLS[key], seeds) for key, seeds in balls.items() if seeds]
    caption = (
        "A bouncing ball. Errors of the learned constants are absolute values; RMSEs are of the "
        "heights of test throws over twice the training horizon."
    )
    return Table("physics_ball", caption, columns, rows)


def _over_time(key: str, name: str, fields: Fields) -> list[Drawing]:
    """Error and drift of the energy over time, a line for each field."""
    from node_repro.figures.report_probes import Plot

    found = {
        FIELDS[field]: arrays
        for field, seeds in fields.items()
        if (arrays := run_arrays(seeds, "motions.npz"))
    }
    titles = {"error": "RMSE of the state", "drift": "drift of the energy"}
    plots = [
        Plot(
            "time",
            title,
            {name: _line(values, of) for name, (_, values) in found.items()},
            log_y=True,
        )
        for of, title in titles.items()
    ]
    seeds = format_seeds(seed for seed, _ in found.values())
    caption = (
        f"{name.capitalize()}: error and drift of the energy of test motions over time. {seeds}"
    )
    alt = "Two panels of curves over time, one for each field."
    return line_plots(f"physics_{key}_time", caption, alt, plots)


def _line(arrays: Mapping[str, Any], name: str) -> list[tuple[float, float]]:
    """At most POINTS values over time, without the first time, at which they are 0."""
    stride = -(-len(arrays["ts"]) // POINTS)
    times, values = (arrays[key][1::stride].tolist() for key in ("ts", name))
    return list(zip(times, values, strict=True))
