"""One training iteration of a latent ODE beside torchdiffeq and diffrax, interleaved; and the time
of the backward pass against the number of observation times.

The model is that of torchdiffeq's latent ODE example: a recurrent encoder of 25 units that runs
backwards, a latent state of 4 numbers, f with two hidden layers of 20 and a decoder of 20. Its
1,000 trajectories of 100 points form one batch. dopri5 runs at rtol 5e-7 and atol 1e-9; the example
uses torchdiffeq's default rtol of 1e-7, which float32 cannot resolve and this project refuses.
Encoder, decoder and loss are the same modules in every row; only the solve differs:

    ours, direct                autograd through the steps
    ours, checkpointed          the same gradient; states are kept, steps repeated
    ours, adjoint               one backward solve, with a jump at every observation
    torchdiffeq, backprop       its odeint, autograd through its steps
    torchdiffeq, adjoint        its odeint_adjoint, as its example's --adjoint
    diffrax                     if --jax names an interpreter that has it

Each row also shows the evaluations of f and the relative error of the gradient against dopri8 at
1e-9 in float64. `--times 20,2000` times only the backward pass, for these numbers of observation
times in the same span. Each row runs in its own process.
"""

import argparse
import copy
import json
import subprocess
import tempfile
from pathlib import Path
from typing import Any, NamedTuple

import torch
import torchdiffeq
from interleaved import Entry, compare
from torch import Tensor, nn

from node_repro.data.spirals import WINDOW, Spirals
from node_repro.data.spirals import torchdiffeq as torchdiffeq_like
from node_repro.ode import ODEBlock, RungeKutta
from node_repro.ode.controllers.integral import Integral
from node_repro.ode.gradients import GradientMethod
from node_repro.ode.gradients.adjoint import Adjoint
from node_repro.ode.gradients.checkpointed import Checkpointed
from node_repro.ode.gradients.direct import Direct
from node_repro.ode.methods.dopri5 import DOPRI5
from node_repro.ode.methods.dopri8 import DOPRI8
from node_repro.training.build import keep_freed_memory

NOISE = 0.3
OURS: dict[str, GradientMethod] = {
    "ours, direct": Direct(),
    "ours, checkpointed": Checkpointed(),
    "ours, adjoint": Adjoint(),
}
PEERS = {
    "torchdiffeq, backprop": torchdiffeq.odeint,
    "torchdiffeq, adjoint": torchdiffeq.odeint_adjoint,
}


class Start(NamedTuple):
    """What all contenders start from. exact: the float64 gradient on a few trajectories."""

    weights: dict[str, Tensor]
    x: Tensor
    ts: Tensor
    rtol: float
    atol: float
    few: int
    exact: Tensor


class ExampleField(nn.Module):
    """f of the example: 4-20-20-4 with ELU. It counts its calls, since torchdiffeq does not."""

    def __init__(self) -> None:
        super().__init__()
        layers = (nn.Linear(4, 20), nn.ELU(), nn.Linear(20, 20), nn.ELU(), nn.Linear(20, 4))
        self.layers = nn.Sequential(*layers)
        self.calls = 0

    def forward(self, t: Tensor, z: Tensor) -> Tensor:
        self.calls += 1
        return self.layers(z)


class Model(nn.Module):
    """Encoder, field and decoder; the solve is an argument."""

    def __init__(self) -> None:
        super().__init__()
        self.cell = nn.RNN(2, 25, batch_first=True)
        self.posterior = nn.Linear(25, 8)
        self.field = ExampleField()
        self.decoder = nn.Sequential(nn.Linear(4, 20), nn.ReLU(), nn.Linear(20, 2))

    def loss(self, x: Tensor, ts: Tensor, solve: Any) -> Tensor:  # noqa: ANN401
        """The negative ELBO; the noise of the posterior is the same in every iteration."""
        hidden, _ = self.cell(x.flip(1))
        mean, log_variance = self.posterior(hidden[:, -1]).chunk(2, dim=1)
        noise = torch.randn(mean.shape, generator=torch.Generator().manual_seed(0)).to(mean)
        z = solve(self.field, mean + (0.5 * log_variance).exp() * noise, ts)
        misfit = 0.5 * ((self.decoder(z).movedim(0, 1) - x) / NOISE) ** 2
        kl = 0.5 * (mean**2 + log_variance.exp() - 1 - log_variance)
        return misfit.sum((1, 2)).mean() + kl.sum(1).mean()


