"""The four files of MNIST and of Fashion-MNIST: location and verified reading.

Every read checks format, sizes, labels and, for MNIST, the sha256 of the uncompressed content. No
checksums of the uncompressed files of Fashion-MNIST are published; there, the ten classes must be
equally frequent.
"""

import hashlib
import os
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from node_repro.data import DataError, Split
from node_repro.data.idx import IdxFile, read_idx

SIDE = 28
CLASSES = 10
FILES = (
    "train-images-idx3-ubyte",
    "train-labels-idx1-ubyte",
    "t10k-images-idx3-ubyte",
    "t10k-labels-idx1-ubyte",
)


@dataclass(frozen=True)
class Published:
    """A published data set.

    Attributes:
        folder: The name of torchvision's class, and of the folder it downloads to.
        train, test: Number of images.
        sha256: Checksums of the uncompressed files by name, as far as they are known.
    """

    title: str
    folder: str
    train: int = 60_000
    test: int = 10_000
    sha256: Mapping[str, str] = field(default_factory=dict)


PUBLISHED: dict[str, Published] = {
    "mnist": Published(
        title="MNIST",
        folder="MNIST",
        sha256=dict(
            zip(
                FILES,
                (
                    "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
                    "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
                    "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
                    "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
                ),
                strict=True,
            )
        ),
    ),
    "fashion_mnist": Published(title="Fashion-MNIST", folder="FashionMNIST"),
}


class Verified(NamedTuple):
    """Both splits on the CPU, and the sha256 of each uncompressed file by name."""

    train: Split
    test: Split
    sums: dict[str, str]

    @property
    def sha256(self) -> str:
        """One sha256 for the four files: of the lines that `sha256sum` prints for `FILES`."""
        lines = "".join(f"{self.sums[name]}  {name}\n" for name in FILES)
        return hashlib.sha256(lines.encode()).hexdigest()


def locate(folder: Path) -> list[Path] | None:
    """The paths of the four files in `folder`, preferring plain to .gz; None if one is missing."""
    paths = [_path(folder, name) for name in FILES]
    return None if None in paths else [path for path in paths if path]


def missing(folder: Path) -> list[str]:
    """The names of the files that `folder` has neither plain nor as .gz."""
    return [name for name in FILES if _path(folder, name) is None]


def _path(folder: Path, name: str) -> Path | None:
    candidates = (folder / name, folder / f"{name}.gz")
    return next((path for path in candidates if os.path.isfile(path)), None)


def read_verified(folder: Path, published: Published) -> Verified:
    """Read and verify the four files in `folder`.

    Raises DataError, naming the file, if one is missing or fails a check.
    """
    paths = locate(folder)
    if paths is None:
        raise DataError(f"{folder} does not contain all of {', '.join(FILES)} (plain or .gz).")
    with ThreadPoolExecutor(len(paths)) as readers:  # zlib and hashlib release the GIL
        files = list(readers.map(read_idx, paths))
    train = _checked_split(files[:2], paths[:2], published.train)
    test = _checked_split(files[2:], paths[2:], published.test)
    sums = {name: file.sha256 for name, file in zip(FILES, files, strict=True)}
    for name, path in zip(FILES, paths, strict=True):
        if sums[name] != published.sha256.get(name, sums[name]):
            raise DataError(
                f"{path} is not the published {published.title} file (its sha256 is {sums[name]} "
                f"instead of {published.sha256[name]}): delete it and download it again."
            )
    if not published.sha256:
        _check_balance(train.labels, paths[1], published.title)
        _check_balance(test.labels, paths[3], published.title)
    return Verified(train, test, sums)


def _checked_split(files: list[IdxFile], paths: list[Path], size: int) -> Split:
    (images, _), (labels, _) = files
    if images.dim() != 3 or images.shape[1:] != (SIDE, SIDE):
        raise DataError(
            f"{paths[0]} has values of sizes {tuple(images.shape)} instead of "
            f"({size}, {SIDE}, {SIDE}): put the published file there."
        )
    if labels.dim() != 1:
        raise DataError(
            f"{paths[1]} has values of sizes {tuple(labels.shape)} instead of ({size},): "
            "put the published file there."
        )
    if len(images) != len(labels):
        raise DataError(
            f"{paths[0]} has {len(images)} images but {paths[1]} has {len(labels)} labels: "
            "put the two published files there."
        )
    if len(images) != size:
        raise DataError(
            f"{paths[0]} has {len(images)} images instead of {size}: put the published file there."
        )
    if int(labels.max()) >= CLASSES:
        raise DataError(
            f"{paths[1]} has the label {int(labels.max())}, above {CLASSES - 1}: "
            "put the published file there."
        )
    return Split(images, labels.to(torch.int64))


def _check_balance(labels: Tensor, path: Path, title: str) -> None:
    counts = torch.bincount(labels, minlength=CLASSES)
    if bool((counts != len(labels) // CLASSES).any()):
        raise DataError(
            f"{path} is not the published {title} file (its {CLASSES} classes occur "
            f"{counts.tolist()} times instead of {len(labels) // CLASSES} each): "
            "put the published file there."
        )
