"""Flows: the traces and determinants, both directions, and that densities are densities."""

import math
from collections.abc import Callable
from typing import Any, Literal

import pytest
import torch
from torch import Tensor, nn
from torch.func import jacrev, vmap

from node_repro.data.sharding import Noise
from node_repro.models.continuous_flow import ContinuousFlow, Dynamics
from node_repro.models.gaussian import standard_normal_log_density
from node_repro.models.mlp_cnf import MLPCNF, MLPDynamics
from node_repro.models.planar_cnf import Constants, Hypernetwork, PlanarCNF, PlanarDynamics
from node_repro.models.planar_flow import PlanarFlow
from tests.ode.chosen import GRADIENTS, adaptive

Direction = Literal["to_data", "to_base"]
SOLVE: dict[str, Any] = {"solver": adaptive("dopri5", 1e-9), "gradient": GRADIENTS["direct"]}


@pytest.fixture(autouse=True)
def seeded() -> None:
    torch.manual_seed(0)


def points(count: int = 7, dimension: int = 2) -> Tensor:
    return torch.randn(count, dimension, dtype=torch.float64)


def columns(z: Tensor) -> Tensor:
    return torch.cat((z.T, z.new_zeros(1, len(z))))


def planar_cnf(hyper_hidden: int | None = 8) -> PlanarCNF:
    return PlanarCNF(width=5, hyper_hidden=hyper_hidden, end=1.5, **SOLVE).double()


def mlp_cnf(trace: Literal["exact", "hutchinson"] = "exact") -> MLPCNF:
    return MLPCNF(hidden=8, layers=2, trace=trace, end=1.5, **SOLVE).double()


def planar_flow(direction: Direction) -> PlanarFlow:
    flow = PlanarFlow(depth=6, direction=direction, start="identity").double()
    with torch.no_grad():  # far from the identity
        for parameter in flow.parameters():
            parameter += 0.4 * torch.randn_like(parameter)
    return flow


FLOWS: dict[str, Callable[[], ContinuousFlow | PlanarFlow]] = {
    "planar_cnf": planar_cnf,
    "planar_cnf_without_time": lambda: planar_cnf(None),
    "mlp_cnf": mlp_cnf,
    "planar_flow_to_data": lambda: planar_flow("to_data"),
    "planar_flow_to_base": lambda: planar_flow("to_base"),
}


@pytest.fixture(params=FLOWS)
def flow(request: pytest.FixtureRequest) -> ContinuousFlow | PlanarFlow:
    return FLOWS[request.param]()


