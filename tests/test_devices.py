"""Training steps, scores, pictures and probes on another device than the CPU.

The stand-in raises an error where tensors of the CPU and of the device meet, as CUDA does, and
computes the numbers of the CPU.
"""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from devices import assert_as_on_the_cpu, on_devices, present
from stand_in import DEVICE
from torch import Tensor, nn

from node_repro.config import Component, Config
from node_repro.config.choices import Choices, conf_folder
from node_repro.config.compose import compose
from node_repro.experiments import all_experiments
from node_repro.probes import Probe, Weights, sensitivity_cost
from node_repro.probes.measure import LoadedRun
from node_repro.training import build

CHOICES = Choices([conf_folder()])
SMALL: dict[str, Any] = {
    **{"limit": 40, "points": 20, "trajectories": 20, "sequences": 10, "observed": 5},
    **{"stem": "conv", "channels": 2, "blocks": 1, "hidden": 4, "width": 4, "hyper_hidden": 4},
    **{"depth": 2, "predicted": 4, "window": 3},
}
FEW: dict[str, Any] = {
    **{"tolerances": (1e-1,), "steps": (1, 2), "batches": 1, "batch": 2, "examples": 2},
    **{"reference": 1e-2, "repeats": 1, "states": (2,), "hidden": (3,), "shown": (1e-1,)},
    **{
        "drawn": 1,
        "sizes": (1,),
        "channels": (2,),
        "disturbed": 1,
        "fixed": 1e-1,
        "blocks": (1, 2),
    },
    **{"observations": 2, "spacing": 4, "points": 3, "evaluations": 20},
}
OF_IMAGES = ("backward_cost", "depth_memory", "difficulty", "precision", "wrong_digits")
"""Probes of networks of images; the others measure the smallest classifier in their place."""


def less(chosen: Component, smaller: dict[str, Any]) -> Component:
    """A component with as little work as its options allow."""
    options = {key: smaller.get(key, value) for key, value in chosen.options.items()}
    return replace(chosen, options=options)


def small(*words: str) -> Config:
    """A configuration with little work."""
    config = compose([*words, "profile=smoke"])
    loose = {"rtol": 1e-1, "atol": 1e-1}
    return replace(
        config,
        data=less(config.data, SMALL),
        task=less(config.task, SMALL),
        model=less(config.model, SMALL),
        trainer=replace(config.trainer, batch_size=2, eval_batch_size=2),
        ode=config.ode and replace(config.ode, **loose if config.ode.error_controlled else {}),
        probe=config.probe and less(config.probe, FEW),
    )


TASKS = CHOICES.names("task")
OTHERS = {
    str(one.choice("model")): one.name
    for one in all_experiments().values()
    if one.choice("model") not in (None, *(CHOICES.brings("task", t, "model") for t in TASKS))
}
"""The models that no task brings, and an experiment with each."""


@pytest.fixture(scope="module")
def series(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A file of the task `irregular`."""
    path = tmp_path_factory.mktemp("series") / "series.csv"
    rows = [f"s{i},{j},{c},{(i + j) % 5}" for i in range(10) for j in range(6) for c in "ab"]
    path.write_text("id,time,channel,value\n" + "\n".join(rows))
    return str(path)


def trained(config: Config, device: torch.device) -> list[Tensor]:
    """The loss and metrics of a training step, the weights after it, and the scores of a batch."""
    machine = build.Machine(device, torch.float32)
    task = build.task(config, build.data(config), machine)
    model = build.model(config, task.sizes, machine)
    optimizer = build.optimizer(config, model)
    torch.manual_seed(0)
    found = task.loss(model, next(task.training_batches(0, 0)))
    found.loss.backward()
    nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    optimizer.step()
    assert found.loss.device.type == device.type
    model.eval()
    with torch.no_grad():
        scores = task.scores(model, next(iter(task.evaluation_batches("validation"))))
    return [found.loss, *found.metrics.values(), *model.parameters(), *scores.values()]


@on_devices
@pytest.mark.parametrize(
    "word", [*(f"task={name}" for name in TASKS), *(f"experiment={n}" for n in OTHERS.values())]
)
def test_every_task_and_every_model_trains(word: str, device: torch.device, series: str) -> None:
    config = small(word, *([f"data.path={series}"] if word == "task=irregular" else []))
    if config.model.options.get("augment"):
        config = replace(config, model=less(config.model, {"augment": 2}))
    if device == DEVICE:
        assert_as_on_the_cpu(lambda d: trained(config, d), device)
    else:  # draws other random numbers
        assert all(x.isfinite().all() for x in trained(config, device))


@pytest.mark.slow
@on_devices
@pytest.mark.parametrize("name", TASKS)
def test_every_task_draws_and_diagnoses(name: str, device: torch.device, series: str) -> None:
    words = [f"task={name}", *([f"data.path={series}"] if name == "irregular" else [])]
    usual = compose([*words, "profile=smoke"])  # a grid takes many batches if they are small
    config = replace(small(*words), trainer=usual.trainer)
    with present(device), torch.no_grad():
        machine = build.Machine(device, torch.float32)
        task = build.task(config, build.data(config), machine)
        model = build.model(config, task.sizes, machine).eval()
        task.diagnostics(model)
        assert all(picture.content for picture in task.pictures(model, final=True))


class Untrained(LoadedRun):
    """A run before its training."""

    @property
    def metrics(self) -> tuple[()]:
        return ()

    def model(self, weights: Weights = "selected", **options: object) -> nn.Module:
        return super().model("fresh", **options)

    def step(self, weights: Weights) -> int:
        return 0


def measured(config: Config, device: torch.device) -> list[Tensor]:
    """The numbers that a probe finds, except times."""
    run = Untrained(Path("no run"), config, build.Machine(device, torch.float32))
    assert config.probe is not None
    torch.manual_seed(0)
    probe: Probe = build.construct(config.probe)
    rows = probe.measure(run).rows
    assert rows
    return [
        torch.tensor(
            [
                float(value)
                for name, value in row.items()
                if isinstance(value, int | float) and not name.endswith("seconds")
            ]
        )
        for row in rows
    ]


@on_devices
@pytest.mark.parametrize("name", CHOICES.names("probe"))
def test_every_probe_measures(
    name: str, device: torch.device, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sensitivity_cost, "STEPS", 2)
    of = next(one for one in all_experiments().values() if name in one.probes)
    smallest = of.choice("task") == "mnist" and name not in OF_IMAGES
    chosen = "task=classification" if smallest else f"experiment={of.name}"
    config = small(chosen, "job=probe", f"probe={name}")
    if name == "closed_forms":  # whose backward solves drift at the loosest tolerance
        assert config.probe is not None
        config = replace(config, probe=less(config.probe, {"tolerances": (1e-3,)}))
    if device == DEVICE:
        assert_as_on_the_cpu(lambda d: measured(config, d), device)
    else:
        measured(config, device)
