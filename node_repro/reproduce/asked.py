"""The words behind `node-run list` and `node-run reproduce`, as an `Ask`."""

from collections.abc import Sequence
from fnmatch import fnmatchcase

from node_repro.config import ConfigError
from node_repro.config.choices import Choices, unknown_choice
from node_repro.config.options import GROUPS
from node_repro.config.overrides import declared, unknown_key, unquoted
from node_repro.reproduce import Ask

_OF_EACH_TARGET = ("job", "runs", "probe", "name")


def asked(words: Sequence[str], choices: Choices) -> Ask:
    """Reads `profile=`, `seed=0,1`, `outputs=`, `jobs=`, `experiment=table1_*`; the rest is extra.

    `experiment=glob(table1_*)`, as hydra's sweeps have it, is the same.
    ConfigError for a word that is none of these and no override of a single value.
    """
    given: dict[str, str] = {}
    extra: list[str] = []
    for word in words:
        key, equals, value = word.partition("=")
        if not equals or not value:
            raise ConfigError(f"{word!r} is no key=value; `node-run --help` has examples")
        if key in _OF_EACH_TARGET:
            raise ConfigError(f"{word!r}: every target has a {key} of its own; remove it")
        if key in ("profile", "seed", "outputs", "jobs", "experiment"):
            given[key] = value
        elif key in GROUPS or declared(key, choices):
            extra.append(word)
        else:
            raise unknown_key(key, choices)
    profile = given.get("profile", "quick")
    if profile not in choices.names("profile"):
        raise unknown_choice("profile", profile, choices.names("profile"))
    seeds = given.get("seed", "0")
    return Ask(
        experiments=_experiments(given.get("experiment", "*"), choices),
        profile=profile,
        seeds=tuple(dict.fromkeys(_whole("seed", one, 0) for one in seeds.split(","))),
        outputs=unquoted(given.get("outputs", "outputs")),
        jobs=_whole("jobs", given.get("jobs", "1"), 1),
        extra=tuple(extra),
    )


def _experiments(patterns: str, choices: Choices) -> tuple[str, ...]:
    names = choices.names("experiment")
    if patterns.startswith("glob(") and patterns.endswith(")"):
        patterns = patterns[len("glob(") : -1]
    wanted = patterns.split(",")
    for pattern in wanted:
        if not any(fnmatchcase(name, pattern) for name in names):
            raise unknown_choice("experiment", pattern, names)
    return tuple(name for name in names if any(fnmatchcase(name, one) for one in wanted))


def _whole(key: str, text: str, low: int) -> int:
    if not text.strip().isdecimal() or int(text) < low:
        raise ConfigError(f"{key}={text} must be a whole number >= {low}")
    return int(text)
