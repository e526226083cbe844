"""A bouncing ball with learned constants: flights between events that are located by the solver.

The end of a flight is the event "the height is that of the floor". Its time and state are
differentiable by the implicit function theorem (Chen, Amos, Nickel 2021), and so is the flight that
follows.
"""

import math
from collections.abc import Iterator, Mapping
from typing import Annotated, NamedTuple

import torch
from annotated_types import Gt, Lt
from torch import Tensor, nn

from node_repro.models import BouncingModel
from node_repro.ode.block import SolvesODE
from node_repro.ode.event import odeint_event
from node_repro.ode.gradients import GradientMethod
from node_repro.ode.odeint import odeint
from node_repro.ode.solution import SolverError, Stats
from node_repro.ode.solver import RungeKutta, Solver

REST = 1e-4  # metres: a ball that would bounce no higher than this stays on the floor
LONGEST = 1e3  # seconds: a ball that needs longer to fall never meets the floor


class Fall(nn.Module):
    """f(t, y) = (v, -gravity) for a state y = (h, v); the logarithm of gravity is learned."""

    def __init__(self, gravity: float) -> None:
        super().__init__()
        self.log_gravity = nn.Parameter(torch.tensor(math.log(gravity)))

    @property
    def gravity(self) -> Tensor:
        """The acceleration downwards, ()."""
        return self.log_gravity.exp()

    def forward(self, t: Tensor, y: Tensor) -> Tensor:
        return torch.stack((y[1], -self.gravity))


class Flight(NamedTuple):
    """A flight from the state y (2,) at time t until the time `end`; times are float64 scalars."""

    t: Tensor
    y: Tensor
    end: Tensor


class BouncingBall(SolvesODE, BouncingModel):
    """A ball with learned gravity, height of the floor and restitution. Balls fly one by one.

    Args:
        gravity: Acceleration downwards before the training.
        floor: Height of the floor before the training.
        restitution: Speed after a bounce over the speed before it, before the training.
        solver: Solver of the flights, a Runge-Kutta method.
        gradient: How flights are differentiated.
    """

    def __init__(
        self,
        *,
        gravity: Annotated[float, Gt(0)],
        floor: float,
        restitution: Annotated[float, Gt(0), Lt(1)],
        solver: Solver,
        gradient: GradientMethod,
    ) -> None:
        super().__init__(solver=solver, gradient=gradient)
        self.f = Fall(gravity)
        self.floor = nn.Parameter(torch.tensor(floor))
        self.logit_restitution = nn.Parameter(torch.tensor(restitution).logit())

    @property
    def restitution(self) -> Tensor:
        """Speed after a bounce over the speed before it, ()."""
        return self.logit_restitution.sigmoid()

    @property
    def constants(self) -> Mapping[str, float]:
        values = {"gravity": self.f.gravity, "floor": self.floor, "restitution": self.restitution}
        return {name: float(value.detach()) for name, value in values.items()}

    def forward(self, y0: Tensor, ts: Tensor) -> Tensor:
        self.stats = Stats()
        return torch.stack([self._states(one, ts) for one in y0], dim=1)

    def bounce_times(self, y0: Tensor, count: int) -> Tensor:
        self.stats = Stats()
        return torch.stack([self._bounces(one, count) for one in y0])

    def _bounces(self, y0: Tensor, count: int) -> Tensor:
        """The times of the first bounces of one ball; the time at which it rests is repeated."""
        flights = self._flights(y0, y0.new_zeros((), dtype=torch.float64), LONGEST)
        times = [flight.end for flight, _ in zip(flights, range(count), strict=False)]
        return torch.stack(times + times[-1:] * (count - len(times))).to(y0.device)

    def _states(self, y0: Tensor, ts: Tensor) -> Tensor:
        """The states (T, 2) of one ball at times ts (T,) from y0 (2,) at ts[0]."""
        states = [y0[None]]
        for t, y, end in self._flights(y0, ts[0], float(ts[-1])):
            inside = ts[(ts > t) & (ts <= end)]
            if len(inside):
                times = torch.cat((t[None], inside))
                ys, stats = odeint(self.f, y, times, solver=self.solver, gradient=self.gradient)
                self.stats.add(stats)
                states.append(ys[1:])
        at_rest = torch.stack((self.floor, torch.zeros_like(self.floor)))
        states.append(at_rest.expand(len(ts) - sum(map(len, states)), 2))
        return torch.cat(states)

    def _flights(self, y: Tensor, t: Tensor, until: float) -> Iterator[Flight]:
        """The flights of one ball up to a time, or until it rests."""
        end, bounced = t, True
        while bounced:
            end, landed, bounced = self._land(y, t, until)
            yield Flight(t, y, end)
            speed = -self.restitution * landed[1]
            if speed.square() < 2 * self.f.gravity * REST:
                return
            t, y = end, torch.stack((self.floor, speed))

    def _land(self, y: Tensor, t: Tensor, until: float) -> tuple[Tensor, Tensor, bool]:
        """The end of a flight: time, state, and whether the ball meets the floor before `until`."""
        if not isinstance(self.solver, RungeKutta):
            name = type(self.solver).__name__
            raise SolverError(
                "bad_input", f"a bouncing ball needs a Runge-Kutta method, not {name}"
            )
        if float(t.detach()) >= until:
            return t, y, False
        landing = odeint_event(
            self.f,
            y,
            t,
            lambda _, y: y[0] - self.floor,
            solver=self.solver,
            gradient=self.gradient,
            limit=until,
            direction=-1,
        )
        self.stats.add(landing.stats)
        return landing.t, landing.y, landing.index is not None
