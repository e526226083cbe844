"""The order of training examples: every example equally often, as a function of seed and step."""

import torch
from torch import Tensor

from node_repro.data.series import generator


def drawn(count: int, batch_size: int, seed: int, step: int) -> Tensor:
    """Which of so many examples make the batch of a step: (b,), b the smaller of the two.

    Whole passes are shuffled one by one; what does not fill a batch is left out of its pass.
    """
    size = min(batch_size, count)
    turn, index = divmod(step, count // size)
    order = torch.randperm(count, generator=generator(seed, "order", turn))
    return order[index * size : (index + 1) * size]
