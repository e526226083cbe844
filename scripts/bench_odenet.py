"""One training iteration of the ODE-Net beside torchdiffeq's odeint_adjoint, interleaved.

Forward pass, loss and backward pass of a batch of digits through the network of table 1, with
dopri5 at the same tolerance, after a few training iterations:

    ours, adjoint              this project
    ours, seminorm             the same; gradients of parameters do not control the backward steps
    ours, checkpointed         the same, with the gradient of the discrete solution
    torchdiffeq, same f        its solver and adjoint on our module (folded time channel), with the
                               allocator set as in our runs
    torchdiffeq, its own f     the module of its example (concatenated time channel) with the same
                               weights and the default allocator

Each row also shows the evaluations of f, forward and backward, and the relative error of the whole
gradient on the first digits against dopri8 at 1e-7 in float64. Each row runs in its own process.
"""

import argparse
import copy
import json
import platform
from pathlib import Path
from typing import Any, Literal, NamedTuple

import torch
import torchdiffeq
from interleaved import Entry, compare
from torch import Tensor, nn
from torch.nn import functional as F

from node_repro.data import Batch
from node_repro.data.mnist import MNISTSource
from node_repro.models.odenet import ConvField, ODENet, TimeConv
from node_repro.ode import ODEBlock, RungeKutta
from node_repro.ode.controllers.integral import Integral
from node_repro.ode.gradients import GradientMethod
from node_repro.ode.gradients.adjoint import Adjoint
from node_repro.ode.gradients.checkpointed import Checkpointed
from node_repro.ode.methods.dopri5 import DOPRI5
from node_repro.ode.methods.dopri8 import DOPRI8
from node_repro.ode.norm import SEMI
from node_repro.training.build import keep_freed_memory


class Row(NamedTuple):
    """A row of the table. gradient: of this project, or None for torchdiffeq's adjoint. folded: use
    our module for f. allocator: keep freed memory, as our runs do.
    """

    name: str
    gradient: GradientMethod | None
    folded: bool = True
    allocator: bool = True


ROWS = (
    Row("ours, adjoint", Adjoint()),
    Row("ours, seminorm", Adjoint(norm=SEMI)),
    Row("ours, checkpointed", Checkpointed()),
    Row("torchdiffeq, same f", None),
    Row("torchdiffeq, its own f", None, folded=False, allocator=False),
)


class Start(NamedTuple):
    """What all contenders start from: weights, digits, and the float64 gradient on some of them."""

    stem: Literal["residual", "conv"]
    tolerance: float
    device: torch.device
    weights: dict[str, Tensor]
    batch: tuple[Tensor, Tensor]
    few: tuple[Tensor, Tensor]
    exact: Tensor

    def network(self) -> ODENet:
        """The trained network, on the CPU."""
        network = built(self.stem, self.tolerance)
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

    def __init__(self, f: nn.Module, tolerance: float) -> None:
        super().__init__()
        self.f, self.tolerance, self.calls = f, tolerance, 0
        f.register_forward_pre_hook(self._count)

    def _count(self, *_: object) -> None:
        self.calls += 1

    def forward(self, y: Tensor) -> Tensor:
        times = torch.tensor([0.0, 1.0], device=y.device)
        ys = torchdiffeq.odeint_adjoint(
            self.f, y, times, rtol=self.tolerance, atol=self.tolerance, method="dopri5"
        )
        assert isinstance(ys, Tensor)
        return ys[1]


class Network:
    """A contender: stem, block and head trained on a batch."""

    def __init__(self, start: Start, row: Row) -> None:
        if row.allocator:
            keep_freed_memory()
        network = start.network()
        f = network.block.f
        assert isinstance(f, ConvField)
        self.block: ODEBlock | PeerBlock
        if row.gradient is None:
            field = f if row.folded else ConcatField(f)
            self.block = PeerBlock(field, start.tolerance)
        else:
            self.block = ODEBlock(f, solver=network.block.solver, gradient=row.gradient)
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
        exact = self.start.exact
        error = float((self._gradient().cpu() - exact).norm() / exact.norm())
        return {"nfe": nfe, "gradient_error": error}

    def _learn(self, images: Tensor, labels: Tensor) -> tuple[int, int]:
        self.parts.zero_grad(set_to_none=True)
        block, device = self.block, self.start.device
        if isinstance(block, PeerBlock):
            block.calls = 0
        scores = self.parts["head"](block(self.parts["stem"](images.to(device))))
        loss = F.cross_entropy(scores, labels.to(device))
        forward = block.calls if isinstance(block, PeerBlock) else block.stats.nfe
        loss.backward()
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        if isinstance(block, PeerBlock):
            return forward, block.calls - forward
        return forward, block.stats.backward.nfe if block.stats.backward else 0

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
    exact.block.solver = RungeKutta(DOPRI8, Integral(rtol=1e-7, atol=1e-7))
    exact.block.gradient = Checkpointed()
    exact.zero_grad(set_to_none=True)
    F.cross_entropy(exact(images.double()), labels).backward()
    return flat(gradients(exact))


