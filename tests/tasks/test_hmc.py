"""Hamiltonian Monte Carlo: paths with known ends, the Metropolis rule, convergence, whole runs."""

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from node_repro.config import ConfigError
from node_repro.config.compose import compose
from node_repro.data.energies import U1, Energy
from node_repro.data.potential import Potential
from node_repro.data.scaled_gaussian import NormalPotential, ScaledGaussian
from node_repro.data.sharding import ShareError
from node_repro.models import HamiltonianPath, PathEnd, Sampler
from node_repro.models.hamilton_equations import energy
from node_repro.models.hamiltonian_ode import HamiltonianODE
from node_repro.models.leapfrog import Leapfrog
from node_repro.ode import Direct, dopri5, rk4
from node_repro.tasks.hmc import HMC
from node_repro.tasks.markov_chains import effective_sample_size, estimate
from tests.test_run import go

UNIT = NormalPotential(torch.ones(2, dtype=torch.float64))
SETTINGS: dict[str, Any] = {
    "batch_size": 4,
    "eval_batch_size": 1,
    "seed": 0,
    "device": torch.device("cpu"),
    "dtype": torch.float64,
}
SHORT = ["trainer.iterations=4", "task.evaluations=60", "threads=1", "progress=off"]


def hmc(potential: Potential = UNIT, **options: Any) -> HMC:
    options = {"time": 1.5, "acceptance": 0.8, "evaluations": 400} | options
    return HMC(data=potential, **options, **SETTINGS)


def leapfrog(task: HMC, step_size: float = 0.1) -> Leapfrog:
    return Leapfrog(step_size=step_size, **task.sizes).double()


def solved(task: HMC, tolerance: float) -> HamiltonianODE:
    solver = dopri5(rtol=tolerance, atol=tolerance)
    return HamiltonianODE(solver=solver, gradient=Direct(), **task.sizes).double()


def start(count: int = 4) -> tuple[Tensor, Tensor]:
    random = torch.Generator().manual_seed(3)
    q, p = torch.randn(2, count, 2, generator=random, dtype=torch.float64)
    return q, p


def test_paths_of_a_harmonic_oscillator_are_rotations() -> None:
    task, (q, p), time = hmc(), start(), 1.3
    expected = q * math.cos(time) + p * math.sin(time), p * math.cos(time) - q * math.sin(time)
    for model, error in ((leapfrog(task, 1e-2), 1e-4), (solved(task, 1e-8), 1e-6)):
        end = model.propose(UNIT, q, p, time)
        torch.testing.assert_close((end.q, end.p), expected, rtol=0, atol=error)


def test_the_gradient_of_an_energy_moves_its_paths() -> None:
    # a fourth-order potential, whose energy is conserved to the accuracy of the steps
    quartic, (q, p) = Energy("quartic", lambda z: z.pow(4).sum(dim=1), None), start()
    task = hmc(quartic)
    for model, error in ((leapfrog(task, 5e-3), 1e-3), (solved(task, 1e-7), 1e-4)):
        end = model.propose(quartic, q, p, 1.0)
        change = energy(quartic, end.q, end.p) - energy(quartic, q, p)
        assert float(change.abs().max()) < error < 0.1 < float((end.q - q).abs().max())


def test_leapfrog_counts_one_evaluation_more_than_steps() -> None:
    task = hmc()
    assert leapfrog(task, 0.25).propose(UNIT, *start(), 1.0).evaluations.tolist() == [5.0] * 4
    shortened = leapfrog(task, 0.4)  # three steps of a third
    assert shortened.propose(UNIT, *start(), 1.0).evaluations.tolist() == [4.0] * 4
    assert len(shortened.path(UNIT, *start(1), 1.0).ts) == 4


def test_leapfrog_is_reversible_and_preserves_volume_and_controlled_steps_do_not() -> None:
    target = U1(box=None).load()
    task = hmc(target)
    rough, exact = solved(task, 1e-1), leapfrog(task, 0.2)
    for model in (rough, exact):
        model.positions.copy_(start()[0])
    assert task.reversibility_error(exact) < 1e-10
    assert task.reversibility_error(rough) > 1e-3

    def flow(z: Tensor) -> Tensor:
        end = exact.propose(UNIT, z[None, :2], z[None, 2:], 1.0)  # linear in z
        return torch.cat((end.q[0], end.p[0]))

    columns = [flow(one) for one in torch.eye(4, dtype=torch.float64)]
    assert float(torch.stack(columns).det()) == pytest.approx(1, abs=1e-12)


