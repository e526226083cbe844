"""Conversion of values to JSON, and of nested dicts to flat ones.

In JSON, NaN and infinities are the strings "nan", "inf" and "-inf".
"""

import math
from collections.abc import Mapping
from numbers import Integral, Real
from typing import Any


def encode(value: object) -> object:
    """Convert a value to JSON types: numbers, strings, lists, dicts, bools and None.

    Raises:
        TypeError: The value contains another type, such as a tensor.
    """
    if value is None or isinstance(value, bool | str):
        return value
    if isinstance(value, Integral):
        return int(value)
    if isinstance(value, Real):
        number = float(value)
        return number if math.isfinite(number) else str(number)
    if isinstance(value, dict):
        return {str(key): encode(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [encode(item) for item in value]
    raise TypeError(
        f"a {type(value).__name__} cannot be recorded: allowed are numbers, strings, None, lists "
        "and dicts of them; use .item() on a tensor"
    )


def restore(value: object) -> object:
    """The inverse of `encode`: "nan", "inf" and "-inf" are floats again, at any depth."""
    if isinstance(value, str):
        return float(value) if value in ("nan", "inf", "-inf") else value
    if isinstance(value, dict):
        return {key: restore(item) for key, item in value.items()}
    if isinstance(value, list):
        return [restore(item) for item in value]
    return value


def flatten(nested: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Flatten nested dicts into one with dotted keys; an empty dict is kept as a value."""
    flat: dict[str, Any] = {}
    for name, value in nested.items():
        key = f"{prefix}{name}"
        flat |= flatten(value, f"{key}.") if isinstance(value, Mapping) and value else {key: value}
    return flat
