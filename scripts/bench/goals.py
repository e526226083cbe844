"""The goals P1 to P12: target, what was measured, and whether it is met.

Every number and every reason is computed from the records.
"""

import re
from collections.abc import Callable, Sequence
from statistics import median
from typing import NamedTuple

from bench import reasons
from bench.rows import Records, best, case, fastest, find, growth, ratio, rows_of, step_ratio

MET, NOT_MET, NOT_MEASURED = "met", "not met", "not measured"
EQUAL = ", with an error no larger"


class Check(NamedTuple):
    """One number of a goal and its limit.

    Attributes:
        text: What the number is, with {} in its place.
        value: The number, or None if it was not measured.
        limit: What is allowed.
        at_least: Whether the limit is a lower one.
        otherwise: What stands in the way apart from the number, "" if nothing does.
        note: What else there is to know, in brackets behind the number.
    """

    text: str
    value: float | None
    limit: float
    at_least: bool = True
    otherwise: str = ""
    note: str = ""

    @property
    def verdict(self) -> str:
        if self.value is None:
            return NOT_MEASURED
        kept = self.value >= self.limit if self.at_least else self.value <= self.limit
        return MET if kept and not self.otherwise else NOT_MET

    def __str__(self) -> str:
        notes = "; ".join(one for one in (self.otherwise, self.note) if one)
        if self.value is None:
            what = re.sub(r"\{\}(x| s| times)?", "", self.text).strip(" :+")
            text = f"{what}: {NOT_MEASURED}" if what else NOT_MEASURED
        else:
            text = self.text.format(f"{self.value:.3g}")
        return f"{text} ({notes})" if notes else text


class Goal(NamedTuple):
    """A goal and what the records say of it."""

    name: str
    what: str
    target: str
    checks: Sequence[Check]
    reason: str

    @property
    def verdict(self) -> str:
        """Not met if one number is not; met if all numbers are there and met."""
        verdicts = {check.verdict for check in self.checks}
        if NOT_MET in verdicts:
            return NOT_MET
        return NOT_MEASURED if NOT_MEASURED in verdicts or not verdicts else MET


def _steps(records: Records, size: int, limits: dict[str, float]) -> list[Check]:
    """Times of attempted steps: how many times as long a peer takes."""
    rows = case(records, size, 40.0)
    ours = find(rows, "ours compiled")
    found = []
    for peer, limit in limits.items():
        other = find(rows, peer)
        value = step_ratio(other, ours) if other and ours else None
        text = f"{{}}x {peer} at N = {size:,}"
        errors = f"errors {ours['error']:.1e}, {other['error']:.1e}" if other and ours else ""
        if limit < 1:  # the peer may be faster by this factor
            text, value = f"{{}} times {peer}'s at N = {size:,}", 1 / value if value else None
            found.append(Check(text, value, 1 / limit, False, note=errors))
        else:
            found.append(Check(text, value, limit, note=errors))
    return found


def _iteration(
    records: Records, subject: str, limits: dict[str, float], only: str = ""
) -> list[Check]:
    """Ratios of training iterations at an error no larger than the peer's."""
    rows, checks = rows_of(records, subject), []
    for peer, limit in limits.items():
        found = best(rows, peer, only)
        if found is None:
            checks.append(Check(f"{{}}x {peer}", None, limit))
            continue
        theirs = find(rows, peer)
        assert theirs is not None
        error = f"gradient errors {found.row['gradient_error']:.1e}, {theirs['gradient_error']:.1e}"
        note = f"`{found.row['name']}`, {error}"
        any_error = fastest(rows, "ours") or found.row
        if found.equal and any_error is not found.row:
            note += (
                f"; {ratio(theirs, any_error):.3g}x with `{any_error['name']}`, "
                f"error {any_error['gradient_error']:.1e}"
            )
        otherwise = "" if found.equal else "no gradient of ours has as small an error"
        checks.append(Check(f"{{}}x {peer}", found.ratio, limit, True, otherwise, note))
    return checks


def _reads(records: Records) -> list[Check]:
    rows = [row for row in rows_of(records, "reads") if row["name"] == "ours"]
    ran = [row for row in rows if "not_run" not in row]
    more = max((row["reads"] + row["uploads"] - row["attempted"] for row in ran), default=None)
    theirs = find(rows_of(records, "reads"), "torchdiffeq")
    note = f"torchdiffeq: {theirs['reads'] / theirs['attempted']:.0f} a step" if theirs else ""
    eager = Check("eager: attempted steps + {}", more, 4, False, note=note)
    return [eager]


def _times(records: Records) -> list[Check]:
    checks = []
    for one in records.get("times", {}).get("cases", ()):
        name = one["contender"]
        if not name.startswith("ours") or "adjoint" in name:
            continue
        few, many = find(one["rows"], "20"), find(one["rows"], "2000")
        value = ratio(many, few) if few and many else None
        checks.append(Check(f"{{}}x `{name}`", value, 1.3, False))
    return checks


