"""Conversion of tensors to numpy arrays for pictures."""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor


def to_numpy(x: Tensor) -> np.ndarray:
    """The values of a tensor as an array."""
    return x.detach().cpu().numpy()


def pad_with_nan(parts: Sequence[Tensor]) -> np.ndarray:
    """Vectors of different lengths as the rows of one array, padded with NaN."""
    return torch.nn.utils.rnn.pad_sequence(
        [part.double().cpu() for part in parts], batch_first=True, padding_value=float("nan")
    ).numpy()
