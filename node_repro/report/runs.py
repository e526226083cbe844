"""The runs below an outputs folder, read from their files.

Which runs speak for an experiment: those of one profile, of one signature, finished. Where several
signatures are finished, the newest one's are taken. Full and embedded digits are never mixed: full
ones are taken where there are any, and then embedded ones are left out everywhere.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import yaml

from node_repro.experiments import current_name
from node_repro.runs import OutputError
from node_repro.runs.metrics import read_metrics, restore
from node_repro.runs.result import read_result

EMBEDDED = "-embedded"
DIGITS = "mnist"


@dataclass(frozen=True)
class Run:
    """One run's directory. result is None until it is finished."""

    path: Path
    experiment: str
    profile: str
    seed: int
    signature: str
    state: str  # COMPLETED, RUNNING, ..., UNKNOWN, or DAMAGED: a result that cannot be read
    since: str  # when it came to its state, in ISO 8601
    result: Mapping[str, Any] | None
    environment: Mapping[str, Any]

    @property
    def data(self) -> str:
        """The data set's name; read off the folder's name while the run is not finished."""
        if self.result is not None:
            return self.result["data"]
        return self.path.parent.name.removeprefix(f"{self.profile}-").rpartition("-")[0]

    @property
    def commit(self) -> str:
        """The commit that the program stood at, "+" if it was changed; else its version."""
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
        """The resolved configuration, nested."""
        return _yaml(self.path / "config.yaml")

    @cached_property
    def metrics(self) -> Sequence[Mapping[str, Any]]:
        """The lines of metrics.jsonl; none where it cannot be read."""
        try:
            return read_metrics(self.path / "metrics.jsonl")
        except OutputError:
            return ()

    @cached_property
    def probes(self) -> Mapping[str, Mapping[str, Any]]:
        """What probes measured on this run, facts and rows, by the probes' names; a damaged file
        counts for none."""
        read = {path.stem: _json(path) or {} for path in sorted(self.path.glob("probes/*.json"))}
        return {name: content for name, content in read.items() if _is_measured(content)}

    def file(self, name: str) -> Path | None:
        """A file of the run, as in "pictures/density.png"; None if there is none."""
        path = self.path / name
        return path if path.is_file() else None

    def arrays(self, name: str) -> Mapping[str, Any] | None:
        """The arrays of a .npz file of the run; None if there is none that can be read."""
        import numpy as np

        try:
            with open(self.path / name, "rb") as file, np.load(file) as arrays:
                return dict(arrays)
        except Exception:  # zipfile, zlib and numpy say many things of damaged files
            return None


@dataclass(frozen=True)
class Runs:
    """All runs of one profile."""

    profile: str
    found: Sequence[Run]
    experiments: Mapping[str, str] = field(default_factory=dict)  # name -> its first comment

    @cached_property
    def digits(self) -> str:
        """What is appended to the names of the digits' data sets: "" for full, "-embedded"."""
        finished = [run for run in self.found if run.result and run.data.startswith(DIGITS)]
        whole = any(not run.data.endswith(EMBEDDED) for run in finished)
        return "" if whole or not finished else EMBEDDED

    def of(self, experiment: str) -> tuple[Run, ...]:
        """The finished runs that speak for an experiment, by seed; empty if there are none."""
        known = [run for run in self.found if run.experiment == experiment]
        finished = [run for run in known if run.result and self.usable(run)]
        if not finished:
            return ()
        newest = max(finished, key=lambda run: (run.since, run.signature, -run.seed))
        chosen = (run for run in finished if run.path.parent == newest.path.parent)
        return tuple(sorted(chosen, key=lambda run: run.seed))

    def usable(self, run: Run) -> bool:
        """Whether the run's data set is not the other one of full and embedded digits."""
        is_digits = run.data.startswith(DIGITS)
        return not is_digits or run.data.endswith(EMBEDDED) == (self.digits == EMBEDDED)

    def probed(self, experiment: str, probe: str) -> tuple[Run, ...]:
        """The runs of an experiment that a probe has measured, by seed."""
        return tuple(run for run in self.of(experiment) if probe in run.probes)

    def left_out(self) -> tuple[Run, ...]:
        """Finished runs that speak for nothing: of an older signature or of the other digits."""
        names = {run.experiment for run in self.found}
        used = {run.path for name in names for run in self.of(name)}
        return tuple(run for run in self.found if run.result and run.path not in used)


def read_runs(outputs: Path, profile: str, experiments: Mapping[str, str]) -> Runs:
    """The runs of one profile below outputs/<experiment>/<profile>-<data>-<signature>/seed<k>.

    Runs with a name of their own are not the experiments' and are left alone.
    """
    folders = sorted(outputs.glob(f"*/{profile}-*/seed*"))
    found = [run for folder in folders if (run := _read(folder, profile)) is not None]
    return Runs(profile, tuple(found), dict(experiments))


def _read(folder: Path, profile: str) -> Run | None:
    number = folder.name.removeprefix("seed")
    if not number.isdecimal() or not (folder / "config.yaml").is_file():
        return None
    status = _json(folder / "status.json") or {}
    result, state = None, str(status.get("state", "UNKNOWN"))
    try:
        result = read_result(folder / "result.json")
    except FileNotFoundError:
        pass
    except (OSError, ValueError):
        state = "DAMAGED"
    return Run(
        path=folder,
        experiment=current_name(folder.parent.parent.name),
        profile=profile,
        seed=int(number),
        signature=folder.parent.name.rpartition("-")[2],
        state=state,
        since=str(status.get("since", "")),
        result=result,
        environment=_json(folder / "environment.json") or {},
    )


def _is_measured(content: Mapping[str, Any]) -> bool:
    rows = content.get("rows")
    whole = isinstance(rows, list) and all(isinstance(row, dict) for row in rows)
    return whole and isinstance(content.get("facts"), dict)


def _json(path: Path) -> dict[str, Any] | None:
    return _mapping(path, lambda text: restore(json.loads(text)))


def _yaml(path: Path) -> dict[str, Any]:
    return _mapping(path, yaml.safe_load) or {}


def _mapping(path: Path, parse: Callable[[str], object]) -> dict[str, Any] | None:
    """A file's mapping; None where the file is missing, damaged or something else."""
    try:
        content = parse(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, yaml.YAMLError):
        return None
    return (
        {str(key): value for key, value in content.items()} if isinstance(content, dict) else None
    )
