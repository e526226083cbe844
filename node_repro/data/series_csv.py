"""Irregular series from a CSV file of one value a row: id, time, channel, value.

    id,time,channel,value
    patient-7,0.5,heart rate,81
    patient-7,0.5,temperature,36.9
    patient-7,2.25,heart rate,78

The header is as above. Rows come in any order; a series may miss any channel at any time. A value
that is not there has no row. Times are numbers in any unit, values finite numbers.
"""

import csv
import hashlib
import io
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from node_repro.data import DataError
from node_repro.data.series import Series, generator, padded

COLUMNS = ["id", "time", "channel", "value"]
VALIDATION, TEST = 0.2, 0.2  # fractions of the series
SPAN = 10.0  # all times together are mapped to [0, SPAN], as a network is at home with small times


class Row(NamedTuple):
    """One value of one series."""

    id: str
    time: float
    channel: str
    value: float


class SeriesSplit(NamedTuple):
    """shown: what a model gets to see. hidden: what it shall predict, of the same series."""

    shown: Series
    hidden: Series

    @property
    def examples(self) -> int:
        return self.shown.examples

    def of(self, chosen: Tensor) -> "SeriesSplit":
        """The series at the indices chosen: (b,)."""
        return SeriesSplit(self.shown.of(chosen), self.hidden.of(chosen))

    def to(self, device: torch.device, dtype: torch.dtype) -> "SeriesSplit":
        """Everything but the grid on the device, in the dtype."""
        return SeriesSplit(self.shown.to(device, dtype), self.hidden.to(device, dtype))


@dataclass(frozen=True, kw_only=True)
class IrregularData:
    """Values are standardised: (value - mean) / sd of each channel, over the training series.
    Times run over [0, SPAN]: (time - start) SPAN / span. mean, sd: (D,).
    """

    name: str
    train: SeriesSplit
    validation: SeriesSplit
    test: SeriesSplit
    channels: tuple[str, ...]
    mean: Tensor
    sd: Tensor
    start: float
    span: float
    origin: str
    sha256: str
    notice: str | None = None

    @property
    def description(self) -> str:
        parts = (self.train, self.validation, self.test)
        counts = " + ".join(str(len(part.shown.count)) for part in parts)
        return f"{counts} series with {len(self.channels)} channels from {self.origin}"

    @property
    def facts(self) -> Mapping[str, bool | int | float | str | None]:
        return {
            "sha256": self.sha256,
            "train_count": len(self.train.shown.count),
            "channels": ", ".join(self.channels),
        }


@dataclass(frozen=True, kw_only=True)
class SeriesCSV:
    """path: the file. hide: "between", a part of every series' times, drawn at random but for the
    first; or "after", what comes in the last part of the whole time. part: how large a part. Three
    fifths of the series train, a fifth selects, a fifth tests. seed: of both draws.
    """

    path: str
    hide: str
    part: float
    seed: int

    def load(self) -> IrregularData:
        """The three splits. Raises DataError naming the file and the line."""
        content, rows = read(Path(self.path))
        names = sorted({row.id for row in rows})
        if len(names) < 5:
            raise DataError(f"{self.path} holds {len(names)} series; at least 5 can be split.")
        channels = tuple(sorted({row.channel for row in rows}))
        start, span = self._times(rows)
        whole = gridded(rows, names, channels, start, span)
        order = torch.randperm(len(names), generator=generator(self.seed, "split"))
        held, test = round(VALIDATION * len(names)), round(TEST * len(names))
        parts = order.split([len(names) - held - test, held, test])
        mean, sd = moments(whole.of(parts[0]))
        if not torch.isfinite(mean + sd).all():
            raise DataError(f"{self.path}: values are too large to be squared; rescale them.")
        whole = whole._replace(x=(whole.x - mean) / sd * whole.seen)
        split, found = self._hidden(whole), hashlib.sha256(content).hexdigest()
        train, validation, tested = (split.of(part) for part in parts)
        if not (validation.hidden.count.any() and tested.hidden.count.any()):
            raise DataError(
                f"{self.path}: data.part={self.part:g} hides nothing of the series that "
                f"data.seed={self.seed} draws to select or to test; take a larger part."
            )
        return IrregularData(
            name=f"{Path(self.path).stem}-{self.hide}-{found[:8]}",
            train=train,
            validation=validation,
            test=tested,
            channels=channels,
            mean=mean,
            sd=sd,
            start=start,
            span=span,
            origin=self.path,
            sha256=found,
            notice=unlearned(train, channels),
        )

    def _times(self, rows: list[Row]) -> tuple[float, float]:
        """The first time and how far the last one is from it."""
        start, end = min(row.time for row in rows), max(row.time for row in rows)
        if start == end:
            raise DataError(f"{self.path}: all values are at the time {start:g}; nothing changes.")
        if not math.isfinite(end - start):
            raise DataError(f"{self.path}: from time {start:g} to {end:g} is too far for a float.")
        return start, end - start

    def _hidden(self, whole: Series) -> SeriesSplit:
        random = generator(self.seed, "hidden")
        keep, drop = [], []
        for i, k in enumerate(whole.count.tolist()):
            if self.hide == "after":
                late = whole.grid[whole.at[i, :k]] > SPAN * (1 - self.part)
            else:
                late = torch.zeros(k, dtype=torch.bool)
                drawn = torch.randperm(k - 1, generator=random) + 1
                late[drawn[: round(self.part * k)]] = True
            keep.append(torch.nonzero(~late)[:, 0])
            drop.append(torch.nonzero(late)[:, 0])
        if not any(map(len, drop)):
            raise DataError(f"{self.path}: data.part={self.part:g} hides nothing of any series.")
        empty = [i for i, kept in enumerate(keep) if not len(kept)]
        if empty:
            raise DataError(
                f"{self.path}: {len(empty)} series have no time before the part that is hidden; "
                "take a smaller data.part, or data.hide=between."
            )
        shown, hidden = _picked(whole, keep), _picked(whole, drop)
        # after the hiding: what is carried forward must have been shown
        return SeriesSplit(shown._replace(x=carried(shown.x, shown.seen)), hidden)


