"""torchode's row of solver.py: size, end, tolerance, device."""

# pyright: reportMissingImports=false
import math
import sys
from typing import Any

import torch
import torchode
from torch import Tensor

from bench.program import Contender, serve


def field(t: Tensor, y: Tensor) -> Tensor:
    """cos(t) y for one sample, (1, N)."""
    return torch.cos(t)[:, None] * y


class Torchode(Contender):
    """A solve by torchode."""

    def __init__(self, size: int, end: float, tolerance: float, device: str) -> None:
        torch.set_num_threads(1)
        term = torchode.ODETerm(field)  # pyright: ignore[reportArgumentType]
        controller = torchode.IntegralController(atol=tolerance, rtol=tolerance, term=term)
        self.solver = torchode.AutoDiffAdjoint(torchode.Dopri5(term=term), controller)
        self.problem = torchode.InitialValueProblem(
            y0=torch.ones(1, size, device=device), t_eval=torch.tensor([[0.0, end]], device=device)
        )
        self.end, self.device = end, device

    def iterate(self) -> None:
        with torch.no_grad():
            self.solution = self.solver.solve(self.problem)
        if self.device == "cuda":
            torch.cuda.synchronize()

    def report(self) -> dict[str, Any]:
        stats = {name: int(value.max()) for name, value in self.solution.stats.items()}
        exact = math.exp(math.sin(self.end))
        return {
            "attempted": stats["n_steps"],
            "rejected": stats["n_steps"] - stats["n_accepted"],
            "nfe": stats["n_f_evals"],
            "error": float((self.solution.ys[0, -1].double() - exact).abs().max()),
        }


if __name__ == "__main__":
    serve(Torchode(int(sys.argv[1]), float(sys.argv[2]), float(sys.argv[3]), sys.argv[4]))
