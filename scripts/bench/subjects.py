"""The subjects, and their records on disk."""

import json
import time
from datetime import datetime
from importlib import import_module
from pathlib import Path
from typing import Any, NamedTuple

from bench.setting import Record, Setting
from node_repro.runs.environment import environment


class Subject(NamedTuple):
    """A subject: the module that measures it, its title, and about how long that takes on 2 cores.

    devices: where it can be measured.
    """

    name: str
    title: str
    minutes: float
    devices: tuple[str, ...] = ("cpu", "cuda")


SUBJECTS = (
    Subject("reads", "Host reads", 0.5, ("cpu",)),
    Subject("flow", "Flow iteration", 3),
    Subject("latent", "Latent-ODE iteration", 5),
    Subject("solver", "The solver alone", 6),
    Subject("starts", "Starting", 2),
    Subject("odenet", "ODE-Net iteration", 5),
    Subject("times", "Number of observation times", 6),
    Subject("discrete", "Discrete gradients", 3, ("cpu",)),
    Subject("memory", "Memory", 4, ("cpu",)),
    Subject("detest", "Evaluations at equal error", 3, ("cpu",)),
)
"""In the order of measurement: where time is short, the first ones count most."""


def path(folder: Path, subject: Subject, device: str) -> Path:
    """The file of a record."""
    return folder / f"{subject.name}_{device}.json"


def measure(subject: Subject, setting: Setting) -> Path:
    """Measure a subject and write its record."""
    began, at = time.perf_counter(), datetime.now().astimezone()
    record: Record = {"subject": subject.name, "title": subject.title}
    record |= import_module(f"bench.{subject.name}").measured(setting)
    record["environment"] = described(setting)
    record["began"] = at.isoformat(timespec="seconds")
    record["took_seconds"] = round(time.perf_counter() - began, 1)
    file = path(setting.folder, subject, setting.device.type)
    unfinished = file.with_suffix(".unfinished")
    unfinished.write_text(json.dumps(record, indent=1) + "\n")
    unfinished.replace(file)
    return file


def described(setting: Setting) -> dict[str, Any]:
    """What the numbers depend on: machine, versions, commit."""
    import torch

    facts = environment()
    git = facts["git"] or {}
    device = setting.device
    return {
        "device": device.type,
        "gpu": torch.cuda.get_device_name(device) if device.type == "cuda" else None,
        "cpu": facts["cpu_model"],
        "cores": facts["cpu_usable"],
        "platform": facts["platform"],
        "python": facts["python"],
        "torch": torch.__version__,
        "commit": git.get("sha"),
        "changed": git.get("dirty"),
        "rounds": setting.rounds,
    }


def read(folder: Path, device: str) -> dict[str, Record]:
    """The records of a folder by subject; subjects without one are left out."""
    files = {subject.name: path(folder, subject, device) for subject in SUBJECTS}
    return {name: json.loads(file.read_text()) for name, file in files.items() if file.is_file()}
