"""Figures 8 to 10: reconstructions and latent space of the models of table 2."""

from node_repro.report import margins
from node_repro.report.artifact import Claim, Drawing
from node_repro.report.comparisons import describe_mean, mean_at_least
from node_repro.report.drawings import format_seeds, run_arrays, run_picture
from node_repro.report.paper import COUNTS
from node_repro.report.section import Parts, section
from node_repro.report.sections.table2 import EXPERIMENTS, MODELS, select_spirals
from node_repro.report.selection import Seeds, Selection

RNN_30, LATENT_30 = "table2_rnn_30", "table2_latent_ode_30"
LATENT_3D = "latent_3d"
TRAJECTORY = 0

SEPARATED = mean_at_least("accuracy of the probe", margins.DIRECTION_ACCURACY)


@section(
    order=190,
    name="figure8",
    title="Figure 8: reconstruction and extrapolation of spirals",
    source="section 5.1, figure 8",
    experiments=[RNN_30, LATENT_30],
)
def figure8(selection: Selection) -> Parts:
    """Models trained on 30 of 100 noisy points; the second half of every curve is extrapolated."""
    rnn, latent = selection.seeds(RNN_30), selection.seeds(LATENT_30)
    yield _directions(
        latent, "direction_probe_accuracy", "by a linear probe", selection.decides, of_paper=True
    )
    yield _directions(
        latent,
        "direction_probe_accuracy_with_products",
        "by a probe with products of coordinates",
        selection.decides,
        of_paper=False,
    )
    yield from run_picture(
        "figure8a",
        rnn,
        "figure8_predictions.png",
        "8a. RNN, 30 of 100 points observed: reconstruction and extrapolation of test spirals, "
        "with the RMSE of the extrapolation from the truth. Lines start at the second observation.",
        "Spirals with 30 dots each; the RNN's line follows the dots in zig-zags, and its "
        "extrapolation is drawn in another colour.",
    )
    yield from run_picture(
        "figure8b",
        latent,
        "figure8_predictions.png",
        "8b. Latent ODE, 30 of 100 points observed, on the same spirals.",
        "The same spirals; the latent ODE's smooth line and its extrapolation.",
    )
    yield from run_picture(
        "figure8c",
        latent,
        "figure8c_latent.png",
        "8c. Latent trajectories of 20 test spirals of each direction, their first two dimensions.",
        "Latent trajectories as lines in two colours, clockwise and counter-clockwise.",
    )


@section(
    order=200,
    name="figure9",
    title="Figure 9: trajectories decoded over the latent space",
    source="section 5.1, figure 9; the plane is not in the paper",
    experiments=[LATENT_30, LATENT_3D],
)
def figure9(selection: Selection) -> Parts:
    """Decoded trajectories of the latent ODE with 30 of 100 points observed, and of one with a
    3-D latent state and all 100 points observed.
    """
    latent = selection.seeds(LATENT_30)
    yield from run_picture(
        "figure9",
        latent,
        "figure9_one_dimension.png",
        "Trajectories decoded from z(t0). First row: along the line through the mean of z(t0) that "
        "discriminates the directions best; other rows: one dimension of one spiral varied. "
        "cw and ccw: the decoded curve turns clockwise or counter-clockwise.",
        "A grid of small spirals: a row along the discriminant, then one for each dimension.",
    )
    yield from run_picture(
        "latent_exploration",
        latent,
        "latent_exploration.png",
        "Each point of a plane through the latent space is a trajectory; its colour is the "
        "direction in which it turns, its dot the start.",
        "Small trajectories on a grid over the latent plane, with the test series as dots.",
    )
    yield from run_picture(
        "latent_3d",
        selection.seeds(LATENT_3D),
        "figure9_one_dimension.png",
        "Trajectories decoded from the 3-D latent state, with one dimension varied.",
        "A grid of small spirals, a row for each of the three latent dimensions.",
    )


@section(
    order=210,
    name="figure10",
    title="Figure 10: more observations",
    source="appendix E, figure 10",
    experiments=EXPERIMENTS,
)
def figure10(selection: Selection) -> Parts:
    """One test spiral as each model reconstructs it from 30, 50 and 100 points."""
    from node_repro.figures.journal import styled
    from node_repro.figures.spirals import by_observations

    arrays, seeds = {}, set()
    for (model, count), runs in select_spirals(selection).items():
        if found := run_arrays(runs, "figure8_predictions.npz"):
            seed, arrays[MODELS[model], count] = found
            seeds.add(seed)
    if arrays:
        models = [name for name in MODELS.values() if any(name == m for m, _ in arrays)]
        caption = (
            "One test trajectory, a row for each model, a column for each number of points "
            f"observed, with the RMSE of the extrapolation from the truth. {format_seeds(seeds)}"
        )
        alt = "A grid of one spiral: rows are the models, columns 30, 50 and 100 points."
        draw = styled(lambda: by_observations(COUNTS, models, arrays, TRAJECTORY))
        yield Drawing("figure10", caption, alt, draw)


def _directions(
    latent: Seeds, diagnostic: str, probe: str, decides: bool, *, of_paper: bool
) -> Claim:
    return SEPARATED.claim(
        f"Clockwise and counter-clockwise spirals are separated in the latent space, {probe}",
        latent.diagnostic(diagnostic),
        lambda accuracy: f"accuracy on z(t0) {describe_mean(accuracy, 3)}",
        decides=decides,
        of_paper=of_paper,
    )
