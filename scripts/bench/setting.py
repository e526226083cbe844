"""What all subjects of one call share: the output folder, the device, the rounds, the peers."""

import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from bench.interleaved import Entry
from bench.peers import DIFFRAX, NotInstalled, Peer, interpreter
from bench.program import Contender
from node_repro import ode
from node_repro.ode.controllers.integral import Integral
from node_repro.ode.engines import Engine, compilation
from node_repro.ode.gradients import GradientMethod
from node_repro.ode.methods import Method

OURS: dict[str, tuple[str, GradientMethod]] = {
    "ours, adjoint": ("eager", ode.Adjoint()),
    "ours, checkpointed": ("eager", ode.Checkpointed()),
    "ours, direct": ("eager", ode.Direct()),
    "ours compiled, adjoint": ("compiled", ode.Adjoint()),
    "ours compiled, checkpointed": ("compiled", ode.Checkpointed()),
}
"""The rows of this project in the training iterations: engine and gradient method. Compiled, direct
is computed as checkpointed, which is the same number.
"""


@dataclass
class Setting:
    """The setting of a call.

    Args:
        folder: The output folder.
        device: Where the contenders run.
        rounds: The number of rounds of every comparison; None leaves it to the subject.
    """

    folder: Path
    device: torch.device
    rounds: int | None = None
    _pythons: dict[str, tuple[str, str]] = field(default_factory=dict)

    def python(self, peer: Peer) -> tuple[str, str]:
        """The interpreter of a peer, or "" and the reason why there is none."""
        if peer.name not in self._pythons:
            try:
                self._pythons[peer.name] = interpreter(peer, self.folder), ""
            except NotInstalled as reason:
                self._pythons[peer.name] = "", str(reason)
        return self._pythons[peer.name]

    def peer(
        self, name: str, peer: Peer, build: Callable[..., Contender], *arguments: object
    ) -> Entry:
        """A contender in a peer's environment: build(interpreter, *arguments)."""
        if peer is DIFFRAX and self.device.type != "cpu":
            return Entry(name, build, (), "its environment has jax for the CPU only")
        python, reason = self.python(peer)
        return Entry(name, build, (python, *arguments), reason)

    def several(self, rounds: int) -> int:
        """The rounds of this call, or the ones given."""
        return self.rounds or rounds

    def synchronize(self) -> None:
        synchronize(self.device)


def synchronize(device: torch.device) -> None:
    """Wait for the device."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def solver(method: Method, rtol: float, atol: float, engine: str = "eager") -> ode.RungeKutta:
    """A solver with step control by an engine, which is named as in the tables."""
    return ode.RungeKutta(method, Integral(rtol=rtol, atol=atol), engine=engine_of(engine))


def engine_of(name: str) -> Engine:
    """The engine with this name in the tables."""
    return ode.Compiled() if name == "compiled" else ode.Eager()


def relative(found: Tensor, exact: Tensor) -> float:
    """The relative error of a gradient."""
    return float((found - exact).norm() / exact.norm())


@contextmanager
def warned() -> Iterator[list[str]]:
    """Collects the first line of every warning; engines give each of theirs once again."""
    compilation._reported.clear()
    texts: list[str] = []
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        yield texts
    texts += dict.fromkeys(str(one.message).splitlines()[0] for one in said)


Record = dict[str, Any]
"""What a subject measures, as JSON."""