def test_constant_steps_of_a_solver_are_scaled_by_the_warm_up() -> None:
    task, (q, p) = hmc(), start()
    model = HamiltonianODE(solver=rk4(step_size=0.5), gradient=Direct(), **task.sizes).double()
    assert model.propose(UNIT, q, p, 1.0).evaluations.tolist() == [8.0] * 4
    with torch.no_grad():
        model.log_scale.fill_(math.log(0.5))
    assert model.propose(UNIT, q, p, 1.0).evaluations.tolist() == [16.0] * 4
    assert model.accuracy == {"scale": pytest.approx(0.5)}


def test_a_path_is_drawn_at_the_ends_of_its_own_steps() -> None:
    task, (q, p) = hmc(), start(1)
    model = solved(task, 1e-4)
    path, end = model.path(UNIT, q, p, 2.0), model.propose(UNIT, q, p, 2.0)
    assert float(path.ts[0]) == 0 and float(path.ts[-1]) == 2
    assert len(path.ts) == model.flow.stats.accepted + 1
    torch.testing.assert_close(path.q[-1:], end.q, rtol=0, atol=1e-9)


class Jumping(Sampler):
    """Proposes given positions with momenta of zero."""

    def __init__(self, q: Tensor) -> None:
        super().__init__(chains=len(q), dimensions=q.shape[1])
        self.proposed = q

    @property
    def accuracy(self) -> Mapping[str, float]:
        return {}

    def propose(self, potential: Potential, q: Tensor, p: Tensor, time: float) -> PathEnd:
        return PathEnd(self.proposed, torch.zeros_like(p), torch.ones(len(q)))

    def path(self, potential: Potential, q: Tensor, p: Tensor, time: float) -> HamiltonianPath:
        raise NotImplementedError


def test_the_metropolis_rule_compares_energies_and_refuses_failed_paths() -> None:
    task, q = hmc(), torch.zeros(4, 2, dtype=torch.float64)
    proposed = torch.tensor([[0.0, 0.0], [2.0, 0.0], [2.0, 0.0], [math.nan, 0.0]])
    model, draw = Jumping(proposed.double()), task.training_batch(1)
    u = torch.tensor([0.99, 0.13, 0.14, 0.0], dtype=torch.float64)
    made = task.transition(model, q, draw._replace(p=torch.zeros(4, 2).double(), u=u))
    # U rises from 0 to 2, so that the second and third are accepted with probability exp(-2)
    expected = [1.0, math.exp(-2), math.exp(-2), 0.0]
    assert made.acceptance.tolist() == pytest.approx(expected)
    assert made.q[:, 0].tolist() == [0.0, 2.0, 0.0, 0.0]
    assert math.isinf(float(made.error[3]))


def test_the_loss_has_the_gradient_target_minus_acceptance() -> None:
    task = hmc()
    model = leapfrog(task, 0.5)
    loss, metrics = task.loss(model, task.training_batch(0))
    loss.backward()
    assert model.log_scale.grad is not None
    assert float(model.log_scale.grad) == pytest.approx(0.8 - float(metrics["acceptance"]))
    assert 0 < float(metrics["acceptance"]) < 1 and bool((model.positions != 0).all())


def test_the_first_iteration_begins_the_chains_anew() -> None:
    task = hmc()
    model = leapfrog(task, 0.5)
    task.loss(model, task.training_batch(0))
    first = model.positions.clone()
    task.loss(model, task.training_batch(1))
    assert not torch.equal(model.positions, first)
    task.loss(model, task.training_batch(0))  # as where the engine or threads are tried
    assert torch.equal(model.positions, first) and "positions" in model.state_dict()


def test_chains_cannot_be_shared() -> None:
    task = hmc()
    batch = task.training_batch(1)
    with pytest.raises(ShareError, match="one process"):
        task.loss(leapfrog(task), batch._replace(p=batch.p[:2], u=batch.u[:2]))


def test_sampled_moments_of_a_normal_distribution_are_exact() -> None:
    target = ScaledGaussian(dimensions=5, condition=4.0).load()
    task = hmc(target, evaluations=3_000)
    model = leapfrog(task, 0.3)
    model.positions.copy_(target.sd * torch.randn(4, 5, generator=torch.Generator().manual_seed(1)))
    with torch.no_grad():
        found: Any = task.diagnostics(model)
    assert found["evaluations_per_chain"] >= 3_000 and found["step_size"] == pytest.approx(0.3)
    assert found["r_hat"] < 1.05
    moments = found["moments"]
    assert moments["square_first"]["exact"] == pytest.approx(1 / 16)
    assert moments["square_last"]["exact"] == 1
    for moment in moments.values():
        assert abs(moment["deviation"]) < 3.5 and moment["standard_error"] < 0.1


