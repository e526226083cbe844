"""Where a training stands."""

import math
from dataclasses import asdict, dataclass, field

from node_repro.training.cost import Means


@dataclass
class Position:
    """The state of a training, without its tensors.

    step: iterations done. evaluated: the step of the last evaluation. best, best_step: of the
    selected model on the validation set.
    """

    step: int = 0
    evaluated: int = 0
    best: float = math.inf
    best_step: int = 0
    window: Means = field(default_factory=Means)
    epoch: Means = field(default_factory=Means)

    def state(self) -> dict:
        """Plain containers, for a checkpoint."""
        return asdict(self)

    @classmethod
    def from_state(cls, state: dict) -> "Position":
        """The inverse of `state`."""
        means = {name: Means(**state[name]) for name in ("window", "epoch")}
        return cls(**{**state, **means})
