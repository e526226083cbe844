"""Fetching the published files through torchvision, whose list of servers and sums is kept current.

The only importer of torchvision. Files arrive in a folder of their own, are verified there and
are then renamed into place one by one: two processes may fetch at once, and a reader never sees
half a file.
"""

import contextlib
import io
import os
import queue
import socket
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.request
import warnings
import zlib
from collections.abc import Callable, Iterable
from http.client import HTTPException
from pathlib import Path
from types import ModuleType

import torch

from node_repro.data import DataError
from node_repro.data.verified import FILES, Published, read_verified

ANSWER_SECONDS = 4.0
"""How long to wait for a first answer before concluding that there is no network."""
STALL_SECONDS = 20.0
"""How long a download may stand still."""

_declared: list[torch.library.Library] = []


def download(published: Published, root: Path) -> Path:
    """Fetch the four files into `root`/<folder>/raw and return that path.

    Raises DataError where no server answers, the content is not what is published, or `root`
    cannot be written.
    """
    dataset = getattr(import_torchvision_mnist(), published.folder)
    if not _any_answers(f"{mirror}{dataset.resources[0][0]}" for mirror in dataset.mirrors):
        raise DataError(f"None of {', '.join(dataset.mirrors)} answers.")
    target = root / published.folder / "raw"
    try:
        root.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".download-", dir=root) as temporary:
            fetched = Path(temporary) / published.folder / "raw"
            _fetch(dataset, Path(temporary))
            read_verified(fetched, published)
            target.mkdir(parents=True, exist_ok=True)
            for name in FILES:
                # Without a known sum of the plain file, the archive and its CRC-32 are kept.
                kept = name if name in published.sha256 else f"{name}.gz"
                os.replace(fetched / kept, target / kept)
    except OSError as error:
        raise DataError(f"Cannot write to {root}: {error.strerror or error}.") from error
    return target


def _fetch(dataset: Callable[..., object], into: Path) -> None:
    silence = io.StringIO()
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(STALL_SECONDS)
    try:
        with contextlib.redirect_stdout(silence), contextlib.redirect_stderr(silence):
            dataset(into, download=True)
    except (OSError, RuntimeError, EOFError, HTTPException, zlib.error) as error:
        raise DataError(f"torchvision reports: {' '.join(str(error).split())}") from error
    finally:
        socket.setdefaulttimeout(before)


def _any_answers(urls: Iterable[str]) -> bool:
    """Whether one of the servers answers at all, asked in daemon threads.

    A thread can be left behind; a name look-up that hangs has no time limit of its own.
    """
    answers: queue.SimpleQueue[bool] = queue.SimpleQueue()

    def ask(url: str) -> None:
        request = urllib.request.Request(url, method="HEAD")
        try:
            urllib.request.urlopen(request, timeout=ANSWER_SECONDS).close()
            answers.put(True)
        except urllib.error.HTTPError:
            answers.put(True)
        except (OSError, HTTPException, ValueError):
            answers.put(False)

    threads = [threading.Thread(target=ask, args=(url,), daemon=True) for url in urls]
    for thread in threads:
        thread.start()
    end = time.monotonic() + ANSWER_SECONDS
    with contextlib.suppress(queue.Empty):
        return any(answers.get(timeout=max(end - time.monotonic(), 0)) for _ in threads)
    return False


def import_torchvision_mnist() -> ModuleType:
    """torchvision's module of MNIST-like data sets, also where its compiled half does not load.

    A torchvision built for another torch (its CUDA wheel beside a CPU torch) stops on import at
    "operator torchvision::nms does not exist": the two schemas are then declared for it.
    Raises DataError where it cannot be imported at all.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            try:
                return _import_mnist_module()
            except RuntimeError as error:
                if "torchvision::" not in str(error):
                    raise
            _declare_operators()
            return _import_mnist_module()
        except (ImportError, RuntimeError) as error:
            raise DataError(f"torchvision cannot be imported ({error}).") from error


def _declare_operators() -> None:
    for name in [name for name in sys.modules if name.split(".")[0] == "torchvision"]:
        del sys.modules[name]  # what the failed import left half made
    library = torch.library.Library("torchvision", "DEF")
    for name in ("nms", "qnms"):
        library.define(f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    _declared.append(library)


def _import_mnist_module() -> ModuleType:
    import torchvision.datasets.mnist

    return torchvision.datasets.mnist
