"""Hamiltonian Monte Carlo: leapfrog steps against steps of controlled size."""

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from node_repro.report import margins
from node_repro.report.artifact import Claim, Drawing
from node_repro.report.comparisons import above_zero, describe_difference, format_pair
from node_repro.report.drawings import run_picture
from node_repro.report.format import format_number
from node_repro.report.probe_rows import TOLERANCE, Line, ProbeRows, median_column
from node_repro.report.rules import Rule, at_most
from node_repro.report.section import Parts, section
from node_repro.report.selection import Seeds, Selection
from node_repro.report.statistics import Difference, Spread, mean_difference
from node_repro.report.tables import Column, Table

TARGETS = {
    "u1": "U1",
    "u2": "U2",
    "u3": "U3",
    "u4": "U4",
    "scaled_gaussian": "50 normal coordinates",
}
METHODS = {
    "leapfrog": "leapfrog",
    "dopri5": "dopri5 with controlled steps",
    "reversible_heun": "reversible Heun with controlled steps",
}
FURTHER = {"reversible_heun": ("u2",)}
"""Methods that are run on some targets only."""
PROBED = {f"hmc_{target}_dopri5": TARGETS[target] for target in ("u2", "scaled_gaussian")}
SHOWN = ("u2", "u4")
"""Targets whose samples and paths are shown."""

ESS = "ess_per_1000"
MORE = above_zero("effective samples per 1,000 evaluations, controlled steps − leapfrog")
AGREE = Rule(at_most("largest deviation", margins.STANDARD_ERRORS, " standard errors"))


class Sampled(NamedTuple):
    """The runs of one method on one target."""

    target: str
    method: str
    seeds: Seeds = Seeds()

    @property
    def experiment(self) -> str:
        """The experiment's name."""
        return f"hmc_{self.target}_{self.method}"

    @property
    def deviations(self) -> list[float]:
        """Deviations of the moments from the exact ones, in standard errors over all seeds."""
        by_seed = [result.diagnostics.get("moments", {}) for result in self.seeds.results]
        names = by_seed[0] if by_seed else ()
        return [_pooled([moments[name] for moments in by_seed]) for name in names]


RUNS = [
    Sampled(target, method)
    for target in TARGETS
    for method in METHODS
    if target in FURTHER.get(method, TARGETS)
]
COLUMNS: list[Column[Sampled]] = [
    Column("target, method", lambda run: f"{TARGETS[run.target]}, {METHODS[run.method]}"),
    Column("effective samples per 1,000 evaluations", lambda run: run.seeds.test(ESS), 2),
    Column("acceptance", lambda run: run.seeds.test("acceptance"), 2),
    Column("evaluations of a path", lambda run: run.seeds.test("evaluations"), 1),
    Column("step size", lambda run: run.seeds.diagnostic("step_size"), 3),
    Column("tolerance", lambda run: run.seeds.diagnostic("rtol"), 4),
    Column("reversibility error", lambda run: _mean(run.seeds.diagnostic("reversibility_error"))),
    Column("R-hat", lambda run: _mean(run.seeds.diagnostic("r_hat")), 2),
    Column("largest deviation, standard errors", lambda run: _largest(run.deviations), 1),
    Column("seeds", lambda run: run.seeds.count),
]
TOLERANCE_COLUMNS: list[Column[Line]] = [
    Column("target", lambda line: line.name),
    TOLERANCE,
    median_column("acceptance", "acceptance", 2),
    median_column("mean |energy error|", "energy_error"),
    median_column("evaluations of a path", "evaluations", 1),
    median_column("effective samples per 1,000 evaluations", ESS, 2),
    median_column("reversibility error", "reversibility_error"),
    median_column("largest deviation, standard errors", "deviation", 1),
]


