"""Mechanical systems and the bouncing ball: data, fields, events, scores and whole runs."""

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from node_repro.config import ConfigError
from node_repro.config.choices import Choices, conf_folder
from node_repro.config.compose import compose
from node_repro.data import DataError
from node_repro.data.bouncing_ball import BallConstants, BallData, throw
from node_repro.data.bouncing_ball import BouncingBall as BallSource
from node_repro.data.mechanics import (
    HORIZONS,
    KEPLER,
    PENDULUM,
    MechanicalSystem,
    Mechanics,
    MechanicsData,
    solve,
)
from node_repro.models import MotionField
from node_repro.models.bouncing_ball import BouncingBall
from node_repro.models.hamiltonian import HamiltonianMotion
from node_repro.models.lagrangian import LagrangianMotion
from node_repro.models.motion import Potential, SolvedMotion
from node_repro.models.plain_field import PlainMotion
from node_repro.ode.controllers.integral import Integral
from node_repro.ode.gradients.direct import Direct
from node_repro.ode.methods.dopri5 import DOPRI5
from node_repro.ode.scipy.lsoda import Lsoda
from node_repro.ode.solution import SolverError
from node_repro.ode.solver import RungeKutta
from node_repro.tasks.bouncing_ball import BallHeights, BallTimes
from node_repro.tasks.physics import Physics
from tests.test_run import go

CHOICES = Choices([conf_folder()])
EXPERIMENTS = [name for name in CHOICES.names("experiment") if name.startswith("physics_")]
TIGHT = RungeKutta(DOPRI5, Integral(rtol=1e-9, atol=1e-9))
COMMON: dict[str, Any] = {
    "batch_size": 4,
    "eval_batch_size": 64,
    "seed": 0,
    "device": torch.device("cpu"),
    "dtype": torch.float64,
}
EARTH = BallConstants(gravity=9.81, floor=0.2, restitution=0.85)
FIELDS = [PlainMotion, HamiltonianMotion, LagrangianMotion]
systems = pytest.mark.parametrize("system", [PENDULUM, KEPLER], ids=lambda one: one.name)


def real(*values: float) -> Tensor:
    return torch.tensor(values, dtype=torch.float64)


def motions(system: MechanicalSystem, seed: int = 0, noise_sd: float = 0.1) -> MechanicsData:
    source = Mechanics(
        system=system, motions=3, points=5, horizon=1.0, noise_sd=noise_sd, seed=seed
    )
    return source.load()


def throws(seed: int = 0) -> BallData:
    source = BallSource(
        **EARTH._asdict(),
        throws=3,
        points=5,
        horizon=0.5,
        bounces=2,
        height_sd=0.1,
        time_sd=0.01,
        seed=seed,
    )
    return source.load()


def field(kind: type[SolvedMotion], dimensions: int = 4) -> SolvedMotion:
    torch.manual_seed(1)
    build: Any = kind
    return build(dimensions=dimensions, hidden=8, solver=TIGHT, gradient=Direct()).double()


def ball(**constants: float) -> BouncingBall:
    """The ball of the data, or another; parameters are made in float32, as for a run."""
    chosen = EARTH._replace(**constants)._asdict()
    return BouncingBall(**chosen, solver=TIGHT, gradient=Direct()).double()


class KnownField(MotionField):
    """The exact motion of a system, turned by a constant factor of its velocities."""

    def __init__(self, system: MechanicalSystem, factor: float = 1.0) -> None:
        super().__init__()
        self.system, self.factor = system, factor

    def forward(self, y0: Tensor, ts: Tensor) -> Tensor:
        y = solve(self.system, y0, ts).transpose(0, 1)
        n = self.system.coordinates
        return torch.cat((y[:1], torch.cat((y[1:, :, :n], self.factor * y[1:, :, n:]), 2)))

    def field(self, y: Tensor) -> Tensor:
        return self.system.field(y)

    def energy(self, y: Tensor) -> Tensor:
        return self.system.energy(y)


# Data


@systems
def test_starts_have_energies_away_from_zero_and_motions_keep_them(
    system: MechanicalSystem,
) -> None:
    test = motions(system).test.true
    energy = system.energy(test)
    # swings of 0.8 to 2.2 have 1 - cos of the amplitude; ellipses -1 / (2 a), a in 0.8 to 1.2
    low, high = {"pendulum": (0.30, 1.59), "kepler": (-0.625, -0.416)}[system.name]
    assert test.shape[1] == 4 * HORIZONS + 1
    assert low < float(energy.min()) and float(energy.max()) < high
    torch.testing.assert_close(energy, energy[:, :1].expand_as(energy), rtol=1e-9, atol=0)


