"""Progress output: lines on stdout and in train.log, a progress bar, and time estimates."""

import os
import sys
import time
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from tqdm import tqdm

from node_repro.runs.atomic import writing
from node_repro.runs.duration import format_duration
from node_repro.runs.metrics import get_metric, shown_scores
from node_repro.runs.result import TimeEstimate
from node_repro.training.forecast import Forecast

RECHECK = 1.25  # an estimate is checked again after this many times as many iterations
TOLERATED_RATIO = 1.5  # a new estimate is printed if it differs by more than this factor
TOLERATED_SECONDS = 10.0  # and by more than this time


class Progress:
    """Progress output of one start of a run.

    Args:
        log: The file to which lines are appended, in addition to stdout.
        bar: "on", "off", or "auto" (only if stderr is a terminal).
        total: Iterations of the whole training.
        per_epoch: Iterations per epoch; None for infinite data.
        evaluate_every: Iterations between evaluations; None for one epoch, or for the end only.
    """

    def __init__(
        self,
        log: Path,
        *,
        bar: str,
        total: int,
        per_epoch: int | None,
        evaluate_every: int | None = None,
    ) -> None:
        self._log = log
        terminal = sys.stderr is not None and sys.stderr.isatty()  # None: closed by `2>&-`
        self._shown = bar == "on" or (bar == "auto" and terminal)
        self._total, self._per_epoch = total, per_epoch
        self._bar: tqdm | None = None
        self._epoch: Mapping[str, float] = {}
        self._forecast = Forecast(total, 0, evaluate_every or per_epoch)
        self._began = self._took = 0.0
        self._evaluated = False  # since the last iteration
        self._first: float | None = None  # the first printed estimate of the total seconds
        self._last = 0.0  # the last one
        self._next_check = 0  # iterations after which the estimate is checked again

    def say(self, line: str) -> None:
        """Print a line and append it to train.log. Raises OutputError."""
        if self._bar is not None:
            self._bar.clear()
        try:
            print(line, flush=True)
        except BrokenPipeError:  # the reader has ended, as in `| head`; the run continues
            null = os.open(os.devnull, os.O_WRONLY)
            os.dup2(null, sys.stdout.fileno())
            os.close(null)
        with writing(self._log), self._log.open("a", encoding="utf-8") as file:
            file.write(line + "\n")

    def steps(self, remaining: Iterable[int], start: int) -> Iterator[int]:
        """Yield the remaining steps, with a progress bar and time estimates.

        Prints an estimate after a few steps, a new one if it changes much, and the total time at
        the end.

        Args:
            remaining: The steps.
            start: Number of steps done before.
        """
        self._forecast.start = start
        self._began = before = time.monotonic()
        self._bar = tqdm(
            remaining,
            total=self._total,
            initial=start,
            disable=not self._shown,
            bar_format="{l_bar}{bar}| {n_fmt}/{total_fmt} [{elapsed}{postfix}]",
            dynamic_ncols=True,
            leave=False,
        )
        try:
            for step in self._bar:
                yield step
                now = time.monotonic()
                self._measure(now - before)
                before = now
                self._estimate(now - self._began)
        finally:
            self._bar.close()
            self._bar = None
        self._took = before - self._began
        if self._first is not None:
            self.say(
                f"trained    in {about(self._took)}; the first estimate was {about(self._first)}"
            )

    @property
    def time_estimate(self) -> TimeEstimate | None:
        """Estimated and measured time of the iterations of this process; None without one."""
        if self._first is None:
            return None
        return TimeEstimate(self._forecast.done, self._first, self._last, self._took)

    def _measure(self, seconds: float) -> None:
        """Add the time of one iteration; time beyond the pace is that of an evaluation."""
        forecast = self._forecast
        if self._evaluated:
            iteration = forecast.pace or self._epoch.get("step_seconds", 0.0)
            forecast.add_evaluation(max(seconds - iteration, 0.0))
            seconds = min(iteration, seconds)
            self._evaluated = False
        forecast.add_iteration(seconds)

    def _estimate(self, elapsed: float) -> None:
        """Print the first estimate, and later ones that differ much from the one before."""
        forecast = self._forecast
        if not forecast.ready or not forecast.remaining_iterations():
            return
        if forecast.done < self._next_check:
            return
        self._next_check = int(RECHECK * forecast.done) + 1
        left = forecast.remaining_seconds()
        if self._first is None:
            self._first = self._last = elapsed + left
            unknown = "" if forecast.evaluation_seconds is not None else ", evaluations not counted"
            self.say(
                f"estimate   {about(left)} of training at {forecast.pace:.2f} s per "
                f"iteration{unknown}"
            )
            return
        total, ratio = elapsed + left, (elapsed + left) / self._last
        if 1 / TOLERATED_RATIO < ratio < TOLERATED_RATIO:
            return
        if abs(total - self._last) > TOLERATED_SECONDS:
            self._last = total
            self.say(f"estimate   {about(left)} left at now {forecast.pace:.2f} s per iteration")

    def show(self, split: str, step: int, metrics: Mapping[str, float]) -> None:
        """Show training metrics in the bar, and print a line after every validation."""
        if split == "train" and self._bar is not None:
            self._bar.set_postfix_str(", ".join([*self._rate(), _numbers(metrics)]), refresh=False)
        if split == "epoch":
            self._epoch = metrics
        if split == "validation":
            self._evaluated = True
            self.say(
                f"{self._place(step)}  train {_numbers(self._epoch)}  "
                f"{self._epoch.get('step_seconds', 0):.2f} s/it  validation {_numbers(metrics)}"
                f"{self._left_after(metrics.get('evaluation_seconds'))}"
            )

    def _rate(self) -> list[str]:
        """Remaining time and seconds per iteration, for the bar."""
        forecast = self._forecast
        if not forecast.ready:
            return []
        return [f"{about(forecast.remaining_seconds())} left", f"{forecast.pace:.2f} s/it"]

    def _left_after(self, evaluation_seconds: float | None) -> str:
        """The remaining time, for the line of a validation."""
        forecast = self._forecast
        if self._first is None or not forecast.remaining_iterations(1):
            return ""
        if forecast.evaluation_seconds is None and evaluation_seconds is not None:
            forecast.add_evaluation(evaluation_seconds)
        seconds = forecast.remaining_seconds(1)  # this iteration is not measured yet
        self._last = time.monotonic() - self._began + seconds
        return f"  {about(seconds)} left"

    def _place(self, step: int) -> str:
        if self._per_epoch is None:
            return f"iteration {step}/{self._total}"
        return f"epoch {-(-step // self._per_epoch)}/{-(-self._total // self._per_epoch)}"


def about(seconds: float) -> str:
    """ "about 4 min"."""
    return f"about {format_duration(max(1, seconds))}"


def _numbers(metrics: Mapping[str, float]) -> str:
    shown = {name: get_metric(name) for name in shown_scores(metrics)}
    parts = [f"{metric.label} {metric.format(metrics[name])}" for name, metric in shown.items()]
    if "nfe_forward" in metrics:
        backward = metrics.get("nfe_backward")
        nfe = f"NFE {metrics['nfe_forward']:.1f}"
        parts.append(nfe if backward is None else f"{nfe}/{backward:.1f}")
    return " ".join(parts)
