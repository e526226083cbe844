"""What an experiment chooses, read off conf/ without composing it: sixty of them in half a second.

It follows the one order that the project's files have: config.yaml, then the task's yaml, then the
experiment's. tests/reproduce/test_plan.py holds it against what hydra composes.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from node_repro.config.choices import Choices, leaves, load
from node_repro.config.components import section, takes
from node_repro.config.ignored_options import known_facts, reason
from node_repro.config.options import COMPONENTS
from node_repro.config.overrides import unquoted
from node_repro.reproduce import Experiment


class Experiments:
    """The experiments of one profile; each file of conf/ is read once."""

    def __init__(self, choices: Choices, profile: str) -> None:
        self.choices = choices
        choices.path("profile", profile)  # ConfigError where there is none
        self._profile = profile
        self._files: dict[Path, dict[str, Any]] = {}
        root = self._load(choices.folders[-1] / "config.yaml")
        self._first = {k: v for k, v in _overrides(root) if isinstance(v, str)}

    def read(self, name: str) -> Experiment:
        """One experiment. ConfigError where a file that it chooses is missing or malformed."""
        own = self.choices.content("experiment", name)
        task_name = dict(_overrides(own)).get("task", self._first["task"])
        task = self._load(self.choices.path("task", task_name))
        chosen = self._first | dict(_overrides(task)) | dict(_overrides(own))
        solver = self._load(self.choices.path("solver", chosen["solver"]))
        if "controller" not in dict((*_overrides(task), *_overrides(own))):
            chosen |= dict(_overrides(solver))
        trainer = task.get("trainer", {}) | own.get("trainer", {})
        budget = task.get("budget", {}).get(self._profile, {})
        iterations = _number(trainer.get("iterations"), budget)
        return Experiment(
            name=name,
            feeds=self.choices.comment("experiment", name),
            chosen=chosen,
            iterations=iterations,
            epochs=_number(trainer.get("epochs"), budget) if iterations is None else None,
            solves_ode=takes(section(self.choices, "model", chosen["model"])["_target_"], "solver"),
        )

    def fitting(self, extra: Sequence[str], experiment: Experiment) -> tuple[str, ...]:
        """Those of some overrides whose key the experiment's choices have, and read."""
        keys = {word: word.partition("=")[0] for word in extra}
        typed = {key: unquoted(word.partition("=")[2]) for word, key in keys.items()}
        facts = self._facts(experiment)
        task = self._load(self.choices.path("task", experiment.chosen["task"]))
        budget = task.get("budget", {}).get(self._profile, {})
        for name in ("trainer.iterations", "data.source"):
            value = typed.get(name, _resolved(facts.get(name), budget))
            facts[name] = None if value == "null" else value
        return tuple(
            word
            for word, key in keys.items()
            if self._has(key, experiment) and reason(key, facts) is None
        )

    def _facts(self, experiment: Experiment) -> dict[str, Any]:
        """What `config.ignored_options` is asked with, as far as the yaml files say it."""
        chosen = experiment.chosen
        values: dict[str, Any] = {}
        targets: dict[str, str | None] = {}
        for group in (*COMPONENTS, "solver"):
            content = section(self.choices, group, chosen[group])
            targets[group] = content.get("_target_")
            values |= dict(leaves(content, f"{group}."))
        for group, name in (("task", chosen["task"]), ("experiment", experiment.name)):
            values |= dict(leaves(self.choices.content(group, name)))
        return known_facts(chosen, values, targets)

    def _has(self, key: str, experiment: Experiment) -> bool:
        group, dot, rest = key.partition(".")
        if not dot or group not in experiment.chosen:
            return True
        content = self._load(self.choices.path(group, experiment.chosen[group]))
        section = content.get(group, {}) if group == "task" else content
        return rest in section

    def _load(self, path: Path) -> dict[str, Any]:
        if path not in self._files:
            self._files[path] = load(path)
        return self._files[path]


def _number(value: object, budget: Mapping[str, Any]) -> int | None:
    """A value, or the entry of the task's budget that it takes."""
    value = _resolved(value, budget)
    return value if isinstance(value, int) else None


def _resolved(value: object, budget: Mapping[str, Any]) -> object:
    if isinstance(value, str) and (
        path := re.fullmatch(r"\$\{budget\.\$\{profile\}\.(\w+)\}", value)
    ):
        return budget.get(path[1])
    return value


def _overrides(content: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """Group and choice of every entry in a defaults list, but for hydra's own."""
    for entry in content.get("defaults", []):
        for key, value in entry.items() if isinstance(entry, Mapping) else ():
            group = key.removeprefix("override ").removeprefix("/").partition("@")[0]
            if not group.startswith("hydra"):
                yield group, value
