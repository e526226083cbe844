"""Numbers over seeds, and when two of them differ."""

import math
import statistics
from collections.abc import Iterable, Mapping, Sequence

from node_repro.report import Claim, Spread, Verdict
from node_repro.report.runs import Run

SIGMAS = 2.0


def spread(values: Iterable[float | None]) -> Spread | None:
    """Mean and sample standard deviation of what is there; None of nothing."""
    known = [value for value in values if value is not None]
    if not known:
        return None
    sd = statistics.stdev(known) if len(known) > 1 else None
    return Spread(statistics.mean(known), sd, len(known))


def score(runs: Sequence[Run], name: str, which: str = "selected") -> Spread | None:
    """A test score over runs; which: the "selected" or the "last" model."""
    return spread(found(run.result, which, "test", name) for run in runs)


def trained(runs: Sequence[Run], name: str) -> Spread | None:
    """A mean of the last epoch of training, over runs."""
    return spread(found(run.result, "training", name) for run in runs)


def finding(runs: Sequence[Run], name: str) -> Spread | None:
    """A number of the finished model, over runs."""
    return spread(found(run.result, "findings", name) for run in runs)


def found(content: object, *keys: str) -> float | None:
    """A number inside nested mappings; None where it is not there or no number."""
    for key in keys:
        content = content.get(key) if isinstance(content, Mapping) else None
    if isinstance(content, bool) or not isinstance(content, int | float):
        return None
    return float(content)


def percent(value: Spread | None) -> Spread | None:
    """A share in per cent."""
    return None if value is None else value.times(100)


def binomial(share: float, count: int) -> float:
    """Standard error of a share measured on so many examples."""
    return math.sqrt(share * (1 - share) / count)


def share_error(share: Spread, count: int) -> float:
    """Standard error of a mean share: that of the examples, and that of the seeds, s/sqrt(n)."""
    seeds = 0.0 if share.sd is None else share.sd / math.sqrt(share.n)
    return math.hypot(binomial(share.mean, count), seeds)


def difference_error(*means: Spread) -> float:
    """Standard error of a sum or difference of means over seeds; infinite with a single seed."""
    return math.hypot(*(math.inf if m.sd is None else m.sd / math.sqrt(m.n) for m in means))


def below(text: str, ours: Spread | None, other: Spread | None, unit: str, digits: int) -> Claim:
    """The claim that one number is below another, by two standard errors of the difference."""
    rule = (
        "holds: below by more than 2 s.e. of the difference over seeds; in part: by less, or with "
        "one seed"
    )
    if ours is None or other is None:
        return Claim(text, "not measured", Verdict.OPEN, rule)
    gap = other.mean - ours.mean
    measured = f"{told(ours, digits)} against {told(other, digits)}{unit}"
    clear = gap > SIGMAS * difference_error(ours, other)
    verdict = Verdict.HOLDS if clear else Verdict.PARTLY if gap > 0 else Verdict.FAILS
    return Claim(text, measured, verdict, rule)


def told(value: Spread, digits: int) -> str:
    """As in "0.133 ± 0.004 (n = 3)"."""
    sd = "" if value.sd is None else f" ± {value.sd:.{digits}f}"
    return f"{minus(f'{value.mean:.{digits}f}')}{sd} (n = {value.n})"


def minus(text: str) -> str:
    """A number with a minus sign in place of the hyphen."""
    return text.replace("-", "−")
