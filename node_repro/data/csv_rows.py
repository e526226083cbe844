"""Reader of CSV files with one value per row: id, time, channel, value."""

import csv
import io
import math
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from node_repro.data import DataError

COLUMNS = ["id", "time", "channel", "value"]


class Row(NamedTuple):
    """One value of one series."""

    id: str
    time: float
    channel: str
    value: float


def read_rows(path: Path) -> tuple[bytes, list[Row]]:
    """The file's bytes and rows. Raises DataError for an invalid file or line."""
    try:
        content = path.read_bytes()
        text = content.decode("utf-8-sig")
    except OSError as error:
        raise DataError(f"Cannot read data.path={path}: {error.strerror}.") from error
    except UnicodeDecodeError as error:
        raise DataError(f"{path} is not UTF-8 text: byte {error.start} cannot be read.") from error
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    try:
        return content, list(_rows(path, ((reader.line_num, cells) for cells in reader)))
    except csv.Error as error:
        raise DataError(f"{path}, line {reader.line_num}: {error}.") from error


def _rows(path: Path, numbered: Iterator[tuple[int, list[str]]]) -> Iterator[Row]:
    """The rows from lines of cells with their numbers."""
    header = [name.strip().lower() for name in next(numbered, (1, []))[1]]
    if header != COLUMNS:
        raise DataError(f"{path}, line 1: the header must be {','.join(COLUMNS)}, not {header}.")
    lines: dict[tuple[str, float, str], int] = {}
    for line, cells in numbered:
        if not cells:
            continue
        if len(cells) != 4:
            raise DataError(f"{path}, line {line}: expected 4 cells, not {len(cells)}.")
        name, time, channel, value = (cell.strip() for cell in cells)
        for what, cell in (("id", name), ("channel", channel)):
            if not cell:
                raise DataError(f"{path}, line {line}: the {what} is empty.")
        row = Row(
            name, _number(path, line, "time", time), channel, _number(path, line, "value", value)
        )
        first = lines.setdefault(row[:3], line)
        if first != line:
            raise DataError(
                f"{path}, line {line}: {channel!r} of {name!r} at time {time} already has a value, "
                f"in line {first}."
            )
        yield row
    if not lines:
        raise DataError(f"{path} has a header but no rows.")


def _number(path: Path, line: int, what: str, cell: str) -> float:
    try:
        number = float(cell)
    except ValueError:
        number = math.nan
    if "_" in cell:  # Python accepts 1_000, which in a file is a mistake
        number = math.nan
    if not math.isfinite(number):
        advice = "; omit the row if there is no value" if what == "value" else ""
        raise DataError(f"{path}, line {line}: the {what} {cell!r} is not a finite number{advice}.")
    return number
