"""One ODE-Net training iteration, ours beside torchdiffeq's odeint_adjoint, interleaved.

Forward, loss and backward of a batch of digits through the network of Table 1, at the same
tolerance with dopri5, on a network that was trained for a moment:

    ours, adjoint              our solver and adjoint
    ours, seminorm             the same; parameter gradients do not control the backward steps
    ours, checkpointed         the same, with the exact gradient of the discrete solution
    torchdiffeq, same f        its solver and adjoint on our very module (time channel folded)
    torchdiffeq, its own f     the same on its example's module (time channel concatenated), with
                               the same weights

Beside every time: evaluations of f forward and backward, and the relative error of the whole
gradient on the first digits against dopri8 at 1e-7 in float64. Ratios are to the first row, round
by round: the machine is noisy.
"""

import argparse
import copy
import json
import platform
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import torch
import torchdiffeq
from torch import Tensor, nn
from torch.nn import functional as F

from node_repro.data import Batch
from node_repro.data.mnist import MNISTSource
from node_repro.models.odenet import ConvField, ODENet, TimeConv
from node_repro.ode import ODEBlock, RungeKutta
from node_repro.ode.controllers.integral import Integral
from node_repro.ode.gradients.adjoint import Adjoint
from node_repro.ode.gradients.checkpointed import Checkpointed
from node_repro.ode.methods.dopri5 import DOPRI5
from node_repro.ode.methods.dopri8 import DOPRI8
from node_repro.ode.norm import SEMI


class ConcatField(nn.Module):
    """The field of torchdiffeq's MNIST example: time as a 65th channel. Weights as in `field`."""

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
    """torchdiffeq's solver and adjoint in the place of our block; counts calls of f."""

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


class Contender:
    """A stem, a block and a head under a name; network: where they come from."""

    def __init__(self, name: str, network: ODENet, block: ODEBlock | PeerBlock) -> None:
        self.name, self.block = name, block
        self.stem, self.head = copy.deepcopy(network.stem), copy.deepcopy(network.head)
        self.parts = nn.ModuleDict({"stem": self.stem, "block": block, "head": self.head})
        self.seconds: list[float] = []

    def iterate(self, images: Tensor, labels: Tensor) -> tuple[int, int]:
        """Forward, loss and backward; returns the evaluations of f forward and backward."""
        self.parts.zero_grad(set_to_none=True)
        block = self.block
        if isinstance(block, PeerBlock):
            block.calls = 0
        loss = F.cross_entropy(self.head(block(self.stem(images))), labels)
        forward = block.calls if isinstance(block, PeerBlock) else block.stats.nfe
        loss.backward()
        if isinstance(block, PeerBlock):
            return forward, block.calls - forward
        return forward, block.stats.backward.nfe if block.stats.backward else 0

    def gradient(self) -> Tensor:
        """Of all parameters, flat, in float64; a joined convolution's taken apart as ours are."""
        found = gradients(self.parts)
        for name, g in list(found.items()):
            if g.dim() == 4 and g.shape[1] == 65:
                found[name] = g[:, 1:]
                found[name.replace("weight", "time_weight")] = g[:, :1]
        return flat(found)


def gradients(module: nn.Module) -> dict[str, Tensor]:
    """By name, in float64."""
    named = module.named_parameters()
    return {name: p.grad.double() for name, p in named if p.grad is not None}


def flat(found: dict[str, Tensor]) -> Tensor:
    """One vector, in the order of the names."""
    return torch.cat([found[name].flatten() for name in sorted(found)])


def reference(network: ODENet, images: Tensor, labels: Tensor) -> Tensor:
    """The gradient by the discrete solution of order 8 at 1e-7, in float64."""
    exact = copy.deepcopy(network).double()
    exact.block.solver = RungeKutta(DOPRI8, Integral(rtol=1e-7, atol=1e-7))
    exact.block.gradient = Checkpointed()
    exact.zero_grad(set_to_none=True)
    F.cross_entropy(exact(images.double()), labels).backward()
    return flat(gradients(exact))


