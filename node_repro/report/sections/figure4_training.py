"""How fast the flows of figure 4 are trained: divergence over iterations and over seconds."""

from itertools import groupby
from math import floor, log10
from statistics import fmean
from typing import NamedTuple

from node_repro.report.artifact import Drawing
from node_repro.report.comparisons import claim_lower
from node_repro.report.margins import KL_REACHED
from node_repro.report.section import Parts, section
from node_repro.report.sections.figure4 import KINDS, OF_PAPER, SIZES, TARGETS, VARIANTS
from node_repro.report.selection import Seeds, Selection, get_number
from node_repro.report.statistics import Spread, spread
from node_repro.report.tables import Column, Table
from node_repro.runs.stored_run import StoredRun

SHOWN = ("cnf", "nf", "nf_rmsprop")
"""Kinds of flow: the paper's two, the planar flow by Adam and by Rezende and Mohamed's recipe."""
POINTS_PER_DECADE = 20
WINDOW = 10
"""Logged losses whose mean is compared with the limit; a single one may be near it by chance."""


class Point(NamedTuple):
    """A logged loss: iterations and seconds until then, and the divergence in nats."""

    iterations: float
    seconds: float
    kl: float


class Training(NamedTuple):
    """The trainings of a flow of a kind and size, fitted to a target; one for every seed."""

    target: str
    kind: str
    size: int
    points: tuple[list[Point], ...]

    @property
    def name(self) -> str:
        """Target and kind of flow, in words."""
        return f"{TARGETS[self.target]}, {KINDS[self.kind]}"

    @property
    def reached(self) -> list[Point]:
        """Where the mean of WINDOW points is first ≤ KL_REACHED, for the seeds that get there."""
        ends = (_first_within(points) for points in self.points)
        return [point for point in ends if point is not None]

    @property
    def iterations(self) -> Spread | None:
        """Iterations until KL_REACHED; None unless all seeds reach it."""
        return self._until("iterations")

    @property
    def seconds(self) -> Spread | None:
        """Seconds until KL_REACHED; None unless all seeds reach it."""
        return self._until("seconds")

    def _until(self, what: str) -> Spread | None:
        if len(self.reached) < len(self.points):
            return None
        return spread(getattr(point, what) for point in self.reached)


COLUMNS: list[Column[Training]] = [
    Column("target, flow", lambda one: one.name),
    Column("K or M", lambda one: one.size),
    Column("seeds", lambda one: len(one.points)),
    Column("seeds that reach it", lambda one: len(one.reached)),
    Column("iterations", lambda one: one.iterations, 0),
    Column("seconds", lambda one: one.seconds, 1),
]


@section(
    order=145,
    name="figure4_training",
    title="Figure 4: training of continuous and planar flows",
    source="section 4.1, figure 4",
    experiments=[
        *(f"fig4_{t}_{kind}_{size}" for t in TARGETS for kind in SHOWN[:2] for size in SIZES),
        *(f"fig4_u1_{kind}_{size}" for kind in SHOWN[2:] for size in VARIANTS[kind]),
    ],
)
def figure4_training(selection: Selection) -> Parts:
    """The paper trains the CNF for 10,000 iterations of Adam and the NF for 500,000 of RMSprop.
    Here the flows are compared by the iterations and the seconds of training until the loss is
    near the floor −log Z.
    """
    trainings = {
        (target, kind, size): Training(target, kind, size, _points(selection, target, kind, size))
        for target in TARGETS
        for kind in SHOWN
        for size in SIZES
    }
    largest = SIZES[-1]
    for target in TARGETS:
        cnf, nf = (trainings[target, kind, largest] for kind in SHOWN[:2])
        yield from _faster(cnf, nf, selection.decides)
    measured = [one for one in trainings.values() if one.points]
    caption = (
        f"Iterations and seconds until the mean of {WINDOW} logged training losses is within "
        f"{KL_REACHED:g} nats of the floor; empty if a seed does not get there. Seconds are those "
        "of the iterations alone, on a machine that other programs shared; seeds may have run "
        "with different engines."
    )
    yield Table("figure4_training", caption, COLUMNS, measured)
    for target in TARGETS:
        yield from _drawing(target, [one for one in measured if one.target == target])
    yield (
        "The optimisers differ, and one iteration of the CNF costs many evaluations of its field. "
        "Losses while the target is annealed are left out."
    )


def _points(selection: Selection, target: str, kind: str, size: int) -> tuple[list[Point], ...]:
    """The logged losses of every seed that has some."""
    seeds: Seeds = selection.seeds(f"fig4_{target}_{kind}_{size}")
    lowest = seeds.diagnostic("floor_nats")
    if lowest is None:
        return ()
    return tuple(points for run in seeds if (points := _logged(run, lowest.mean)))


def _logged(run: StoredRun, lowest: float) -> list[Point]:
    """Points after the annealing of the target; `lowest` is the floor of the loss."""
    annealing = run.config.get("task", {}).get("annealing") or 0
    points: list[Point] = []
    step, seconds = 0, 0.0
    for line in run.metrics:
        loss, each = get_number(line, "loss_nats"), get_number(line, "step_seconds")
        if line["split"] == "train" and loss is not None and each is not None:
            seconds += (line["step"] - step) * each
            step = line["step"]
            if step >= annealing:
                points.append(Point(step, seconds, loss - lowest))
    return points


def _first_within(points: list[Point]) -> Point | None:
    for end in range(WINDOW, len(points) + 1):
        if fmean(point.kl for point in points[end - WINDOW : end]) <= KL_REACHED:
            return points[end - 1]
    return None


def _faster(cnf: Training, nf: Training, decides: bool) -> Parts:
    of_paper = cnf.target in OF_PAPER
    name = f"{TARGETS[cnf.target]}, M = K = {cnf.size}: the CNF is within {KL_REACHED:g} nats"
    yield claim_lower(
        f"{name} in fewer iterations than the NF",
        cnf.iterations,
        nf.iterations,
        0,
        decides=decides,
        of_paper=of_paper,
    )
    yield claim_lower(
        f"{name} in less time than the NF",
        cnf.seconds,
        nf.seconds,
        1,
        " s",
        decides=decides,
        of_paper=False,
    )


def _thinned(points: list[Point], what: str) -> list[tuple[float, float]]:
    """Iterations or seconds, and KL, as means over intervals of equal length on a log axis."""

    def interval(point: Point) -> int:
        return floor(POINTS_PER_DECADE * log10(getattr(point, what)))

    groups = (list(group) for _, group in groupby(points, interval))
    return [(fmean(getattr(p, what) for p in g), fmean(p.kl for p in g)) for g in groups]


def _drawing(target: str, trainings: list[Training]) -> Parts:
    from node_repro.figures.report_flows import training

    sizes = sorted({one.size for one in trainings})
    if not sizes:
        return
    rows = {
        along: [
            {
                KINDS[one.kind]: [_thinned(points, along) for points in one.points]
                for one in trainings
                if one.size == size
            }
            for size in sizes
        ]
        for along in ("iterations", "seconds")
    }
    caption = (
        f"{TARGETS[target]}: training loss less its floor, over iterations and over seconds of "
        "training. Lines are single seeds, the first in full colour, as means over "
        f"neighbouring iterations; the dotted line is at {KL_REACHED:g} nats."
    )
    alt = f"Two rows of curves of {TARGETS[target]}: divergence over iterations and over seconds."
    titles = [f"M or K = {size}" for size in sizes]
    drawn = training(rows, titles, KL_REACHED)
    yield Drawing(f"figure4_training_{target}", caption, alt, drawn)