def built(stem: Literal["residual", "conv"], tolerance: float) -> ODENet:
    """The network of table 1 with dopri5."""
    torch.manual_seed(0)
    solver = RungeKutta(DOPRI5, Integral(rtol=tolerance, atol=tolerance))
    return ODENet(stem=stem, channels=64, solver=solver, gradient=Adjoint())


def trained(network: ODENet, iterations: int, digits: Batch) -> None:
    """Train the network on some batches of 128."""
    optimizer = torch.optim.SGD(network.parameters(), lr=0.1, momentum=0.9)
    for _ in range(iterations):
        picked = torch.randint(len(digits.labels), (128,))
        optimizer.zero_grad(set_to_none=True)
        F.cross_entropy(network(digits.images[picked]), digits.labels[picked]).backward()
        optimizer.step()


def main() -> None:
    """Run the comparison, print a table and write it as JSON."""
    parser = argparse.ArgumentParser(description="ODE-Net's iteration beside torchdiffeq's")
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument(
        "--warm-up", type=int, default=40, help="training iterations before the measurement"
    )
    parser.add_argument("--tolerance", type=float, default=1e-3)
    parser.add_argument("--stem", choices=("conv", "residual"), default="conv")
    parser.add_argument("--error-batch", type=int, default=16)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--out", type=Path, default=Path("outputs/bench"))
    chosen = parser.parse_args()
    device = torch.device(chosen.device)
    source = MNISTSource(dataset="mnist", root=None, source="embedded", download=False, limit=None)
    train = source.load().train
    digits = Batch(train.images[:, None].float() / 255, train.labels)

    network = built(chosen.stem, chosen.tolerance)
    trained(network, chosen.warm_up, digits)
    few = digits.images[: chosen.error_batch], digits.labels[: chosen.error_batch]
    start = Start(
        chosen.stem,
        chosen.tolerance,
        device,
        network.state_dict(),
        (digits.images[: chosen.batch], digits.labels[: chosen.batch]),
        few,
        reference(network, *few),
    )
    rows = compare([Entry(row.name, Network, (start, row)) for row in ROWS], chosen.rounds)

    record = {
        "batch": chosen.batch,
        "tolerance": chosen.tolerance,
        "stem": chosen.stem,
        "device": describe(device),
        "torch": torch.__version__,
        "torchdiffeq": torchdiffeq.__version__,
        "rounds": chosen.rounds,
        "rows": rows,
    }
    show(record)
    chosen.out.mkdir(parents=True, exist_ok=True)
    path = chosen.out / f"odenet_{chosen.stem}_{device.type}.json"
    path.write_text(json.dumps(record, indent=1))
    print(f"written to {path}")


def describe(device: torch.device) -> str:
    """A description of the device."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return f"cpu, {platform.machine()}, {torch.get_num_threads()} threads"


def show(record: dict) -> None:
    """The table."""
    print(f"{record['device']}; torch {record['torch']}, torchdiffeq {record['torchdiffeq']}")
    titles = ("seconds", "(min-max)", "ratio", "NFE F/B", "gradient error")
    print(" " * 24 + "{:>9}{:>16}{:>8}{:>10}{:>16}".format(*titles))
    for row in record["rows"]:
        spread = f"({row['seconds_min']:.3f}-{row['seconds_max']:.3f})"
        nfe = "{}/{}".format(*row["nfe"])
        print(
            f"{row['name']:<24}{row['seconds']:>9.3f}{spread:>16}{row['ratio']:>8.2f}{nfe:>10}"
            f"{row['gradient_error']:>16.1e}"
        )


if __name__ == "__main__":
    main()
