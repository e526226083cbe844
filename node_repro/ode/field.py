"""From the user's f(t, y) to the field that a method evaluates: checked, and counted by us."""

import contextlib
from collections.abc import Callable, Sequence
from functools import partial

import torch
from torch import Tensor

from node_repro.ode.methods import Field, Rate, Slope
from node_repro.ode.solution import SolverError, Stats

VectorField = Callable[[Tensor, Tensor], Tensor]
"""f(t, y) -> dy/dt, a new tensor each time, y left as it is. t: () in y's real dtype; y: (*S).

An f whose parameters are functions of time may have a method `at_times(ts)`, ts: (m,), that gives f
at each of these times as a function of y: a step asks for all of its stages at once.
"""


def at_times(f: VectorField, times: Sequence[Tensor]) -> list[VectorField]:
    """f for each of some times, to be called at that time only."""
    together = getattr(f, "at_times", None)
    if together is None or not times:
        return [f] * len(times)
    return [partial(_at_its_time, rate) for rate in together(torch.stack(tuple(times)))]


def _at_its_time(rate: Callable[[Tensor], Tensor], t: Tensor, y: Tensor) -> Tensor:
    return rate(y)


def changes(x: Tensor) -> int:
    """How often a tensor was written to; 0 under torch.inference_mode(), which does not count."""
    return 0 if x.is_inference() else x._version


def evaluate(f: VectorField, t: Tensor, y: Tensor) -> Tensor:
    """f(t, y), checked.

    Raises:
        SolverError: f returns something else than a tensor like y (kind bad_input).
    """
    version = changes(y)
    try:
        dy = f(t, y)
    except Exception as error:
        with contextlib.suppress(RuntimeError):  # after a fault on a GPU t cannot be read any more
            error.add_note(f"in the vector field at t = {float(t):g}, y of shape {tuple(y.shape)}")
        raise
    if changes(y) != version:
        raise SolverError(
            "bad_input", "f changes y in place: return a new tensor, leave y as it is"
        )
    if not isinstance(dy, Tensor):
        raise SolverError("bad_input", f"f must return a tensor like y, not {type(dy).__name__}")
    if dy.shape != y.shape or dy.dtype != y.dtype or dy.device != y.device:
        raise SolverError(
            "bad_input",
            f"f must return a tensor like y: y has shape {tuple(y.shape)}, {y.dtype} on "
            f"{y.device}, and f gave shape {tuple(dy.shape)}, {dy.dtype} on {dy.device}",
        )
    return dy


class Plain:
    """A field without integrands. vjps: where the products through f in a later backward count."""

    def __init__(self, f: VectorField, vjps: Stats | None = None) -> None:
        self.f, self.vjps = f, vjps

    def __call__(self, t: Tensor, y: Tensor, *, integrands: bool) -> Slope:
        dy = evaluate(self.f, t, y)
        if self.vjps is not None and dy.requires_grad:
            if dy.is_leaf:  # a parameter itself: a hook on it would stay
                dy = dy.view_as(dy)
            dy.register_hook(self._count)
        return Slope(dy)

    def at_times(self, times: Sequence[Tensor]) -> Sequence[Rate]:
        fields = (Plain(f, self.vjps) for f in at_times(self.f, times))
        return [partial(field, t) for field, t in zip(fields, times, strict=True)]

    def _count(self, cotangent: Tensor) -> None:
        assert self.vjps is not None
        self.vjps.nvjp += 1


class Counted:
    """A field that counts its evaluations into stats.nfe."""

    def __init__(self, field: Field, stats: Stats) -> None:
        self.field, self.stats = field, stats
        self._last: tuple[Tensor, int] | None = None

    def __call__(self, t: Tensor, y: Tensor, *, integrands: bool) -> Slope:
        return self._counted(partial(self.field, t), y, integrands=integrands)

    def at_times(self, times: Sequence[Tensor]) -> Sequence[Rate]:
        return [partial(self._counted, rate) for rate in self.field.at_times(times)]

    def _counted(self, rate: Rate, y: Tensor, *, integrands: bool) -> Slope:
        self.stats.nfe += 1
        slope = rate(y, integrands=integrands)
        if self._last is not None and changes(self._last[0]) != self._last[1]:
            raise SolverError(
                "bad_input",
                "f writes into a tensor that it returned before: return a new one each time",
            )
        self._last = slope.dy, changes(slope.dy)
        return slope


def trained_parameters(f: VectorField) -> tuple[Tensor, ...] | None:
    """The parameters of a module that want a gradient; None where f is no module."""
    if isinstance(f, torch.nn.Module):
        return tuple(p for p in f.parameters() if p.requires_grad)
    return None
