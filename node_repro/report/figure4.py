"""Figure 4: continuous and planar flows fitted to densities, by size."""

from collections.abc import Mapping, Sequence

from node_repro.report import Artifact, Cell, Claim, Column, Drawing, Spread, Table, Verdict
from node_repro.report.absent import missing
from node_repro.report.pictures import first_arrays, of_seeds
from node_repro.report.runs import Run, Runs
from node_repro.report.spread import below, found, score, spread, told, trained

SIZES = (2, 8, 32)
TARGETS = {"u1": "U1", "u2": "U2", "u3": "U3", "u4": "U4"}
KINDS = {"cnf": "CNF", "nf": "NF"}
NEAR = 0.15  # nats above the floor

Cells = Mapping[tuple[str, str, int], tuple[Run, ...]]
"""By target, kind and size; the kinds of `KINDS` and those beside the figure."""

BESIDE = {
    "nf_fair": ("NF, the CNF's iterations", "fig4_u1_nf_fair_{}", SIZES),
    "cnf_constant": ("CNF, weights constant in time", "fig4_u1_cnf_constant_{}", (32,)),
    "nf_rmsprop": ("NF, RMSprop as in Rezende and Mohamed", "fig4_u1_nf_rmsprop_{}", (32,)),
}


def artifact(runs: Runs) -> Artifact:
    """Losses, divergences, densities."""
    names = _experiments()
    cells = {place: runs.of(name) for place, name in names.items()}
    return Artifact(
        name="figure4",
        title="Figure 4: continuous against planar flows",
        source="section 4.1, figure 4",
        about=(
            "A continuous normalizing flow (CNF) of M units and a planar normalizing flow (NF) "
            "of K maps are fitted to energies by minimising KL(q || p). The loss is at least "
            "−log Z."
        ),
        claims=_claims(cells),
        tables=(_divergences(cells),),
        drawings=(*_losses(cells), *_densities(cells)),
        notes=[
            "The paper does not name its targets; U1 to U4 of Rezende and Mohamed (2015) are "
            "taken. U2 to U4 are improper on the plane and get a soft wall at ±4.",
            "Optimisers, iterations and parameters of the two flows differ, in the paper and here; "
            "“NF, the CNF's iterations” gives the planar flow the continuous one's iterations.",
        ],
        runs=tuple(run for done in cells.values() for run in done),
        missing=missing(runs, names.values()),
    )


def _experiments() -> dict[tuple[str, str, int], str]:
    names = {
        (target, kind, size): f"fig4_{target}_{kind}_{size}"
        for target in TARGETS
        for kind in KINDS
        for size in SIZES
    }
    for kind, (_, pattern, sizes) in BESIDE.items():
        names |= {("u1", kind, size): pattern.format(size) for size in sizes}
    return names


def _label(kind: str) -> str:
    return KINDS.get(kind) or BESIDE[kind][0]


def _divergences(cells: Cells) -> Table:
    columns = (
        Column("target, flow"),
        Column("K or M"),
        Column("parameters"),
        Column("loss, nats", 3),
        Column("floor −log Z", 3),
        Column("KL = loss − floor", 3),
        Column("seeds"),
        Column("iterations"),
        Column("NFE", 0),
        Column("s/iteration", 4),
    )
    rows: list[list[Cell]] = []
    for (target, kind, size), done in cells.items():
        if not done:
            continue
        result = done[0].result or {}
        rows.append(
            [
                f"{TARGETS[target]}, {_label(kind)}",
                size,
                result["parameters"],
                score(done, "loss_nats", "last"),
                found(result, "findings", "floor_nats"),
                score(done, "kl_nats", "last"),
                len(done),
                result["iterations"],
                score(done, "nfe_forward", "last"),
                trained(done, "step_seconds"),
            ]
        )
    caption = (
        "Test loss of the last model on fresh samples, mean ± standard deviation over seeds. KL is "
        "the divergence of the flow from the target."
    )
    return Table("figure4", caption, columns, rows)


