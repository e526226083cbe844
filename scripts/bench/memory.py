"""Memory for the backward pass against evaluations of f: dopri5 at tolerances from 1e-2 on.

f is a small network of (t, y) on 256 states of 16 numbers in float64, solved from t = 0 to 2. Two
numbers for each solve and its backward pass:

    saved        the largest number of bytes that autograd holds at a time, parameters left out
                 (`SavedBytes`)
    allocated    the largest number of bytes that torch's CPU allocator has given out at a time,
                 which includes what a compiled loop holds; from torch.profiler

Nothing is timed.
"""

import gc
from collections.abc import Callable
from typing import Any

import torch
import torchdiffeq
from torch import Tensor, nn
from torch.profiler import ProfilerActivity, profile

from bench.setting import Record, Setting, solver, warned
from node_repro import ode
from node_repro.ode.gradients import GradientMethod
from node_repro.runs.meters import SavedBytes

TOLERANCES = (1e-1, 1e-4, 1e-7, 1e-10, 2e-13)
TIMES = torch.tensor([0.0, 2.0], dtype=torch.float64)
REVERSIBLE = ode.Coupled(ode.DOPRI5)
OURS: dict[str, tuple[str, ode.Method, GradientMethod]] = {
    f"{prefix}, {name}": (engine, method, gradient)
    for prefix, engine in (("ours", "eager"), ("ours compiled", "compiled"))
    for name, method, gradient in (
        ("adjoint", ode.DOPRI5, ode.Adjoint()),
        ("reversible", REVERSIBLE, ode.Reversible()),
        ("checkpointed", ode.DOPRI5, ode.Checkpointed()),
        ("direct", ode.DOPRI5, ode.Direct()),
    )
    if (engine, name) != ("compiled", "direct")
}
PEERS = {
    "torchdiffeq, backprop": torchdiffeq.odeint,
    "torchdiffeq, adjoint": torchdiffeq.odeint_adjoint,
}


class Field(nn.Module):
    """tanh(W [cos 5t, sin 5t, y]) with 32 units."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.inner, self.outer = nn.Linear(18, 32), nn.Linear(32, 16)

    def forward(self, t: Tensor, y: Tensor) -> Tensor:
        clock = torch.stack((torch.cos(5 * t), torch.sin(5 * t))).expand(len(y), 2)
        return self.outer(torch.tanh(2 * self.inner(torch.cat((clock, y), dim=1))))


Solve = Callable[[nn.Module, Tensor, float], tuple[Tensor, int | None]]
"""(f, y0, tolerance) -> the state at the end, and the evaluations of f if they are known."""


def ours(name: str) -> Solve:
    engine, method, gradient = OURS[name]

    def solve(f: nn.Module, y0: Tensor, tolerance: float) -> tuple[Tensor, int | None]:
        by = solver(method, tolerance, tolerance, engine)
        ys, stats = ode.odeint(f, y0, TIMES, solver=by, gradient=gradient)
        return ys[-1], stats.nfe

    return solve


def theirs(name: str) -> Solve:
    def solve(f: nn.Module, y0: Tensor, tolerance: float) -> tuple[Tensor, int | None]:
        ys = PEERS[name](f, y0, TIMES, rtol=tolerance, atol=tolerance, method="dopri5")
        assert isinstance(ys, Tensor)
        return ys[-1], None

    return solve


def used(solve: Solve, tolerance: float, *, warm: bool) -> dict[str, Any]:
    """A row: evaluations, saved and allocated bytes. warm: compiled code is made before."""
    f = Field().double()
    y0 = torch.randn(256, 16, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    y0.requires_grad_()
    calls: list[int] = []
    nfe: list[int | None] = []
    saved = SavedBytes(exclude=[*f.parameters(), TIMES])

    def work() -> None:
        y, known = solve(f, y0, tolerance)
        nfe.append(known or len(calls))
        y.square().sum().backward()

    if warm:
        work()
    hook = f.register_forward_pre_hook(lambda *_: calls.append(1)) if not warm else None
    with saved:
        peak = allocated(work)
    if hook is not None:
        hook.remove()
    return {"tolerance": tolerance, "nfe": nfe[-1], "saved": saved.peak_bytes, "allocated": peak}


def allocated(work: Callable[[], object]) -> int:
    """The largest number of bytes allocated at a time beyond those at the start."""
    gc.collect()
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as record:
        work()
    assert record.profiler is not None and record.profiler.kineto_results is not None
    events = record.profiler.kineto_results.events()
    changes = sorted(
        (event.start_ns(), event.nbytes())  # pyright: ignore[reportAttributeAccessIssue]
        for event in events
        if event.name() == "[memory]"
    )
    held = peak = 0
    for _, change in changes:
        held += change
        peak = max(peak, held)
    return peak


def measured(setting: Setting) -> Record:
    """A case for every gradient method, with a row for every tolerance."""
    torch.set_num_threads(1)
    cases = []
    for name in (*OURS, *PEERS):
        print(f"  {name}", flush=True)
        solve = ours(name) if name in OURS else theirs(name)
        try:
            with warned() as texts:
                rows = [used(solve, tolerance, warm="compiled" in name) for tolerance in TOLERANCES]
        except Exception as error:
            reason = f"{type(error).__name__}: {error}".splitlines()[0]
            cases.append({"contender": name, "not_run": reason})
            continue
        cases.append({"contender": name, "rows": rows, "warnings": texts})
    return {"cases": cases}
