"""Figure 5: flows trained by maximum likelihood on points in the plane."""

from collections.abc import Mapping

from node_repro.report import Artifact, Cell, Claim, Column, Drawing, Table, Verdict
from node_repro.report.absent import missing
from node_repro.report.pictures import taken
from node_repro.report.runs import Run, Runs
from node_repro.report.spread import below, finding, score, told, trained
from node_repro.report.words import sentence

ROWS = {
    "fig5_circles_cnf": "two circles, CNF",
    "fig5_circles_nf": "two circles, NF",
    "fig5_moons_cnf": "two moons, CNF",
    "fig5_moons_nf": "two moons, NF",
    "fig5_circles_hutchinson": "two circles, perceptron with estimated trace",
    "fig5_eight_gaussians": "eight Gaussians, CNF",
    "fig5_pinwheel": "pinwheel, CNF",
    "fig5_checkerboard": "checkerboard, CNF",
    "fig5_two_spirals": "two spirals, CNF",
}
ANIMATED = ("fig5_circles_cnf", "fig5_moons_cnf")
NEAR = {"fig5_circles_cnf": 0.25, "fig5_moons_cnf": 0.30}  # nats: set before the runs

Cells = Mapping[str, tuple[Run, ...]]


def artifact(runs: Runs) -> Artifact:
    """Likelihoods above the data's entropy, and the flow at six moments."""
    cells = {name: runs.of(name) for name in ROWS}
    return Artifact(
        name="figure5",
        title="Figure 5: maximum likelihood training",
        source="section 4.2, figure 5",
        about=(
            "Flows are trained on points by maximum likelihood, from the data to the base, and "
            "run backwards to sample. The score is the negative log-likelihood above the entropy "
            "of the law that the points are drawn from: zero is perfect."
        ),
        claims=(
            *(_near(cells, name) for name in ANIMATED),
            *(
                below(
                    f"{shape}: the CNF is closer to the data than the NF",
                    score(cells[f"fig5_{key}_cnf"], "kl_nats", "last"),
                    score(cells[f"fig5_{key}_nf"], "kl_nats", "last"),
                    " nats",
                    3,
                )
                for key, shape in (("circles", "Two circles"), ("moons", "Two moons"))
            ),
        ),
        tables=(_scores(cells),),
        drawings=_drawings(cells),
        notes=[
            "The planar flow maps data to base; its inverse for the samples is found by bisection.",
            "The paper gives no likelihoods for this figure, nor its data's noise.",
        ],
        runs=tuple(run for done in cells.values() for run in done),
        missing=missing(runs, ROWS),
    )


def _scores(cells: Cells) -> Table:
    columns = (
        Column("data, flow"),
        Column("NLL, nats", 3),
        Column("entropy, nats", 3),
        Column("NLL − entropy", 3),
        Column("mass on a grid", 4),
        Column("seeds"),
        Column("parameters"),
        Column("iterations"),
        Column("NFE", 0),
        Column("s/iteration", 3),
    )
    rows: list[list[Cell]] = []
    for name, done in cells.items():
        if not done:
            continue
        result, entropy = done[0].result or {}, finding(done, "entropy_nats")
        rows.append(
            [
                ROWS[name],
                score(done, "nll_nats", "last"),
                entropy.mean if entropy else None,
                score(done, "kl_nats", "last"),
                finding(done, "mass"),
                len(done),
                result["parameters"],
                result["iterations"],
                score(done, "nfe_forward", "last"),
                trained(done, "step_seconds"),
            ]
        )
    caption = (
        "Negative log-likelihood of fresh test points under the last model, mean ± standard "
        "deviation over seeds, and what is left of it above the entropy."
    )
    return Table("figure5", caption, columns, rows)


def _near(cells: Cells, name: str) -> Claim:
    text = f"{sentence(ROWS[name])}: the data are fitted"
    near = NEAR[name]
    rule = f"holds: NLL at most {near:.2f} nats above the entropy"
    kl = score(cells[name], "kl_nats", "last")
    if kl is None:
        return Claim(text, "not measured", Verdict.OPEN, rule)
    verdict = Verdict.HOLDS if kl.mean <= near else Verdict.FAILS
    return Claim(text, f"{told(kl, 3)} nats above", verdict, rule)


def _drawings(cells: Cells) -> list[Drawing]:
    drawings: list[Drawing] = []
    for name, done in cells.items():
        words = ROWS[name]
        field = "" if words.endswith(" NF") else " and field"
        caption = f"{sentence(words)}: density, samples{field}"
        caption += (
            " at 5, 20, 40, 60, 80 and 100 % of the way from the base, the target at the right."
        )
        alt = (
            f"The flow from a Gaussian to {words.partition(',')[0]} in six columns, and the target."
        )
        drawings += taken(name, done, "panels.png", caption, alt)
        if name in ANIMATED:
            moving = f"{sentence(words.partition(',')[0])}: the same flow, moving."
            drawings += taken(
                f"{name}_animation", done, "animation.gif", moving, f"{alt} Animated."
            )
    return drawings
