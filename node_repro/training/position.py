"""Position in a training run."""

import math
from dataclasses import asdict, dataclass, field

from node_repro.training.cost import Means


@dataclass
class Position:
    """State of a training run without its tensors.

    Attributes:
        step: Iterations done.
        evaluated: Step of the last evaluation.
        best: Validation score of the selected model.
        best_step: Step of the selected model.
        window: Means since the last logged line.
        epoch: Means since the last evaluation.
    """

    step: int = 0
    evaluated: int = 0
    best: float = math.inf
    best_step: int = 0
    window: Means = field(default_factory=Means)
    epoch: Means = field(default_factory=Means)

    def state(self) -> dict:
        """The position in plain containers, for a checkpoint."""
        return asdict(self)

    @classmethod
    def from_state(cls, state: dict) -> "Position":
        """The inverse of `state`."""
        means = {name: Means(**state[name]) for name in ("window", "epoch")}
        return cls(**{**state, **means})
