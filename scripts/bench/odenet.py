"""One training iteration of the ODE-Net.

Forward pass, loss and backward pass of a batch of digits through the network of table 1 with the
convolutional stem, with dopri5 at the same tolerance, after a few training iterations:

    ours, adjoint              this project
    ours, adjoint at 2e-4      the same, with this tolerance of the backward solve
    ours, checkpointed         the same, with the gradient of the discrete solution
    ours compiled, ...         the same by the compiled engine
    torchdiffeq, same f        its solver and adjoint on our module (folded time channel), with the
                               allocator set as in our runs
    torchdiffeq, its own f     the module of its example (concatenated time channel) with the same
                               weights and the default allocator

Each row also shows the evaluations of f, forward and backward, and the relative error of the whole
gradient on the first digits against dopri8 at 1e-7 in float64. `parts` are the seconds of the
pieces of an iteration of ours, alone.
"""

import copy
from collections.abc import Callable
from typing import Any, NamedTuple

import torch
import torchdiffeq
from torch import Tensor, nn
from torch.nn import functional as F

from bench.interleaved import Entry, compare
from bench.program import Contender
from bench.setting import OURS, Record, Setting, relative, solver, synchronize
from node_repro.data import Batch
from node_repro.data.mnist import MNISTSource
from node_repro.models.odenet import ConvField, ODENet, TimeConv
from node_repro.ode import DOPRI5, DOPRI8, Adjoint, Checkpointed, ODEBlock
from node_repro.ode.gradients import GradientMethod
from node_repro.training.build import keep_freed_memory

BATCH, FEW, TOLERANCE, TRAINED, ROUNDS, THREADS = 128, 16, 1e-3, 40, 12, 2


TIGHTER = Adjoint(rtol=2e-4, atol=2e-4)
"""A backward solve at a smaller tolerance than the forward solve's, for gradients as accurate as
torchdiffeq's, whose backward solve takes more steps at the same tolerance.
"""


class Row(NamedTuple):
    """A row of the table. gradient: of this project, or None for torchdiffeq's adjoint. folded: use
    our module for f. allocator: keep freed memory, as our runs do.
    """

    name: str
    engine: str = "eager"
    gradient: GradientMethod | None = None
    folded: bool = True
    allocator: bool = True


ROWS = (
    *(Row(name, *choice) for name, choice in OURS.items() if name != "ours, direct"),
    Row("ours, adjoint at 2e-4", "eager", TIGHTER),
    Row("ours compiled, adjoint at 2e-4", "compiled", TIGHTER),
    Row("torchdiffeq, same f"),
    Row("torchdiffeq, its own f", folded=False, allocator=False),
)


class Start(NamedTuple):
    """What all contenders start from: weights, digits, and the float64 gradient on some of them."""

    device: torch.device
    weights: dict[str, Tensor]
    batch: tuple[Tensor, Tensor]
    few: tuple[Tensor, Tensor]
    exact: Tensor

    def network(self) -> ODENet:
        """The trained network, on the CPU."""
        network = built()
        network.load_state_dict(self.weights)
        return network


class ConcatField(nn.Module):
    """The field of torchdiffeq's MNIST example, with time as a 65th channel and the weights of
    `field`.
    """

    def __init__(self, field: ConvField) -> None:
        super().__init__()
        self.norm1 = copy.deepcopy(field.norm1)
        self.conv1 = self._concatenated(field.conv1)
        self.norm2 = copy.deepcopy(field.norm2)
        self.conv2 = self._concatenated(field.conv2)
        self.norm3 = copy.deepcopy(field.norm3)

    @staticmethod
    def _concatenated(conv: TimeConv) -> nn.Conv2d:
        weight = torch.cat((conv.time_weight, conv.weight), dim=1).detach()
        joined = nn.Conv2d(weight.shape[1], weight.shape[0], 3, padding=1)
        joined.weight = nn.Parameter(weight)
        joined.bias = nn.Parameter(conv.bias.detach().clone())
        return joined

    def forward(self, t: Tensor, y: Tensor) -> Tensor:
        h = self._conv(self.conv1, t, F.relu(self.norm1(y)))
        h = self._conv(self.conv2, t, F.relu(self.norm2(h)))
        return self.norm3(h)

    @staticmethod
    def _conv(conv: nn.Conv2d, t: Tensor, x: Tensor) -> Tensor:
        return conv(torch.cat((torch.ones_like(x[:, :1]) * t, x), dim=1))


