"""Measures something on finished runs: `node-run job=probe probe=tolerance experiment=...`.

A run is found by the words that made it, or by its directory. Its model is built and loaded, the
probe measures, and <run>/probes/<probe>.json says what was found and how; nothing else of the run
is touched. The file is written last and at once, so an interrupted probe leaves none.
"""

import json
import shlex
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from itertools import islice
from pathlib import Path
from typing import Any

import torch
from torch import nn

from node_repro.config import Component, Config
from node_repro.config.choices import Choices, conf_folder
from node_repro.config.signature import harmless, plain, run_path, signature
from node_repro.data import DataSet
from node_repro.experiments import all_experiments
from node_repro.probes import Batch, Findings, Misfit, Probe, Weights
from node_repro.runs import OutputError
from node_repro.runs.atomic import reason, write_atomically
from node_repro.runs.config_file import refuse_another
from node_repro.runs.environment import environment
from node_repro.runs.json_values import encode, restore
from node_repro.runs.metrics_file import read_metrics
from node_repro.tasks import Task
from node_repro.training import build
from node_repro.training.checkpoint import Checkpoints, Loaded
from node_repro.training.threads import choose


def probe(config: Config, runs: Mapping[Path, Config], words: Sequence[str]) -> int:
    """Measures config.probe on the runs, or on the one that the configuration is of; returns the
    exit code 0. words: what was typed. What is measured already with the same options is left.

    Raises:
        OutputError: a run that is not there or not finished, a file that cannot be written.
        Misfit: a run that the probe has nothing for. DataError, CheckpointError, SolverError.
    """
    assert config.probe is not None
    machine = build.machine(config)
    if runs:
        found = [Run(path, run, machine) for path, run in runs.items()]
    else:
        found = [Run(None, config, machine)]
    for run in found:
        run.refuse_unfinished(_training_words(words))
        choose(config.threads, run.forward, run.device)
        _probe_one(run, config.probe)
    return 0


class Run:
    """A finished run, as a probe is given it: see probes.Finished. path: None for the place that
    the configuration says.
    """

    def __init__(self, path: Path | None, config: Config, machine: build.Machine) -> None:
        self.config = config
        self.machine = replace(machine, dtype=getattr(torch, config.precision))  # of the run
        self.data: DataSet = build.data(config)
        self.path = run_path(config, self.data.name) if path is None else path
        self.signature = signature(config, self.data.name)

    @property
    def device(self) -> torch.device:
        return self.machine.device

    @property
    def dtype(self) -> torch.dtype:
        return self.machine.dtype

    @property
    def task(self) -> Task:
        return self._task_of()

    @property
    def metrics(self) -> list[dict[str, Any]]:
        return read_metrics(self.path / "metrics.jsonl")

    def refuse_unfinished(self, words: str) -> None:
        """Raises OutputError that says how to train it, or in what it is another run."""
        if not (self.path / "result.json").is_file():
            raise OutputError(
                f"{self.path} holds no finished run; train it first: node-run {words}"
            )
        refuse_another(self.path, plain(self.config), self.signature, harmless())

    def model(self, weights: Weights = "selected") -> nn.Module:
        network = build.model(self.config, self.task.sizes, self.machine)
        if weights != "fresh":
            network.load_state_dict(self._loaded(weights).state["model"])
        return network.eval()

    def step(self, weights: Weights) -> int:
        return 0 if weights == "fresh" else self._loaded(weights).step

    def test_batches(self, size: int, count: int) -> list[Batch]:
        return list(islice(self._task_of(eval_batch_size=size).evaluation_batches("test"), count))

    def training_batch(self, size: int) -> Batch:
        return next(self._task_of(batch_size=size).training_batches(0, 0))

    def forward(self) -> object:
        """The loss of a batch as in training, which tells how large the kernels are."""
        batch = self.training_batch(self.config.trainer.batch_size)
        return self.task.loss(self.model("fresh"), batch)

    def say(self, text: str) -> None:
        print(f"{'measure':<10} {text}", flush=True)

    def _task_of(self, **sizes: int) -> Task:
        """The task anew, with other sizes of batches."""
        trainer = replace(self.config.trainer, **sizes)
        return build.task(replace(self.config, trainer=trainer), self.data, self.machine)

    def _loaded(self, weights: Weights) -> Loaded:
        checkpoints = Checkpoints(self.path / "checkpoints", self.signature)
        loaded = checkpoints.load_best() if weights == "selected" else checkpoints.load_last()
        if loaded is None:
            raise OutputError(f"{checkpoints.directory} has no checkpoint of the {weights} model.")
        return loaded


def _probe_one(run: Run, chosen: Component) -> None:
    path = run.path / "probes" / f"{chosen.name}.json"
    options = json.loads(json.dumps(chosen.options))
    if _is_done(path, options, run):
        print(f"complete   {path} has been measured already")
        return
    print(f"probe      {chosen.name} on {run.path}", flush=True)
    instrument: Probe = build.construct(chosen)
    began = time.perf_counter()
    try:
        findings = instrument.measure(run)
    except Misfit as misfit:
        raise _misfit(chosen.name, run, misfit) from misfit
    head = _head(run, chosen.name, options, time.perf_counter() - began)
    _write(path, head | {"facts": findings.facts, "rows": findings.rows}, findings)
    print(f"done       {path}", flush=True)


def _head(run: Run, name: str, options: Mapping[str, object], seconds: float) -> dict[str, Any]:
    """Everything to know besides what was found."""
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
        "recorded": datetime.now().astimezone().isoformat(timespec="seconds"),
        "seconds": round(seconds, 1),
    }


def _write(path: Path, content: Mapping[str, Any], findings: Findings) -> None:
    text = json.dumps(encode(content), indent=1, allow_nan=False, ensure_ascii=False) + "\n"
    try:
        path.parent.mkdir(exist_ok=True)
        for name, picture in findings.files.items():
            write_atomically(path.parent / name, picture)
        write_atomically(path, text.encode())
    except OSError as error:
        raise OutputError(f"Cannot write {path}: {reason(error)}.") from error


def _is_done(path: Path, options: Mapping[str, object], run: Run) -> bool:
    """Whether the same was measured on a device of the same kind."""
    try:
        before = restore(json.loads(path.read_bytes()))
    except (OSError, ValueError):
        return False
    same = {"options": options, "signature": run.signature, "device": run.device.type}
    return isinstance(before, dict) and same.items() <= before.items()


def _misfit(name: str, run: Run, misfit: Misfit) -> Misfit:
    choices = Choices([conf_folder()])
    fitting = [
        other for other in choices.names("probe") if run.config.experiment in _experiments(other)
    ]
    instead = f"for this run there are {', '.join(fitting)}" if fitting else "no probe is for it"
    return Misfit(
        f"probe={name} does not fit {run.path}: it needs {misfit}. It is for the experiments "
        f"{', '.join(_experiments(name))}; {instead}."
    )


def _experiments(probe: str) -> list[str]:
    return [one.name for one in all_experiments().values() if probe in one.probes]


def _training_words(words: Sequence[str]) -> str:
    """What was typed, without what is about the probe."""
    about = ("job=", "probe=", "probe.", "runs=")
    return shlex.join(word for word in words if not word.startswith(about))
