"""Seed 002: encoders and decoders around an ODE, and the line with one parameter."""

from collections.abc import Mapping, Sequence
from statistics import fmean

from node_repro.report import Artifact, Cell, Claim, Column, Drawing, Table, Verdict
from node_repro.report.absent import missing
from node_repro.report.pictures import taken
from node_repro.report.runs import Run, Runs
from node_repro.report.spread import finding, found, percent, score, spread

CLASSIFICATION = {
    "toys_classification": "two spiral arms",
    "toys_rings": "two rings, states in the plane",
    "toys_rings_lifted": "two rings, one dimension more",
}
OTHERS = ("toys_regression", "toys_linear")
PICTURES = {
    "fit.png": ("learned function and data", "The learned curve on the noisy points."),
    "line.png": ("the line by the ODE and by least squares", "Two lines through noisy points."),
    "decision.png": ("decision regions and test points", "Coloured regions around the points."),
    "latent.png": ("latent paths through the ODE", "Lines of latent states by class or value."),
}

Cells = Mapping[str, tuple[Run, ...]]


def artifact(runs: Runs) -> Artifact:
    """Classification, regression, and dy/dx = a."""
    cells = {name: runs.of(name) for name in (*CLASSIFICATION, *OTHERS)}
    return Artifact(
        name="seed2",
        title="Encoder, ODE, decoder: small classification and regression",
        source="the slides of seed 002",
        about=(
            "A network in front of the ODE and one behind it; and the smallest ODE network, "
            "dy/dx = a from a known start, which has one parameter where y = a x + b has two."
        ),
        claims=[_rings(cells), _line(cells)],
        tables=(_classified(cells), _regressed(cells), _lines(cells)),
        drawings=_drawings(cells),
        runs=tuple(run for done in cells.values() for run in done),
        missing=missing(runs, cells),
    )


def _classified(cells: Cells) -> Table:
    columns = (
        Column("points"),
        Column("test error, %", 2),
        Column("linear classifier's, %", 2),
        Column("parameters"),
        Column("NFE", 0),
        Column("seeds"),
    )
    rows: list[list[Cell]] = []
    for name, words in CLASSIFICATION.items():
        if done := cells[name]:
            linear = spread(
                None
                if (share := found(run.result, "findings", "linear_accuracy")) is None
                else 1 - share
                for run in done
            )
            size, nfe = (done[0].result or {})["parameters"], score(done, "nfe_forward")
            rows.append(
                [words, percent(score(done, "error")), percent(linear), size, nfe, len(done)]
            )
    return Table("toys_classification", "Classification of points in the plane.", columns, rows)


def _regressed(cells: Cells) -> Table:
    columns = (
        Column("function"),
        Column("RMSE against noisy values", 3),
        Column("noise", 3),
        Column("RMSE against the function", 3),
        Column("NFE", 0),
        Column("seeds"),
    )
    rows: list[list[Cell]] = []
    if done := cells["toys_regression"]:
        floor = finding(done, "floor_rmse")
        scores = (score(done, "rmse_values"), floor.mean if floor else None)
        rest = (score(done, "rmse_function"), score(done, "nfe_forward"), len(done))
        rows.append(["noisy wave", *scores, *rest])
    return Table("toys_regression", "Regression of a noisy function.", columns, rows)


def _lines(cells: Cells) -> Table:
    columns = (
        Column("fit of a line"),
        Column("parameters"),
        Column("slope", 3),
        Column("its error", 3),
        Column("RMSE against the line", 3),
    )
    rows: list[list[Cell]] = []
    done = cells["toys_linear"]
    for key, words in (("ode", "dy/dx = a, known start"), ("least_squares", "y = a x + b")):
        if done:
            values = [
                spread(found(run.result, "findings", key, name) for run in done)
                for name in ("slope", "slope_error", "rmse_function")
            ]
            size = found(done[0].result, "findings", key, "parameters")
            rows.append([words, None if size is None else int(size), *values])
    return Table("toys_linear", "The same noisy points fitted in two ways.", columns, rows)


def _rings(cells: Cells) -> Claim:
    text = "No ODE of the plane takes one ring out of another; with one dimension more it does"
    rule = "holds: mean test error above 5 % in the plane and at most 2 % with one more dimension"
    plane, lifted = (_test_errors(cells[f"toys_rings{end}"]) for end in ("", "_lifted"))
    if not plane or not lifted:
        return Claim(text, "not measured", Verdict.OPEN, rule)
    measured = (
        f"test errors by seed {_listed(plane)} in the plane, {_listed(lifted)} with one more "
        "dimension"
    )
    verdict = Verdict.HOLDS if fmean(plane) > 0.05 and fmean(lifted) <= 0.02 else Verdict.FAILS
    return Claim(text, measured, verdict, rule)


def _test_errors(done: Sequence[Run]) -> list[float]:
    errors = (found(run.result, "selected", "test", "error") for run in done)
    return [error for error in errors if error is not None]


def _listed(errors: Sequence[float]) -> str:
    return ", ".join(f"{error:.3f}" for error in errors)


def _line(cells: Cells) -> Claim:
    text = "One parameter and a known start estimate a slope at least as well as two parameters"
    rule = "holds: the standard error of the slope is smaller"
    errors = [
        spread(
            found(run.result, "findings", key, "slope_standard_error")
            for run in cells["toys_linear"]
        )
        for key in ("ode", "least_squares")
    ]
    one, two = errors
    if one is None or two is None:
        return Claim(text, "not measured", Verdict.OPEN, rule)
    words = f"standard error of the slope {one.mean:.4f} against {two.mean:.4f}"
    return Claim(text, words, Verdict.HOLDS if one.mean < two.mean else Verdict.FAILS, rule)


def _drawings(cells: Cells) -> Sequence[Drawing]:
    drawings: list[Drawing] = []
    for name, done in cells.items():
        words = CLASSIFICATION.get(name, name.removeprefix("toys_"))
        for file, (caption, alt) in PICTURES.items():
            place = f"{name}_{file.partition('.')[0]}"
            drawings += taken(place, done, file, f"{words.capitalize()}: {caption}.", alt)
    return drawings
