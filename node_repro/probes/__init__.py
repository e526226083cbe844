"""Probes: measurements of finished runs.

A probe is given a run with its trained weights, measures one thing and returns a `Measurement`; it
writes nothing. `measure` writes the measurement to the run's folder probes/, from which the report
draws its figures. A new probe is a class with a method `measure`, and a yaml in conf/probe/ with
its options; experiments name the probes that `node-run reproduce` runs on them.
"""

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, ClassVar, Literal, NamedTuple, Protocol

import torch
from annotated_types import Ge, Gt, MinLen
from torch import nn

from node_repro.config import Config
from node_repro.tasks import Batch, Task

Weights = Literal["fresh", "selected", "last"]
"""The weights drawn from the run's seed, those that validation selected, or those of the end."""

Row = dict[str, Any]
"""One point of a figure: plain values by name."""

Count = Annotated[int, Ge(1)]
Counts = Annotated[tuple[Count, ...], MinLen(1)]
Positive = Annotated[float, Gt(0)]
Tolerances = Annotated[tuple[Positive, ...], MinLen(1)]


class NotApplicable(Exception):
    """The probe cannot measure this run; the text says what a run needs."""

    exit_code: ClassVar[int] = 2


class Measurement(NamedTuple):
    """What a probe measured, in plain values.

    Args:
        facts: What holds for the whole measurement.
        rows: One for each point of a figure.
        files: Pictures by file name.
    """

    facts: Mapping[str, object]
    rows: Sequence[Row]
    files: Mapping[str, bytes] = {}


class TrainedRun(Protocol):
    """A finished run with its models.

    Attributes:
        config: Its configuration.
        task: The task on the run's data, built anew at each access.
        device, dtype: Where and in which precision the models compute.
        metrics: The lines of its metrics.jsonl.
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
        """A new model with these weights, in evaluation mode."""
        ...

    def step(self, weights: Weights) -> int:
        """The training iteration after which the model had these weights."""
        ...

    def test_batches(self, size: int, count: int) -> Sequence[Batch]:
        """The first batches of the test set, at most `count` of `size` examples each."""
        ...

    def training_batch(self, size: int) -> Batch:
        """The first training batch, with `size` examples."""
        ...

    def print_progress(self, text: str) -> None:
        """Print one line."""
        ...


class Probe(Protocol):
    """Is constructed with the options of its yaml."""

    def measure(self, run: TrainedRun) -> Measurement:
        """Measure the run. Raises NotApplicable if this run lacks what the probe needs."""
        ...