class Solve:
    """f, z0, ts -> states, by this project with a gradient method or by torchdiffeq."""

    def __init__(self, name: str, rtol: float, atol: float) -> None:
        self.name, self.rtol, self.atol = name, rtol, atol

    def __call__(self, f: nn.Module, z0: Tensor, ts: Tensor) -> Tensor:
        if self.name in PEERS:
            found = PEERS[self.name](f, z0, ts.to(z0), rtol=self.rtol, atol=self.atol)
            assert isinstance(found, Tensor)
            return found
        solver = RungeKutta(DOPRI5, Integral(rtol=self.rtol, atol=self.atol))
        return ODEBlock(f, solver=solver, gradient=OURS[self.name]).along(z0, ts)


class Training:
    """A contender: a whole iteration except the optimizer step."""

    def __init__(self, start: Start, name: str) -> None:
        keep_freed_memory()
        self.start, self.model = start, Model()
        self.model.load_state_dict(start.weights)
        self.solve = Solve(name, start.rtol, start.atol)

    def iterate(self) -> None:
        self._learn(self.start.x)

    def report(self) -> dict[str, Any]:
        """Evaluations of f, forward and backward, and the gradient error on a few trajectories."""
        nfe = self._learn(self.start.x)
        self._learn(self.start.x[: self.start.few])
        error = float((flat(self.model) - self.start.exact).norm() / self.start.exact.norm())
        return {"nfe": nfe, "gradient_error": error}

    def _learn(self, x: Tensor) -> tuple[int, int]:
        field = self.model.field
        self.model.zero_grad(set_to_none=True)
        field.calls = 0
        loss = self.model.loss(x, self.start.ts, self.solve)
        forward = field.calls
        loss.backward()
        return forward, field.calls - forward


class Backward:
    """A contender: the backward pass through a solve with a number of observation times."""

    def __init__(self, start: Start, name: str, count: int, batch: int) -> None:
        keep_freed_memory()
        model = Model()
        model.load_state_dict(start.weights)
        self.field = model.field
        z0 = torch.randn(batch, 4, generator=torch.Generator().manual_seed(0)).requires_grad_()
        ts = torch.linspace(0, float(start.ts[-1]), count, dtype=torch.float64)
        self.ys = Solve(name, start.rtol, start.atol)(self.field, z0, ts)
        self.cotangent = torch.ones_like(self.ys) / count

    def iterate(self) -> None:
        self.ys.backward(self.cotangent, retain_graph=True)

    def report(self) -> dict[str, Any]:
        self.field.calls = 0
        self.iterate()
        return {"nfe": (0, self.field.calls)}


def flat(model: nn.Module) -> Tensor:
    """The gradient of all parameters as one vector, float64."""
    return torch.cat([p.grad.flatten().double() for p in model.parameters() if p.grad is not None])


def prepared(trajectories: int, iterations: int, rtol: float, atol: float, few: int) -> Start:
    """The model after a few training iterations."""
    source = Spirals(
        shape=torchdiffeq_like,
        trajectories=10 * trajectories // 7 + 1,
        observed=100,
        noise_sd=0.3,
        seed=0,
    )
    split = source.load().train
    x = split.noisy[:trajectories, :WINDOW].float()
    ts = split.observed.grid[:WINDOW]
    torch.manual_seed(0)
    model = Model()
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    for _ in range(iterations):
        optimizer.zero_grad(set_to_none=True)
        model.loss(x[:100], ts, Solve("ours, direct", 1e-3, 1e-4)).backward()
        optimizer.step()
    exact = copy.deepcopy(model).double()
    exact.zero_grad(set_to_none=True)

    def order_8(f: nn.Module, z0: Tensor, times: Tensor) -> Tensor:
        # outputs are ends of steps, as dense output is of a lower order
        states = [z0]
        solver = RungeKutta(DOPRI8, Integral(rtol=1e-9, atol=1e-9))
        for i in range(len(times) - 1):
            block = ODEBlock(f, solver=solver, gradient=Direct())
            states.append(block.along(states[-1], times[i : i + 2])[-1])
        return torch.stack(states)

    exact.loss(x[:few].double(), ts, order_8).backward()
    return Start(model.state_dict(), x, ts, rtol, atol, few, flat(exact))


