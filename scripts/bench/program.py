"""A contender in another interpreter: it is told what to do by lines on its standard input.

    time 5      iterate five times and answer with the seconds of one
    report      answer with the report

Every answer is one line of JSON. This module needs nothing but the standard library, as peers run
in environments of their own.
"""

import json
import sys
import time
from abc import ABC, abstractmethod
from typing import Any


class Contender(ABC):
    """Something to time, with a report about its last iteration."""

    @abstractmethod
    def iterate(self) -> None:
        """Do one iteration; it is finished when this returns."""

    @abstractmethod
    def report(self) -> dict[str, Any]:
        """What the tables show beside the time: evaluations and errors."""

    def timed(self, repeats: int) -> float:
        """The mean seconds of so many iterations."""
        began = time.perf_counter()
        for _ in range(repeats):
            self.iterate()
        return (time.perf_counter() - began) / repeats


def serve(contender: Contender) -> None:
    """Answer requests until the standard input ends."""
    for line in sys.stdin:
        word, _, count = line.strip().partition(" ")
        answer = contender.timed(int(count)) if word == "time" else contender.report()
        print(json.dumps(answer), flush=True)
