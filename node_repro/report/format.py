"""Formatting of numbers, common to all formats of the report."""

import math
from collections.abc import Callable, Sequence
from itertools import pairwise

from node_repro.report.statistics import Interval, Pairs, Spread

SUPERSCRIPTS = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")


def format_number(value: float, digits: int | None) -> str:
    """A number with the given number of decimals.

    With digits=None: two or three significant digits, and a power of ten if the number is small
    or large.
    """
    if not math.isfinite(value):
        return minus_sign(str(value)).replace("inf", "∞")
    if digits is not None:
        text = f"{value:,.{digits}f}"
        return minus_sign(text if float(text.replace(",", "")) else text.removeprefix("-"))
    if value == 0 or 1e-2 <= abs(value) < 1e5:
        return minus_sign(f"{value:.3g}")
    text, _, power = f"{value:.1e}".partition("e")
    return f"{minus_sign(text)}·10{str(int(power)).translate(SUPERSCRIPTS)}"


def format_tolerance(value: float) -> str:
    """A tolerance: 1, 0.1 and 0.01 as decimals, smaller ones as a power of ten, "10⁻³"."""
    text, _, power = f"{value:g}".partition("e")
    if value in (1e-3, 1e-4):
        text, power = "1", f"{round(math.log10(value))}"
    if not power:
        return text
    raised = f"10{str(int(power)).translate(SUPERSCRIPTS)}"
    return raised if text == "1" else f"{text}·{raised}"


def format_at(value: float, tolerance: float) -> str:
    """As in "6.2·10⁻⁴ at 10⁻³"."""
    return f"{format_number(value, None)} at {format_tolerance(tolerance)}"


def describe_fall(pairs: Pairs) -> str:
    """Where y falls with the tolerance x, for pairs in the order of x.

    As in "falling throughout" or "not falling from 10⁻³ to 10⁻⁴".
    """
    rises = [
        f"from {format_tolerance(large)} to {format_tolerance(small)}"
        for (small, low), (large, high) in pairwise(pairs)
        if low >= high
    ]
    return f"not falling {format_list(rises[::-1])}" if rises else "falling throughout"


def describe_met(pairs: Pairs, test: Callable[[tuple[float, float]], bool]) -> str:
    """At which tolerances x a test of (x, y) is met, for pairs in the order of x.

    As in "at all 6" or "at 4 of 6, not at 10⁻⁴ and 10⁻⁵".
    """
    missed = [format_tolerance(pair[0]) for pair in reversed(pairs) if not test(pair)]
    if not missed:
        return f"at all {len(pairs)}"
    return f"at {len(pairs) - len(missed)} of {len(pairs)}, not at {format_list(missed)}"


def format_spread(value: Spread, digits: int, unit: str = "") -> str:
    """As in "0.133 ± 0.004 (n = 3)"; the unit stands before the parenthesis."""
    sd = "" if value.sd is None else f" ± {value.sd:.{digits}f}"
    return f"{minus_sign(f'{value.mean:.{digits}f}')}{sd}{unit} (n = {value.n})"


def interval_name(confidence: float) -> str:
    """As in "95 % interval"."""
    return f"{100 * confidence:.3g} % interval"


def format_interval(interval: Interval, digits: int, confidence: float) -> str:
    """As in "95 % interval −0.02 to 0.35"."""
    if not interval.is_bounded:
        return "no interval, a single seed"
    return f"{interval_name(confidence)} {format_ends(interval, digits)}"


def format_ends(interval: Interval, digits: int) -> str:
    """As in "−0.02 to 0.35"."""
    low, high = (format_number(end, digits) for end in interval)
    return f"{low} to {high}"


def minus_sign(text: str) -> str:
    """The text with a minus sign in place of each hyphen."""
    return text.replace("-", "−")


def format_list(words: Sequence[str]) -> str:
    """As in "10⁻³, 10⁻⁴ and 10⁻⁵"."""
    *first, last = words
    return f"{', '.join(first)} and {last}" if first else last


def capitalised(words: str) -> str:
    """The text with its first letter capitalised."""
    return words[:1].upper() + words[1:]
