"""One training iteration of a continuous normalizing flow.

Forward pass, loss and backward pass of a batch of two circles through a planar flow with a
hypernetwork (2-D, 64 units, hypernetwork of 32, batch 512, t from 0 to 10, dopri5), after a few
training iterations:

    ours, adjoint / checkpointed / direct, eager and compiled
    torchdiffeq, same f          its adjoint on our module, trace in closed form
    torchdiffeq, its own f       its adjoint as in its example: units as a batch of matrices, the
                                 trace by one autograd call a dimension inside f
    torchdiffeq, backprop        the same f, through its solver's steps
    diffrax                      jitted, trace in closed form, recursive checkpoints

Each row also shows the evaluations of f, forward and backward, and the relative error of the whole
gradient against dopri8 at 1e-10 in float64.
"""

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
from node_repro.data.curves import TwoCircles
from node_repro.data.generated import seeded_generator
from node_repro.models.gaussian import standard_normal_log_density
from node_repro.models.planar_cnf import PlanarCNF, PlanarDynamics
from node_repro.ode import DOPRI5, DOPRI8, Checkpointed, Direct, RungeKutta
from node_repro.ode.gradients import GradientMethod
from node_repro.training.build import keep_freed_memory

WIDTH, HIDDEN, END = 64, 32, 10.0
BATCH, TOLERANCE, TRAINED, ROUNDS, THREADS = 512, 1e-5, 100, 15, 1
NAMES = ("w1", "b1", "w2", "b2", "w3", "b3")  # of the weights, for diffrax
PEERS = ("torchdiffeq, same f", "torchdiffeq, its own f", "torchdiffeq, backprop")


class Start(NamedTuple):
    """What all contenders start from. exact: the flattened reference gradient."""

    weights: dict[str, Tensor]
    x: Tensor
    exact: Tensor
    device: torch.device


def built(by: RungeKutta, gradient: GradientMethod) -> PlanarCNF:
    return PlanarCNF(width=WIDTH, hyper_hidden=HIDDEN, end=END, solver=by, gradient=gradient)


def flat(model: nn.Module) -> Tensor:
    """The gradient as one float64 vector."""
    found = [p.grad for p in model.parameters() if p.grad is not None]
    return torch.cat([g.flatten() for g in found]).double().cpu()


class Ours(Contender):
    """A row of this project."""

    def __init__(self, start: Start, engine: str, gradient: GradientMethod) -> None:
        keep_freed_memory()
        by = solver(DOPRI5, TOLERANCE, TOLERANCE, engine)
        self.start, self.model = start, built(by, gradient)
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


class Torchdiffeq(Contender):
    """A row of torchdiffeq."""

    def __init__(self, start: Start, name: str) -> None:
        self.start, model = start, built(solver(DOPRI5, TOLERANCE, TOLERANCE), Direct())
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
        times = torch.tensor([END, 0.0], device=self.x.device)
        state = (self.x.clone(), self.x.new_zeros(len(self.x), 1))
        tolerances = {"rtol": TOLERANCE, "atol": TOLERANCE}
        zs, gained = self.solve(self.f, state, times, **tolerances, method="dopri5")
        forward = self.f.nfe
        (-(standard_normal_log_density(zs[-1]) - gained[-1][:, 0]).mean()).backward()
        synchronize(self.start.device)
        self.nfe = (forward, self.f.nfe - forward)

    def report(self) -> dict[str, Any]:
        return {"nfe": self.nfe, "gradient_error": relative(flat(self.f), self.start.exact)}


class Diffrax(Program):
    """flow_diffrax.py."""

    def __init__(self, python: str, start: Start, path: Path) -> None:
        values = [value.numpy() for value in start.weights.values()]
        arrays: dict[str, Any] = dict(zip(NAMES, values, strict=True))
        arrays |= {"x": start.x.numpy(), "tolerance": TOLERANCE, "end": END}
        np.savez(path, **arrays)
        super().__init__(python, "flow_diffrax", path)
        self.start, self.path = start, path

    def report(self) -> dict[str, Any]:
        nfe = super().report()
        with np.load(self.path.with_suffix(".gradient.npz")) as found:
            parts = [torch.from_numpy(found[name]).flatten() for name in NAMES]
        return nfe | {"gradient_error": relative(torch.cat(parts).double(), self.start.exact)}


def reference(weights: dict[str, Tensor], x: Tensor) -> Tensor:
    """The gradient by dopri8 at 1e-10 in float64."""
    exact = built(solver(DOPRI8, 1e-10, 1e-10), Checkpointed()).double()
    exact.load_state_dict(weights)
    (-exact.log_density(x.double()).mean()).backward()
    return flat(exact)


def prepared(device: torch.device) -> Start:
    """The flow after a few training iterations."""
    torch.manual_seed(0)
    law = TwoCircles(noise=0.06, scale=1.0, factor=0.5).load().law
    model = built(solver(DOPRI5, TOLERANCE, TOLERANCE), Checkpointed())
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    for i in range(TRAINED):
        optimizer.zero_grad(set_to_none=True)
        x = law.sample(512, seeded_generator(0, i, bits=64)).float()
        (-model.log_density(x).mean()).backward()
        optimizer.step()
    x = law.sample(BATCH, seeded_generator(1, bits=64)).float()
    weights = {name: value.detach().clone() for name, value in model.state_dict().items()}
    return Start(weights, x, reference(weights, x), device)


def measured(setting: Setting) -> Record:
    """All rows."""
    start = prepared(setting.device)
    entries = [Entry(name, Ours, (start, *choice)) for name, choice in OURS.items()]
    entries += [Entry(name, Torchdiffeq, (start, name)) for name in PEERS]
    path = setting.folder / "flow_start.npz"
    entries.append(setting.peer("diffrax", DIFFRAX, Diffrax, start, path))
    rows = compare(entries, setting.several(ROUNDS), threads=THREADS)
    return {"batch": BATCH, "tolerance": TOLERANCE, "threads": THREADS, "rows": rows}
