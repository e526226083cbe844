"""Tables: columns that compute their cells, and the cells as text and as CSV."""

import csv
import io
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Generic, NamedTuple, TypeVar

from node_repro.report.format import format_number, format_tolerance
from node_repro.report.statistics import Spread

Cell = str | int | float | Spread | None
Item = TypeVar("Item")

NO_VALUE = "–"


@dataclass(frozen=True)
class Column(Generic[Item]):
    """One column of a table.

    Attributes:
        title: The heading.
        value: Computes the cell from the row's item.
        digits: Decimals; None for text, whole numbers, and numbers with two or three digits.
        power: Show the number as a power of ten, "10⁻³"; a CSV file has 0.001.
    """

    title: str
    value: Callable[[Item], Cell]
    digits: int | None = None
    power: bool = False


class CellText(NamedTuple):
    """A cell as text. sd: "± 0.01", or "" without a standard deviation."""

    value: str
    sd: str = ""

    def __str__(self) -> str:
        return f"{self.value} {self.sd}".rstrip()


class Table:
    """Rows of cells under columns; the first cell of a row is its heading.

    Args:
        name: The files' name, "table1".
        caption: The meaning of the numbers.
        columns: The columns.
        items: One for each row; the columns compute the cells from it.
    """

    def __init__(
        self, name: str, caption: str, columns: Sequence[Column[Any]], items: Iterable[Any]
    ) -> None:
        self.name = name
        self.caption = caption
        self.columns = tuple(columns)
        self.rows: list[list[Cell]] = [[c.value(item) for c in columns] for item in items]

    def is_text(self, index: int) -> bool:
        """Whether a column holds text, which is aligned to the left."""
        cells = [row[index] for row in self.rows]
        return any(cells) and all(cell is None or isinstance(cell, str) for cell in cells)

    def has_sd(self, index: int) -> bool:
        """Whether any cell of a column has a standard deviation."""
        cells = (row[index] for row in self.rows)
        return any(isinstance(cell, Spread) and cell.sd is not None for cell in cells)

    def texts(self) -> list[list[CellText]]:
        """All cells as text."""
        return [
            [format_cell(cell, column) for cell, column in zip(row, self.columns, strict=True)]
            for row in self.rows
        ]


def format_cell(cell: Cell, column: Column[Any]) -> CellText:
    """A cell as text."""
    if cell is None:
        return CellText(NO_VALUE)
    if isinstance(cell, Spread):
        sd = "" if cell.sd is None else f"± {format_number(cell.sd, column.digits)}"
        return CellText(format_number(cell.mean, column.digits), sd)
    if isinstance(cell, str):
        return CellText(str(cell))
    if column.power:
        return CellText(format_tolerance(cell))
    return CellText(f"{cell:,}" if isinstance(cell, int) else format_number(cell, column.digits))


def to_csv(table: Table) -> str:
    """A table with all digits; a spread takes three columns: mean, deviation, number of seeds."""
    indices = range(len(table.columns))
    spreads = [any(isinstance(row[i], Spread) for row in table.rows) for i in indices]
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    head: list[str] = []
    for column, is_spread in zip(table.columns, spreads, strict=True):
        title = column.title
        head += [title, f"{title}, sd", f"{title}, n"] if is_spread else [title]
    writer.writerow(head)
    for row in table.rows:
        cells: list[str | int | float | None] = []
        for cell, is_spread in zip(row, spreads, strict=True):
            if isinstance(cell, Spread):
                cells += cell
            else:
                cells += [cell, None, None] if is_spread else [cell]
        writer.writerow(cells)
    return buffer.getvalue()


def align(rows: Sequence[Sequence[str]]) -> str:
    """Rows of cells for a terminal; a single cell in a row does not widen a column."""
    widths = [max(map(len, cells)) for cells in zip(*(r for r in rows if len(r) > 1), strict=True)]
    lines = []
    for row in rows:
        cells = (cell.ljust(width) for cell, width in zip(row, widths, strict=False))
        lines.append("  ".join(cells).rstrip())
    return "\n".join(lines) + "\n"
