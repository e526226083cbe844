"""The download, with its servers replaced: what arrives, what is refused, what stays behind."""

import socket
import sys
from email.message import Message
from pathlib import Path
from typing import ClassVar

import pytest
import torch
from tiny_mnist import refusal, write

from node_repro.data import download
from node_repro.data.mnist import MNISTSource
from node_repro.data.mnist_files import FILES

any_answers = download._any_answers
torchvision_dataset = download.torchvision_dataset


class FakeServer:
    """Stands in for torchvision's class: writes the files as its download would."""

    mirrors = ("http://nowhere.invalid/",)
    resources = (("train-images-idx3-ubyte.gz", "-"),)
    folder = "MNIST"
    failure: Exception | None = None
    changed: ClassVar[dict[str, bytes]] = {}

    def __init__(self, root: Path, download: bool) -> None:
        assert download
        assert socket.getdefaulttimeout() is not None
        print("progress")
        print("progress", file=sys.stderr)
        if self.failure is not None:
            raise self.failure
        write(root / self.folder / "raw", self.changed)
        write(root / self.folder / "raw", self.changed, compressed=True)


def serve(monkeypatch: pytest.MonkeyPatch, **attributes: object) -> None:
    server = type("Server", (FakeServer,), attributes)
    monkeypatch.setattr(download, "torchvision_dataset", lambda name: server)
    monkeypatch.setattr(download, "_any_answers", lambda urls: True)


def test_a_download_is_verified_moved_into_place_silently_and_leaves_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    serve(monkeypatch)
    data = MNISTSource(root=str(tmp_path / "new")).load()
    assert data.complete
    found = sorted(str(p.relative_to(tmp_path)) for p in tmp_path.rglob("*") if p.is_file())
    assert found == sorted(f"new/MNIST/raw/{name}" for name in FILES)
    assert capsys.readouterr() == ("", "")
    assert socket.getdefaulttimeout() is None
    assert [p.name for p in (tmp_path / "new").iterdir()] == ["MNIST"]


def test_downloaded_fashion_stays_compressed_so_that_its_checksum_is_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    serve(monkeypatch, folder="FashionMNIST")
    MNISTSource(dataset="fashion_mnist", root=str(tmp_path)).load()
    names = sorted(path.name for path in (tmp_path / "FashionMNIST" / "raw").iterdir())
    assert names == sorted(f"{name}.gz" for name in FILES)


@pytest.mark.parametrize(
    ("attributes", "says"),
    [
        ({"failure": RuntimeError("Error downloading:\nTried it")}, "Error downloading: Tried it"),
        ({"failure": TimeoutError("timed out")}, "timed out"),
        ({"changed": {"train_images": b"<html>"}}, "not an IDX file"),
    ],
)
def test_a_failed_or_wrong_download_is_refused_and_leaves_nothing_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, attributes: dict[str, object], says: str
) -> None:
    serve(monkeypatch, **attributes)
    assert says in refusal(MNISTSource(root=str(tmp_path / "new")).load)
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]
    assert MNISTSource().load().name == "mnist-embedded"


def test_a_root_that_cannot_be_written_is_a_data_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    serve(monkeypatch)
    (tmp_path / "file").write_text("in the way")
    assert "Cannot write to" in refusal(MNISTSource(root=str(tmp_path / "file" / "root")).load)


def test_a_download_beside_another_replaces_equal_files_by_equal_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    serve(monkeypatch)
    write(tmp_path / "MNIST" / "raw")
    (tmp_path / "MNIST" / "raw" / FILES[3]).unlink()  # the other process is half way through
    assert MNISTSource(root=str(tmp_path)).load().complete


def test_a_refusing_server_does_not_hide_one_that_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    class Answer:
        def close(self) -> None: ...

    def open_url(request: download.urllib.request.Request, timeout: float) -> Answer:
        if "good" in request.full_url:
            return Answer()
        if "forbidden" in request.full_url:
            raise download.urllib.error.HTTPError(request.full_url, 403, "no", Message(), None)
        raise OSError("no route")

    monkeypatch.setattr(download.urllib.request, "urlopen", open_url)
    assert any_answers(["http://bad.invalid/", "http://good.invalid/"])
    assert any_answers(["http://forbidden.invalid/"])
    assert not any_answers(["http://bad.invalid/"])


def test_without_torchvision_one_sentence_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(download, "torchvision_dataset", torchvision_dataset)
    monkeypatch.setitem(sys.modules, "torchvision", None)
    message = refusal(MNISTSource(source="full").load)
    assert "torchvision" in message and "cannot be imported" in message
    assert torch.__version__ in message and "data.root" in message
    assert MNISTSource().load().name == "mnist-embedded"
