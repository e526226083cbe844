"""Convergence of Markov chains: effective sample size, split R-hat, Monte Carlo standard errors.

`estimate` follows Vehtari, Gelman, Simpson, Carpenter, Bürkner: Rank-normalization, folding, and
localization: an improved R-hat for assessing convergence of MCMC, 2021, sections 3.1 and 3.2,
without rank normalisation. Stan computes the same.
"""

import math
from typing import NamedTuple

import torch
from torch import Tensor


class Estimate(NamedTuple):
    """Means over all chains of K quantities, (K,) each.

    Attributes:
        mean: The estimates.
        standard_error: Their Monte Carlo standard errors.
        ess: Effective sample sizes.
        r_hat: Split R-hat, near 1 where the chains agree.
    """

    mean: Tensor
    standard_error: Tensor
    ess: Tensor
    r_hat: Tensor


def estimate(x: Tensor) -> Estimate:
    """Estimate means from chains.

    Every chain is split in two, so that a chain that drifts disagrees with itself. A quantity that
    never changes has an effective sample size of 1.

    Args:
        x: C chains of N >= 4 draws of K quantities, (C, N, K), float64.
    """
    half = x.shape[1] // 2
    x = torch.cat((x[:, :half], x[:, half : 2 * half]))
    chains, draws, _ = x.shape
    covariance = _autocovariance(x - x.mean(1, keepdim=True)).mean(0)  # (N, K)
    within = covariance[0] * draws / (draws - 1)
    total = covariance[0] + x.mean(1).var(0)
    constant = total == 0
    total = total.masked_fill(constant, 1.0)
    correlation = 1 - (within - covariance) / total
    correlation[0] = 1.0
    count = chains * draws
    ess = count / _integrated_time(correlation).clamp(min=1 / math.log10(count))
    ess = ess.masked_fill(constant, 1.0)
    r_hat = (total / within.masked_fill(within == 0, 1.0)).sqrt()
    return Estimate(x.mean((0, 1)), (total / ess).sqrt(), ess, r_hat)


def effective_sample_size(x: Tensor, mean: Tensor, variance: Tensor) -> Tensor:
    """Effective sample sizes (K,) by autocorrelations about the exact means.

    Chains that all stay in one part of a distribution agree with each other and have small
    autocorrelations about their own means, but large ones about the exact means (Hoffman and
    Gelman, The No-U-Turn sampler, 2014, section 4.1).

    Args:
        x: C chains of N draws of K quantities, (C, N, K), float64.
        mean: Their exact means, (K,).
        variance: Their exact variances, (K,).
    """
    correlation = _autocovariance(x - mean).mean(0) / variance
    correlation[0] = 1.0
    count = x.shape[0] * x.shape[1]
    return count / _integrated_time(correlation).clamp(min=1 / math.log10(count))


def _autocovariance(x: Tensor) -> Tensor:
    """The autocovariances (C, N, K) of centred chains at lags 0 to N - 1, divided by N."""
    draws = x.shape[1]
    spectrum = torch.fft.rfft(x, n=2 * draws, dim=1)
    return torch.fft.irfft(spectrum.abs().square(), n=2 * draws, dim=1)[:, :draws] / draws


def _integrated_time(correlation: Tensor) -> Tensor:
    """1 + 2 times the sum of the autocorrelations (N, K): Geyer's initial monotone sequence.

    The sums of neighbouring autocorrelations are positive and decrease for a reversible chain; the
    sum ends where estimated ones do not (Geyer, Practical Markov chain Monte Carlo, 1992).
    """
    even = correlation.shape[0] // 2 * 2
    pairs = correlation[:even].unflatten(0, (-1, 2)).sum(1)
    positive = (pairs > 0).cumprod(0)
    return 2 * (pairs.cummin(0).values * positive).sum(0) - 1
