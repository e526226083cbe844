"""Checkpoints: files of `torch.save` that are whole or absent, read with `weights_only=True`.

A file holds the state's own keys and "header": format, signature (of the configuration) and step.
torch writes a zip archive, whose CRCs tell whether it is damaged. The last two checkpoints and the
best one are kept: if the last is damaged, the one before is used and the damage is reported. A
directory has one writer at a time, which the run directory's lock ensures.
"""

import contextlib
import io
import re
import zipfile
from collections import OrderedDict
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import ClassVar, NamedTuple

import torch
from torch import Tensor

from node_repro.runs.atomic import reason, remove_leftovers, sync_directory, write_atomically

FORMAT = 2
"""Files of format 1 also had a sha256 in their header, which is not looked at any more."""

_NAME = re.compile(r"step_(\d+)\.pt")


class CheckpointError(Exception):
    """A checkpoint cannot be saved, read or used; one plain sentence says why and what to do."""

    exit_code: ClassVar[int] = 7


class Loaded(NamedTuple):
    """state: plain containers and CPU tensors, without the header; notes: sentences to show."""

    state: dict
    step: int
    notes: tuple[str, ...]


class _Damaged(Exception):
    """Why a file is no whole checkpoint."""


class Checkpoints:
    """The checkpoints of one run: step_<n>.pt (the last two) and best.pt."""

    def __init__(self, directory: Path | str, signature: str) -> None:
        """The directory is made by the first save, its parent never."""
        self.directory = Path(directory)
        self.signature = signature

    def save(self, state: Mapping[str, object], step: int, best: bool = False) -> None:
        """Saves `state` as the newest, and as the best if so; then removes what is outdated.

        state: dicts, lists, tuples, tensors, int, float, str, bool, None, nested. Raises TypeError
        naming the place of anything else, CheckpointError if it cannot be written; what was saved
        before is then intact.
        """
        newest = self.directory / f"step_{step:09d}.pt"
        data = _serialize(state, self.signature, step)
        with _one_sentence(f"Cannot save {newest}", "; the checkpoint before it is intact"):
            self.directory.mkdir(exist_ok=True)
            remove_leftovers(self.directory)
            if best:  # before the newest, whose position says that there is this best one
                write_atomically(self.directory / "best.pt", data)
            write_atomically(newest, data)
            self._prune(step)

    def load_last(self) -> Loaded | None:
        """The newest whole state, on the CPU; None if nothing was saved yet.

        Raises CheckpointError: all damaged, of another configuration, of a newer format.
        """
        notes: list[str] = []
        for claimed, path in self._steps():
            try:
                state, step = self._read(path)
                if step != claimed:
                    raise _Damaged(f"it holds step {step}")
                return Loaded(state, step, tuple(notes))
            except _Damaged as damage:
                notes.append(f"{path} is damaged ({damage}); the checkpoint before it is used")
        if not notes:
            return None
        raise CheckpointError(
            f"All checkpoints in {self.directory} are damaged "
            f"({', '.join(path.name for _, path in self._steps())}); remove them to start anew, "
            "or choose another name=..."
        )

    def load_best(self) -> Loaded | None:
        """The state saved as best, on the CPU; None if there is none. Raises CheckpointError."""
        path = self.directory / "best.pt"
        if not path.exists():
            return None
        try:
            return Loaded(*self._read(path), ())
        except _Damaged as damage:
            raise CheckpointError(f"{path} is damaged ({damage}); remove it.") from damage

    def _steps(self) -> list[tuple[int, Path]]:
        """Newest first."""
        with _one_sentence(f"Cannot read {self.directory}"):
            paths = list(self.directory.iterdir()) if self.directory.exists() else []
        matches = [(_NAME.fullmatch(path.name), path) for path in paths]
        return sorted(((int(m[1]), path) for m, path in matches if m), reverse=True)

    def _prune(self, newest: int) -> None:
        """Keeps `newest` and the one before; what claims to be later was damaged or abandoned."""
        earlier = [step for step, _ in self._steps() if step < newest]
        for step, path in self._steps():
            if step not in (newest, *earlier[:1]):
                path.unlink()
        sync_directory(self.directory)

    def _read(self, path: Path) -> tuple[dict, int]:
        """The state in one file, and its step."""
        try:
            data = path.read_bytes()
        except OSError as error:
            raise _Damaged(reason(error)) from error
        content = _load(data)
        match content.pop("header", None):
            case {"format": int(version)} if version > FORMAT:
                raise CheckpointError(
                    f"{path} has format {version}, this program reads up to {FORMAT}: it was "
                    "written by a newer version; install that one, or choose another name=..."
                )
            case {"format": int(), "signature": str(signature), "step": int(step)}:
                if signature == self.signature:
                    return content, step
                raise CheckpointError(
                    f"{path} belongs to a run with another configuration (signature {signature}, "
                    f"this run's is {self.signature}); choose another name=..."
                )
            case _:
                raise _Damaged("it has no header of this program")


def _serialize(state: Mapping[str, object], signature: str, step: int) -> bytes:
    if "header" in state:
        raise ValueError("a state may not have the key 'header', which the checkpoint uses")
    content = _plain(dict(state), "state")
    assert isinstance(content, dict)
    header = {"format": FORMAT, "signature": signature, "step": step}
    buffer = io.BytesIO()
    torch.save({"header": header} | content, buffer)
    return buffer.getvalue()


def _plain(value: object, where: str) -> object:
    """A copy in plain containers and dense CPU tensors that share nothing with larger storages."""
    if value is None or type(value) in (bool, int, float, str):
        return value
    if isinstance(value, Tensor) and type(value) in (Tensor, torch.nn.Parameter):
        if value.layout is torch.strided and not value.is_quantized:
            tensor = value.detach().cpu().resolve_conj().resolve_neg().contiguous()
            alone = tensor.untyped_storage().nbytes() == tensor.numel() * tensor.element_size()
            return tensor if alone else tensor.clone()
    elif isinstance(value, dict) and type(value) in (dict, OrderedDict):
        return {_key(k, where): _plain(item, f"{where}[{k!r}]") for k, item in value.items()}
    elif type(value) is list:
        return [_plain(item, f"{where}[{i}]") for i, item in enumerate(value)]
    elif type(value) is tuple:
        return tuple(_plain(item, f"{where}[{i}]") for i, item in enumerate(value))
    raise TypeError(
        f"{where} is a {type(value).__module__}.{type(value).__qualname__} and cannot be saved in "
        "a checkpoint: allowed are dict, list, tuple, dense tensor, int, float, str, bool, None"
    )


def _key(key: object, where: str) -> str | int:
    if isinstance(key, str | int) and type(key) in (str, int):
        return key
    raise TypeError(f"{where} has the key {key!r}: allowed are str and int")


def _load(data: bytes) -> dict:
    try:
        damaged = zipfile.ZipFile(io.BytesIO(data)).testzip()
    except Exception as error:  # a damaged archive can raise nearly anything
        raise _Damaged("it is empty, truncated or no checkpoint") from error
    if damaged is not None:
        raise _Damaged(f"the CRC of its part {damaged} does not match")
    try:
        content = torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)
    except Exception as error:  # so can a pickle of other making
        raise _Damaged(f"torch.load refuses it: {type(error).__name__}") from error
    if not isinstance(content, dict):
        raise _Damaged(f"it holds a {type(content).__name__}, not a dict")
    return content


@contextlib.contextmanager
def _one_sentence(what: str, end: str = "") -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise CheckpointError(f"{what}: {reason(error)}{end}.") from error
