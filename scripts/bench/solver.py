"""The solver alone: dopri5 at 1e-6 on f = cos(t) y from y(0) = 1, float32, one thread.

    ours, ours compiled
    torchdiffeq
    torchode       not scripted: its TorchScript path ends in an internal error on this torch
    diffrax        jitted

A time is that of a whole solve, from the call to the state at the end, divided by the attempted
steps. The same number for a solve that is ten times as long shows what is paid once for a solve.
"""

import math
from typing import Any

import torch
import torchdiffeq
from torch import Tensor

from bench.interleaved import Entry, compare
from bench.peers import DIFFRAX, TORCHODE, Program
from bench.program import Contender
from bench.setting import Record, Setting, solver, synchronize
from node_repro import ode

TOLERANCE = 1e-6
CASES = (
    (1, 40.0, 9), (4, 40.0, 9), (4, 400.0, 9), (100, 40.0, 9), (4_000, 40.0, 9), (100_000, 40.0, 7),
    (300_000, 40.0, 5), (1_000_000, 40.0, 3),
)  # fmt: skip
"""Size of the state, end of the solve, rounds."""


def field(t: Tensor, y: Tensor) -> Tensor:
    """cos(t) y."""
    return torch.cos(t) * y


class OnTorch(Contender):
    """What the contenders of this process share."""

    def __init__(self, size: int, end: float, device: torch.device) -> None:
        self.y0, self.device = torch.ones(size, device=device), device
        self.ts = torch.tensor([0.0, end], dtype=torch.float64)

    def error(self, y: Tensor) -> float:
        """The largest error at the end."""
        return float((y.double() - math.exp(math.sin(float(self.ts[-1])))).abs().max())


class Ours(OnTorch):
    """A solve by this project."""

    def __init__(self, engine: str, size: int, end: float, device: torch.device) -> None:
        super().__init__(size, end, device)
        self.solver = solver(ode.DOPRI5, TOLERANCE, TOLERANCE, engine)

    def iterate(self) -> None:
        with torch.no_grad():
            self.solution = ode.odeint(
                field, self.y0, self.ts, solver=self.solver, gradient=ode.Direct(), parameters=()
            )
        synchronize(self.device)

    def report(self) -> dict[str, Any]:
        ys, stats = self.solution
        return {
            "attempted": stats.accepted + stats.rejected,
            "rejected": stats.rejected,
            "nfe": stats.nfe,
            "error": self.error(ys[-1]),
        }


class Observed:
    """The field, counting calls and what torchdiffeq's callbacks say."""

    def __init__(self) -> None:
        self.nfe = self.attempted = self.rejected = 0

    def __call__(self, t: Tensor, y: Tensor) -> Tensor:
        self.nfe += 1
        return field(t, y)

    def callback_step(self, *_: object) -> None:
        self.attempted += 1

    def callback_reject_step(self, *_: object) -> None:
        self.rejected += 1


class Torchdiffeq(OnTorch):
    """A solve by torchdiffeq."""

    def __init__(self, size: int, end: float, device: torch.device) -> None:
        super().__init__(size, end, device)
        self.ts = self.ts.to(self.y0)

    def iterate(self) -> None:
        self.solve(field)
        synchronize(self.device)

    def solve(self, f: Any) -> Tensor:  # noqa: ANN401
        with torch.no_grad():
            found = torchdiffeq.odeint(
                f, self.y0, self.ts, rtol=TOLERANCE, atol=TOLERANCE, method="dopri5"
            )
        assert isinstance(found, Tensor)
        return found[-1]

    def report(self) -> dict[str, Any]:
        observed = Observed()
        error = self.error(self.solve(observed))
        return vars(observed) | {"error": error}


def measured(setting: Setting) -> Record:
    """All cases."""
    cases = []
    for size, end, rounds in CASES:
        print(f"  N = {size:,} to t = {end:g}", flush=True)
        given = (size, end, setting.device)
        entries = [
            Entry("ours", Ours, ("eager", *given)),
            Entry("ours compiled", Ours, ("compiled", *given)),
        ]
        entries.append(Entry("torchdiffeq", Torchdiffeq, given))
        peer = ("torchode", TORCHODE, Program, "solver_torchode", size, end, TOLERANCE)
        entries.append(setting.peer(*peer, setting.device.type))
        peer = ("diffrax", DIFFRAX, Program, "solver_diffrax", size, end, TOLERANCE)
        entries.append(setting.peer(*peer))
        warm_up = 1 if size > 100_000 else 2
        rows = compare(entries, setting.several(rounds), threads=1, warm_up=warm_up)
        cases.append({"size": size, "end": end, "rows": rows})
    return {"tolerance": TOLERANCE, "threads": 1, "cases": cases}
