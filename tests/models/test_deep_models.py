"""Networks with a depth: layers, or an ODE, between an encoder and a decoder."""

from collections.abc import Callable
from typing import Any, Literal

import pytest
import torch
from torch import Tensor, nn

from node_repro.models.constant_slope import ConstantSlope
from node_repro.models.encoded_ode import EncodedODE
from node_repro.models.encoder_decoder import encoder_decoder
from node_repro.models.residual_chain import ResidualChain
from node_repro.models.trained_span_ode import TrainedSpanODE
from node_repro.ode.controllers.constant import Constant
from node_repro.ode.controllers.integral import Integral
from node_repro.ode.gradients import GradientMethod
from node_repro.ode.gradients.adjoint import Adjoint
from node_repro.ode.gradients.direct import Direct
from node_repro.ode.gradients.forward import Forward
from node_repro.ode.methods.dopri5 import DOPRI5
from node_repro.ode.methods.explicit import EULER
from node_repro.ode.solver import RungeKutta, Solver

Build = Callable[..., EncodedODE | ResidualChain]
TIGHT = RungeKutta(DOPRI5, Integral(rtol=1e-9, atol=1e-9))
STEPS = RungeKutta(EULER, Constant(step_size=1.0))
SIZES: list[dict[str, Any]] = [
    {"features": 1, "outputs": 1, "dimensions": None},
    {"features": 1, "outputs": 1, "dimensions": 3},
    {"features": 2, "outputs": 3, "dimensions": None},
]


def ode(solver: Solver = TIGHT, end: float = 3.0, **sizes: Any) -> EncodedODE:
    torch.manual_seed(0)
    sizes = SIZES[0] | sizes
    model = EncodedODE(**sizes, hidden=8, end=end, solver=solver, gradient=Direct())
    return model.double()


def chain(**sizes: Any) -> ResidualChain:
    torch.manual_seed(0)
    return ResidualChain(**(SIZES[0] | sizes), hidden=8, blocks=3).double()


def points(features: int = 1) -> Tensor:
    return torch.linspace(-2, 2, 5 * features, dtype=torch.float64).reshape(5, features)


@pytest.mark.parametrize("sizes", SIZES)
@pytest.mark.parametrize("build", [ode, chain])
def test_output_is_the_decoded_end_of_the_path(build: Build, sizes: dict[str, Any]) -> None:
    model, x = build(**sizes), points(sizes["features"])
    ts, z = model.path(x)
    assert (float(ts[0]), float(ts[-1])) == model.span and z.shape[:2] == (len(ts), 5)
    torch.testing.assert_close(z[0], model.encoder(x))
    torch.testing.assert_close(model.decoder(z[-1]), model(x))
    assert model(x).shape == (5, sizes["outputs"])


def test_without_dimensions_the_state_is_the_input_and_the_output_is_the_state() -> None:
    assert [type(part) for part in encoder_decoder(2, None, 2)[:2]] == [nn.Identity, nn.Identity]
    encoder, decoder, size = encoder_decoder(2, None, 3)
    assert isinstance(encoder, nn.Identity) and isinstance(decoder, nn.Linear) and size == 2
    assert encoder_decoder(1, 4, 1).dimensions == 4


def test_chain_adds_what_its_layers_return_at_its_evaluation_points() -> None:
    model, x = chain(), points()[:1]
    z = model.path(x).z
    places = model.evaluation_points(x)
    assert places.ts.tolist() == [0, 1, 2]
    torch.testing.assert_close(places.z, z[:-1, 0])
    for k in range(3):
        torch.testing.assert_close(z[k + 1] - z[k], model.rate(k, z[k]))


def test_ode_solved_by_euler_with_step_one_is_a_chain_of_its_own_field() -> None:
    model, x = ode(STEPS), points()
    z = x
    for k in range(3):
        z = z + model.rate(float(k), z)
    torch.testing.assert_close(model(x), z)
    assert model.evaluation_points(x[:1]).ts.tolist() == [0, 1, 2]


