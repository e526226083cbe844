"""Deskewed digits: upright, centred, nothing lost; the same splits under a name of their own."""

from pathlib import Path

import pytest
import torch
from tiny_mnist import write
from torch import Tensor

from node_repro.data.deskewed import DeskewedMNIST, deskew
from node_repro.data.mnist import MNISTSource

SIDE = 28


def bar(slope: float, *, x: float = 12, y: float = 14) -> Tensor:
    """A blurred bar of 17 rows and about 4 columns, sheared by `slope` columns a row."""
    rows, columns = torch.meshgrid(torch.arange(SIDE), torch.arange(SIDE), indexing="ij")
    distance = columns - x - slope * (rows - y)
    image = 255 * torch.exp(-((distance / 1.5) ** 2)) * ((rows - y).abs() <= 8)
    return image.round().to(torch.uint8)[None]


def moments(images: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Centres (x, y), (N, 2), in pixels; the shear of the principal axis, (N,); the mass, (N,)."""
    weight = images.double()
    mass = weight.sum((1, 2))
    place = torch.arange(SIDE, dtype=torch.float64)
    x = (weight.sum(1) * place).sum(1) / mass
    y = (weight.sum(2) * place).sum(1) / mass
    dx, dy = place - x[:, None], place - y[:, None]
    both = torch.einsum("nyx,nx,ny->n", weight, dx, dy) / mass
    height = torch.einsum("nyx,ny->n", weight, dy**2) / mass
    return torch.stack((x, y), 1), both / height, mass


@pytest.mark.parametrize("slope", [-0.6, 0.0, 0.4])
def test_a_sheared_bar_becomes_upright_and_lands_in_the_middle(slope: float) -> None:
    image = deskew(bar(slope))
    centre, shear, _ = moments(image)
    assert float((centre - (SIDE - 1) / 2).abs().max()) < 0.02  # columns
    assert float(shear.abs().max()) < 0.01
    upright = deskew(bar(0.0))
    # interpolation blurs a bar that was sheared by parts of a pixel, at most so much of white
    assert float((image.float() - upright.float()).abs().max()) < 32


def test_no_ink_is_lost_but_by_rounding() -> None:
    images = MNISTSource(source="embedded").load().test.images
    before, after = (part.double().sum((1, 2)) for part in (images, deskew(images)))
    # half a level in each of some hundred grey pixels, either way: a tenth of a per cent
    assert float((after / before - 1).abs().median()) < 1e-3
    assert float((after / before - 1).abs().max()) < 0.02


def test_deskewing_twice_moves_nothing_by_half_a_pixel() -> None:
    images = MNISTSource(source="embedded").load().test.images
    once = deskew(images)
    centre, shear, _ = moments(once)
    assert float((centre - (SIDE - 1) / 2).abs().max()) < 0.5
    assert float(shear.abs().max()) * SIDE / 2 < 0.5
    assert float(moments(images)[1].abs().max()) * SIDE / 2 > 5


def test_empty_and_flat_images_are_left_as_they_are() -> None:
    empty = torch.zeros(1, SIDE, SIDE, dtype=torch.uint8)
    assert torch.equal(deskew(empty), empty)
    line = empty.clone()
    line[0, 13:15, 4:24] = 200
    assert torch.equal(deskew(line), line)


def test_splits_and_labels_are_those_of_mnist_under_another_name(tmp_path: Path) -> None:
    write(tmp_path)
    plain = MNISTSource(root=str(tmp_path), limit=7).load()
    upright = DeskewedMNIST(root=str(tmp_path), limit=7).load()
    assert (upright.name, upright.complete) == ("mnist-deskewed", True)
    assert torch.equal(upright.train.labels, plain.train.labels)
    assert upright.train.images.dtype == torch.uint8
    assert upright.train.images.shape == plain.train.images.shape
    assert torch.equal(upright.test.images, deskew(plain.test.images))
    embedded = DeskewedMNIST(source="embedded").load()
    assert (embedded.name, embedded.complete) == ("mnist-deskewed-embedded", False)
    assert embedded.notice is not None
