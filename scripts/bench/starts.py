"""Starting: the command line, and the time to the first iteration of a compiled run.

The commands are timed in turn. The run is a continuous flow (`task=cnf profile=smoke`), from the
start of the process until the line of its first iteration is in metrics.jsonl; the first start
compiles, the second finds what the first has compiled on disk. Eager for comparison.
"""

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from bench.reasons import EMPTY
from bench.setting import Record, Setting

CLI = ("-m", "node_repro.cli")
COMMANDS = {
    "node-run --help": (*CLI, "--help"),
    "node-run list": (*CLI, "list"),
    "a configuration error": (*CLI, "task=mnist", "solver=dopri6"),
    EMPTY: ("-c", "pass"),
}
RUN = ("task=cnf", "profile=smoke", "seed=0", "threads=1", "progress=off", "trainer.log_every=1")
ROUNDS, STARTS = 7, 3
PATIENCE = 300.0


def seconds_of(words: tuple[str, ...], folder: str) -> float:
    """The seconds of a command."""
    began = time.perf_counter()
    subprocess.run(
        [sys.executable, *words],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        cwd=folder,
        check=False,
    )
    return time.perf_counter() - began


def to_the_first_iteration(engine: str, device: str, cache: str) -> float:
    """The seconds from the start of a run until its first iteration is done."""
    with tempfile.TemporaryDirectory() as folder, tempfile.TemporaryFile("w+") as said:
        words = (*RUN, f"engine={engine}", f"device={device}", f"outputs={folder}")
        began = time.perf_counter()
        process = subprocess.Popen(
            [sys.executable, *CLI, *words],
            stdout=said,
            stderr=subprocess.STDOUT,
            env=os.environ | {"TORCHINDUCTOR_CACHE_DIR": cache},
        )
        try:
            while not any(file.stat().st_size for file in Path(folder).rglob("metrics.jsonl")):
                if process.poll() is not None:
                    said.seek(0)
                    raise RuntimeError((said.read().strip().splitlines() or ["ended"])[-1])
                if time.perf_counter() - began > PATIENCE:
                    raise RuntimeError(f"no iteration in {PATIENCE:.0f} s")
                time.sleep(0.005)
            return time.perf_counter() - began
        finally:
            process.kill()
            process.wait()


def measured(setting: Setting) -> Record:
    """The commands and the runs."""
    with tempfile.TemporaryDirectory() as folder:
        for words in COMMANDS.values():
            seconds_of(words, folder)
        rows: list[dict[str, Any]] = [{"name": name, "seconds": []} for name in COMMANDS]
        for _ in range(setting.several(ROUNDS)):
            for row in rows:
                row["seconds"].append(seconds_of(COMMANDS[row["name"]], folder))
    runs = []
    for engine in ("compiled", "eager"):
        run: dict[str, Any] = {"engine": engine}
        with tempfile.TemporaryDirectory() as cache:
            try:
                starts = [
                    to_the_first_iteration(engine, setting.device.type, cache)
                    for _ in range(1 + setting.several(STARTS))
                ]
                run |= {"first": starts[0], "seconds": starts[1:]}
            except RuntimeError as error:
                run["not_run"] = str(error)
        runs.append(run)
    return {"rows": rows, "runs": runs, "run": " ".join(RUN)}
