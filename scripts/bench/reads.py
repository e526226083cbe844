"""How often the host waits for the device in a solve, counted on the tests' stand-in for one.

dopri5 on f = cos(t) y, y in R^100, from t = 0 to 40, forward only. Nothing is timed. The tests
(tests/ode/test_host_reads.py) show the same for every method.
"""

import sys
from pathlib import Path
from typing import Any

import torch
import torchdiffeq

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "tests"))

from stand_in import DEVICE, StandIn  # pyright: ignore[reportMissingImports]

from bench.setting import Record, Setting, solver
from bench.solver import Observed, field
from node_repro import ode

TOLERANCES = (1e-3, 1e-6)
SPAN = torch.tensor([0.0, 40.0], dtype=torch.float64)


def ours(tolerance: float) -> dict[str, Any]:
    with StandIn() as device, torch.no_grad():
        y0 = torch.ones(100).to(DEVICE)
        device.forget()
        by = solver(ode.DOPRI5, tolerance, tolerance)
        found = ode.odeint(field, y0, SPAN, solver=by, gradient=ode.Direct(), parameters=())
        return {
            "attempted": found.stats.accepted + found.stats.rejected,
            "reads": device.reads.total(),
            "uploads": device.uploads.total(),
        }


def theirs(tolerance: float) -> dict[str, Any]:
    with StandIn() as device, torch.no_grad():
        y0, f = torch.ones(100).to(DEVICE), Observed()
        ts = SPAN.to(y0.dtype).to(DEVICE)
        device.forget()
        torchdiffeq.odeint(f, y0, ts, rtol=tolerance, atol=tolerance, method="dopri5")
        return {
            "attempted": f.attempted,
            "reads": device.reads.total(),
            "uploads": device.uploads.total(),
        }


def measured(setting: Setting) -> Record:
    """A row for each contender and tolerance."""
    rows = []
    for name, solve in (("ours", ours), ("torchdiffeq", theirs)):
        for tolerance in TOLERANCES:
            row: dict[str, Any] = {"name": name, "tolerance": tolerance}
            try:
                row |= solve(tolerance)
            except Exception as error:
                row["not_run"] = f"{type(error).__name__}: {error}".splitlines()[0]
            rows.append(row)
    return {"rows": rows}
