"""The networks of Table 1: their sizes, the time channel, and the ODE inside of one."""

from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from torch import Tensor, nn
from torch.nn import functional as F

from node_repro.models.odenet import Activation, ConvField, ODENet, TimeConv
from node_repro.models.resnet import ResNet
from node_repro.models.stem import STEMS
from node_repro.ode import RungeKutta
from node_repro.ode.controllers.constant import Constant
from node_repro.ode.controllers.integral import Integral
from node_repro.ode.gradients import GradientMethod
from node_repro.ode.gradients.adjoint import Adjoint
from node_repro.ode.gradients.checkpointed import Checkpointed
from node_repro.ode.gradients.direct import Direct
from node_repro.ode.methods.dopri5 import DOPRI5
from node_repro.ode.methods.explicit import RK4
from node_repro.runs.meters import SavedBytes
from node_repro.training.build import import_object
from node_repro.training.cost import solver_cost

CONF = Path(__file__).parents[2] / "conf" / "model"
MODELS = {
    file.stem: yaml.safe_load(file.read_text(encoding="utf-8"))
    for file in sorted(CONF.glob("*.yaml"))
    if file.stem in ("mlp", "odenet", "resnet", "revnet", "stem_only")
}
GRADIENTS = {"direct": Direct(), "checkpointed": Checkpointed(), "adjoint": Adjoint()}


def constant(size: float) -> RungeKutta:
    return RungeKutta(RK4, Constant(size))


def adaptive(tol: float) -> RungeKutta:
    control = Integral(
        rtol=tol, atol=tol, safety=0.9, factor_min=0.2, factor_max=10.0, first_step=None
    )
    return RungeKutta(DOPRI5, control)


def built(name: str, **changes: Any) -> nn.Module:
    """The model as its yaml has it, but for the changes."""
    choice = MODELS[name]
    options = {key: value for key, value in choice.items() if not key.startswith("_")} | changes
    ode = {"solver": constant(0.5), "gradient": Direct()} if name == "odenet" else {}
    return import_object(choice["_target_"])(**options, **ode)


def small(
    solver: RungeKutta,
    gradient: GradientMethod,
    channels: int = 4,
    activation: Activation = "relu",
) -> ODENet:
    """The same weights on every call."""
    torch.manual_seed(0)
    network = ODENet(
        stem="conv", channels=channels, activation=activation, solver=solver, gradient=gradient
    )
    return network.double()


def digits(count: int = 3) -> Tensor:
    generator = torch.Generator().manual_seed(1)
    return torch.rand(count, 1, 28, 28, generator=generator, dtype=torch.float64)


def count(model: nn.Module) -> int:
    return sum(p.numel() for p in model.parameters() if p.requires_grad)


@pytest.mark.parametrize(
    ("name", "options", "parameters"),
    [
        ("mlp", {}, 238_510),
        ("resnet", {}, 601_482),
        ("resnet", {"stem": "conv"}, 576_778),
        ("resnet", {"blocks": 1}, 231_562),
        ("resnet", {"blocks": 1, "stem": "conv"}, 206_858),
        ("revnet", {}, 603_018),
        ("odenet", {}, 232_970),
        ("odenet", {"stem": "conv"}, 208_266),
        ("stem_only", {}, 157_578),
        ("stem_only", {"stem": "conv"}, 132_874),
    ],
)
def test_every_network_has_exactly_its_number_of_parameters(
    name: str, options: dict[str, Any], parameters: int
) -> None:
    assert count(built(name, **options)) == parameters


@pytest.mark.parametrize("name", MODELS)
def test_every_model_of_the_configuration_gives_ten_scores_and_trains_all_it_has(name: str) -> None:
    stems = STEMS if "stem" in MODELS[name] else (None,)
    for stem in stems:
        small_sizes = {"channels": 4, "stem": stem} if stem else {}
        model = built(name, **small_sizes)
        scores = model(digits(2).float())
        assert scores.shape == (2, 10)
        scores.square().sum().backward()
        without = [n for n, p in model.named_parameters() if p.grad is None or not p.grad.any()]
        assert without == []


