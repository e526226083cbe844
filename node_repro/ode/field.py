"""Vector fields: checks and counts of the evaluations of the user's f(t, y)."""

import contextlib
import copy
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple, Self

import torch
from torch import Tensor

from node_repro.ode.methods import Field, Linear, Rate, Slope, Time, at
from node_repro.ode.methods.jacobian import Jacobian
from node_repro.ode.solution import SolverError, Stats

VectorField = Callable[[Tensor, Tensor], Tensor]
"""f(t, y) -> dy/dt, with t a scalar in the real dtype of y, and y of shape (*S).

f returns a new tensor in each call, and does not change y. If its parameters are functions of time,
it may have a method `at_times(ts)`, ts (m,), that returns f at each of these times as a function of
y alone; a step then calls it once for all of its stages.
"""


def at_times(f: VectorField, times: Sequence[Tensor]) -> list[VectorField]:
    """f for each of several times; each function may be called with its own time only."""
    together = getattr(f, "at_times", None)
    if together is None or not times:
        return [f] * len(times)
    return [partial(_at_its_time, rate) for rate in together(torch.stack(tuple(times)))]


def _at_its_time(rate: Callable[[Tensor], Tensor], t: Tensor, y: Tensor) -> Tensor:
    return rate(y)


class Wrapper:
    """A vector field that calls another function, the attribute f."""

    f: Any

    def around(self, f: Any) -> Self:  # noqa: ANN401
        """The same wrapper around another function."""
        wrapper = copy.copy(self)
        wrapper.f = f
        return wrapper


class Interval(NamedTuple):
    """The smallest and largest number of a dtype between two times, as Python floats."""

    low: float
    high: float

    @classmethod
    def between(cls, t0: float, t1: float, dtype: torch.dtype) -> "Interval":
        """The interval from t0 to t1 with its ends rounded inwards.

        The ends are unchanged if no number of the dtype lies between them.
        """
        low, high = min(t0, t1), max(t0, t1)
        if dtype is torch.float64:
            return cls(low, high)
        ends = torch.tensor((low, high), dtype=torch.float64)
        inner = ends.to(dtype)
        beyond = torch.stack((inner[0] < ends[0], inner[1] > ends[1]))
        inner = torch.where(beyond, torch.nextafter(inner, inner.flip(0)), inner)
        a, b = inner.tolist()
        return cls(a, b) if low <= a <= b <= high else cls(low, high)

    def clip(self, t: Time) -> Time:
        """The nearest time in the interval; its derivative with respect to t is 1."""
        value = t.item() if isinstance(t, Tensor) else t
        inside = min(max(value, self.low), self.high)
        return t if inside == value else t + (inside - value)


def count_changes(x: Tensor) -> int:
    """The number of in-place changes of a tensor; 0 under torch.inference_mode()."""
    return 0 if x.is_inference() else x._version


def evaluate(f: VectorField, t: Tensor, y: Tensor) -> Tensor:
    """Evaluate f(t, y) and check the result.

    Raises:
        SolverError: f changes y, or does not return a tensor like y (kind bad_input).
    """
    version = count_changes(y)
    try:
        dy = f(t, y)
    except Exception as error:
        with contextlib.suppress(RuntimeError):  # t cannot be read after a GPU error
            error.add_note(f"in the vector field at t = {float(t):g}, y of shape {tuple(y.shape)}")
        raise
    if count_changes(y) != version:
        raise SolverError(
            "bad_input", "f changes y in place: return a new tensor and leave y unchanged"
        )
    if not isinstance(dy, Tensor):
        raise SolverError("bad_input", f"f must return a tensor like y, not {type(dy).__name__}")
    if dy.shape != y.shape or dy.dtype != y.dtype or dy.device != y.device:
        raise SolverError(
            "bad_input",
            f"f must return a tensor like y: y has shape {tuple(y.shape)}, {y.dtype} on "
            f"{y.device}, and f returned shape {tuple(dy.shape)}, {dy.dtype} on {dy.device}",
        )
    return dy


Evaluate = Callable[[VectorField, Tensor, Tensor], Tensor]


def jacobian(f: VectorField, t: Time, y: Tensor) -> Jacobian:
    """df/dy at (t, y), from one evaluation of f."""
    with torch.inference_mode(False), torch.enable_grad():
        z = (y.clone() if y.is_inference() else y.detach()).requires_grad_()
        return Jacobian(evaluate(f, at(t, z), z), z, Stats())


