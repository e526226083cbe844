"""Densities and energies of the plane: their integrals, samples and published numbers."""

import math

import pytest
import torch
from torch import Tensor

from node_repro.config.choices import Choices, conf_folder
from node_repro.config.components import of_kind, options_of
from node_repro.data import DataError
from node_repro.data.curves import TwoCircles, TwoMoons
from node_repro.data.density import Density
from node_repro.data.energies import U1, U2, U3, U4, Energy
from node_repro.data.generated import seeded_generator
from node_repro.training.build import load

CHOICES = Choices([conf_folder()])


def loaded(name: str) -> Density | Energy:
    return load("data", name).load()


NOISE = options_of(CHOICES, "data", "two_circles")["data.noise"]
DENSITIES = of_kind(CHOICES, "data", "Density")
ENERGIES = of_kind(CHOICES, "data", "Energy")


def grid(side: float, cells: int) -> tuple[Tensor, float]:
    step = 2 * side / cells
    places = (torch.arange(cells, dtype=torch.float64) + 0.5) * step - side
    return torch.cartesian_prod(places, places), step**2


@pytest.mark.parametrize("name", DENSITIES)
def test_density_integrates_to_one(name: str) -> None:
    """2e-3 is what the midpoint rule leaves at the edges of the checkerboard."""
    data = loaded(name)
    assert isinstance(data, Density) and data.name == name
    x, area = grid(6.0, 120)
    assert float(data.law.log_density(x).exp().sum()) * area == pytest.approx(1, abs=2e-3)


@pytest.mark.parametrize("name", DENSITIES)
def test_samples_lie_where_the_density_says(name: str) -> None:
    """Shares of samples in coarse cells against the integral, within four standard errors."""
    data = loaded(name)
    assert isinstance(data, Density)
    count = 20_000
    points = data.law.sample(count, seeded_generator(1))
    assert points.dtype == torch.float64 and points.shape == (count, 2)
    x, area = grid(6.0, 120)
    density = data.law.log_density(x).exp().view(12, 10, 12, 10).sum(dim=(1, 3)) * area
    cell = ((points + 6) / 1.0).floor().long()
    found = torch.zeros(12, 12, dtype=torch.float64)
    found.index_put_((cell[:, 0], cell[:, 1]), torch.ones(count, dtype=torch.float64), True)
    spread = (density * (1 - density) / count).sqrt() + 3e-4  # the grid's own error
    assert bool(((found / count - density).abs() <= 4 * spread).all())


@pytest.mark.parametrize("name", DENSITIES)
def test_same_generator_draws_the_same_points(name: str) -> None:
    data = loaded(name)
    assert isinstance(data, Density)
    first, second, other = (
        data.law.sample(5, seeded_generator(*key)) for key in ((1, 2), (1, 2), (1, 3))
    )
    assert torch.equal(first, second) and not torch.equal(first, other)


@pytest.mark.parametrize(
    ("data", "nats"),
    [
        (TwoCircles(noise=0.06, scale=1.0, factor=0.5), 0.775),
        (TwoCircles(noise=0.06, scale=1.6, factor=0.5), 1.739),
        (TwoMoons(noise=0.07, scale=1.0), 0.644),
    ],
)
def test_entropy_is_the_one_others_found(data: TwoCircles | TwoMoons, nats: float) -> None:
    """Theirs is known to 0.014 nats."""
    found = data.load().entropy
    assert 0 < found.standard_error < 0.01
    assert found.nats == pytest.approx(nats, abs=3 * math.hypot(0.014, found.standard_error))


@pytest.mark.parametrize(
    ("energy", "side", "floor"),
    [
        (U1(box=None), None, -1.8775),
        (U2(box=4.0), 4, -2.0826),
        (U3(box=4.0), 4, -2.6422),
        (U4(box=4.0), 4, -2.6852),
        (U2(box=6.0), 6, -2.4881),
        (U3(box=6.0), 6, -3.0477),
        (U4(box=6.0), 6, -3.1167),
    ],
)
def test_integrals_of_the_energies_are_known(
    energy: U1 | U2 | U3 | U4, side: float | None, floor: float
) -> None:
    """The published ones were taken on a coarser grid: 1e-3."""
    found = energy.load()
    assert -found.log_integral(walled=False) == pytest.approx(floor, abs=1e-3)
    if side is not None:  # what lies in the wall comes on top
        assert 0 < found.log_z - found.log_integral(walled=False) < 0.1


@pytest.mark.parametrize("noise", [NOISE.limits[0][1], 0.06])
def test_density_of_a_circle_is_the_same_all_around(noise: float) -> None:
    """Were the grid on it coarser than the blur, there would be beads: 0.15 nats at 0.005."""
    angle = torch.linspace(0, 0.05, 50, dtype=torch.float64)
    law = TwoCircles(noise=noise, scale=1.0, factor=0.5).load().law
    values = law.log_density(torch.stack((angle.cos(), angle.sin()), dim=1))
    assert float(values.max() - values.min()) < 1e-4


@pytest.mark.parametrize("energy", [U2, U3, U4])
def test_band_without_a_wall_is_refused_as_it_has_no_integral(
    energy: type[U2] | type[U3] | type[U4],
) -> None:
    with pytest.raises(DataError, match=r"no integral: .*data.box="):
        energy(box=None).load()


def test_floor_grows_with_the_largest_box_as_the_band_does() -> None:
    """The band's integral is a number for each length: what the grid leaves of it is right."""
    side = dict(options_of(CHOICES, "data", "u2")["data.box"].limits)["<="]
    expected = math.log(2 * side * math.sqrt(2 * math.pi) * 0.4)
    assert U2(box=side).load().log_integral(walled=False) == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("name", ENERGIES)
def test_wall_is_outside_of_the_square_only(name: str) -> None:
    energy = loaded(name)
    assert isinstance(energy, Energy)
    inside, outside = torch.tensor([[1.0, -2.0]]), torch.tensor([[4.5, 0.0]])
    assert torch.equal(energy(inside), energy.u(inside))
    assert (energy.box is None) == torch.equal(energy(outside), energy.u(outside))
