"""Runs of a loop as captured CUDA graphs, so that a solve takes one host read.

A run is captured in three parts: what comes before its loop, one step of the loop, and what comes
after it. A step after the end of the loop changes nothing, so the host launches as many as the last
run of the same kind needed, and then reads the report, which says whether they were enough.
"""

import gc
import warnings
from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

import torch
from torch import Tensor
from torch.utils._pytree import tree_flatten, tree_leaves, tree_map

from node_repro.ode.engines.parametrized import NotCompilableError
from node_repro.ode.engines.progress import Buffers
from node_repro.ode.engines.references import references
from node_repro.ode.engines.repeat_while import repeated_by
from node_repro.ode.solution import SolverError

DEVICES = ("cuda",)
MOST = 16  # captured runs that are kept; the one that was unused for longest is dropped
FIRST = 8  # steps before the first read of a kind of run that was never completed
Run = Callable[..., Any]
"""run(f, parameters, *inputs): inputs and results are tensors, or tuples of them. The last result
of a run whose number of steps is unknown is its report, a vector of float64."""

_kept: OrderedDict[Hashable, "_Captured"] = OrderedDict()
_misses: dict[Hashable, int] = {}
"""How often each kind of run was captured since captured graphs were last used for it."""


def require_device(device: torch.device) -> None:
    """Raises SolverError for a device whose work cannot be captured."""
    if device.type not in DEVICES:
        raise SolverError(
            "bad_input",
            f"backend=graphs captures CUDA graphs, and the state is on the {device.type}: use "
            "backend=inductor or engine=eager there",
        )


def run_captured(
    run: Run,
    steps: int | None,
    captured: Callable[[], None],
    f: Any,  # noqa: ANN401
    parameters: tuple[Tensor, ...],
    *inputs: Any,
) -> Any:  # noqa: ANN401
    """Call a run by its captured graphs, which are captured if there are none that fit.

    They fit if the shapes are the same, and if f refers to the same tensors: these are read where
    they are, so that an optimiser may change them. Inputs are copied in and results copied out.
    Calls from several threads must not overlap.

    Args:
        run: The function.
        steps: The steps of its loop; None if the device finds out.
        captured: Called after a capture.
        f: The first argument of the run.
        parameters: The second argument.
        inputs: Further arguments, on the host or on the device. Those of type Buffers are only
            written to.

    Returns:
        What run returns, with the report on the host.
    """
    leaves, structure = tree_flatten(inputs)
    tensors = [x for x in leaves if isinstance(x, Tensor)]
    device = next(x.device for x in tensors if x.device.type in DEVICES)
    shapes = tuple((x.shape, x.stride(), x.dtype) for x in tensors)
    kind = (id(run), structure, shapes, steps is None, device)
    found = references((f, parameters), device)
    key = (kind, found.key)
    if key in _kept:
        _kept.move_to_end(key)
        _misses.pop(kind, None)
    else:
        _misses[kind] = _misses.get(kind, 0) + 1
        if _misses[kind] > MOST // 2:
            raise NotCompilableError("what f refers to is different in every solve")
        _kept[key] = _Captured(run, f, parameters, inputs, device, known=steps is not None)
        _kept[key].kept = (run, *found.objects)
        captured()
        if len(_kept) > MOST:
            _kept.popitem(last=False)
    return _kept[key].call(inputs, steps)


class Side:
    """A side stream of a device, and the memory of the graphs that are captured on it."""

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self.stream = torch.cuda.Stream(device)
        self.pool = torch.cuda.graph_pool_handle()

    @contextmanager
    def used(self) -> Iterator[None]:
        """On the side stream; an operation that waits for the device raises an error."""
        now, mode = torch.cuda.current_stream(self.device), torch.cuda.get_sync_debug_mode()
        gc.collect()  # a graph that is freed during a capture would end it
        torch.cuda.synchronize(self.device)
        torch.cuda.empty_cache()
        self.stream.wait_stream(now)
        try:
            _raise_on_waiting("error")
            with torch.cuda.stream(self.stream):
                yield
        finally:
            _raise_on_waiting(mode)
        now.wait_stream(self.stream)

    def begin(self) -> torch.cuda.CUDAGraph:
        """Begin to capture a graph, until its capture_end."""
        graph = torch.cuda.CUDAGraph()
        graph.capture_begin(pool=self.pool)
        return graph


def _raise_on_waiting(mode: str | int) -> None:
    with warnings.catch_warnings():  # torch says that it does not detect every operation
        warnings.simplefilter("ignore")
        torch.cuda.set_sync_debug_mode(mode)