def test_one_digit_and_many_digits_are_scored_the_same() -> None:
    model = small(constant(0.5), Direct())
    torch.testing.assert_close(model(digits(3))[1:2], model(digits(3)[1:2]), rtol=0, atol=1e-12)


@pytest.mark.parametrize(("stem", "side"), [("residual", 7), ("conv", 6)])
def test_stem_halves_the_image_twice(stem: str, side: int) -> None:
    assert STEMS[stem](8)(digits(2).float()).shape == (2, 8, side, side)


def test_more_than_32_channels_are_normalised_in_32_groups() -> None:
    groups = {c: ConvField(c).norm1.num_groups for c in (4, 32, 64)}
    assert groups == {4: 4, 32: 32, 64: 32}


def test_residual_block_adds_to_the_identity() -> None:
    torch.manual_seed(0)
    model = ResNet(stem="conv", blocks=2, channels=4)
    with torch.no_grad():
        for name, parameter in model.blocks.named_parameters():
            if "conv2" in name:
                parameter.zero_()
    x = torch.rand(2, 4, 6, 6)
    assert torch.equal(model.blocks(x), x)


def test_time_convolution_is_that_of_the_image_with_a_channel_of_t() -> None:
    torch.manual_seed(0)
    conv = TimeConv(4).double()
    x = torch.randn(3, 4, 6, 5, dtype=torch.float64, requires_grad=True)
    t = torch.tensor(0.7, dtype=torch.float64, requires_grad=True)
    inputs = (t, x, conv.weight, conv.time_weight, conv.bias)
    ours = conv(t, x)
    with_t = torch.cat((t.expand(3, 1, 6, 5), x), dim=1)
    weight = torch.cat((conv.time_weight, conv.weight), dim=1)
    theirs = F.conv2d(with_t, weight, conv.bias, padding=1)
    torch.testing.assert_close(ours, theirs, rtol=1e-13, atol=1e-13)
    cotangent = torch.randn_like(ours)
    torch.testing.assert_close(
        torch.autograd.grad(ours, inputs, cotangent),
        torch.autograd.grad(theirs, inputs, cotangent),
        rtol=1e-12,
        atol=1e-12,
    )


def test_time_convolution_has_the_parameters_and_the_spread_of_the_usual_one() -> None:
    torch.manual_seed(0)
    ours, usual = TimeConv(64), nn.Conv2d(65, 64, 3)
    assert count(ours) == count(usual)
    for parameter in (ours.weight, ours.time_weight, ours.bias):
        assert parameter.abs().max() <= usual.weight.abs().max() * 1.001
    assert float(ours.weight.detach().std()) == pytest.approx(
        float(usual.weight.detach().std()), rel=0.02
    )


def odenet_gradient(
    gradient: GradientMethod, tol: float, activation: Activation = "relu"
) -> Tensor:
    """Of a cross-entropy with respect to the digits and all parameters, as one vector."""
    model = small(adaptive(tol), gradient, activation=activation)
    x = digits().requires_grad_()
    inputs = (x, *model.parameters())
    loss = F.cross_entropy(model(x), torch.tensor([3, 1, 4]))
    parts = torch.autograd.grad(loss, inputs)
    return torch.cat([part.flatten() for part in parts])


def test_gradients_of_the_odenet_agree_whatever_method_takes_them() -> None:
    """With softplus: the adjoint's proportionality to its tolerance needs a smooth f."""
    found_gradients = {
        name: odenet_gradient(g, 1e-8, activation="softplus") for name, g in GRADIENTS.items()
    }
    direct = found_gradients["direct"]
    size = float(direct.abs().max())
    torch.testing.assert_close(found_gradients["checkpointed"], direct, rtol=0, atol=1e-13 * size)
    assert 0 < float((found_gradients["adjoint"] - direct).abs().max()) / size < 1e-7


