"""Signal handlers that set a flag, which the trainer checks between two iterations."""

import signal
from collections.abc import Callable
from types import FrameType
from typing import Self

Handler = Callable[[int, FrameType | None], object] | int | None
EXIT_CODES = {signal.SIGINT: 130, signal.SIGTERM: 143, signal.SIGUSR1: 75}


class Signals:
    """Context manager that records the first SIGINT, SIGTERM or SIGUSR1; the second one kills.

    Args:
        second_kills: False if a launcher forwards signals that its processes have received already:
            then a second signal is no request to kill.

    Attributes:
        received: The recorded signal, or None.
    """

    def __init__(self, *, second_kills: bool = True) -> None:
        self.received: signal.Signals | None = None
        self.second_kills = second_kills
        self._before: dict[signal.Signals, Handler] = {}

    def __enter__(self) -> Self:
        for number in EXIT_CODES:
            self._before[number] = signal.signal(number, self._keep)
        return self

    def __exit__(self, *exception: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _keep(self, number: int, frame: FrameType | None) -> None:
        if self.received is None:
            self.received = signal.Signals(number)
        if self.second_kills:
            for known in EXIT_CODES:
                signal.signal(known, signal.SIG_DFL)

    @property
    def exit_code(self) -> int:
        """The exit code for the recorded signal; 0 without a signal."""
        return 0 if self.received is None else EXIT_CODES[self.received]
