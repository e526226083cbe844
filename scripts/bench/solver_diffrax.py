"""diffrax's row of solver.py: size, end, tolerance."""

# pyright: reportMissingImports=false
import math
import sys
from typing import Any

import diffrax
import jax
import jax.numpy as jnp
import numpy as np

from bench.program import Contender, serve


class Diffrax(Contender):
    """A jitted solve by diffrax; time, too, is float32, as is JAX's default."""

    def __init__(self, size: int, end: float, tolerance: float) -> None:
        controller = diffrax.PIDController(rtol=tolerance, atol=tolerance)
        term = diffrax.ODETerm(lambda t, y, args: jnp.cos(t) * y)

        def solve(y0: Any) -> tuple[Any, Any]:  # noqa: ANN401
            solution = diffrax.diffeqsolve(
                term, diffrax.Dopri5(), 0.0, end, None, y0,
                stepsize_controller=controller, max_steps=100_000,
            )  # fmt: skip
            assert solution.ys is not None
            return solution.ys[-1], solution.stats

        self.y0, self.end, self.solve = jnp.ones(size), end, jax.jit(solve)

    def iterate(self) -> None:
        self.found = jax.block_until_ready(self.solve(self.y0))

    def report(self) -> dict[str, Any]:
        y, stats = self.found
        steps = int(stats["num_steps"])
        error = np.abs(np.asarray(y, dtype=np.float64) - math.exp(math.sin(self.end))).max()
        return {
            "attempted": steps,
            "rejected": int(stats["num_rejected_steps"]),
            "nfe": 6 * steps + 2,  # two for the choice of the first step, six for each
            "error": float(error),
        }


if __name__ == "__main__":
    serve(Diffrax(int(sys.argv[1]), float(sys.argv[2]), float(sys.argv[3])))
