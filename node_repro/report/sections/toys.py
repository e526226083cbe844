"""Small classification and regression tasks with an encoder, an ODE and a decoder."""

from collections.abc import Mapping

from node_repro.report import margins
from node_repro.report.artifact import Claim
from node_repro.report.comparisons import describe_mean, mean_at_least, mean_at_most
from node_repro.report.drawings import run_picture
from node_repro.report.rules import Condition, Rule
from node_repro.report.section import Parts, section
from node_repro.report.selection import Seeds, Selection
from node_repro.report.statistics import Spread, percent
from node_repro.report.tables import Column, Table

CLASSIFICATION = {
    "toys_classification": "two spiral arms",
    "toys_rings": "two rings, states in the plane",
    "toys_rings_lifted": "two rings, one dimension more",
}
REGRESSION, LINE = "toys_regression", "toys_linear"
NAMES = CLASSIFICATION | {REGRESSION: "regression", LINE: "linear"}
PICTURES = {
    "fit": ("learned function and data", "The learned curve on the noisy points."),
    "line": ("the line by the ODE and by least squares", "Two lines through noisy points."),
    "decision": ("decision regions and test points", "Coloured regions around the points."),
    "latent": ("paths of latent states through the ODE", "Lines of states by class or value."),
}

INSEPARABLE = mean_at_least("test error", 100 * margins.RINGS_PLANE_ERROR, " %")
SEPARABLE = mean_at_most("test error", 100 * margins.RINGS_LIFTED_ERROR, " %")
SMALLER_ERROR: Rule[tuple[float, float]] = Rule(
    Condition("the standard error of the slope is smaller", lambda pair: pair[0] < pair[1])
)


@section(
    order=60,
    name="toys",
    title="Encoder, ODE, decoder: small classification and regression",
    source="not in the paper",
    experiments=NAMES,
)
def toys(selection: Selection) -> Parts:
    """A network before the ODE and one behind it; and the smallest ODE network, dy/dx = a from a
    known start, which has one parameter where the line y = a x + b has two.
    """
    tasks = {name: selection.seeds(name) for name in NAMES}
    plane, lifted = tasks["toys_rings"], tasks["toys_rings_lifted"]
    yield _rings(
        "An ODE in the plane cannot separate two rings", INSEPARABLE, plane, selection.decides
    )
    yield _rings(
        "An ODE with one dimension more separates two rings", SEPARABLE, lifted, selection.decides
    )
    yield _slope(tasks[LINE])
    yield _classification(tasks)
    yield _regression(tasks[REGRESSION])
    yield _lines(tasks[LINE])
    for key, name in NAMES.items():
        for picture, (caption, alt) in PICTURES.items():
            caption = f"{name.capitalize()}: {caption}."
            yield from run_picture(f"{key}_{picture}", tasks[key], f"{picture}.png", caption, alt)


def _classification(tasks: Mapping[str, Seeds]) -> Table:
    columns: list[Column[tuple[str, Seeds]]] = [
        Column("points", lambda row: row[0]),
        Column("test error, %", lambda row: percent(row[1].test("error")), 2),
        Column("linear classifier's, %", lambda row: percent(_linear_error(row[1])), 2),
        Column("parameters", lambda row: row[1].parameters),
        Column("NFE", lambda row: row[1].test("nfe_forward"), 0),
        Column("seeds", lambda row: row[1].count),
    ]
    rows = [(name, tasks[key]) for key, name in CLASSIFICATION.items() if tasks[key]]
    caption = "Classification of points in the plane."
    return Table("toys_classification", caption, columns, rows)


def _linear_error(seeds: Seeds) -> Spread | None:
    accuracy = seeds.diagnostic("linear_accuracy")
    return accuracy and Spread(1 - accuracy.mean, accuracy.sd, accuracy.n)


def _regression(seeds: Seeds) -> Table:
    noise = seeds.diagnostic("floor_rmse")
    columns: list[Column[str]] = [
        Column("function", lambda name: name),
        Column("RMSE against noisy values", lambda _: seeds.test("rmse_values"), 3),
        Column("noise", lambda _: noise and noise.mean, 3),
        Column("RMSE against the function", lambda _: seeds.test("rmse_function"), 3),
        Column("NFE", lambda _: seeds.test("nfe_forward"), 0),
        Column("seeds", lambda _: seeds.count),
    ]
    rows = ["noisy wave"] if seeds else []
    return Table("toys_regression", "Regression of a noisy function.", columns, rows)


def _lines(seeds: Seeds) -> Table:
    columns: list[Column[tuple[str, str]]] = [
        Column("fit of a line", lambda row: row[1]),
        Column("parameters", lambda row: _whole(seeds.diagnostic(row[0], "parameters"))),
        Column("slope", lambda row: seeds.diagnostic(row[0], "slope"), 3),
        Column("its error", lambda row: seeds.diagnostic(row[0], "slope_error"), 3),
        Column("RMSE against the line", lambda row: seeds.diagnostic(row[0], "rmse_function"), 3),
    ]
    fits = {"ode": "dy/dx = a, known start", "least_squares": "y = a x + b"} if seeds else {}
    return Table("toys_linear", "The same noisy points fitted in two ways.", columns, fits.items())


def _whole(value: Spread | None) -> int | None:
    return None if value is None else int(value.mean)


def _rings(text: str, rule: Rule[Spread], seeds: Seeds, decides: bool) -> Claim:
    def describe(error: Spread) -> str:
        by_seed = ", ".join(f"{100 * one:.1f}" for one in seeds.tests("error"))
        return f"test error {describe_mean(error, 1, ' %')}; by seed {by_seed}"

    error = percent(seeds.test("error"))
    return rule.claim(text, error, describe, decides=decides, of_paper=False)


def _slope(seeds: Seeds) -> Claim:
    text = "One parameter and a known start estimate a slope at least as well as two parameters"
    keys = ("ode", "least_squares")
    one, two = (seeds.diagnostic(key, "slope_standard_error") for key in keys)
    pair = (one.mean, two.mean) if one and two else None
    return SMALLER_ERROR.claim(
        text,
        pair,
        lambda p: f"standard error of the slope {p[0]:.4f} against {p[1]:.4f}",
        of_paper=False,
    )
