"""Irregular series from a CSV file with one value per row: id, time, channel, value.

    id,time,channel,value
    patient-7,0.5,heart rate,81
    patient-7,0.5,temperature,36.9
    patient-7,2.25,heart rate,78

The header is required. Rows may be in any order. A missing value has no row, so any channel may be
missing at any time. Times are numbers in any unit; values are finite numbers.
"""

import hashlib
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal, NamedTuple

import torch
from annotated_types import Ge, Gt, Lt
from torch import Tensor

from node_repro.data import DataError, Facts, GeneratedData
from node_repro.data.csv_rows import Row, read_rows
from node_repro.data.examples import select_examples
from node_repro.data.generated import seeded_generator
from node_repro.data.series import Series, pad_series

VALIDATION, TEST = 0.2, 0.2  # fractions of the series
SPAN = 10.0  # all times are mapped to [0, SPAN], because networks learn best from small inputs


class SeriesSplit(NamedTuple):
    """The observations shown to a model, and those of the same series that are to be predicted."""

    shown: Series
    hidden: Series


@dataclass(frozen=True, kw_only=True)
class IrregularData(GeneratedData):
    """Three splits of standardised series.

    Values are (value - mean) / sd for each channel, with mean and sd (D,) of the training series.
    Times are (time - start) SPAN / span, in [0, SPAN].
    """

    train: SeriesSplit
    validation: SeriesSplit
    test: SeriesSplit
    channels: tuple[str, ...]
    mean: Tensor
    sd: Tensor
    start: float
    span: float
    origin: str

    @property
    def description(self) -> str:
        parts = (self.train, self.validation, self.test)
        counts = " + ".join(str(len(part.shown.count)) for part in parts)
        return f"{counts} series with {len(self.channels)} channels from {self.origin}"

    @property
    def facts(self) -> Facts:
        return {
            **super().facts,
            "train_count": len(self.train.shown.count),
            "channels": ", ".join(self.channels),
        }


@dataclass(frozen=True, kw_only=True)
class SeriesCSV:
    """Series of a CSV file, split 3:1:1 into training, validation and test.

    Args:
        path: The CSV file, with the columns id, time, channel, value.
        hide: Which times are to be predicted: "between" for random times of every series but its
            first, "after" for all times in the last part of the file's interval.
        part: The part that is hidden, of each series' times or of the interval.
        seed: Seed of the split and of the hidden times; null is the seed of the run.
    """

    path: str
    hide: Literal["between", "after"]
    part: Annotated[float, Gt(0), Lt(1)]
    seed: Annotated[int, Ge(0)] | None

    def load(self) -> IrregularData:
        """The three splits. Raises DataError, naming the file and the line."""
        content, rows = read_rows(Path(self.path))
        names = sorted({row.id for row in rows})
        if len(names) < 5:
            raise DataError(f"{self.path} holds {len(names)} series; at least 5 can be split.")
        channels = tuple(sorted({row.channel for row in rows}))
        start, span = self._times(rows)
        whole = series_on_grid(rows, names, channels, start, span)
        order = torch.randperm(len(names), generator=seeded_generator(self.seed, "split"))
        held, test = round(VALIDATION * len(names)), round(TEST * len(names))
        parts = order.split([len(names) - held - test, held, test])
        mean, sd = channel_moments(select_examples(whole, parts[0]))
        if not torch.isfinite(mean + sd).all():
            raise DataError(f"{self.path}: the values are too large to be squared; rescale them.")
        whole = whole._replace(x=(whole.x - mean) / sd * whole.seen)
        split, sha256 = self._hide(whole), hashlib.sha256(content).hexdigest()
        train, validation, tested = (select_examples(split, part) for part in parts)
        if not (validation.hidden.count.any() and tested.hidden.count.any()):
            raise DataError(
                f"{self.path}: data.part={self.part:g} hides nothing of the series that "
                f"data.seed={self.seed} assigns to validation or test; increase data.part."
            )
        return IrregularData(
            name=f"{Path(self.path).stem}-{self.hide}-{sha256[:8]}",
            train=train,
            validation=validation,
            test=tested,
            channels=channels,
            mean=mean,
            sd=sd,
            start=start,
            span=span,
            origin=self.path,
            sha256=sha256,
            notice=unseen_channels(train, channels),
        )

    def _times(self, rows: list[Row]) -> tuple[float, float]:
        """The first time, and the time from it to the last one."""
        start, end = min(row.time for row in rows), max(row.time for row in rows)
        if start == end:
            raise DataError(f"{self.path}: all values are at the time {start:g}; nothing changes.")
        if not math.isfinite(end - start):
            raise DataError(
                f"{self.path}: from time {start:g} to {end:g} is too far for floating point."
            )
        return start, end - start

    def _hide(self, whole: Series) -> SeriesSplit:
        random = seeded_generator(self.seed, "hidden")
        keep, drop = [], []
        for i, k in enumerate(whole.count.tolist()):
            if self.hide == "after":
                late = whole.grid[whole.at[i, :k]] > SPAN * (1 - self.part)
            else:
                late = torch.zeros(k, dtype=torch.bool)
                order = torch.randperm(k - 1, generator=random) + 1
                late[order[: round(self.part * k)]] = True
            keep.append(torch.nonzero(~late)[:, 0])
            drop.append(torch.nonzero(late)[:, 0])
        if not any(map(len, drop)):
            raise DataError(f"{self.path}: data.part={self.part:g} hides nothing in any series.")
        empty = [i for i, kept in enumerate(keep) if not len(kept)]
        if empty:
            raise DataError(
                f"{self.path}: {len(empty)} series have no time before the hidden part; "
                "decrease data.part, or use data.hide=between."
            )
        shown, hidden = _select_observations(whole, keep), _select_observations(whole, drop)
        # Filling comes after hiding: only shown values may be carried forward.
        return SeriesSplit(shown._replace(x=carry_forward(shown.x, shown.seen)), hidden)


