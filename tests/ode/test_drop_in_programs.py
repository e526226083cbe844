"""Typical programs of torchdiffeq's users learn the same with their import line changed."""

from collections.abc import Callable
from types import ModuleType

import pytest
import torch
from torch import Tensor, nn

from node_repro.ode import drop_in

peer = pytest.importorskip("torchdiffeq")


def spiral(library: ModuleType) -> list[float]:
    """A network learns a spiral from short pieces of it, with the adjoint method."""
    torch.manual_seed(0)
    times = torch.linspace(0.0, 25.0, 200)
    turn = torch.tensor([[-0.1, 2.0], [-2.0, -0.1]])
    y0 = torch.tensor([[2.0, 0.0]])
    with torch.no_grad():
        truth = library.odeint(lambda t, y: y**3 @ turn, y0, times, method="dopri5")
    net = nn.Sequential(nn.Linear(2, 20), nn.Tanh(), nn.Linear(20, 2))

    class Func(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.net = net

        def forward(self, t: Tensor, y: Tensor) -> Tensor:
            return self.net(y**3)

    func = Func()
    optimizer = torch.optim.RMSprop(func.parameters(), lr=1e-3)
    losses = []
    for _ in range(6):
        starts = torch.randint(0, 190, (8,))
        aim = torch.stack([truth[starts + i] for i in range(10)])
        optimizer.zero_grad()
        found = library.odeint_adjoint(func, truth[starts], times[:10])
        loss = (found - aim).abs().mean()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return losses


def normalizing_flow(library: ModuleType) -> list[float]:
    """A continuous normalizing flow in two dimensions: a tuple of points and log-densities, solved
    backwards, with a trace by autograd inside of the field."""
    torch.manual_seed(1)
    net = nn.Sequential(nn.Linear(3, 16), nn.Tanh(), nn.Linear(16, 2))

    class Flow(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.net = net

        def forward(self, t: Tensor, states: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
            z = states[0]
            with torch.enable_grad():
                z.requires_grad_(True)
                dz = self.net(torch.cat((z, t.expand(len(z), 1)), dim=1))
                trace = sum(
                    torch.autograd.grad(dz[:, i].sum(), z, create_graph=True)[0][:, i]
                    for i in range(2)
                )
            assert isinstance(trace, Tensor)
            return dz, -trace[:, None]

    flow = Flow()
    optimizer = torch.optim.Adam(flow.parameters(), lr=1e-2)
    losses = []
    for _ in range(4):
        angle = torch.rand(32) * 6.28
        x = torch.stack((angle.cos(), angle.sin()), dim=1)
        z, change = library.odeint_adjoint(
            flow, (x, torch.zeros(32, 1)), torch.tensor([1.0, 0.0]),
            atol=1e-5, rtol=1e-5, method="dopri5",
        )  # fmt: skip
        density = torch.distributions.MultivariateNormal(torch.zeros(2), 0.1 * torch.eye(2))
        loss = -(density.log_prob(z[-1]) - change[-1].view(-1)).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return losses


def latent_trajectories(method: str) -> Callable[[ModuleType], list[float]]:
    """A latent state is decoded at many times, with gradients through the solver."""

    def program(library: ModuleType) -> list[float]:
        torch.manual_seed(2)
        latent, decode = (
            nn.Sequential(nn.Linear(4, 20), nn.ELU(), nn.Linear(20, 4)),
            nn.Linear(4, 2),
        )

        class Latent(nn.Module):
            nfe = 0

            def __init__(self) -> None:
                super().__init__()
                self.net = latent

            def forward(self, t: Tensor, z: Tensor) -> Tensor:
                self.nfe += 1
                return self.net(z)

        func, times = Latent(), torch.linspace(0, 6, 100)
        aim = torch.stack((times.cos(), times.sin()), dim=1).expand(10, 100, 2)
        z0 = nn.Parameter(torch.randn(10, 4))
        parameters = (*func.parameters(), *decode.parameters(), z0)
        optimizer, losses = torch.optim.Adam(parameters, lr=0.01), []
        for _ in range(3):
            optimizer.zero_grad()
            states = library.odeint(func, z0, times, method=method).permute(1, 0, 2)
            loss = (decode(states) - aim).square().mean()
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
        assert func.nfe > 0
        return losses

    return program


PROGRAMS = {
    "spiral": spiral,
    "normalizing flow": normalizing_flow,
    "latent, dopri5": latent_trajectories("dopri5"),
    "latent, rk4": latent_trajectories("rk4"),
    "latent, euler": latent_trajectories("euler"),
}


@pytest.mark.parametrize("name", PROGRAMS)
def test_a_program_learns_the_same_with_its_import_line_changed(name: str) -> None:
    ours, theirs = PROGRAMS[name](drop_in), PROGRAMS[name](peer)
    assert ours == pytest.approx(theirs, rel=1e-4)
    assert len(set(theirs)) == len(theirs)
