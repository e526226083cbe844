"""Figure 7: Poisson processes whose rate is a function of a latent state."""

from typing import NamedTuple

from node_repro.report.artifact import Claim
from node_repro.report.drawings import run_picture
from node_repro.report.format import format_spread, minus_sign
from node_repro.report.rules import Rule, at_least
from node_repro.report.section import Parts, section
from node_repro.report.selection import Seeds, Selection
from node_repro.report.statistics import Spread, percent
from node_repro.report.tables import Column, Table

MODELS = {
    "fig7_poisson": "events alone",
    "fig7_poisson_marked": "events and the values seen at them",
}
NEAR = Rule(at_least("(log p − constant rate's) / (true rate's − constant rate's)", 0.9))


class Process(NamedTuple):
    """A row of the table."""

    name: str
    seeds: Seeds

    def log_p(self, rate: str = "") -> Spread | None:
        """Test log-likelihood: the model's, or under the "true" or the "constant" rate."""
        return self.seeds.test(f"log_likelihood{rate and f'_{rate}'}_nats")


COLUMNS: list[Column[Process]] = [
    Column("model", lambda process: process.name),
    Column("log p, latent ODE", lambda process: process.log_p(), 2),
    Column("log p, true rate", lambda process: process.log_p("true"), 2),
    Column("log p, constant rate", lambda process: process.log_p("constant"), 2),
    Column("rate's error, %", lambda process: percent(process.seeds.test("rate_error")), 1),
    Column("expected events / true", lambda process: process.seeds.diagnostic("integral_ratio"), 3),
    Column("seeds", lambda process: process.seeds.count),
]


@section(
    order=170,
    name="figure7",
    title="Figure 7: a latent Poisson process",
    source="section 5, figure 7",
    experiments=MODELS,
)
def figure7(selection: Selection) -> Parts:
    """log p(t_1 ... t_N) = sum of log λ(z(t_i)) − ∫ λ(z(t)) dt; λ and its integral come from one
    solve. Scores are those of the selected model, per sequence.
    """
    processes = {key: Process(name, selection.seeds(key)) for key, name in MODELS.items()}
    yield from (_claim(process) for process in processes.values())
    caption = "Test log-likelihood in nats per sequence, mean ± standard deviation over seeds."
    yield Table("figure7", caption, COLUMNS, [p for p in processes.values() if p.seeds])
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


def _claim(process: Process) -> Claim:
    text = f"The latent ODE's log p is near that of the true rate, {process.name}"
    ours, true, constant = process.log_p(), process.log_p("true"), process.log_p("constant")
    if ours is None or true is None or constant is None:
        return NEAR.claim(text, None, str)
    share = (ours.mean - constant.mean) / (true.mean - constant.mean)
    pair = f"log p {format_spread(ours, 2)}, true rate {format_spread(true, 2)}"
    return NEAR.claim(text, share, lambda share: minus_sign(f"{pair}: {share:.0%}"))