def test_a_planet_returns_after_keplers_period() -> None:
    start = KEPLER.starts(1, torch.Generator().manual_seed(3))
    axis = -1 / (2 * float(KEPLER.energy(start)))
    period = 2 * math.pi * axis**1.5
    end = solve(KEPLER, start, real(0.0, period))[:, 1]
    torch.testing.assert_close(end, start, rtol=0, atol=1e-9)


def test_fields_of_two_bodies_are_drawn_at_states_of_circular_orbits() -> None:
    y = KEPLER.plane(real(1.5, 0.0)[None])
    period = 2 * math.pi * 1.5**1.5
    quarter = solve(KEPLER, y, real(0.0, period / 4))[0, 1, :2]
    torch.testing.assert_close(quarter, real(0.0, 1.5), rtol=0, atol=1e-9)


@systems
def test_accelerations_are_the_negative_gradients_of_the_energies(
    system: MechanicalSystem,
) -> None:
    y = system.starts(5, torch.Generator().manual_seed(0)).requires_grad_()
    (slope,) = torch.autograd.grad(system.energy(y).sum(), y)
    dq, dv = system.field(y).chunk(2, dim=1)
    torch.testing.assert_close(torch.cat((-dv, dq), 1), slope)


def test_data_are_a_function_of_their_seed() -> None:
    for make in (lambda seed: motions(PENDULUM, seed), throws):
        first, again, other = make(0), make(0), make(1)
        assert first.sha256 == again.sha256 != other.sha256
    data = motions(PENDULUM)
    assert float((data.train.noisy - data.train.true).std()) == pytest.approx(0.1, rel=0.5)


def test_a_throw_from_rest_bounces_when_the_formula_says() -> None:
    ts = real(0.0, 0.3, 0.9)
    heights, times = throw(EARTH, (1.2, 0.0), ts, 3)
    fall = math.sqrt(2 * 1.0 / 9.81)
    expected = [fall, fall * (1 + 2 * 0.85), fall * (1 + 2 * 0.85 + 2 * 0.85**2)]
    assert times.tolist() == pytest.approx(expected)
    since = 0.9 - fall
    after = 0.2 + 0.85 * 9.81 * fall * since - 9.81 / 2 * since**2
    assert heights.tolist() == pytest.approx([1.2, 1.2 - 9.81 / 2 * 0.09, after])


def test_a_ball_rests_after_infinitely_many_bounces() -> None:
    heights, times = throw(EARTH._replace(restitution=0.1), (1.2, 0.0), real(0.0, 1.0), 200)
    fall = math.sqrt(2 * 1.0 / 9.81)
    assert heights[1] == 0.2
    assert float(times[-1]) == pytest.approx(fall * (1 + 2 * 0.1 / 0.9))  # a geometric series


# Fields


def test_the_gradient_of_a_potential_is_that_of_autograd() -> None:
    potential, y = Potential(3, 8).double(), torch.randn(5, 3).double().requires_grad_()
    (slope,) = torch.autograd.grad(potential(y).sum(), y)
    torch.testing.assert_close(potential.gradient(y), slope)


def test_a_hamiltonian_field_is_the_turned_gradient_of_its_energy() -> None:
    model, y = field(HamiltonianMotion), torch.randn(5, 4).double().requires_grad_()
    (slope,) = torch.autograd.grad(model.f.energy(y).sum(), y)  # pyright: ignore
    torch.testing.assert_close(model.field(y), torch.cat((slope[:, 2:], -slope[:, :2]), 1))


def test_a_lagrangian_field_solves_the_equation_of_euler_and_lagrange() -> None:
    model, y = field(LagrangianMotion), torch.randn(4).double()
    potential = model.f.get_submodule("added")

    def lagrangian(y: Tensor) -> Tensor:
        return y[2:].square().sum() / 2 + potential(y)

    slope = torch.func.grad(lagrangian)
    # d/dt dL/dv along the field is dL/dq
    change = torch.func.jacrev(slope)(y) @ model.field(y)
    torch.testing.assert_close(change[2:], slope(y)[:2])


