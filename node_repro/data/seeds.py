"""Random numbers that are a pure function of what they are for."""

import hashlib

import torch


def generator(*key: int) -> torch.Generator:
    """A CPU generator for the key: hashed, so that neighbouring keys share nothing."""
    digest = hashlib.sha256(",".join(map(str, key)).encode()).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest[:8], "big"))
