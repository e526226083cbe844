"""Reversible Heun (Kidger, Foster, Li, Lyons 2021: Efficient and accurate gradients for neural
SDEs, algorithm 1, without noise): order 2, one evaluation of f per step.

    z1 = 2 y - z + h f(t, z)          y1 = y + h/2 (f(t, z) + f(t1, z1))

where z is the twin, which starts as y. The same formulas with -h invert a step.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from node_repro.ode.methods import Carry, Field, State, Step, Time, to_device
from node_repro.ode.methods.runge_kutta import combine


@dataclass(frozen=True)
class ReversibleHeun:
    """Reversible Heun.

    The error estimate is the difference to a step of Euler's method, as in Kidger et al. The dense
    output is the parabola with both slopes, of order 2.

    References:
        Kidger, Foster, Li, Lyons: Efficient and accurate gradients for neural SDEs, 2021.

    Examples:
        >>> from node_repro import ode
        >>> solver = ode.fixed(ode.REVERSIBLE_HEUN, step_size=0.1)
    """

    name: str = "reversible_heun"
    order: int = 2
    dense_order: int = 2
    error_order: int = 2
    adaptive: bool = True

    def init(self, f: Field, t: Time, y: Tensor, twin: Tensor | None = None) -> Carry:
        z = y if twin is None else twin
        return Carry(f(t, z, integrands=True), z)

    def step(
        self, f: Field, t: Time, t1: Time, state: State, carry: Carry, *, advance_only: bool = False
    ) -> Step:
        y, z, k, h = state.y, carry.twin, carry.slope, t1 - t
        assert z is not None and k is not None
        z1 = combine(2.0 * y - z, h, (1.0,), (k.dy,))
        k1 = f(t1, z1, integrands=True)
        y1 = combine(y, h, (0.5, 0.5), (k.dy, k1.dy))
        pairs = zip(state.integrals, k.integrands, k1.integrands, strict=False)
        integrals = tuple(q + combine(None, h, (0.5, 0.5), (a, b)) for q, a, b in pairs)
        error = None
        if not advance_only:
            with torch.no_grad():  # the choice of the step is not differentiated
                changes = zip((k.dy, *k.integrands), (k1.dy, *k1.integrands), strict=True)
                dy, *qs = (combine(None, h, (-0.5, 0.5), pair) for pair in changes)
                error = State(dy, tuple(qs))
        return Step(State(y1, integrals), error, Carry(k1, z1), (k.dy, k1.dy))

    def unstep(
        self, f: Field, t: Time, t1: Time, y1: Tensor, twin1: Tensor
    ) -> tuple[Tensor, Tensor]:
        carry = self.init(f, t1, y1, twin1)
        undone = self.step(f, t1, t, State(y1), carry, advance_only=True)
        assert undone.carry.twin is not None
        return undone.end.y, undone.carry.twin

    def interpolate(self, y: Tensor, h: Time, stages: tuple[Tensor, ...], x: Tensor) -> Tensor:
        x = x.reshape(-1, *(1 for _ in y.shape))
        k, k1 = stages
        return y + to_device(x * h, y) * k + to_device(x * x * (h / 2), y) * (k1 - k)

    def rate(self, h: Time, stages: tuple[Tensor, ...], x: Tensor) -> Tensor:
        k, k1 = stages
        return k + to_device(x, k).reshape(-1, *(1 for _ in k.shape)) * (k1 - k)


REVERSIBLE_HEUN = ReversibleHeun()
