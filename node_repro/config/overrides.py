"""Check the overrides of a command line before hydra composes them.

hydra would refuse most wrong overrides too, but with several lines and without suggesting the right
name, and it accepts `+typo=1`.
"""

import re
import shlex
from collections.abc import Iterable
from dataclasses import dataclass

from node_repro.config import ConfigError
from node_repro.config.choices import SEE_LIST, Choices, nearest, unknown_choice
from node_repro.config.components import options_of
from node_repro.config.option import Option
from node_repro.config.options import GROUPS, root_options

_SECTIONS = ("trainer", *GROUPS)


@dataclass(frozen=True)
class Given:
    """A parsed override. `values` has several entries in a sweep over listed values."""

    text: str  # as typed
    action: str  # "", "+", "++" or "~"
    key: str
    values: tuple[object, ...]
    sweep: bool


def refuse_wrong(given: Iterable[Given], choices: Choices, *, multirun: bool) -> None:
    """Raise ConfigError for the first override that is wrong regardless of the other ones.

    Args:
        given: The overrides.
        choices: The choices and keys that exist.
        multirun: Whether several values may be listed (`-m`).
    """
    for one in given:
        if one.key.startswith(("hydra.", "hydra/")):
            continue
        if one.action == "~":
            raise ConfigError(f"{one.text!r}: keys cannot be removed; set another value instead")
        if one.sweep and not multirun:
            raise ConfigError(
                f"{one.text!r} lists several values: add -m to run them all, or quote the value: "
                f"{quoted(one.text)}"
            )
        if "" in one.values:
            raise ConfigError(f"{one.key}= has no value; allowed: {_allowed(one.key, choices)}")
        if one.key in GROUPS:
            _check_choice(one, choices)
        elif one.key not in _SECTIONS:
            _check_value(one, choices)


def _check_choice(one: Given, choices: Choices) -> None:
    if one.action:
        raise ConfigError(f"{one.text!r}: write it without {one.action!r}")
    names = choices.names(one.key)
    for value in one.values:
        if value not in names and not (value is None and one.key in ("experiment", "probe")):
            raise unknown_choice(one.key, "null" if value is None else value, names)


def _check_value(one: Given, choices: Choices) -> None:
    options, group = declared(one.key, choices), one.key.partition(".")[0]
    if not options:
        if group in GROUPS and choices.owners(one.key):  # _target_
            raise _fixed_key(one.key, choices)
        raise unknown_key(one.key, choices)
    if options[0].dotted:
        raise _fixed_key(one.key, choices)
    if one.action and group not in GROUPS:
        raise ConfigError(f"{one.text!r}: the key exists; write it without {one.action!r}")
    if not one.sweep and "${" not in one.text:
        for i, option in enumerate(options):
            try:
                option.check(one.values[0])
            except ConfigError:
                if i == len(options) - 1:
                    raise
            else:
                break


def declared(key: str, choices: Choices) -> list[Option]:
    """The options of a key; several if choices of its group declare it differently."""
    if key in root_options():
        return [root_options()[key]]
    options: list[Option] = []
    for owner in choices.owners(key):
        option = options_of(choices, *owner.split("=", 1)).get(key)
        if option is not None and option not in options:
            options.append(option)
    return options


def _fixed_key(key: str, choices: Choices) -> ConfigError:
    group = key.partition(".")[0]
    names = ", ".join(choices.names(group))
    return ConfigError(
        f"{key!r} is fixed by the choice of {group}; choose another {group}: {names}"
    )


def unknown_key(key: str, choices: Choices) -> ConfigError:
    """The error for a key that does not exist; names the nearest key and its choices."""
    known = [*GROUPS, *root_options()]
    # of equally near keys the first is named: those of the solve, which are in every configuration
    for group in ("solver", "controller", *GROUPS):
        if group not in ("profile", "experiment"):
            for choice in choices.names(group):
                known += options_of(choices, group, choice)
    near = nearest(key, known)
    if near is None:
        return ConfigError(f"unknown key {key!r}; `node-run --help` lists the keys")
    belongs = "" if near in root_options() else belonging(near, choices)
    return ConfigError(
        f"unknown key {key!r}; did you mean {near!r}?{belongs} `node-run --help` lists the keys"
    )


def misplaced_key(key: str, chosen: str, choices: Choices) -> ConfigError:
    """The error for a key that the current choice of its group does not have."""
    if key in root_options() or not choices.owners(key):
        return unknown_key(key, choices)
    return ConfigError(f"{chosen} has no key {key!r}.{belonging(key, choices)}")


def belonging(key: str, choices: Choices) -> str:
    """A sentence that names the choices that have a key; "" for keys of no group."""
    owners = choices.owners(key)
    return f" It belongs to {' or '.join(owners)}." if owners else ""


def unreadable(text: str, choices: Choices) -> ConfigError:
    """The error for an override that hydra's grammar cannot read."""
    if "=" not in text and not text.startswith("~"):
        groups = choices.groups_with(text)
        hint = f"did you mean {' or '.join(groups)}?" if groups else "see `node-run --help`"
        return ConfigError(f"{text!r} has no '='; overrides are key=value; {hint}")
    return ConfigError(f"cannot read {text!r}: put the value in quotes: {quoted(text)}")


def quoted(text: str) -> str:
    """An override quoted for a shell and for hydra, so that its value is read literally."""
    key, _, value = text.partition("=")
    return shlex.quote(f"{key}={_in_quotes(value)}")


def literal(key: str, value: str) -> str:
    """An override whose value hydra reads as this text, quoted if necessary."""
    bare = re.fullmatch(r"[\w/.:@+-]([\w/.:@+ -]*[\w/.:@+-])?", value, re.ASCII)
    return f"{key}={value if bare and not _is_typed(value) else _in_quotes(value)}"


def unquoted(value: str) -> str:
    """A value without its quotes, as hydra would read it."""
    if len(value) > 1 and value[0] == value[-1] and value[0] in "\"'":
        ends = re.compile(rf"(\\+)({value[0]}|$)")
        return ends.sub(lambda end: end[1][: len(end[1]) // 2] + end[2], value[1:-1])
    return value


def _in_quotes(value: str) -> str:
    escaped = re.sub(r'(\\*)("|$)', lambda end: end[1] * 2 + end[2].replace('"', '\\"'), value)
    return f'"{escaped}"'


def _is_typed(value: str) -> bool:
    """Whether hydra reads a text as a number, a boolean or null."""
    try:
        float(value)
    except ValueError:
        return value.lower() in ("null", "true", "false")
    return True


def _allowed(key: str, choices: Choices) -> str:
    options = declared(key, choices)
    if options:
        return options[0].allowed
    if key == "experiment":
        return f"a name; {SEE_LIST}"
    return ", ".join(choices.names(key)) or "see `node-run --help`"
