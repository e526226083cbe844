"""The trajectory of the known field."""

import torch

from node_repro.data.cubic_spiral import CubicSpiral, field


def test_the_trajectory_follows_its_field_and_spirals_inwards() -> None:
    data = CubicSpiral(points=5_001, noise_sd=0.0, seed=0).load()
    h = data.ts[1] - data.ts[0]
    slope = (data.clean[2:] - data.clean[:-2]) / (2 * h)
    # central differences: h^2/6 |y'''| with h = 0.005, and |y'''| below 4,000 near the start
    assert float((slope - field(data.clean[1:-1])).abs().max()) < 0.02
    # y1^4 + y2^4 falls along the field: its rate is -0.4 (y1^6 + y2^6)
    assert ((data.clean**4).sum(1).diff() < 0).all()
    assert torch.equal(data.noisy, data.clean)


def test_noise_is_added_by_seed() -> None:
    data, again = (CubicSpiral(points=100, noise_sd=0.1, seed=s).load() for s in (0, 0))
    other = CubicSpiral(points=100, noise_sd=0.1, seed=1).load()
    assert torch.equal(data.noisy, again.noisy) and not torch.equal(data.noisy, other.noisy)
    assert torch.equal(data.clean, other.clean) and not torch.equal(data.clean, data.noisy)
