"""diffrax's rows of latent.py: the file of its start, and "recursive" or "backsolve".

The report writes the gradient on the first trajectories beside the file.
"""

# pyright: reportMissingImports=false
import sys
from pathlib import Path
from typing import Any

import diffrax
import jax
import jax.numpy as jnp
import numpy as np

from bench.program import Contender, serve

NOISE = 0.3
MAX_STEPS = 4096


def encode(w: dict, x: Any) -> Any:  # noqa: ANN401
    """The recurrent encoder, backwards: (B, n, 2) -> (B, 8)."""

    def step(h: Any, row: Any) -> tuple[Any, None]:  # noqa: ANN401
        inside = row @ w["cell.weight_ih_l0"].T + w["cell.bias_ih_l0"]
        return jnp.tanh(inside + h @ w["cell.weight_hh_l0"].T + w["cell.bias_hh_l0"]), None

    start = jnp.zeros((x.shape[0], w["cell.weight_hh_l0"].shape[0]))
    last, _ = jax.lax.scan(step, start, jnp.moveaxis(x[:, ::-1], 1, 0))
    return last @ w["posterior.weight"].T + w["posterior.bias"]


def field(t: Any, z: Any, w: dict) -> Any:  # noqa: ANN401
    """4-20-20-4, ELU."""
    for i in (0, 2):
        z = jax.nn.elu(z @ w[f"field.layers.{i}.weight"].T + w[f"field.layers.{i}.bias"])
    return z @ w["field.layers.4.weight"].T + w["field.layers.4.bias"]


class Latent(Contender):
    """Forward pass, loss and gradient."""

    def __init__(self, path: Path, adjoint: str) -> None:
        with np.load(path) as file:
            arrays = {k: jnp.asarray(v) for k, v in file.items()}
        self.x, ts = arrays.pop("x"), arrays.pop("ts").astype(jnp.float32)
        self.noise, self.few_noise = arrays.pop("noise"), arrays.pop("few_noise")
        rtol, atol = (float(v) for v in arrays.pop("tolerances"))
        self.few, self.weights, self.path = int(arrays.pop("few")), arrays, path
        method = {
            "recursive": diffrax.RecursiveCheckpointAdjoint(),
            "backsolve": diffrax.BacksolveAdjoint(),
        }[adjoint]
        self.adjoint = adjoint

        def loss(w: dict, x: Any, noise: Any) -> tuple[Any, Any]:  # noqa: ANN401
            mean, log_variance = jnp.split(encode(w, x), 2, axis=1)
            solution = diffrax.diffeqsolve(
                diffrax.ODETerm(field),
                diffrax.Dopri5(),
                ts[0],
                ts[-1],
                None,
                mean + jnp.exp(0.5 * log_variance) * noise,
                args=w,
                saveat=diffrax.SaveAt(ts=ts),
                stepsize_controller=diffrax.PIDController(rtol=rtol, atol=atol),
                adjoint=method,
                max_steps=MAX_STEPS,
            )
            hidden = jax.nn.relu(solution.ys @ w["decoder.0.weight"].T + w["decoder.0.bias"])
            said = hidden @ w["decoder.2.weight"].T + w["decoder.2.bias"]
            misfit = 0.5 * ((jnp.moveaxis(said, 0, 1) - x) / NOISE) ** 2
            kl = 0.5 * (mean**2 + jnp.exp(log_variance) - 1 - log_variance)
            steps = solution.stats["num_steps"]
            return misfit.sum((1, 2)).mean() + kl.sum(1).mean(), steps

        self.gradient = jax.jit(jax.value_and_grad(loss, has_aux=True))

    def iterate(self) -> None:
        self.found = jax.block_until_ready(self.gradient(self.weights, self.x, self.noise))

    def report(self) -> dict[str, Any]:
        (_, steps), _ = self.found
        _, gradient = self.gradient(self.weights, self.x[: self.few], self.few_noise)
        plain: dict[str, Any] = {name: np.asarray(value) for name, value in gradient.items()}
        np.savez(self.path.with_suffix(".gradient.npz"), **plain)
        return {"nfe": (6 * int(steps) + 2, None)}


if __name__ == "__main__":
    serve(Latent(Path(sys.argv[1]), sys.argv[2]))
