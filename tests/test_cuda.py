"""The same numbers on a CUDA device as on the CPU. `make test-cuda` runs these."""

from pathlib import Path

import pytest
import torch
from torch import Tensor

from node_repro.config.compose import compose
from node_repro.models.odenet import ConvField, ODENet
from node_repro.ode import RungeKutta, odeint
from node_repro.ode.controllers.integral import Integral
from node_repro.ode.gradients import GradientMethod
from node_repro.ode.gradients.adjoint import Adjoint
from node_repro.ode.gradients.checkpointed import Checkpointed
from node_repro.ode.gradients.direct import Direct
from node_repro.ode.methods.dopri5 import DOPRI5
from node_repro.training.run import run

pytestmark = [
    pytest.mark.cuda,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device"),
]
METHODS = [Direct(), Checkpointed(), Adjoint()]


def gradients(method: GradientMethod, device: str, times_on: str) -> list[Tensor]:
    """Of a small field's solve with four outputs, in float64, on the CPU again."""
    torch.manual_seed(0)
    f = ConvField(8).double()
    y0 = torch.randn(2, 8, 5, 5, dtype=torch.float64)
    f, y0 = f.to(device), y0.to(device).requires_grad_()
    ts = torch.tensor([0.0, 0.3, 0.31, 1.0], device=times_on, requires_grad=True)
    solver = RungeKutta(DOPRI5, Integral(rtol=1e-7, atol=1e-7))
    ys = odeint(f, y0, ts, solver=solver, gradient=method).ys
    assert ys.device == y0.device
    ys[1:].square().sum().backward()
    assert y0.grad is not None and ts.grad is not None and ts.grad.device == ts.device
    weights = [p.grad for p in f.parameters() if p.grad is not None]
    return [g.cpu() for g in (ys.detach(), y0.grad, ts.grad, *weights)]


@pytest.mark.parametrize("times_on", ["cpu", "cuda"])
@pytest.mark.parametrize("method", METHODS, ids=lambda m: type(m).__name__)
def test_states_and_gradients_are_those_of_the_cpu(method: GradientMethod, times_on: str) -> None:
    ours, theirs = gradients(method, "cuda", times_on), gradients(method, "cpu", "cpu")
    for a, b in zip(ours, theirs, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-5, atol=1e-8)


def test_a_solve_keeps_no_memory_from_one_iteration_to_the_next() -> None:
    solver = RungeKutta(DOPRI5, Integral(rtol=1e-3, atol=1e-3))
    network = ODENet(stem="conv", channels=8, solver=solver, gradient=Adjoint()).cuda()
    images = torch.rand(16, 1, 28, 28, device="cuda")
    held = []
    for _ in range(5):
        network.zero_grad(set_to_none=True)
        network(images).sum().backward()
        held.append(torch.cuda.memory_allocated())
    assert len(set(held[1:])) == 1


def test_a_deterministic_run_repeats_itself(tmp_path: Path) -> None:
    words = [
        "data.source=embedded", "data.limit=256", "trainer.batch_size=32", "model.channels=8",
        "trainer.iterations=6", "device=cuda", "deterministic=true", "progress=off",
    ]  # fmt: skip
    found = []
    for name in ("one", "two"):
        given = [*words, f"outputs={tmp_path}", f"name={name}"]
        assert run(compose(given), given, ["node-run", *given]) == 0
        file = torch.load(tmp_path / name / "seed0/checkpoints/step_000000006.pt", "cpu")
        found.append(file["model"])
    for name, value in found[0].items():
        assert torch.equal(value, found[1][name]), name


@pytest.mark.parametrize("task", ["density_match", "cnf"])
def test_flows_train_and_draw_on_the_device(task: str, tmp_path: Path) -> None:
    words = [f"task={task}", "profile=smoke", "device=cuda", f"outputs={tmp_path}", "progress=off"]
    assert run(compose(words), words, ["node-run", *words]) == 0
    (result,) = tmp_path.rglob("result.json")
    assert (result.parent / "pictures").is_dir()
