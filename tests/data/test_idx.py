"""The IDX reader: what it yields, and one plain sentence for every kind of damage."""

import gzip
import hashlib
import struct
from pathlib import Path

import pytest
import torch

from node_repro.data import DataError
from node_repro.data.idx import read_idx


def idx_bytes(values: torch.Tensor) -> bytes:
    sizes = struct.pack(f">{values.dim()}I", *values.shape)
    return bytes((0, 0, 8, values.dim())) + sizes + values.numpy().tobytes()


VALUES = torch.arange(24, dtype=torch.uint8).view(2, 3, 4)
CONTENT = idx_bytes(VALUES)
GZIPPED = gzip.compress(CONTENT, mtime=0)  # a time in it would be in the tests' names


@pytest.mark.parametrize("name", ["values", "values.gz"])
def test_values_and_sum_are_those_of_the_uncompressed_file(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    path.write_bytes(GZIPPED if name.endswith(".gz") else CONTENT)
    values, sha256 = read_idx(path)
    assert values.dtype == torch.uint8
    assert torch.equal(values, VALUES)
    assert sha256 == hashlib.sha256(CONTENT).hexdigest()


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("x", b"", "is empty"),
        ("x.gz", b"", "is empty"),
        ("x", CONTENT[:3], "not an IDX file"),
        ("x", CONTENT[:9], "within its header"),
        ("x", CONTENT[:-1], "39 bytes, but its header announces 40"),
        ("x", CONTENT + b"\0", "41 bytes, but its header announces 40"),
        ("x", b"\1" + CONTENT[1:], "not an IDX file"),
        ("x", b"\0\0\x0d\3" + CONTENT[4:], "not an IDX file"),
        ("x", b"\0\0\x08\0" + CONTENT[4:], "not an IDX file"),
        ("x", b"<!DOCTYPE html><html></html>", "not an IDX file"),
        ("x.gz", b"<!DOCTYPE html><html></html>", "not a gzip file but a web page"),
        ("x.gz", CONTENT, "not a gzip file but something else"),
        ("x.gz", GZIPPED[:-1], "damaged"),
        ("x.gz", GZIPPED[:5], "damaged"),
        ("x.gz", GZIPPED[:20] + bytes(30), "damaged"),
        ("x.gz", gzip.compress(b"", mtime=0), "not an IDX file"),
    ],
)
def test_damage_is_named_in_one_sentence(
    tmp_path: Path, name: str, content: bytes, says: str
) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(DataError) as caught:
        read_idx(path)
    assert says in str(caught.value)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_missing_file_and_a_folder_in_its_place_are_data_errors(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="Cannot read"):
        read_idx(tmp_path / "absent")
    with pytest.raises(DataError, match="Cannot read"):
        read_idx(tmp_path)


def test_an_announced_size_beyond_all_memory_is_only_a_wrong_length(tmp_path: Path) -> None:
    path = tmp_path / "x"
    path.write_bytes(b"\0\0\x08\3" + b"\xff" * 12 + b"abc")
    with pytest.raises(DataError, match="header announces"):
        read_idx(path)
