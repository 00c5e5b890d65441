"""log Gamma(q + y) - log Gamma(q), the logarithm of the rising factorial, and its derivatives in q, for which differences lose digits."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

# Up to 1/q^13, Stirling's series is exact to the last digit beyond this.
_LARGE = 16.0


# The terms of counts up to this are added one by one, for which the gamma function's series take longer.
_FEW = 64

# B_2j / (2 j (2 j - 1)), j = 1, 2, ..., of log Gamma(x), and what they are in its derivatives.
_STIRLING = (1 / 12, -1 / 360, 1 / 1260, -1 / 1680, 1 / 1188, -691 / 360360, 1 / 156)
_SLOPES = tuple(-(2 * j + 1) * weight for j, weight in enumerate(_STIRLING))
_CURVATURES = tuple(-(2 * j + 2) * weight for j, weight in enumerate(_SLOPES))


def log_rising(count: Tensor, base: Tensor) -> Tensor:
    """Return log Gamma(q + y) - log Gamma(q) of (...,) counts y and positive bases q.

    Of large q by Stirling's series, (q - 1/2) log(1 + y / q) + y log(q + y) - y and what its terms in 1 / q differ by.

    References
    ----------
    Abramowitz and Stegun (1964), 6.1.41.
    """
    q = base.clamp_min(_LARGE)
    top = q + count
    far = (q - 0.5) * torch.log1p(count / q) + count * torch.log(top) - count
    far = far + _series(top, _STIRLING, 1) - _series(q, _STIRLING, 1)
    small = base.clamp_max(_LARGE)
    return torch.where(base > _LARGE, far, torch.lgamma(small + count) - torch.lgamma(small))


def rising_slope(count: Tensor, base: Tensor) -> Tensor:
    """Return psi(q + y) - psi(q), its derivative in q: the sum of 1 / (q + j) over j below y."""
    if _are_few(count, base):
        return _added(count, base, torch.reciprocal)
    q = base.clamp_min(_LARGE)
    top = q + count
    far = torch.log1p(count / q) + 0.5 * count / (q * top) + _series(top, _SLOPES, 2) - _series(q, _SLOPES, 2)
    small = base.clamp_max(_LARGE)
    return torch.where(base > _LARGE, far, torch.digamma(small + count) - torch.digamma(small))


def rising_curvature(count: Tensor, base: Tensor) -> Tensor:
    """Return psi'(q + y) - psi'(q), its second derivative in q: minus the sum of 1 / (q + j)^2."""
    if _are_few(count, base):
        return -_added(count, base, lambda value: value.reciprocal().square())
    q = base.clamp_min(_LARGE)
    top = q + count
    far = -count / (q * top) - 0.5 * count * (top + q) / (q * top).square()
    far = far + _series(top, _CURVATURES, 3) - _series(q, _CURVATURES, 3)
    small = base.clamp_max(_LARGE)
    return torch.where(base > _LARGE, far, trigamma(small + count) - trigamma(small))


def _are_few(count: Tensor, base: Tensor) -> bool:
    """Tell whether (n,) counts of whole numbers have few terms each."""
    return count.shape == base.shape and count.ndim == 1 and count.numel() > 0 and float(count.max()) <= _FEW


def _added(count: Tensor, base: Tensor, term: Callable[[Tensor], Tensor]) -> Tensor:
    """Return (n,) sums of a term at q + j over j below y: rows by falling counts, so that those with a j-th term come first."""
    order = torch.argsort(count.to(torch.int16), descending=True)
    sorted_base = base[order]
    found = torch.zeros_like(sorted_base)
    above = torch.bincount(count.long()).flip(0).cumsum(0).flip(0)[1:]
    for j, rows in enumerate(above.tolist()):
        found[:rows] += term(sorted_base[:rows] + j)
    return torch.empty_like(found).index_copy_(0, order, found)


def trigamma(value: Tensor) -> Tensor:
    """Return psi'(x) of (...,) positive numbers; torch's polygamma has ten digits.

    References
    ----------
    Abramowitz and Stegun (1964), 6.4.6 and 6.4.12.
    """
    found, top = torch.zeros_like(value), value
    for _ in range(int(_LARGE)):  # psi'(x) = psi'(x + 1) + 1 / x^2
        near = top < _LARGE
        found = found + torch.where(near, top.square().reciprocal(), 0.0)
        top = top + near
    return found + top.reciprocal() + 0.5 * top.square().reciprocal() + _series(top, _CURVATURES, 3)


def _series(value: Tensor, weights: tuple[float, ...], first: int) -> Tensor:
    """Return the sum of w_j x^-(first + 2 j), j = 0, 1, ..."""
    inverse = value.reciprocal()
    square, found = inverse.square(), torch.zeros_like(value)
    for weight in reversed(weights):
        found = found * square + weight
    return found * inverse**first
