"""Probes: measurements of finished runs.

A probe gets a run with its trained weights, measures one property and returns a `Measurement`,
without writing files. `measure` writes the measurement to the run's folder probes/, from which the
report draws its figures. To add a probe, write a class with a method `measure` and a yaml with its
options in conf/probe/; experiments list the probes that `node-run reproduce` runs on them.
"""

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, ClassVar, Literal, NamedTuple, Protocol

import torch
from annotated_types import Ge, Gt, MinLen
from torch import nn

from node_repro.config import Config
from node_repro.tasks import Batch, Task

Weights = Literal["fresh", "selected", "last"] | int
"""Initial weights (from the run's seed), weights selected by validation, last weights, or those
that were kept after this number of training iterations.
"""

Row = dict[str, Any]
"""One point of a figure: plain values by name."""

Count = Annotated[int, Ge(1)]
Counts = Annotated[tuple[Count, ...], MinLen(1)]
Positive = Annotated[float, Gt(0)]
Tolerances = Annotated[tuple[Positive, ...], MinLen(1)]


class NotApplicable(Exception):
    """The probe cannot measure this run; the text says what the probe needs."""

    exit_code: ClassVar[int] = 2


class Measurement(NamedTuple):
    """The result of a probe, in plain values.

    Args:
        facts: Facts about the whole measurement.
        rows: One row for each point of a figure.
        files: File name -> content of the pictures.
    """

    facts: Mapping[str, object]
    rows: Sequence[Row]
    files: Mapping[str, bytes] = {}


class TrainedRun(Protocol):
    """A finished run with its models.

    Attributes:
        config: The run's configuration.
        task: The task on the run's data; a new object at each access.
        device: Device of the models.
        dtype: Floating-point type of the models.
        metrics: The lines of metrics.jsonl.
        kept_steps: The training iterations after which weights were kept, ascending.
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

    @property
    def kept_steps(self) -> Sequence[int]: ...

    def model(self, weights: Weights = "selected", **options: object) -> nn.Module:
        """Build a model with these weights, in evaluation mode.

        options: options of the model in place of the run's; with fresh weights only.
        """
        ...

    def step(self, weights: Weights) -> int:
        """The number of training iterations of these weights."""
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
    """Interface of a probe. The options of its yaml are its constructor's arguments."""

    def measure(self, run: TrainedRun) -> Measurement:
        """Measure the run. Raises NotApplicable if the probe does not apply to it."""
        ...
