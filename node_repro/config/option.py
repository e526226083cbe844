"""One key of the configuration: its type, its range, what it means."""

import math
from dataclasses import dataclass

from node_repro.config import ConfigError, Value


@dataclass(frozen=True)
class Option:
    """A key: its type, its range and one line of meaning."""

    key: str
    type: type[bool] | type[int] | type[float] | type[str]
    meaning: str
    low: float | None = None  # smallest allowed value
    above: float | None = None  # the value must be larger than this
    high: float | None = None  # largest allowed value
    below: float | None = None  # the value must be smaller than this
    choices: tuple[str, ...] = ()
    word: str | None = None  # a text that is allowed beside the type's values
    many: bool = False  # a list of such values
    least: int = 0  # at least so many of them
    null: str | None = None  # what null means; None: null is refused
    semantic: bool = True  # changes results, so it is part of the run's signature
    fixed: bool = False  # a fact of the choice: not for the command line

    def allowed(self) -> str:
        """The allowed values in words."""
        noun = {bool: "true or false", int: "a whole number", float: "a number", str: "a text"}
        words = f"one of {', '.join(self.choices)}" if self.choices else noun[self.type]
        bounds = ((">=", self.low), (">", self.above), ("<=", self.high), ("<", self.below))
        limits = " and ".join(f"{sign} {bound:.10g}" for sign, bound in bounds if bound is not None)
        words = f"{words} {limits}".rstrip()
        words = words if self.word is None else f"{self.word} or {words}"
        if self.many:
            words = f"a list{f' of at least {self.least}' if self.least else ''}, each {words}"
        return words if self.null is None else f"{words}, or null ({self.null})"

    def checked(self, value: object) -> Value:
        """The value in the option's type; ConfigError naming key, value and what is allowed."""
        if value is None and self.null is not None:
            return None
        if isinstance(value, str) and value == self.word:
            return value
        if self.many:
            if (
                isinstance(value, list)
                and len(value) >= self.least
                and all(self._fits(item) for item in value)
            ):
                return tuple(float(item) if self.type is float else item for item in value)
        elif isinstance(value, (bool, int, float, str)) and self._fits(value):
            return float(value) if self.type is float else value
        shown = str(value).lower() if isinstance(value, bool) else value
        shown = "null" if value is None else shown
        raise ConfigError(f"{self.key}={shown} must be {self.allowed()} ({self.meaning})")

    def _fits(self, value: object) -> bool:
        numbers = (int, float) if self.type is float else (self.type,)
        if not isinstance(value, numbers) or isinstance(value, bool) != (self.type is bool):
            return False
        if isinstance(value, str):
            return value in self.choices if self.choices else bool(value.strip(" \0"))
        return (
            math.isfinite(value)
            and (self.low is None or value >= self.low)
            and (self.above is None or value > self.above)
            and (self.high is None or value <= self.high)
            and (self.below is None or value < self.below)
        )
