"""MNIST with every digit upright, as for the MLP of LeCun et al. 1998: table 1's first row.

The lines of a digit are shifted until its principal axis is vertical, and its centre of mass is
put in the middle. Both are one affine map of the plane, with bilinear interpolation.
"""

from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from torch import Tensor

from node_repro.data import ImageData, Split
from node_repro.data.mnist import MNISTSource

CHUNK = 2_000  # images mapped at once


@dataclass(frozen=True, kw_only=True)
class DeskewedMNIST(MNISTSource):
    """The same source, its digits deskewed once when they are loaded. The sha256 that is recorded
    stays that of the published files.
    """

    def load(self) -> ImageData:
        data = super().load()
        return replace(
            data,
            name=data.name.replace("mnist", "mnist-deskewed"),
            train=Split(deskewed(data.train.images), data.train.labels),
            test=Split(deskewed(data.test.images), data.test.labels),
        )


def deskewed(images: Tensor) -> Tensor:
    """uint8 (N, S, S), each sheared along its rows until the covariance of x and y is zero, and
    centred. An empty image stays empty; what is moved over the edge is lost.
    """
    return torch.cat([_upright(part) for part in images.split(CHUNK)])


def _upright(images: Tensor) -> Tensor:
    weight = images.float()
    place = torch.linspace(-1, 1, images.shape[-1])  # pixels' centres, as affine_grid has them
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
