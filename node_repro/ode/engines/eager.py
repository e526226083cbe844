"""The reference loop in plain Python; f is never called outside [t0, t1].

Host reads: one an attempted step, up to three for the automatic first one, one at the end.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from node_repro.ode.controllers import Beginning, Controller
from node_repro.ode.engines import (
    Leg,
    Mesh,
    Start,
    StepCallbacks,
    Trajectory,
    Watch,
    at_start,
    interval,
    positions,
)
from node_repro.ode.engines.failure import (
    Failure,
    check_finite,
    shorter,
    too_many,
    too_short,
    underflow,
)
from node_repro.ode.field import Counted
from node_repro.ode.methods import Carry, Field, Method, State
from node_repro.ode.methods.newton import NoConvergence
from node_repro.ode.norm import Norm
from node_repro.ode.solution import Stats

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
        norm: Norm,
        max_steps: int,
        first_step: float | None,
        keep: bool,
        watch: Watch | None,
        callbacks: StepCallbacks | None,
    ) -> Trajectory:
        times: list[float] = ts.tolist()
        t, end = times[0], times[-1]
        attempted, accepted, rejected = callbacks or StepCallbacks()
        stats = Stats()
        f = Counted(f, stats, (t, end))
        seen = _leading(times)
        if seen == len(times) and not ts.requires_grad:
            ys = at_start(state.y, ts, None).clone()
            return Trajectory(ys, state, Carry(), Mesh((t,), ()), (), first_step, stats)
        carry = method.init(f, ts[0] if ts.requires_grad else t, state.y)
        slope = carry.slope
        assert slope is not None
        outputs = [at_start(state.y, ts[:seen], slope.dy if ts.requires_grad else None)]
        if seen == len(times):
            return Trajectory(outputs[0], state, carry, Mesh((t,), ()), (), first_step, stats)
        points, observed, starts, step = [t], [], [], None
        h = first_step
        if h is None:
            h = controller.first(Beginning(f, t, state, slope, end), method, norm)
        if not controller.adaptive and abs(end - t) > abs(h) * max_steps * (1 + SNAP):
            raise too_short(h, end - t, max_steps)
        reach = 1 + (STRETCH if controller.adaptive else SNAP)
        memory, verdict, held = 0.0, None, False
        while t != end:
            if stats.accepted + stats.rejected == max_steps:
                raise too_many(max_steps, end, Failure(t, h, state, step, verdict, controller))
            stretch = 1 + SNAP if verdict is not None and not verdict.accept else reach
            last = abs(h) * stretch >= abs(end - t)
            t1 = end if last else t + h
            smallest = max(ULPS * math.ulp(t), SPAN * abs(end - times[0]))
            if not abs(t1 - t) > smallest and not last:  # NaN too
                raise underflow(Failure(t, h, state, step, verdict, controller))
            t_, t1_ = interval(ts, t, t1, first=len(points) == 1, last=last)
            if attempted is not None:
                attempted(t, state, t1 - t)
            begun = stats.nfe
            try:
                if carry.slope is None:
                    begin = method.init(f, t_, state.y, carry.twin)
                    carry = begin._replace(history=carry.history, newton=carry.newton)
                step = method.step(f, t_, t1_, state, carry)
            except NoConvergence as failed:
                h = shorter(failed, t1 - t, smallest, controller)
                stats.rejected += 1
                if rejected is not None:
                    rejected(t, state, t1 - t)
                carry, held = carry._replace(newton=failed.newton), True
                continue
            except Exception as error:
                tries = stats.accepted + stats.rejected
                error.add_note(
                    f"in step {tries + 1}, from t = {t:g} with h = {t1 - t:g}, at its evaluation "
                    f"{stats.nfe - begun} of f"
                )
                raise
            with torch.no_grad():  # the choice of the steps is not differentiated
                verdict = controller.judge(state, step, t1 - t, method, memory, norm)
            memory = verdict.memory
            if not verdict.accept:
                stats.rejected += 1
                if rejected is not None:
                    rejected(t, state, t1 - t)
                if verdict.h == h:  # a least step that cannot be accepted
                    raise underflow(Failure(t, h, state, step, verdict, controller))
                h, carry = verdict.h, carry._replace(newton=step.carry.newton)
                continue
            if held:  # a step that Newton's iteration found too long is not tried again at once
                verdict, held = verdict._replace(h=min(verdict.h, t1 - t, key=abs)), False
            stats.accept(t1 - t)
            if accepted is not None:
                accepted(t, state, t1 - t)
            inside = (seen, _passed(times, seen, t1, end - times[0]))
            if inside[0] < inside[1]:
                x = positions(ts, inside, t_, t1_)
                outputs.append(method.interpolate(state.y, t1_ - t_, step.stages, x))
            if keep:
                starts.append(Start(state.y, carry.twin, step.solved))
            points.append(t1)
            observed.append(inside)
            kept = step.carry._replace(newton=None)  # matrices, of which a leg has no use
            leg = Leg(t_, t1_, state.y, step._replace(carry=kept))
            # a step cut short by t1 says little against the size that was planned
            h = max(verdict.h, h, key=abs) if last else verdict.h
            seen, t, state, carry = inside[1], t1, step.end, step.carry
            if watch is not None and watch(leg):
                break
        if t == end:
            outputs.append(state.y.unsqueeze(0))
        check_finite(state, t)
        mesh = Mesh(tuple(points), tuple(observed))
        ys = torch.cat(outputs)
        return Trajectory(ys, state, carry, mesh, tuple(starts), h, stats, slope.dy)


def _leading(times: list[float]) -> int:
    """How many times equal the first."""
    return next((i for i, time in enumerate(times) if time != times[0]), len(times))


def _passed(times: list[float], seen: int, t1: float, span: float) -> int:
    """The index of the first time not yet reached at t1; the final time is never passed."""
    sign = math.copysign(1.0, span)
    while seen < len(times) - 1 and sign * (times[seen] - t1) <= 0:
        seen += 1
    return seen
