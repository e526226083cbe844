"""A lock that admits one process at a time to a directory, on a file that names its holder.

The lock is a kernel lock (`flock`), released when the holding process ends, also on another host
that shares the file system. The content of the file is only used in messages; a file left behind by
a killed process does not block.
"""

import contextlib
import fcntl
import json
import os
import socket
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from node_repro.runs import OutputError

if TYPE_CHECKING:
    from filelock import FileLock

_PATIENCE = 0.2  # seconds to wait: `is_held` in another process takes a shared lock briefly


class Holder(NamedTuple):
    """The process that wrote a lock file, and when (ISO 8601)."""

    pid: int
    host: str
    since: str

    @classmethod
    def read(cls, path: Path) -> "Holder | None":
        """Read a lock file; None if it is missing or damaged."""
        try:
            fields = json.loads(path.read_bytes())
            return cls(int(fields["pid"]), str(fields["host"]), str(fields["since"]))
        except (OSError, ValueError, KeyError, TypeError):
            return None


class Lock:
    """A lock held by this process from `take` to `release`."""

    def __init__(self, path: Path, lock: "FileLock", holder: Holder) -> None:
        self.path = path
        self._lock = lock
        self._holder = holder

    @classmethod
    def take(cls, path: Path) -> tuple["Lock", list[str]]:
        """Acquire the lock file `path`; returns the lock and notes for the user.

        Raises:
            OutputError: Another process holds it.
            OSError: The file cannot be written.
        """
        from filelock import FileLock, Timeout  # slow (0.1 s), and not needed by `node-run list`

        before = Holder.read(path)
        lock = FileLock(path, timeout=_PATIENCE)
        try:
            lock.acquire()
        except Timeout as timeout:
            who = "another process"
            if (holder := Holder.read(path) or before) is not None:
                who = f"process {holder.pid} on host {holder.host} since {holder.since}"
            raise OutputError(
                f"{path.parent} is in use by {who}; wait for it, or choose another name=..."
            ) from timeout
        now = datetime.now().astimezone().isoformat(timespec="seconds")
        acquired = cls(path, lock, Holder(os.getpid(), socket.gethostname(), now))
        try:
            path.write_text(json.dumps(acquired._holder._asdict()), encoding="utf-8")
        except BaseException:
            acquired.release()
            raise
        if before is None:
            return acquired, []
        return acquired, [
            f"process {before.pid} on host {before.host}, which used this directory since "
            f"{before.since}, was killed"
        ]

    def release(self) -> None:
        """Remove the lock file and release the lock; never raises OSError."""
        if self._holder.pid != os.getpid():  # a copy in a forked process
            return
        with contextlib.suppress(OSError):
            if Holder.read(self.path) in (self._holder, None):
                # before the release: later the file may belong to another process
                self.path.unlink(missing_ok=True)
        with contextlib.suppress(OSError):
            self._lock.release()


def is_held(path: Path) -> bool:
    """Whether a living process holds the lock file."""
    try:
        descriptor = os.open(path, os.O_RDONLY)
    except OSError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError:
        return True
    finally:
        os.close(descriptor)
    return False
