"""Atomic writes: a temporary file beside the target, fsync, rename, fsync.

A reader sees either the old or the new content, even after a kill or a power failure.
"""

import contextlib
import errno
import os
from collections.abc import Iterator
from pathlib import Path

from node_repro.runs import OutputError

_REASONS = {
    errno.ENOSPC: "the disk is full; free some space and run the same command again to continue",
    errno.EDQUOT: "the disk quota is used up; free some space and run the same command again",
    errno.EFBIG: "the file would exceed the size this process may write (see ulimit -f)",
    errno.EROFS: "the file system is read-only; choose another outputs=...",
    errno.EACCES: "permission is denied; choose another outputs=...",
    errno.EPERM: "the operation is not permitted; choose another outputs=...",
    errno.ENAMETOOLONG: "the path is too long; choose a shorter name=... or outputs=...",
    errno.ENOTDIR: "a part of the path is a file and not a directory; choose another outputs=...",
    errno.EISDIR: "there is a directory of that name; remove it or choose another name=...",
    errno.EEXIST: "there is a file where a directory is needed; choose another name=...",
    errno.ENOENT: "it or its directory does not exist (was it deleted during the run?)",
    errno.EMFILE: "too many files are open (see ulimit -n)",
    errno.EIO: "the disk reports an input/output error",
}
_NO_DIRECTORY_SYNC = (errno.EINVAL, errno.ENOTSUP, errno.EBADF)


def reason(error: OSError) -> str:
    """The cause of an error and what to do about it, as the last clause of a sentence."""
    return _REASONS.get(error.errno or 0, error.strerror or str(error) or type(error).__name__)


@contextlib.contextmanager
def writing(path: Path) -> Iterator[None]:
    """Context manager that converts an error of writing `path` to an OutputError."""
    try:
        yield
    except (OSError, UnicodeError) as error:
        text = str(path).encode(errors="backslashreplace").decode()
        shown = text if len(text) <= 200 else f"{text[:150]}...{text[-40:]}"
        why = reason(error) if isinstance(error, OSError) else str(error)
        raise OutputError(f"Cannot write {shown}: {why}.") from error


def write_atomically(path: Path, data: bytes) -> None:
    """Write a file atomically.

    Raises:
        OSError: The file cannot be written; the old content is kept.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with open(temporary, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)
        raise
    sync_directory(path.parent)


def sync_directory(directory: Path) -> None:
    """Make renames inside a directory durable, if the file system supports it. Raises OSError."""
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in _NO_DIRECTORY_SYNC:
            raise
    finally:
        os.close(descriptor)


def remove_leftovers(directory: Path) -> None:
    """Remove temporary files of killed writers; no other process may be writing there."""
    for temporary in directory.glob(".*.tmp"):
        temporary.unlink(missing_ok=True)


def is_still(path: Path, descriptor: int) -> bool:
    """Whether `path` still refers to the open file: not deleted, moved or replaced."""
    try:
        return os.path.samestat(os.stat(path), os.fstat(descriptor))
    except (FileNotFoundError, NotADirectoryError):
        return False
