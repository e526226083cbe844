"""Seeded random numbers, the order of training examples, and a hash of generated data."""

import hashlib

import torch
from torch import Tensor


def seeded_generator(*key: object, bits: int = 63) -> torch.Generator:
    """A CPU generator whose state is a function of the key alone.

    Args:
        key: Numbers or words, for example (seed, "noise", step). They are hashed, so the numbers of
            neighbouring keys are independent.
        bits: How many bits of the hash are the seed, at most 64.
    """
    digest = hashlib.sha256(",".join(map(str, key)).encode()).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest[:8], "big") >> (64 - bits))


def shuffled_indices(count: int, batch_size: int, seed: int, step: int) -> Tensor:
    """The examples of one training batch, such that all examples occur equally often.

    Each pass over the examples is shuffled; those that do not fill a batch at its end are left out.

    Args:
        count: Number of examples.
        batch_size: Examples of a batch; all of them if there are fewer.
        seed: Seed of the run.
        step: Index of the batch.

    Returns:
        Indices (min(batch_size, count),), int64.
    """
    size = min(batch_size, count)
    epoch, index = divmod(step, count // size)
    order = torch.randperm(count, generator=seeded_generator(seed, "order", epoch))
    return order[index * size : (index + 1) * size]


def content_hash(*tensors: Tensor) -> str:
    """The sha256 of the tensors' bytes in hexadecimal, which identifies generated data."""
    content = hashlib.sha256()
    for tensor in tensors:
        content.update(tensor.detach().cpu().contiguous().numpy().tobytes())
    return content.hexdigest()
