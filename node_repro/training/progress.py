"""Lines on stdout and in train.log, a progress bar on a terminal, and estimates of the time."""

import os
import sys
import time
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from tqdm import tqdm

from node_repro.runs import OutputError
from node_repro.runs.atomic import reason
from node_repro.runs.duration import format_duration
from node_repro.runs.metrics import get_metric, shown_scores
from node_repro.runs.result import TimeEstimate
from node_repro.training.forecast import Forecast

OFTEN = 1.25  # times as many iterations until an estimate is looked at again
OFF = 1.5  # times as long, or as short, as was said: said again,
LEAST = 10.0  # if that is so many seconds


class Progress:
    """bar: on, off, or auto (only where stderr is a terminal). per_epoch: None without epochs.
    evaluate_every: iterations, None for the end alone.
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
        self._first: float | None = None  # what was said first, in seconds of all
        self._said = 0.0  # and last
        self._look_at = 0  # iterations after which an estimate is looked at again

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
        """The steps, counted by the bar. After a few of them says how long the rest will take, and
        again where that turns out otherwise; at the end how long it took.
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
                f"trained    in {duration(self._took)}; the first estimate was "
                f"{duration(self._first)}"
            )

    @property
    def time_estimate(self) -> TimeEstimate | None:
        """Estimated and measured time of the iterations of this process; None without one."""
        if self._first is None:
            return None
        return TimeEstimate(self._forecast.done, self._first, self._said, self._took)

    def _measure(self, seconds: float) -> None:
        """An iteration and what followed it; an evaluation took what is above the pace."""
        forecast = self._forecast
        if self._evaluated:
            alone = forecast.pace or self._epoch.get("step_seconds", 0.0)
            forecast.evaluated(max(seconds - alone, 0.0))
            seconds = min(alone, seconds)
            self._evaluated = False
        forecast.iterated(seconds)

    def _estimate(self, elapsed: float) -> None:
        """Says how long it will take, once that is known, and again where it is far from that."""
        forecast = self._forecast
        if not forecast.ready or forecast.done < self._look_at or not forecast.rest():
            return
        self._look_at = int(OFTEN * forecast.done) + 1
        left = forecast.left()
        if self._first is None:
            self._first = self._said = elapsed + left
            unknown = "" if forecast.evaluation_seconds is not None else ", evaluations not counted"
            self.say(
                f"estimate   {duration(left)} of training at {forecast.pace:.2f} s an "
                f"iteration{unknown}"
            )
            return
        whole = elapsed + left
        if not 1 / OFF < whole / self._said < OFF and abs(whole - self._said) > LEAST:
            self._said = whole
            self.say(
                f"estimate   {duration(left)} left, as an iteration takes {forecast.pace:.2f} s by "
                "now"
            )

    def show(self, split: str, step: int, metrics: Mapping[str, float]) -> None:
        """The bar's numbers, and a line after every validation."""
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
        """The bar's own numbers."""
        forecast = self._forecast
        if not forecast.ready:
            return []
        return [f"{duration(forecast.left())} left", f"{forecast.pace:.2f} s/it"]

    def _left_after(self, evaluation_seconds: float | None) -> str:
        """The end of a validation's line: how long the rest will take, as it is known by then."""
        forecast = self._forecast
        if self._first is None or not forecast.rest(1):
            return ""
        if forecast.evaluation_seconds is None and evaluation_seconds is not None:
            forecast.evaluated(evaluation_seconds)
        seconds = forecast.left(1)  # this iteration is not measured yet
        self._said = time.monotonic() - self._began + seconds
        return f"  {duration(seconds)} left"

    def _place(self, step: int) -> str:
        if self._per_epoch is None:
            return f"iteration {step}/{self._total}"
        return f"epoch {-(-step // self._per_epoch)}/{-(-self._total // self._per_epoch)}"


def duration(seconds: float) -> str:
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
