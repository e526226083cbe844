"""Whether the backward solve takes half as many evaluations, at equal error of the gradient."""

import math
import statistics
from collections.abc import Callable, Sequence

from node_repro.report import margins
from node_repro.report.artifact import Claim, Drawing
from node_repro.report.backward_solves import (
    Group,
    dilutions,
    fresh_groups,
    group_solves,
    predicted_ratio,
)
from node_repro.report.comparisons import increase_at_most
from node_repro.report.format import format_interval, format_number
from node_repro.report.probe_rows import ProbeRows
from node_repro.report.rules import Condition, Rule, between, every
from node_repro.report.section import Parts, section
from node_repro.report.selection import Selection
from node_repro.report.statistics import Interval, Pairs, spread
from node_repro.report.tables import Column, Table

NETWORK = "table1_odenet"

_HALF = between("backward / forward at equal error of the gradient", *margins.HALF)
HALF: Rule[Sequence[float]] = Rule(
    every(_HALF, "for every size of the minibatch"),
    Condition("for none", lambda ratios: not any(map(_HALF.test, ratios))),
)
NEAR_PREDICTION: Condition[tuple[float, float]] = Condition(
    f"measured ratio within {margins.DILUTION:.0%} of (2 + K/n)^(−1/10)",
    lambda pair: abs(pair[0] / pair[1] - 1) <= margins.DILUTION,
)
PREDICTED = Rule(every(NEAR_PREDICTION, "for every K/n"))
NO_WORSE = increase_at_most(
    "the error of the gradient with an inherited over that with a fresh first step",
    margins.INHERITED_ERROR,
)

DRAWN = (
    ("dopri5", "full", "fresh"),
    ("dopri5", "full", "inherited"),
    ("dopri5", "flat", "fresh"),
    ("vode_adams", "flat", "fresh"),
)
"""Ways to solve backwards in the figure."""


@section(
    order=75,
    name="backward_cost",
    title="Evaluations of the backward solve at equal error of the gradient",
    source="section 3, figure 3 c",
    experiments=[NETWORK],
    probe="backward_cost",
)
def backward_cost(selection: Selection) -> Parts:
    """A backward solve takes fewer evaluations if its norm or its first step lets it be less exact.

    The forward solve is at the tolerance of the training. Every way of solving backwards is
    compared at the same error of the gradient: that of dopri5 with a fresh first step and the
    largest of the means of state, adjoint and parameters, at the tolerance of the training. The
    evaluations of the others at this error are interpolated between their tolerances, on
    logarithmic axes.
    """
    rows = ProbeRows.read(selection, NETWORK, "backward_cost")
    groups = group_solves(rows)
    trained = [group for group in groups if group.channels == rows.facts.get("trained")]
    yield _half(trained, "vode_adams", "flat", "VODE-Adams, one mean over everything")
    yield _half(trained, "dopri5", "full", "dopri5, fresh first step")
    yield _predicted(groups, "vode_adams", "VODE-Adams")
    yield _predicted(groups, "dopri5", "dopri5")
    yield _no_worse(trained)
    yield _table(trained, rows)
    yield from _drawings(groups, trained)
    yield (
        "Errors are those of the backward solve alone: against a far more accurate one from the "
        "same final state. The error of the gradient that the forward solve causes is given beside "
        "them; in total, both add up."
    )


def _half(trained: Sequence[Group], solver: str, norm: str, name: str) -> Claim:
    known = {
        group.size: (group.equal, group.ratio)
        for group in fresh_groups(trained, solver, norm)
        if group.equal is not None
    }

    def describe(_: Sequence[float]) -> str:
        words = [
            f"{equal:.2f} for {size} ({ratio or math.nan:.2f} at the same tolerance)"
            for size, (equal, ratio) in sorted(known.items())
        ]
        return f"{', '.join(words)} digits a minibatch"

    ratios = [equal for equal, _ in known.values() if equal is not None]
    return HALF.claim(
        f"The backward solve takes about half as many evaluations as the forward: {name}",
        ratios or None,
        describe,
    )


def _predicted(groups: Sequence[Group], solver: str, name: str) -> Claim:
    found = dilutions(groups, solver)

    def describe(_: Sequence[tuple[float, float]]) -> str:
        words = [f"{ratio:.2f} ({expected:.2f}) for {x:.3g}" for x, ratio, expected in found]
        return f"measured (predicted) {', '.join(words)}"

    return PREDICTED.claim(
        f"One mean over state, adjoint and parameters saves evaluations as K/n predicts: {name}",
        [(ratio, expected) for _, ratio, expected in found] or None,
        describe,
        of_paper=False,
    )


