"""Inverses of distribution functions that torch has no closed form of, by bisection."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

# Forty standard deviations and forty counts hold all but 1e-300 of a Poisson distribution.
_WIDTHS = 40.0


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
