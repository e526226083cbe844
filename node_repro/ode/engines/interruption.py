"""Ends what torch's compiler waits for when the process gets a signal to end."""

import os
import signal
import threading
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import FrameType

SIGNALS = (signal.SIGINT, signal.SIGTERM)
COMPILERS = frozenset(
    ("g++", "gcc", "c++", "clang", "clang++", "cc1", "cc1plus", "as", "collect2", "ld")
)
"""Names of the processes that are ended: the compiler's driver and the programs that it starts."""


class CompilationInterruptedError(KeyboardInterrupt):
    """A signal ended a compilation. Its own handler has been called."""


@contextmanager
def interruptible() -> Iterator[None]:
    """Let SIGINT and SIGTERM end the C++ compiler and leave the block.

    A handler that only takes note of the signal, as that of a training, would otherwise wait for
    the end of the compilation. The default handlers end the process themselves.

    Raises:
        CompilationInterruptedError: There was such a signal.
    """
    if threading.current_thread() is not threading.main_thread():
        yield  # signal handlers run in the main thread
        return
    before = {number: signal.getsignal(number) for number in SIGNALS}

    def interrupt(number: int, frame: FrameType | None) -> None:
        end_compilers()
        handler = before[signal.Signals(number)]
        if callable(handler):
            handler(number, frame)
        raise CompilationInterruptedError

    noted = [number for number, handler in before.items() if callable(handler)]
    try:
        for number in noted:
            signal.signal(number, interrupt)
        yield
    finally:
        for number in noted:
            if signal.getsignal(number) is interrupt:  # else the handler has set another one
                signal.signal(number, before[number])


def end_compilers() -> None:
    """End the C++ compilers that this process has started, and what they have started (Linux)."""
    children: defaultdict[int, list[tuple[int, str]]] = defaultdict(list)
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):  # it has ended
            # pid (name) state parent ...
            head, _, tail = stat.read_text().rpartition(")")
            pid, _, name = head.partition(" (")
            children[int(tail.split()[1])].append((int(pid), name))
    pending = [os.getpid()]
    while pending:
        for pid, name in children[pending.pop()]:
            pending.append(pid)
            if name in COMPILERS:
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGTERM)
