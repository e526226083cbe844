"""Whole solves as one compiled loop, by torch.compile and torch's while_loop.

One graph serves every solve with the same method, kind of controller, norm, f and shapes: times,
tolerances and step sizes are tensors. Results and decisions are those of the eager engine, up to
rounding.
"""

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from node_repro.ode.controllers.constant import Constant
from node_repro.ode.controllers.integral import Integral
from node_repro.ode.controllers.pi import PI
from node_repro.ode.engines import SolveOptions, Stepper, Trajectory
from node_repro.ode.engines.captured import require_device
from node_repro.ode.engines.compilation import (
    COMPILATIONS,
    INTERRUPTED,
    has_compiler,
    report_once,
)
from node_repro.ode.engines.compiled_solve import Solve
from node_repro.ode.engines.eager import Eager
from node_repro.ode.engines.field_alone import with_compiled_function
from node_repro.ode.engines.parametrized import NotCompilableError
from node_repro.ode.methods import Field, Method, State
from node_repro.ode.methods.reversible import Coupled
from node_repro.ode.methods.reversible_heun import ReversibleHeun
from node_repro.ode.methods.runge_kutta import ExplicitRungeKutta
from node_repro.ode.norm import RmsNorm


@dataclass(frozen=True)
class Compiled:
    """Compiles whole solves: the loop, f and its derivatives become machine code.

    The first solve of every shape takes seconds to compile; the compiled code is stored on disk by
    torch and reused by later processes. Explicit and reversible methods with Integral, PI or
    Constant controllers are compiled as a whole; Direct is replaced by Checkpointed, which gives
    the same gradient. Otherwise f alone is compiled, and without a C++ compiler nothing; a warning
    says so once. f must be a function of tensors that torch.compile can trace.

    Args:
        backend: "inductor" compiles. "graphs", on CUDA devices only, captures the loop as CUDA
            graphs, which takes no compiler and one host read a solve; it needs f to be a function
            of tensors without host reads. "uncompiled" runs the same loop of tensors step by step,
            to look for errors. The graphs of the 16 kinds of solve that were used last are kept,
            each with the memory of one step, of its inputs and of its results.

    Examples:
        >>> import torch
        >>> from node_repro import ode
        >>> engine = ode.Compiled(backend="uncompiled")
        >>> solver = ode.dopri5(rtol=1e-5, atol=1e-5, engine=engine)
        >>> ts = torch.tensor([0.0, 1.0])
        >>> options = {"solver": solver, "gradient": ode.Adjoint(), "parameters": ()}
        >>> ys, stats = ode.odeint(lambda t, y: -y, torch.ones(1), ts, **options)
        >>> torch.allclose(ys[-1], torch.exp(-ts[-1]), rtol=1e-4)
        True
    """

    backend: Literal["inductor", "graphs", "uncompiled"] = "inductor"

    def integrate(
        self, stepper: Stepper, f: Field, state: State, ts: Tensor, options: SolveOptions
    ) -> Trajectory:
        """See Engine.integrate."""
        if self.backend == "graphs":
            require_device(state.y.device)
        if bool((ts == ts[0]).all()):
            return Eager().integrate(stepper, f, state, ts, options)
        try:
            refuse_method(self.backend, stepper.method)
            _refuse(stepper, state, ts, options)
            with torch.no_grad():
                return Solve(self.backend, stepper, f, state, ts, options).run()
        except NotCompilableError as error:
            reason = str(error)
        if self.backend == "inductor" and has_compiler() and not COMPILATIONS.interrupted:
            report_once(f"engine=compiled compiles f alone here: {reason}")
            f = with_compiled_function(f)
        else:
            report_once(f"engine=compiled runs as engine=eager here: {reason}")
        return Eager().integrate(stepper, f, state, ts, options)


def refuse_method(backend: str, method: Method) -> None:
    """Raises NotCompilableError if steps of a method cannot be compiled as a whole."""
    if backend == "inductor" and not has_compiler():
        raise NotCompilableError("there is no C++ compiler (g++ or clang++)")
    if backend == "inductor" and COMPILATIONS.interrupted:
        raise NotCompilableError(INTERRUPTED)
    if not isinstance(method, ExplicitRungeKutta | Coupled | ReversibleHeun):
        raise NotCompilableError(f"{method.name} is not an explicit Runge-Kutta method")


def _refuse(stepper: Stepper, state: State, ts: Tensor, options: SolveOptions) -> None:
    """Raises NotCompilableError with the reason if a solve cannot be compiled as a whole."""
    controller = stepper.controller
    if type(controller) not in (Integral, PI, Constant):
        raise NotCompilableError(
            f"{type(controller).__name__} is not one of the controllers Integral, PI and Constant"
        )
    if stepper.callbacks is not None:
        raise NotCompilableError("callbacks are called at every step")
    if options.watch is not None:
        raise NotCompilableError("events and dense solutions look at every step")
    if not isinstance(options.norm, RmsNorm):
        raise NotCompilableError("the norm is a Python function")
    if torch.is_grad_enabled():
        raise NotCompilableError("autograd differentiates the steps of gradient=direct")
    if state.y.is_complex() or not state.y.numel():
        raise NotCompilableError("the state is complex or empty")
    if options.jump is not None and bool((ts.diff() == 0).any()):
        raise NotCompilableError("two output times are equal")
