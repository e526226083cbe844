"""Checkpoints: files of `torch.save`, written atomically and read with `weights_only=True`.

A file holds the keys of the state and "header": format, signature of the configuration, and step.
torch writes a zip archive, whose CRCs detect damage. The last two checkpoints and the best one are
kept; if the last one is damaged, the one before is used and the damage is reported. Weights of the
model alone can be kept for later measurements. The lock of the run's directory ensures that there
is one writer at a time.
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
"""Files of format 1 also have a sha256 in their header, which is ignored."""

_NAME = re.compile(r"step_(\d+)\.pt")
_KEPT = re.compile(r"weights_(\d+)\.pt")


class CheckpointError(Exception):
    """A checkpoint cannot be saved, read or used."""

    exit_code: ClassVar[int] = 7


class Loaded(NamedTuple):
    """A loaded checkpoint.

    Attributes:
        state: Plain containers and CPU tensors, without the header.
        step: Training iterations done.
        notes: Sentences to show to the user.
    """

    state: dict
    step: int
    notes: tuple[str, ...]


class _Damaged(Exception):
    """A file is not a complete checkpoint; the text says why."""


class Checkpoints:
    """The checkpoints of one run: step_<n>.pt (the last two), best.pt, and weights_<n>.pt.

    Args:
        directory: Their folder; created by the first save if its parent exists.
        signature: Signature of the run's configuration.
    """

    def __init__(self, directory: Path | str, signature: str) -> None:
        self.directory = Path(directory)
        self.signature = signature

    def save(self, state: Mapping[str, object], step: int, best: bool = False) -> None:
        """Save a checkpoint, then remove outdated ones.

        Args:
            state: Nested dicts, lists, tuples, tensors, int, float, str, bool and None.
            step: Training iterations done.
            best: Whether to save it as the best one too.

        Raises:
            TypeError: The state contains another type; the message says where.
            CheckpointError: It cannot be written; earlier checkpoints are intact.
        """
        newest = self.directory / f"step_{step:09d}.pt"
        data = _serialize(state, self.signature, step)
        with _one_sentence(f"Cannot save {newest}", "; the checkpoint before it is intact"):
            self.directory.mkdir(exist_ok=True)
            remove_leftovers(self.directory)
            if best:  # before the newest, whose position refers to the best one
                write_atomically(self.directory / "best.pt", data)
            write_atomically(newest, data)
            self._prune(step)

    def load_last(self) -> Loaded | None:
        """Load the newest undamaged state onto the CPU; None if there is no checkpoint.

        Raises:
            CheckpointError: All checkpoints are damaged, or one has another configuration or a
                newer format.
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
            f"({', '.join(path.name for _, path in self._steps())}); remove them to start again, "
            "or choose another name=..."
        )

    def load_best(self) -> Loaded | None:
        """Load the best state onto the CPU; None if there is none. Raises CheckpointError."""
        path = self.directory / "best.pt"
        if not path.exists():
            return None
        try:
            return Loaded(*self._read(path), ())
        except _Damaged as damage:
            raise CheckpointError(f"{path} is damaged ({damage}); remove it.") from damage

    def keep_weights(self, weights: Mapping[str, Tensor], step: int) -> None:
        """Save weights of the model that no later checkpoint replaces. Raises CheckpointError."""
        path = self._kept(step)
        data = _serialize({"model": dict(weights)}, self.signature, step)
        with _one_sentence(f"Cannot save {path}"):
            self.directory.mkdir(exist_ok=True)
            write_atomically(path, data)

    def kept_steps(self) -> list[int]:
        """The steps of the weights that are kept, ascending."""
        return [step for step, _ in reversed(self._steps(_KEPT))]

    def load_kept(self, step: int) -> Loaded:
        """Load weights that were kept onto the CPU. Raises CheckpointError."""
        path = self._kept(step)
        try:
            return Loaded(*self._read(path), ())
        except _Damaged as damage:
            raise CheckpointError(f"{path} is damaged ({damage}); remove it.") from damage

    def _kept(self, step: int) -> Path:
        return self.directory / f"weights_{step:09d}.pt"

    def _steps(self, name: re.Pattern[str] = _NAME) -> list[tuple[int, Path]]:
        """Step and path of the files with such a name, newest first."""
        with _one_sentence(f"Cannot read {self.directory}"):
            paths = list(self.directory.iterdir()) if self.directory.exists() else []
        matches = [(name.fullmatch(path.name), path) for path in paths]
        return sorted(((int(m[1]), path) for m, path in matches if m), reverse=True)

    def _prune(self, newest: int) -> None:
        """Remove all but `newest` and the one before; later ones are damaged or abandoned."""
        earlier = [step for step, _ in self._steps() if step < newest]
        for step, path in self._steps():
            if step not in (newest, *earlier[:1]):
                path.unlink()
        sync_directory(self.directory)

    def _read(self, path: Path) -> tuple[dict, int]:
        """Read one file; returns its state and step."""
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
    """A copy in plain containers and dense CPU tensors that are not views of larger storages."""
    if value is None or type(value) in (bool, int, float, str):
        return value
    if isinstance(value, Tensor) and type(value) in (Tensor, torch.nn.Parameter):
        if value.layout is torch.strided and not value.is_quantized:
            tensor = value.detach().cpu().resolve_conj().resolve_neg().contiguous()
            whole = tensor.untyped_storage().nbytes() == tensor.numel() * tensor.element_size()
            return tensor if whole else tensor.clone()
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
    except Exception as error:  # a damaged archive can raise almost any exception
        raise _Damaged("it is empty, truncated or not a checkpoint") from error
    if damaged is not None:
        raise _Damaged(f"the CRC of its part {damaged} does not match")
    try:
        content = torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)
    except Exception as error:  # and so can a pickle of another program
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
