"""Stop the processes started by `node-run reproduce` when it ends, even by kill -9.

Their standard input is a pipe that the parent holds open and never writes to. When the parent ends,
the kernel closes the pipe, and a pending read returns. This works on every POSIX system. A process
stopped in this way saves a checkpoint and releases its lock, as for any SIGTERM.
"""

import os
import signal
import threading

STOPS_WITH_PARENT = "NODE_REPRO_STOPS_WITH_PARENT"
"""The environment variable that is set if standard input is such a pipe."""


def stop_with_parent() -> None:
    """If standard input is such a pipe, send this process SIGTERM when the parent ends."""
    if os.environ.pop(STOPS_WITH_PARENT, None):  # removed, since children must not inherit it
        threading.Thread(target=_wait_for_end, daemon=True).start()


def _wait_for_end() -> None:
    while os.read(0, 1):
        pass
    os.kill(os.getpid(), signal.SIGTERM)