def _memory(records: Records) -> list[Check]:
    checks = []
    for one in records.get("memory", {}).get("cases", ()):
        name = one["contender"]
        if not name.startswith("ours") or name.split(", ")[1] not in ("adjoint", "reversible"):
            continue
        grown = growth(one, 50)
        if grown is None:
            checks.append(Check(f"{{}}x `{name}`", None, 1.02, False))
            continue
        short = f"only {grown[0]:.0f} times the evaluations" if grown[0] < 50 else ""
        checks.append(Check(f"{{}}x `{name}`", grown[1], 1.02, False, short))
    return checks


def _discrete(records: Records) -> list[Check]:
    checks = []
    for engine in ("eager", "compiled"):
        rows = [row for row in rows_of(records, "discrete") if row["engine"] == engine]
        ran = [row["difference"] for row in rows if "difference" in row]
        left = len(rows) - len(ran)
        otherwise = f"{left} of {len(rows)} not run" if left and ran else ""
        fell = sum(bool(row.get("warnings")) for row in rows)
        note = f"{fell} of {len(rows)} not compiled as a whole" if fell else ""
        checks.append(
            Check(f"{engine}: {{}}", max(ran, default=None), 1e-12, False, otherwise, note)
        )
    return checks


def _commands(records: Records) -> list[Check]:
    rows = rows_of(records, "starts")
    return [
        Check(f"{row['name']}: {{}} s", median(row["seconds"]), 0.6, False)
        for row in rows
        if row["name"] != reasons.EMPTY
    ]


def _evaluations(records: Records) -> list[Check]:
    pairs = records.get("detest", {}).get("pairs", {})
    value = pairs["dopri5 / dopri5"]["end_mean"] if pairs else None
    return [Check("{}x", value, 0.85, False)]


def _second_start(records: Records) -> list[Check]:
    runs = {run["engine"]: run for run in records.get("starts", {}).get("runs", ())}
    compiled = runs.get("compiled", {})
    note = f"the first {compiled['first']:.3g} s" if "first" in compiled else ""
    value = median(compiled["seconds"]) if "seconds" in compiled else None
    return [Check("{} s", value, 4.0, False, note=note)]


Measure = Callable[[Records], list[Check]]
GOALS: dict[str, tuple[str, str, Measure]] = {
    "P1": (
        "solver alone, an attempted step, N = 4 and 4,000",
        "≥ 30x torchdiffeq and torchode at both; ≥ 1.3x diffrax at 4,000; within 8x of it at 4",
        lambda r: (
            _steps(r, 4, {"torchdiffeq": 30, "torchode": 30, "diffrax": 1 / 8})
            + _steps(r, 4000, {"torchdiffeq": 30, "torchode": 30, "diffrax": 1.3})
        ),
    ),
    "P2": (
        "the same, N = 300,000",
        "≥ 20x torchdiffeq, ≥ 4x torchode, ≥ 1.4x diffrax",
        lambda r: _steps(r, 300_000, {"torchdiffeq": 20, "torchode": 4, "diffrax": 1.4}),
    ),
    "P3": ("host reads of a solve", "eager: attempted steps + 4 at most", _reads),
    "P4": (
        "ODE-Net iteration, tolerance 1e-3, adjoint" + EQUAL,
        "≥ 3x torchdiffeq with the same f, ≥ 3.5x as shipped",
        lambda r: _iteration(
            r, "odenet", {"torchdiffeq, same f": 3, "torchdiffeq, its own f": 3.5}, "adjoint"
        ),
    ),
    "P5": (
        "flow iteration, tolerance 1e-5" + EQUAL,
        "≥ 25x torchdiffeq's example, ≥ 1.5x diffrax",
        lambda r: _iteration(r, "flow", {"torchdiffeq, its own f": 25, "diffrax": 1.5}),
    ),
    "P6": (
        "latent-ODE iteration, 100 times" + EQUAL,
        "≥ 30x torchdiffeq's adjoint, ≥ 3x its backprop, ≥ 2x diffrax's recursive checkpoints",
        lambda r: _iteration(
            r,
            "latent",
            {"torchdiffeq, adjoint": 30, "torchdiffeq, backprop": 3, "diffrax, recursive": 2},
        ),
    ),
    "P7": ("discrete backward pass, 2,000 times over 20", "≤ 1.3x", _times),
    "P8": ("peak memory with 50 times the evaluations", "≤ 1.02x", _memory),
    "P9": ("discrete gradients against autograd, float64", "≤ 1e-12", _discrete),
    "P10": ("starting the command line", "≤ 0.6 s", _commands),
    "P11": ("evaluations at equal error over DETEST, default solver", "≤ 0.85x", _evaluations),
    "P12": ("second start of a compiled run, to its first iteration", "≤ 4 s", _second_start),
}


def judged(records: Records) -> list[Goal]:
    """All goals, with a reason where one is not met."""
    found = []
    for name, (what, target, measure) in GOALS.items():
        goal = Goal(name, what, target, measure(records), "")
        if goal.verdict == NOT_MET:
            goal = goal._replace(reason=reasons.reason(name, records))
        elif goal.verdict == NOT_MEASURED:
            goal = goal._replace(reason=reasons.missing(name, records))
        found.append(goal)
    return found