def diffrax(python: str | None, start: Start, rounds: int) -> dict[str, Any]:
    """The same iteration in diffrax, by another interpreter; {} if there is none."""
    if python is None:
        return {}
    import numpy as np

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "start.npz"
        arrays = {k: v.numpy() for k, v in start.weights.items()}
        arrays |= {"x": start.x.numpy(), "ts": start.ts.numpy()}
        arrays["tolerances"] = np.array([start.rtol, start.atol])
        np.savez(path, **arrays)  # pyright: ignore[reportArgumentType]
        script = Path(__file__).with_name("bench_latent_diffrax.py")
        done = subprocess.run(
            [python, str(script), str(path), str(rounds)], capture_output=True, text=True
        )
    return json.loads(done.stdout) if done.returncode == 0 else {"failed": done.stderr[-400:]}


def main() -> None:
    """Run the comparison, print a table and write it as JSON."""
    parser = argparse.ArgumentParser(description="a latent ODE's iteration beside torchdiffeq's")
    parser.add_argument("--trajectories", type=int, default=1000)
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument(
        "--warm-up", type=int, default=100, help="training iterations before the measurement"
    )
    parser.add_argument("--rtol", type=float, default=5e-7)
    parser.add_argument("--atol", type=float, default=1e-9)
    parser.add_argument("--error-batch", type=int, default=16)
    parser.add_argument(
        "--times", help="as in 20,2000: time only the backward pass for these numbers of times"
    )
    parser.add_argument("--batch", type=int, default=100, help="number of states, with --times")
    parser.add_argument("--jax", help="an interpreter that has diffrax")
    parser.add_argument("--out", type=Path, default=Path("outputs/bench"))
    chosen = parser.parse_args()
    start = prepared(
        chosen.trajectories, chosen.warm_up, chosen.rtol, chosen.atol, chosen.error_batch
    )
    record: dict[str, Any] = {
        "trajectories": chosen.trajectories,
        "rtol": chosen.rtol,
        "atol": chosen.atol,
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
        "torchdiffeq": torchdiffeq.__version__,
        "rounds": chosen.rounds,
    }
    if chosen.times:
        counts = [int(word) for word in chosen.times.split(",")]
        record |= {"states": chosen.batch, "what": "backward alone"}
        record["rows"] = growth(start, counts, chosen.batch, chosen.rounds)
    else:
        entries = [Entry(name, Training, (start, name)) for name in (*OURS, *PEERS)]
        record["rows"] = compare(entries, chosen.rounds)
        record["diffrax"] = diffrax(chosen.jax, start, chosen.rounds) or "not run"
    show(record)
    chosen.out.mkdir(parents=True, exist_ok=True)
    path = chosen.out / ("latent_times.json" if chosen.times else "latent.json")
    path.write_text(json.dumps(record, indent=1))
    print(f"written to {path}")


def growth(start: Start, counts: list[int], batch: int, rounds: int) -> list[dict[str, Any]]:
    """Time of the backward pass for each gradient and count, and its ratio to the first count."""
    rows = []
    for name in OURS:
        entries = [
            Entry(f"{name}, {count} times", Backward, (start, name, count, batch))
            for count in counts
        ]
        rows += compare(entries, rounds)
    return rows


def show(record: dict[str, Any]) -> None:
    """The table."""
    print(
        f"torch {record['torch']}, torchdiffeq {record['torchdiffeq']}, {record['threads']} threads"
    )
    titles = ("seconds", "(min-max)", "ratio", "NFE F/B", "gradient error")
    print(" " * 32 + "{:>9}{:>18}{:>8}{:>11}{:>16}".format(*titles))
    for row in record["rows"]:
        spread = f"({row['seconds_min']:.4f}-{row['seconds_max']:.4f})"
        nfe = "{}/{}".format(*row["nfe"])
        error = f"{row['gradient_error']:.1e}" if "gradient_error" in row else ""
        print(
            f"{row['name']:<32}{row['seconds']:>9.4f}{spread:>18}{row['ratio']:>8.2f}{nfe:>11}"
            f"{error:>16}"
        )
    if "diffrax" in record:
        print(f"diffrax: {record['diffrax']}")


if __name__ == "__main__":
    main()
