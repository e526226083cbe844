"""Table 2: prediction of spirals by latent ODEs and recurrent networks."""

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from node_repro.report import paper
from node_repro.report.artifact import Claim
from node_repro.report.format import format_spread, minus_sign
from node_repro.report.paper import COUNTS
from node_repro.report.rules import (
    Condition,
    Rule,
    above_by_errors,
    claim_lower,
    every,
    some,
)
from node_repro.report.section import Parts, section
from node_repro.report.selection import Seeds, Selection
from node_repro.report.statistics import Difference, Spread, difference_of_differences
from node_repro.report.tables import Cell, Column, Table

MODELS = {"rnn": "RNN", "rnn_dt": "RNN with time gaps", "latent_ode": "latent ODE"}
EXPERIMENTS = [f"table2_{model}_{count}" for model in MODELS for count in COUNTS]

LARGEST_AT_30: Rule[Sequence[Difference]] = Rule(
    every(above_by_errors("lead at 30 less lead at 50 and at 100"), "over seeds"),
    every(Condition("both positive", lambda lead: lead.value > 0), "but smaller, or one seed"),
)
BEST: Condition[str] = Condition(
    "the latent ODE's mean is the highest", lambda model: model == "latent_ode"
)
BEST_EVERYWHERE = Rule(every(BEST, "at 30, 50 and 100"), some(BEST, "at some of them"))

Models = Mapping[tuple[str, int], Seeds]
"""By model and number of observed points."""


class _Line(NamedTuple):
    """A row of a table: a value for each number of observed points."""

    name: str
    values: tuple[Cell, ...]

    @property
    def seeds(self) -> str | None:
        counts = {value.n for value in self.values if isinstance(value, Spread)}
        return "–".join(map(str, sorted({min(counts), max(counts)}))) if counts else None


@section(
    order=180,
    name="table2",
    title="Table 2: predictive error on spirals",
    source="section 5.1, table 2; as log-likelihood in an earlier version, in the authors' slides",
    experiments=EXPERIMENTS,
)
def table2(selection: Selection) -> Parts:
    """RMSE at the 100 points after the observed window, for 30, 50 and 100 observed points of 100.

    Numbers are those of the selected model.
    """
    models = select_spirals(selection)
    yield from (_better(models, count) for count in COUNTS)
    yield _largest_lead(models)
    yield _likelihood(models)
    yield from _tables(models)
    yield (
        "The paper gives neither the spirals' formula nor their noise, nor whether errors are "
        "against noisy points, nor which of its two RNNs the row is; here the noise is 0.1."
    )


def select_spirals(selection: Selection) -> Models:
    """The finished runs by model and number of observed points."""
    return {(m, n): selection.seeds(f"table2_{m}_{n}") for m in MODELS for n in COUNTS}


def _tables(models: Models) -> Iterable[Table]:
    def scores(model: str, metric: str) -> tuple[Cell, ...]:
        return tuple(models[model, count].test(metric) for count in COUNTS)

    errors, likelihoods, others = [], [], []
    for model, name in MODELS.items():
        if model in paper.RMSE:
            errors.append(_Line(f"{name}, paper", paper.RMSE[model]))
        errors.append(_Line(f"{name}, against noisy points", scores(model, "rmse_noisy")))
        errors.append(_Line(f"{name}, against clean points", scores(model, "rmse_clean")))
        earlier = f"{name}, authors' slides, unit unknown"
        likelihoods.append(_Line(earlier, paper.LOG_LIKELIHOOD[model]))
        log_p = scores(model, "log_likelihood_nats")
        likelihoods.append(_Line(f"{name}, nats per point", log_p))
        others.append(_Line(f"{name}: RMSE in the window, clean", scores(model, "rmse_window")))
    for words, key in (
        ("accuracy of a linear probe for the direction, on z(t0)", "direction_probe_accuracy"),
        ("the same with products", "direction_probe_accuracy_with_products"),
    ):
        values = tuple(models["latent_ode", count].diagnostic(key) for count in COUNTS)
        others.append(_Line(f"latent ODE: {words}", values))
    yield Table(
        "table2",
        "RMSE per coordinate of the 100 points ahead, mean ± standard deviation over seeds.",
        _columns(3),
        errors,
    )
    caption = "Predictive log-likelihood of the points ahead, beside the numbers in the slides."
    yield Table("table2_log_likelihood", caption, _columns(2), likelihoods)
    caption = "Errors inside the window, and how well the direction can be read off z(t0)."
    yield Table("table2_beside", caption, _columns(3), others)


def _columns(digits: int) -> list[Column[_Line]]:
    return [
        Column("model", lambda line: line.name),
        *(
            Column(f"{count}/100", lambda line, i=i: line.values[i], digits)
            for i, count in enumerate(COUNTS)
        ),
        Column("seeds", lambda line: line.seeds),
    ]


def _pair(models: Models, count: int) -> tuple[Spread | None, Spread | None]:
    """Errors of the RNN and of the latent ODE."""
    rnn, latent = (models[model, count].test("rmse_noisy") for model in ("rnn", "latent_ode"))
    return rnn, latent


def _better(models: Models, count: int) -> Claim:
    text = f"{count} of 100 points observed: the latent ODE's error is below the RNN's"
    rnn, latent = _pair(models, count)
    return claim_lower(text, latent, rnn, 3)


def _largest_lead(models: Models) -> Claim:
    text = "The latent ODE's lead over the RNN is largest with the fewest points"
    pairs = [(a, b) for a, b in (_pair(models, count) for count in COUNTS) if a and b]
    if len(pairs) < len(COUNTS):
        return LARGEST_AT_30.claim(text, None, str)
    gaps = [rnn.mean - latent.mean for rnn, latent in pairs]
    measured = ", ".join(f"{gap:.3f} at {n}" for gap, n in zip(gaps, COUNTS, strict=True))
    leads = [difference_of_differences(pairs[0], pair) for pair in pairs[1:]]
    return LARGEST_AT_30.claim(text, leads, lambda _: minus_sign(measured))


def _likelihood(models: Models) -> Claim:
    text = "The latent ODE's predictive log-likelihood is above both RNNs' at 30, 50 and 100 points"
    best, measured = [], []
    for count in COUNTS:
        scores = {m: models[m, count].test("log_likelihood_nats") for m in MODELS}
        known = {model: score for model, score in scores.items() if score}
        if len(known) < len(MODELS):
            return BEST_EVERYWHERE.claim(text, None, str)
        best.append(max(known, key=lambda model: known[model].mean))
        latent = format_spread(known["latent_ode"], 2)
        measured.append(f"{count}: {latent}, best is {MODELS[best[-1]]}")
    return BEST_EVERYWHERE.claim(text, best, lambda _: "; ".join(measured))
