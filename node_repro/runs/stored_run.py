"""`StoredRun` reads a run's directory; `find_runs` finds all runs below an outputs folder."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import yaml

from node_repro.experiments import all_names, current_name
from node_repro.runs import OutputError
from node_repro.runs.json_values import restore
from node_repro.runs.lock import is_held
from node_repro.runs.metrics_file import read_metrics
from node_repro.runs.result import RunResult


@dataclass(frozen=True)
class StoredRun:
    """A run's directory, finished or not. Files are read when an attribute is first accessed.

    The layout of the path is that of `config.signature.run_path`:
    outputs/<experiment>/<profile>-<data>-<signature>/seed<k>.
    """

    path: Path

    @property
    def experiment(self) -> str:
        """The experiment's current name, or "<task>_<model>", from the folder's name."""
        return current_name(self.path.parent.parent.name)

    @property
    def profile(self) -> str:
        """The profile, from the folder's name."""
        return self.path.parent.name.partition("-")[0]

    @property
    def seed(self) -> int:
        """The seed, from the folder's name."""
        return int(self.path.name.removeprefix("seed"))

    @property
    def signature(self) -> str:
        """The hash of the configuration, from the folder's name."""
        return self.path.parent.name.rpartition("-")[2]

    @property
    def data(self) -> str:
        """The data set's name, as in "mnist-embedded"; also for unfinished runs."""
        if self.result is not None:
            return self.result.data
        return self.path.parent.name.partition("-")[2].rpartition("-")[0]

    @cached_property
    def state(self) -> str:
        """COMPLETED, RUNNING, INTERRUPTED, FAILED, or DAMAGED if result.json cannot be read.

        A killed run, which could not record its state, is INTERRUPTED.
        """
        if self.result is not None:
            return "COMPLETED"
        if self._result_error:
            return "DAMAGED"
        state = str(self.status.get("state", "INTERRUPTED"))
        if state == "RUNNING" and not is_held(self.path / "lock"):
            return "INTERRUPTED"
        return state

    @property
    def since(self) -> str:
        """When the run entered its state, in ISO 8601; "" if unknown."""
        return str(self.status.get("since", ""))

    @cached_property
    def status(self) -> Mapping[str, Any]:
        """The content of status.json; empty if it cannot be read."""
        return _read_json(self.path / "status.json")

    @property
    def result(self) -> RunResult | None:
        """The result; None if the run is not finished or result.json cannot be read."""
        return self._read_result[0]

    @property
    def _result_error(self) -> str:
        return self._read_result[1]

    @cached_property
    def _read_result(self) -> tuple[RunResult | None, str]:
        try:
            return RunResult.read(self.path / "result.json"), ""
        except FileNotFoundError:
            return None, ""
        except (OSError, ValueError) as error:
            return None, str(error) or type(error).__name__

    @cached_property
    def environment(self) -> Mapping[str, Any]:
        """The content of environment.json; empty if it cannot be read."""
        return _read_json(self.path / "environment.json")

    @property
    def commit(self) -> str:
        """Git commit of the program, with "+" if files were changed; without git its version."""
        git = self.environment.get("git") or {}
        if not git.get("sha"):
            return f"version {self.environment.get('package_version', 'unknown')}"
        return git["sha"][:8] + ("+" if git.get("dirty") else "")

    @property
    def torch(self) -> str:
        """torch's version."""
        return (self.environment.get("versions") or {}).get("torch", "unknown")

    @cached_property
    def config(self) -> Mapping[str, Any]:
        """The resolved configuration, nested; empty if it cannot be read."""
        return _read_mapping(self.path / "config.yaml", yaml.safe_load) or {}

    @cached_property
    def metrics(self) -> Sequence[Mapping[str, Any]]:
        """The lines of metrics.jsonl; empty if the file cannot be read."""
        try:
            return read_metrics(self.path / "metrics.jsonl")
        except OutputError:
            return ()

    @cached_property
    def probes(self) -> Mapping[str, Mapping[str, Any]]:
        """Probe -> its measurement of this run, with `facts` and `rows`.

        Unreadable files are left out.
        """
        contents = {path.stem: _read_json(path) for path in sorted(self.path.glob("probes/*.json"))}
        return {name: content for name, content in contents.items() if _is_probe(content)}

    def file(self, name: str) -> Path | None:
        """The path of a file of the run, as in "pictures/density.png"; None if it is missing."""
        path = self.path / name
        return path if path.is_file() else None

    def arrays(self, name: str) -> Mapping[str, Any] | None:
        """The arrays of a .npz file of the run; None if it is missing or damaged."""
        import numpy as np

        try:
            with open(self.path / name, "rb") as file, np.load(file) as arrays:
                return dict(arrays)
        except Exception:  # numpy, zipfile and zlib raise many types for a damaged file
            return None


def find_runs(
    outputs: Path, *, experiment: str = "*", profile: str = "*", seed: int | None = None
) -> list[StoredRun]:
    """The runs in outputs/<experiment>/<profile>-<data>-<signature>/seed<k>, sorted by path.

    Args:
        outputs: The folder of all runs.
        experiment: Only runs of this experiment, also in folders with its former names.
        profile: Only runs of this profile.
        seed: Only runs with this seed.

    Runs started with `name=...` have another layout and are not found.
    """
    seeds = "*" if seed is None else seed
    folders = [
        folder
        for name in all_names(experiment)
        for folder in sorted(outputs.glob(f"{name}/{profile}-*/seed{seeds}"))
    ]
    return [
        StoredRun(folder)
        for folder in folders
        if folder.name.removeprefix("seed").isdecimal() and (folder / "config.yaml").is_file()
    ]


def _is_probe(content: Mapping[str, Any]) -> bool:
    rows = content.get("rows")
    whole = isinstance(rows, list) and all(isinstance(row, dict) for row in rows)
    return whole and isinstance(content.get("facts"), dict)


def _read_json(path: Path) -> dict[str, Any]:
    return _read_mapping(path, lambda text: restore(json.loads(text))) or {}


def _read_mapping(path: Path, parse: Callable[[str], object]) -> dict[str, Any] | None:
    """The mapping in a file; None if the file is missing, damaged or not a mapping."""
    try:
        content = parse(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, yaml.YAMLError):
        return None
    if not isinstance(content, dict):
        return None
    return {str(key): value for key, value in content.items()}
