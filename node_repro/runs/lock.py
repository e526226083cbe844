"""One living run a directory: a lock file that says which process holds it.

The file is made whole by a hard link, so of two starts in the same instant one wins. It names pid,
host and the process' own start (boot and clock ticks, from /proc), so that a pid that was given to
another process is not taken for the run. A dead process' lock is replaced under `flock` on the
very file that was judged, so two heirs cannot both inherit. Another host cannot be judged from
here: its lock is left alone.
"""

import contextlib
import errno
import fcntl
import json
import os
import socket
from datetime import datetime
from pathlib import Path
from typing import NamedTuple

from node_repro.runs import OutputError

_NO_LINKS = (errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS)


class Owner(NamedTuple):
    """The process that holds a lock; process_start is None where there is no /proc."""

    pid: int
    host: str
    process_start: str | None
    since: str

    @classmethod
    def current(cls) -> "Owner":
        """This process, now."""
        now = datetime.now().astimezone().isoformat(timespec="seconds")
        return cls(os.getpid(), socket.gethostname(), process_start(os.getpid()), now)

    @classmethod
    def parse(cls, data: bytes) -> "Owner | None":
        """The owner written in a lock file, None if it cannot be read."""
        try:
            fields = json.loads(data)
            start = fields["process_start"]
            return cls(int(fields["pid"]), str(fields["host"]), start, str(fields["since"]))
        except (ValueError, KeyError, TypeError):
            return None

    def is_alive(self) -> bool:
        """Whether that very process runs on this host; in doubt, yes."""
        try:
            os.kill(self.pid, 0)
        except (ProcessLookupError, OverflowError):
            return False
        except PermissionError:
            pass
        if _process_fields(self.pid) is None:
            return True
        start = process_start(self.pid)
        return start is not None and self.process_start in (None, start)


class Lock:
    """A lock that this process holds; make one with `take`, end it with `release`."""

    def __init__(self, path: Path, owner: Owner) -> None:
        self.path = path
        self.owner = owner

    @classmethod
    def take(cls, path: Path) -> tuple["Lock", list[str]]:
        """Takes the lock file `path`; the notes tell of a dead process' lock that was taken over.

        Raises OutputError if a living process, another host or nobody knows who holds it, and
        OSError if the directory cannot be written.
        """
        owner = Owner.current()
        _remove_dead_candidates(path.parent, owner.host)
        candidate = path.with_name(f".lock.{owner.pid}.{owner.host}")
        try:
            with open(candidate, "w", encoding="utf-8") as file:
                json.dump(owner._asdict(), file)
                file.flush()
                os.fsync(file.fileno())
            for _ in range(100):
                if _claim(candidate, path):
                    return cls(path, owner), []
                if (note := _take_over(candidate, path, owner.host)) is not None:
                    return cls(path, owner), [note]
            raise OutputError(f"{path} changes hands all the time; start again in a moment.")
        finally:
            candidate.unlink(missing_ok=True)

    def release(self) -> None:
        """Removes the lock file if it is still this process' own; never raises OSError."""
        with contextlib.suppress(OSError):
            if self.owner.pid == os.getpid() and Owner.parse(self.path.read_bytes()) == self.owner:
                self.path.unlink()


def process_start(pid: int) -> str | None:
    """Boot id and start in clock ticks of a living process; None if dead or without /proc."""
    fields = _process_fields(pid)
    if fields is None or fields[0] in "ZX":
        return None
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        boot = "-"
    return f"{boot}/{fields[19]}"


def _process_fields(pid: int) -> list[str] | None:
    try:  # the second field, the name, may hold spaces and brackets: split behind its last bracket
        return Path(f"/proc/{pid}/stat").read_text(errors="replace").rpartition(")")[2].split()
    except OSError:
        return None


def _claim(candidate: Path, lock: Path) -> bool:
    try:
        os.link(candidate, lock)
    except FileExistsError:
        return False
    except OSError as error:
        if error.errno not in _NO_LINKS:
            raise
        return _claim_without_links(candidate, lock)
    return True


def _claim_without_links(candidate: Path, lock: Path) -> bool:
    try:
        descriptor = os.open(lock, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666)
    except FileExistsError:
        return False
    with open(descriptor, "wb") as file:
        file.write(candidate.read_bytes())
    return True


def _take_over(candidate: Path, lock: Path, host: str) -> str | None:
    """Replaces a dead owner's lock and says so; None if the lock changed hands meanwhile."""
    try:
        with open(lock, "r+b") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            if not os.path.samestat(os.stat(lock), os.fstat(file.fileno())):
                return None
            owner = Owner.parse(file.read())
            _refuse_unless_dead(owner, lock, host)
            os.replace(candidate, lock)
    except FileNotFoundError:
        if candidate.exists():
            return None
        raise
    assert owner is not None
    return f"took over the lock of process {owner.pid}, which is dead (it started {owner.since})"


def _refuse_unless_dead(owner: Owner | None, lock: Path, host: str) -> None:
    directory = lock.parent
    if owner is None:
        raise OutputError(
            f"The lock file {lock} cannot be read; remove it if surely no run uses {directory}."
        )
    if owner.host != host:
        raise OutputError(
            f"{directory} is in use by process {owner.pid} on host {owner.host} since "
            f"{owner.since}, which cannot be checked from {host}; remove {lock} if that run is "
            "surely dead, or choose another name=..."
        )
    if owner.is_alive():
        raise OutputError(
            f"{directory} is in use by process {owner.pid} on this host ({host}) since "
            f"{owner.since}; wait for it, or choose another name=..."
        )


def _remove_dead_candidates(directory: Path, host: str) -> None:
    for left in directory.glob(f".lock.*.{host}"):
        with contextlib.suppress(ValueError):
            pid = int(left.name.split(".")[2])
            if not Owner(pid, host, None, "").is_alive():
                left.unlink(missing_ok=True)


def is_held(path: Path) -> bool:
    """Whether a living process holds the lock file; one of another host counts as living."""
    try:
        owner = Owner.parse(path.read_bytes())
    except OSError:
        return False
    return owner is not None and (owner.host != socket.gethostname() or owner.is_alive())