def _claims(cells: Cells) -> list[Claim]:
    claims = []
    for target, name in TARGETS.items():
        parts = []
        for size in SIZES:
            ours, other = (score(cells[target, kind, size], "kl_nats", "last") for kind in KINDS)
            parts.append(below(str(size), ours, other, " nats", 3))
        claims.append(_all(f"{name}: the CNF is closer than the NF of the same size", parts))
    claims += [_near(cells, target, name) for target, name in TARGETS.items()]
    return claims


def _all(text: str, parts: Sequence[Claim]) -> Claim:
    """One claim of those for each size, which are named by their size."""
    rule = (
        "holds: closer at every size by more than 2 s.e. of the difference over seeds; in part: by "
        "less, or at some sizes only"
    )
    known = [part for part in parts if part.verdict is not Verdict.OPEN]
    if not known:
        return Claim(text, "not measured", Verdict.OPEN, rule)
    measured = "; ".join(f"M = K = {part.text}: {part.measured}" for part in known)
    verdicts = {part.verdict for part in known}
    alike = len(verdicts) == 1 and (len(known) == len(parts) or verdicts == {Verdict.FAILS})
    single = verdicts.pop() if alike else Verdict.PARTLY
    return Claim(text, measured, single, rule)


def _near(cells: Cells, target: str, name: str) -> Claim:
    text = f"{name}: the CNF of 32 units comes within {NEAR} nats of −log Z"
    rule = f"holds: the mean KL is at most {NEAR} nats"
    kl = score(cells[target, "cnf", 32], "kl_nats", "last")
    if kl is None:
        return Claim(text, "not measured", Verdict.OPEN, rule)
    verdict = Verdict.HOLDS if kl.mean <= NEAR else Verdict.FAILS
    return Claim(text, f"KL {told(kl, 3)} nats", verdict, rule)


def _losses(cells: Cells) -> tuple[Drawing, ...]:
    from node_repro.figures.report_flows import Curve, losses

    panels = {}
    for target, name in TARGETS.items():
        curves, floors = [], []
        for kind in (*KINDS, *BESIDE):
            by_size = {
                size: seeds
                for (where, which, size), done in cells.items()
                if (where, which) == (target, kind) and (seeds := _last_losses(done))
            }
            if by_size:
                curves.append(Curve(_label(kind), by_size))
                floors += [
                    found(run.result, "findings", "floor_nats")
                    for size in by_size
                    for run in cells[target, kind, size]
                ]
        floor: Spread | None = spread(floors)
        if curves and floor:
            panels[name] = (floor.mean, curves)
    if not panels:
        return ()
    caption = (
        "Test loss against the number of units M or maps K, above its floor −log Z (dotted). Lines "
        "are means over seeds, dots single seeds."
    )
    alt = f"Loss over size for {', '.join(panels)}: the numbers of the table below as curves."
    return (Drawing("figure4_losses", caption, alt, losses(panels)),)


def _last_losses(done: Sequence[Run]) -> list[float]:
    losses = (found(run.result, "last", "test", "loss_nats") for run in done)
    return [loss for loss in losses if loss is not None]


def _densities(cells: Cells) -> list[Drawing]:
    drawings = []
    for target, name in TARGETS.items():
        drawing = _density(cells, target, name)
        if drawing is not None:
            drawings.append(drawing)
    return drawings


def _density(cells: Cells, target: str, name: str) -> Drawing | None:
    from node_repro.figures.report_flows import densities

    true, rows, seeds = None, {"M": {}, "K": {}}, set()
    for row, kind in (("M", "cnf"), ("K", "nf")):
        for size in SIZES:
            if drawn := first_arrays(cells[target, kind, size], "density.npz"):
                seed, arrays = drawn
                true, rows[row][size] = arrays["Target"], arrays["Model"]
                seeds.add(seed)
    if true is None:
        return None
    caption = (
        f"{name}: target, CNF of M units (upper row), NF of K maps (lower row). {of_seeds(seeds)}"
    )
    alt = f"Densities of the target {name} and of the flows fitted to it, growing with M and K."
    return Drawing(f"figure4_{target}", caption, alt, densities(true, rows, SIZES))
