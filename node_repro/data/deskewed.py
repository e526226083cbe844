"""Deskewed MNIST, as for the MLP of LeCun et al. 1998 (the first row of table 1).

Each digit is sheared until its principal axis is vertical and shifted until its centre of mass is
in the middle, by one affine map with bilinear interpolation.
"""

from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from torch import Tensor

from node_repro.data import ImageData, Split
from node_repro.data.mnist import MNISTSource

CHUNK = 2_000  # images transformed at once


@dataclass(frozen=True, kw_only=True)
class DeskewedMNIST(MNISTSource):
    """`MNISTSource` with digits that are deskewed when they are loaded.

    The recorded sha256 is that of the published files.
    """

    def load(self) -> ImageData:
        data = super().load()
        return replace(
            data,
            name=data.name.replace("mnist", "mnist-deskewed"),
            train=Split(deskew(data.train.images), data.train.labels),
            test=Split(deskew(data.test.images), data.test.labels),
        )


def deskew(images: Tensor) -> Tensor:
    """Shear images (N, S, S), uint8, along their rows until x and y are uncorrelated; centre them.

    An empty image stays empty. Pixels moved over the edge are lost.
    """
    return torch.cat([_deskew_part(part) for part in images.split(CHUNK)])


def _deskew_part(images: Tensor) -> Tensor:
    weight = images.float()
    place = torch.linspace(-1, 1, images.shape[-1])  # centres of the pixels, as in affine_grid
    y, x = torch.meshgrid(place, place, indexing="ij")

    def mean(values: Tensor) -> Tensor:
        return (weight * values).sum((1, 2)) / weight.sum((1, 2)).clamp(min=1)

    centre_x, centre_y = mean(x), mean(y)
    from_y = y - centre_y[:, None, None]
    shear = mean(from_y * x) / mean(from_y**2).clamp(min=1e-6)
    zero, one = torch.zeros_like(shear), torch.ones_like(shear)
    rows = (torch.stack((one, shear, centre_x), 1), torch.stack((zero, one, centre_y), 1))
    grid = F.affine_grid(torch.stack(rows, 1), [len(images), 1, *y.shape], align_corners=True)
    return F.grid_sample(weight[:, None], grid, align_corners=True)[:, 0].round().to(images.dtype)
