"""The latent ODE, its baselines and the Poisson latent ODE: shapes, padding, divergences, seeds."""

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from scipy.integrate import solve_ivp
from torch import Tensor

from node_repro.data.generated import seeded_generator
from node_repro.data.series import Series, pad_series
from node_repro.data.sharding import Noise
from node_repro.models import Posterior
from node_repro.models.field_mlp import FieldMLP
from node_repro.models.latent_ode import LatentODE
from node_repro.models.ode_rnn import ODERNN
from node_repro.models.poisson_ode import PoissonODE, log_weight
from node_repro.models.recognition import Recognition
from node_repro.models.series import read_rows
from node_repro.models.series_rnn import SeriesRNN
from node_repro.ode import RungeKutta
from node_repro.ode.controllers.constant import Constant
from node_repro.ode.controllers.integral import Integral
from node_repro.ode.gradients.adjoint import Adjoint
from node_repro.ode.gradients.checkpointed import Checkpointed
from node_repro.ode.methods.dopri5 import DOPRI5
from node_repro.ode.methods.explicit import RK4

CELLS = ("tanh", "gru")
PARTS = ("at", "x", "seen")  # of a Series, with a column for each observation
GRID = torch.linspace(0, 3, 31).double()


def noise(seed: int) -> Noise:
    return Noise(seeded_generator(seed))


def series(*counts: int, features: int = 2, seed: int = 0) -> Series:
    """Series with the given numbers of observations at random places."""
    random = torch.Generator().manual_seed(seed)
    at, x = [], []
    for k in counts:
        at.append(torch.randperm(21, generator=random)[:k].sort().values)
        x.append(torch.randn(k, features, generator=random).double())
    return pad_series(GRID, at, x, [torch.ones_like(one, dtype=torch.bool) for one in x])


def ode(**changes: Any) -> dict[str, Any]:
    options = {
        "features": 2,
        "latent": 4,
        "cell": "gru",
        "hidden": 9,
        "width": 7,
        "samples": 3,
        "predicted": 5,
        "solver": RungeKutta(DOPRI5, Integral(rtol=1e-6, atol=1e-6)),
        "gradient": Checkpointed(),
    }
    return options | changes


def latent(**changes: Any) -> LatentODE:
    torch.manual_seed(0)
    return LatentODE(**ode(**changes)).double()


def poisson(**changes: Any) -> PoissonODE:
    torch.manual_seed(0)
    return PoissonODE(**ode(times=True, **changes)).double()


def rnn(**changes: Any) -> SeriesRNN:
    torch.manual_seed(0)
    options: dict[str, Any] = {"features": 2, "cell": "tanh", "hidden": 9, "gaps": True}
    options |= {"rollout": 0.0}
    return SeriesRNN(**(options | changes)).double()


def ode_rnn(rollout: float = 0.0) -> ODERNN:
    torch.manual_seed(0)
    solved = {key: value for key, value in ode().items() if key in ("solver", "gradient")}
    return ODERNN(features=2, hidden=5, width=7, rollout=rollout, **solved).double()


def places(*rows: list[int]) -> Tensor:
    return torch.tensor(rows)


def parameters(model: torch.nn.Module) -> int:
    return sum(p.numel() for p in model.parameters())


def test_sizes_are_those_of_the_paper() -> None:
    whole = latent(cell="tanh", hidden=25, width=20)
    assert parameters(whole.block) == 4 * 20 + 20 + 20 * 4 + 4 == 184
    assert parameters(whole.decoder) == 142
    # 25 hidden units on a point and a gap, two bias vectors, 8 numbers out
    assert parameters(whole.recognition) == 25 * (3 + 25) + 50 + 8 * 26
    assert parameters(rnn(hidden=25, gaps=False)) == 25 * (2 + 25) + 50 + 2 * 26
    assert parameters(rnn(hidden=25)) - parameters(rnn(hidden=25, gaps=False)) == 25


def test_shapes_are_samples_series_observations_channels() -> None:
    seen, random = series(4, 7, 1), noise(0)
    predicted = latent()(seen, random)
    assert predicted.means.shape == (3, 3, 7, 2) and predicted.kl.shape == (3,)
    where = torch.arange(31).expand(3, -1)
    assert latent().predict(seen, where, random).shape == (5, 3, 31, 2)
    predicted = rnn()(seen, random)
    assert predicted.means.shape == (1, 3, 7, 2) and not predicted.kl.any()
    assert rnn().predict(seen, where, random).shape == (1, 3, 31, 2)
    events = poisson()(series(4, 7, 1), random)
    assert events.log_rate.shape == (3, 3, 7) and events.integral.shape == (3, 3)
    assert events.means.shape == (3, 3, 7, 2) and events.log_weight.shape == (3, 3)
    assert poisson().intensity(seen, GRID[:5], random).shape == (5, 3, 5)
    assert poisson().marks(seen, GRID[:5], random).shape == (5, 3, 5, 2)
    assert poisson(features=0)(series(2, 3, features=0), random).means.shape == (3, 2, 3, 0)


