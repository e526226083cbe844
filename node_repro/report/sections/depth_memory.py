"""Memory against depth: blocks of residual networks beside steps of an ODE block."""

from collections.abc import Iterator
from typing import NamedTuple

from node_repro.report.artifact import Drawing
from node_repro.report.drawings import line_plots
from node_repro.report.probe_rows import ProbeRows, log_plot
from node_repro.report.section import Parts, section
from node_repro.report.sections.memory import CONSTANT, NETWORK, SECONDS_NOTE, Growth, memory_growth
from node_repro.report.selection import Selection, get_number
from node_repro.report.tables import Column, Table

EXPERIMENT = "table1_revnet"
KINDS = {"residual": "ResNet", "reversible": "RevNet"}
GRADIENTS = {"direct": "RK-Net", "adjoint": "ODE-Net"}


class _Line(NamedTuple):
    """A network, in what its depth is counted, and what it costs at the least and most depth."""

    network: str
    unit: str
    rows: ProbeRows

    @property
    def growth(self) -> Growth | None:
        return memory_growth(self.rows, self.unit)

    def megabytes(self, end: int) -> float | None:
        """Megabytes held at the least depth (0) or at the most (-1)."""
        held = self.rows.medians(self.unit, "held_bytes")
        return held[end][1] / 1e6 if held else None

    @property
    def rounding(self) -> float | None:
        """Error of the gradient at the most depth, where states are recomputed."""
        errors = self.rows.medians(self.unit, "gradient_error")
        return errors[-1][1] if errors else None


COLUMNS: list[Column[_Line]] = [
    Column("network", lambda line: line.network),
    Column("depth in", lambda line: line.unit),
    Column("growth of depth", lambda line: line.growth and line.growth.steps, 0),
    Column("MB held, least depth", lambda line: line.megabytes(0), 3),
    Column("MB held, most depth", lambda line: line.megabytes(-1), 3),
    Column("growth of memory", lambda line: line.growth and line.growth.factor, 2),
    Column("gradient's rounding error, most depth", lambda line: line.rounding),
]


@section(
    order=31,
    name="depth_memory",
    title="Memory against depth: residual, reversible and ODE networks",
    source="section 7: reversible residual networks have “the same constant memory advantage”",
    experiments=[EXPERIMENT],
    probe="depth_memory",
)
def depth_memory(selection: Selection) -> Parts:
    """Memory held for the backward pass by a ResNet's blocks, by reversible blocks, which are
    inverted in the backward pass (Gomez et al. 2017), and by the steps of an ODE block.
    """
    blocks = ProbeRows.read(selection, EXPERIMENT, "depth_memory")
    growth = memory_growth(blocks.where(kind="reversible"), "blocks")
    yield CONSTANT.claim(
        "Memory of a reversible residual network does not grow with the number of blocks, O(1)",
        growth.factor if growth else None,
        lambda factor: f"{factor:.2f} times for {growth.steps if growth else 0:g} times the blocks",
    )
    lines = [line for line in _lines(selection, blocks) if line.growth]
    caption = (
        "Blocks with random weights; steps of the trained ODE block (see “Memory and time against "
        "the number of steps”)."
    )
    yield Table("depth_memory", caption, COLUMNS, lines)
    yield from _curves(blocks)
    yield SECONDS_NOTE


def _lines(selection: Selection, blocks: ProbeRows) -> Iterator[_Line]:
    for kind, network in KINDS.items():
        yield _Line(network, "blocks", blocks.where(kind=kind))
    steps = ProbeRows.read(selection, NETWORK, "memory")
    for gradient, network in GRADIENTS.items():
        yield _Line(network, "steps", steps.where(gradient=gradient))


def _curves(blocks: ProbeRows) -> list[Drawing]:
    rows = blocks.with_value("mb", lambda row: (get_number(row, "held_bytes") or 0.0) / 1e6)
    groups = {KINDS[kind]: rows.where(kind=kind) for kind in KINDS}
    plots = [
        log_plot("blocks", label, groups, "blocks", key)
        for key, label in (("mb", "MB held for backward"), ("seconds", "seconds per gradient"))
    ]
    caption = "Memory held for the backward pass and seconds per gradient against the blocks."
    alt = "Two panels over the number of blocks, a line for each kind of blocks."
    return line_plots("depth_memory", caption, alt, plots)
