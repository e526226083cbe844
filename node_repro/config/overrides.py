"""What was typed on the command line, judged before hydra composes it.

hydra would refuse most of this too, but with several lines and without the nearest right name; and
it lets `+typo=1` through.
"""

import re
import shlex
from collections.abc import Iterable
from dataclasses import dataclass

from node_repro.config import ConfigError
from node_repro.config.choices import Choices, nearest, unknown_choice
from node_repro.config.options import GROUPS, OPTIONS

_SECTIONS = ("trainer", *GROUPS)


@dataclass(frozen=True)
class Given:
    """One override. `values` has several entries in a sweep over listed values."""

    text: str  # as typed
    action: str  # "", "+", "++" or "~"
    key: str
    values: tuple[object, ...]
    sweep: bool


def refuse_wrong(given: Iterable[Given], choices: Choices, *, multirun: bool) -> None:
    """Raise ConfigError for the first override that no run could have."""
    for one in given:
        if one.key.startswith(("hydra.", "hydra/")):
            continue
        if one.action == "~":
            raise ConfigError(f"{one.text!r}: nothing can be taken away; give another value")
        if one.sweep and not multirun:
            raise ConfigError(
                f"{one.text!r} lists several values: add -m to run them all, "
                f"or quote the value: {quoted(one.text)}"
            )
        if "" in one.values:
            raise ConfigError(f"{one.key}= has no value; allowed: {_allowed(one.key, choices)}")
        _refuse_wrong_key(one, choices)


def _refuse_wrong_key(one: Given, choices: Choices) -> None:
    if one.key in GROUPS:
        if one.action:
            raise ConfigError(f"{one.text!r}: write it without {one.action!r}")
        names = choices.names(one.key)
        for value in one.values:
            if value not in names and not (value is None and one.key in ("experiment", "probe")):
                raise unknown_choice(one.key, "null" if value is None else value, names)
    elif one.key in OPTIONS:
        option, group = OPTIONS[one.key], one.key.partition(".")[0]
        if option.fixed:
            names = ", ".join(choices.names(group))
            raise ConfigError(
                f"{one.key!r} is a fact of the chosen {group}; choose another {group}: {names}"
            )
        if one.action and group not in GROUPS:
            raise ConfigError(f"{one.text!r}: the key exists; write it without {one.action!r}")
        if not one.sweep and "${" not in one.text:
            option.checked(one.values[0])
    elif one.key not in _SECTIONS:
        raise unknown_key(one.key, choices)


def unknown_key(key: str, choices: Choices) -> ConfigError:
    """The sentence for a key that does not exist: the nearest one and where it belongs."""
    candidates = [*GROUPS, *(name for name, option in OPTIONS.items() if not option.fixed)]
    near = nearest(key, candidates)
    if near is None:
        return ConfigError(f"unknown key {key!r}; `node-run --help` lists the keys")
    belongs = belonging(near, choices) if near in OPTIONS else ""
    return ConfigError(
        f"unknown key {key!r}; did you mean {near!r}?{belongs} `node-run --help` lists the keys"
    )


def misplaced_key(key: str, chosen: str, choices: Choices) -> ConfigError:
    """The sentence for a key that the choice that was made does not have."""
    if key not in OPTIONS:
        return unknown_key(key, choices)
    return ConfigError(f"{chosen} has no key {key!r}.{belonging(key, choices)}")


def belonging(key: str, choices: Choices) -> str:
    """Which choices have a key, as a sentence; empty for keys of no group."""
    owners = choices.owners(key)
    return f" It belongs to {' or '.join(owners)}." if owners else ""


def unreadable(text: str, choices: Choices) -> ConfigError:
    """The sentence for an override that hydra's grammar cannot read."""
    if "=" not in text and not text.startswith("~"):
        found = choices.groups_with(text)
        hint = f"did you mean {' or '.join(found)}?" if found else "`node-run --help` has examples"
        return ConfigError(f"{text!r} has no '='; overrides are key=value; {hint}")
    return ConfigError(f"cannot read {text!r}: put the value in quotes: {quoted(text)}")


def quoted(text: str) -> str:
    """An override as it must be typed in a shell so that its value is taken literally."""
    key, _, value = text.partition("=")
    return shlex.quote(f"{key}={_in_quotes(value)}")


def literal(key: str, value: str) -> str:
    """An override that hydra reads as this very text: in quotes where it would see more in it."""
    bare = re.fullmatch(r"[\w/.:@+-]([\w/.:@+ -]*[\w/.:@+-])?", value, re.ASCII)
    return f"{key}={value if bare and not _is_typed(value) else _in_quotes(value)}"


def unquoted(value: str) -> str:
    """A value as hydra would take it: without the quotes around it."""
    if len(value) > 1 and value[0] == value[-1] and value[0] in "\"'":
        ends = re.compile(rf"(\\+)({value[0]}|$)")
        return ends.sub(lambda end: end[1][: len(end[1]) // 2] + end[2], value[1:-1])
    return value


def _in_quotes(value: str) -> str:
    escaped = re.sub(r'(\\*)("|$)', lambda end: end[1] * 2 + end[2].replace('"', '\\"'), value)
    return f'"{escaped}"'


def _is_typed(value: str) -> bool:
    """Whether hydra takes a text for a number, a truth value or null."""
    try:
        float(value)
    except ValueError:
        return value.lower() in ("null", "true", "false")
    return True


def _allowed(key: str, choices: Choices) -> str:
    if key in OPTIONS:
        return OPTIONS[key].allowed()
    return ", ".join(choices.names(key)) or "see `node-run --help`"
