"""Table 2: prediction of spirals by latent ODEs and recurrent networks."""

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from node_repro.report import margins, paper
from node_repro.report.artifact import Claim, Drawing
from node_repro.report.comparisons import (
    above_zero,
    claim_lower,
    describe_difference,
    describe_equality,
    describe_mean,
    equal_within,
    format_pair,
    mean_at_most,
)
from node_repro.report.format import format_number
from node_repro.report.paper import COUNTS
from node_repro.report.rules import Rule, at_most, every
from node_repro.report.section import Parts, section
from node_repro.report.selection import Seeds, Selection
from node_repro.report.statistics import (
    Difference,
    Spread,
    difference_of_differences,
    mean_difference,
)
from node_repro.report.tables import Cell, Column, Table

MODELS = {
    "rnn": "RNN",
    "rnn_dt": "RNN with time gaps",
    "rnn_dt_rollout": "RNN with time gaps, rolled out",
    "gru_dt": "GRU with time gaps",
    "ode_rnn": "ODE-RNN",
    "latent_ode": "latent ODE",
    "latent_ode_annealed": "latent ODE with annealed noise",
}
RIVALS = ("rnn", "rnn_dt", "rnn_dt_rollout", "gru_dt", "ode_rnn")
TRIVIAL = {
    "rmse_noisy_of_mean": "mean of the training points",
    "rmse_noisy_of_last": "last observed value",
}
"""Predictors without parameters that the runs of the latent ODE test, too."""
DIRECTIONS = {
    "clockwise": "rmse_noisy_clockwise",
    "counter-clockwise": "rmse_noisy_counterclockwise",
    "median over trajectories": "rmse_noisy_median",
}
NOISE = 0.1
"""Standard deviation of the spirals' noise, below which no error against noisy points can be."""

EXPERIMENTS = [f"table2_{model}_{count}" for model in MODELS for count in COUNTS]

LARGER_LEAD = above_zero("the lead with fewer points − the lead with more")
LIKELIER = above_zero("the latent ODE's mean − the better RNN's")
TO_THE_NOISE = mean_at_most("RMSE", margins.NOISE_RMSE)
EVERY_SEED = Rule(every(at_most("RMSE", margins.NOISE_RMSE), "of every seed"))

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
    for rival in RIVALS:
        yield from (_better(models, rival, count, selection.decides) for count in COUNTS)
    yield from (_annealed(models, count, selection.decides) for count in COUNTS)
    for model in ("latent_ode", "latent_ode_annealed"):
        yield from (_equal(models, model, count, selection.decides) for count in COUNTS)
        yield from (_to_the_noise(models, model, count, selection.decides) for count in COUNTS)
        yield from (_every_seed(models, model, count, selection.decides) for count in COUNTS)
    yield from (_larger_lead(models, count, selection.decides) for count in COUNTS[1:])
    yield from (_likelier(models, count, selection.decides) for count in COUNTS)
    yield from _tables(models)
    yield from _seed_dots(models)
    yield (
        "The paper gives neither the spirals' formula nor their noise, nor whether errors are "
        "against noisy points, nor which of its two RNNs the row is; here the noise is 0.1."
    )
    yield (
        "The GRU with time gaps, the ODE-RNN, annealed noise and the predictors without parameters "
        "are not in the paper. The RNN that is rolled out and the ODE-RNN are trained on what they "
        "are scored on: they read the first half of each series and predict the second from it. An "
        "error is low if it is near the noise, and a model is of use if it is below the mean of "
        "the training points."
    )
    yield (
        "A latent ODE may end in an optimum in which the spirals of one direction are fitted "
        "inside the window only: their error is then far above that of the other direction."
    )


def select_spirals(selection: Selection) -> Models:
    """The finished runs by model and number of observed points."""
    return {(m, n): selection.seeds(f"table2_{m}_{n}") for m in MODELS for n in COUNTS}


def _tables(models: Models) -> Iterable[Table]:
    def scores(model: str, metric: str) -> tuple[Cell, ...]:
        return tuple(models[model, count].test(metric) for count in COUNTS)

    errors, likelihoods, others, directions = [], [], [], []
    for model, name in MODELS.items():
        if model in paper.RMSE:
            errors.append(_Line(f"{name}, paper", paper.RMSE[model]))
        errors.append(_Line(f"{name}, against noisy points", scores(model, "rmse_noisy")))
        errors.append(_Line(f"{name}, against clean points", scores(model, "rmse_clean")))
        if model in paper.LOG_LIKELIHOOD:
            earlier = f"{name}, authors' slides, unit unknown"
            likelihoods.append(_Line(earlier, paper.LOG_LIKELIHOOD[model]))
        log_p = scores(model, "log_likelihood_nats")
        likelihoods.append(_Line(f"{name}, nats per point", log_p))
        others.append(_Line(f"{name}: RMSE in the window, clean", scores(model, "rmse_window")))
        for words, key in DIRECTIONS.items():
            values = tuple(models[model, count].diagnostic(key) for count in COUNTS)
            directions.append(_Line(f"{name}, {words}", values))
    for key, name in TRIVIAL.items():
        values = tuple(models["latent_ode", count].diagnostic(key) for count in COUNTS)
        errors.append(_Line(f"{name}, against noisy points", values))
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
    caption = (
        "RMSE of the points ahead against noisy points, of the test spirals of each direction, and "
        "the median of the RMSE of single trajectories."
    )
    yield Table("table2_by_direction", caption, _columns(3), directions)
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


