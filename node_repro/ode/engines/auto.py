"""The choice between the eager and the compiled engine by measured times.

Compiling takes seconds for every kind of solve and makes each later one shorter. How many solves
follow is not known here, so one is compiled when its eager solves have taken as long as compiling
takes. This is the rule of the ski rental problem: whenever the solves end, they have taken at most
about twice as long as with the better engine from the start. A training knows how many iterations
are left and chooses before its first one (`training/engine.py`), by `Auto.using`.
"""

import time
from collections import deque
from collections.abc import Hashable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from statistics import median
from typing import Annotated

from annotated_types import Gt
from torch import Tensor

from node_repro.ode.engines import Engine, SolveOptions, Stepper, Trajectory
from node_repro.ode.engines.compiled import Compiled
from node_repro.ode.engines.eager import Eager
from node_repro.ode.methods import Field, State

COMPILE_SECONDS = 15.0  # that compiling one kind of solve typically takes
SAMPLES = 5  # measured times of each engine, of which the medians are compared


@dataclass
class _Account:
    """The times of one kind of solve.

    Attributes:
        spent: Seconds in the eager engine.
        eager: Seconds of an attempted step in its last solves.
        compiled: The same in the compiled engine, without the solve that compiled.
        compiling: Whether the next solve of the compiled engine is its first one.
    """

    spent: float = 0.0
    eager: deque[float] = field(default_factory=lambda: deque(maxlen=SAMPLES))
    compiled: deque[float] = field(default_factory=lambda: deque(maxlen=SAMPLES))
    compiling: bool = True

    def compiles(self, compile_seconds: float) -> bool:
        """Whether the next solve is compiled."""
        if self.spent < compile_seconds:
            return False
        return len(self.compiled) < SAMPLES or median(self.compiled) < median(self.eager)

    def add(self, seconds: float, steps: int, *, compiled: bool) -> None:
        """Add the time of one solve."""
        if not compiled:
            self.spent += seconds
            self.eager.append(seconds / steps)
        elif self.compiling:
            self.compiling = False
        else:
            self.compiled.append(seconds / steps)


@dataclass(eq=False)
class Auto:
    """Eager until compiling pays, then the faster of the two engines.

    Every kind of solve (method, controller, shape and type of the state) is timed. Once its eager
    solves have taken as long as compiling typically does, it is compiled, and from then on the
    faster engine is used. The results of the two engines agree to rounding.

    Args:
        compile_seconds: The time that compiling one kind of solve is expected to take.
        compiled: The engine for solves that are worth compiling.

    Attributes:
        engine: The engine of all solves; None to choose one for each kind of solve.

    Examples:
        >>> import torch
        >>> from node_repro import ode
        >>> solver = ode.dopri5(rtol=1e-6, atol=1e-6, engine=ode.Auto(compile_seconds=60))
        >>> ts = torch.tensor([0.0, 1.0])
        >>> ys, stats = ode.odeint(  # a short solve, which is not compiled
        ...     lambda t, y: -y, torch.ones(1), ts, solver=solver, gradient=ode.Direct()
        ... )
        >>> torch.allclose(ys[-1], torch.exp(-ts[-1]))
        True
    """

    compile_seconds: Annotated[float, Gt(0)] = COMPILE_SECONDS
    compiled: Engine = field(default_factory=Compiled)
    engine: Engine | None = field(default=None, init=False, repr=False)

    def __post_init__(self) -> None:
        self._eager = Eager()
        self._accounts: dict[Hashable, _Account] = {}

    @contextmanager
    def using(self, engine: Engine | None) -> Iterator[None]:
        """Inside the block, run all solves by one engine; None to choose one for each kind."""
        before, self.engine = self.engine, engine
        try:
            yield
        finally:
            self.engine = before

    def integrate(
        self, stepper: Stepper, f: Field, state: State, ts: Tensor, options: SolveOptions
    ) -> Trajectory:
        """See Engine.integrate."""
        if self.engine is not None:
            return self.engine.integrate(stepper, f, state, ts, options)
        account = self._account(stepper, state.y)
        compiled = account.compiles(self.compile_seconds)
        began = time.perf_counter()
        engine = self.compiled if compiled else self._eager
        trajectory = engine.integrate(stepper, f, state, ts, options)
        attempted = trajectory.stats.accepted + trajectory.stats.rejected
        account.add(time.perf_counter() - began, max(attempted, 1), compiled=compiled)
        return trajectory

    def next(self, stepper: Stepper, y: Tensor) -> Engine:
        """The engine of the next solve from a state like y."""
        if self.engine is not None:
            return self.engine
        compiled = self._account(stepper, y).compiles(self.compile_seconds)
        return self.compiled if compiled else self._eager

    def _account(self, stepper: Stepper, y: Tensor) -> _Account:
        kind = stepper.method.name, type(stepper.controller), y.shape, y.dtype, y.device
        return self._accounts.setdefault(kind, _Account())


def next_engine(engine: Engine, stepper: Stepper, y: Tensor) -> Engine:
    """The engine of a solver's next solve from a state like y; an Auto chooses one."""
    return engine.next(stepper, y) if isinstance(engine, Auto) else engine
