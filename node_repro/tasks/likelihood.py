"""Helpers of losses and scores: cross-entropy, evidence lower bounds, root mean squares."""

import math
from collections.abc import Mapping
from typing import Generic, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from node_repro.data.sharding import Noise
from node_repro.tasks import Loss, SplitT


class PosteriorBatch(NamedTuple, Generic[SplitT]):
    """Examples, the noise of their posterior samples, and the weight of the KL term in the loss."""

    split: SplitT
    noise: Noise
    weight: float


def classification_loss(scores: Tensor, labels: Tensor) -> Loss:
    """Cross-entropy of class scores (B, C) with labels (B,), and the share of errors."""
    wrong = (scores.detach().argmax(1) != labels).to(torch.float32).mean()
    return Loss(F.cross_entropy(scores, labels), {"error": wrong})


def classification_scores(scores: Tensor, labels: Tensor) -> dict[str, Tensor]:
    """Cross-entropy and error of each example."""
    return {
        "loss_nats": F.cross_entropy(scores, labels, reduction="none"),
        "error": scores.argmax(1) != labels,
    }


def variational_loss(nll: Tensor, kl: Tensor, weight: float) -> Loss:
    """The mean of nll + weight * kl, for a negative log-likelihood and a divergence (B,)."""
    metrics = {"nll_nats": nll.mean(), "kl_nats": kl.mean()}
    return Loss((nll + weight * kl).mean(), {k: v.detach() for k, v in metrics.items()})


def log_mean_exp(values: Tensor) -> Tensor:
    """log of the mean of exp over the first dimension: a mixture's log density from samples'."""
    return torch.logsumexp(values, dim=0) - math.log(len(values))


def kl_weight(step: int, warmup: int) -> float:
    """The weight of the KL term, annealed from 0 to 1 over `warmup` iterations."""
    return min(1.0, step / warmup) if warmup else 1.0


def take_roots(means: Mapping[str, float]) -> dict[str, float]:
    """Replace every mean square mse_x by its root, rmse_x."""
    roots = {f"r{k}": v**0.5 for k, v in means.items() if k.startswith("mse_")}
    return {k: v for k, v in means.items() if not k.startswith("mse_")} | roots
