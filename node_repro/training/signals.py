"""Signals only set a flag; the trainer looks at it between two iterations, saves and leaves."""

import signal
from types import FrameType, TracebackType
from typing import Self

EXIT_CODES = {signal.SIGINT: 130, signal.SIGTERM: 143, signal.SIGUSR1: 75}


class Signals:
    """Within its block the first SIGINT, SIGTERM or SIGUSR1 is kept; the second one kills.

    received: the signal kept, or None. second_kills: False where a launcher passes on what its
    processes got already, so that a second signal is no second wish.
    """

    def __init__(self, *, second_kills: bool = True) -> None:
        self.received: signal.Signals | None = None
        self.second_kills = second_kills
        self._before: dict[signal.Signals, object] = {}

    def __enter__(self) -> Self:
        for number in EXIT_CODES:
            self._before[number] = signal.signal(number, self._keep)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)  # type: ignore[arg-type]

    def _keep(self, number: int, frame: FrameType | None) -> None:
        if self.received is None:
            self.received = signal.Signals(number)
        if self.second_kills:
            for known in EXIT_CODES:
                signal.signal(known, signal.SIG_DFL)

    @property
    def exit_code(self) -> int:
        """What the process shall exit with; 0 without a signal."""
        return 0 if self.received is None else EXIT_CODES[self.received]
