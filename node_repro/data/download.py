"""Download of MNIST and Fashion-MNIST by torchvision.

Files are downloaded into a temporary folder, verified there and then renamed into place one by one.
Two processes may download at once, and a reader never sees an incomplete file.
"""

import contextlib
import io
import os
import socket
import tempfile
import urllib.error
import urllib.request
import warnings
import zlib
from collections.abc import Iterable
from http.client import HTTPException
from pathlib import Path

import torch

from node_repro.data import DataError
from node_repro.data.mnist_files import FILES, Published, read_verified

ANSWER_SECONDS = 4.0
"""Time limit for the first answer of a server."""
STALL_SECONDS = 20.0
"""Time limit for a download that makes no progress."""


def download(published: Published, root: Path) -> Path:
    """Download the four files into `root`/<folder>/raw and return that path.

    Raises DataError if torchvision cannot be imported, no server answers, the content is not what
    was published, or `root` cannot be written.
    """
    dataset = torchvision_dataset(published.folder)
    if not _any_answers(f"{mirror}{dataset.resources[0][0]}" for mirror in dataset.mirrors):
        raise DataError(f"None of {', '.join(dataset.mirrors)} answers.")
    target = root / published.folder / "raw"
    try:
        root.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".download-", dir=root) as temporary:
            _download_all(dataset, Path(temporary))
            downloaded = Path(temporary) / published.folder / "raw"
            read_verified(downloaded, published)
            target.mkdir(parents=True, exist_ok=True)
            for name in FILES:
                # If no checksum of the plain file is known, keep the archive with its CRC-32.
                kept = name if name in published.sha256 else f"{name}.gz"
                os.replace(downloaded / kept, target / kept)
    except OSError as error:
        raise DataError(f"Cannot write to {root}: {error.strerror or error}.") from error
    return target


def torchvision_dataset(name: str) -> type:
    """The class of that name in torchvision.datasets. Raises DataError if it cannot be imported."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            import torchvision.datasets
        except (ImportError, RuntimeError, OSError) as error:
            reason = " ".join(str(error).split())
            raise DataError(
                f"torchvision, which downloads the files, cannot be imported ({reason}); install "
                f"the torchvision that was built for torch {torch.__version__}, from the same index"
            ) from error
    return getattr(torchvision.datasets, name)


def _download_all(dataset: type, folder: Path) -> None:
    output = io.StringIO()
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(STALL_SECONDS)
    try:
        with contextlib.redirect_stdout(output), contextlib.redirect_stderr(output):
            dataset(folder, download=True)
    except (OSError, RuntimeError, EOFError, HTTPException, zlib.error) as error:
        raise DataError(f"torchvision reports: {' '.join(str(error).split())}") from error
    finally:
        socket.setdefaulttimeout(before)


def _any_answers(urls: Iterable[str]) -> bool:
    """Whether any of the servers answers, even with an error status."""
    for url in urls:
        try:
            request = urllib.request.Request(url, method="HEAD")
            urllib.request.urlopen(request, timeout=ANSWER_SECONDS).close()
        except urllib.error.HTTPError:
            return True
        except (OSError, HTTPException, ValueError):
            continue
        return True
    return False