def read(path: Path) -> tuple[bytes, list[Row]]:
    """The file's bytes and rows. Raises DataError for a file or a line that cannot be used."""
    try:
        content = path.read_bytes()
        text = content.decode("utf-8-sig")
    except OSError as error:
        raise DataError(f"Cannot read data.path={path}: {error.strerror}.") from error
    except UnicodeDecodeError as error:
        raise DataError(f"{path} is not UTF-8 text: byte {error.start} cannot be read.") from error
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    try:
        return content, list(_rows(path, reader))
    except csv.Error as error:
        raise DataError(f"{path}, line {reader.line_num}: {error}.") from error


def _rows(path: Path, reader: Iterator[list[str]]) -> Iterator[Row]:
    header = [name.strip().lower() for name in next(reader, [])]
    if header != COLUMNS:
        raise DataError(f"{path}, line 1: the header must be {','.join(COLUMNS)}, not {header}.")
    lines: dict[tuple[str, float, str], int] = {}
    for cells in reader:
        line: int = reader.line_num  # pyright: ignore[reportAttributeAccessIssue]
        if not cells:
            continue
        if len(cells) != 4:
            raise DataError(f"{path}, line {line}: 4 cells are expected, not {len(cells)}.")
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
                f"{path}, line {line}: {channel!r} of {name!r} at time {time} stands in line "
                f"{first} already."
            )
        yield row
    if not lines:
        raise DataError(f"{path} has a header and no rows.")


def _number(path: Path, line: int, what: str, cell: str) -> float:
    try:
        number = float(cell)
    except ValueError:
        number = math.nan
    if "_" in cell:  # Python reads 1_000, a file does not mean it
        number = math.nan
    if not math.isfinite(number):
        advice = "; leave the row out where there is no value" if what == "value" else ""
        raise DataError(f"{path}, line {line}: the {what} {cell!r} is no finite number{advice}.")
    return number


def gridded(
    rows: list[Row], names: list[str], channels: tuple[str, ...], start: float, span: float
) -> Series:
    """The rows as one series each, in the order of the names, on the grid of all their times."""
    times = sorted({row.time for row in rows})
    place = {time: i for i, time in enumerate(times)}
    column = {channel: i for i, channel in enumerate(channels)}
    values: dict[str, dict[int, dict[int, float]]] = {name: {} for name in names}
    for row in rows:
        values[row.id].setdefault(place[row.time], {})[column[row.channel]] = row.value
    at, x, seen = [], [], []
    for name in names:
        places = sorted(values[name])
        at.append(torch.tensor(places))
        x.append(torch.zeros(len(places), len(channels), dtype=torch.float64))
        seen.append(torch.zeros(x[-1].shape, dtype=torch.bool))
        for i, at_place in enumerate(places):
            for j, value in values[name][at_place].items():
                x[-1][i, j], seen[-1][i, j] = value, True
    grid = (torch.tensor(times, dtype=torch.float64) - start) * (SPAN / span)
    return padded(grid, at, x, seen)


def moments(series: Series) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation of every channel over what was seen, (D,) each; a channel that
    does not change has the deviation 1.
    """
    count = series.seen.sum((0, 1)).clamp(min=1)
    mean = (series.x * series.seen).sum((0, 1)) / count
    variance = (((series.x - mean) * series.seen) ** 2).sum((0, 1)) / count
    lowest, highest = (
        torch.where(series.seen, series.x, end).flatten(0, 1) for end in (math.inf, -math.inf)
    )
    # not from the variance, which rounding makes positive where nothing changes
    changes = lowest.amin(0) < highest.amax(0)
    return mean, torch.where(changes & (variance > 0), variance.sqrt(), torch.ones_like(variance))


def unlearned(train: SeriesSplit, channels: tuple[str, ...]) -> str | None:
    """Which channels no training series shows, if any: nothing can be learned of them."""
    there = train.shown.seen.any(1).any(0).tolist()
    missing = [name for name, known in zip(channels, there, strict=True) if not known]
    return f"no training series shows {', '.join(missing)}: not learned" if missing else None


def carried(x: Tensor, seen: Tensor) -> Tensor:
    """Every missing value is the last one seen of its series and channel, 0 before the first."""
    filled = torch.zeros_like(x)
    last = torch.zeros_like(x[:, 0])
    for i in range(x.shape[1]):
        last = torch.where(seen[:, i], x[:, i], last)
        filled[:, i] = last
    return filled


def _picked(whole: Series, chosen: list[Tensor]) -> Series:
    """The chosen observations of every series."""
    parts = [[part[i, one] for i, one in enumerate(chosen)] for part in whole[2:]]
    return padded(whole.grid, *parts)
