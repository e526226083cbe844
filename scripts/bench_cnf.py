"""One training iteration of a continuous normalizing flow beside torchdiffeq and diffrax,
interleaved.

Forward pass, loss and backward pass of a batch of two circles through a planar flow with a
hypernetwork (2-D, 64 units, hypernetwork of 32, batch 512, t from 0 to 10, dopri5), after a few
training iterations:

    ours, adjoint / seminorm / checkpointed / direct
    torchdiffeq, same f          its adjoint on our module, trace in closed form
    torchdiffeq, its own f       its adjoint as in its example: units as a batch of matrices, the
                                 trace by one autograd call a dimension inside f
    torchdiffeq, backprop        the same f, through its solver's steps
    diffrax                      jitted, warm, trace in closed form (recursive checkpoints); with
                                 --jax-python, an interpreter that has jax and diffrax

Each row also shows the evaluations of f, forward and backward, and the relative error of the whole
gradient against dopri8 at 1e-10 in float64. Each row runs in its own process.
"""

import argparse
import json
import subprocess
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
import torchdiffeq
from bench_odenet import describe, show
from interleaved import Entry, compare
from torch import Tensor, nn

from node_repro.data.curves import TwoCircles
from node_repro.data.generated import seeded_generator
from node_repro.models.gaussian import standard_normal_log_density
from node_repro.models.planar_cnf import PlanarCNF, PlanarDynamics
from node_repro.ode import RungeKutta
from node_repro.ode.controllers.integral import Integral
from node_repro.ode.gradients import GradientMethod
from node_repro.ode.gradients.adjoint import Adjoint
from node_repro.ode.gradients.checkpointed import Checkpointed
from node_repro.ode.gradients.direct import Direct
from node_repro.ode.methods.dopri5 import DOPRI5
from node_repro.ode.methods.dopri8 import DOPRI8
from node_repro.ode.norm import SEMI
from node_repro.training.build import keep_freed_memory

WIDTH, HIDDEN, END = 64, 32, 10.0
OURS: dict[str, GradientMethod] = {
    "ours, adjoint": Adjoint(),
    "ours, seminorm": Adjoint(norm=SEMI),
    "ours, checkpointed": Checkpointed(),
    "ours, direct": Direct(),
}
NAMES = ("w1", "b1", "w2", "b2", "w3", "b3")  # of the weights, for diffrax
PEERS = ("torchdiffeq, same f", "torchdiffeq, its own f", "torchdiffeq, backprop")


class Start(NamedTuple):
    """What all contenders start from. exact: the flattened reference gradient."""

    weights: dict[str, Tensor]
    x: Tensor
    tolerance: float
    exact: Tensor
    device: torch.device
    threads: int


def built(tolerance: float, gradient: GradientMethod) -> PlanarCNF:
    solver = RungeKutta(DOPRI5, Integral(rtol=tolerance, atol=tolerance))
    return PlanarCNF(width=WIDTH, hyper_hidden=HIDDEN, end=END, solver=solver, gradient=gradient)


def flat(model: nn.Module) -> Tensor:
    """The gradient as one float64 vector."""
    found = [p.grad for p in model.parameters() if p.grad is not None]
    return torch.cat([g.flatten() for g in found]).double().cpu()


def relative(found: Tensor, exact: Tensor) -> float:
    return float((found - exact).norm() / exact.norm())


class Ours:
    """A row of this project."""

    def __init__(self, start: Start, gradient: GradientMethod) -> None:
        keep_freed_memory()
        torch.set_num_threads(start.threads)
        self.start, self.model = start, built(start.tolerance, gradient)
        self.model.load_state_dict(start.weights)
        self.model.to(start.device)
        self.x = start.x.to(start.device)

    def iterate(self) -> None:
        self.model.zero_grad(set_to_none=True)
        (-self.model.log_density(self.x).mean()).backward()
        synchronize(self.start.device)

    def report(self) -> dict[str, Any]:
        stats = self.model.stats
        backward = stats.backward
        nfe = (stats.nfe, backward.nvjp if backward else 0)
        return {"nfe": nfe, "gradient_error": relative(flat(self.model), self.start.exact)}


