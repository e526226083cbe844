"""A tiny MNIST in the published layout, and how its refusals are read."""

import gzip
import hashlib
import struct
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
import torch

from node_repro.data import DataError
from node_repro.data.mnist_files import PUBLISHED

TRAIN, TEST = 40, 20
REAL = dict(PUBLISHED)


def small_files() -> dict[str, bytes]:
    """The four files of a tiny MNIST with ten equally frequent classes, by name."""
    generator = torch.Generator().manual_seed(0)
    contents = {}
    for part, size in (("train", TRAIN), ("t10k", TEST)):
        images = torch.randint(256, (size, 28, 28), generator=generator, dtype=torch.uint8)
        labels = torch.arange(size, dtype=torch.uint8) % 10
        for kind, values in (("images-idx3", images), ("labels-idx1", labels)):
            header = bytes((0, 0, 8, values.dim())) + struct.pack(
                f">{values.dim()}I", *values.shape
            )
            contents[f"{part}-{kind}-ubyte"] = header + values.numpy().tobytes()
    return contents


CONTENTS = small_files()
SUMS = {name: hashlib.sha256(content).hexdigest() for name, content in CONTENTS.items()}


def write(folder: Path, changed: Mapping[str, bytes] = {}, *, compressed: bool = False) -> Path:
    """Write the tiny files; `changed` replaces those of the names train_labels, t10k_images, ..."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in CONTENTS.items():
        content = changed.get("_".join(name.split("-")[:2]), content)
        path = folder / (f"{name}.gz" if compressed else name)
        path.write_bytes(gzip.compress(content) if compressed else content)
    return folder


def refusal(call: Callable[[], object]) -> str:
    with pytest.raises(DataError) as caught:
        call()
    message = str(caught.value)
    assert "\n" not in message
    assert message.endswith(".")
    return message
