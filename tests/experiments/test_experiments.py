"""Experiments: descriptions in Python and in yaml files compose, and former names stay good."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from node_repro.config.choices import Choices, conf_folder
from node_repro.config.compose import compose
from node_repro.config.experiments import from_values, replace_former_names, to_content
from node_repro.config.options import GROUPS
from node_repro.config.signature import run_path, signature
from node_repro.experiments import all_experiments, current_name
from node_repro.runs.json_values import flatten

CHOICES = Choices([conf_folder()])
MINE = """\
# @package _global_
# My ODE-Net with fewer channels.
defaults:
  - override /task: mnist
  - override /model: odenet
probes: [memory]
model: {channels: 32}
"""


@pytest.fixture
def mine(tmp_path: Path) -> Path:
    """A user's folder with one experiment."""
    folder = tmp_path / "conf"
    (folder / "experiment").mkdir(parents=True)
    (folder / "experiment" / "mine.yaml").write_text(MINE)
    return folder


def test_probes_are_those_of_conf_and_every_probe_has_an_experiment() -> None:
    probes = {probe for one in all_experiments().values() for probe in one.probes}
    assert probes == set(CHOICES.names("probe"))


@pytest.mark.parametrize("name", all_experiments())
def test_a_description_and_its_yaml_form_say_the_same(name: str) -> None:
    one = all_experiments()[name]
    again = from_values(name, one.purpose, flatten(to_content(one)))
    assert again == replace(one, feeds=None, probes=(), former_names=())
    assert all(key in GROUPS or "." in key for key in one.overrides)


def test_a_yaml_file_is_an_experiment_with_its_probes(mine: Path) -> None:
    choices = Choices([mine, conf_folder()])
    one = choices.experiments()["mine"]
    assert (one.title, one.probes) == ("My ODE-Net with fewer channels.", ("memory",))
    assert (one.choice("model"), one.choice("data")) == ("odenet", None)
    assert one.overrides["model.channels"] == 32
    config = compose(["experiment=mine"], [mine])
    assert (config.experiment, config.model.options["channels"]) == ("mine", 32)


def test_a_yaml_file_wins_over_a_description(mine: Path) -> None:
    (mine / "experiment" / "mine.yaml").rename(mine / "experiment" / "table1_mlp.yaml")
    choices = Choices([mine, conf_folder()])
    assert choices.experiments()["table1_mlp"].choice("model") == "odenet"
    assert compose(["experiment=table1_mlp"], [mine]).model.name == "odenet"


def test_former_names_are_accepted() -> None:
    words, notices = replace_former_names(["experiment=seed2_linear,table1_mlp", "name=seed2_x"])
    assert words == ["experiment=toys_linear,table1_mlp", "name=seed2_x"]
    assert len(notices) == 1 and "toys_linear" in notices[0]
    assert current_name("seed2_rings") == "toys_rings"
    assert current_name("table1_mlp") == "table1_mlp"
    assert compose(["experiment=seed2_linear"]).experiment == "toys_linear"


def test_a_run_of_a_former_name_is_found(tmp_path: Path) -> None:
    config = compose(["experiment=toys_linear", f"outputs={tmp_path}"])
    new = tmp_path / "toys_linear" / f"quick-line-{signature(config, 'line')}" / "seed0"
    assert run_path(config, "line") == new
    old = tmp_path / "seed2_linear" / new.relative_to(tmp_path / "toys_linear")
    old.mkdir(parents=True)
    (old / "config.yaml").write_text(json.dumps({}))
    assert run_path(config, "line") == old
    new.mkdir(parents=True)
    (new / "config.yaml").write_text(json.dumps({}))
    assert run_path(config, "line") == new