@section(
    order=63,
    name="sampling",
    title="Hamiltonian Monte Carlo: does step-size control pay?",
    source="a next step in the authors' talk",
    experiments=[run.experiment for run in RUNS],
)
def sampling(selection: Selection) -> Parts:
    """Densities exp(−U) are sampled by Hamiltonian paths, by leapfrog and by an ODE solver whose
    steps a tolerance controls. Both make the same number of evaluations of the gradient of U, and
    the warm-up of each run adapts step size or tolerance to an acceptance rate. With leapfrog the
    chain is exact; with controlled steps, which are not reversible, it has a bias.
    """
    runs = [run._replace(seeds=selection.seeds(run.experiment)) for run in RUNS]
    for target in TARGETS:
        here = {run.method: run.seeds.test(ESS) for run in runs if run.target == target}
        yield _more(target, here["leapfrog"], here["dopri5"])
    for method in ("leapfrog", "dopri5"):
        yield _agree(method, [run for run in runs if run.method == method])
    caption = (
        "Means ± standard deviations over seeds. Effective samples are those of the coordinate or "
        "squared coordinate with the fewest. The reversibility error is the RMS distance from the "
        "start of paths followed to their end and back. The deviation is that of the first and "
        "second moments of the first and the last coordinate from their exact values."
    )
    yield Table("sampling", caption, COLUMNS, [run for run in runs if run.seeds])
    yield (
        "Standard errors of moments are about the chains' own means. Where all chains stay in one "
        "mode, they are too small, and a deviation is that of too few transitions, not of the "
        "steps. Effective samples are about the exact means and are few then."
    )
    yield from _effective_samples(runs)
    for run in runs:
        if run.target in SHOWN and run.method in ("leapfrog", "dopri5"):
            yield from _pictures(run)


@section(
    order=64,
    name="sampling_tolerance",
    title="Hamiltonian Monte Carlo by tolerance",
    source="not in the paper",
    experiments=PROBED,
    probe="sampling_tolerance",
)
def sampling_tolerance(selection: Selection) -> Parts:
    """The chains of a finished run go on with dopri5 at other tolerances, for equally many
    evaluations at each.
    """
    lines = []
    for key, name in PROBED.items():
        rows = ProbeRows.read(selection, key, "sampling_tolerance")
        lines += [Line(name, *one) for one in rows.by_tolerance()]
    caption = "Acceptance, effective samples and bias by tolerance; medians over the seeds probed."
    yield Table("sampling_tolerance", caption, TOLERANCE_COLUMNS, lines)


def _pooled(moments: Sequence[Mapping[str, float]]) -> float:
    """The deviation of the mean over seeds, in its standard errors."""
    error = math.sqrt(sum(moment["standard_error"] ** 2 for moment in moments))
    return sum(moment["mean"] - moment["exact"] for moment in moments) / error


def _largest(deviations: Sequence[float]) -> float | None:
    return max(map(abs, deviations), default=None)


def _mean(value: Spread | None) -> float | None:
    return None if value is None else value.mean


def _more(target: str, leapfrog: Spread | None, controlled: Spread | None) -> Claim:
    text = (
        f"{TARGETS[target]}: controlled steps give more effective samples an evaluation than "
        "leapfrog"
    )
    difference = (
        None if controlled is None or leapfrog is None else mean_difference(controlled, leapfrog)
    )

    def describe(difference: Difference) -> str:
        assert controlled and leapfrog
        pair = format_pair(controlled, leapfrog, 2)
        return f"{pair} per 1,000 evaluations: {describe_difference(difference, 2)}"

    return MORE.claim(text, difference, describe, of_paper=False)


def _agree(method: str, runs: Sequence[Sampled]) -> Claim:
    text = f"Moments sampled by {METHODS[method]} agree with the exact ones"
    found = {run.target: run.deviations for run in runs if run.seeds}
    largest = {target: max(map(abs, d)) for target, d in found.items() if d}
    value = max(largest.values(), default=None)

    def describe(value: float) -> str:
        each = ", ".join(f"{TARGETS[t]} {format_number(d, 1)}" for t, d in largest.items())
        return f"largest deviation {value:.1f} standard errors ({each})"

    complete = value if len(largest) == len(TARGETS) else None
    return AGREE.claim(text, complete, describe, of_paper=False)


def _effective_samples(runs: Sequence[Sampled]) -> Parts:
    from node_repro.figures.sampling import effective_samples

    shown = {
        METHODS[method]: {
            TARGETS[run.target]: run.seeds.tests(ESS)
            for run in runs
            if run.method == method and run.seeds
        }
        for method in METHODS
    }
    if any(shown.values()):
        caption = (
            "Effective samples per 1,000 evaluations of the gradient. Dots are seeds, the large "
            "symbols their means."
        )
        alt = "Dots by target, one colour for each method: the numbers of the table."
        targets = list(TARGETS.values())
        yield Drawing("sampling_ess", caption, alt, effective_samples(shown, targets))


def _pictures(run: Sampled) -> list[Drawing]:
    name = f"{TARGETS[run.target]}, {METHODS[run.method]}"
    pictures = {
        "samples": ("the density, and samples of it", "A density and points."),
        "energy": ("error of the energy along paths, with a dot for each step", "Lines by path."),
    }
    return [
        drawing
        for file, (caption, alt) in pictures.items()
        for drawing in run_picture(
            f"{run.experiment}_{file}", run.seeds, f"{file}.png", f"{name}: {caption}.", alt
        )
    ]
