"""`node-run job=probe probe=tolerance experiment=...`: run a probe on finished runs.

A run is given by its overrides or by its directory. The probe measures it with its trained weights,
and <run>/probes/<probe>.json stores the measurement and its circumstances; nothing else in the
run's directory changes. The file is written last and atomically, so an interrupted probe leaves no
file.
"""

import json
import shlex
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any

import torch
from torch import nn

from node_repro.config import Component, Config
from node_repro.config.choices import choices_in
from node_repro.config.signature import harmless, plain, run_path, signature
from node_repro.data import DataSet
from node_repro.experiments import all_experiments
from node_repro.probes import Batch, Measurement, NotApplicable, Probe, Weights
from node_repro.runs import OutputError
from node_repro.runs.atomic import write_atomically, writing
from node_repro.runs.config_file import refuse_another
from node_repro.runs.environment import environment
from node_repro.runs.json_values import encode, restore
from node_repro.runs.stored_run import StoredRun
from node_repro.tasks import Task
from node_repro.training import build
from node_repro.training.checkpoint import Checkpoints, Loaded
from node_repro.training.threads import choose


def probe(config: Config, runs: Mapping[Path, Config], words: Sequence[str]) -> int:
    """Run `config.probe` on runs, except on those measured already with the same options.

    Args:
        config: The probe, and the run to measure if `runs` is empty.
        runs: Directory -> configuration of runs.
        words: The overrides of the command line.

    Returns:
        The exit code 0.

    Raises:
        OutputError: A run is missing or not finished, or a file cannot be written.
        NotApplicable: The probe cannot measure one of the runs.
        DataError, CheckpointError, SolverError: As in training.
    """
    assert config.probe is not None
    build.keep_freed_memory()  # as in training, so that times are comparable
    machine = build.machine(config)
    chosen = runs or {None: config}
    for loaded in [LoadedRun(path, run, machine) for path, run in chosen.items()]:
        loaded.refuse_unfinished(_training_words(words))
        choose(config.threads, loaded.forward, loaded.device)
        _measure(loaded, config.probe)
    return 0


class LoadedRun:
    """A finished run on disk with its data and models: the `TrainedRun` of a probe.

    Args:
        path: The run's directory; None: determined by the configuration.
        config: The run's configuration.
        machine: The device.
    """

    def __init__(self, path: Path | None, config: Config, machine: build.Machine) -> None:
        self.config = config
        self.machine = replace(machine, dtype=getattr(torch, config.precision))  # of the run
        self.data: DataSet = build.data(config)
        self.stored = StoredRun(run_path(config, self.data.name) if path is None else path)
        self.signature = signature(config, self.data.name)

    @property
    def device(self) -> torch.device:
        return self.machine.device

    @property
    def dtype(self) -> torch.dtype:
        return self.machine.dtype

    @property
    def task(self) -> Task:
        return self._new_task()

    @property
    def metrics(self) -> Sequence[Mapping[str, Any]]:
        return self.stored.metrics

    @property
    def kept_steps(self) -> Sequence[int]:
        return self._checkpoints.kept_steps()

    def refuse_unfinished(self, words: str) -> None:
        """Raise OutputError if the run is not finished or has another configuration."""
        path = self.stored.path
        if self.stored.file("result.json") is None:
            raise OutputError(f"{path} holds no finished run; train it first: node-run {words}")
        refuse_another(path, plain(self.config), self.signature, harmless())

    def model(self, weights: Weights = "selected", **options: object) -> nn.Module:
        chosen = self.config.model
        model = replace(chosen, options={**chosen.options, **options})
        network = build.model(replace(self.config, model=model), self.task.sizes, self.machine)
        if weights != "fresh":
            network.load_state_dict(self._loaded(weights).state["model"])
        return network.eval()

    def step(self, weights: Weights) -> int:
        return 0 if weights == "fresh" else self._loaded(weights).step

    def test_batches(self, size: int, count: int) -> list[Batch]:
        return list(islice(self._new_task(eval_batch_size=size).evaluation_batches("test"), count))

    def training_batch(self, size: int) -> Batch:
        return next(self._new_task(batch_size=size).training_batches(0, 0))

    def forward(self) -> object:
        """Compute the loss of a training batch, to choose the number of threads."""
        batch = self.training_batch(self.config.trainer.batch_size)
        return self.task.loss(self.model("fresh"), batch)

    def print_progress(self, text: str) -> None:
        print(f"{'measure':<10} {text}", flush=True)

    def _new_task(self, **sizes: int) -> Task:
        """Build a task with other batch sizes."""
        trainer = replace(self.config.trainer, **sizes)
        return build.task(replace(self.config, trainer=trainer), self.data, self.machine)

    @property
    def _checkpoints(self) -> Checkpoints:
        return Checkpoints(self.stored.path / "checkpoints", self.signature)

    def _loaded(self, weights: Weights) -> Loaded:
        checkpoints = self._checkpoints
        if isinstance(weights, int):
            return checkpoints.load_kept(weights)
        loaded = checkpoints.load_best() if weights == "selected" else checkpoints.load_last()
        if loaded is None:
            raise OutputError(f"{checkpoints.directory} has no checkpoint of the {weights} model.")
        return loaded


