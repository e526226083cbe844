"""Cells and claims in words, the same for all writers."""

import math
from collections import Counter
from collections.abc import Iterable, Sequence

from node_repro.report import Artifact, Cell, Column, Spread, Table, Verdict
from node_repro.report.spread import minus

NOTHING = "–"
SUPERSCRIPTS = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")


def number(value: float, digits: int | None) -> str:
    """With so many digits behind the point; None: two or three significant ones, and powers of
    ten where the number is small or large.
    """
    if not math.isfinite(value):
        return minus(str(value)).replace("inf", "∞")
    if digits is not None:
        text = f"{value:,.{digits}f}"
        return minus(text if float(text.replace(",", "")) else text.removeprefix("-"))
    if value == 0 or 1e-2 <= abs(value) < 1e5:
        return minus(f"{value:.3g}")
    text, _, power = f"{value:.1e}".partition("e")
    return f"{minus(text)}·10{str(int(power)).translate(SUPERSCRIPTS)}"


def tolerance(value: float) -> str:
    """A tolerance: a power of ten as such, "10⁻³", but 1, 0.1 and 0.01 as they are."""
    text, _, power = f"{value:g}".partition("e")
    if value == 1e-3 or value == 1e-4:
        text, power = "1", f"{round(math.log10(value))}"
    if not power:
        return text
    raised = f"10{str(int(power)).translate(SUPERSCRIPTS)}"
    return raised if text == "1" else f"{text}·{raised}"


def at(value: float, tol: float) -> str:
    """As in "6.2·10⁻⁴ at 10⁻³"."""
    return f"{number(value, None)} at {tolerance(tol)}"


def pair(cell: Cell, column: Column) -> tuple[str, str]:
    """A cell as its value and its spread, "± 0.01" or ""."""
    if cell is None:
        return NOTHING, ""
    if isinstance(cell, Spread):
        sd = "" if cell.sd is None else f"± {number(cell.sd, column.digits)}"
        return number(cell.mean, column.digits), sd
    if isinstance(cell, str):
        return str(cell), ""
    if column.power:
        return tolerance(cell), ""
    return (f"{cell:,}" if isinstance(cell, int) else number(cell, column.digits)), ""


def text(cell: Cell, column: Column) -> str:
    """A cell in one string, as in "0.56 ± 0.02"."""
    return " ".join(part for part in pair(cell, column) if part)


def is_text(table: Table, index: int) -> bool:
    """Whether a column holds words, which are set to the left."""
    cells = [row[index] for row in table.rows]
    return all(cell is None or isinstance(cell, str) for cell in cells) and any(cells)


def is_spread(table: Table, index: int) -> bool:
    """Whether a column has a standard deviation anywhere."""
    cells = (row[index] for row in table.rows)
    return any(isinstance(cell, Spread) and cell.sd is not None for cell in cells)


def tally(artifacts: Iterable[Artifact]) -> str:
    """How many claims came to which verdict."""
    counts = Counter(claim.verdict for artifact in artifacts for claim in artifact.claims)
    return ", ".join(f"{counts[v]} {v.value}" for v in Verdict if counts[v]) or "none"


def overview(artifacts: Iterable[Artifact]) -> str:
    """What stands above all claims."""
    return (
        "Verdicts are computed from the numbers by the rule that stands with each claim in its "
        f"section. In all: {tally(artifacts)}."
    )


def titles(columns: Sequence[Column]) -> list[str]:
    """The columns' titles."""
    return [column.title for column in columns]


def sentence(words: str) -> str:
    """With a capital."""
    return words[:1].upper() + words[1:]


def made_of(artifact: Artifact) -> str:
    """The runs behind an artifact in one line: how many, and all they have in common or not."""
    if not artifact.runs:
        return ""
    runs = [run for run in artifact.runs if run.result]
    facts = {
        "seeds": sorted({str(run.seed) for run in runs}, key=int),
        "profile": sorted({run.profile for run in runs}),
        "data": sorted({run.data for run in runs}),
        "device": sorted({str((run.result or {})["device"]) for run in runs}),
        "torch": sorted({run.torch for run in runs}),
        "commit": sorted({run.commit for run in runs}),
    }
    count = f"{len(runs)} {'run' if len(runs) == 1 else 'runs'}"
    return "; ".join([count, *(f"{name} {', '.join(some)}" for name, some in facts.items())])
