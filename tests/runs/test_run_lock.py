"""One process at a time works in a run's directory."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from node_repro.runs import OutputError
from node_repro.runs.lock import Holder, Lock, is_held
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
OLD = {"pid": 2**22 + 1, "host": "elsewhere", "process_start": "boot/1", "since": "2026-01-02"}
"""What lock files held when they were taken by a hard link and not by flock."""


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


def test_a_living_process_keeps_others_out_and_a_killed_one_does_not(tmp_path: Path) -> None:
    process = holder(tmp_path / "a")
    assert first_line(process).startswith("won []")
    for _ in range(2):  # a refused start leaves the holder's name in the file
        with pytest.raises(OutputError) as refusal:
            RunDirectory.open(tmp_path / "a", {}, "s", ["node-run"])
        for words in (f"process {process.pid} on host {os.uname().nodename}", "another name=..."):
            assert words in str(refusal.value)
    assert is_held(tmp_path / "a" / "lock")
    os.kill(process.pid, signal.SIGKILL)
    os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)  # dead, but still a zombie
    assert not is_held(tmp_path / "a" / "lock")
    with RunDirectory.open(tmp_path / "a", {}, "s", ["node-run"]) as run:
        assert run.resumed
        assert f"process {process.pid} " in run.notes[0] and "killed" in run.notes[0]
    ended(process)


def test_the_same_process_keeps_itself_out(tmp_path: Path) -> None:
    with RunDirectory.open(tmp_path / "a", {}, "s", ["node-run"]):
        with pytest.raises(OutputError, match=f"in use by process {os.getpid()} "):
            RunDirectory.open(tmp_path / "a", {}, "s", ["node-run"])
    RunDirectory.open(tmp_path / "a", {}, "s", ["node-run"]).close()


@pytest.mark.parametrize("stale", [False, True])
def test_of_starts_in_the_same_instant_one_wins(tmp_path: Path, stale: bool) -> None:
    if stale:
        (tmp_path / "a").mkdir()
        (tmp_path / "a" / "lock").write_text(json.dumps(OLD))
    instant = str(time.time() + 1)
    processes = [holder(tmp_path / "a", instant) for _ in range(6)]
    lines = [first_line(process) for process in processes]
    assert sum(line.startswith("won") for line in lines) == 1
    assert sum(line.startswith("refused") and "is in use by" in line for line in lines) == 5
    for process in processes:
        ended(process)


@pytest.mark.parametrize("content", [json.dumps(OLD), "", "{", "[]", '{"pid": 1}', "\0\0"])
def test_a_file_that_was_left_behind_is_no_obstacle(tmp_path: Path, content: str) -> None:
    (tmp_path / "lock").write_text(content)
    assert not is_held(tmp_path / "lock")
    lock, notes = Lock.take(tmp_path / "lock")
    assert is_held(tmp_path / "lock")
    assert bool(notes) == ("elsewhere" in content)
    assert Holder.read(tmp_path / "lock") == lock._holder
    lock.release()
    lock.release()
    assert os.listdir(tmp_path) == []


def test_another_holders_file_is_not_removed(tmp_path: Path) -> None:
    lock, _ = Lock.take(tmp_path / "lock")
    (tmp_path / "lock").write_text(json.dumps(OLD))
    lock.release()
    assert (tmp_path / "lock").exists()


def test_a_directory_that_was_removed_is_no_fault_of_the_lock(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    lock, _ = Lock.take(tmp_path / "a" / "lock")
    (tmp_path / "a" / "lock").unlink()
    (tmp_path / "a").rmdir()
    lock.release()
    assert os.listdir(tmp_path) == []
