"""Forecast of the remaining training time from the iterations and evaluations measured so far.

With an adaptive solver, iterations become more expensive as the field is trained. A line is fitted
to the seconds per iteration in the last half of the iterations done. Its growth is extrapolated for
at most as many iterations as are done, and to between half and twice the current pace.
"""

from dataclasses import dataclass, field

WARM_UP = 2  # iterations that are not measured
MEASURED = 5  # measured iterations needed for a forecast
BLOCKS = 128  # largest number kept; beyond it neighbours are merged
FITTED = 8  # blocks needed to fit a growth


@dataclass
class Forecast:
    """Forecast of the remaining time of a training.

    Args:
        total: Iterations of the whole training.
        start: Iterations done before this process started.
        evaluate_every: Iterations between evaluations; None if there is one at the end only.
        done: Iterations done by this process.
        evaluation_seconds: Time of the last evaluation; None if none was measured.
    """

    total: int
    start: int
    evaluate_every: int | None
    done: int = 0
    evaluation_seconds: float | None = None
    _blocks: list[tuple[int, float]] = field(default_factory=list)  # iterations and their seconds

    @property
    def ready(self) -> bool:
        """Whether enough iterations are measured."""
        return self.done >= WARM_UP + MEASURED

    def add_iteration(self, seconds: float) -> None:
        """Add the time of one iteration, without an evaluation."""
        self.done += 1
        if self.done <= WARM_UP:
            return
        self._blocks.append((1, seconds))
        if len(self._blocks) > BLOCKS:
            pairs = zip(self._blocks[::2], self._blocks[1::2], strict=False)
            odd = self._blocks[-1:] if len(self._blocks) % 2 else []
            self._blocks = [(m + n, a + b) for (m, a), (n, b) in pairs] + odd

    def add_evaluation(self, seconds: float) -> None:
        """Set the time of an evaluation, including its pictures and checkpoint."""
        self.evaluation_seconds = seconds

    @property
    def pace(self) -> float:
        """Current seconds per iteration."""
        return self._line()[0]

    def remaining_iterations(self, ahead: int = 0) -> int:
        """Iterations to be done; `ahead` of them are done but not measured yet."""
        return max(self.total - self.start - self.done - ahead, 0)

    def remaining_seconds(self, ahead: int = 0) -> float:
        """Time of the remaining iterations and, if one was measured, of their evaluations."""
        pace, growth = self._line()
        rest = self.remaining_iterations(ahead)
        grows = min(rest, self.done)
        if grows:
            growth = max(-pace / 2 / grows, min(growth, pace / grows))
        evaluating = self._evaluations(rest) * (self.evaluation_seconds or 0.0)
        return pace * rest + growth * grows * (rest - grows / 2) + evaluating

    def _evaluations(self, rest: int) -> int:
        """Number of evaluations in the last `rest` iterations; one follows the last iteration."""
        if not rest or self.evaluate_every is None:
            return min(rest, 1)
        return -(-self.total // self.evaluate_every) - (self.total - rest) // self.evaluate_every

    def _line(self) -> tuple[float, float]:
        """Seconds per iteration at the last iteration, and their growth per iteration."""
        last: list[tuple[float, int, float]] = []  # position, iterations, seconds per iteration
        ago = 0.0
        for count, seconds in reversed(self._blocks):
            last.append((-ago - count / 2, count, seconds / count))
            ago += count
            if ago >= self.done / 2 and len(last) >= FITTED:
                break
        weight = sum(count for _, count, _ in last)
        if not weight:
            return 0.0, 0.0
        mean = sum(count * pace for _, count, pace in last) / weight
        if len(last) < FITTED:
            return mean, 0.0
        centre = sum(count * x for x, count, _ in last) / weight
        spread = sum(count * (x - centre) ** 2 for x, count, _ in last)
        growth = sum(count * (x - centre) * (pace - mean) for x, count, pace in last) / spread
        return max(mean - growth * centre, mean / 2), growth
