"""The functions of torch that step-size rules use, for Python floats.

A rule is written once, with the functions of `namespace(x)`: floats in the eager engine, where a
tensor for every number would take longer than the rest of a small step, and scalar tensors in a
compiled loop. As in torch, both choices of `where` are evaluated.
"""

import math
import sys
from types import ModuleType
from typing import Any, TypeVar

import torch
from torch import Tensor

Value = TypeVar("Value")


def namespace(x: float | Tensor) -> Any:  # noqa: ANN401
    """torch for a tensor, and this module for a number."""
    return _FLOATS if isinstance(x, float | int) else torch


def where(condition: bool, a: Value, b: Value) -> Value:
    """a if the condition holds, or else b."""
    return a if condition else b


def clip(x: float, low: float, high: float = math.inf) -> float:
    """The nearest number to x in [low, high]; NaN stays NaN."""
    return low if x < low else high if x > high else x


def maximum(a: float, b: float) -> float:
    """The larger of two numbers; NaN if one is."""
    return b if b > a or b != b else a


def minimum(a: float, b: float) -> float:
    """The smaller of two numbers; NaN if one is."""
    return b if b < a or b != b else a


def full_like(x: float, value: float) -> float:
    """The value."""
    return value


def logical_not(condition: bool) -> bool:
    """Whether the condition does not hold."""
    return not condition


copysign, isfinite, isnan = math.copysign, math.isfinite, math.isnan

_FLOATS: ModuleType = sys.modules[__name__]