def test_every_evaluation_is_listed_once_and_the_models_stats_are_unchanged() -> None:
    model, x = ode(), points()[2:3]
    model(x)
    stats = model.block.stats
    ts, z = model.evaluation_points(x)
    assert len(ts) == stats.nfe and model.block.stats is stats
    assert z.shape == (stats.nfe, 1) and float(ts.min()) == 0 and float(ts.max()) == 3
    torch.testing.assert_close(z[0], x[0])


def test_path_of_the_ode_follows_its_field() -> None:
    model, x = ode(), points()
    ts, z = model.path(x)
    slope = (z[51] - z[49]) / (ts[51] - ts[49])
    # the difference over two steps of 0.03 is off by 0.03^2 / 6 of the third derivative
    torch.testing.assert_close(slope, model.rate(float(ts[50]), z[50]), rtol=0, atol=3e-4)


@pytest.mark.parametrize("gradient", [Direct(), Adjoint(), Forward()])
def test_constant_slope_has_one_parameter_and_its_exact_gradient(gradient: GradientMethod) -> None:
    model = ConstantSlope(solver=TIGHT, gradient=gradient).double()
    assert sum(p.numel() for p in model.parameters()) == 1
    xs = torch.tensor([0.0, 1.0, 2.5, 4.0], dtype=torch.float64)
    y0 = torch.tensor([2.0], dtype=torch.float64)
    with torch.no_grad():
        model.block.f.get_parameter("a").fill_(0.5)
    assert model.slope == 0.5
    y = model(y0, xs)
    torch.testing.assert_close(y[:, 0], 2.0 + 0.5 * xs)
    y.sum().backward()
    (gradient_of_a,) = (p.grad for p in model.parameters())
    torch.testing.assert_close(gradient_of_a, xs.sum())


def trained_span(trained: Literal["t0", "t1", "both"]) -> TrainedSpanODE:
    torch.manual_seed(0)
    return TrainedSpanODE(
        **SIZES[1], hidden=8, start=0.2, end=1.5, trained=trained, solver=TIGHT, gradient=Adjoint()
    ).double()


@pytest.mark.parametrize(("trained", "count"), [("t0", 1), ("t1", 1), ("both", 2)])
def test_the_trained_times_get_the_slope_of_the_output_as_their_gradient(
    trained: Literal["t0", "t1", "both"], count: int
) -> None:
    model, x = trained_span(trained), points()
    times = list(model.block.trained_times)
    assert len(times) == count and model.span == pytest.approx((0.2, 1.5))
    found = torch.autograd.grad(model(x).sum(), times)
    for time, gradient in zip(times, found, strict=True):
        values = []
        for change in (1e-4, -1e-4):
            with torch.no_grad():
                time.add_(change)
                values.append(float(model(x).sum()))
                time.sub_(change)
        assert float(gradient) == pytest.approx((values[0] - values[1]) / 2e-4, rel=1e-5)


def test_an_ode_over_other_times_is_the_same_map_with_rescaled_weights() -> None:
    t0, t1 = 0.2, 1.5
    free, fixed, x = trained_span("both"), ode(end=1.0, **SIZES[1]), points()
    weights = {k: v.clone() for k, v in free.state_dict().items() if "trained_times" not in k}
    inner, outer = "block.f.inner", "block.f.outer"  # t = t0 + (t1 - t0) s
    weights[f"{inner}.bias"] += t0 * weights[f"{inner}.weight"][:, -1]
    weights[f"{inner}.weight"][:, -1] *= t1 - t0
    for name in ("weight", "bias"):
        weights[f"{outer}.{name}"] *= t1 - t0
    fixed.load_state_dict(weights)
    torch.testing.assert_close(fixed(x), free(x), rtol=1e-6, atol=1e-6)