def test_moments_of_an_energy_are_those_of_its_density() -> None:
    wide = Energy("gaussian", lambda z: ((z[:, 0] - 1).square() + z[:, 1].square() * 4) / 2, None)
    mean, square, fourth = wide.moments
    assert mean.tolist() == pytest.approx([1, 0], abs=1e-9)
    assert square.tolist() == pytest.approx([2, 0.25], abs=1e-9)
    assert fourth.tolist() == pytest.approx([10, 3 / 16], abs=1e-6)  # 1 + 6 + 3, and 3 sd^4
    origin = torch.tensor([[1.0, 0.0]], dtype=torch.float64)
    assert float(wide.planar_density(origin)) == pytest.approx(1 / (math.pi), rel=1e-6)


def test_the_density_of_the_last_coordinates_is_normal() -> None:
    target = ScaledGaussian(dimensions=3, condition=2.0).load()
    assert target.sd.tolist() == [0.5, 0.75, 1.0] and target.dimensions == 3
    origin = torch.zeros(1, 2, dtype=torch.float64)
    assert float(target.planar_density(origin)) == pytest.approx(1 / (2 * math.pi * 0.75))
    assert float(target(torch.ones(1, 3))) == pytest.approx((4 + 16 / 9 + 1) / 2)


def autoregressive(phi: float, chains: int, draws: int) -> Tensor:
    """x_t = phi x_(t-1) + noise, with variance 1, (C, N, 1)."""
    random = torch.Generator().manual_seed(7)
    noise = torch.randn(draws, chains, generator=random, dtype=torch.float64)
    x, values = noise[0], []
    for one in noise:
        x = phi * x + math.sqrt(1 - phi**2) * one
        values.append(x)
    return torch.stack(values, dim=1)[..., None]


@pytest.mark.parametrize("phi", [-0.4, 0.0, 0.5, 0.9])
def test_effective_sample_size_of_an_autoregressive_chain_is_known(phi: float) -> None:
    # N (1 - phi) / (1 + phi); the estimate has a relative error of about sqrt(lags / N)
    chains, draws = 4, 5_000
    x = autoregressive(phi, chains, draws)
    found, expected = estimate(x), chains * draws * (1 - phi) / (1 + phi)
    about_exact = effective_sample_size(x, torch.zeros(1), torch.ones(1))
    assert float(about_exact) == pytest.approx(expected, rel=0.15)
    assert float(found.ess) == pytest.approx(expected, rel=0.15)
    assert float(found.r_hat) == pytest.approx(1, abs=0.01)
    assert float(found.standard_error) == pytest.approx(1 / math.sqrt(expected), rel=0.15)


def test_chains_that_all_stay_in_one_mode_have_few_effective_samples_about_the_exact_mean() -> None:
    # modes at -3 and 3 with variance 1: mean 0, variance 10
    x = 3 + autoregressive(0.0, 4, 500)
    own, exact = estimate(x).ess, effective_sample_size(x, torch.zeros(1), 10 * torch.ones(1))
    assert float(own) > 1_500 and float(exact) < 10


def test_chains_that_disagree_have_a_large_r_hat_and_few_effective_samples() -> None:
    x = autoregressive(0.0, 4, 500)
    apart = x + torch.tensor([0.0, 0.0, 5.0, 5.0], dtype=torch.float64)[:, None, None]
    drifting = x + torch.linspace(0, 5, 500, dtype=torch.float64)[:, None]
    for one in (apart, drifting):
        found = estimate(one)
        assert float(found.r_hat) > 1.4 and float(found.ess) < 50
    assert float(estimate(torch.ones(4, 100, 1, dtype=torch.float64)).ess) == 1


@pytest.mark.parametrize(
    ("words", "named"),
    [
        ("gradient=adjoint", "gradient"),
        ("data=mnist", "data"),
        ("model=mlp", "model"),
        ("solver=lsoda", "solver"),
        ("model=leapfrog rtol=1e-3", "rtol"),
        ("task.acceptance=1.5", "task.acceptance"),
        ("data=scaled_gaussian data.dimensions=1", "data.dimensions"),
    ],
)
def test_what_does_not_fit_is_refused(words: str, named: str) -> None:
    with pytest.raises(ConfigError, match=named):
        compose(["task=hmc", *words.split()])


def test_a_run_records_what_it_sampled(tmp_path: Path) -> None:
    done = go(tmp_path, "task=hmc", "model=leapfrog", "data=u2", *SHORT)
    found = json.loads((done.folder / "result.json").read_text())
    assert found["parameters"] == 1 and found["test_count"] == 4
    assert 0 <= found["last"]["test"]["acceptance"] <= 1
    assert found["findings"]["evaluations_per_chain"] >= 60
    assert set(found["findings"]["moments"]) >= {"mean_first", "square_last"}