def _measure(run: LoadedRun, chosen: Component) -> None:
    path = run.stored.path / "probes" / f"{chosen.name}.json"
    options = json.loads(json.dumps(chosen.options))
    if _is_done(path, options, run):
        print(f"complete   {path} has been measured already")
        return
    print(f"probe      {chosen.name} on {run.stored.path}", flush=True)
    instance: Probe = build.construct(chosen)
    began = time.perf_counter()
    try:
        measurement = instance.measure(run)
    except NotApplicable as error:
        raise _not_applicable(chosen.name, run, error) from error
    head = _describe(run, chosen.name, options, time.perf_counter() - began)
    _write(path, head | {"facts": measurement.facts, "rows": measurement.rows}, measurement)
    print(f"done       {path}", flush=True)


def _describe(
    run: LoadedRun, name: str, options: Mapping[str, object], seconds: float
) -> dict[str, Any]:
    """The circumstances of the measurement: run, options, device, versions."""
    config, device = run.config, run.device
    on_gpu = device.type == "cuda"
    facts = environment()
    git = facts["git"] or {}
    return {
        "probe": name,
        "options": options,
        "experiment": config.experiment,
        "task": config.task.name,
        "model": config.model.name,
        "profile": config.profile,
        "data": run.data.name,
        "data_notice": run.data.notice,
        "seed": config.seed,
        "signature": run.signature,
        "selected_step": run.step("selected"),
        "solver": None if config.ode is None else config.ode.solver.name,
        "gradient": None if config.ode is None else config.ode.gradient.name,
        "rtol": None if config.ode is None else config.ode.rtol,
        "atol": None if config.ode is None else config.ode.atol,
        "precision": config.precision,
        "device": device.type,
        "device_name": torch.cuda.get_device_name(device) if on_gpu else facts["cpu_model"],
        "threads": torch.get_num_threads(),
        "version": facts["package_version"],
        "commit": git.get("sha"),
        "commit_dirty": git.get("dirty"),
        "torch": str(torch.__version__),
        "recorded": facts["recorded"],
        "seconds": round(seconds, 1),
    }


def _write(path: Path, content: Mapping[str, Any], measurement: Measurement) -> None:
    text = json.dumps(encode(content), indent=1, allow_nan=False, ensure_ascii=False) + "\n"
    with writing(path):
        path.parent.mkdir(exist_ok=True)
        for name, picture in measurement.files.items():
            write_atomically(path.parent / name, picture)
        write_atomically(path, text.encode())


def _is_done(path: Path, options: Mapping[str, object], run: LoadedRun) -> bool:
    """Whether the file holds a measurement with the same options on the same kind of device."""
    try:
        before = restore(json.loads(path.read_bytes()))
    except (OSError, ValueError):
        return False
    same = {"options": options, "signature": run.signature, "device": run.device.type}
    return isinstance(before, dict) and same.items() <= before.items()


def _not_applicable(name: str, run: LoadedRun, error: NotApplicable) -> NotApplicable:
    choices = choices_in()
    fitting = [
        other for other in choices.names("probe") if run.config.experiment in _experiments(other)
    ]
    instead = ", ".join(fitting) or "none"
    return NotApplicable(
        f"probe={name} does not apply to {run.stored.path}: it needs {error}. It applies to the "
        f"experiments {', '.join(_experiments(name))}; probes of this run: {instead}."
    )


def _experiments(probe: str) -> list[str]:
    return [one.name for one in all_experiments().values() if probe in one.probes]


def _training_words(words: Sequence[str]) -> str:
    """The overrides without those of the probe."""
    of_the_probe = ("job=", "probe=", "probe.", "runs=")
    return shlex.join(word for word in words if not word.startswith(of_the_probe))
