"""The backward pass against the number of observation times, 20 to 2,000 in the same span.

The field of latent.py on 100 states, two threads. The discrete gradients differentiate through
dense output, so that their time should hardly grow; the continuous adjoint stops at every
observation.
"""

from typing import Any

import torch

from bench.interleaved import Entry, compare
from bench.latent import ATOL, OURS, PEERS, RTOL, Calls, Model, Solve, Start, prepared
from bench.program import Contender
from bench.setting import Record, Setting, synchronize
from node_repro.training.build import keep_freed_memory

COUNTS, STATES, ROUNDS, THREADS = (20, 200, 2000), 100, 9, 2


class Backward(Contender):
    """The backward pass through a solve."""

    def __init__(self, start: Start, name: str, count: int) -> None:
        keep_freed_memory()
        model = Model()
        model.load_state_dict(start.weights)
        self.field, self.device = model.field.to(start.device), start.device
        z0 = torch.randn(STATES, 4, generator=torch.Generator().manual_seed(0)).to(self.device)
        ts = torch.linspace(0, float(start.ts[-1]), count, dtype=torch.float64)
        self.solve = Solve(name)
        self.ys = self.solve(self.field, z0.requires_grad_(), ts)
        self.cotangent = torch.ones_like(self.ys) / count

    def iterate(self) -> None:
        self.ys.backward(self.cotangent, retain_graph=True)
        synchronize(self.device)

    def report(self) -> dict[str, Any]:
        calls = Calls(self.field)
        self.iterate()
        stats = self.solve.stats
        backward = stats.backward if stats else None
        return {"nfe": (stats.nfe if stats else None, backward.nvjp if backward else calls.count)}


def measured(setting: Setting) -> Record:
    """A case for every contender, with a row for every number of times."""
    start = prepared(setting.device)
    cases = []
    for name in (*OURS, *PEERS):
        if name == "torchdiffeq, adjoint":
            continue  # seconds for each of 2,000 intervals
        print(f"  {name}", flush=True)
        entries = [Entry(str(count), Backward, (start, name, count)) for count in COUNTS]
        rows = compare(entries, setting.several(ROUNDS), threads=THREADS, warm_up=1)
        cases.append({"contender": name, "rows": rows})
    return {"states": STATES, "rtol": RTOL, "atol": ATOL, "threads": THREADS, "cases": cases}