@pytest.mark.parametrize("kind", FIELDS[1:])
def test_networks_with_structure_conserve_their_own_energy(kind: type[SolvedMotion]) -> None:
    model, y0 = field(kind), torch.randn(3, 4).double()
    energy = model.energy(model(y0, real(0.0, 2.0, 5.0)).detach())
    assert energy is not None
    torch.testing.assert_close(energy, energy[:1].expand_as(energy), rtol=0, atol=1e-6)


def test_a_plain_field_has_no_energy_of_its_own() -> None:
    model = field(PlainMotion)
    assert model.energy(torch.zeros(1, 4)) is None
    with torch.no_grad():
        for parameter in model.f.get_submodule("outer").parameters():
            parameter.zero_()
    y = torch.randn(3, 4).double()  # what is left is a free particle
    torch.testing.assert_close(model.field(y), torch.cat((y[:, 2:], torch.zeros(3, 2)), 1))


# The ball


def test_flights_between_events_are_the_motion_in_closed_form() -> None:
    ts = torch.linspace(0, 2, 9).double()
    start = real(1.2, 1.0)
    heights, times = throw(EARTH, (1.2, 1.0), ts, 3)
    with torch.no_grad():
        states, found = ball()(start[None], ts), ball().bounce_times(start[None], 3)
    torch.testing.assert_close(states[:, 0, 0], heights, rtol=0, atol=1e-5)
    torch.testing.assert_close(found[0], times, rtol=0, atol=1e-6)


def test_times_of_bounces_have_the_derivatives_of_the_formula() -> None:
    model = ball()
    model.bounce_times(real(1.2, 0.0)[None], 2)[0, 1].backward()
    fall = math.sqrt(2 * 1.0 / 9.81)
    # the second bounce is at sqrt(2 (h - floor) / g) (1 + 2 r)
    assert float(model.floor.grad) == pytest.approx(-fall / 2 * 2.7, rel=1e-5)  # pyright: ignore
    by_log_gravity = model.f.log_gravity.grad
    assert float(by_log_gravity) == pytest.approx(-fall / 2 * 2.7, rel=1e-5)  # pyright: ignore
    by_logit = model.logit_restitution.grad
    assert float(by_logit) == pytest.approx(2 * fall * 0.85 * 0.15, rel=1e-5)  # pyright: ignore


def test_a_ball_that_hardly_bounces_comes_to_rest_on_the_floor() -> None:
    model = ball(restitution=0.05)
    with torch.no_grad():
        states = model(real(1.2, 0.0)[None], real(0.0, 3.0))
        times = model.bounce_times(real(1.2, 0.0)[None], 20)[0]
    assert states[-1, 0].tolist() == pytest.approx([0.2, 0.0])
    assert len(times) == 20 and times[-1] == times[-2] < 0.6


def test_solvers_without_steps_are_refused_by_a_ball() -> None:
    model = BouncingBall(**EARTH._asdict(), solver=Lsoda(rtol=1e-3, atol=1e-3), gradient=Direct())
    with pytest.raises(SolverError, match="Runge-Kutta"):
        model.bounce_times(torch.tensor([[1.2, 0.0]]), 1)


# Tasks


@systems
def test_exact_motion_has_no_error_and_no_drift(system: MechanicalSystem) -> None:
    task = Physics(data=motions(system), window=3, **COMMON)
    assert task.sizes == {"dimensions": 2 * system.coordinates}
    scores = finalized(task, KnownField(system))
    assert scores["rmse_ahead"] < 1e-9 and scores["energy_drift"] < 1e-9
    found: Any = task.diagnostics(KnownField(system))
    assert found["own_energy_drift"] == pytest.approx(scores["energy_drift"])


def test_wrong_velocities_have_the_drift_of_their_kinetic_energy() -> None:
    task = Physics(data=motions(PENDULUM), window=3, **COMMON)
    y = task.splits["test"].true
    kinetic, energy = y[:, 5:, 1].square() / 2, PENDULUM.energy(y[:, :1])
    drift = (0.21 * kinetic / energy).mean(1)  # 1.1^2 - 1
    scores = finalized(task, KnownField(PENDULUM, 1.1))
    assert scores["energy_drift"] == pytest.approx(float(drift.log().mean().exp()), rel=1e-6)
    assert scores["rmse_ahead"] == pytest.approx(float((0.01 * kinetic).mean()) ** 0.5, rel=1e-6)


