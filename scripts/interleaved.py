"""Interleaved timing of contenders, each in its own process.

Separate processes keep allocators, threads and caches apart. The contenders run one iteration each
in turn, so that a slow phase of the machine affects all of them and the ratios of a round are
stable.
"""

import multiprocessing
import statistics
import time
from collections.abc import Callable, Sequence
from multiprocessing.connection import Connection
from typing import Any, NamedTuple, Protocol


class Contender(Protocol):
    """Something to time, with a report about its last iteration."""

    def iterate(self) -> None:
        """Do one iteration; it is finished when this returns."""
        ...

    def report(self) -> dict[str, Any]:
        """What the table shows beside the time: evaluations and errors."""
        ...


class Entry(NamedTuple):
    """A named contender. build(*arguments) is called in the contender's own process."""

    name: str
    build: Callable[..., Contender]
    arguments: tuple[Any, ...]


def compare(entries: Sequence[Entry], rounds: int, *, warm_up: int = 2) -> list[dict[str, Any]]:
    """A row for every entry: its report, the median, minimum and maximum of its seconds, and the
    median over rounds of its ratio to the first entry.
    """
    context = multiprocessing.get_context("spawn")
    pipes, processes = [], []
    try:
        reports = []
        for entry in entries:
            ours, theirs = context.Pipe()
            process = context.Process(target=_serve, args=(theirs, entry, warm_up), daemon=True)
            process.start()
            theirs.close()
            processes.append(process)
            pipes.append(ours)
            reports.append(ours.recv())  # one after the other: none warms up beside another
        seconds: list[list[float]] = [[] for _ in entries]
        for _ in range(rounds):
            for pipe, own in zip(pipes, seconds, strict=True):
                pipe.send("iterate")
                own.append(pipe.recv())
    finally:
        for pipe in pipes:
            pipe.close()
        for process in processes:
            process.join(timeout=10)
    return [
        {"name": entry.name, **report, **_summary(own, seconds[0])}
        for entry, report, own in zip(entries, reports, seconds, strict=True)
    ]


def _serve(pipe: Connection, entry: Entry, warm_up: int) -> None:
    contender = entry.build(*entry.arguments)
    for _ in range(warm_up):
        contender.iterate()
    pipe.send(contender.report())
    while True:
        try:
            pipe.recv()
        except EOFError:
            return
        began = time.perf_counter()
        contender.iterate()
        pipe.send(time.perf_counter() - began)


def _summary(seconds: list[float], first: list[float]) -> dict[str, float]:
    return {
        "seconds": statistics.median(seconds),
        "seconds_min": min(seconds),
        "seconds_max": max(seconds),
        "ratio": statistics.median(b / a for a, b in zip(first, seconds, strict=True)),
    }
