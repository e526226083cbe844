"""What only a CUDA device can show: memory, determinism, whole runs. `make test-cuda` runs these.

Solves, training steps and probes are in ode/test_solves_on_devices.py and test_devices.py.
"""

from pathlib import Path

import pytest
import torch
from devices import NEEDS_CUDA

from node_repro.config.compose import compose
from node_repro.models.odenet import ODENet
from node_repro.ode import RungeKutta
from node_repro.ode.controllers.integral import Integral
from node_repro.ode.gradients.adjoint import Adjoint
from node_repro.ode.methods.dopri5 import DOPRI5
from node_repro.training.run import run

pytestmark = NEEDS_CUDA


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