def _no_worse(groups: Sequence[Group]) -> Claim:
    """The ratio of the errors at the tolerance of the training, as a mean of its logarithm."""
    errors: dict[str, dict[tuple, float]] = {"fresh": {}, "inherited": {}}
    for group in groups:
        if (group.solver, group.norm) == ("dopri5", "full"):
            for k, solve in enumerate(group.solves):
                error = solve.at_training("relative")
                if error:
                    errors[group.start][group.size, k] = error
    both = errors["fresh"].keys() & errors["inherited"].keys()
    logs = spread(math.log(errors["inherited"][k] / errors["fresh"][k]) for k in both)
    interval = None
    if logs is not None:
        low, high = logs.interval(margins.CONFIDENCE)
        interval = Interval(math.exp(low), math.exp(high) if math.isfinite(high) else math.inf)

    def describe(interval: Interval) -> str:
        assert logs
        return (
            f"{math.exp(logs.mean):.2f} times the error, geometric mean of {logs.n} minibatches, "
            f"{format_interval(interval, 2, margins.CONFIDENCE)}; medians "
            + " against ".join(
                f"{format_number(statistics.median(errors[start].values()), None)} {start}"
                for start in ("inherited", "fresh")
            )
        )

    return NO_WORSE.claim(
        "The inherited first step of the backward solve makes the gradient no less exact: dopri5",
        interval,
        describe,
        of_paper=False,
    )


def _table(groups: Sequence[Group], rows: ProbeRows) -> Table:
    def at_training(key: str) -> Callable[[Group], float | None]:
        return lambda group: group.median(lambda solve: solve.at_training(key))

    columns: list[Column[Group]] = [
        Column("solver", lambda group: group.solver),
        Column("norm", lambda group: group.norm),
        Column("first step", lambda group: group.start),
        Column("digits", lambda group: group.size),
        Column("K/n", lambda group: group.parameters_over_state, 1),
        Column("NFE forward", at_training("nfe_forward"), 0),
        Column("NFE backward", at_training("nfe_backward"), 0),
        Column("backward / forward", lambda group: group.ratio, 2),
        Column("predicted", lambda group: group.prediction, 2),
        Column("at equal error", lambda group: group.equal, 2),
        Column("error of the gradient", at_training("relative"), 3),
        Column("1 − cosine", at_training("one_minus_cosine")),
        Column("error due to the forward solve", at_training("forward_relative"), 3),
    ]
    count = max((len(group.solves) for group in groups), default=0)
    caption = (
        f"Medians over {count} minibatches of test digits for the trained network; both solves at "
        f"tolerance {rows.facts.get('tolerance', '?')}, but for the column “at equal error”, which "
        "is empty where the error is not reached at any tolerance. K parameters, n state numbers. "
        "Full: the largest of the means of state, adjoint and each parameter; semi: of state and "
        "adjoint; flat: one mean over everything."
    )
    return Table("backward_cost", caption, columns, groups)


def _drawings(groups: Sequence[Group], trained: Sequence[Group]) -> Parts:
    from node_repro.figures.report_probes import Plot, panels

    if not groups:
        return
    xs = sorted({group.parameters_over_state for group in groups})
    flat: dict[str, Pairs] = {"predicted": [(x, predicted_ratio(x)) for x in xs]}
    for channels in sorted({group.channels for group in groups}, reverse=True):
        network = [group for group in groups if group.channels == channels]
        for solver in ("vode_adams", "dopri5"):
            flat[f"{solver}, {channels} channels"] = [
                (x, ratio) for x, ratio, _ in dilutions(network, solver)
            ]
    same, equal = (
        {
            ", ".join(way): sorted(
                (g.parameters_over_state, y)
                for g in trained
                if (g.solver, g.norm, g.start) == way and (y := value(g)) is not None
            )
            for way in DRAWN
        }
        for value in (lambda g: g.ratio, lambda g: g.equal)
    )
    ratios = Plot("K/n", "backward / forward", same, "same tolerance", log_x=True)
    ratios = ratios._replace(x_range=(xs[0] / 1.3, xs[-1] * 1.3))
    yield Drawing(
        "backward_cost",
        "Left: evaluations with one mean over everything, over those with the largest of the means "
        "(geometric means over the tolerances from that of the training down; for VODE over the "
        "forward evaluations), and the predicted (2 + K/n)^(−1/10). Middle and right: backward "
        "over forward evaluations of the trained network, at the same tolerance and at equal error "
        "of the gradient.",
        "Three panels over K/n: the effect of the norm with its prediction, and ratios of backward "
        "to forward evaluations at the same tolerance and at equal error.",
        panels(
            [
                ratios._replace(y="flat / full norm", series=flat, title="the norm"),
                ratios,
                ratios._replace(series=equal, title="equal error"),
            ],
            3,
        ),
    )
