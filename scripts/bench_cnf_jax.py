"""The diffrax row of bench_cnf.py, run by an interpreter that has jax and diffrax.

For each line on standard input it does one iteration (forward, loss, gradient) and prints the
number of steps.
"""

import sys
from pathlib import Path
from typing import Any

import diffrax  # pyright: ignore[reportMissingImports]
import jax  # pyright: ignore[reportMissingImports]
import jax.numpy as jnp  # pyright: ignore[reportMissingImports]
import numpy as np

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


def main() -> None:
    path = Path(sys.argv[1])
    data = dict(np.load(path))
    x, tol, end = (data.pop(name) for name in ("x", "tolerance", "end"))
    weights = {name: jnp.asarray(value) for name, value in data.items()}
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
        y = solution.ys[-1]
        log_p = -(y[:, :2] ** 2).sum(axis=1) / 2 - jnp.log(2 * jnp.pi) - y[:, 2]
        return -log_p.mean(), solution.stats["num_steps"]

    gradient = jax.jit(jax.value_and_grad(loss, has_aux=True))
    for _ in sys.stdin:
        (_, steps), found = gradient(weights)
        jax.block_until_ready(found)
        target = path.with_suffix(".gradient.npz")
        if not target.exists() or target.stat().st_mtime < path.stat().st_mtime:
            plain: dict[str, Any] = {name: np.asarray(value) for name, value in found.items()}
            np.savez(target, **plain)
        print(int(steps), flush=True)


if __name__ == "__main__":
    main()