class _Captured:
    """A captured run.

    Attributes:
        inputs: The inputs that the graphs read, and the buffers that they write.
        before: The graph of what comes before the loop.
        step: The graph of one step.
        after: The graph of what comes after the loop.
        state: What the loop carries.
        count: The steps that changed something, () int64.
        outputs: What the run returns.
        predicted: The steps that the last call needed.
        kept: Objects that must live as long as the graphs are kept.
    """

    def __init__(
        self,
        run: Run,
        f: Any,  # noqa: ANN401
        parameters: tuple[Tensor, ...],
        inputs: tuple[Any, ...],
        device: torch.device,
        *,
        known: bool,
    ) -> None:
        self.known, self.predicted = known, FIRST
        self.kept: tuple[Any, ...] = ()
        self.inputs = tree_map(lambda x: _like(x, device), inputs)
        self.side = side = Side(device)
        with side.used():
            with repeated_by(self._warm):  # libraries set themselves up when they are first called
                run(f, parameters, *self.inputs)
            with repeated_by(self._cut):
                self.before = self._current = side.begin()
                try:
                    self.outputs = run(f, parameters, *self.inputs)
                    if not known:
                        scalars = (self.outputs[-1], self._going().double(), self.count.double())
                        self.report = torch.cat([x.reshape(-1) for x in scalars])
                except BaseException:
                    with suppress(RuntimeError):
                        self._current.capture_end()
                    raise
                self.after = self._current
                self.after.capture_end()
        del self._going, self._current

    def _warm(self, condition: Any, body: Any, carried: tuple[Tensor, ...]) -> tuple[Tensor, ...]:  # noqa: ANN401
        """Take one step."""
        return _step(condition, body, carried)[1]

    def _cut(self, condition: Any, body: Any, carried: tuple[Tensor, ...]) -> tuple[Tensor, ...]:  # noqa: ANN401
        """End the first graph, capture a step as the second, and begin the third."""
        self.state = tuple(x.clone() for x in carried)
        self.count = torch.zeros((), dtype=torch.int64, device=carried[0].device)
        self._current.capture_end()
        self.step = self._current = self.side.begin()
        if self.known:
            after = body(*self.state)
        else:
            going, after = _step(condition, body, self.state)
            self.count += going
        for x, new in zip(self.state, after, strict=True):
            x.copy_(new)
        self._current.capture_end()
        self._current = self.side.begin()
        self._going = lambda: condition(*self.state)
        return self.state

    def call(self, inputs: tuple[Any, ...], steps: int | None) -> Any:  # noqa: ANN401
        """Run with other inputs: see `run_captured`."""
        buffers = [(a, b) for a, b in zip(inputs, self.inputs, strict=True)]
        for given, own in buffers:
            if not isinstance(given, Buffers):
                for x, y in zip(tree_leaves(given), tree_leaves(own), strict=True):
                    if isinstance(x, Tensor):
                        y.copy_(x, non_blocking=True)
        self.before.replay()
        if steps is not None:
            self._repeat(steps)
            return _copied(self.outputs)
        # launch what the last call needed, read, and continue if it was not enough
        launched, more = 0, self.predicted
        while True:
            self._repeat(more)
            launched += more
            *report, going, count = self.report.tolist()
            if not going:
                break
            more = max(1, launched // 4)
        self.predicted = int(count)
        for given, own in buffers:
            if isinstance(given, Buffers):
                for x, y in zip(tree_leaves(given), tree_leaves(own), strict=True):
                    x[: self.predicted].copy_(y[: self.predicted])
        return (*_copied(self.outputs[:-1]), torch.tensor(report, dtype=torch.float64))

    def _repeat(self, steps: int) -> None:
        for _ in range(steps):
            self.step.replay()
        self.after.replay()


def _step(
    condition: Callable[..., Tensor],
    body: Callable[..., tuple[Tensor, ...]],
    state: tuple[Tensor, ...],
) -> tuple[Tensor, tuple[Tensor, ...]]:
    """Whether the loop goes on, and the state after a step that changes nothing if it does not."""
    going = condition(*state)
    pairs = zip(body(*state), state, strict=True)
    return going, tuple(torch.where(going, new, old) for new, old in pairs)


def _like(x: Any, device: torch.device) -> Any:  # noqa: ANN401
    return x.to(device, copy=True) if isinstance(x, Tensor) else x


def _copied(outputs: Any) -> Any:  # noqa: ANN401
    return tree_map(lambda x: x.clone() if isinstance(x, Tensor) else x, outputs)
