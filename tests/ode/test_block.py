"""ODEBlock: a layer among layers."""

import copy
import io
import warnings

import pytest
import torch
from chosen import GRADIENTS, REAL_ONLY, Net, adaptive, leaf, real, steps
from torch import Tensor, nn

from node_repro.ode import ODEBlock, Stats, odeint

Y0 = (0.5, -0.2, 0.9)
every_gradient = pytest.mark.parametrize("gradient", GRADIENTS)


def block(gradient: str = "direct", f: nn.Module | None = None, **changes: object) -> ODEBlock:
    arguments = {"solver": adaptive("dopri5", 1e-9), "gradient": GRADIENTS[gradient]} | changes
    return ODEBlock(f or Net(), **arguments)  # type: ignore[arg-type]


@every_gradient
@pytest.mark.parametrize("span", [(0.0, 1.0), (0.5, 2.0), (1.0, 0.0)])
def test_a_block_is_the_solve_to_the_end_of_its_span(
    gradient: str, span: tuple[float, float]
) -> None:
    layer, y0 = block(gradient, span=span), leaf(*Y0)
    y1 = layer(y0)
    ys, stats = odeint(layer.f, y0, real(*span), solver=layer.solver, gradient=layer.gradient)
    assert torch.equal(y1, ys[-1])
    assert (layer.stats.nfe, layer.stats.accepted) == (stats.nfe, stats.accepted)


@every_gradient
def test_a_block_tells_what_its_last_solve_cost(gradient: str) -> None:
    layer = block(gradient)
    assert layer.stats == Stats()
    layer(real(*Y0)).sum().backward()
    trained = layer.stats
    assert trained.nfe > 0 and trained.backward is not None
    assert (trained if gradient in REAL_ONLY else trained.backward).nvjp > 0
    with torch.no_grad():
        layer(real(*Y0))
    assert layer.stats.backward is None and layer.stats.nvjp == 0
    # without gradients the forward method solves for the state alone, with steps of its own
    assert layer.stats.nfe == trained.nfe or gradient in REAL_ONLY
    assert trained.backward is not None, "an evaluation does not reach into a training step"


@every_gradient
def test_a_block_used_twice_in_one_graph_adds_up(gradient: str) -> None:
    layer, y0 = block(gradient), leaf(*Y0)
    middle = layer(y0)
    first = layer.stats
    end = layer(middle)
    second = layer.stats
    (middle.sum() + end.square().sum()).backward()
    assert first is not second
    for stats in (first, second):
        assert stats.backward is not None
        assert (stats if gradient in REAL_ONLY else stats.backward).nvjp > 0
    found = [y0.grad, *(p.grad for p in layer.parameters())]

    f, y0 = Net(), leaf(*Y0)
    ys, _ = odeint(f, y0, real(0, 1), solver=layer.solver, gradient=GRADIENTS["direct"])
    again, _ = odeint(f, ys[-1], real(0, 1), solver=layer.solver, gradient=GRADIENTS["direct"])
    (ys[-1].sum() + again[-1].square().sum()).backward()
    aim = [y0.grad, *(p.grad for p in f.parameters())]
    torch.testing.assert_close(found, aim, rtol=1e-7, atol=1e-8)


@every_gradient
def test_a_block_trains_between_other_layers(gradient: str) -> None:
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Linear(2, 3), block(gradient, Net().float(), solver=steps("rk4", 0.25)), nn.Linear(3, 1)
    )
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    x = torch.randn(32, 2)
    y = x[:, :1] * x[:, 1:]
    losses = []
    for _ in range(20):
        loss = (model(x) - y).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.9 * losses[0]
    assert all(p.grad is not None for p in model.parameters())


def test_a_block_owns_its_field_alone() -> None:
    layer = block()
    assert set(layer.state_dict()) == {"f.inner", "f.bias", "f.outer"}
    other = block(f=Net(seed=5))
    other.load_state_dict(layer.state_dict())
    assert torch.equal(other(real(*Y0)), layer(real(*Y0)))


@every_gradient
def test_a_block_can_be_copied_and_saved(gradient: str) -> None:
    layer = block(gradient)
    y1 = layer(real(*Y0)).detach()
    layer.stats = Stats()
    assert torch.equal(copy.deepcopy(layer)(real(*Y0)), y1)
    file = io.BytesIO()
    torch.save(layer, file)
    file.seek(0)
    assert torch.equal(torch.load(file, weights_only=False)(real(*Y0)), y1)


@every_gradient
def test_a_block_can_be_copied_after_it_has_run(gradient: str) -> None:
    layer = block(gradient)
    layer(real(*Y0)).sum().backward()
    assert copy.deepcopy(layer).stats == layer.stats


class Noisy(nn.Module):
    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(3, 3), inner)

    def forward(self, t: Tensor, y: Tensor) -> Tensor:
        return self.layers(y)


@pytest.mark.parametrize(
    "inner",
    [
        nn.BatchNorm1d(3),
        nn.BatchNorm2d(3),
        nn.SyncBatchNorm(3),
        nn.Dropout(),
        nn.Dropout2d(),
        nn.AlphaDropout(),
    ],
    ids=lambda inner: type(inner).__name__,
)
def test_layers_that_make_no_field_are_warned_of_by_name(inner: nn.Module) -> None:
    with pytest.warns(
        UserWarning,
        match=rf"layers\.1 is a {type(inner).__name__} inside a vector field.*"
        "use GroupNorm or LayerNorm",
    ) as caught:
        block(f=Noisy(inner))
    assert len(caught) == 1 and caught[0].filename == __file__


def test_a_field_that_is_itself_such_a_layer_is_warned_of() -> None:
    with pytest.warns(UserWarning, match="^f is a Dropout"):
        block(f=nn.Dropout())


@pytest.mark.parametrize(
    "inner", [nn.GroupNorm(3, 3), nn.LayerNorm(3), nn.Tanh(), nn.ReLU()], ids=str
)
def test_other_layers_are_welcome(inner: nn.Module) -> None:
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        block(f=Noisy(inner))
    assert told == []