class PeerBlock(nn.Module):
    """torchdiffeq's solver and adjoint in place of our ODEBlock; it counts the calls of f."""

    def __init__(self, f: nn.Module) -> None:
        super().__init__()
        self.f, self.calls = f, 0
        f.register_forward_pre_hook(self._count)

    def _count(self, *_: object) -> None:
        self.calls += 1

    def forward(self, y: Tensor) -> Tensor:
        times = torch.tensor([0.0, 1.0], device=y.device)
        ys = torchdiffeq.odeint_adjoint(
            self.f, y, times, rtol=TOLERANCE, atol=TOLERANCE, method="dopri5"
        )
        assert isinstance(ys, Tensor)
        return ys[1]


class Network(Contender):
    """Stem, block and head trained on a batch."""

    def __init__(self, start: Start, row: Row) -> None:
        if row.allocator:
            keep_freed_memory()
        network = start.network()
        f = network.block.f
        assert isinstance(f, ConvField)
        self.block: ODEBlock | PeerBlock
        if row.gradient is None:
            field = f if row.folded else ConcatField(f)
            self.block = PeerBlock(field)
        else:
            by = solver(DOPRI5, TOLERANCE, TOLERANCE, row.engine)
            self.block = ODEBlock(f, solver=by, gradient=row.gradient)
        self.parts = nn.ModuleDict(
            {"stem": network.stem, "block": self.block, "head": network.head}
        ).to(start.device)
        self.start = start

    def iterate(self) -> None:
        self._learn(*self.start.batch)

    def report(self) -> dict[str, Any]:
        """Evaluations of f, forward and backward, and the gradient error on some digits."""
        nfe = self._learn(*self.start.batch)
        self._learn(*self.start.few)
        return {"nfe": nfe, "gradient_error": relative(self._gradient().cpu(), self.start.exact)}

    def _learn(self, images: Tensor, labels: Tensor) -> tuple[int, int]:
        self.parts.zero_grad(set_to_none=True)
        block, device = self.block, self.start.device
        if isinstance(block, PeerBlock):
            block.calls = 0
        scores = self.parts["head"](block(self.parts["stem"](images.to(device))))
        loss = F.cross_entropy(scores, labels.to(device))
        forward = block.calls if isinstance(block, PeerBlock) else block.stats.nfe
        loss.backward()
        synchronize(device)
        if isinstance(block, PeerBlock):
            return forward, block.calls - forward
        return forward, block.stats.backward.nvjp if block.stats.backward else 0

    def _gradient(self) -> Tensor:
        """Of all parameters, flat, in float64; a joined convolution's taken apart as ours are."""
        found = gradients(self.parts)
        for name, g in list(found.items()):
            if g.dim() == 4 and g.shape[1] == 65:
                found[name] = g[:, 1:]
                found[name.replace("weight", "time_weight")] = g[:, :1]
        return flat(found)


def gradients(module: nn.Module) -> dict[str, Tensor]:
    """The gradients by name, in float64."""
    named = module.named_parameters()
    return {name: p.grad.double() for name, p in named if p.grad is not None}


def flat(found: dict[str, Tensor]) -> Tensor:
    """All gradients as one vector, in the order of the names."""
    return torch.cat([found[name].flatten() for name in sorted(found)])


