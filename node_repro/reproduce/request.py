"""The command line of `node-run list` and `node-run reproduce`."""

import os
import re
from collections.abc import Mapping, Sequence
from fnmatch import fnmatchcase
from pathlib import Path

from node_repro.config import ConfigError
from node_repro.config.choices import Choices, choices_in, split_config_dirs, unknown_choice
from node_repro.config.options import GROUPS
from node_repro.config.overrides import declared, unknown_key, unquoted
from node_repro.reproduce import Request
from node_repro.reproduce.launchers import LAUNCHERS
from node_repro.reproduce.named_plans import PLANS, NamedPlan

_NOT_FOR_ALL = ("job", "runs", "probe", "name")
_OWN = ("plan", "profile", "seed", "outputs", "jobs", "experiment", "launcher")
_OF_LAUNCHER = "launcher."


def read_request(
    words: Sequence[str], environment: Mapping[str, str] = os.environ
) -> tuple[Request, Choices]:
    """Parse the command line; returns the request and the available choices.

    Args:
        words: `plan=reference`, `profile=`, `seed=0,1`, `outputs=`, `jobs=`,
            `experiment=table1_*,fig1_odenet`, `launcher=slurm`, `launcher.partition=gpu`,
            `--config-dir=DIR`, and overrides for all experiments.
            `experiment=glob(table1_*)`, as in hydra's sweeps, is accepted too.
        environment: Environment variables; `make -j4 reproduce-all` sets the number of jobs in
            $MAKEFLAGS.

    Raises:
        ConfigError: A word is none of these, or its value is not valid.
    """
    words, folders = split_config_dirs(words)
    choices = choices_in(folders)
    given: dict[str, str] = {}
    extra: list[str] = []
    launcher_options: dict[str, str] = {}
    for word in words:
        key, equals, value = word.partition("=")
        if not equals or not value:
            raise ConfigError(f"{word!r} is not key=value; `node-run --help` has examples")
        if key in _NOT_FOR_ALL:
            raise ConfigError(f"{word!r}: {key}= is set for each process separately; remove it")
        if key in _OWN:
            given[key] = value
        elif key.startswith(_OF_LAUNCHER):
            launcher_options[key.removeprefix(_OF_LAUNCHER)] = unquoted(value)
        elif key in GROUPS or declared(key, choices):
            extra.append(word)
        else:
            raise unknown_key(key, choices)
    plan = _named_plan(given)
    profile = given.get("profile", plan.profile if plan else "quick")
    if profile not in choices.names("profile"):
        raise unknown_choice("profile", profile, choices.names("profile"))
    jobs_of_make = re.search(r"(?:^|\s)-j(\d+)", environment.get("MAKEFLAGS", ""))
    jobs = jobs_of_make[1] if jobs_of_make else given.get("jobs")
    experiments = _match_experiments(given.get("experiment", "*"), choices)
    request = Request(
        experiments=experiments,
        profile=profile,
        seeds=tuple(
            dict.fromkeys(
                _whole_number("seed", one, 0) for one in given.get("seed", "0").split(",")
            )
        ),
        outputs=Path(unquoted(given.get("outputs", "outputs"))),
        jobs=None if jobs is None else _whole_number("jobs", jobs, 1),
        extra=tuple(extra),
        folders=tuple(folders),
        seeds_by_experiment={name: plan.seeds_of(name) for name in experiments} if plan else {},
        launcher=_launcher(given, launcher_options),
        launcher_options=launcher_options,
    )
    return request, choices


def _named_plan(given: Mapping[str, str]) -> NamedPlan | None:
    """The plan of the word `plan=`, which sets profile and seeds."""
    if "plan" not in given:
        return None
    if given["plan"] not in PLANS:
        raise unknown_choice("plan", given["plan"], list(PLANS))
    for key in ("profile", "seed"):
        if key in given:
            raise ConfigError(f"plan={given['plan']} sets {key}=; remove one of them")
    return PLANS[given["plan"]]


def _launcher(given: Mapping[str, str], options: Mapping[str, str]) -> str:
    """The launcher of the word `launcher=`; only those of clusters have options."""
    name = given.get("launcher", LAUNCHERS[0])
    if name not in LAUNCHERS:
        raise unknown_choice("launcher", name, LAUNCHERS)
    if options and name == LAUNCHERS[0]:
        words = ", ".join(f"{_OF_LAUNCHER}{key}=" for key in options)
        raise ConfigError(f"{words}: only launcher=slurm and launcher=ray have such options")
    return name


def _match_experiments(patterns: str, choices: Choices) -> tuple[str, ...]:
    """The experiments whose current or former name matches any of the patterns."""
    if patterns.startswith("glob(") and patterns.endswith(")"):
        patterns = patterns[len("glob(") : -1]
    selected = dict.fromkeys(choices.names("experiment"), False)
    for pattern in patterns.split(","):
        matching = [
            name
            for name in selected
            if any(fnmatchcase(one, pattern) for one in (name, *_former_names(name, choices)))
        ]
        if not matching:
            raise unknown_choice("experiment", pattern, list(selected))
        selected |= dict.fromkeys(matching, True)
    return tuple(name for name, matches in selected.items() if matches)


def _former_names(name: str, choices: Choices) -> tuple[str, ...]:
    described = choices.described(name)
    return described.former_names if described else ()


def _whole_number(key: str, text: str, least: int) -> int:
    if not text.strip().isdecimal() or int(text) < least:
        raise ConfigError(f"{key}={text} must be a whole number >= {least}")
    return int(text)
