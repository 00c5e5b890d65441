"""Square roots of matrices: of a covariance, whatever the units of its rows, and inverse roots as sums of shifted inverses."""

from __future__ import annotations

import math

import torch
from torch import Tensor

# For matrices of the sizes that are fitted, rounding leaves eigenvalues of either sign below 1e-13 of the largest.
_ROUNDING = 1e-13
# The share of an inverse root that its sum, and each of its hyperbolic series, may omit.
_LEFT_OUT = 1e-16
# A smaller condition number would save few terms, and need longer series.
_LEAST, _SERIES = 4.0, 20


def square_root(matrix: Tensor, rounding: Tensor | None = None) -> Tensor | None:
    """Return F, (k, k), with F F' the matrix, or None if it is not positive semi-definite beyond `rounding`, (k, k).

    The matrix is first scaled to a unit diagonal.
    """
    scale = matrix.diagonal().clamp_min(0.0)
    scale = (scale if rounding is None else torch.maximum(scale, rounding.diagonal())).sqrt()
    safe = torch.where(scale > 0, scale, torch.ones_like(scale))
    spectrum, vectors = torch.linalg.eigh(matrix / safe / safe[:, None])
    floor = _ROUNDING * len(matrix) * spectrum[-1].abs()
    if rounding is not None:
        floor = torch.maximum(floor, ((vectors.mT @ (rounding / safe / safe[:, None])) * vectors.mT).sum(1))
    if bool((spectrum < -floor).any()):
        return None
    positive = torch.where(spectrum > floor, spectrum, torch.zeros_like(spectrum))
    factor: Tensor = safe[:, None] * vectors * positive.sqrt()
    return factor


def inverse_root_terms(condition: float) -> Tensor:
    """Return (2, J) shifts s and factors c such that the sum of c / (x + s) is x^(-1/2) to rounding, for all x from 1 / condition to 1.

    It is the best rational approximation of its degree, Zolotarev's, or the midpoint rule for the integral of 2 / pi / (x + t^2) after
    t = k sc(v), where sc is Jacobi's function of the complementary modulus of k = condition^(-1/2). Nodes in the first half of the period come
    from series in the nome of k, whose terms are all positive, and those in the second half from sc(K' - v) = 1 / (k sc(v)), so that
    each keeps its digits whatever the condition. Hale, Higham and Trefethen (2008), SIAM J. Numer. Anal. 46(5), method 3.
    """
    modulus = max(condition, _LEAST) ** -0.5
    period = math.pi / (2.0 * _mean(1.0, math.sqrt((1.0 - modulus) * (1.0 + modulus))))
    other = math.pi / (2.0 * _mean(1.0, modulus))
    half = math.ceil(-math.log(_LEFT_OUT) * other / (4.0 * math.pi * period))
    at = (torch.arange(half, dtype=torch.float64)[:, None] + 0.5) * other / (2 * half)
    rates = torch.arange(1, 2 * _SERIES, dtype=torch.float64) * math.pi / (2.0 * period)
    ahead, back, around = (rates * (at - other)).exp(), (-rates * (at + other)).exp(), (-2.0 * rates * other).exp()
    sines = (math.pi / period / modulus) * ((ahead - back) / (1.0 - around))[:, ::2].sum(1)  # sc
    plus = (ahead + back) / (1.0 + around)
    slopes = (math.pi / period) ** 2 / modulus * plus[:, ::2].sum(1) * (0.5 + plus[:, 1::2].sum(1))  # dn / cn^2
    squares, factors = sines.square(), slopes * other / (math.pi * half)
    shifts = torch.cat([squares * modulus**2, squares.reciprocal()])
    return torch.stack([shifts, torch.cat([factors * modulus, factors / squares])])


def _mean(one: float, other: float) -> float:
    """Return the arithmetic-geometric mean."""
    while abs(one - other) > 1e-15 * one:
        one, other = 0.5 * (one + other), math.sqrt(one * other)
    return one
