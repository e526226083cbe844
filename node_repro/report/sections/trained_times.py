"""Times t0 and t1 of an ODE between encoder and decoder: other fixed ones, and trained ones."""

from collections.abc import Mapping
from typing import NamedTuple

from node_repro.report import margins
from node_repro.report.artifact import Claim
from node_repro.report.comparisons import (
    describe_difference,
    describe_equality,
    equal_within,
    format_pair,
    increase_at_most,
)
from node_repro.report.section import Parts, section
from node_repro.report.selection import Seeds, Selection, get_number
from node_repro.report.statistics import Difference, Spread, difference_over_seeds, spread
from node_repro.report.tables import Column, Table

METRIC = "rmse_values"
SHARE = 100 * margins.RMSE_SHARE

FIXED = {
    "toys_span_half": "0 to 0.5",
    "toys_regression": "0 to 1",
    "toys_span_2": "0 to 2",
    "toys_span_4": "0 to 4",
}
REFERENCE = "toys_regression"


class Trained(NamedTuple):
    """An experiment with trained times.

    Attributes:
        which: The trained times, in words.
        fixed: The experiment with the same times at the start, which are not trained.
    """

    which: str
    fixed: str


TRAINED = {
    "toys_trained_t0": Trained("t0", "toys_regression"),
    "toys_trained_t1": Trained("t1", "toys_regression"),
    "toys_trained_times": Trained("t0 and t1", "toys_regression"),
    "toys_trained_times_half": Trained("t0 and t1", "toys_span_half"),
    "toys_trained_times_4": Trained("t0 and t1", "toys_span_4"),
}

EQUAL = equal_within("the difference of the test RMSEs", SHARE, f"{SHARE:g} % of the first's mean")
WORKS = increase_at_most("the increase of the test RMSE", SHARE, " % of the mean with fixed times")


class _Line(NamedTuple):
    """A row of the table."""

    start: str
    which: str
    seeds: Seeds

    def time(self, key: str) -> Spread | None:
        """t0 or t1 after training."""
        return self.seeds.diagnostic(key)

    @property
    def span(self) -> Spread | None:
        """t1 - t0 after training."""
        ends = [
            [get_number(result.diagnostics, key) for key in ("t0", "t1")]
            for result in self.seeds.results
        ]
        return spread(t1 - t0 for t0, t1 in ends if t0 is not None and t1 is not None)


COLUMNS: list[Column[_Line]] = [
    Column("times at the start", lambda line: line.start),
    Column("trained", lambda line: line.which),
    Column("t0 after training", lambda line: line.time("t0"), 2),
    Column("t1 after training", lambda line: line.time("t1"), 2),
    Column("t1 − t0", lambda line: line.span, 2),
    Column("RMSE against noisy values", lambda line: line.seeds.test(METRIC), 3),
    Column("RMSE against the function", lambda line: line.seeds.test("rmse_function"), 3),
    Column("NFE", lambda line: line.seeds.test("nfe_forward"), 0),
    Column("seeds", lambda line: line.seeds.count),
]


@section(
    order=65,
    name="trained_times",
    title="Times t0 and t1 of the ODE, fixed and trained",
    source="section 2: gradients with respect to t0 and t1; not in the paper as an experiment",
    experiments=[*FIXED, *TRAINED],
)
def trained_times(selection: Selection) -> Parts:
    """The regression between encoder and decoder with other times than 0 and 1, and with times that
    are trained as parameters by the gradients of algorithm 2. Notes on the paper (Wei 2020) say
    that training them does not work and that what is learned is equivalent whatever they are.
    """
    runs = {name: selection.seeds(name) for name in (*FIXED, *TRAINED)}
    for name, words in FIXED.items():
        if name != REFERENCE:
            yield _equal(words, runs[name], runs[REFERENCE], selection.decides)
    for name, trained in TRAINED.items():
        yield _works(trained, runs[name], runs[trained.fixed], selection.decides)
    yield _table(runs)
    yield (
        "The field is W2 tanh(W1 z + w t + b) + c. Over times from t0 to t1 it equals, with t "
        "written as t0 + (t1 − t0) s and its weights rescaled, one over s from 0 to 1: the same "
        "maps can be represented whatever t0 and t1 are. What can differ is how well they are "
        "found, since the initial weights and the learning rate are the same for all."
    )


def _relative(one: Seeds, reference: Seeds) -> Difference | None:
    """The difference of the mean test RMSEs in per cent of the reference's mean."""
    errors = [seeds.tests_by_seed(METRIC) for seeds in (one, reference)]
    mean = reference.test(METRIC)
    if not all(errors) or mean is None or not mean.mean:
        return None
    return difference_over_seeds(*errors).scaled(100 / mean.mean)


def _pair(one: Seeds, reference: Seeds) -> str:
    errors = [seeds.test(METRIC) for seeds in (one, reference)]
    assert errors[0] and errors[1]
    return format_pair(errors[0], errors[1], 3)


def _equal(words: str, one: Seeds, reference: Seeds, decides: bool) -> Claim:
    return EQUAL.claim(
        f"The fixed times are without effect: from {words} as good as from {FIXED[REFERENCE]}",
        _relative(one, reference),
        lambda gap: f"{_pair(one, reference)}: {describe_equality(gap, 1, ' %')}",
        decides=decides,
        of_paper=False,
    )


def _works(trained: Trained, one: Seeds, fixed: Seeds, decides: bool) -> Claim:
    gap = _relative(one, fixed)

    def describe(_: object) -> str:
        assert gap
        return f"{_pair(one, fixed)}: {describe_difference(gap, 1, ' %')}"

    return WORKS.claim(
        f"Training {trained.which} works: no worse than fixed times from {FIXED[trained.fixed]}",
        gap and gap.interval(margins.CONFIDENCE),
        describe,
        decides=decides,
        of_paper=False,
    )


def _table(runs: Mapping[str, Seeds]) -> Table:
    fixed = [_Line(words, "none", runs[name]) for name, words in FIXED.items()]
    trained = [_Line(FIXED[one.fixed], one.which, runs[name]) for name, one in TRAINED.items()]
    return Table(
        "trained_times",
        "The noisy wave's regression; mean ± standard deviation over seeds, of the selected model.",
        COLUMNS,
        [line for line in (*fixed, *trained) if line.seeds],
    )
