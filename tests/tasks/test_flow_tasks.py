"""The tasks of section 4: their losses have the floors that they should, and their pictures."""

import io
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn

from node_repro.data.curves import EightGaussians
from node_repro.data.energies import U1, U2, Energy
from node_repro.data.sharding import Noise
from node_repro.models import Flow, FlowSample
from node_repro.tasks.cnf import CNF
from node_repro.tasks.density_grid import Square, mass_on
from node_repro.tasks.density_match import DensityMatch

COMMON: dict[str, Any] = {
    "batch_size": 16,
    "eval_batch_size": 1_000,
    "seed": 0,
    "device": torch.device("cpu"),
    "dtype": torch.float64,
}


Build = Callable[..., Any]


class Scaled(Flow):
    """x = scale z: a flow whose every number is known."""

    def __init__(self, scale: float) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.tensor(scale, dtype=torch.float64))

    def sample(self, z: Tensor, noise: Noise | None = None) -> FlowSample:
        return FlowSample(self.scale * z, self.log_density(self.scale * z))

    def log_density(self, x: Tensor, fraction: float = 1.0, noise: Noise | None = None) -> Tensor:
        normal = torch.distributions.Normal(0.0, self.scale**fraction)
        return normal.log_prob(x).sum(dim=1)

    def path(self, z: Tensor, fractions: Sequence[float]) -> Tensor:
        return torch.stack([self.scale**fraction * z for fraction in fractions])


def gaussians(**changes: Any) -> CNF:
    data = EightGaussians(noise=0.3, scale=2.0).load()
    return CNF(data=data, **(COMMON | changes))


def matching(
    energy: Energy | None = None, annealing: int | None = None, **changes: Any
) -> DensityMatch:
    target = U1(box=None).load() if energy is None else energy
    return DensityMatch(data=target, annealing=annealing, **(COMMON | changes))


def gaussian_target() -> Energy:
    return Energy("gaussian", lambda z: z.square().sum(dim=1) / 8, None)


@pytest.mark.parametrize("build", [gaussians, matching])
def test_batches_are_a_function_of_seed_and_index_alone(
    build: Build,
) -> None:
    batches = build().training_batches(0, 0)
    first = [next(batches)[0] for _ in range(4)]
    torch.manual_seed(99)  # the global generator has no say
    assert torch.equal(next(build().training_batches(0, 3))[0], first[3])
    assert not torch.equal(first[2], first[3])
    assert not torch.equal(next(build(seed=1).training_batches(0, 3))[0], first[3])


@pytest.mark.parametrize("build", [gaussians, matching])
def test_evaluated_points_are_the_same_for_every_seed_and_differ_by_split(
    build: Build,
) -> None:
    def points(seed: int, split: str) -> Tensor:
        return torch.cat([batch[0] for batch in build(seed=seed).evaluation_batches(split)])

    assert torch.equal(points(0, "test"), points(1, "test"))
    assert len(points(0, "test")) == 10_000 and len(points(0, "validation")) == 2_000
    assert not torch.equal(points(0, "test")[:2_000], points(0, "validation"))


def test_divergence_from_the_target_is_zero_for_the_target_itself() -> None:
    """The target is N(0, 4 I); the integral's grid ends at 8, four deviations out: 1e-3."""
    task = matching(gaussian_target())
    batch = next(task.evaluation_batches("test"))
    exact = task.scores(Scaled(2.0), batch)
    torch.testing.assert_close(exact["kl_nats"], torch.zeros(1_000).double(), rtol=0, atol=1e-3)
    assert float(task.scores(Scaled(1.0), batch)["kl_nats"].detach().mean()) > 0.5
    assert task.diagnostics(Scaled(2.0))["floor_nats"] == pytest.approx(
        float(exact["loss_nats"].detach().mean()), abs=1e-3
    )


def test_loss_is_the_mean_of_the_scores() -> None:
    tasks: list[Any] = [matching(), gaussians()]
    for task, name in zip(tasks, ("loss_nats", "nll_nats"), strict=True):
        batch = next(iter(task.evaluation_batches("test")))
        loss = task.loss(Scaled(1.5), batch).loss
        assert loss.requires_grad and name == task.loss_metric
        torch.testing.assert_close(task.scores(Scaled(1.5), batch)[name].mean(), loss)


def test_annealed_energy_grows_to_its_height() -> None:
    task = matching(annealing=100)
    heights = [next(task.training_batches(0, index)).height for index in (0, 50, 99, 500)]
    assert heights == pytest.approx([0.01, 0.51, 1.0, 1.0])
    assert next(matching().training_batches(0, 0)).height == 1.0


def test_points_outside_of_the_box_are_counted() -> None:
    task = matching(U2(box=4.0).load())
    batch = next(task.evaluation_batches("test"))
    outside = task.scores(Scaled(4.0), batch)["outside"]
    torch.testing.assert_close(outside, (4 * batch.z).abs().amax(dim=1) > 4)


def test_divergence_of_a_model_is_its_likelihood_less_the_entropy() -> None:
    task = gaussians()
    batches = list(task.evaluation_batches("test"))
    scores = [task.scores(Scaled(1.5), batch) for batch in batches]
    kl, nll = (torch.cat([s[name] for s in scores]).mean() for name in ("kl_nats", "nll_nats"))
    nats, error = task.data.entropy
    assert float((nll - kl).detach()) == pytest.approx(nats, abs=5 * error)
    assert float(kl.detach()) > 0


def test_mass_of_a_density_is_one_and_less_where_the_square_is_small() -> None:
    like = torch.zeros((), dtype=torch.float64)
    with torch.no_grad():
        assert mass_on(Scaled(1.0), 6.0, like) == pytest.approx(1, abs=1e-6)
        assert mass_on(Scaled(1.0), 1.0, like) == pytest.approx(0.6827**2, abs=1e-3)


def test_cells_of_a_square_are_rows_from_below() -> None:
    points = Square(1.0, 2).points(torch.zeros((), dtype=torch.float64))
    assert points.tolist() == [[-0.5, -0.5], [0.5, -0.5], [-0.5, 0.5], [0.5, 0.5]]


@pytest.mark.parametrize("build", [gaussians, matching])
def test_pictures_are_files_that_others_can_read(build: Build) -> None:
    task, model = build(), Scaled(1.5)
    torch.manual_seed(3)
    state = torch.get_rng_state()
    with torch.no_grad():
        early = dict(task.pictures(model, final=False))
        late = dict(task.pictures(model, final=True))
    assert torch.equal(torch.get_rng_state(), state)
    assert set(early) == {"density.png"}
    assert set(late) > set(early)
    for file, content in (early | late).items():
        if file.endswith(".npz"):
            assert all(np.isfinite(a).all() for a in np.load(io.BytesIO(content)).values())
        else:
            image = Image.open(io.BytesIO(content))
            assert min(image.size) > 100
            assert (getattr(image, "n_frames", 1) > 1) is file.endswith(".gif")
    names = {"density.npz"} if task.loss_metric == "loss_nats" else {"panels.png", "animation.gif"}
    assert set(late) >= names
