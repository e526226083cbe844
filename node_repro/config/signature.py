"""Signature of a run: a hash over every key that changes results; and the run's folder."""

import hashlib
import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

from node_repro.config import Component, Config
from node_repro.config.backward import differences
from node_repro.config.choices import choices_in
from node_repro.config.components import options_of
from node_repro.config.options import COMPONENTS, root_options
from node_repro.experiments import all_names

UNSIGNED = frozenset(
    {
        *("job", "runs", "seed", "device", "name", "outputs", "threads", "progress", "debug"),
        *("trainer.eval_batch_size", "trainer.checkpoint_seconds", "trainer.log_every"),
        "trainer.keep_weights",
        *("data.root", "data.source", "data.download", "data.path"),
        *("profile", "experiment", "engine"),
    }
)
"""Keys and groups that are not part of the signature. They change results to rounding at most, with
two exceptions: the seed, which has its own folder, and the location of the data, for which the name
of the data set is part of the signature.
"""

LEFT_OUT = {
    "trainer.evaluate_every": None,
    "trainer.clip": None,
    "model.activation": "relu",
    "model.rollout": 0.0,
    "task.noise_annealing": 0,
    "task.poisson_term": True,
    "data.mark_sd": 0.1,
    "model.augment": 0,
}
"""Keys that are left out of signatures and of config.yaml at these values. The options were added
later, and runs made before had the behaviour that these values stand for.
"""

FORMER_MODULES = {
    "node_repro.ode.scipy.": "node_repro.ode.host.",
    "node_repro.training.optimizers.": "torch.optim.",
    "node_repro.data.labelled_points.LabelledCurves": "node_repro.data.labelled.Labelled",
    "node_repro.data.labelled_points.": "node_repro.data.labelled.",
    "node_repro.data.noisy_function.NoisyFunction": "node_repro.data.curve.Curve",
    "node_repro.data.noisy_function.": "node_repro.data.curve.",
}
"""Prefixes of dotted paths of moved classes -> the prefix used in signatures.

A signature contains the dotted paths of the chosen classes. For a class that has moved to another
module its first path is used, so that its finished runs are found.
"""

FORMER_PATHS = {
    f"node_repro.ode.methods.explicit.{name}": f"node_repro.ode.methods.{name.lower()}.{name}"
    for name in (
        "ADAPTIVE_HEUN",
        "BOSH3",
        "EULER",
        "FEHLBERG2",
        "HEUN",
        "HEUN3",
        "MIDPOINT",
        "RK4",
        "RK38",
    )
}
"""The same for single objects: methods that had separate modules."""


def plain(config: Config) -> dict[str, Any]:
    """The whole configuration as nested plain values.

    In addition to its keys, each group has `choice`, the name of its yaml. Keys at the values of
    LEFT_OUT are left out, so that they do not distinguish a run from one made before.
    """
    content: dict[str, Any] = {
        key: getattr(config, key)
        for key in root_options()
        if "." not in key and key not in ("rtol", "atol")
    }
    content |= {"profile": config.profile, "experiment": config.experiment}
    content |= {group: {"choice": part.name} for group, part in _components(config).items()}
    if config.ode is not None:
        content["solver"] = {"choice": config.ode.solver.name}
    for key, value in _options(config).items():
        group, _, rest = key.rpartition(".")
        (content.setdefault(group, {}) if group else content)[rest] = value
    return json.loads(json.dumps(content))


def semantic(config: Config, data_name: str) -> dict[str, Any]:
    """Dotted key -> value of everything that changes results.

    Args:
        config: The configuration.
        data_name: Name of the loaded data set ("mnist", "mnist-embedded").
    """
    values = _options(config) | {"precision": config.precision}
    values |= {"deterministic": config.deterministic}
    if config.trainer.iterations is not None:
        del values["trainer.epochs"]
    signed = {
        key: value
        for key, value in values.items()
        if is_signed(key) and (key not in LEFT_OUT or value != LEFT_OUT[key])
    }
    return {"data": data_name} | signed


