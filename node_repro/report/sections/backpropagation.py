"""Back-propagation through the solver against the adjoint method: time, numerics, memory."""

from node_repro.report import margins
from node_repro.report.artifact import Claim
from node_repro.report.comparisons import above_zero, describe_difference, format_pair
from node_repro.report.format import format_list, format_number, format_tolerance
from node_repro.report.probe_rows import ProbeRows
from node_repro.report.rules import Condition, Rule, at_least
from node_repro.report.section import Parts, section
from node_repro.report.sections.memory import SECONDS_NOTE
from node_repro.report.selection import Seeds, Selection
from node_repro.report.statistics import difference_over_seeds, scaled, spread
from node_repro.report.tables import Column, Table

DIRECT, ADJOINT = "table1_rknet", "table1_odenet"
FIELDS = {"table1_odenet": "ODE-Net", "demo_field_fit": "the demo's field"}
ERROR = "parameters_relative"

Errors = list[tuple[float, float, float]]
"""Tolerances with the relative errors of the direct and of the adjoint's gradient."""

SLOW = above_zero("seconds per iteration, RK-Net − ODE-Net")
BAD: Rule[Errors] = Rule(
    Condition(
        "the direct gradient's error is above the adjoint's at every tolerance",
        lambda errors: all(direct > adjoint for _, direct, adjoint in errors),
    ),
    Condition(
        "at no tolerance",
        lambda errors: all(direct <= adjoint for _, direct, adjoint in errors),
    ),
)
HUNGRY = Rule(at_least("memory of RK-Net over ODE-Net's", margins.MUCH_MEMORY))


@section(
    order=105,
    name="backpropagation",
    title="Back-propagation through the solver: time, numerics and memory",
    source="section 2: it “incurs a high memory cost and introduces additional numerical error”; "
    "the authors' slides add that it is slow",
    experiments=[DIRECT, ADJOINT],
)
def backpropagation(selection: Selection) -> Parts:
    """RK-Net, which differentiates the steps of the solver (direct), against ODE-Net, the same
    network with the adjoint method: one training iteration in the last epoch, and the gradients'
    errors at equal tolerance (see “Error of the gradient against the tolerance”).
    """
    direct, adjoint = selection.seeds(DIRECT), selection.seeds(ADJOINT)
    yield _slow(direct, adjoint)
    for experiment, name in FIELDS.items():
        yield _bad_numerics(name, ProbeRows.read(selection, experiment, "gradient_error"))
    yield _hungry(direct, adjoint)
    columns: list[Column[tuple[str, Seeds]]] = [
        Column("network", lambda row: row[0]),
        Column("s/iteration", lambda row: row[1].training("step_seconds"), 3),
        Column("memory, MB", lambda row: scaled(row[1].training("saved_bytes"), 1e-6), 1),
        Column("NFE forward", lambda row: row[1].training("nfe_forward"), 1),
        Column("NFE backward", lambda row: row[1].training("nfe_backward"), 1),
        Column("seeds", lambda row: row[1].count),
    ]
    rows = [("RK-Net, direct", direct), ("ODE-Net, adjoint", adjoint)]
    caption = "One training iteration, mean ± standard deviation over seeds."
    yield Table("backpropagation", caption, columns, [row for row in rows if row[1]])
    yield SECONDS_NOTE
    yield (
        "Solves with the adjoint method may be compiled (engine=auto), those that autograd "
        "differentiates are not; the runs' files say which engine was chosen."
    )


def _slow(direct: Seeds, adjoint: Seeds) -> Claim:
    text = "Back-propagation through the solver is slow: an iteration takes longer than the adjoint"
    seconds = [_by_seed(seeds, "step_seconds") for seeds in (direct, adjoint)]
    pair = [spread(values.values()) for values in seconds]

    def describe(_: object) -> str:
        one, other = pair
        assert one and other
        gap = describe_difference(difference_over_seeds(*seconds), 3, " s")
        return f"{format_pair(one, other, 3, ' s')}: {gap}"

    return SLOW.claim(text, difference_over_seeds(*seconds) if all(seconds) else None, describe)


def _by_seed(seeds: Seeds, metric: str) -> dict[int, float]:
    return {
        run.seed: value.mean
        for run in seeds
        if (value := Seeds((run,)).training(metric)) is not None
    }


def _bad_numerics(name: str, rows: ProbeRows) -> Claim:
    text = f"Back-propagation through the solver has bad numerical properties, {name}"
    direct, adjoint = (
        dict(rows.where(gradient=gradient).medians("tolerance", ERROR))
        for gradient in ("direct", "adjoint")
    )
    errors = [(t, direct[t], adjoint[t]) for t in sorted(direct, reverse=True) if t in adjoint]

    def describe(errors: Errors) -> str:
        return "relative error of direct against adjoint: " + format_list(
            [
                f"{format_number(d, None)} against {format_number(a, None)} at "
                f"{format_tolerance(t)}"
                for t, d, a in errors
            ]
        )

    return BAD.claim(text, errors or None, describe)


def _hungry(direct: Seeds, adjoint: Seeds) -> Claim:
    text = "Back-propagation through the solver has a high memory cost"
    one, other = (seeds.training("saved_bytes") for seeds in (direct, adjoint))
    ratio = one.mean / other.mean if one and other and other.mean else None

    def describe(ratio: float) -> str:
        assert one and other
        pair = f"{one.mean / 1e6:.1f} MB against {other.mean / 1e6:.1f} MB"
        return f"{pair}, {ratio:.1f} times, stem and head included"

    return HUNGRY.claim(text, ratio, describe)