class Plain:
    """A field without integrands.

    Args:
        f: The user's function.
        vjps: Counts the vector-Jacobian products through f in a later backward pass.
        evaluate: Evaluates f: (f, t, y) -> dy/dt.
    """

    def __init__(
        self, f: VectorField, vjps: Stats | None = None, evaluate: Evaluate = evaluate
    ) -> None:
        self.f, self.vjps, self.evaluate = f, vjps, evaluate

    def __call__(self, t: Time, y: Tensor, *, integrands: bool) -> Slope:
        return self._slope(self.f, at(t, y), y, integrands=integrands)

    def at_times(self, times: Sequence[Time], like: Tensor) -> Sequence[Rate]:
        ts = [at(t, like) for t in times]
        fields = at_times(self.f, ts)
        return [partial(self._slope, f, t) for f, t in zip(fields, ts, strict=True)]

    def jacobian(self, t: Time, y: Tensor) -> Linear:
        return jacobian(self.f, t, y)

    def around(self, f: VectorField) -> "Plain":
        """The same field around another function."""
        return Plain(f, self.vjps, self.evaluate)

    def _slope(self, f: VectorField, t: Tensor, y: Tensor, *, integrands: bool) -> Slope:
        dy = self.evaluate(f, t, y)
        if dy.requires_grad and not torch.is_grad_enabled():  # f enabled gradients itself
            dy = dy.detach()
        if self.vjps is not None and dy.requires_grad:
            if dy.is_leaf:  # a parameter: a hook on it would persist
                dy = dy.view_as(dy)
            dy.register_hook(partial(_count, self.vjps))
        return Slope(dy)


def _count(stats: Stats, cotangent: Tensor) -> None:
    """A hook that does not refer to f, which autograd's graph would keep alive."""
    stats.nvjp += 1


class Counted:
    """A field that counts its evaluations and calls f only within a time span.

    A time rounded to the dtype of y may lie outside of the span, where f need not be defined. It
    is replaced by the nearest number of that dtype within the span.

    Args:
        field: The field to evaluate.
        stats: Counts the evaluations in nfe.
        span: The first and the last time.

    Attributes:
        first: The value of the first evaluation.
    """

    def __init__(self, field: Field, stats: Stats, span: tuple[float, float]) -> None:
        self.field, self.stats, self.span = field, stats, span
        self.first: Tensor | None = None
        self._interval: Interval | None = None
        self._last: tuple[Tensor, int] | None = None

    def __call__(self, t: Time, y: Tensor, *, integrands: bool) -> Slope:
        return self._counted(partial(self.field, self._clip(t, y)), y, integrands=integrands)

    def at_times(self, times: Sequence[Time], like: Tensor) -> Sequence[Rate]:
        inside = [self._clip(t, like) for t in times]
        return [partial(self._counted, rate) for rate in self.field.at_times(inside, like)]

    def jacobian(self, t: Time, y: Tensor) -> Linear:
        self.stats.nfe += 1
        linear = self.field.jacobian(self._clip(t, y), y)
        linear.count_into(self.stats)
        return linear

    @property
    def vjps(self) -> Stats | None:
        return self.field.vjps

    def _clip(self, t: Time, y: Tensor) -> Time:
        if self._interval is None:
            self._interval = Interval.between(*self.span, y.dtype.to_real())
        return self._interval.clip(t)

    def _counted(self, rate: Rate, y: Tensor, *, integrands: bool) -> Slope:
        self.stats.nfe += 1
        slope = rate(y, integrands=integrands)
        if self._last is not None and count_changes(self._last[0]) != self._last[1]:
            raise SolverError(
                "bad_input",
                "f writes into a tensor that it returned before: return a new tensor in each call",
            )
        self._last = slope.dy, count_changes(slope.dy)
        if self.first is None:
            self.first = slope.dy
        return slope


def trained_parameters(f: VectorField) -> tuple[Tensor, ...] | None:
    """The parameters of a module that require a gradient; None if f is not a module."""
    if isinstance(f, torch.nn.Module):
        return tuple(p for p in f.parameters() if p.requires_grad)
    return None


def untrained_parameters(f: VectorField) -> tuple[Tensor, ...]:
    """The parameters of a module that require no gradient."""
    if isinstance(f, torch.nn.Module):
        return tuple(p for p in f.parameters() if not p.requires_grad)
    return ()