def _seed_dots(models: Models) -> Iterable[Drawing]:
    """The errors of all models as dots, one for each seed; nothing if there are no runs."""
    from node_repro.figures.report_spirals import Errors, seed_dots

    errors = [
        Errors(
            name,
            [models[model, count].tests("rmse_noisy") for count in COUNTS],
            paper.RMSE.get(model),
        )
        for model, name in MODELS.items()
    ]
    if not any(any(one.seeds) for one in errors):
        return
    caption = (
        "RMSE ahead against noisy points, one dot for each seed, with the mean as a stroke; grey "
        "crosses are the paper's values. The dashed line is the noise, below which no model can be."
    )
    alt = "Three panels, 30, 50 and 100 points observed: dots of the models' errors in rows."
    yield Drawing("table2_seeds", caption, alt, seed_dots(COUNTS, errors, NOISE))


def _error(models: Models, model: str, count: int) -> Spread | None:
    return models[model, count].test("rmse_noisy")


def _better(models: Models, rival: str, count: int, decides: bool) -> Claim:
    text = f"{count} of 100 points observed: the latent ODE's error is below that of the"
    return claim_lower(
        f"{text} {MODELS[rival]}",
        _error(models, "latent_ode", count),
        _error(models, rival, count),
        3,
        decides=decides,
        of_paper=rival == "rnn",
    )


def _annealed(models: Models, count: int, decides: bool) -> Claim:
    return claim_lower(
        f"{count} of 100 points observed: annealed noise lowers the latent ODE's error",
        _error(models, "latent_ode_annealed", count),
        _error(models, "latent_ode", count),
        3,
        decides=decides,
        of_paper=False,
    )


def _equal(models: Models, model: str, count: int, decides: bool) -> Claim:
    text = (
        f"{count} of 100 points observed: the errors of {MODELS[model]} and GRU with time gaps are "
        "equal"
    )
    latent, gru = _error(models, model, count), _error(models, "gru_dt", count)
    margin = margins.RMSE_SHARE * gru.mean if gru else 0.0
    rule = equal_within(
        "the difference", margin, f"{100 * margins.RMSE_SHARE:g} % of the GRU's mean"
    )
    if latent is None or gru is None:
        return rule.claim(text, None, str, of_paper=False)
    pair = format_pair(latent, gru, 3)

    def describe(difference: Difference) -> str:
        return f"{pair}: {describe_equality(difference, 3)}"

    difference = mean_difference(latent, gru)
    return rule.claim(text, difference, describe, decides=decides, of_paper=False)


def _to_the_noise(models: Models, model: str, count: int, decides: bool) -> Claim:
    return TO_THE_NOISE.claim(
        f"{count} of 100 points observed: the {MODELS[model]} predicts to the noise",
        _error(models, model, count),
        lambda error: describe_mean(error, 3),
        decides=decides,
        of_paper=False,
    )


def _every_seed(models: Models, model: str, count: int, decides: bool) -> Claim:
    errors = models[model, count].tests("rmse_noisy")

    def describe(errors: Sequence[float]) -> str:
        return f"largest of {len(errors)} seeds: {format_number(max(errors), 3)}"

    return EVERY_SEED.claim(
        f"{count} of 100 points observed: the {MODELS[model]} predicts to the noise on every seed",
        errors or None,
        describe,
        decides=decides,
        of_paper=False,
    )


def _larger_lead(models: Models, count: int, decides: bool) -> Claim:
    fewest = COUNTS[0]
    text = f"The latent ODE's lead over the RNN is larger with {fewest} points than with {count}"
    pairs = [
        (rnn, latent)
        for n in (fewest, count)
        if (rnn := _error(models, "rnn", n)) and (latent := _error(models, "latent_ode", n))
    ]

    def describe(difference: Difference) -> str:
        leads = (format_number(rnn.mean - latent.mean, 3) for rnn, latent in pairs)
        seeds = ", ".join(str(n) for n in sorted({mean.n for pair in pairs for mean in pair}))
        ends = " against ".join(leads)
        return f"{ends} (n = {seeds}): {describe_difference(difference, 3)}"

    value = difference_of_differences(*pairs) if len(pairs) == 2 else None
    return LARGER_LEAD.claim(text, value, describe, decides=decides)


def _likelier(models: Models, count: int, decides: bool) -> Claim:
    text = f"{count} of 100 points observed: the latent ODE's log-likelihood is above both RNNs'"
    latent, *rnns = (
        models[model, count].test("log_likelihood_nats")
        for model in ("latent_ode", "rnn", "rnn_dt")
    )
    known = [rnn for rnn in rnns if rnn is not None]
    if latent is None or len(known) < len(rnns):
        return LIKELIER.claim(text, None, str, decides=decides)
    best = max(known, key=lambda rnn: rnn.mean)
    pair = format_pair(latent, best, 2, " nats")

    def describe(difference: Difference) -> str:
        return f"{pair} of the better RNN: {describe_difference(difference, 2, ' nats')}"

    return LIKELIER.claim(text, mean_difference(latent, best), describe, decides=decides)
