"""Inverses of distribution functions for which torch has no closed form."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

# Forty standard deviations and forty counts hold all but 1e-300 of a Poisson distribution.
_WIDTHS = 40.0
# Steps square the error, so that the one after this is exact; bisection alone would take some hundred.
_STEPS, _NEAR = 100, 1e-9


def least_count(cdf: Callable[[Tensor], Tensor], mean: Tensor, uniform: Tensor) -> Tensor:
    """Return (R, n) the least k with P(y <= k) >= u, of counts whose variance is (n,) `mean`."""
    margin = _WIDTHS * (1.0 + mean.sqrt())
    low = (mean - margin).clamp_min(-1.0).floor().expand_as(uniform)
    high = (mean + margin).ceil().expand_as(uniform)
    for _ in range(int(torch.log2(2.0 * margin.max() + 2.0).ceil()) + 1):
        middle = ((low + high) / 2.0).floor()
        above = cdf(middle) >= uniform
        low, high = torch.where(above, low, middle), torch.where(above, middle, high)
    return high


def gamma_quantile(shape: Tensor, uniform: Tensor) -> Tensor:
    """Return (R, n) x with P(shape, x) = u, the inverse of the regularised incomplete gamma function, for scale one.

    Bounds are (u Gamma(a + 1))^(1 / a), since P(a, x) <= x^a / Gamma(a + 1), and forty standard deviations above the mean.

    References
    ----------
    Wilson and Hilferty (1931), PNAS 17(12), for the start.
    """
    low = torch.exp((torch.log(uniform) + torch.lgamma(shape + 1.0)) / shape)
    high = shape + _WIDTHS * (1.0 + shape.sqrt())
    start = shape * (1.0 - 1.0 / (9.0 * shape) + torch.special.ndtri(uniform) / (3.0 * shape.sqrt())) ** 3

    def density(x: Tensor) -> Tensor:
        return torch.exp((shape - 1.0) * torch.log(x) - x - torch.lgamma(shape))

    return quantile(lambda x: torch.special.gammainc(shape, x), density, low, high, start, uniform)


def inverse_gaussian_quantile(shape: Tensor, uniform: Tensor) -> Tensor:
    """Return (R, n) x with P(y <= x) = u, of inverse Gaussian y of mean one and variance 1 / shape.

    With a, b = (x -+ 1) (shape / x)^(1/2), P = N(a) + e^(2 shape) N(-b), N the normal distribution function, is more than N(a) and less
    than 2 N(a): bounds are where a is the normal quantile of u, and of u / 2. As 2 shape = (b^2 - a^2) / 2, no exponent is positive.

    References
    ----------
    Shuster (1968), JASA 63(324), for the distribution function.
    """
    root = shape.sqrt()
    halves = (torch.special.ndtri(share) / (2.0 * root) for share in (0.5 * uniform, uniform))
    low, high = (torch.exp(2.0 * torch.asinh(half)) for half in halves)

    def distances(x: Tensor) -> tuple[Tensor, Tensor]:
        scaled = (shape / x).sqrt()
        return (x - 1.0) * scaled, (x + 1.0) * scaled

    def cdf(x: Tensor) -> Tensor:
        a, b = distances(x)
        # torch.special.ndtr has no digit left at -8.
        second: Tensor = torch.exp(-0.5 * a.square()) * torch.special.erfcx(b * math.sqrt(0.5))
        return 0.5 * (torch.erfc(-a * math.sqrt(0.5)) + second)

    def density(x: Tensor) -> Tensor:
        return (shape / (2.0 * math.pi * x)).sqrt() / x * torch.exp(-0.5 * distances(x)[0].square())

    return quantile(cdf, density, low, high, (low * high).sqrt(), uniform)


def quantile(
    cdf: Callable[[Tensor], Tensor],
    density: Callable[[Tensor], Tensor],
    low: Tensor,
    high: Tensor,
    start: Tensor,
    uniform: Tensor,
) -> Tensor:
    """Return (R, n) x with cdf(x) = u, by Newton's method for log cdf in log x, kept within positive bounds that close in.

    A step that leaves the bounds is replaced by their geometric mean.
    """
    low = low.clamp_min(torch.finfo(low.dtype).tiny)
    x = torch.where((start > low) & (start < high), start, (low * high).sqrt())
    goal = torch.log(uniform)
    for _ in range(_STEPS):
        share = cdf(x)
        low, high = torch.where(share < uniform, x, low), torch.where(share < uniform, high, x)
        step = x * torch.exp((goal - torch.log(share)) * share / (x * density(x)))
        inside = (step >= low) & (step <= high)
        there = torch.where(inside, step, (low * high).sqrt())
        moved = bool(((there - x).abs() > _NEAR * there).any())
        x = there
        if not moved:
            break
    return x
