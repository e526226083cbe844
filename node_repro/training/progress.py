"""What a person sees of a run: its first lines, a bar on a terminal, a line an epoch, the end.

Every line also goes into train.log; the bar does not.
"""

import os
import sys
import time
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from tqdm import tqdm

from node_repro.record import OutputError
from node_repro.record.atomic import reason
from node_repro.record.metrics import METRICS, told

WARM_UP = 2  # iterations that do not count for the estimate
MEASURED = 5  # iterations that do


class Progress:
    """bar: on, off, or auto (only where stderr is a terminal). per_epoch: None without epochs."""

    def __init__(self, log: Path, *, bar: str, total: int, per_epoch: int | None) -> None:
        self._log = log
        terminal = sys.stderr is not None and sys.stderr.isatty()  # None: closed by `2>&-`
        self._shown = bar == "on" or (bar == "auto" and terminal)
        self._total, self._per_epoch = total, per_epoch
        self._bar: tqdm | None = None
        self._epoch: Mapping[str, float] = {}

    def say(self, line: str) -> None:
        """A line on stdout and in train.log. Raises OutputError."""
        if self._bar is not None:
            self._bar.clear()
        try:
            print(line, flush=True)
        except BrokenPipeError:  # the reader is gone, as behind `| head`; the run goes on
            null = os.open(os.devnull, os.O_WRONLY)
            os.dup2(null, sys.stdout.fileno())
            os.close(null)
        try:
            with self._log.open("a", encoding="utf-8") as file:
                file.write(line + "\n")
        except OSError as error:
            raise OutputError(f"Cannot write {self._log}: {reason(error)}.") from error

    def steps(self, remaining: Iterable[int], start: int) -> Iterator[int]:
        """The steps, counted by the bar; after a few of them says how long the rest will take."""
        began = time.monotonic()
        self._bar = tqdm(
            remaining,
            total=self._total,
            initial=start,
            disable=not self._shown,
            unit="it",
            dynamic_ncols=True,
            leave=False,
        )
        try:
            for done, step in enumerate(self._bar):
                if done == WARM_UP:
                    began = time.monotonic()
                if done == WARM_UP + MEASURED:
                    seconds = (time.monotonic() - began) / MEASURED
                    left = seconds * (self._total - step)
                    self.say(
                        f"estimate   {duration(left)} of training at {seconds:.2f} s an iteration"
                    )
                yield step
        finally:
            self._bar.close()
            self._bar = None

    def show(self, split: str, step: int, metrics: Mapping[str, float]) -> None:
        """The bar's numbers, and a line after every validation."""
        if split == "train" and self._bar is not None:
            self._bar.set_postfix_str(_numbers(metrics), refresh=False)
        if split == "epoch":
            self._epoch = metrics
        if split == "validation":
            self.say(
                f"{self._place(step)}  train {_numbers(self._epoch)}  "
                f"{self._epoch.get('step_seconds', 0):.2f} s/it  validation {_numbers(metrics)}"
            )

    def _place(self, step: int) -> str:
        if self._per_epoch is None:
            return f"iteration {step}/{self._total}"
        return f"epoch {-(-step // self._per_epoch)}/{-(-self._total // self._per_epoch)}"


def duration(seconds: float) -> str:
    """ "about 4 min"."""
    if seconds < 90:
        return f"about {max(1, round(seconds))} s"
    if seconds < 5400:
        return f"about {round(seconds / 60)} min"
    return f"about {seconds / 3600:.1f} h"


def _numbers(metrics: Mapping[str, float]) -> str:
    labelled = (name for name, metric in METRICS.items() if metric.label and name in metrics)
    parts = [told(name, metrics[name]) for name in labelled]
    if "nfe_forward" in metrics:
        backward = metrics.get("nfe_backward")
        nfe = f"NFE {metrics['nfe_forward']:.1f}"
        parts.append(nfe if backward is None else f"{nfe}/{backward:.1f}")
    return " ".join(parts)
