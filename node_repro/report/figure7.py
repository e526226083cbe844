"""Figure 7: Poisson processes whose rate is a function of a latent state."""

from node_repro.report import Artifact, Cell, Claim, Column, Table, Verdict
from node_repro.report.absent import missing
from node_repro.report.pictures import taken
from node_repro.report.runs import Run, Runs
from node_repro.report.spread import finding, minus, percent, score, told

ROWS = {
    "fig7_poisson": "events alone",
    "fig7_poisson_marked": "events and the values seen at them",
}
LIKELIHOODS = ("log_likelihood_nats", "log_likelihood_true_nats", "log_likelihood_constant_nats")


def artifact(runs: Runs) -> Artifact:
    """Likelihoods beside the true rate's and a constant one's, and the rates."""
    cells = {name: runs.of(name) for name in ROWS}
    drawings = [
        drawing
        for name, done in cells.items()
        for drawing in taken(
            name,
            done,
            "figure7_intensity.png",
            f"Learned and true rate of test sequences, {ROWS[name]}; strokes are the events.",
            "The learned rate follows the true one, drawn dashed, over the times of the events.",
        )
    ]
    return Artifact(
        name="figure7",
        title="Figure 7: a latent Poisson process",
        source="section 5, figure 7",
        about=(
            "log p(t_1 ... t_N) = sum of log λ(z(t_i)) − ∫ λ(z(t)) dt; λ and its integral come "
            "from one solve. Scores are of the selected model, a sequence."
        ),
        claims=[_claim(name, done) for name, done in cells.items()],
        tables=(_table(cells),),
        drawings=drawings,
        notes=[
            "The paper's toy data are not described; ours have a known rate, a + b sin².",
            "The latent ODE's log p is an importance-weighted lower bound; values seen are "
            "part of all three likelihoods.",
        ],
        runs=tuple(run for done in cells.values() for run in done),
        missing=missing(runs, ROWS),
    )


def _table(cells: dict[str, tuple[Run, ...]]) -> Table:
    columns = (
        Column("model"),
        Column("log p, latent ODE", 2),
        Column("log p, true rate", 2),
        Column("log p, constant rate", 2),
        Column("rate's error, %", 1),
        Column("expected events / true", 3),
        Column("seeds"),
    )
    rows: list[list[Cell]] = []
    for name, done in cells.items():
        if done:
            values = [score(done, key) for key in LIKELIHOODS]
            error = percent(score(done, "rate_error"))
            rows.append([ROWS[name], *values, error, finding(done, "integral_ratio"), len(done)])
    caption = "Test log-likelihood in nats a sequence, mean ± standard deviation over seeds."
    return Table("figure7", caption, columns, rows)


def _claim(name: str, done: tuple[Run, ...]) -> Claim:
    text = f"log p comes near the true law's, {ROWS[name]}"
    rule = "holds: log p covers at least 90 % of the way from a constant rate's to the true rate's"
    ours, true, constant = (score(done, key) for key in LIKELIHOODS)
    if ours is None or true is None or constant is None:
        return Claim(text, "not measured", Verdict.OPEN, rule)
    share = (ours.mean - constant.mean) / (true.mean - constant.mean)
    way = minus(f"{share:.0%}")
    measured = f"log p {told(ours, 2)}, true rate {told(true, 2)}: {way} of the way"
    return Claim(text, measured, Verdict.HOLDS if share >= 0.9 else Verdict.FAILS, rule)