@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize("kind", ["latent", "rnn", "rnn without gaps", "poisson"])
def test_a_series_is_predicted_as_if_it_were_alone(kind: str, cell: str) -> None:
    """Padding says nothing, and neighbours say nothing but through the solver's steps."""
    whole, alone = series(4, 7, 2), series(4)
    model = {
        "latent": lambda: latent(cell=cell),
        "rnn": lambda: rnn(cell=cell),
        "rnn without gaps": lambda: rnn(cell=cell, gaps=False),
        "poisson": lambda: poisson(cell=cell),
    }[kind]()
    if isinstance(model, SeriesRNN):
        both, one = (model(seen, noise(0)).means[0, 0, :4] for seen in (whole, alone))
        torch.testing.assert_close(both, one, rtol=1e-12, atol=1e-12)
        where = torch.arange(31)[None]
        first, same = (
            model.predict(seen, where.expand(len(seen.at), -1), noise(0))[0, 0]
            for seen in (whole, alone)
        )
        torch.testing.assert_close(first, same, rtol=1e-12, atol=1e-12)
    else:
        first, same = (model.recognition(seen) for seen in (whole, alone))
        torch.testing.assert_close(first.mean[0], same.mean[0], rtol=1e-12, atol=1e-12)
        torch.testing.assert_close(first.log_sd[0], same.log_sd[0], rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("cell", CELLS)
def test_what_lies_in_the_padding_is_never_read(cell: str) -> None:
    seen = series(3, 6)
    spoiled = seen._replace(x=torch.where(seen.seen, seen.x, 1e6))
    for model in (latent(cell=cell), poisson(cell=cell)):
        mean, other = (model.recognition(given).mean for given in (seen, spoiled))
        assert torch.equal(mean, other)
    where = torch.arange(31).expand(2, -1)
    for model in (rnn(cell=cell), rnn(cell=cell, rollout=0.5), ode_rnn()):
        one, other = (model.predict(given, where, noise(0)) for given in (seen, spoiled))
        assert torch.equal(one, other)


@pytest.mark.parametrize("cell", CELLS)
def test_recognition_reads_backwards_the_gaps_included(cell: str) -> None:
    """By hand: from the last observation to the first, each with the time back to the one before,
    the first with the time back to the grid's start."""
    torch.manual_seed(0)
    network = Recognition(2, 4, cell=cell, hidden=6).double()
    seen = series(5)
    t = GRID[seen.at[0]]
    gaps = torch.cat((t[:1] - GRID[:1], t.diff()))
    rows = torch.cat((seen.x[0], gaps[:, None]), dim=1).flip(0)
    _, last = network.cell(rows[None])
    expected = network.out(last[0, 0])
    found = network(seen)
    torch.testing.assert_close(torch.cat((found.mean[0], found.log_sd[0])), expected)


def test_a_series_without_observations_has_a_posterior_all_the_same() -> None:
    posterior = poisson(features=0).recognition(series(3, 0, features=0))
    assert torch.isfinite(posterior.mean).all() and (posterior.mean[0] != posterior.mean[1]).any()


def test_divergence_from_the_prior_is_that_of_torchs_normals() -> None:
    torch.manual_seed(0)
    posterior = Posterior(torch.randn(6, 4).double(), torch.randn(6, 4).double())
    normal = torch.distributions.Normal(posterior.mean, posterior.log_sd.exp())
    prior = torch.distributions.Normal(torch.zeros(6, 4).double(), 1.0)
    expected = torch.distributions.kl_divergence(normal, prior).sum(1)
    torch.testing.assert_close(posterior.kl(), expected)
    z = posterior.sample(3, noise(0))
    expected = (prior.log_prob(z) - normal.log_prob(z)).sum(-1)
    torch.testing.assert_close(log_weight(posterior, z), expected)


def test_samples_have_the_posteriors_mean_and_deviation() -> None:
    posterior = Posterior(
        torch.tensor([[1.0, -2.0]]).double(), torch.tensor([[0.5, -1.0]]).double()
    )
    z = posterior.sample(40_000, noise(0))
    sd = posterior.log_sd.exp()
    # standard errors: sd / 200 of the mean, sd / 280 of the deviation
    assert ((z.mean(0) - posterior.mean).abs() < 4 * sd / 200).all()
    assert ((z.std(0) - sd).abs() < 4 * sd / 280).all()


@pytest.mark.parametrize("build", [latent, poisson])
def test_the_generator_alone_decides_the_noise(
    build: Callable[[], LatentODE | PoissonODE],
) -> None:
    model, seen = build(), series(4, 7)
    torch.manual_seed(1)
    first = model(seen, noise(0))[0]
    torch.manual_seed(2)
    assert torch.equal(first, model(seen, noise(0))[0])
    assert not torch.equal(first, model(seen, noise(1))[0])


def test_forward_is_predict_at_the_observations() -> None:
    seen, whole = series(5, 5), latent(samples=5)
    at_once = whole(seen, noise(0)).means
    # the solver's steps differ, as one grid ends earlier: equal to its tolerance of 1e-6
    later = whole.predict(seen, torch.arange(31).expand(2, -1), noise(0))
    torch.testing.assert_close(read_rows(later, seen.at), at_once, rtol=1e-4, atol=1e-4)
    model = rnn()
    one_ahead = model(seen, noise(0)).means
    torch.testing.assert_close(model.predict(seen, seen.at, noise(0)), one_ahead)


@pytest.mark.parametrize("rollout", [0.5, 0.7])
def test_a_network_trained_on_its_own_predictions_reads_the_first_observations_alone(
    rollout: float,
) -> None:
    model, seen = rnn(rollout=rollout), series(6, 3)
    found = model(seen, noise(0)).means[0]
    for b, count in enumerate(seen.count.tolist()):
        read = math.ceil((1 - rollout) * count)
        gaps = GRID[seen.at[b]].diff()
        state = torch.zeros(1, 1, 9).double()
        x = mean = model.out(state[0, 0])
        for i in range(count):
            torch.testing.assert_close(found[b, i], mean)
            x = seen.x[b, i] if i < read else mean
            if i + 1 < count:
                _, state = model.cell(torch.cat((x, gaps[i : i + 1]))[None, None], state)
                mean = model.out(state[0, 0])
    later = seen._replace(x=torch.where(torch.arange(6)[:, None] < 3, seen.x, 9.0))
    assert torch.equal(found[0], model(later, noise(0)).means[0, 0])


def test_an_ode_rnn_follows_its_field_between_observations_and_beyond_them() -> None:
    """By hand, with one solve in real time for each gap."""
    model, seen = ode_rnn(), series(4, 2)
    field = model.block.f.dynamics

    def flow(h: Tensor, t0: Tensor, t1: Tensor) -> Tensor:
        return solve_ivp(
            lambda t, y: field(t, torch.from_numpy(y)).detach().numpy(),
            (float(t0), float(t1)),
            h.detach().numpy(),
            rtol=1e-9,
            atol=1e-9,
        ).y[:, -1]

    where = torch.arange(31).expand(2, -1)
    predicted, means = model.predict(seen, where, noise(0))[0], model(seen, noise(0)).means[0]
    for b, count in enumerate(seen.count.tolist()):
        h, t, i = torch.zeros(5).double(), GRID[0], 0
        for k in range(31):
            h, t = torch.from_numpy(flow(h, t, GRID[k])), GRID[k]
            torch.testing.assert_close(predicted[b, k], model.out(h), rtol=1e-4, atol=1e-5)
            if i < count and seen.at[b, i] == k:
                torch.testing.assert_close(means[b, i], model.out(h), rtol=1e-4, atol=1e-5)
                h, i = model.cell(seen.x[b, i], h), i + 1


def test_a_rolled_out_ode_rnn_is_one_that_stops_to_read() -> None:
    """Its means of the last observations are predictions from the first ones alone."""
    seen = series(6, 5)
    means = ode_rnn(rollout=0.5)(seen, noise(0)).means[0]
    for b, (count, read) in enumerate(((6, 3), (5, 3))):
        first = series(6, 5).select(torch.tensor([b]))
        first = first._replace(count=torch.tensor([read]), at=first.at[:, :read])
        first = first._replace(x=first.x[:, :read], seen=first.seen[:, :read])
        expected = ode_rnn().predict(first, seen.at[b : b + 1, :count], noise(0))[0, 0]
        torch.testing.assert_close(means[b, :count], expected, rtol=1e-4, atol=1e-5)


def test_the_cost_of_an_ode_rnn_is_that_of_all_its_gaps() -> None:
    model, seen = ode_rnn(), series(4, 2)
    model.block.solver = RungeKutta(RK4, Constant(step_size=0.5))
    model.block.gradient = Adjoint()
    means = model(seen, noise(0)).means
    assert model.block.stats.nfe == 4 * 2 * 4
    means.sum().backward()
    assert model.block.stats.backward is not None
    assert model.block.stats.backward.nfe >= 4 * 2 * 4
    model.predict(seen, torch.arange(31).expand(2, -1), noise(0))
    assert model.block.stats.nfe == 4 * 2 * (4 + 31)


@pytest.mark.parametrize("gaps", [True, False])
@pytest.mark.parametrize("cell", CELLS)
def test_a_baseline_runs_on_by_one_step_a_mean_gap(cell: str, gaps: bool) -> None:
    model, seen = rnn(cell=cell, gaps=gaps), series(4)
    t, x = GRID[seen.at[0]], list(seen.x[0])
    gap = (t[-1:] - t[:1]) / 3
    hidden, said = None, [x[-1]]
    for i in range(12):
        step = t[i + 1 : i + 2] - t[i : i + 1] if i < 3 else gap
        row = torch.cat((x[i], step)) if gaps else x[i]
        _, hidden = model.cell(row[None, None], hidden)
        if i >= 3:
            said.append(model.out(hidden[0, 0]))
            x.append(said[-1])
    where = places([25, 27, 28])
    found = model.predict(seen, where, noise(0))[0, 0]
    for mean, time in zip(found, GRID[where[0]], strict=True):
        place = float((time - t[-1]) / gap)
        i, share = int(place), place - int(place)
        torch.testing.assert_close(mean, (1 - share) * said[i] + share * said[i + 1])


def test_a_baseline_between_observations_knows_only_what_came_before() -> None:
    model, seen = rnn(), series(6)
    middle = int(seen.at[0, 3])
    where = places([middle])
    before = model.predict(seen, where, noise(0))
    changed = seen._replace(x=seen.x.clone())
    changed.x[0, 3:] += 100.0
    assert torch.equal(model.predict(changed, where, noise(0)), before)
    changed.x[0, 2] += 1.0
    assert not torch.equal(model.predict(changed, where, noise(0)), before)


def test_the_rates_integral_is_solved_along_with_the_state() -> None:
    model, seen = poisson(), series(4, 7)
    predicted = model.eval()(seen, noise(0))
    ts = torch.linspace(0, 3, 3_001).double()
    curve = model.intensity(seen, ts, noise(0))
    assert (curve > 0).all()
    torch.testing.assert_close(
        predicted.integral, torch.trapezoid(curve, ts, dim=2), rtol=1e-5, atol=0
    )


def test_a_rate_that_is_constant_gives_the_homogeneous_likelihood() -> None:
    model, seen = poisson(), series(4, 7)
    with torch.no_grad():
        for layer in (model.field.log_rate[0], model.field.log_rate[2]):
            assert isinstance(layer, torch.nn.Linear)
            layer.weight.zero_()
            layer.bias.fill_(0.0)
        layer.bias.fill_(math.log(2.5))
    predicted = model(seen, noise(0))
    torch.testing.assert_close(predicted.log_rate, torch.full((3, 2, 7), math.log(2.5)).double())
    torch.testing.assert_close(predicted.integral, torch.full((3, 2), 7.5).double())


def test_every_parameter_of_every_model_gets_a_gradient() -> None:
    seen = series(4, 7)
    for model in (latent(), poisson(), rnn()):
        predicted = model(seen, noise(0))
        torch.stack([part.square().sum() for part in predicted]).sum().backward()
        missing = [n for n, p in model.named_parameters() if p.grad is None or not p.grad.any()]
        assert not missing


def test_a_learned_field_is_the_slope_of_its_trajectories() -> None:
    torch.manual_seed(0)
    solver = RungeKutta(DOPRI5, Integral(rtol=1e-9, atol=1e-9))
    model = FieldMLP(hidden=8, solver=solver, gradient=Checkpointed()).double()
    ts = torch.linspace(0, 1e-3, 3).double()
    y0 = torch.tensor([[2.0, 0.0], [1.0, -1.0]]).double()
    ys = model(y0, ts)
    assert ys.shape == (3, 2, 2)
    torch.testing.assert_close((ys[2] - ys[0]) / 1e-3, model.field(ys[1]), rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("cell", CELLS)
def test_a_baseline_runs_on_from_a_single_observation(cell: str) -> None:
    model, seen = rnn(cell=cell), series(1, 1)
    said = model(seen, noise(0)).means
    torch.testing.assert_close(said, model.out(torch.zeros(9).double()).expand(1, 2, 1, 2))
    where = torch.arange(int(seen.at.max()) + 1, 31).expand(2, -1)
    longer = pad_series(GRID, list(seen.at), list(seen.x), list(seen.seen))
    longer = longer._replace(
        **{k: torch.cat((part, part), dim=1) for k, part in longer._asdict().items() if k in PARTS}
    )
    found, same = (model.predict(given, where, noise(0)) for given in (seen, longer))
    torch.testing.assert_close(found, same)
