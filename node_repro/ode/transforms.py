"""Solves inside of torch.func transforms, and the error for torch.vmap, which is not supported."""

from collections.abc import Iterator
from contextlib import contextmanager

from torch import Tensor
from torch._C._functorch import (
    get_interpreter_stack,
    is_batchedtensor,
    is_legacy_batchedtensor,
)

from node_repro.ode.solution import SolverError


def transformed() -> bool:
    """Whether a transform of torch.func (vmap, grad, jvp, jacrev, ...) is active."""
    return bool(get_interpreter_stack())


def batched(x: Tensor) -> bool:
    """Whether a tensor is a batch inside of torch.vmap or of a vectorised backward pass."""
    return is_batchedtensor(x) or is_legacy_batchedtensor(x)


@contextmanager
def refuse_vmap() -> Iterator[None]:
    """Replace torch's error for a solve inside of torch.vmap, as steps depend on values.

    Raises:
        SolverError: A solve inside of torch.vmap (kind bad_input).
    """
    try:
        yield
    except RuntimeError as error:
        if "vmap" not in str(error) or not transformed():
            raise
        raise SolverError(
            "bad_input",
            "a solve cannot be inside of torch.vmap, since its steps depend on the values: make "
            "the batch a dimension of y0, which f receives as a whole",
        ) from error
