"""The yaml files of conf/: the choices of a group, the keys of a choice, the nearest name.

conf/ is inside the package if it was installed from a wheel, and beside it in a checkout.
"""

import difflib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf
from yaml import MarkedYAMLError

from node_repro.config import ConfigError
from node_repro.config.experiments import PROBES, from_values, to_content
from node_repro.config.options import GROUPS
from node_repro.experiments import Experiment, all_experiments
from node_repro.runs.json_values import flatten

_NOT_KEYS = ("defaults", "budget", "profile", PROBES)
"""Entries of a choice's yaml that are not keys of the configuration. `budget` holds the numbers of
a task for every profile, to which other entries refer by `${budget.${profile}.iterations}`.
"""

SEE_LIST = "`node-run list` shows all experiments"


@dataclass(frozen=True)
class Choices:
    """The choices in a sequence of folders; the first folder that has a choice takes precedence."""

    folders: Sequence[Path]

    def names(self, group: str) -> list[str]:
        """The choices of a group, sorted; empty for an unknown group."""
        files = (path for folder in self.folders for path in (folder / group).glob("*.yaml"))
        described = all_experiments() if group == "experiment" else ()
        return sorted({path.stem for path in files} | set(described))

    def path(self, group: str, name: str) -> Path:
        """The file of one choice; ConfigError if there is none."""
        if (path := self._file(group, name)) is None:
            raise unknown_choice(group, name, self.names(group))
        return path

    def _file(self, group: str, name: str) -> Path | None:
        paths = (folder / group / f"{name}.yaml" for folder in self.folders)
        return next((path for path in paths if path.is_file()), None)

    def content(self, group: str, name: str) -> dict[str, Any]:
        """The unresolved content of one choice, merged with that of its bases.

        Bases are choices of the same group in its defaults list. Raises ConfigError if there is no
        such choice.
        """
        if group == "experiment" and (one := self.described(name)):
            return to_content(one)
        own = load(self.path(group, name))
        bases = (entry for entry in own.get("defaults", []) if isinstance(entry, str))
        content: dict[str, Any] = {}
        for base in bases:
            content |= {} if base == "_self_" else self.content(group, base)
        return content | own

    def experiments(self) -> dict[str, Experiment]:
        """All experiments by name: those described in Python and those of yaml files."""
        return {name: self.experiment(name) for name in self.names("experiment")}

    def described(self, name: str) -> Experiment | None:
        """An experiment described in Python and not replaced by a yaml file, else None."""
        return None if self._file("experiment", name) else all_experiments().get(name)

    def experiment(self, name: str) -> Experiment:
        """The description of one experiment; ConfigError if there is none."""
        if one := self.described(name):
            return one
        comment = self.comment("experiment", name)
        return from_values(name, comment, flatten(load(self.path("experiment", name))))

    def keys(self, group: str, name: str) -> list[str]:
        """The dotted keys that one choice has below its group."""
        content = self.content(group, name)
        return [key for key in flatten(content) if key.partition(".")[0] not in _NOT_KEYS]

    def chosen_by(self, group: str, name: str) -> list[str]:
        """The groups that one choice overrides in its defaults list."""
        entries = self.content(group, name).get("defaults", [])
        written = [key for entry in entries if isinstance(entry, dict) for key in entry]
        return [key.removeprefix("override /").split("@")[0] for key in written]

    def brings(self, group: str, name: str, other: str) -> str | None:
        """The choice of the group `other` in one choice's defaults list; None if it has none."""
        for entry in self.content(group, name).get("defaults", []):
            for key, value in entry.items() if isinstance(entry, dict) else ():
                if key.removeprefix("override /").split("@")[0] == other:
                    return value
        return None

    def owners(self, key: str) -> list[str]:
        """The choices that have a dotted key, as in ["controller=constant"]."""
        group, _, rest = key.partition(".")
        names = self.names(group)
        return [f"{group}={name}" for name in names if {rest, key} & set(self.keys(group, name))]

    def groups_with(self, name: str) -> list[str]:
        """The groups that have a choice of this name, as in ["data=mnist", "task=mnist"]."""
        return [f"{group}={name}" for group in GROUPS if name in self.names(group)]

    def comment(self, group: str, name: str) -> str:
        """The first comment of a choice's yaml, or an experiment's title."""
        if group == "experiment" and (one := self.described(name)):
            return one.title
        lines = self.path(group, name).read_text(encoding="utf-8").splitlines()
        comments = (line[1:].strip() for line in lines if line.startswith("#"))
        return next((text for text in comments if not text.startswith("@")), "")