def series_on_grid(
    rows: list[Row], names: list[str], channels: tuple[str, ...], start: float, span: float
) -> Series:
    """One series per name, in the order of the names, on the grid of all times."""
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
    return pad_series(grid, at, x, seen)


def channel_moments(series: Series) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation (D,) of every channel over the observed values.

    A constant channel has the standard deviation 1.
    """
    count = series.seen.sum((0, 1)).clamp(min=1)
    mean = (series.x * series.seen).sum((0, 1)) / count
    variance = (((series.x - mean) * series.seen) ** 2).sum((0, 1)) / count
    lowest, highest = (
        torch.where(series.seen, series.x, end).flatten(0, 1) for end in (math.inf, -math.inf)
    )
    # The variance of a constant channel may be positive by rounding, so it does not decide.
    changes = lowest.amin(0) < highest.amax(0)
    return mean, torch.where(changes & (variance > 0), variance.sqrt(), torch.ones_like(variance))


def unseen_channels(train: SeriesSplit, channels: tuple[str, ...]) -> str | None:
    """A notice that names the channels without any value in the training series, or None."""
    there = train.shown.seen.any(1).any(0).tolist()
    missing = [name for name, known in zip(channels, there, strict=True) if not known]
    if not missing:
        return None
    return f"no training series has values of {', '.join(missing)}, which are not learned"


def carry_forward(x: Tensor, seen: Tensor) -> Tensor:
    """Replace missing values by the last one of the series and channel, 0 before the first."""
    filled = torch.zeros_like(x)
    last = torch.zeros_like(x[:, 0])
    for i in range(x.shape[1]):
        last = torch.where(seen[:, i], x[:, i], last)
        filled[:, i] = last
    return filled


def _select_observations(whole: Series, chosen: list[Tensor]) -> Series:
    """The chosen observations of each series, given as indices."""
    parts = [[part[i, one] for i, one in enumerate(chosen)] for part in whole[2:]]
    return pad_series(whole.grid, *parts)