def test_kinks_of_relu_cost_the_adjoint_accuracy_but_not_the_discrete_gradients() -> None:
    """Where a unit switches, df/dy jumps: both gradients are then right to about sqrt(tol)."""
    error = {}
    for tol in (1e-4, 1e-6):
        gradients = {name: odenet_gradient(g, tol) for name, g in GRADIENTS.items()}
        size = gradients["direct"].abs().max()
        difference = {
            n: float((g - gradients["direct"]).abs().max() / size) for n, g in gradients.items()
        }
        assert difference["checkpointed"] < 1e-13
        error[tol] = difference["adjoint"]
    assert error[1e-4] < 0.2 and error[1e-6] < 0.05


def saved_bytes(gradient: GradientMethod, steps: int) -> int:
    model = small(constant(1 / steps), gradient, channels=2)
    with SavedBytes(exclude=model.parameters()) as saved:
        loss = model(digits(4)).sum()
    held = saved.held_bytes
    loss.backward()
    return held


def test_memory_is_flat_in_the_steps_for_the_adjoint_and_linear_for_the_others() -> None:
    flat = [saved_bytes(GRADIENTS["adjoint"], n) for n in (4, 8, 16)]
    assert flat[0] == flat[1] == flat[2]
    state = 4 * 2 * 6 * 6 * 8
    states = [saved_bytes(GRADIENTS["checkpointed"], n) for n in (4, 8, 16)]
    assert states[1] - states[0] == 4 * state and states[2] - states[1] == 8 * state
    linear = [saved_bytes(GRADIENTS["direct"], n) for n in (4, 8, 16)]
    a_step = (linear[1] - linear[0]) / 4
    assert linear[2] - linear[1] == pytest.approx(8 * a_step, rel=0.01)
    assert a_step > 4 * 5 * state  # four stages, each with its activations


def test_cost_of_an_evaluation_does_not_leak_into_training() -> None:
    model = small(adaptive(1e-4), Adjoint())

    def train() -> dict[str, float]:
        model.zero_grad()
        model(digits()).square().sum().backward()
        return solver_cost(model)

    before = train()
    assert before["nfe_backward"] > 0 and before["accepted_backward"] > 0
    with torch.no_grad():
        model(100 * digits(1))
        evaluated = solver_cost(model)
    assert evaluated["nfe_forward"] > 0
    assert evaluated["nfe_backward"] == evaluated["accepted_backward"] == 0
    assert train() == before


def test_the_smooth_twin_has_softplus_in_place_of_relu_and_the_same_weights() -> None:
    torch.manual_seed(0)
    field = ConvField(4)
    y, t = torch.randn(2, 4, 5, 5), torch.tensor(0.3)
    twin = field.smooth_twin()
    assert isinstance(twin, ConvField) and twin.smooth_twin() is None
    h = field.conv1(t, F.softplus(field.norm1(y)))
    expected = field.norm3(field.conv2(t, F.softplus(field.norm2(h))))
    torch.testing.assert_close(twin(t, y), expected)
    h = field.conv1(t, F.relu(field.norm1(y)))
    torch.testing.assert_close(field(t, y), field.norm3(field.conv2(t, F.relu(field.norm2(h)))))


def test_an_ode_net_with_softplus_is_its_own_smooth_twin() -> None:
    torch.manual_seed(0)
    network = built("odenet", activation="softplus", channels=4)
    torch.manual_seed(0)
    kinked = built("odenet", channels=4)
    assert isinstance(network, ODENet) and isinstance(kinked, ODENet)
    twin = kinked.block.f.smooth_twin()  # pyright: ignore[reportCallIssue]
    y, t = torch.randn(2, 4, 7, 7), torch.tensor(0.5)
    torch.testing.assert_close(network.block.f(t, y), twin(t, y))
