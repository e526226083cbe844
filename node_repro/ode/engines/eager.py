"""The reference loop in plain Python; f is never called outside [t0, t1].

Host reads: one an attempted step, up to three for the automatic first one, one at the end.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from node_repro.ode.controllers import Beginning, Controller, Verdict
from node_repro.ode.engines import (
    Leg,
    Mesh,
    Start,
    Trajectory,
    Watch,
    at_start,
    interval,
    positions,
)
from node_repro.ode.field import Counted
from node_repro.ode.methods import Field, Method, State
from node_repro.ode.norm import RmsNorm
from node_repro.ode.solution import SolverError, Stats, count_non_finite

SNAP = 1e-10  # a step that would stop this close to t1, as a fraction of itself, goes to t1
STRETCH = 0.1  # the same for error-controlled steps: 1.1^5 stays within the safety of 0.9^5
ULPS = 16  # a step of fewer units in the last place of t cannot be told from none
SPAN = 1e-24  # nor can one that is this fraction of the whole span


@dataclass(frozen=True)
class Eager:
    """The Engine that everything else is compared with."""

    def integrate(
        self,
        f: Field,
        state: State,
        ts: Tensor,
        method: Method,
        controller: Controller,
        *,
        norm: RmsNorm,
        max_steps: int,
        first_step: float | None,
        keep: bool,
        watch: Watch | None,
    ) -> Trajectory:
        times: list[float] = ts.tolist()
        t, end = times[0], times[-1]
        stats = Stats()
        f = Counted(f, stats)
        seen = _leading(times)
        if seen == len(times) and not ts.requires_grad:
            ys = at_start(state.y, ts, None).clone()
            return Trajectory(ys, state, None, Mesh((t,), ()), (), first_step, stats)
        carry = method.init(f, ts[0] if ts.requires_grad else t, state.y)
        slope = carry.slope
        assert slope is not None
        outputs = [at_start(state.y, ts[:seen], slope.dy if ts.requires_grad else None)]
        if seen == len(times):
            return Trajectory(outputs[0], state, None, Mesh((t,), ()), (), first_step, stats)
        points, observed, starts = [t], [], []
        h = first_step
        if h is None:
            h = controller.first(Beginning(f, t, state, slope, end), method, norm)
        if not controller.adaptive and abs(end - t) > abs(h) * max_steps * (1 + SNAP):
            raise _too_short(h, end - t, max_steps)
        reach = 1 + (STRETCH if controller.adaptive else SNAP)
        memory, verdict = 0.0, None
        while t != end:
            if stats.accepted + stats.rejected == max_steps:
                raise _too_many(max_steps, t, end, h, verdict)
            last = abs(h) * reach >= abs(end - t)
            t1 = end if last else t + h
            smallest = max(ULPS * math.ulp(t), SPAN * abs(end - times[0]))
            if not abs(t1 - t) > smallest and not last:  # NaN too
                raise _underflow(t, h, state, verdict)
            t_, t1_ = interval(ts, t, t1, first=len(points) == 1, last=last)
            if carry.slope is None:
                carry = method.init(f, t_, state.y, carry.twin)
            step = method.step(f, t_, t1_, state, carry)
            with torch.no_grad():  # the choice of the steps is not differentiated
                verdict = controller.judge(state, step, t1 - t, method, memory, norm)
            memory = verdict.memory
            if not verdict.accept:
                stats.rejected += 1
                if abs(verdict.h) == abs(t1 - t):  # a least step that cannot be accepted
                    raise _underflow(t, h, state, verdict)
                h = verdict.h
                continue
            stats.accept(t1 - t)
            inside = (seen, _passed(times, seen, t1, end - times[0]))
            if inside[0] < inside[1]:
                x = positions(ts, inside, t_, t1_)
                outputs.append(method.interpolate(state.y, t1_ - t_, step.stages, x))
            if keep:
                starts.append(Start(state.y, carry.twin))
            points.append(t1)
            observed.append(inside)
            leg = Leg(t_, t1_, state.y, step)
            # a step cut short by t1 says little against the size that was planned
            h = max(verdict.h, h, key=abs) if last else verdict.h
            seen, t, state, carry = inside[1], t1, step.end, step.carry
            if watch is not None and watch(leg):
                break
        if t == end:
            outputs.append(state.y.unsqueeze(0))
        _check_finite(state, t)
        mesh = Mesh(tuple(points), tuple(observed))
        return Trajectory(torch.cat(outputs), state, carry.twin, mesh, tuple(starts), h, stats)


def _leading(times: list[float]) -> int:
    """How many times equal the first."""
    return next((i for i, time in enumerate(times) if time != times[0]), len(times))


def _passed(times: list[float], seen: int, t1: float, span: float) -> int:
    """The index of the first time not yet reached at t1; the final time is never passed."""
    sign = math.copysign(1.0, span)
    while seen < len(times) - 1 and sign * (times[seen] - t1) <= 0:
        seen += 1
    return seen


def _check_finite(state: State, t: float) -> None:
    if not torch.isfinite(state.y).all():
        raise SolverError(
            "non_finite_state",
            f"{count_non_finite(state.y)} of the state at t = {t:g} are NaN or infinite; take "
            "smaller steps or an adaptive solver, and check the parameters",
            t=t,
        )


def _too_short(h: float, span: float, max_steps: int) -> SolverError:
    return SolverError(
        "max_steps",
        f"a time of {abs(span):g} takes {abs(span / h):.0f} steps of {abs(h):g}, more than "
        f"max_steps = {max_steps}: take a longer step_size or raise max_steps",
        h=h,
    )


def _too_many(
    max_steps: int, t: float, end: float, h: float, verdict: Verdict | None
) -> SolverError:
    ratio = "" if verdict is None else f", error/tolerance {verdict.ratio:.3g}"
    return SolverError(
        "max_steps",
        f"{max_steps} steps were not enough: t = {t:g} of {end:g}, step {h:.3g}{ratio}; the "
        "problem may be stiff or the tolerance too small: raise rtol and atol, or raise max_steps",
        t=t,
        h=h,
    )


def _underflow(t: float, h: float, state: State, verdict: Verdict | None) -> SolverError:
    largest = f"{float(state.y.detach().abs().max()):.3g}"
    if verdict is not None and not math.isfinite(verdict.ratio):
        return SolverError(
            "non_finite_dynamics",
            f"f is not finite beyond t = {t:g}, however small the step (now {h:.3g}); the state "
            f"there is at most {largest}: the solution may blow up, or leave the domain of f",
            t=t,
            h=h,
        )
    return SolverError(
        "dt_underflow",
        f"the step fell to {h:.3g} at t = {t:g}, where the state is at most {largest}; the problem "
        "may be stiff or blow up there: raise rtol and atol, or use float64",
        t=t,
        h=h,
    )
