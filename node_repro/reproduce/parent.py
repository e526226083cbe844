"""A process that `node-run reproduce` started ends when that one has ended, kill -9 included.

Its standard input is a pipe that the parent holds open and never writes to. When the parent ends,
the kernel closes the pipe, and reading it returns. This works on every POSIX system; a process
that is stopped so saves, as for any SIGTERM, and gives its lock free.
"""

import os
import signal
import threading

STOPS_WITH_PARENT = "NODE_REPRO_STOPS_WITH_PARENT"
"""The environment variable that says that standard input is such a pipe."""


def stop_with_parent() -> None:
    """If a parent holds the pipe, send this process SIGTERM when the parent ends."""
    if os.environ.pop(STOPS_WITH_PARENT, None):  # not for this process' own children
        threading.Thread(target=_wait_for_end, daemon=True).start()


def _wait_for_end() -> None:
    while os.read(0, 1):
        pass
    os.kill(os.getpid(), signal.SIGTERM)
