"""Compiled functions: how many are kept, and what ends a compilation."""

import gc
import os
import signal
import subprocess
import threading
import time
import weakref
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import FrameType
from typing import Any

import pytest
import torch
from chosen import adaptive, real
from compiled_cases import UNCOMPILED, Growth

from node_repro import ode
from node_repro.ode.engines import compilation
from node_repro.ode.engines.compilation import LoopFunction, loop_function
from node_repro.ode.engines.interruption import CompilationInterruptedError, interruptible


def test_loop_functions_are_kept_in_bounded_number_and_hold_no_module() -> None:
    before = loop_function.cache_info()
    solver, ts = replace(adaptive("dopri5", 1e-3), engine=UNCOMPILED), real(0, 1)
    models = []
    for size in range(1, 4):
        f = Growth()
        ode.odeint(f, torch.ones(size, 2).double(), ts, solver=solver, gradient=ode.Adjoint())
        models.append(weakref.ref(f))
        del f
    gc.collect()
    assert [model() for model in models] == [None] * 3
    after = loop_function.cache_info()
    assert after.misses == before.misses + 3
    assert after.maxsize is not None and after.currsize <= after.maxsize


def test_a_loop_function_that_is_no_longer_kept_is_freed() -> None:
    kept = loop_function.cache_info().maxsize
    assert kept is not None
    solver, ts = replace(adaptive("dopri5", 1e-3), engine=UNCOMPILED), real(0, 1)
    with torch.no_grad():
        ode.odeint(Growth(), real(1, 2), ts, solver=solver, gradient=ode.Direct())
    oldest = weakref.ref(next(x for x in gc.get_objects() if isinstance(x, LoopFunction)))

    class Nothing:
        def __init__(self, i: int) -> None:
            self.i = i

        def function(self) -> Any:  # noqa: ANN401
            return lambda: self.i

    try:
        for i in range(kept):
            loop_function(Nothing(i), "uncompiled", ())
        gc.collect()
        assert oldest() is None
    finally:
        loop_function.cache_clear()


@pytest.fixture
def noted() -> Iterator[list[int]]:
    """The signals that a handler takes note of, as that of a training does."""
    found: list[int] = []

    def note(number: int, frame: FrameType | None) -> None:
        found.append(number)

    before = signal.signal(signal.SIGINT, note)
    yield found
    assert signal.getsignal(signal.SIGINT) is note
    signal.signal(signal.SIGINT, before)


def _script(path: Path, *lines: str) -> None:
    path.write_text("\n".join(("#!/bin/sh", *lines)), encoding="utf-8")
    path.chmod(0o755)


def _runs(pid: int) -> bool:
    """Whether a process has not ended."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2]
    except OSError:
        return False
    return not state.strip().startswith("Z")


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="needs Linux's /proc")
def test_a_noted_signal_ends_the_wait_for_the_compiler_and_all_its_processes(
    tmp_path: Path, noted: list[int]
) -> None:
    started = tmp_path / "started"
    _script(tmp_path / "g++", f"{tmp_path}/cc1plus", "exit 0")
    pid = tmp_path / "pid"
    _script(tmp_path / "cc1plus", f"echo $$ > {pid}", f"mv {pid} {started}", "read x")

    def interrupt() -> None:
        while not started.exists():
            time.sleep(0.01)
        os.kill(os.getpid(), signal.SIGINT)

    threading.Thread(target=interrupt).start()
    with subprocess.Popen([tmp_path / "g++"], stdin=subprocess.PIPE) as compiler:
        with pytest.raises(CompilationInterruptedError), interruptible():
            compiler.wait()
        compiler.wait()  # it was ended
    assert noted == [signal.SIGINT]
    while _runs(int(started.read_text(encoding="utf-8"))):
        time.sleep(0.01)


def test_after_an_interrupted_compilation_solves_are_eager(
    monkeypatch: pytest.MonkeyPatch, noted: list[int]
) -> None:
    def interrupted(*arguments: object, **options: object) -> Any:  # noqa: ANN401
        def call(*arguments: object) -> None:
            os.kill(os.getpid(), signal.SIGINT)

        return call

    monkeypatch.setattr(compilation.COMPILATIONS, "interrupted", False)
    monkeypatch.setattr(torch, "compile", interrupted)
    monkeypatch.setattr("node_repro.ode.engines.compiled.has_compiler", lambda: True)
    loop_function.cache_clear()
    solver = replace(adaptive("dopri5", 1e-8), engine=ode.Compiled())
    with torch.no_grad(), pytest.warns(UserWarning, match="a signal ended") as told:
        for _ in range(2):
            f, options = Growth(), {"solver": solver, "gradient": ode.Direct()}
            ys, _ = ode.odeint(f, real(1, 2), real(0, 1), **options)
            torch.testing.assert_close(ys[-1], real(1, 2) * f.rate.exp(), rtol=1e-6, atol=0)
    loop_function.cache_clear()
    assert len(told) == 1 and noted == [signal.SIGINT]
