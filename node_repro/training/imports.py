"""Objects that a yaml names by their dotted path, and mistakes in users' own code."""

import os
import sys
import sysconfig
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import Any

import torch

from node_repro.config import ConfigError

_OURS = "node_repro."
_PACKAGE = f"{Path(__file__).resolve().parents[1]}{os.sep}"


def import_object(path: str) -> Any:  # noqa: ANN401
    """The object at a dotted path. Modules in the working directory are found, too.

    Raises:
        ConfigError: There is no such module or name, or a module outside of node_repro fails.
    """
    if os.getcwd() not in sys.path:
        sys.path.append(os.getcwd())
    module, _, name = path.rpartition(".")
    with report_mistakes(path):
        try:
            return getattr(import_module(module), name)
        except (ModuleNotFoundError, AttributeError) as error:
            if not path.startswith(_OURS):
                raise
            raise ConfigError(f"{path} cannot be imported: {error}") from error


@contextmanager
def report_mistakes(path: str) -> Iterator[None]:
    """Turns an exception of code outside of node_repro into a ConfigError that says where."""
    try:
        yield
    except Exception as error:
        speaks_for_itself = hasattr(error, "exit_code")
        out_of_memory = isinstance(error, MemoryError | torch.OutOfMemoryError)
        if path.startswith(_OURS) or speaks_for_itself or out_of_memory:
            raise
        what = f"{type(error).__name__}: {error}"
        raise ConfigError(f"cannot load {path}{_place(error)}: {what}") from error


def _place(error: Exception) -> str:
    """The innermost line of the user's own code, " (FILE, line N)"; "" if there is none."""
    installed = tuple(sysconfig.get_path(name) for name in ("stdlib", "purelib", "platlib"))
    not_own = (*installed, _PACKAGE, "<")
    frames = [
        frame
        for frame in traceback.extract_tb(error.__traceback__)
        if not frame.filename.startswith(not_own)
    ]
    if isinstance(error, SyntaxError) and error.filename:
        return f" ({Path(error.filename).name}, line {error.lineno})"
    return f" ({Path(frames[-1].filename).name}, line {frames[-1].lineno})" if frames else ""
