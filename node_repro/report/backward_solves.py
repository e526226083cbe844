"""Backward solves of one minibatch in several ways, compared at equal error of the gradient."""

import math
import statistics
from collections.abc import Callable, Iterable, Sequence
from itertools import pairwise
from typing import NamedTuple

from node_repro.report.probe_rows import ProbeRows, Row
from node_repro.report.selection import get_number
from node_repro.report.statistics import Pairs

ORDER = 5
"""Of the error estimate in h, q + 1: dopri5's and tsit5's. VODE changes its order, up to 12."""


class Solve(NamedTuple):
    """A minibatch solved backwards in one way at several tolerances.

    Attributes:
        rows: The rows of the tolerances.
        target: The error of the gradient at which ways are compared.
        tolerance: The tolerance of the forward solve.
    """

    rows: Sequence[Row]
    target: float | None
    tolerance: float

    def at_training(self, key: str) -> float | None:
        """A number of the backward solve at the tolerance of the forward solve."""
        row = next((row for row in self.rows if row["tolerance"] == self.tolerance), None)
        return None if row is None else get_number(row, key)

    @property
    def ratio(self) -> float | None:
        """Backward over forward evaluations at the same tolerance."""
        forward, backward = (self.at_training(f"nfe_{d}") for d in ("forward", "backward"))
        return backward / forward if forward and backward else None

    @property
    def ratio_at_equal_error(self) -> float | None:
        """Backward evaluations at the common error of the gradient, over the forward ones."""
        points = [
            (row["relative"], row["nfe_backward"])
            for row in sorted(self.rows, key=lambda row: -row["tolerance"])
            if "relative" in row
        ]
        nfe = None if self.target is None else interpolate(points, self.target)
        return None if nfe is None else nfe / self.rows[0]["nfe_forward"]


def interpolate(points: Pairs, target: float) -> float | None:
    """Evaluations at an error, by logarithmic interpolation between neighbouring tolerances.

    Args:
        points: Error and evaluations, from the largest tolerance to the smallest.
        target: The error.

    Returns:
        The evaluations at the largest tolerance that reaches the target: those of the first point
        if it has a smaller error already, and None if no point has.
    """
    if points and points[0][0] <= target:
        return points[0][1]
    for (large, few), (small, many) in pairwise(points):
        if large > target >= small:
            share = math.log(large / target) / math.log(large / small)
            return few * (many / few) ** share
    return None


def predicted_ratio(parameters_over_state: float) -> float:
    """(2 + K/n)^(-1/(2 (q + 1))), backward over forward evaluations with one mean over everything.

    The mean of K parameters, n state and n adjoint numbers is that much smaller than the mean over
    the state, if the errors of the others are far below atol.
    """
    return (2 + parameters_over_state) ** (-1 / (2 * ORDER))


class Group(NamedTuple):
    """All minibatches of one size, network and way, over all seeds."""

    solver: str
    norm: str
    start: str
    channels: int
    size: int
    parameters_over_state: float
    solves: Sequence[Solve]

    @property
    def prediction(self) -> float | None:
        """The predicted ratio, for one mean over everything."""
        return predicted_ratio(self.parameters_over_state) if self.norm == "flat" else None

    def median(self, value: Callable[[Solve], float | None]) -> float | None:
        """The median over the minibatches and seeds."""
        known = [number for solve in self.solves if (number := value(solve)) is not None]
        return statistics.median(known) if known else None

    @property
    def ratio(self) -> float | None:
        return self.median(lambda solve: solve.ratio)

    @property
    def evaluations(self) -> float | None:
        """The geometric mean of the evaluations at the tolerance of the forward solve and below.

        A solver that takes a few steps of several evaluations hides the effect of a norm at a
        single tolerance.
        """
        logs = [
            math.log(row["nfe_backward"])
            for solve in self.solves
            for row in solve.rows
            if "nfe_backward" in row and row["tolerance"] <= solve.tolerance
        ]
        return math.exp(statistics.mean(logs)) if logs else None

    @property
    def equal(self) -> float | None:
        return self.median(lambda solve: solve.ratio_at_equal_error)


def group_solves(rows: ProbeRows) -> list[Group]:
    """All groups, each minibatch with dopri5's error of the gradient at the same tolerance.

    That is the error with a fresh first step and the full norm, of the same network and minibatch.
    """
    tolerance = get_number(rows.facts, "tolerance") or math.nan
    solves: dict[tuple, dict[tuple, list[Row]]] = {}
    for row in rows:
        key = tuple(row[k] for k in ("solver", "norm", "start", "channels", "size"))
        solves.setdefault(key, {}).setdefault((row["seed"], row["batch"]), []).append(row)
    targets = {
        (channels, size, which): Solve(rows, None, tolerance).at_training("relative")
        for (solver, norm, start, channels, size), minibatches in solves.items()
        for which, rows in minibatches.items()
        if (solver, norm, start) == ("dopri5", "full", "fresh")
    }
    groups = []
    for (solver, norm, start, channels, size), minibatches in solves.items():
        first = next(iter(minibatches.values()))[0]
        share = first["parameters"] / first["state_size"]
        compared = [
            Solve(rows, targets.get((channels, size, which)), tolerance)
            for which, rows in minibatches.items()
        ]
        groups.append(Group(solver, norm, start, channels, size, share, compared))
    return groups


def fresh_groups(groups: Iterable[Group], solver: str, norm: str) -> list[Group]:
    """The groups of a solver with a fresh first step, by K/n."""
    chosen = [g for g in groups if (g.solver, g.norm, g.start) == (solver, norm, "fresh")]
    return sorted(chosen, key=lambda group: group.parameters_over_state)


def dilutions(groups: Sequence[Group], solver: str) -> list[tuple[float, float, float]]:
    """K/n, the measured ratio and the predicted one, of networks and sizes.

    The ratio is that of the evaluations with one mean over everything to those with the largest of
    the means, where the solver has both, and that of backward to forward evaluations for VODE.
    """
    full = {(g.channels, g.size): g.evaluations for g in fresh_groups(groups, solver, "full")}
    found = []
    for group in fresh_groups(groups, solver, "flat"):
        most = full.get((group.channels, group.size))
        ratio = group.evaluations / most if most and group.evaluations else group.ratio
        if ratio is not None and group.prediction is not None:
            found.append((group.parameters_over_state, ratio, group.prediction))
    return found