class PeersField(nn.Module):
    """f of (z, log p) for torchdiffeq. by_autograd: the trace as in its example, else exact."""

    def __init__(self, dynamics: PlanarDynamics, *, by_autograd: bool) -> None:
        super().__init__()
        self.dynamics, self.by_autograd, self.nfe = dynamics, by_autograd, 0

    def forward(self, t: Tensor, states: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
        self.nfe += 1
        z, log_p = states
        if not self.by_autograd:
            dy = self.dynamics(t, torch.cat((z, log_p), dim=1).T)
            return dy[:-1].T, dy[-1:].T
        with torch.enable_grad():
            z = z.requires_grad_(True)
            w, u, b = self.dynamics.units(t[None])[0]
            products = torch.matmul(z.expand(WIDTH, *z.shape), w[:, :, None])
            h = torch.tanh(products + b[:, None, None])
            dz = torch.matmul(h, u[:, None, :]).mean(dim=0)
            columns = [
                torch.autograd.grad(dz[:, i].sum(), z, create_graph=True)[0][:, i]
                for i in range(z.shape[1])
            ]
            return dz, -torch.stack(columns).sum(dim=0)[:, None]


class Torchdiffeq:
    """A row of torchdiffeq."""

    def __init__(self, start: Start, name: str) -> None:
        torch.set_num_threads(start.threads)
        self.start, model = start, built(start.tolerance, Direct())
        model.load_state_dict(start.weights)
        model.to(start.device)
        assert isinstance(model.dynamics, PlanarDynamics)
        self.f = PeersField(model.dynamics, by_autograd=name != PEERS[0])
        through = name == PEERS[2]
        self.solve = torchdiffeq.odeint if through else torchdiffeq.odeint_adjoint
        self.x, self.nfe = start.x.to(start.device), (0, 0)

    def iterate(self) -> None:
        self.f.zero_grad(set_to_none=True)
        self.f.nfe = 0
        tol, times = self.start.tolerance, torch.tensor([END, 0.0], device=self.x.device)
        state = (self.x.clone(), self.x.new_zeros(len(self.x), 1))
        zs, gained = self.solve(self.f, state, times, rtol=tol, atol=tol, method="dopri5")
        forward = self.f.nfe
        (-(standard_normal_log_density(zs[-1]) - gained[-1][:, 0]).mean()).backward()
        synchronize(self.start.device)
        self.nfe = (forward, self.f.nfe - forward)

    def report(self) -> dict[str, Any]:
        return {"nfe": self.nfe, "gradient_error": relative(flat(self.f), self.start.exact)}


class Diffrax:
    """bench_cnf_jax.py in another interpreter, one line for each iteration."""

    def __init__(self, start: Start, python: str, folder: Path) -> None:
        path = folder / "bench_cnf.npz"
        values = [value.numpy() for value in start.weights.values()]
        arrays: dict[str, Any] = dict(zip(NAMES, values, strict=True))
        arrays |= {"x": start.x.numpy(), "tolerance": start.tolerance, "end": END}
        np.savez(path, **arrays)
        script = Path(__file__).with_name("bench_cnf_jax.py")
        self.start, self.path = start, path
        self.process = subprocess.Popen(
            [python, str(script), str(path)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def iterate(self) -> None:
        assert self.process.stdin and self.process.stdout
        self.process.stdin.write("iterate\n")
        self.process.stdin.flush()
        self.answer = self.process.stdout.readline()

    def report(self) -> dict[str, Any]:
        with np.load(self.path.with_suffix(".gradient.npz")) as found:
            parts = [torch.from_numpy(found[name]).flatten() for name in NAMES]
        steps = int(self.answer)
        error = relative(torch.cat(parts).double(), self.start.exact)
        return {"nfe": (6 * steps + 1, "-"), "gradient_error": error}


def synchronize(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def reference(weights: dict[str, Tensor], x: Tensor) -> Tensor:
    """The gradient by dopri8 at 1e-10 in float64."""
    exact = built(1e-10, Checkpointed()).double()
    exact.solver = RungeKutta(DOPRI8, Integral(rtol=1e-10, atol=1e-10))
    exact.load_state_dict(weights)
    (-exact.log_density(x.double()).mean()).backward()
    return flat(exact)


def main() -> None:
    """Run the comparison, print a table and write it as JSON."""
    parser = argparse.ArgumentParser(description="a continuous flow's iteration beside its peers'")
    parser.add_argument("--batch", type=int, default=512)
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument(
        "--warm-up", type=int, default=100, help="training iterations before the measurement"
    )
    parser.add_argument("--tolerance", type=float, default=1e-5)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--jax-python", help="an interpreter with jax and diffrax; CPU only")
    parser.add_argument("--out", type=Path, default=Path("outputs/bench"))
    chosen = parser.parse_args()
    torch.manual_seed(0)
    torch.set_num_threads(chosen.threads)
    chosen.out.mkdir(parents=True, exist_ok=True)
    law = TwoCircles(noise=0.06, scale=1.0, factor=0.5).load().law
    model = built(chosen.tolerance, Checkpointed())
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    for i in range(chosen.warm_up):
        optimizer.zero_grad(set_to_none=True)
        (
            -model.log_density(law.sample(512, seeded_generator(0, i, bits=64)).float()).mean()
        ).backward()
        optimizer.step()
    x = law.sample(chosen.batch, seeded_generator(1, bits=64)).float()
    weights = {name: value.detach().clone() for name, value in model.state_dict().items()}
    exact, device = reference(weights, x), torch.device(chosen.device)
    start = Start(weights, x, chosen.tolerance, exact, device, chosen.threads)
    entries = [Entry(name, Ours, (start, gradient)) for name, gradient in OURS.items()]
    entries += [Entry(name, Torchdiffeq, (start, name)) for name in PEERS]
    if chosen.jax_python and device.type == "cpu":
        entries.append(Entry("diffrax", Diffrax, (start, chosen.jax_python, chosen.out)))
    else:
        print("diffrax: not run (--jax-python names an interpreter that has it; CPU only)")
    record = {
        "batch": chosen.batch,
        "tolerance": chosen.tolerance,
        "device": describe(device),
        "torch": torch.__version__,
        "torchdiffeq": torchdiffeq.__version__,
        "rounds": chosen.rounds,
        "rows": compare(entries, chosen.rounds),
    }
    show(record)
    path = chosen.out / f"cnf_{device.type}.json"
    path.write_text(json.dumps(record, indent=1))
    print(f"written to {path}")


if __name__ == "__main__":
    main()
