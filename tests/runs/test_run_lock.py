"""One living run a directory."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from node_repro.runs import OutputError, lock
from node_repro.runs.lock import Lock, Owner
from node_repro.runs.run_directory import RunDirectory

HOLD = """
import sys, time
from node_repro.runs import OutputError
from node_repro.runs.run_directory import RunDirectory
if len(sys.argv) > 2:
    time.sleep(max(0, float(sys.argv[2]) - time.time()))
try:
    run = RunDirectory.open(sys.argv[1], {}, "s", ["node-run"])
except OutputError as error:
    print("refused", error, flush=True)
else:
    print("won", run.notes, flush=True)
    sys.stdin.read()
"""


def holder(path: Path, *arguments: str) -> subprocess.Popen:
    return subprocess.Popen(
        [sys.executable, "-c", HOLD, str(path), *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


def first_line(process: subprocess.Popen) -> str:
    assert process.stdout is not None
    return process.stdout.readline()


def ended(process: subprocess.Popen) -> None:
    process.kill()
    process.communicate()


def dead_pid() -> int:
    process = subprocess.Popen(["true"])
    process.wait()
    return process.pid


def test_living_lock_is_respected_and_a_killed_process_lock_is_taken_over(tmp_path: Path) -> None:
    process = holder(tmp_path / "a")
    assert first_line(process).startswith("won []")
    with pytest.raises(OutputError) as refusal:
        RunDirectory.open(tmp_path / "a", {}, "s", ["node-run"])
    for words in (f"process {process.pid}", os.uname().nodename, "since 20", "another name=..."):
        assert words in str(refusal.value)
    os.kill(process.pid, signal.SIGKILL)
    os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)  # dead, but still a zombie
    with RunDirectory.open(tmp_path / "a", {}, "s", ["node-run"]) as run:
        assert run.resumed
        assert f"took over the lock of process {process.pid}, which is dead" in run.notes[0]
    ended(process)


def test_own_lock_of_the_same_process_is_respected_too(tmp_path: Path) -> None:
    with RunDirectory.open(tmp_path / "a", {}, "s", ["node-run"]):
        with pytest.raises(OutputError, match=f"in use by process {os.getpid()} "):
            RunDirectory.open(tmp_path / "a", {}, "s", ["node-run"])
    RunDirectory.open(tmp_path / "a", {}, "s", ["node-run"]).close()


@pytest.mark.parametrize("stale", [False, True])
def test_of_starts_in_the_same_instant_one_wins(tmp_path: Path, stale: bool) -> None:
    if stale:
        (tmp_path / "a").mkdir()
        write_lock(tmp_path / "a" / "lock", pid=dead_pid())
    instant = str(time.time() + 1)
    processes = [holder(tmp_path / "a", instant) for _ in range(6)]
    lines = [first_line(process) for process in processes]
    assert sum(line.startswith("won") for line in lines) == 1
    assert sum(line.startswith("refused") and "is in use by" in line for line in lines) == 5
    for process in processes:
        ended(process)
    assert not list((tmp_path / "a").glob(".lock*"))


def write_lock(path: Path, **changes: object) -> None:
    path.write_text(json.dumps(Owner.current()._asdict() | changes))


def test_lock_of_another_host_is_left_alone(tmp_path: Path) -> None:
    write_lock(tmp_path / "lock", host="elsewhere", pid=dead_pid())
    before = (tmp_path / "lock").read_text()
    with pytest.raises(OutputError, match=f"on host elsewhere.*remove {tmp_path / 'lock'} if"):
        Lock.take(tmp_path / "lock")
    assert (tmp_path / "lock").read_text() == before and os.listdir(tmp_path) == ["lock"]


def test_pid_that_was_given_to_another_process_counts_as_dead(tmp_path: Path) -> None:
    write_lock(tmp_path / "lock", process_start="another-boot/1")
    taken, notes = Lock.take(tmp_path / "lock")
    assert "which is dead" in notes[0]
    taken.release()
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("pid", [2**40, -(2**40)])
def test_impossible_pid_counts_as_dead(pid: int) -> None:
    assert not Owner(pid, "h", None, "").is_alive()


def test_without_proc_a_living_pid_counts_as_alive(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lock, "_process_fields", lambda _: None)
    assert Owner.current().process_start is None
    assert Owner.current().is_alive() and not Owner(dead_pid(), "h", None, "").is_alive()


@pytest.mark.parametrize("content", ["", "{", "[]", '{"pid": 1}', "\0\0"])
def test_unreadable_lock_is_named_and_left_alone(tmp_path: Path, content: str) -> None:
    (tmp_path / "lock").write_text(content)
    with pytest.raises(OutputError, match=f"{tmp_path / 'lock'} cannot be read; remove it if"):
        Lock.take(tmp_path / "lock")
    assert (tmp_path / "lock").read_text() == content


def test_lock_of_someone_else_is_not_released(tmp_path: Path) -> None:
    taken, _ = Lock.take(tmp_path / "lock")
    write_lock(tmp_path / "lock", pid=1)
    taken.release()
    assert (tmp_path / "lock").exists()


def test_candidates_of_processes_killed_while_locking_are_removed(tmp_path: Path) -> None:
    host = os.uname().nodename
    dead, alive = f".lock.{dead_pid()}.{host}", f".lock.{os.getppid()}.{host}"
    for name in (dead, alive):
        (tmp_path / name).touch()
    Lock.take(tmp_path / "lock")[0].release()
    assert os.listdir(tmp_path) == [alive]


def test_file_system_without_hard_links_works_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "link", refuse)
    taken, _ = Lock.take(tmp_path / "lock")
    with pytest.raises(OutputError, match="is in use by process"):
        Lock.take(tmp_path / "lock")
    taken.release()
    assert os.listdir(tmp_path) == []