def trained(stem: str, tolerance: float, iterations: int, digits: Batch) -> ODENet:
    """A network that has seen some batches of 128."""
    torch.manual_seed(0)
    solver = RungeKutta(DOPRI5, Integral(rtol=tolerance, atol=tolerance))
    network = ODENet(stem=stem, channels=64, solver=solver, gradient=Adjoint())
    network = network.to(digits.images.device)
    optimizer = torch.optim.SGD(network.parameters(), lr=0.1, momentum=0.9)
    for _ in range(iterations):
        picked = torch.randint(len(digits.labels), (128,)).to(digits.labels.device)
        optimizer.zero_grad(set_to_none=True)
        F.cross_entropy(network(digits.images[picked]), digits.labels[picked]).backward()
        optimizer.step()
    return network


def contenders(network: ODENet, tolerance: float) -> list[Contender]:
    """The rows, each with weights of its own."""
    f = network.block.f
    assert isinstance(f, ConvField)
    solver, device = network.block.solver, next(network.parameters()).device
    peers = {"torchdiffeq, same f": copy.deepcopy(f), "torchdiffeq, its own f": ConcatField(f)}
    blocks: dict[str, ODEBlock | PeerBlock] = {
        "ours, adjoint": ODEBlock(copy.deepcopy(f), solver=solver, gradient=Adjoint()),
        "ours, seminorm": ODEBlock(copy.deepcopy(f), solver=solver, gradient=Adjoint(norm=SEMI)),
        "ours, checkpointed": ODEBlock(copy.deepcopy(f), solver=solver, gradient=Checkpointed()),
    }
    blocks |= {name: PeerBlock(field, tolerance) for name, field in peers.items()}
    return [Contender(name, network, block.to(device)) for name, block in blocks.items()]


def timed(iterate: Callable[[], object], device: torch.device) -> float:
    """Seconds of one call."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    began = time.perf_counter()
    iterate()
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter() - began


def main() -> None:
    """Run the comparison; print a table, write it as JSON."""
    parser = argparse.ArgumentParser(description="ODE-Net's iteration beside torchdiffeq's")
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--warm-up", type=int, default=40, help="training iterations before")
    parser.add_argument("--tolerance", type=float, default=1e-3)
    parser.add_argument("--stem", choices=("conv", "residual"), default="conv")
    parser.add_argument("--error-batch", type=int, default=16)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--out", type=Path, default=Path("outputs/bench"))
    chosen = parser.parse_args()
    device = torch.device(chosen.device)
    source = MNISTSource(dataset="mnist", root=None, source="embedded", download=False, limit=None)
    train = source.load().train
    digits = Batch((train.images[:, None].float() / 255).to(device), train.labels.to(device))

    network = trained(chosen.stem, chosen.tolerance, chosen.warm_up, digits)
    few = digits.images[: chosen.error_batch], digits.labels[: chosen.error_batch]
    batch = digits.images[: chosen.batch], digits.labels[: chosen.batch]
    exact = reference(network, *few)
    competing = contenders(network, chosen.tolerance)
    rows = []
    for contender in competing:
        contender.iterate(*few)
        error = float((contender.gradient() - exact).norm() / exact.norm())
        nfe = contender.iterate(*batch)
        rows.append({"name": contender.name, "nfe": nfe, "gradient_error": error})
    for _ in range(chosen.rounds):
        for contender in competing:
            contender.seconds.append(timed(lambda c=contender: c.iterate(*batch), device))

    record = {
        "batch": chosen.batch,
        "tolerance": chosen.tolerance,
        "stem": chosen.stem,
        "device": describe(device),
        "torch": torch.__version__,
        "torchdiffeq": torchdiffeq.__version__,
        "rounds": chosen.rounds,
        "rows": [row | summary(c, competing[0]) for row, c in zip(rows, competing, strict=True)],
    }
    show(record)
    chosen.out.mkdir(parents=True, exist_ok=True)
    path = chosen.out / f"odenet_{chosen.stem}_{device.type}.json"
    path.write_text(json.dumps(record, indent=1))
    print(f"written to {path}")


def describe(device: torch.device) -> str:
    """The device in words."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return f"cpu, {platform.machine()}, {torch.get_num_threads()} threads"


def summary(contender: Contender, first: Contender) -> dict[str, float]:
    """The median, the extremes, and the median ratio to the first row, round by round."""
    seconds = contender.seconds
    return {
        "seconds": statistics.median(seconds),
        "seconds_min": min(seconds),
        "seconds_max": max(seconds),
        "ratio": statistics.median(b / a for a, b in zip(first.seconds, seconds, strict=True)),
    }


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
