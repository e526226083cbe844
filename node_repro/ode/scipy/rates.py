"""A field as a function of numpy vectors, as scipy calls it."""

import numpy as np

from node_repro.ode.field import Counted
from node_repro.ode.methods import Field
from node_repro.ode.scipy.flat import Flat, Vector
from node_repro.ode.solution import Stats


class Rates:
    """f as scipy calls it, counted.

    An exception in f is kept, not raised: VODE's compiled code goes on calling when one is set, and
    loses it.

    Attributes:
        fault: The exception that f raised, None if it raised none.
        finite: Whether all values were finite since this was last set.
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