def is_signed(key: str) -> bool:
    """Whether a dotted key is part of the signature."""
    return not {key, key.partition(".")[0]} & UNSIGNED


def harmless() -> frozenset[str]:
    """The groups and dotted keys of `plain` in which runs with the same signature may differ."""
    return UNSIGNED


def signed_keys() -> dict[str, type]:
    """All keys, of all choices, that are part of a signature, with the type of their values."""
    choices = choices_in()
    options = dict(root_options())
    for group in (*COMPONENTS, "solver"):
        for name in choices.names(group):
            options |= options_of(choices, group, name)
    return {
        key: option.value_type if option.value_type and not option.many else str
        for key, option in options.items()
        if is_signed(key) and not option.dotted
    }


def _components(config: Config) -> dict[str, Component]:
    parts = {
        "task": config.task,
        "model": config.model,
        "data": config.data,
        "optimizer": config.optimizer,
        "schedule": config.schedule,
    }
    if config.ode is not None:
        ode = config.ode
        parts |= {"controller": ode.controller, "gradient": ode.gradient, "engine": ode.engine}
    return parts


def _values(config: Config) -> dict[str, Any]:
    """Dotted key -> value of the chosen components, and the tolerances of the solve."""
    values: dict[str, Any] = {}
    for group, part in _components(config).items():
        values[f"{group}._target_"] = _first_path(part.target)
        values |= {
            f"{group}.{key}": _first_path(value) if isinstance(value, str) else value
            for key, value in part.options.items()
        }
    if config.ode is not None:
        solver = config.ode.solver
        if solver.method is not None:
            values["solver.method"] = _first_path(solver.method)
        if solver.target is not None:
            values["solver._target_"] = _first_path(solver.target)
        values |= {f"solver.{key}": value for key, value in solver.options.items()}
        for key in ("controller", "step_size", "max_steps"):
            values.pop(f"gradient.{key}", None)
        values |= differences(config.ode)  # keys without a difference are left out
        values |= {"rtol": config.ode.rtol, "atol": config.ode.atol}
    return values


def _first_path(path: str | None) -> str | None:
    """The first dotted path of a class that has moved."""
    if path in FORMER_PATHS:
        return FORMER_PATHS[path]
    for current, first in FORMER_MODULES.items():
        if path is not None and path.startswith(current):
            return first + path.removeprefix(current)
    return path


def _options(config: Config) -> dict[str, Any]:
    """Dotted key -> value of all components and of the trainer, without those of LEFT_OUT."""
    trainer = {f"trainer.{key}": value for key, value in asdict(config.trainer).items()}
    values = _values(config) | trainer
    return {k: value for k, value in values.items() if k not in LEFT_OUT or value != LEFT_OUT[k]}


def signature(config: Config, data_name: str) -> str:
    """Hash of everything that changes results, as eight hexadecimal digits.

    Args:
        config: The configuration.
        data_name: Name of the loaded data set.
    """
    text = json.dumps(semantic(config, data_name), sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:8]


def run_name(config: Config) -> str:
    """`name=`, else the experiment's name, else "<task>_<model>"."""
    return config.name or config.experiment or f"{config.task.name}_{config.model.name}"


def run_path(config: Config, data_name: str) -> Path:
    """The run's folder, which need not exist.

    It is <name>/seed<k> with `name=`, else <experiment>/<profile>-<data>-<signature>/seed<k>. A run
    started under a former name of its experiment keeps its folder.

    Args:
        config: The configuration.
        data_name: Name of the loaded data set.
    """
    outputs, seed = Path(config.outputs), f"seed{config.seed}"
    if config.name is not None:
        return outputs / config.name / seed
    name = run_name(config)
    inner = Path(f"{config.profile}-{data_name}-{signature(config, data_name)}", seed)
    paths = [outputs / one / inner for one in all_names(name)]
    return next((path for path in paths if (path / "config.yaml").is_file()), paths[0])
