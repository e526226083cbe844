"""The diffrax row of bench_latent.py, run by an interpreter that has jax and diffrax.

    python bench_latent_diffrax.py start.npz rounds

prints JSON with the seconds of a compiled, warm iteration, and of the first one, which compiles,
for diffrax's default adjoint (recursive checkpoints) and for its backsolve adjoint.
"""

# pyright: reportMissingImports=false
import json
import statistics
import sys
import time
from typing import Any

import diffrax
import jax
import jax.numpy as jnp
import numpy as np

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


def main() -> None:
    """Time both adjoints."""
    with np.load(sys.argv[1]) as file:
        arrays = {k: jnp.asarray(v) for k, v in file.items()}
    rounds = int(sys.argv[2])
    x, ts = arrays.pop("x"), arrays.pop("ts").astype(jnp.float32)
    rtol, atol = (float(v) for v in arrays.pop("tolerances"))
    noise = jnp.asarray(np.random.default_rng(0).standard_normal((x.shape[0], 4)), x.dtype)
    adjoints = {
        "recursive checkpoints": diffrax.RecursiveCheckpointAdjoint(),
        "backsolve": diffrax.BacksolveAdjoint(),
    }
    found = {}
    for name, adjoint in adjoints.items():

        def loss(w: dict, adjoint: Any = adjoint) -> Any:  # noqa: ANN401
            mean, log_variance = jnp.split(encode(w, x), 2, axis=1)
            z0 = mean + jnp.exp(0.5 * log_variance) * noise
            solution = diffrax.diffeqsolve(
                diffrax.ODETerm(field),
                diffrax.Dopri5(),
                ts[0],
                ts[-1],
                None,
                z0,
                args=w,
                saveat=diffrax.SaveAt(ts=ts),
                stepsize_controller=diffrax.PIDController(rtol=rtol, atol=atol),
                adjoint=adjoint,
                max_steps=MAX_STEPS,
            )
            hidden = jax.nn.relu(solution.ys @ w["decoder.0.weight"].T + w["decoder.0.bias"])
            said = hidden @ w["decoder.2.weight"].T + w["decoder.2.bias"]
            misfit = 0.5 * ((jnp.moveaxis(said, 0, 1) - x) / NOISE) ** 2
            kl = 0.5 * (mean**2 + jnp.exp(log_variance) - 1 - log_variance)
            return misfit.sum((1, 2)).mean() + kl.sum(1).mean()

        iterate = jax.jit(jax.value_and_grad(loss))
        seconds = []
        for _ in range(rounds + 2):
            began = time.perf_counter()
            jax.block_until_ready(iterate(arrays))
            seconds.append(time.perf_counter() - began)
        found[name] = {
            "seconds": statistics.median(seconds[2:]),
            "seconds_min": min(seconds[2:]),
            "first_seconds": seconds[0],
        }
    print(json.dumps({"diffrax": diffrax.__version__, "jax": jax.__version__, **found}))


if __name__ == "__main__":
    main()
