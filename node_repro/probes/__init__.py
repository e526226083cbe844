"""What is measured on a finished run: the contract of a probe.

A probe is given a run with its trained weights and measures one thing; it writes nothing. What it
finds goes into the run's folder probes/, as plain rows and facts that figures are drawn from.
"""

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, ClassVar, Literal, NamedTuple, Protocol

import torch
from annotated_types import Ge, Gt, MinLen
from torch import nn

from node_repro.config import Config
from node_repro.tasks import Batch, Task

Weights = Literal["fresh", "selected", "last"]
"""Of the run's start, drawn from its seed; of the model that validation selected; of the end."""

Value = Annotated[float, Gt(0)]
Values = Annotated[tuple[Value, ...], MinLen(1)]
Count = Annotated[int, Ge(1)]
Counts = Annotated[tuple[Count, ...], MinLen(1)]
"""Types of a probe's options."""

Row = dict[str, Any]
"""One point of a figure: plain values by name."""


class Misfit(Exception):
    """A probe that the run has nothing for; its text says what the run would need."""

    exit_code: ClassVar[int] = 2


class Findings(NamedTuple):
    """facts: what holds for the whole measurement. rows: one for each point of a figure. files:
    pictures by name. All in plain values.
    """

    facts: Mapping[str, object]
    rows: Sequence[Row]
    files: Mapping[str, bytes] = {}


class Finished(Protocol):
    """A finished run. task: built anew whenever it is asked for. metrics: the lines of its
    metrics.jsonl.
    """

    @property
    def config(self) -> Config: ...

    @property
    def task(self) -> Task: ...

    @property
    def device(self) -> torch.device: ...

    @property
    def dtype(self) -> torch.dtype: ...

    @property
    def metrics(self) -> Sequence[Mapping[str, Any]]: ...

    def model(self, weights: Weights = "selected") -> nn.Module:
        """A model of its own for every call, ready for evaluation."""
        ...

    def step(self, weights: Weights) -> int:
        """The training iteration that the weights are of."""
        ...

    def test_batches(self, size: int, count: int) -> Sequence[Batch]:
        """The first batches of the test set, at most `count` of `size` examples each."""
        ...

    def training_batch(self, size: int) -> Batch:
        """The first one, with so many examples."""
        ...

    def say(self, text: str) -> None:
        """A line of progress."""
        ...


class Probe(Protocol):
    """Built with the options of its yaml."""

    def measure(self, run: Finished) -> Findings:
        """Raises Misfit."""
        ...
