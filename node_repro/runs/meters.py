"""Memory meters: bytes that autograd holds for backward, and the peak of allocated CUDA memory.

On a CPU the peak memory of the process is dominated by the allocator, imports and data. There
`SavedBytes.peak_bytes` is used instead: the largest number of bytes of saved tensors alive at the
same time. It is exact, the same on every machine, and compares methods as the paper's memory column
does.
"""

import collections
import threading
from collections.abc import Iterable
from typing import Self

import torch
from torch import Tensor

Key = tuple[torch.device, int]


class SavedBytes:
    """Context manager that measures the tensors saved for backward, counting every storage once.

    Graphs made before the block are not counted. Graphs made inside it are tracked until they are
    freed, also after the block. All of autograd's saved tensors are counted, including those of
    `save_for_backward`, unless an inner `saved_tensors_hooks` replaces them. A view counts as its
    whole storage, because the storage stays alive.

    Args:
        exclude: Tensors whose storages are not counted, for example the parameters.

    Attributes:
        peak_bytes: Largest number of bytes held at the same time.
        total_bytes: Sum of the bytes of all storages, one that is freed and saved again counted
            again.
    """

    def __init__(self, exclude: Iterable[Tensor] = ()) -> None:
        self._kept = list(exclude)  # kept alive, so that no other tensor gets their address
        self._excluded = {_key(tensor) for tensor in self._kept}
        self._holders: dict[Key, int] = {}
        self._sizes: dict[Key, int] = {}
        self._released: collections.deque[Key] = collections.deque()
        self._lock = threading.Lock()  # backward may unpack and free tensors in other threads
        self._held = 0
        self.peak_bytes = 0
        self.total_bytes = 0
        self._hooks = torch.autograd.graph.saved_tensors_hooks(self._pack, _unpack)

    @property
    def held_bytes(self) -> int:
        """Bytes currently held for backward; decreases as backward frees tensors."""
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
        tensor = tensor.detach()  # a saved output would keep its own graph alive
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
        """Subtract the freed storages.

        A key is queued before its storage is freed, so a reused address is always subtracted
        before it is added again.
        """
        while self._released:
            key = self._released.popleft()
            self._holders[key] -= 1
            if not self._holders[key]:
                del self._holders[key]
                self._held -= self._sizes.pop(key)


class _Held:
    """Wrapper that autograd saves instead of the tensor; notifies the meter when it is freed."""

    __slots__ = ("_key", "_released", "tensor")

    def __init__(self, tensor: Tensor, key: Key, released: collections.deque[Key]) -> None:
        self.tensor = tensor
        self._key = key
        self._released = released

    def __del__(self) -> None:
        self._released.append(self._key)  # no lock: a finalizer may run while this thread holds it


def _key(tensor: Tensor) -> Key:
    return tensor.device, tensor.untyped_storage().data_ptr()


def _unpack(held: _Held | Tensor) -> Tensor:
    return held.tensor if isinstance(held, _Held) else held


def reset_peak_memory(device: torch.device) -> None:
    """Reset the CUDA peak to the memory allocated now; does nothing on a CPU."""
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)


def peak_memory_bytes(device: torch.device) -> int | None:
    """Peak of allocated CUDA bytes since the reset; None on a CPU (see `SavedBytes.peak_bytes`)."""
    return torch.cuda.max_memory_allocated(device) if device.type == "cuda" else None
