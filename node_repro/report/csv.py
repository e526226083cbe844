"""Tables as CSV with all digits: a spread becomes mean, standard deviation and number of seeds."""

import csv
import io

from node_repro.report import Cell, Spread, Table


def lines(table: Table) -> str:
    """The file's content."""
    spreads = [
        any(isinstance(row[i], Spread) for row in table.rows) for i in range(len(table.columns))
    ]
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    head: list[str] = []
    for column, wide in zip(table.columns, spreads, strict=True):
        title = column.title
        head += [title, f"{title}, sd", f"{title}, n"] if wide else [title]
    writer.writerow(head)
    for row in table.rows:
        cells: list[str] = []
        for cell, wide in zip(row, spreads, strict=True):
            cells += _wide(cell) if wide else [_plain(cell)]
        writer.writerow(cells)
    return buffer.getvalue()


def _wide(cell: Cell) -> list[str]:
    if isinstance(cell, Spread):
        return [_plain(cell.mean), _plain(cell.sd), str(cell.n)]
    return [_plain(cell), "", ""]


def _plain(cell: Cell) -> str:
    return "" if cell is None else str(cell)
