"""Memory meters: bytes that autograd holds for backward, and the peak of allocated CUDA memory.

On a CPU the process' own peak says little (allocator, imports, data), so the measure of memory
there is `SavedBytes.peak_bytes`: the most bytes of saved tensors that were alive at one moment. It
is exact, the same on every machine, and compares methods as the paper's memory column does.
"""

import collections
import threading
from collections.abc import Iterable
from typing import Self

import torch
from torch import Tensor

Key = tuple[torch.device, int]


class SavedBytes:
    """Within its block, measures the tensors saved for backward, every storage counted once.

    held_bytes: held now (goes down as backward frees them). peak_bytes: the most held at one
    moment. total_bytes: all storages that were ever held, each time they were taken anew.
    What a graph from before the block holds is not counted; one made inside is followed until it
    is freed, inside or after it. Seen is what goes through autograd's saved tensors
    (`save_for_backward`, too), unless an inner `saved_tensors_hooks` takes it away first.
    Views count as their whole storage, since that is what stays alive.
    """

    def __init__(self, exclude: Iterable[Tensor] = ()) -> None:
        """exclude: tensors (say, the parameters) whose storages are not counted."""
        self._kept = list(exclude)  # kept alive, so that their addresses stay theirs
        self._excluded = {_key(tensor) for tensor in self._kept}
        self._holders: dict[Key, int] = {}
        self._sizes: dict[Key, int] = {}
        self._released: collections.deque[Key] = collections.deque()
        self._lock = threading.Lock()  # backward may unpack and free in threads of its own
        self._held = 0
        self.peak_bytes = 0
        self.total_bytes = 0
        self._hooks = torch.autograd.graph.saved_tensors_hooks(self._pack, _unpack)

    @property
    def held_bytes(self) -> int:
        """Bytes held for backward at this moment."""
        with self._lock:
            self._settle()
            return self._held

    def __enter__(self) -> Self:
        self._hooks.__enter__()
        return self

    def __exit__(self, *exception: object) -> None:
        self._hooks.__exit__(*exception)

    def _pack(self, tensor: Tensor) -> "_Held | Tensor":
        key = _key(tensor)
        tensor = tensor.detach()  # an output would hold its own graph alive, for ever
        if key in self._excluded:
            return tensor
        with self._lock:
            self._settle()
            if key not in self._holders:
                self._sizes[key] = tensor.untyped_storage().nbytes()
                self._held += self._sizes[key]
                self.total_bytes += self._sizes[key]
                self.peak_bytes = max(self.peak_bytes, self._held)
            self._holders[key] = self._holders.get(key, 0) + 1
        return _Held(tensor, key, self._released)

    def _settle(self) -> None:
        """Takes off what was freed. A key is queued before its storage is freed, so an address
        that is used again is always settled before it is counted again."""
        while self._released:
            key = self._released.popleft()
            self._holders[key] -= 1
            if not self._holders[key]:
                del self._holders[key]
                self._held -= self._sizes.pop(key)


class _Held:
    """What autograd keeps instead of the tensor; tells the meter when it is let go."""

    __slots__ = ("_key", "_released", "tensor")

    def __init__(self, tensor: Tensor, key: Key, released: collections.deque[Key]) -> None:
        self.tensor = tensor
        self._key = key
        self._released = released

    def __del__(self) -> None:
        self._released.append(self._key)  # no lock here: it may run amid anything


def _key(tensor: Tensor) -> Key:
    return tensor.device, tensor.untyped_storage().data_ptr()


def _unpack(held: _Held | Tensor) -> Tensor:
    return held.tensor if isinstance(held, _Held) else held


def reset_peak_memory(device: torch.device) -> None:
    """Starts a new CUDA peak at what is allocated now; on a CPU there is nothing to reset."""
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)


def peak_memory_bytes(device: torch.device) -> int | None:
    """Most bytes of CUDA memory allocated at once since the reset; None on a CPU, where
    `SavedBytes.peak_bytes` is the measure."""
    return torch.cuda.max_memory_allocated(device) if device.type == "cuda" else None
