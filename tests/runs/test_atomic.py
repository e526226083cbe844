"""Files are whole or absent."""

import errno
import os
from pathlib import Path

import pytest

from node_repro.runs import atomic
from node_repro.runs.atomic import is_still, reason, remove_leftovers, write_atomically


def test_written_file_has_the_content_and_leaves_no_temporary_file(tmp_path: Path) -> None:
    write_atomically(tmp_path / "a.json", b"old")
    write_atomically(tmp_path / "a.json", b"new")
    assert (tmp_path / "a.json").read_bytes() == b"new"
    assert os.listdir(tmp_path) == ["a.json"]


@pytest.mark.parametrize("step", ["open", "fsync", "replace"])
def test_failing_write_keeps_the_old_content(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    write_atomically(tmp_path / "a.json", b"old")

    def fail(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    if step == "open":
        monkeypatch.setattr(atomic, "open", fail, raising=False)
    else:
        monkeypatch.setattr(os, step, fail)
    with pytest.raises(OSError, match="No space"):
        write_atomically(tmp_path / "a.json", b"new")
    assert (tmp_path / "a.json").read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["a.json"]


def test_leftovers_of_killed_writers_are_removed_and_nothing_else(tmp_path: Path) -> None:
    for name in (".a.json.77.tmp", "a.json", ".hidden"):
        (tmp_path / name).touch()
    remove_leftovers(tmp_path)
    assert sorted(os.listdir(tmp_path)) == [".hidden", "a.json"]


def test_open_file_that_was_replaced_or_deleted_is_noticed(tmp_path: Path) -> None:
    path = tmp_path / "a"
    with open(path, "w") as file:
        assert is_still(path, file.fileno())
        write_atomically(path, b"")
        assert not is_still(path, file.fileno())
        path.unlink()
        assert not is_still(path, file.fileno())


@pytest.mark.parametrize(
    ("number", "words"),
    [(errno.ENOSPC, "disk is full"), (errno.EROFS, "read-only"), (errno.ENAMETOOLONG, "too long")],
)
def test_reason_says_what_to_do(number: int, words: str) -> None:
    assert words in reason(OSError(number, "x"))


def test_unknown_error_keeps_its_own_words() -> None:
    assert reason(OSError(errno.EPIPE, "Broken pipe")) == "Broken pipe"
    assert reason(OSError("odd")) == "odd"
