"""What an iteration cost: counted by the solver, summed over blocks, averaged over iterations."""

from dataclasses import asdict

import pytest
import torch
from torch import Tensor, nn

from node_repro.ode import RungeKutta
from node_repro.ode.block import ODEBlock
from node_repro.ode.controllers.constant import Constant
from node_repro.ode.controllers.integral import Integral
from node_repro.ode.gradients.adjoint import Adjoint
from node_repro.ode.methods.explicit import BOSH3, EULER, RK4
from node_repro.ode.methods.runge_kutta import ExplicitRungeKutta
from node_repro.runs.metrics import METRICS
from node_repro.training.cost import Means, solver_cost


class Decay(nn.Module):
    """dy/dt = -rate y; counts its own calls."""

    def __init__(self, rate: float) -> None:
        super().__init__()
        self.rate = nn.Parameter(torch.tensor(rate))
        self.calls = 0

    def forward(self, t: Tensor, y: Tensor) -> Tensor:
        self.calls += 1
        return -self.rate * y


def block(size: float, method: ExplicitRungeKutta = RK4) -> ODEBlock:
    return ODEBlock(Decay(1.0), solver=RungeKutta(method, Constant(size)), gradient=Adjoint())


def test_network_without_a_block_costs_no_evaluations() -> None:
    assert solver_cost(nn.Linear(2, 2)) == {}


def test_cost_is_the_sum_over_blocks_and_the_extremes_of_their_steps() -> None:
    model = nn.Sequential(block(0.25), block(0.5, EULER))
    model(torch.ones(3)).sum().backward()
    cost = solver_cost(model)
    assert (cost["nfe_forward"], cost["accepted"], cost["rejected"]) == (4 * 4 + 2, 4 + 2, 0)
    # and one evaluation in each block, which shows that f is still the same
    assert (cost["nfe_backward"], cost["accepted_backward"]) == (4 * 4 + 2 + 2, 4 + 2)
    assert cost["nvjp_backward"] == 4 * 4 + 2
    assert (cost["h_min"], cost["h_max"]) == (0.25, 0.5)


@pytest.mark.filterwarnings("ignore:the backward solve drifted")  # a decay grows backwards
def test_cost_is_what_the_field_itself_counts_and_rejections_are_in_it() -> None:
    control = Integral(
        rtol=1e-4, atol=1e-4, safety=0.9, factor_min=0.2, factor_max=10.0, first_step=0.9
    )
    f = Decay(20.0)
    model = ODEBlock(f, solver=RungeKutta(BOSH3, control), gradient=Adjoint())
    loss = model(torch.ones(3)).sum()
    forward = solver_cost(model)
    assert forward["nfe_forward"] == f.calls
    assert forward["rejected"] > 0 and forward["nfe_backward"] == 0
    loss.backward()
    both = solver_cost(model)
    assert both["nfe_forward"] == forward["nfe_forward"]
    assert both["nfe_backward"] == f.calls - forward["nfe_forward"]


def test_every_solve_starts_its_counts_anew() -> None:
    model = block(0.25)
    costs = []
    for _ in range(2):
        model(torch.ones(3)).sum().backward()
        costs.append(solver_cost(model))
    assert costs[0] == costs[1]


def test_every_name_of_a_cost_is_a_declared_metric() -> None:
    model = block(0.5)
    model(torch.ones(1))
    assert solver_cost(model).keys() <= METRICS.keys()


def test_means_are_taken_per_name_and_begin_anew() -> None:
    means = Means()
    for values in ({"a": 1.0, "b": 10.0}, {"a": 2.0}, {"a": 6.0}):
        means.add(values)
    assert means.take() == {"a": 3.0, "b": 10.0}
    assert means.take() == {}
    means.add({"a": 5.0})
    assert means.take() == {"a": 5.0}


def test_means_go_on_from_their_plain_containers() -> None:
    whole, first = Means(), Means()
    for value in (0.1, 0.2):
        whole.add({"a": value})
        first.add({"a": value})
    second = Means(**asdict(first))
    for means in (whole, second):
        means.add({"a": 0.3})
    assert whole.take() == second.take() == {"a": pytest.approx(0.2)}