def jacobian_of(f: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
    jacobian = torch.autograd.functional.jacobian(f, x)
    assert isinstance(jacobian, Tensor)
    return jacobian


def trace_of(f: Callable[[Tensor], Tensor], z: Tensor) -> Tensor:
    return vmap(jacrev(lambda one: f(one[None])[0]))(z).diagonal(dim1=1, dim2=2).sum(dim=1)


DYNAMICS = {
    "hypernetwork": lambda d: PlanarDynamics(Hypernetwork(d, 5, 8)),
    "constants": lambda d: PlanarDynamics(Constants(d, 5)),
    "perceptron": lambda d: MLPDynamics(d, 8, 2, exact=True),
}


def straight(field: nn.Module, t: Tensor, z: Tensor) -> Tensor:
    """dz/dt by the formula of the paper, without what makes it fast."""
    assert isinstance(field, PlanarDynamics)
    w, u, b = field.units(t[None])[0]
    return torch.tanh(z @ w.T + b) @ u / len(w)


@pytest.mark.parametrize("dimension", [2, 3])
@pytest.mark.parametrize("name", DYNAMICS)
def test_last_row_is_minus_the_trace_of_the_jacobian(name: str, dimension: int) -> None:
    field = DYNAMICS[name](dimension).double()
    z, t = points(dimension=dimension), torch.tensor(0.3, dtype=torch.float64)
    f = field.bind(columns(z), None)
    if isinstance(field, PlanarDynamics):
        torch.testing.assert_close(f(t, columns(z))[:-1].T, straight(field, t, z))
        trace = trace_of(lambda z: straight(field, t, z), z)
    else:
        tangents = torch.zeros(1, dimension, 1, dtype=torch.float64)
        trace = trace_of(lambda z: field(t, columns(z), tangents)[:-1].T, z)
    torch.testing.assert_close(f(t, columns(z))[-1], -trace)


@pytest.mark.parametrize("units", [Hypernetwork(2, 5, 8), Constants(2, 5)])
def test_gradient_of_the_planar_field_is_the_one_of_its_formula(units: nn.Module) -> None:
    field = PlanarDynamics(units).double()
    t = torch.tensor(0.3, dtype=torch.float64)
    y = columns(points()).requires_grad_()
    own = torch.autograd.grad(field(t, y).sin().sum(), (y, *field.parameters()))

    def plainly(y: Tensor) -> Tensor:
        w, u, b = field.units(t[None])[0]
        h = torch.tanh(w @ y[:-1] + b[:, None])
        slope = ((w * u).sum(dim=1)[:, None] * (1 - h * h)).mean(dim=0)
        return torch.cat((u.T @ h / len(w), -slope[None]))

    expected = torch.autograd.grad(plainly(y).sin().sum(), (y, *field.parameters()))
    torch.testing.assert_close(own, expected)


def test_second_derivative_of_the_planar_field_is_refused() -> None:
    """Its backward is written out and knows none: silence would give a wrong one."""
    field = PlanarDynamics(Constants(2, 5)).double()
    y = columns(points()).requires_grad_()
    rates = field(torch.zeros((), dtype=torch.float64), y)
    (slope,) = torch.autograd.grad(rates.sin().sum(), y, create_graph=True)
    with pytest.raises(RuntimeError, match="once_differentiable"):
        slope.square().sum().backward()


def test_there_and_back_is_where_it_began(flow: ContinuousFlow | PlanarFlow) -> None:
    z = points()
    with torch.no_grad():
        torch.testing.assert_close(flow.encode(flow.sample(z).x), z, rtol=0, atol=1e-7)


def test_both_directions_give_the_same_density(flow: ContinuousFlow | PlanarFlow) -> None:
    with torch.no_grad():
        sample = flow.sample(points())
        back = flow.log_density(sample.x)
    torch.testing.assert_close(back, sample.log_density, rtol=0, atol=1e-6)


def test_density_is_that_of_the_change_of_variables(flow: ContinuousFlow | PlanarFlow) -> None:
    x = points(4)
    jacobian = torch.stack([jacobian_of(lambda v: flow.encode(v[None])[0], one) for one in x])
    expected = (
        standard_normal_log_density(flow.encode(x)) + torch.linalg.slogdet(jacobian).logabsdet
    )
    torch.testing.assert_close(flow.log_density(x), expected, rtol=0, atol=1e-6)


def test_density_is_one_in_all_at_every_moment(flow: ContinuousFlow | PlanarFlow) -> None:
    """1e-3 is what the grid leaves where a planar map is steep."""
    steps = (torch.arange(240, dtype=torch.float64) + 0.5) / 10 - 12
    with torch.no_grad():
        for fraction in (0.5, 1.0):
            density = flow.log_density(torch.cartesian_prod(steps, steps), fraction).exp()
            assert float(density.sum()) / 100 == pytest.approx(1, abs=1e-3)


def test_path_ends_where_the_samples_are(flow: ContinuousFlow | PlanarFlow) -> None:
    z = points()
    with torch.no_grad():
        path = flow.path(z, (0.0, 0.5, 1.0))
        assert path.shape == (3, 7, 2)
        torch.testing.assert_close(path[0], z)
        torch.testing.assert_close(path[2], flow.sample(z).x, rtol=0, atol=1e-7)


@pytest.mark.parametrize("gradient", GRADIENTS)
def test_every_gradient_method_trains_the_likelihood(gradient: str) -> None:
    """1e-4: the adjoint solves keep 1e-9 a step, and the losses' parameters are about 1."""

    def gradients(method: str) -> tuple[Tensor, ...]:
        torch.manual_seed(0)
        chosen = GRADIENTS[method]
        model = PlanarCNF(
            width=5, hyper_hidden=8, end=1.5, solver=SOLVE["solver"], gradient=chosen
        ).double()
        return torch.autograd.grad(-model.log_density(points()).mean(), tuple(model.parameters()))

    torch.testing.assert_close(gradients(gradient), gradients("direct"), rtol=1e-4, atol=1e-6)


def test_estimated_trace_is_right_on_average_and_the_same_throughout_a_solve() -> None:
    exact, estimated = mlp_cnf(), mlp_cnf("hutchinson")
    estimated.load_state_dict(exact.state_dict())
    x = points(1)
    f = estimated.dynamics.bind(columns(x), Noise())
    t = torch.tensor(0.1, dtype=torch.float64)
    torch.testing.assert_close(f(t, columns(x)), f(t, columns(x)), rtol=0, atol=0)
    with torch.no_grad():
        many = estimated.log_density(x.expand(20_000, 2), noise=Noise())
        error = float(many.std()) / math.sqrt(len(many))
        assert error > 1e-4
        assert float(many.mean() - exact.log_density(x)) == pytest.approx(0, abs=4 * error)


def test_the_trace_is_estimated_in_training_only() -> None:
    exact, estimated = mlp_cnf(), mlp_cnf("hutchinson")
    estimated.load_state_dict(exact.state_dict())
    x = points()
    with torch.no_grad():
        expected = exact.log_density(x)
        assert (estimated.log_density(x, noise=Noise()) - expected).abs().max() > 1e-3
        assert torch.equal(estimated.log_density(x), expected)
        assert torch.equal(estimated.eval().log_density(x, noise=Noise()), expected)


@pytest.mark.parametrize("direction", ["to_data", "to_base"])
def test_a_new_planar_flow_is_near_the_identity_whatever_its_depth(direction: Direction) -> None:
    z = points(500)
    for depth in (8, 32):
        with torch.no_grad():
            x = PlanarFlow(depth=depth, direction=direction, start="identity").double().sample(z).x
        assert torch.all((x.std(dim=0) / z.std(dim=0) - 1).abs() < 0.5)


class Hamiltonian(Dynamics):
    """dq/dt = dH/dp, dp/dt = -dH/dq with H = a(p) + b(q): its trace is exactly 0."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = (nn.Linear(1, 1).double() for _ in range(2))

    def bind(self, y: Tensor, noise: Noise | None) -> Callable[[Tensor, Tensor], Tensor]:
        return self

    def forward(self, t: Tensor, y: Tensor) -> Tensor:
        q, p = y[0:1].T, y[1:2].T
        return torch.cat((torch.tanh(self.a(p)), -torch.tanh(self.b(q)), 0 * q), dim=1).T


def test_hamiltonian_flow_keeps_volume_and_carries_the_density_along() -> None:
    flow = ContinuousFlow(Hamiltonian(), end=2.0, **SOLVE)
    z = points(4)
    sample = flow.sample(z)
    torch.testing.assert_close(sample.log_density, standard_normal_log_density(z))
    for one in z:
        jacobian = jacobian_of(lambda v: flow.sample(v[None]).x[0], one)
        assert float(torch.linalg.det(jacobian)) == pytest.approx(1, abs=1e-7)


def test_planar_map_is_invertible_whatever_its_parameters() -> None:
    planar = PlanarFlow(depth=1, direction="to_data", start="identity").double()
    for _ in range(50):
        with torch.no_grad():
            for parameter in planar.parameters():
                parameter.copy_(3 * torch.randn_like(parameter))
            assert float((planar.w * planar.invertible_u()).sum()) > -1
            z = points()
            x, log_det = planar.apply_maps(z, [0])
            back, inverse_log_det = planar.undo_maps(x, [0])
        torch.testing.assert_close(back, z, rtol=0, atol=1e-8)
        torch.testing.assert_close(inverse_log_det, -log_det, rtol=0, atol=1e-6)


def test_inverse_of_a_planar_map_has_the_gradient_of_the_implicit_function() -> None:
    planar = PlanarFlow(depth=1, direction="to_data", start="identity").double()
    x = points().requires_grad_()
    assert torch.autograd.gradcheck(
        lambda x, *_: planar.undo_maps(x, [0]), (x, *planar.parameters())
    )


@pytest.mark.parametrize(("width", "count"), [(2, 1_582), (8, 2_968), (32, 8_512), (64, 15_904)])
def test_number_of_parameters_is_that_of_the_public_code(width: int, count: int) -> None:
    model = PlanarCNF(width=width, hyper_hidden=32, end=1.0, **SOLVE)
    assert sum(p.numel() for p in model.parameters()) == count
    matched = PlanarCNF(width=width, hyper_hidden=None, end=1.0, **SOLVE)
    assert sum(p.numel() for p in matched.parameters()) == 5 * width
    layers = PlanarFlow(depth=width, direction="to_data", start="identity")
    assert sum(p.numel() for p in layers.parameters()) == 5 * width
