"""Figure 7: Poisson processes whose rate is a function of a latent state."""

from typing import NamedTuple

from node_repro.report import margins
from node_repro.report.artifact import Claim
from node_repro.report.comparisons import (
    above_zero,
    describe_difference,
    describe_mean,
    format_pair,
    mean_at_least,
)
from node_repro.report.drawings import run_picture
from node_repro.report.format import format_spread
from node_repro.report.section import Parts, section
from node_repro.report.selection import Seeds, Selection
from node_repro.report.statistics import (
    Difference,
    Spread,
    difference_over_seeds,
    percent,
    spread,
)
from node_repro.report.tables import Column, Table

MODELS = {
    "fig7_poisson": "events alone",
    "fig7_poisson_marked": "events and the values seen at them",
}
WITH_TIMES, WITHOUT_TIMES = "fig7_times", "fig7_times_ignored"
TIMES = {
    WITH_TIMES: "values and times, with the Poisson term",
    WITHOUT_TIMES: "values alone, without it",
}
SHARE = "(log p − constant rate's) / (true rate's − constant rate's)"
TIMES_HELP = above_zero("RMSE without the Poisson term − RMSE with it")
NEAR = {key: mean_at_least(SHARE, limit) for key, limit in margins.POISSON_SHARES.items()}


class Process(NamedTuple):
    """A row of the table."""

    name: str
    seeds: Seeds

    def log_p(self, rate: str = "") -> Spread | None:
        """Test log-likelihood: the model's, or under the "true" or the "constant" rate."""
        return self.seeds.test(_log_p_metric(rate))

    @property
    def share(self) -> Spread | None:
        """The way from the constant rate's log p to the true rate's that each seed has come."""
        ours, true, constant = (
            self.seeds.tests_by_seed(_log_p_metric(rate)) for rate in ("", "true", "constant")
        )
        return spread(
            (ours[seed] - constant[seed]) / (true[seed] - constant[seed])
            for seed in ours
            if seed in true and seed in constant
        )


def _log_p_metric(rate: str) -> str:
    return f"log_likelihood{rate and f'_{rate}'}_nats"


COLUMNS: list[Column[Process]] = [
    Column("model", lambda process: process.name),
    Column("log p, latent ODE", lambda process: process.log_p(), 2),
    Column("log p, true rate", lambda process: process.log_p("true"), 2),
    Column("log p, constant rate", lambda process: process.log_p("constant"), 2),
    Column("rate's error, %", lambda process: percent(process.seeds.test("rate_error")), 1),
    Column("expected events / true", lambda process: process.seeds.diagnostic("integral_ratio"), 3),
    Column("seeds", lambda process: process.seeds.count),
]

TIMES_COLUMNS: list[Column[tuple[str, Seeds]]] = [
    Column("likelihood of", lambda row: row[0]),
    Column("RMSE of the values", lambda row: row[1].test("rmse_marks"), 3),
    Column("seeds", lambda row: row[1].count),
]


@section(
    order=170,
    name="figure7",
    title="Figure 7: a latent Poisson process",
    source="section 5, figure 7",
    experiments=[*MODELS, *TIMES],
)
def figure7(selection: Selection) -> Parts:
    """log p(t_1 ... t_N) = sum of log λ(z(t_i)) − ∫ λ(z(t)) dt; λ and its integral come from one
    solve. Scores are those of the selected model, per sequence.
    """
    processes = {key: Process(name, selection.seeds(key)) for key, name in MODELS.items()}
    times = {key: selection.seeds(key) for key in TIMES}
    yield from (_claim(key, process, selection.decides) for key, process in processes.items())
    yield _times_help(times[WITH_TIMES], times[WITHOUT_TIMES], selection.decides)
    caption = "Test log-likelihood in nats per sequence, mean ± standard deviation over seeds."
    yield Table("figure7", caption, COLUMNS, [p for p in processes.values() if p.seeds])
    caption = (
        "RMSE of the mean of the values over the whole time, per coordinate, where their noise has "
        "a standard deviation of 1. The values' circle has radius 1; its centre scores 0.707."
    )
    rows = [(name, times[key]) for key, name in TIMES.items() if times[key]]
    yield Table("figure7_times", caption, TIMES_COLUMNS, rows)
    for key, process in processes.items():
        yield from run_picture(
            key,
            process.seeds,
            "figure7_intensity.png",
            f"Learned and true rate of test sequences, {process.name}; strokes are the events.",
            "The learned rate follows the true one, drawn dashed, over the times of the events.",
        )
    yield "The paper does not describe its toy data; these have a known rate, a + b sin²."
    yield (
        "The latent ODE's log p is an importance-weighted lower bound; the values seen at events "
        "are part of all three likelihoods."
    )
    yield (
        "Without the Poisson term the same network is trained on the values alone and takes the "
        "times of the events as given."
    )


def _claim(key: str, process: Process, decides: bool) -> Claim:
    text = f"The latent ODE's log p is near that of the true rate, {process.name}"

    def describe(share: Spread) -> str:
        ours, true = process.log_p(), process.log_p("true")
        assert ours and true
        pair = f"log p {format_spread(ours, 2)}, true rate {format_spread(true, 2)}"
        return f"{pair}: share of the way {describe_mean(share, 2)}"

    return NEAR[key].claim(text, process.share, describe, decides=decides, of_paper=False)


def _times_help(with_times: Seeds, without: Seeds, decides: bool) -> Claim:
    """The claim that the times of events tell something about the state, on the same events."""
    text = "Where values are noisy, the Poisson term lowers the error of the values' mean"
    ours, other = (seeds.tests_by_seed("rmse_marks") for seeds in (with_times, without))

    def describe(difference: Difference) -> str:
        with_term, alone = spread(ours.values()), spread(other.values())
        assert with_term and alone
        pair = format_pair(with_term, alone, 3)
        paired = ", paired by seed" if ours.keys() == other.keys() else ""
        return f"{pair}: {describe_difference(difference, 3)}{paired}"

    value = difference_over_seeds(other, ours) if ours and other else None
    return TIMES_HELP.claim(text, value, describe, decides=decides)
