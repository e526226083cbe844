"""Evaluations of f in the adjoint's backward solve beside those of the forward solve, by solver,
error norm, size of the loss gradient and tolerance.

python scripts/backward_evaluations.py [--batch 1] [--hidden 128] [--json FILE]

f is a perceptron with one hidden layer, tanh(W1 [t, y] + b1), on a state of 64 numbers. With 128
hidden units it has 16,704 parameters. It is solved in float64 from t = 0 to 1 with rtol = atol =
tolerance, forward and backward. Entries of dL/dy(1) of size 1 correspond to a loss that is a sum; a
mean over a batch makes them small compared with atol. Only evaluations are counted, so the results
are the same on every machine up to rounding.
"""

import argparse
import itertools
import json
import math
import warnings
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor, nn

from node_repro.ode import RungeKutta, odeint
from node_repro.ode.controllers.integral import Integral
from node_repro.ode.gradients.adjoint import Adjoint
from node_repro.ode.methods.dopri5 import DOPRI5 as DOPRI5_STEPS
from node_repro.ode.norm import FLAT, FULL, SEMI, RmsNorm
from node_repro.ode.scipy.lsoda import Lsoda
from node_repro.ode.scipy.vode_adams import VodeAdams
from node_repro.ode.solver import Solver

DOPRI5 = RungeKutta(DOPRI5_STEPS, Integral(rtol=1.0, atol=1.0))


class Contender(NamedTuple):
    """fresh: the backward solve chooses its first step automatically; otherwise it starts with the
    last step size of the forward solve. scipy's integrators always choose it automatically.
    """

    name: str
    solver: Solver
    norm_name: str
    norm: RmsNorm
    fresh: bool = False


CONTENDERS = (
    Contender("vode_adams", VodeAdams(1.0, 1.0), "flat", FLAT),
    Contender("vode_adams", VodeAdams(1.0, 1.0), "per tensor", FULL),
    Contender("vode_adams", VodeAdams(1.0, 1.0), "seminorm", SEMI),
    Contender("lsoda", Lsoda(1.0, 1.0), "largest element", FULL),
    Contender("lsoda", Lsoda(1.0, 1.0), "largest, seminorm", SEMI),
    Contender("dopri5, fresh start", DOPRI5, "flat", FLAT, True),
    Contender("dopri5, fresh start", DOPRI5, "per tensor", FULL, True),
    Contender("dopri5, fresh start", DOPRI5, "seminorm", SEMI, True),
    Contender("dopri5", DOPRI5, "flat", FLAT),
    Contender("dopri5", DOPRI5, "per tensor", FULL),
    Contender("dopri5", DOPRI5, "seminorm", SEMI),
)
SCALES = (1e-5, 1e-2, 1.0)
TOLERANCES = (1e0, 1e-1, 1e-2, 1e-3, 1e-4, 1e-5)


class Perceptron(nn.Module):
    """tanh(W1 [t, y] + b1) -> W2 . + b2, weights of standard deviation gain / sqrt(inputs)."""

    def __init__(self, size: int, hidden: int, gain: float, seed: int) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(seed)
        self.inner = nn.Linear(size + 1, hidden, dtype=torch.float64)
        self.outer = nn.Linear(hidden, size, dtype=torch.float64)
        for layer in (self.inner, self.outer):
            nn.init.normal_(layer.weight, 0, gain / math.sqrt(layer.in_features), generator)
            nn.init.zeros_(layer.bias)

    def forward(self, t: Tensor, y: Tensor) -> Tensor:
        ty = torch.cat((t.expand(*y.shape[:-1], 1), y), dim=-1)
        return self.outer(torch.tanh(self.inner(ty)))


class Count(NamedTuple):
    solver: str
    norm: str
    scale: float
    tolerance: float
    forward: int
    backward: int

    @property
    def ratio(self) -> float:
        return self.backward / self.forward


def counted(
    f: nn.Module, y0: Tensor, cotangent: Tensor, contender: Contender, tolerance: float
) -> tuple[int, int]:
    """The evaluations of f in one forward and one backward solve over [0, 1]."""
    ts = torch.tensor([0.0, 1.0], dtype=torch.float64)
    solver = contender.solver.with_tolerance(tolerance, tolerance)
    gradient = Adjoint(contender.norm, solver if contender.fresh else None)
    solution = odeint(f, y0, ts, solver=solver, gradient=gradient)
    with warnings.catch_warnings():  # at loose tolerances the backward solve strays, and says so
        warnings.filterwarnings("ignore", "the backward solve came back", UserWarning)
        solution.ys[-1].backward(cotangent)
    f.zero_grad()
    assert solution.stats.backward is not None
    return solution.stats.nfe, solution.stats.backward.nfe


def measured(
    contenders: Iterable[Contender] = CONTENDERS,
    *,
    size: int = 64,
    hidden: int = 128,
    batch: int = 1,
    gain: float = 2.0,
    seed: int = 0,
    scales: Iterable[float] = SCALES,
    tolerances: Iterable[float] = TOLERANCES,
) -> Iterator[Count]:
    """The counts for all combinations of the arguments; the tolerance varies fastest."""
    f = Perceptron(size, hidden, gain, seed)
    generator = torch.Generator().manual_seed(seed + 1)
    y0, direction = (
        torch.randn(batch, size, dtype=torch.float64, generator=generator) for _ in range(2)
    )
    y0.requires_grad_()
    for contender, scale, tolerance in itertools.product(contenders, scales, tolerances):
        counts = counted(f, y0, scale * direction, contender, tolerance)
        yield Count(contender.name, contender.norm_name, scale, tolerance, *counts)


def table(counts: list[Count]) -> str:
    """A Markdown table with a row for each solver, norm and scale: forward / backward (ratio)."""
    heads = " | ".join(f"{tolerance:.0e}" for tolerance in TOLERANCES)
    lines = [
        f"| solver | norm backwards | entries of dL/dy(1) | {heads} |",
        "|" + "---|" * (3 + len(TOLERANCES)),
    ]
    for i in range(0, len(counts), len(TOLERANCES)):
        row = counts[i : i + len(TOLERANCES)]
        cells = " | ".join(f"{c.forward}/{c.backward} ({c.ratio:.2f})" for c in row)
        lines.append(f"| {row[0].solver} | {row[0].norm} | {row[0].scale:.0e} | {cells} |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description="Backward beside forward evaluations of f.")
    parser.add_argument("--hidden", type=int, default=128, help="hidden units (default 128)")
    parser.add_argument(
        "--batch", type=int, default=1, help="states that are solved together (default 1)"
    )
    parser.add_argument(
        "--gain",
        type=float,
        default=2.0,
        help="standard deviation of the weights times sqrt(inputs) (default 2)",
    )
    parser.add_argument(
        "--seed", type=int, default=0, help="seed of the weights and states (default 0)"
    )
    parser.add_argument("--json", type=Path, help="also write the counts to this file")
    given = parser.parse_args()
    options = {k: getattr(given, k) for k in ("hidden", "batch", "gain", "seed")}
    counts = list(measured(**options))
    print(", ".join(f"{key} {value:g}" for key, value in options.items()))
    print(table(counts))
    if given.json is not None:
        rows = [count._asdict() | {"ratio": count.ratio} for count in counts]
        given.json.write_text(json.dumps({"options": options, "counts": rows}, indent=1) + "\n")


if __name__ == "__main__":
    main()
