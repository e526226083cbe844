"""Import objects named by dotted paths in yaml files, and report errors in users' code."""

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
    """Import the object at a dotted path, also from modules in the working directory.

    Raises:
        ConfigError: There is no such module or name, or a module outside node_repro raises an
            exception.
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
    """Convert exceptions raised while loading `path` from outside node_repro to a ConfigError.

    The message says where the exception was raised. Exceptions with an exit code and those about
    memory are not converted.
    """
    try:
        yield
    except Exception as error:
        has_exit_code = hasattr(error, "exit_code")
        out_of_memory = isinstance(error, MemoryError | torch.OutOfMemoryError)
        if path.startswith(_OURS) or has_exit_code or out_of_memory:
            raise
        what = f"{type(error).__name__}: {error}"
        raise ConfigError(f"cannot load {path}{_place(error)}: {what}") from error


def _place(error: Exception) -> str:
    """The innermost line of the user's code, as " (FILE, line N)"; "" if there is none."""
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
