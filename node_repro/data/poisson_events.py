"""Events of an inhomogeneous Poisson process whose rate is known, drawn by thinning.

The paper's figure 7 shows such a process and says nothing of its rate. Here the rate is
lambda(t) = low + (high - low) sin^2(pi t / period + phase), whose integral has a closed form.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from node_repro.data import DataError
from node_repro.data.series import Series, digest, generator, padded

VALIDATION, TEST = 0.1, 0.3  # fractions of the sequences
MARK_NOISE = 0.1


@dataclass(frozen=True)
class SineRate:
    """lambda(t) = low + (high - low) sin^2(pi t / period + phase), events a unit of time."""

    low: float
    high: float
    period: float

    def at(self, t: Tensor, phase: Tensor) -> Tensor:
        """lambda at the times t, any shape that broadcasts with phase."""
        return self.low + (self.high - self.low) * torch.sin(math.pi * t / self.period + phase) ** 2

    def integral(self, t: Tensor, phase: Tensor) -> Tensor:
        """The integral of lambda from 0 to t."""
        mean, half = (self.low + self.high) / 2, (self.high - self.low) / 2
        speed = 2 * math.pi / self.period
        wave = torch.sin(speed * t + 2 * phase) - torch.sin(2 * phase)
        return mean * t - half * wave / speed


class EventSplit(NamedTuple):
    """events: B sequences whose places are the events, on the grid of 0, all event times and the
    end; x are the marks, (B, n, 2), or (B, n, 0) without. phase: (B,), of the true rate.
    """

    events: Series
    phase: Tensor

    @property
    def examples(self) -> int:
        return len(self.phase)

    def of(self, chosen: Tensor) -> "EventSplit":
        """The sequences at the indices chosen: (b,)."""
        return EventSplit(self.events.of(chosen), self.phase[chosen])

    def to(self, device: torch.device, dtype: torch.dtype) -> "EventSplit":
        """Everything but the grid on the device, in the dtype."""
        return EventSplit(self.events.to(device, dtype), self.phase.to(device, dtype))


@dataclass(frozen=True, kw_only=True)
class EventData:
    """rate: the true one. end: every sequence was watched over [0, end]. marked: events carry a
    point of a circle, seen with noise.
    """

    name: str
    train: EventSplit
    validation: EventSplit
    test: EventSplit
    rate: SineRate
    end: float
    marked: bool
    sha256: str
    notice: str | None = None

    def mark(self, t: Tensor, phase: Tensor) -> Tensor:
        """The mark at time t without its noise, (..., 2): the circle at twice the sine's angle."""
        angle = 2 * (math.pi * t / self.rate.period + phase)
        return torch.stack((angle.cos(), angle.sin()), dim=-1)

    @property
    def mark_noise(self) -> float:
        return MARK_NOISE

    @property
    def description(self) -> str:
        parts = (self.train, self.validation, self.test)
        counts = " + ".join(str(len(part.phase)) for part in parts)
        events = float(self.train.events.count.double().mean())
        return f"{counts} sequences over [0, {self.end:g}], {events:.1f} events each, by thinning"

    @property
    def facts(self) -> Mapping[str, bool | int | float | str | None]:
        return {"sha256": self.sha256, "train_count": len(self.train.phase)}


@dataclass(frozen=True, kw_only=True)
class PoissonEvents:
    """sequences: in all, of which six tenths train, one tenth selects, three tenths test.

    low, high, period: of the rate; end: length of a sequence. phases: "shared", one rate for all,
    or "random", a phase for each sequence. marks: every event carries the noisy point of the unit
    circle at twice the angle of the sine, so that values and rate tell of the same state.
    """

    sequences: int
    low: float
    high: float
    period: float
    end: float
    phases: str
    marks: bool
    seed: int

    def load(self) -> EventData:
        """The three splits. Raises DataError where a number makes no sense."""
        if self.sequences < 10:
            raise DataError(f"data.sequences={self.sequences} cannot be split: take >= 10.")
        if self.high < self.low:
            raise DataError(f"data.high={self.high:g} must not be below data.low={self.low:g}.")
        rate = SineRate(self.low, self.high, self.period)
        random = generator(self.seed, "events")
        phase = math.pi * torch.rand(self.sequences, generator=random).double()
        if self.phases == "shared":
            phase = torch.zeros_like(phase)
        times = [thinned(rate, float(p), self.end, random) for p in phase]
        ends = torch.tensor([0.0, self.end], dtype=torch.float64)
        grid, index = torch.unique(torch.cat((ends, *times)), return_inverse=True)
        marks = self._marks(times, phase)
        seen = [torch.ones_like(mark, dtype=torch.bool) for mark in marks]
        at = index[2:].split([len(t) for t in times])
        whole = EventSplit(padded(grid, at, marks, seen), phase)
        held, test = round(VALIDATION * len(times)), round(TEST * len(times))
        parts = torch.arange(len(times)).split([len(times) - held - test, held, test])
        train, validation, tested = (whole.of(part) for part in parts)
        if not train.events.count.any():
            raise DataError(
                f"No training sequence has an event at data.high={self.high:g} over "
                f"data.end={self.end:g}: take a higher rate, a longer time or more sequences."
            )
        return EventData(
            name=f"poisson-{self.phases}" + ("-marked" if self.marks else ""),
            train=train,
            validation=validation,
            test=tested,
            rate=rate,
            end=self.end,
            marked=self.marks,
            sha256=digest(whole.events.grid, whole.events.at, whole.events.x),
        )

    def _marks(self, times: list[Tensor], phase: Tensor) -> list[Tensor]:
        """A point of the plane for every event, (n_i, 2), or (n_i, 0) without marks."""
        if not self.marks:
            return [t.new_zeros(len(t), 0) for t in times]
        random = generator(self.seed, "marks")
        marks = []
        for t, p in zip(times, phase, strict=True):
            angle = 2 * (math.pi * t / self.period + p)
            point = torch.stack((angle.cos(), angle.sin()), dim=1)
            marks.append(point + MARK_NOISE * torch.randn(point.shape, generator=random).double())
        return marks


def thinned(rate: SineRate, phase: float, end: float, random: torch.Generator) -> Tensor:
    """Event times in [0, end], (n,) float64: candidates at the highest rate, each kept with
    probability lambda(t) / highest (Lewis and Shedler 1979).
    """
    expected = torch.tensor(rate.high * end, dtype=torch.float64)
    count = int(torch.poisson(expected, generator=random))
    t = (end * torch.rand(count, generator=random, dtype=torch.float64)).sort().values
    height = rate.high * torch.rand(count, generator=random, dtype=torch.float64)
    return t[height < rate.at(t, torch.tensor(phase, dtype=torch.float64))]