def finalized(task: Physics, model: MotionField) -> dict[str, float]:
    with torch.no_grad():
        scores = task.scores(model, next(iter(task.evaluation_batches("test"))))
    return dict(task.finalize_scores({name: float(v.mean()) for name, v in scores.items()}))


def test_training_windows_are_parts_of_noisy_motions_by_seed_and_step() -> None:
    task = Physics(data=motions(PENDULUM), window=3, **COMMON)
    batch, again = task.training_batch(7), task.training_batch(7)
    assert torch.equal(batch.noisy, again.noisy) and batch.noisy.shape == (4, 3, 2)
    assert not torch.equal(batch.noisy, task.training_batch(8).noisy)
    parts = task.train.noisy.unfold(1, 3, 1).transpose(2, 3).reshape(-1, 3, 2)
    assert all(any(torch.equal(row, part) for part in parts) for row in batch.noisy)


def test_a_window_longer_than_a_motion_is_refused() -> None:
    with pytest.raises(DataError, match=r"task\.window=6 is longer .* data\.points=5"):
        Physics(data=motions(PENDULUM), window=6, **COMMON)


def test_the_true_ball_is_scored_without_error() -> None:
    task, model = BallTimes(data=throws(), **COMMON), ball()
    batch = next(iter(task.evaluation_batches("test")))
    with torch.no_grad():
        scores = task.scores(model, batch)
        loss = task.loss(model, batch).loss
    assert float(scores["mse_within"].max()) < 1e-9 and float(scores["mse_ahead"].max()) < 1e-9
    noise = (batch.bounces - batch.true_bounces).square()
    torch.testing.assert_close(scores["mse_times"], noise.mean(1), rtol=1e-3, atol=1e-8)
    torch.testing.assert_close(loss, noise.mean(), rtol=1e-3, atol=1e-8)
    found: Any = task.diagnostics(ball(gravity=9.0, floor=0.3))
    errors = {"gravity": 1 - 9 / 9.81, "floor": 0.1, "restitution": 0.0}
    assert found["error"] == pytest.approx(errors, abs=1e-6)


def test_heights_are_fitted_with_and_without_events() -> None:
    task = BallHeights(data=throws(), **COMMON)
    batch = task.training_batch(0)
    free = field(PlainMotion, 2)
    expected = (free(batch.start, task.ts[:5])[..., 0].T - batch.heights).square().mean()
    torch.testing.assert_close(task.loss(free, batch).loss, expected)
    noise = (batch.true - batch.heights).square().mean()
    torch.testing.assert_close(task.loss(ball(), batch).loss, noise, rtol=1e-3, atol=1e-8)
    assert task.diagnostics(free) == {}


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        ("task=ball_times model=plain_field", "model=bouncing_ball"),
        ("task=physics model=bouncing_ball", "model=hamiltonian"),
        ("task=physics data=line", "data=pendulum"),
        ("task=physics task.window=1", "task.window"),
        ("task=ball_heights data.restitution=1", "data.restitution"),
    ],
)
def test_what_does_not_fit_is_refused_before_the_run(words: str, sentence: str) -> None:
    with pytest.raises(ConfigError, match=sentence):
        compose(words.split())


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_a_short_run_of_every_experiment_leaves_scores_and_pictures(
    tmp_path: Path, name: str
) -> None:
    words = [f"experiment={name}", "profile=smoke", "trainer.iterations=1", "threads=1"]
    small = ["data.points=4", "data.horizon=0.5", "data.throws=2", "data.bounces=1"]
    small = small if "ball" in name else ["data.points=9", "data.horizon=1", "data.motions=2"]
    done = go(tmp_path, *words, *small, "progress=off")
    assert done.code == 0
    result = json.loads((done.folder / "result.json").read_text())
    assert all(math.isfinite(value) for value in result["selected"]["test"].values())
    kind = "throws" if "ball" in name else "motions"
    assert {path.name for path in (done.folder / "pictures").iterdir()} == {
        f"{kind}.png",
        f"{kind}.npz",
    }
    with np.load(done.folder / "pictures" / f"{kind}.npz") as arrays:
        assert np.isfinite(arrays["learned"]).all()
