"""What other people's runs and scripts depend on: signatures and exit codes.

A run's signature is part of its directory's name. A changed one makes every finished run of the
configuration unfindable, so each change of `tests/pinned/signatures.json` is deliberate.
"""

import ast
import json
from pathlib import Path

import pytest

import node_repro
from node_repro.config.choices import Choices, conf_folder
from node_repro.config.compose import compose
from node_repro.config.signature import signature

PINNED = json.loads((Path(__file__).parent / "pinned" / "signatures.json").read_text("utf-8"))

EXIT_CODES = {
    "ConfigError": 2,
    "ShareError": 2,
    "NotApplicable": 2,
    "UnusedParameterError": 2,
    "DataError": 3,
    "SolverError": 4,
    "DivergedError": 4,
    "ResourceError": 5,
    "LostProcessError": 5,
    "LaunchError": 5,
    "OutputError": 6,
    "CheckpointError": 7,
}


CHOICES = Choices([conf_folder()])
EXPERIMENTS = {f"experiment={name} profile=quick": name for name in CHOICES.names("experiment")}


@pytest.mark.parametrize(("words", "name"), EXPERIMENTS.items())
def test_every_experiment_composes_to_its_signature(words: str, name: str) -> None:
    config = compose(words.split())
    assert config.experiment == name
    if words in PINNED:  # a new experiment has no runs that must be found
        assert signature(config, "pinned") == PINNED[words]


@pytest.mark.parametrize("words", [words for words in PINNED if words not in EXPERIMENTS])
def test_a_configuration_keeps_its_signature(words: str) -> None:
    assert signature(compose(words.split()), "pinned") == PINNED[words]


def test_every_kind_of_failure_keeps_its_exit_code() -> None:
    found = {}
    for path in Path(node_repro.__file__).parent.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ClassDef):
                for line in node.body:
                    if isinstance(line, ast.AnnAssign) and ast.unparse(line.target) == "exit_code":
                        assert isinstance(line.value, ast.Constant)
                        found[node.name] = line.value.value
    assert found == EXIT_CODES
