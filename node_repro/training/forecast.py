"""How long the rest of a training will take, from the iterations and evaluations measured so far.

Where a solver adapts its steps, iterations grow more expensive as the field is trained. The pace is
a line through the last half of the iterations done; what it grows by is carried on for as many
iterations as are done already, and no further than to twice the pace.
"""

from dataclasses import dataclass, field

WARM_UP = 2  # iterations that are not measured
MEASURED = 5  # iterations until there is a forecast
BLOCKS = 128  # kept at most; neighbours are joined beyond
FITTED = 8  # blocks without which no growth is seen


@dataclass
class Forecast:
    """total: iterations of the whole training. start: those done before. evaluate_every: None for
    the end alone.
    """

    total: int
    start: int
    evaluate_every: int | None
    done: int = 0
    evaluation_seconds: float | None = None
    _blocks: list[tuple[int, float]] = field(default_factory=list)  # iterations and their seconds

    @property
    def ready(self) -> bool:
        """Whether enough is measured."""
        return self.done >= WARM_UP + MEASURED

    def iterated(self, seconds: float) -> None:
        """One more iteration, which took so long without an evaluation."""
        self.done += 1
        if self.done <= WARM_UP:
            return
        self._blocks.append((1, seconds))
        if len(self._blocks) > BLOCKS:
            pairs = zip(self._blocks[::2], self._blocks[1::2], strict=False)
            odd = self._blocks[-1:] if len(self._blocks) % 2 else []
            self._blocks = [(m + n, a + b) for (m, a), (n, b) in pairs] + odd

    def evaluated(self, seconds: float) -> None:
        """An evaluation took so long, its pictures and checkpoint included."""
        self.evaluation_seconds = seconds

    @property
    def pace(self) -> float:
        """Seconds an iteration takes by now."""
        return self._line()[0]

    def rest(self, ahead: int = 0) -> int:
        """The iterations that are left, but for so many that are done and not yet measured."""
        return max(self.total - self.start - self.done - ahead, 0)

    def left(self, ahead: int = 0) -> float:
        """Seconds for the rest and its evaluations; of these only where one was measured."""
        pace, growth = self._line()
        rest, grows = self.rest(ahead), min(self.rest(ahead), self.done)
        if grows:
            growth = max(-pace / 2 / grows, min(growth, pace / grows))
        evaluating = self._evaluations(rest) * (self.evaluation_seconds or 0.0)
        return pace * rest + growth * grows * (rest - grows / 2) + evaluating

    def _evaluations(self, rest: int) -> int:
        """How many are in the rest; the last iteration is always followed by one."""
        if not rest or self.evaluate_every is None:
            return min(rest, 1)
        return -(-self.total // self.evaluate_every) - (self.total - rest) // self.evaluate_every

    def _line(self) -> tuple[float, float]:
        """The pace at the last iteration, and what it grows by in each."""
        last: list[tuple[float, int, float]] = []  # how long ago, iterations, seconds each
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
