"""diffrax's row of flow.py: the file of its start. The report writes the gradient beside it."""

# pyright: reportMissingImports=false
import sys
from pathlib import Path
from typing import Any

import diffrax
import jax
import jax.numpy as jnp
import numpy as np

from bench.program import Contender, serve

Array = Any


def field(t: Array, y: Array, p: dict[str, Array]) -> Array:
    """The planar dynamics in closed form, y: (B, 3)."""
    h = jnp.tanh(p["w1"][:, 0] * t + p["b1"])
    h = jnp.tanh(p["w2"] @ h + p["b2"])
    out = p["w3"] @ h + p["b3"]
    width = out.shape[0] // 7
    w, u, gate = out[:-width].reshape(3, width, 2)
    u = u * jax.nn.sigmoid(gate)
    h = jnp.tanh(y[:, :2] @ w.T + out[-width:])
    trace = (1 - h * h) @ (w * u).sum(axis=1) / width
    return jnp.concatenate((h @ u / width, -trace[:, None]), axis=1)


class Flow(Contender):
    """Forward pass, loss and gradient."""

    def __init__(self, path: Path) -> None:
        data = dict(np.load(path))
        x, tol, end = (data.pop(name) for name in ("x", "tolerance", "end"))
        y0 = jnp.concatenate((jnp.asarray(x), jnp.zeros((len(x), 1))), axis=1)

        def loss(p: dict[str, Array]) -> tuple[Array, Array]:
            solution = diffrax.diffeqsolve(
                diffrax.ODETerm(field),
                diffrax.Dopri5(),
                t0=float(end),
                t1=0.0,
                dt0=None,
                y0=y0,
                args=p,
                stepsize_controller=diffrax.PIDController(rtol=float(tol), atol=float(tol)),
            )
            assert solution.ys is not None
            y = solution.ys[-1]
            log_p = -(y[:, :2] ** 2).sum(axis=1) / 2 - jnp.log(2 * jnp.pi) - y[:, 2]
            return -log_p.mean(), solution.stats["num_steps"]

        self.path = path
        self.weights = {name: jnp.asarray(value) for name, value in data.items()}
        self.gradient = jax.jit(jax.value_and_grad(loss, has_aux=True))

    def iterate(self) -> None:
        self.found = jax.block_until_ready(self.gradient(self.weights))

    def report(self) -> dict[str, Any]:
        (_, steps), gradient = self.found
        plain: dict[str, Any] = {name: np.asarray(value) for name, value in gradient.items()}
        np.savez(self.path.with_suffix(".gradient.npz"), **plain)
        return {"nfe": (6 * int(steps) + 2, None)}


if __name__ == "__main__":
    serve(Flow(Path(sys.argv[1])))
