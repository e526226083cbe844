"""State of torch's default random generators, in a form that a checkpoint can hold."""

import torch
from torch import Tensor

RandomState = dict[str, Tensor | None]
"""Keys "cpu" and "cuda"; "cuda" is None for a run on a CPU."""


def random_state(device: torch.device) -> RandomState:
    """Return the current state of the generators used on a device."""
    cuda = torch.cuda.get_rng_state(device) if device.type == "cuda" else None
    return {"cpu": torch.get_rng_state(), "cuda": cuda}


def set_random_state(state: RandomState, device: torch.device) -> None:
    """Restore a state; generators without a stored state are not changed."""
    cpu, cuda = state["cpu"], state["cuda"]
    if cpu is not None:
        torch.set_rng_state(cpu)
    if cuda is not None and device.type == "cuda":
        torch.cuda.set_rng_state(cuda, device)
