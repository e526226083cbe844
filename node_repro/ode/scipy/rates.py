"""Adapter of a field to the function of numpy vectors that scipy calls."""

import numpy as np

from node_repro.ode.field import Counted
from node_repro.ode.methods import Field
from node_repro.ode.scipy.flat import Flat, Vector
from node_repro.ode.solution import Stats


class Rates:
    """The function that scipy calls, with counts.

    An exception of f is stored instead of raised, because VODE's compiled code ignores exceptions
    and continues.

    Attributes:
        fault: The exception that f raised, None if it raised none.
        finite: Whether all values have been finite since it was last set to True.
    """

    def __init__(self, f: Field, flat: Flat, stats: Stats, span: tuple[float, float]) -> None:
        self.f, self.flat = Counted(f, stats, span), flat
        self.integrands = bool(flat.like.integrals)
        self.fault: BaseException | None = None
        self.finite = True

    def __call__(self, t: float, v: Vector) -> Vector:
        if self.fault is None:
            try:
                return self._value(t, v)
            except BaseException as fault:
                self.fault = fault
        return np.full_like(v, np.nan)

    def _value(self, t: float, v: Vector) -> Vector:
        y = self.flat.y(v)
        value = self.flat.vector(*self.f(t, y, integrands=self.integrands))
        self.finite = self.finite and bool(np.isfinite(value).all())
        return value
