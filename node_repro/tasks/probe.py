"""A linear probe: how much of a two-valued label can be read off numbers by a plane."""

import torch
from torch import Tensor


def probe_accuracy(z: Tensor, label: Tensor, z_test: Tensor, label_test: Tensor) -> float:
    """The share of test labels, +1 or -1, that the least-squares plane fitted to z gets right.

    z: (N, L), label: (N,); z_test: (M, L), label_test: (M,).
    """

    def with_one(x: Tensor) -> Tensor:
        return torch.cat((x, torch.ones_like(x[:, :1])), dim=1).double().cpu()

    plane = torch.linalg.lstsq(with_one(z), label.double().cpu()[:, None], driver="gelsd").solution
    said = (with_one(z_test) @ plane)[:, 0].sign()
    return float((said == label_test.double().cpu()).double().mean())


def with_products(z: Tensor) -> Tensor:
    """z: (N, L) beside all products of two of its coordinates, (N, L + L (L + 1) / 2)."""
    row, column = torch.triu_indices(z.shape[1], z.shape[1], device=z.device)
    return torch.cat((z, z[:, row] * z[:, column]), dim=1)