def reference(network: ODENet, images: Tensor, labels: Tensor) -> Tensor:
    """The gradient of the discrete solution by dopri8 at 1e-7 in float64."""
    exact = copy.deepcopy(network).double()
    exact.block.solver = solver(DOPRI8, 1e-7, 1e-7)
    exact.block.gradient = Checkpointed()
    exact.zero_grad(set_to_none=True)
    F.cross_entropy(exact(images.double()), labels).backward()
    return flat(gradients(exact))


def built() -> ODENet:
    """The network with dopri5 and adjoint gradients."""
    torch.manual_seed(0)
    by = solver(DOPRI5, TOLERANCE, TOLERANCE)
    return ODENet(stem="conv", channels=64, solver=by, gradient=Adjoint())


def trained(network: ODENet, digits: Batch) -> None:
    """Train the network on some batches."""
    optimizer = torch.optim.SGD(network.parameters(), lr=0.1, momentum=0.9)
    for _ in range(TRAINED):
        picked = torch.randint(len(digits.labels), (BATCH,))
        optimizer.zero_grad(set_to_none=True)
        F.cross_entropy(network(digits.images[picked]), digits.labels[picked]).backward()
        optimizer.step()


def prepared(device: torch.device) -> Start:
    """The network after a few training iterations."""
    source = MNISTSource(dataset="mnist", root=None, source="embedded", download=False, limit=None)
    train = source.load().train
    digits = Batch(train.images[:, None].float() / 255, train.labels)
    network = built()
    trained(network, digits)
    batch = digits.images[:BATCH], digits.labels[:BATCH]
    few = batch[0][:FEW], batch[1][:FEW]
    return Start(device, network.state_dict(), batch, few, reference(network, *few))


class Part(Contender):
    """A piece of an iteration: a function of the network."""

    def __init__(self, start: Start, name: str) -> None:
        keep_freed_memory()
        network = start.network().to(start.device)
        images, labels = (part.to(start.device) for part in start.batch)
        y = network.stem(images).detach().requires_grad_()
        f = network.block.f
        assert isinstance(f, ConvField)
        t, wanted = y.new_tensor(0.5), (y, *f.parameters())
        weights = [conv.weight.detach().requires_grad_() for conv in (f.conv1, f.conv2)]

        def convolutions() -> Tensor:
            h = F.conv2d(y, weights[0], padding=1)
            return F.conv2d(h, weights[1], padding=1)

        def around() -> None:
            F.cross_entropy(network.head(network.stem(images)), labels).backward()

        def gradient(of: Callable[[], Tensor], by: tuple[Tensor, ...]) -> None:
            out = of()
            torch.autograd.grad(out, by, torch.ones_like(out))

        self.start, self.training = start, name not in ("f", "convolutions of f")
        self.piece: Callable[[], object] = {
            "f": lambda: f(t, y),
            "f and vjp": lambda: gradient(lambda: f(t, y), wanted),
            "convolutions of f": convolutions,
            "convolutions of f and vjp": lambda: gradient(convolutions, (y, *weights)),
            "stem and head": around,
        }[name]

    def iterate(self) -> None:
        with torch.set_grad_enabled(self.training):
            self.piece()
        synchronize(self.start.device)

    def report(self) -> dict[str, Any]:
        return {}


PARTS = ("f", "f and vjp", "convolutions of f", "convolutions of f and vjp", "stem and head")


def measured(setting: Setting) -> Record:
    """All rows, and the pieces of an iteration."""
    start = prepared(setting.device)
    entries = [Entry(row.name, Network, (start, row)) for row in ROWS]
    rows = compare(entries, setting.several(ROUNDS), threads=THREADS)
    pieces = [Entry(name, Part, (start, name)) for name in PARTS]
    parts = compare(pieces, setting.several(ROUNDS), threads=THREADS)
    given = {"batch": BATCH, "tolerance": TOLERANCE, "threads": THREADS}
    return given | {"rows": rows, "parts": parts}
