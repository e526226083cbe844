"""`Option`: type, range and meaning of an option, and the check of its value."""

import math
import operator
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Self, Union, get_args, get_origin

from annotated_types import MinLen

from node_repro.config import ConfigError, ObjectPath, Value

_COMPARE = {">=": operator.ge, ">": operator.gt, "<=": operator.le, "<": operator.lt}
_NOUNS: dict[type | None, str] = {
    bool: "true or false",
    int: "a whole number",
    float: "a number",
    str: "a text",
}


@dataclass(frozen=True)
class Option:
    """A key of the configuration, as declared by a constructor (see `source`).

    Args:
        key: The dotted key.
        meaning: Its entry in the constructor's docstring.
        value_type: Type of the value, or of each value of a list; None if only words are allowed.
        limits: Pairs such as (">=", 0).
        words: Allowed texts, possibly in addition to a number.
        many: Whether the value is a list.
        least: Smallest number of values in a list.
        nullable: Whether null is allowed.
        dotted: Whether the value is the dotted path of an object.
        free: Whether any value is allowed, because the constructor declares no type.
    """

    key: str
    meaning: str = ""
    value_type: type[bool] | type[int] | type[float] | type[str] | None = None
    limits: tuple[tuple[str, float], ...] = ()
    words: tuple[str, ...] = ()
    many: bool = False
    least: int = 0
    nullable: bool = False
    dotted: bool = False
    free: bool = False

    @classmethod
    def of_annotation(cls, key: str, meaning: str, annotation: object) -> Self:
        """Make an option from a constructor's annotation, such as Annotated[float, Gt(0)]."""
        option = cls(key, meaning)._widened(annotation)
        plain = option.value_type is not None or option.words or option.free
        return option if plain else replace(option, dotted=True)

    def _widened(self, annotation: Any) -> Self:  # noqa: ANN401
        """A copy that also allows the values of an annotation."""
        origin, arguments = get_origin(annotation), get_args(annotation)
        if annotation in (None, NoneType):
            return replace(self, nullable=True)
        if annotation in (bool, int, float, str):
            return self if self.value_type is float else replace(self, value_type=annotation)
        if annotation in (object, Any):
            return replace(self, free=True)
        if origin is Literal:
            return replace(self, words=(*self.words, *map(str, arguments)))
        if origin in (Sequence, tuple, list):
            return replace(self._widened(arguments[0]), many=True)
        option = self
        if origin in (Union, UnionType):
            for alternative in arguments:
                option = option._widened(alternative)
        if origin is Annotated:
            option = self._widened(arguments[0])
            for limit in arguments[1:]:
                if isinstance(limit, MinLen):
                    option = replace(option, least=limit.min_length)
                for name, sign in (("ge", ">="), ("gt", ">"), ("le", "<="), ("lt", "<")):
                    if (bound := getattr(limit, name, None)) is not None:
                        option = replace(option, limits=(*option.limits, (sign, bound)))
        return option

    @property
    def summary(self) -> str:
        """The first sentence of the meaning and the one about None, without the final full stop."""
        first, *rest = re.split(r"(?<=[^. ][^. ]\.) (?=[A-Z])", self.meaning)
        none = [sentence for sentence in rest if sentence.startswith("None")]
        return " ".join([first, *none]).removesuffix(".").replace("None", "null")

    @property
    def allowed(self) -> str:
        """The allowed values in words."""
        if self.free or self.dotted:
            words = "the dotted path of an object" if self.dotted else "any value"
        else:
            many = f"one of {', '.join(self.words)}" if len(self.words) > 1 else "".join(self.words)
            words = " or ".join(part for part in (many, _NOUNS.get(self.value_type, "")) if part)
        words += "".join(
            f"{' and' if i else ''} {sign} {bound:.10g}"
            for i, (sign, bound) in enumerate(self.limits)
        )
        if self.many:
            words = f"a list{f' of at least {self.least}' if self.least else ''}, each {words}"
        return f"{words}, or null" if self.nullable else words

    def check(self, value: object) -> Value:
        """Convert a value to the option's type; a ConfigError names the key and allowed values."""
        if value is None and self.nullable:
            return None
        if self.free and isinstance(value, bool | int | float | str | None):
            return value
        if self.many:
            if (
                isinstance(value, list)
                and len(value) >= self.least
                and all(self._fits(item) for item in value)
            ):
                return tuple(float(item) if self.value_type is float else item for item in value)
        elif isinstance(value, bool | int | float | str) and self._fits(value):
            if self.dotted:
                return ObjectPath(value)
            return (
                float(value) if self.value_type is float and not isinstance(value, str) else value
            )
        shown = str(value).lower() if isinstance(value, bool) else value
        shown = "null" if value is None else shown
        meaning = f" ({self.summary})" if self.meaning else ""
        raise ConfigError(f"{self.key}={shown} must be {self.allowed}{meaning}")

    def _fits(self, value: object) -> bool:
        if isinstance(value, str):
            if self.value_type is not str:
                return value in self.words or (self.dotted and "." in value)
            return bool(value.strip(" \0"))
        kinds = (int, float) if self.value_type is float else (self.value_type,)
        if type(value) not in kinds or not isinstance(value, int | float):
            return False
        return math.isfinite(value) and all(
            _COMPARE[sign](value, bound) for sign, bound in self.limits
        )
