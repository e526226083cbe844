"""Curves, lines and labelled points: drawn from seeds of their own, in range, as noisy as told."""

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch

from node_repro.config.choices import Choices, conf_folder, load
from node_repro.config.components import of_kind
from node_repro.data.curves import Curve as PlaneCurve
from node_repro.data.labelled_points import LabelledCurves
from node_repro.data.noisy_function import PLATEAUS
from node_repro.training.build import import_object

CHOICES = Choices([conf_folder()])
KINDS = ("RegressionData", "ClassificationData", "LineData")


def made(name: str, **changes: float) -> Any:  # noqa: ANN401
    content: dict[str, Any] = {**load(CHOICES.path("data", name)), **changes}
    options = {
        key: import_object(value) if str(value).startswith("node_repro.") else value
        for key, value in content.items()
        if not key.startswith("_")
    }
    return import_object(content["_target_"])(**options).load()


NAMES = [name for kind in KINDS for name in of_kind(CHOICES, "data", kind)]


@pytest.mark.parametrize("name", NAMES)
def test_data_are_a_function_of_their_seed_alone(name: str) -> None:
    data = made(name)
    torch.manual_seed(5)
    assert made(name).sha256 == data.sha256
    assert made(name, seed=1).sha256 != data.sha256
    assert not torch.equal(data.train[0], data.test[0][: len(data.train[0])])
    assert data.name and data.notice is None and str(len(data.train[0])) in data.description


@pytest.mark.parametrize("name", of_kind(CHOICES, "data", "RegressionData"))
def test_points_lie_in_their_range_and_the_noise_is_as_large_as_told(name: str) -> None:
    data = made(name, noise_sd=0.2)
    x, y, clean = data.test
    assert data.shape.low <= float(x.min()) and float(x.max()) <= data.shape.high
    torch.testing.assert_close(clean, data.shape.value(x), rtol=0, atol=0)
    # the standard deviation of 1,000 numbers is off by 1 / sqrt(2,000) of itself
    assert float((y - clean).std()) == pytest.approx(0.2, rel=4 / math.sqrt(2_000))


def test_plateaus_rise_everywhere_so_that_an_ode_can_be_them() -> None:
    x = torch.linspace(PLATEAUS.low, PLATEAUS.high, 1_001, dtype=torch.float64)
    assert bool((PLATEAUS.value(x).diff() > 0).all())


def test_line_goes_through_its_start_at_its_slope_and_its_points_are_sorted() -> None:
    data = made("line", noise_sd=0.0, slope=-2.0, start=3.0)
    x, y, clean = data.train
    assert torch.equal(y, clean) and bool((x.diff() >= 0).all())
    torch.testing.assert_close(y[:, 0], 3.0 - 2.0 * x)


@pytest.mark.parametrize("name", of_kind(CHOICES, "data", "ClassificationData"))
def test_every_point_is_labelled_by_the_branch_that_it_lies_on(name: str) -> None:
    data = made(name, noise=1e-9)
    shape = import_object(str(load(CHOICES.path("data", name))["shape"]))
    assert data.test.label.bincount().min() > 0.4 * len(data.test.label) / data.classes
    for label in range(data.classes):
        assert distance(shape.curve, label)(data.test.x[data.test.label == label] / shape.scale) < (
            0.01  # half the space between the places that are looked at
        )


def distance(curve: PlaneCurve, label: int) -> Callable[[torch.Tensor], float]:
    """The largest distance of points from one branch."""
    s = torch.linspace(0, 1, 2_001, dtype=torch.float64)
    places = curve.place(torch.full((len(s),), label), s)
    return lambda x: float(torch.cdist(x, places).amin(dim=1).max())


def test_blur_moves_points_by_as_much_as_told() -> None:
    shape = import_object("node_repro.data.labelled_points.MOONS")

    def points(noise: float) -> torch.Tensor:
        return LabelledCurves(shape=shape, points=2_000, noise=noise, seed=0).load().train.x

    moved = (points(0.1) - points(1e-9)) / shape.scale
    assert float(moved.std()) == pytest.approx(0.1, rel=0.07)
