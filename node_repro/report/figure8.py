"""Figures 8 to 10 and the latent exploration: what the models of table 2 make of spirals."""

from collections.abc import Mapping

from node_repro.report import Artifact, Claim, Drawing, Verdict
from node_repro.report.absent import missing
from node_repro.report.pictures import first_arrays, of_seeds, taken
from node_repro.report.runs import Run, Runs
from node_repro.report.spread import finding, told
from node_repro.report.table2 import COUNTS, MODELS, spiral_runs

TRAJECTORY = 0
SEPARATED = 0.95


def reconstructions(runs: Runs) -> Artifact:
    """Figure 8 a, b and c."""
    cells = spiral_runs(runs)
    names = {m: f"table2_{m}_30" for m in ("rnn", "latent_ode")}
    drawings = [
        *taken(
            "figure8a",
            cells["rnn", 30],
            "figure8_predictions.png",
            "8a. RNN, 30 of 100 points seen: reconstruction and extrapolation of test spirals.",
            "Spirals with 30 dots each; the RNN's line follows the dots in zig-zags, and its "
            "extrapolation is drawn in another colour.",
        ),
        *taken(
            "figure8b",
            cells["latent_ode", 30],
            "figure8_predictions.png",
            "8b. Latent ODE, 30 of 100 points seen, on the same spirals.",
            "The same spirals; the latent ODE's smooth line and its extrapolation.",
        ),
        *taken(
            "figure8c",
            cells["latent_ode", 30],
            "figure8c_latent.png",
            "8c. Latent trajectories, their first two dimensions; colour is the direction.",
            "Latent trajectories as lines in two colours, clockwise and counter-clockwise.",
        ),
    ]
    return Artifact(
        name="figure8",
        title="Figure 8: reconstruction and extrapolation of spirals",
        source="section 5.1, figure 8",
        about="Models trained on 30 of 100 noisy points; the second half of every curve is ahead.",
        claims=[_directions(cells)],
        drawings=drawings,
        runs=(*cells["rnn", 30], *cells["latent_ode", 30]),
        missing=missing(runs, names.values()),
    )


def latent_space(runs: Runs) -> Artifact:
    """Figure 9 and the seeds' latent exploration."""
    done = spiral_runs(runs)["latent_ode", 30]
    drawings = [
        *taken(
            "figure9",
            done,
            "figure9_one_dimension.png",
            "Trajectories decoded from z(t0) with one dimension moved; time is purple to red.",
            "A grid of small spirals, a row for each latent dimension, changing along the row.",
        ),
        *taken(
            "latent_exploration",
            done,
            "latent_exploration.png",
            "Each point of a plane through the latent space is a trajectory.",
            "Small trajectories on a grid over the latent plane, with the test series as dots.",
        ),
    ]
    return Artifact(
        name="figure9",
        title="Figure 9: walking through the latent space",
        source="section 5.1, figure 9; the slides' latent exploration",
        about="Decoded trajectories of the latent ODE with 30 of 100 points seen.",
        drawings=drawings,
        runs=done,
        missing=missing(runs, ["table2_latent_ode_30"]),
    )


def by_count(runs: Runs) -> Artifact:
    """Figure 10, drawn from the arrays of the lowest seed of each model."""
    cells = spiral_runs(runs)
    used = {place: done for place, done in cells.items() if done}
    return Artifact(
        name="figure10",
        title="Figure 10: more observations",
        source="appendix E, figure 10",
        about="One test spiral as each model sees it from 30, 50 and 100 points.",
        drawings=_by_observations(used),
        runs=tuple(run for done in used.values() for run in done[:1]),
        missing=missing(runs, (f"table2_{m}_{n}" for m, n in cells)),
    )


def _directions(cells: Mapping[tuple[str, int], tuple[Run, ...]]) -> Claim:
    text = "Clockwise and counter-clockwise spirals separate in the latent space"
    rule = f"holds: a linear probe reads off {SEPARATED:.0%}; in part: one with products does"
    done = cells["latent_ode", 30]
    plain = finding(done, "direction_probe_accuracy")
    products = finding(done, "direction_probe_accuracy_with_products")
    if plain is None or products is None:
        return Claim(text, "not measured", Verdict.OPEN, rule)
    measured = f"share read off z(t0): linear {told(plain, 3)}, with products {told(products, 3)}"
    linear, curved = plain.mean >= SEPARATED, products.mean >= SEPARATED
    verdict = Verdict.HOLDS if linear else Verdict.PARTLY if curved else Verdict.FAILS
    return Claim(text, measured, verdict, rule)


def _by_observations(cells: Mapping[tuple[str, int], tuple[Run, ...]]) -> tuple[Drawing, ...]:
    from node_repro.figures.journal import styled
    from node_repro.figures.spirals import by_observations

    arrays, seeds = {}, set()
    for (model, count), done in cells.items():
        if drawn := first_arrays(done, "figure8_predictions.npz"):
            seed, arrays[MODELS[model], count] = drawn
            seeds.add(seed)
    if not arrays:
        return ()
    present = [name for name in MODELS.values() if any(name == m for m, _ in arrays)]
    files = styled(lambda: by_observations(COUNTS, present, arrays, TRAJECTORY))
    caption = (
        "One test trajectory, a row for each model, a column for each number of points seen. "
        f"{of_seeds(seeds)}"
    )
    alt = "A grid of one spiral: rows are the models, columns 30, 50 and 100 observed points."
    return (Drawing("figure10", caption, alt, files),)
