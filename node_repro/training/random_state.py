"""The state of torch's own generators, in a form that a checkpoint can hold."""

import torch
from torch import Tensor

RandomState = dict[str, Tensor | None]
"""cpu, and cuda of the device that the run is on, None where that is a CPU."""


def random_state(device: torch.device) -> RandomState:
    """The current state."""
    cuda = torch.cuda.get_rng_state(device) if device.type == "cuda" else None
    return {"cpu": torch.get_rng_state(), "cuda": cuda}


def set_random_state(state: RandomState, device: torch.device) -> None:
    """Restores a state; a generator that it has no state of is left alone."""
    cpu, cuda = state["cpu"], state["cuda"]
    if cpu is not None:
        torch.set_rng_state(cpu)
    if cuda is not None and device.type == "cuda":
        torch.cuda.set_rng_state(cuda, device)
