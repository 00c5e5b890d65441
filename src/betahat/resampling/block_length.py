"""The optimal block length of a series: Politis and White's rule."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

# Their c: an autocorrelation below c sqrt(log10(n) / n) is noise.
_NOISE = 2.0
_RUN = 5


class Lengths(NamedTuple):
    """(m,) block lengths, one for each series, not rounded and at most `min(3 sqrt(n), n / 3)`."""

    stationary: Tensor
    circular: Tensor


def block_lengths(series: Tensor) -> Lengths:
    """Return the mean length of stationary blocks and the length of circular ones that minimise the error of a mean's variance.

    `series` is (n, m), in the order of time, n >= 10. b = (2 G^2 / D)^(1/3) n^(1/3), where G is the sum of lambda(k / M) |k| gamma_k, D is
    2 g(0)^2 for stationary and 4/3 g(0)^2 for circular blocks, g(0) is the sum of lambda(k / M) gamma_k, lambda is the flat-top kernel, and M is
    twice the lag after which five autocorrelations are below 2 sqrt(log10(n) / n). Politis and White (2004), Econometric Reviews 23(1);
    Patton, Politis and White (2009), 28(4). Autocorrelations as in Python's ``arch.bootstrap.optimal_block_length``.
    """
    n, errors = len(series), series - series.mean(0)
    run = max(_RUN, int(math.log10(n)))
    last = math.ceil(math.sqrt(n)) + run
    products = torch.stack([(errors[k:] * errors[: n - k]).sum(0) for k in range(last + 1)])
    squares = torch.cat([torch.zeros_like(errors[:1]), errors.square().cumsum(0)])
    later = torch.stack([squares[n] - squares[k + 1] for k in range(last + 1)])
    earlier = torch.stack([squares[n - k - 1] for k in range(last + 1)])
    small = products.abs() / (later * earlier).sqrt() < _NOISE * math.sqrt(math.log10(n) / n)
    runs = torch.stack([small[k : k + run].all(0) for k in range(last - run + 1)])
    first = torch.where(runs.any(0), runs.to(torch.int64).argmax(0).clamp_min(1), last)
    width = (2 * first).clamp_max(last).to(series)
    lags = torch.arange(1, last + 1).to(series)[:, None]
    share = lags / width
    kernel = torch.where(share <= 0.5, 1.0, (2.0 * (1.0 - share)).clamp_min(0.0))
    covariances = products / n
    spread = 2.0 * (kernel * lags * covariances[1:]).sum(0)
    spectrum = covariances[0] + 2.0 * (kernel * covariances[1:]).sum(0)
    cap = math.ceil(min(3.0 * math.sqrt(n), n / 3.0))
    scale = (spread / spectrum).square() * n
    return Lengths(*((scale * factor).pow(1.0 / 3.0).clamp_max(cap) for factor in (1.0, 1.5)))
