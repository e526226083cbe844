"""One training iteration of a latent ODE.

The model is that of torchdiffeq's latent ODE example: a recurrent encoder of 25 units that runs
backwards, a latent state of 4 numbers, f with two hidden layers of 20 and a decoder of 20. Its
1,000 trajectories of 100 points form one batch. dopri5 runs at rtol 5e-7 and atol 1e-9; the example
uses torchdiffeq's default rtol of 1e-7, which float32 cannot resolve and this project refuses.
Encoder, decoder and loss are the same modules in every row of torch; only the solve differs:

    ours, adjoint               one backward solve, with a jump at every observation
    ours, checkpointed          the gradient of the discrete solution; steps are repeated
    ours, direct                the same gradient, autograd through the steps
    ours compiled, ...          the same by the compiled engine
    torchdiffeq, backprop       its odeint, autograd through its steps
    torchdiffeq, adjoint        its odeint_adjoint, as its example's --adjoint
    diffrax, recursive          jitted as a whole, its default adjoint of recursive checkpoints
    diffrax, backsolve          jitted as a whole, its backsolve adjoint

Each row also shows the evaluations of f, and the relative error of the gradient on a few
trajectories against dopri8 at 1e-9 in float64.
"""

import copy
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
import torchdiffeq
from torch import Tensor, nn

from bench.interleaved import Entry, compare
from bench.peers import DIFFRAX, Program
from bench.program import Contender
from bench.setting import OURS, Record, Setting, relative, solver, synchronize
from node_repro.data.spirals import WINDOW, Spirals
from node_repro.data.spirals import torchdiffeq as torchdiffeq_like
from node_repro.ode import DOPRI5, DOPRI8, Direct, ODEBlock, Stats
from node_repro.training.build import keep_freed_memory

NOISE = 0.3
TRAJECTORIES, FEW, TRAINED, ROUNDS, THREADS = 1000, 16, 100, 12, 2
RTOL, ATOL = 5e-7, 1e-9
PEERS = {
    "torchdiffeq, backprop": torchdiffeq.odeint,
    "torchdiffeq, adjoint": torchdiffeq.odeint_adjoint,
}
DIFFRAX_ROWS = ("recursive", "backsolve")


class Start(NamedTuple):
    """What all contenders start from. exact: the float64 gradient on a few trajectories."""

    weights: dict[str, Tensor]
    x: Tensor
    ts: Tensor
    exact: Tensor
    device: torch.device


class ExampleField(nn.Module):
    """f of the example: 4-20-20-4 with ELU."""

    def __init__(self) -> None:
        super().__init__()
        layers = (nn.Linear(4, 20), nn.ELU(), nn.Linear(20, 20), nn.ELU(), nn.Linear(20, 4))
        self.layers = nn.Sequential(*layers)

    def forward(self, t: Tensor, z: Tensor) -> Tensor:
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
        random = noise(tuple(mean.shape)).to(mean)
        z = solve(self.field, mean + (0.5 * log_variance).exp() * random, ts)
        misfit = 0.5 * ((self.decoder(z).movedim(0, 1) - x) / NOISE) ** 2
        kl = 0.5 * (mean**2 + log_variance.exp() - 1 - log_variance)
        return misfit.sum((1, 2)).mean() + kl.sum(1).mean()


class Solve:
    """f, z0, ts -> states, by this project with a gradient method or by torchdiffeq.

    Attributes:
        stats: The cost of the last solve of this project.
    """

    def __init__(self, name: str, rtol: float = RTOL, atol: float = ATOL) -> None:
        self.name, self.rtol, self.atol = name, rtol, atol
        self.stats: Stats | None = None
        if name not in PEERS:
            engine, self.gradient = OURS[name]
            self.solver = solver(DOPRI5, rtol, atol, engine)

    def __call__(self, f: nn.Module, z0: Tensor, ts: Tensor) -> Tensor:
        if self.name in PEERS:
            times = ts.to(z0)
            found = PEERS[self.name](f, z0, times, rtol=self.rtol, atol=self.atol, method="dopri5")
            assert isinstance(found, Tensor)
            return found
        block = ODEBlock(f, solver=self.solver, gradient=self.gradient)
        ys = block.along(z0, ts)
        self.stats = block.stats
        return ys


class Calls:
    """Counts the calls of a module of torchdiffeq while it is open."""

    def __init__(self, f: nn.Module) -> None:
        self.count = 0
        self.hook = f.register_forward_pre_hook(self._called)

    def _called(self, *_: object) -> None:
        self.count += 1


