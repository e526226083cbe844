"""Linear probes: how well an affine map of some features predicts a label."""

import torch
from torch import Tensor


def least_squares_predictions(x: Tensor, targets: Tensor, x_test: Tensor) -> Tensor:
    """Predictions (M, C) for x_test (M, L) by the affine least-squares fit of targets (N, C) to
    x (N, L), in float64 on the CPU.
    """

    def with_one(x: Tensor) -> Tensor:
        return torch.cat((x, torch.ones_like(x[:, :1])), dim=1).double().cpu()

    targets = targets.double().cpu()
    weights = torch.linalg.lstsq(with_one(x), targets, driver="gelsd").solution
    return with_one(x_test) @ weights


def probe_accuracy(z: Tensor, label: Tensor, z_test: Tensor, label_test: Tensor) -> float:
    """The share of test labels, +1 or -1, that a linear probe fitted to z predicts correctly.

    z is (N, L), label (N,), z_test (M, L), label_test (M,).
    """
    predicted = least_squares_predictions(z, label[:, None], z_test)[:, 0].sign()
    return float((predicted == label_test.double().cpu()).double().mean())


def discriminant_direction(z: Tensor, label: Tensor) -> Tensor:
    """The unit vector (L,) along which a linear probe of the labels (N,), +1 or -1, increases.

    This is Fisher's linear discriminant of z (N, L). If all labels are equal, it is the first
    principal direction of z.
    """
    centred = (z - z.mean(0)).cpu().double()
    labels = label.cpu().double()
    direction = torch.linalg.pinv(centred) @ (labels - labels.mean())
    if not direction.any():
        direction = torch.linalg.svd(centred, full_matrices=False).Vh[0]
    return (direction / direction.norm()).to(z)


def with_products(z: Tensor) -> Tensor:
    """z (N, L) and all products of two of its components, (N, L + L (L + 1) / 2)."""
    row, column = torch.triu_indices(z.shape[1], z.shape[1], device=z.device)
    return torch.cat((z, z[:, row] * z[:, column]), dim=1)
