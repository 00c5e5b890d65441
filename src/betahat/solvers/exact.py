"""Matrix products that are correct to the last digit, by error-free splitting.

A double has 53 bits. If two matrices are split into slices of b bits, 2 b + log2(k) <= 53, products of
their slices with inner length k are exact in double arithmetic, fused or not, on any device. Three
slices of each carry about 72 bits (Ozaki, Ogita, Oishi and Rump 2012, Numer. Algorithms 59).
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

_BITS = 53
_SLICES = 3


def exact_product(left: Tensor, right: Tensor) -> Tensor:
    """Return (m, n) `left @ right`, (m, k) and (k, n) in float64, rounded once; the columns of `left` should be of similar size.

    The error is about 2^-72 of |left| |right|, so that a result which cancels sixteen digits of its terms still has six.
    """
    bits = (_BITS - math.ceil(math.log2(left.shape[1] + 1))) // 2
    rows, columns = _slices(left, 1, bits), _slices(right, 0, bits)
    product = torch.zeros_like(left[:, :1]) * right[:1]
    for order in reversed(range(_SLICES)):
        for i in range(order + 1):
            product = product + rows[i] @ columns[order - i]
    return product


def _slices(matrix: Tensor, along: int, bits: int) -> list[Tensor]:
    """Split a matrix into parts of `bits` bits, counted from the largest entry along a dimension."""
    parts = []
    rest = matrix
    for _ in range(_SLICES):
        largest = rest.abs().amax(along, keepdim=True)
        # Adding and subtracting sigma rounds to multiples of 2^-bits of the largest entry.
        sigma = torch.ldexp(torch.ones_like(largest), torch.frexp(largest).exponent + (_BITS - bits))
        part = (rest + sigma) - sigma
        parts.append(part)
        rest = rest - part
    return parts
