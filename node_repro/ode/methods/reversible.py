"""Algebraically reversible methods: explicit methods, coupled so that a step can be inverted.

An explicit Runge-Kutta method with increment Psi_h(t, y) is coupled with itself through a second
state z, the twin, which starts as y (McCallum, Foster 2024: Efficient, accurate and stable
gradients for neural ODEs, eq. (5)):

    y1 = l y + (1 - l) z + Psi_h(t, z)         z = z1 + Psi_{-h}(t1, y1)
    z1 = z - Psi_{-h}(t1, y1)                  y = (y1 - (1 - l) z - Psi_h(t, z)) / l

The order is that of Psi. Inverting n steps multiplies rounding errors by up to l^-n. For y' = -k y
the difference y - z grows by l e^{kh} in a step, so where a solution is damped by e^{-K} in all,
errors grow by up to e^K: these methods are for problems with little damping. The error estimate is
that of Psi plus the growth of the difference in the step, so that with stronger damping the steps
shrink until the solve fails.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from node_repro.ode.methods import Carry, Field, Linear, Rate, Slope, State, Step, Time, to_device
from node_repro.ode.methods.dopri5 import DOPRI5
from node_repro.ode.methods.explicit import BOSH3, RK4
from node_repro.ode.methods.runge_kutta import ExplicitRungeKutta
from node_repro.ode.methods.tsit5 import TSIT5
from node_repro.ode.solution import SolverError, Stats

COUPLING = 0.999


@dataclass(frozen=True)
class Coupled:
    """An explicit method made reversible; each step costs two steps of the explicit method.

    Args:
        method: The explicit method.
        coupling: l in (0, 1]; below 1 it damps the difference of the two states.

    Raises:
        SolverError: coupling is out of its range (kind bad_input).

    References:
        McCallum, Foster: Efficient, accurate and stable gradients for neural ODEs, 2024.

    Examples:
        >>> import torch
        >>> from node_repro import ode
        >>> y0 = torch.ones(2, dtype=torch.float64, requires_grad=True)
        >>> solution = ode.odeint(
        ...     lambda t, y: torch.sin(t) * y,
        ...     y0,
        ...     torch.tensor([0.0, 1.0]),
        ...     solver=ode.fixed(ode.Coupled(ode.RK38), step_size=0.1),
        ...     gradient=ode.Reversible(),
        ...     parameters=(),
        ... )
        >>> solution.ys[-1].sum().backward()
        >>> torch.allclose(y0.grad, solution.ys[-1].detach())
        True
    """

    method: ExplicitRungeKutta
    coupling: float = COUPLING

    def __post_init__(self) -> None:
        if not 0 < self.coupling <= 1:
            raise SolverError("bad_input", f"coupling must lie in (0, 1], not {self.coupling}")

    @property
    def name(self) -> str:
        return f"reversible_{self.method.name}"

    @property
    def order(self) -> int:
        return self.method.order

    @property
    def dense_order(self) -> int:
        return self.method.dense_order

    @property
    def error_order(self) -> int:
        return self.method.error_order

    @property
    def adaptive(self) -> bool:
        return self.method.adaptive

    def init(self, f: Field, t: Time, y: Tensor, twin: Tensor | None = None) -> Carry:
        z = y if twin is None else twin
        return Carry(self.method.init(f, t, z).slope, z)

    def step(
        self, f: Field, t: Time, t1: Time, state: State, carry: Carry, *, advance_only: bool = False
    ) -> Step:
        y, z = state.y, carry.twin
        assert z is not None
        ahead = self.method.step(
            f, t, t1, State(z, state.integrals), Carry(carry.slope), advance_only=advance_only
        )
        y1 = ahead.end.y + self.coupling * (y - z)
        z1 = z - self._back(f, t, t1, y1)
        error = ahead.error
        if error is not None:
            with torch.no_grad():  # include the drift of the two states
                error = State(error.y + (y1 - z1) - (y - z), error.integrals)
        # the difference of the states makes the dense output start at y and end at y1
        apart = (y - z, (self.coupling - 1.0) * (y - z))
        return Step(State(y1, ahead.end.integrals), error, Carry(twin=z1), (*ahead.stages, *apart))

    def unstep(
        self, f: Field, t: Time, t1: Time, y1: Tensor, twin1: Tensor
    ) -> tuple[Tensor, Tensor]:
        z = twin1 + self._back(f, t, t1, y1)
        return z + (y1 - self._end(f, t, t1, z)) / self.coupling, z

    def interpolate(self, y: Tensor, h: Time, stages: tuple[Tensor, ...], x: Tensor) -> Tensor:
        """The dense output of the method along z, shifted by the difference of the states."""
        *slopes, apart, change = stages
        z = y - apart
        along = to_device(x, y).reshape(-1, *(1 for _ in y.shape))
        return self.method.interpolate(z, h, tuple(slopes), x) + apart + along * change

    def rate(self, h: Time, stages: tuple[Tensor, ...], x: Tensor) -> Tensor:
        *slopes, _, change = stages
        each = 1.0 / h
        return self.method.rate(h, tuple(slopes), x) + (
            change * (to_device(each, change) if isinstance(each, Tensor) else each)
        )

    def _back(self, f: Field, t: Time, t1: Time, y1: Tensor) -> Tensor:
        """Psi_{-h}(t1, y1)."""
        return self._end(f, t1, t, y1) - y1

    def _end(self, f: Field, t: Time, t1: Time, y: Tensor) -> Tensor:
        """y + Psi_h(t, y) for h = t1 - t."""
        plain = _WithoutIntegrands(f)
        carry = self.method.init(plain, t, y)
        carry = Carry(Slope(carry.slope.dy)) if carry.slope else carry
        return self.method.step(plain, t, t1, State(y), carry, advance_only=True).end.y


@dataclass(frozen=True)
class _WithoutIntegrands:
    """A field without its integrands."""

    field: Field

    def __call__(self, t: Time, y: Tensor, *, integrands: bool) -> Slope:
        return self.field(t, y, integrands=False)

    def at_times(self, times: Sequence[Time], like: Tensor) -> Sequence[Rate]:
        return [partial(self._slope, rate) for rate in self.field.at_times(times, like)]

    def jacobian(self, t: Time, y: Tensor) -> Linear:
        return self.field.jacobian(t, y)

    @property
    def vjps(self) -> Stats | None:
        return self.field.vjps

    def _slope(self, rate: Rate, y: Tensor, *, integrands: bool) -> Slope:
        return rate(y, integrands=False)


REVERSIBLE_RK4 = Coupled(RK4)
REVERSIBLE_BOSH3 = Coupled(BOSH3)
REVERSIBLE_DOPRI5 = Coupled(DOPRI5)
REVERSIBLE_TSIT5 = Coupled(TSIT5)
