"""Kernel estimates of a density at zero: that of the residuals of a quantile regression, by which its errors are large or small."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal, get_args

import torch
from torch import Tensor
from torch.special import ndtri

KernelName = Literal["epa", "biw", "cos", "gau", "par"]
BandwidthName = Literal["hsheather", "bofinger", "chamberlain"]


@dataclass(frozen=True)
class Density:
    """How the density of the residuals at zero is estimated: each row has the share K(e / h) / h in it.

    Attributes
    ----------
    kernel : str
        The name of K.
    bandwidth : float
        h, in units of y.
    share : float
        The bandwidth as a probability: h reaches from the quantile q - share to q + share, of a normal distribution with the residuals' spread.
    height : float
        The estimate, the mean of K(e / h) / h over the rows; one over it is the sparsity.
    """

    kernel: KernelName
    bandwidth: float
    share: float
    height: float

    def shares(self, errors: Tensor) -> Tensor:
        """Return (...,) K(e / h) / h."""
        return KERNELS[self.kernel](errors / self.bandwidth) / self.bandwidth


def _epanechnikov(u: Tensor) -> Tensor:
    return 0.75 * (1.0 - u.square()).clamp_min(0.0)


def _biweight(u: Tensor) -> Tensor:
    return 0.9375 * (1.0 - u.square()).clamp_min(0.0).square()


def _cosine(u: Tensor) -> Tensor:
    return torch.where(u.abs() <= 0.5, 1.0 + torch.cos(2.0 * math.pi * u), 0.0)


def _gaussian(u: Tensor) -> Tensor:
    return torch.exp(-0.5 * u.square()) / math.sqrt(2.0 * math.pi)


def _parzen(u: Tensor) -> Tensor:
    size = u.abs()
    near = 4.0 / 3.0 - 8.0 * size.square() + 8.0 * size**3
    return torch.where(size <= 0.5, near, 8.0 / 3.0 * (1.0 - size).clamp_min(0.0) ** 3)


# statsmodels' kernels, under its names.
KERNELS: Mapping[KernelName, Callable[[Tensor], Tensor]] = {
    "epa": _epanechnikov,
    "biw": _biweight,
    "cos": _cosine,
    "gau": _gaussian,
    "par": _parzen,
}
BANDWIDTHS = get_args(BandwidthName)
# The rules are for intervals of this coverage.
_COVERAGE = 0.95


def bandwidth_share(rule: BandwidthName, nobs: float, q: float) -> float:
    """Return the bandwidth of n rows as a probability.

    References
    ----------
    Hall and Sheather (1988), JRSS B 50(3). Bofinger (1975), Australian J. Statistics 17(1). Chamberlain (1994), Quantile regression, censoring, and
    the structure of wages, in Advances in Econometrics, Sixth World Congress.
    """
    point = normal_quantile(q)
    height = math.exp(-0.5 * point * point) / math.sqrt(2.0 * math.pi)
    end = normal_quantile(0.5 + 0.5 * _COVERAGE)
    if rule == "hsheather":
        ratio = 1.5 * height**2 / (2.0 * point**2 + 1.0)
        return math.pow(nobs, -1.0 / 3.0) * math.pow(end, 2.0 / 3.0) * math.pow(ratio, 1.0 / 3.0)
    if rule == "bofinger":
        # statsmodels has the density at twice the quantile here, R at the quantile; Bofinger's formula is R's.
        return math.pow(nobs, -0.2) * math.pow(4.5 * height**4 / (2.0 * point**2 + 1.0) ** 2, 0.2)
    return end * math.sqrt(q * (1.0 - q) / nobs)


def normal_quantile(q: float) -> float:
    """Return the normal distribution's quantile."""
    return float(ndtri(torch.tensor(q, dtype=torch.float64)))
