"""No test of data reads the real files, the user's cache or the network."""

import socket
from dataclasses import replace
from pathlib import Path

import pytest
from tiny_mnist import SUMS, TEST, TRAIN

from node_repro.data import download
from node_repro.data.mnist_files import PUBLISHED


class Unreachable:
    """A data set of torchvision whose server does not answer."""

    mirrors = ("http://nowhere.invalid/",)
    resources = (("train-images-idx3-ubyte.gz", "-"),)


@pytest.fixture(autouse=True)
def tiny_published_sets_and_no_network(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The tables expect the tiny files; the cache is a temporary folder; nothing answers."""
    tiny = replace(PUBLISHED["mnist"], train=TRAIN, test=TEST, sha256=SUMS)
    monkeypatch.setitem(PUBLISHED, "mnist", tiny)
    fashion = replace(PUBLISHED["fashion_mnist"], train=TRAIN, test=TEST)
    monkeypatch.setitem(PUBLISHED, "fashion_mnist", fashion)
    monkeypatch.delenv("NODE_REPRO_DATA", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(download, "torchvision_dataset", lambda name: Unreachable)
    monkeypatch.setattr(download, "_any_answers", lambda urls: False)

    def no_network(*_: object, **__: object) -> None:
        raise OSError("a test tried to use the network")

    monkeypatch.setattr(socket, "create_connection", no_network)
