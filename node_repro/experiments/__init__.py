"""Descriptions of the experiments.

The modules of this package list every row and panel of the paper and a few additional experiments.
Composition (`experiment=NAME`), `node-run list`, `node-run reproduce`, the probes and the report
read these descriptions. To add an experiment, append it to one of the lists, or put a yaml file
into the folder `experiment/` of `conf/` or of `--config-dir` (docs/tutorials/new_experiment.md);
`config.choices.Choices.experiments` returns both kinds.

This package imports neither other parts of the project nor torch or hydra.
"""

from collections.abc import Mapping
from functools import cache

from node_repro.experiments import augmented, flows, images, physics, sampling, series, small
from node_repro.experiments.description import Experiment as Experiment


@cache
def all_experiments() -> Mapping[str, Experiment]:
    """The experiments described in this package, by name."""
    modules = (images, small, flows, series, sampling, augmented, physics)
    return {one.name: one for module in modules for one in module.EXPERIMENTS}


@cache
def _current_names() -> Mapping[str, str]:
    return {old: one.name for one in all_experiments().values() for old in one.former_names}


def current_name(name: str) -> str:
    """The current name of an experiment given by a former name; other names are returned as is."""
    return _current_names().get(name, name)


def all_names(name: str) -> tuple[str, ...]:
    """The current name of an experiment and its former ones; another name alone."""
    described = all_experiments().get(name)
    return described.names if described else (name,)