class Training(Contender):
    """A whole iteration except the optimizer step."""

    def __init__(self, start: Start, name: str) -> None:
        keep_freed_memory()
        self.start, self.model = start, Model()
        self.model.load_state_dict(start.weights)
        self.model.to(start.device)
        self.x = start.x.to(start.device)
        self.solve = Solve(name)

    def iterate(self) -> None:
        self.loss(self.x).backward()
        synchronize(self.start.device)

    def report(self) -> dict[str, Any]:
        """Evaluations of f, forward and backward, and the gradient error on a few trajectories."""
        calls = Calls(self.model.field)
        loss = self.loss(self.x)
        forward = calls.count
        loss.backward()
        nfe = (forward, calls.count - forward)
        calls.hook.remove()
        if (stats := self.solve.stats) is not None:
            nfe = (stats.nfe, stats.backward.nvjp if stats.backward else 0)
        self.loss(self.x[:FEW]).backward()
        return {"nfe": nfe, "gradient_error": relative(flat(self.model), self.start.exact)}

    def loss(self, x: Tensor) -> Tensor:
        self.model.zero_grad(set_to_none=True)
        return self.model.loss(x, self.start.ts, self.solve)


class Diffrax(Program):
    """latent_diffrax.py with one of its adjoints."""

    def __init__(self, python: str, start: Start, path: Path, adjoint: str) -> None:
        arrays = {k: v.numpy() for k, v in start.weights.items()}
        arrays |= {"x": start.x.numpy(), "ts": start.ts.numpy(), "few": np.array(FEW)}
        arrays |= {"noise": noise((len(start.x), 4)).numpy(), "few_noise": noise((FEW, 4)).numpy()}
        arrays["tolerances"] = np.array([RTOL, ATOL])
        np.savez(path, **arrays)  # pyright: ignore[reportArgumentType]
        super().__init__(python, "latent_diffrax", path, adjoint)
        self.start, self.path = start, path

    def report(self) -> dict[str, Any]:
        nfe = super().report()
        with np.load(self.path.with_suffix(".gradient.npz")) as found:
            parts = [torch.from_numpy(found[name]).flatten() for name in self.start.weights]
        exact = self.start.exact
        return nfe | {
            "gradient_error": float((torch.cat(parts).double() - exact).norm() / exact.norm())
        }


def flat(model: nn.Module) -> Tensor:
    """The gradient of all parameters as one vector, float64."""
    found = [p.grad for p in model.parameters() if p.grad is not None]
    return torch.cat([g.flatten() for g in found]).double().cpu()


def noise(shape: tuple[int, ...]) -> Tensor:
    """The noise of the posterior, the same in every iteration."""
    return torch.randn(shape, generator=torch.Generator().manual_seed(0))


def prepared(device: torch.device) -> Start:
    """The model after a few training iterations."""
    source = Spirals(
        shape=torchdiffeq_like,
        trajectories=10 * TRAJECTORIES // 7 + 1,
        observed=100,
        noise_sd=NOISE,
        seed=0,
    )
    split = source.load().train
    x = split.noisy[:TRAJECTORIES, :WINDOW].float()
    ts = split.observed.grid[:WINDOW]
    torch.manual_seed(0)
    model = Model()
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    for _ in range(TRAINED):
        optimizer.zero_grad(set_to_none=True)
        model.loss(x[:100], ts, Solve("ours, direct", 1e-3, 1e-4)).backward()
        optimizer.step()
    exact = copy.deepcopy(model).double()
    exact.zero_grad(set_to_none=True)

    def order_8(f: nn.Module, z0: Tensor, times: Tensor) -> Tensor:
        # outputs are ends of steps, as dense output is of a lower order
        states = [z0]
        for i in range(len(times) - 1):
            block = ODEBlock(f, solver=solver(DOPRI8, 1e-9, 1e-9), gradient=Direct())
            states.append(block.along(states[-1], times[i : i + 2])[-1])
        return torch.stack(states)

    exact.loss(x[:FEW].double(), ts, order_8).backward()
    return Start(model.state_dict(), x, ts, flat(exact), device)


def measured(setting: Setting) -> Record:
    """All rows."""
    start = prepared(setting.device)
    entries = [Entry(name, Training, (start, name)) for name in (*OURS, *PEERS)]
    for adjoint in DIFFRAX_ROWS:
        path = setting.folder / f"latent_{adjoint}.npz"
        entries.append(setting.peer(f"diffrax, {adjoint}", DIFFRAX, Diffrax, start, path, adjoint))
    rows = compare(entries, setting.several(ROUNDS), threads=THREADS)
    return {
        "trajectories": TRAJECTORIES,
        "times": len(start.ts),
        "rtol": RTOL,
        "atol": ATOL,
        "threads": THREADS,
        "rows": rows,
    }