def choices_in(own_folders: Iterable[Path] = ()) -> Choices:
    """The choices of the user's folders (`--config-dir`) and of the project's conf/.

    Raises:
        ConfigError: A folder is missing, or contains a file that hydra would ignore because conf/
            has one with the same group and name.
    """
    project, folders = conf_folder(), []
    for folder in own_folders:
        if not folder.is_dir():
            raise ConfigError(f"--config-dir {folder}: there is no such folder")
        if folder.samefile(project):
            continue
        folders.append(folder)
        for file in sorted(folder.glob("*/*.yaml")):
            group, name = file.parent.name, file.stem
            if group in GROUPS and (project / group / file.name).is_file():
                raise ConfigError(
                    f"{file}: {group}={name} is built in, and this file would be ignored; "
                    f"rename it, for example to my_{file.name}, and choose {group}=my_{name}"
                )
    return Choices([*folders, project])


def split_config_dirs(words: Iterable[str]) -> tuple[list[str], list[Path]]:
    """Split a command line into the folders of `--config-dir DIR` and the other words.

    Returns:
        The other words, and the folders.
    """
    rest, folders = [], []
    waiting = iter(words)
    for word in waiting:
        flag, equals, value = word.partition("=")
        if flag not in ("--config-dir", "-cd"):
            rest.append(word)
        elif folder := value if equals else next(waiting, ""):
            folders.append(Path(folder))
        else:
            raise ConfigError(f"{flag} needs a folder: {flag}=DIR")
    return rest, folders


def conf_folder() -> Path:
    """The folder of the project's yaml files; ConfigError if it is missing."""
    package = Path(__file__).resolve().parents[1]
    for folder in (package / "conf", package.parent / "conf"):
        if (folder / "config.yaml").is_file():
            return folder
    raise ConfigError(f"the configuration folder conf/ is missing beside or in {package}")


def load(path: Path) -> dict[str, Any]:
    """The unresolved content of a yaml file; ConfigError with file and line if it is malformed."""
    return dict(_load(path, path.stat().st_mtime_ns))


@cache
def _load(path: Path, _modified: int) -> dict[str, Any]:
    try:
        content = OmegaConf.to_container(OmegaConf.load(path), resolve=False)
    except MarkedYAMLError as error:
        raise malformed(error, path) from error
    if not isinstance(content, dict):
        raise ConfigError(f"{path} contains a list instead of keys and values")
    return {str(key): value for key, value in content.items()}


def malformed(error: MarkedYAMLError, path: Path | None = None) -> ConfigError:
    """A yaml error as a ConfigError of one line."""
    mark = error.problem_mark
    file = path or (mark.name if mark else "a yaml file")
    line = f", line {mark.line + 1}" if mark else ""
    return ConfigError(f"malformed yaml in {file}{line}: {error.problem}")


def nearest(word: str, candidates: Iterable[str]) -> str | None:
    """The candidate most similar to a word, in whole or in its last part; None if none is close."""

    def likeness(candidate: str) -> float:
        whole = difflib.SequenceMatcher(None, word, candidate).ratio()
        last = difflib.SequenceMatcher(
            None, word.rpartition(".")[2], candidate.rpartition(".")[2]
        ).ratio()
        return max(whole, 0.95 * last)

    best = max(candidates, key=likeness, default=None)
    return best if best is not None and likeness(best) >= 0.55 else None


def unknown_choice(group: str, name: object, names: Sequence[str]) -> ConfigError:
    """The error for a choice that a group does not have."""
    near = nearest(str(name), names)
    hint = f"; did you mean {group}={near}? " if near else "; "
    listed = SEE_LIST if group == "experiment" else f"there are: {', '.join(names)}"
    return ConfigError(f"unknown {group} {str(name)!r}{hint}{listed}")
