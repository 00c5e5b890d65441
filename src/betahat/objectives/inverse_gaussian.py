"""Inverse Gaussian losses: positive numbers whose variance is proportional to the cube of their mean, by its logarithm or its inverse square."""

from __future__ import annotations

import math
from abc import ABC
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from betahat.lazy import lazily
from betahat.objectives.base import LinearIndex, row_sums
from betahat.objectives.dispersion import PearsonVariance
from betahat.objectives.quantiles import inverse_gaussian_quantile
from betahat.objectives.support import Positive

if TYPE_CHECKING:
    from scipy import stats
else:
    stats = lazily("scipy.stats")


class _InverseGaussian(LinearIndex, ABC):
    """The loss y / (2 mu^2) - 1 / mu, mu = E(y): phi times minus the log-likelihood of variance phi mu^3, up to a constant.

    (y / mu - 1)^2 / (2 y), which is 1 / (2 y) more, has no digit left where mu is far above y, and a search stops there.
    """

    dispersion = PearsonVariance()
    support = Positive()

    def constant(self, target: Tensor, precision: Tensor | None) -> Tensor:
        """Return (b,) v / (2 y) + log(2 pi y^3 / v) / 2, v = w / phi."""
        scaled = torch.ones_like(target) if precision is None else precision
        return 0.5 * (scaled / target + math.log(2.0 * math.pi) + 3.0 * torch.log(target) - torch.log(scaled))

    def variance(self, index: Tensor) -> Tensor:
        """Return mu^3."""
        return self.mean(index) ** 3

    def anscombe(self, value: Tensor) -> Tensor:
        """Return log y."""
        return torch.log(value)

    def saturated(self, target: Tensor) -> Tensor:
        """Return -1 / (2 y)."""
        return -0.5 / target

    def draw(self, index: Tensor, spread: Tensor, uniform: Tensor) -> Tensor:
        """Return (R, n) values of mean mu and variance spread^2 mu^3."""
        mean = self.mean(index)
        return mean * inverse_gaussian_quantile((mean * spread.square()).reciprocal().expand_as(uniform), uniform)

    def distribution(self, mean: np.ndarray, scale: float) -> Any:
        """Return the inverse Gaussian distribution of variance scale * mean^3."""
        return stats.invgauss(mean * scale, scale=1.0 / scale)


@dataclass(frozen=True)
class InverseGaussianLog(_InverseGaussian):
    """The inverse Gaussian loss of eta = log mu, (y e^-eta / 2 - 1) e^-eta, which is not convex."""

    def losses(self, output: Tensor, target: Tensor) -> Tensor:
        """Return (b,) (y e^-eta / 2 - 1) e^-eta."""
        inverse = torch.exp(-output)
        return row_sums((0.5 * target * inverse - 1.0) * inverse)

    def residual(self, index: Tensor, target: Tensor) -> Tensor:
        """Return (n,) (y e^-eta - 1) e^-eta."""
        inverse = torch.exp(-index)
        return (target * inverse - 1.0) * inverse

    def curvature(self, index: Tensor, target: Tensor) -> Tensor:
        """Return (n,) (2 y e^-eta - 1) e^-eta, negative where y is less than half the mean."""
        inverse = torch.exp(-index)
        return (2.0 * target * inverse - 1.0) * inverse

    def expected_curvature(self, output: Tensor) -> Tensor:
        """Return e^-eta."""
        return torch.exp(-output)

    def start(self, target: Tensor, mean: Tensor) -> Tensor:
        """Return log((y + mean) / 2)."""
        return torch.log(0.5 * target + 0.5 * mean)

    def mean(self, output: Tensor) -> Tensor:
        """Return e^eta."""
        return torch.exp(output)


@dataclass(frozen=True)
class InverseGaussianInverseSquared(_InverseGaussian):
    """The inverse Gaussian loss of eta = 1 / mu^2, y eta / 2 - eta^(1/2): the canonical link. An index of zero or less has no mean."""

    def losses(self, output: Tensor, target: Tensor) -> Tensor:
        """Return (b,) y eta / 2 - eta^(1/2); infinity where eta is not positive."""
        losses = 0.5 * target * output - output.clamp_min(torch.finfo(output.dtype).tiny).sqrt()
        return row_sums(torch.where(output > 0, losses, math.inf))

    def residual(self, index: Tensor, target: Tensor) -> Tensor:
        """Return (n,) (eta^(-1/2) - y) / 2."""
        return 0.5 * (self.mean(index) - target)

    def curvature(self, index: Tensor, target: Tensor) -> Tensor:
        """Return (n,) eta^(-3/2) / 4."""
        return 0.25 * self.mean(index) ** 3

    def expected_curvature(self, output: Tensor) -> Tensor:
        """Return eta^(-3/2) / 4: the link is canonical."""
        return 0.25 * self.mean(output) ** 3

    def start(self, target: Tensor, mean: Tensor) -> Tensor:
        """Return 4 / (y + mean)^2."""
        return (0.5 * target + 0.5 * mean) ** -2

    def mean(self, output: Tensor) -> Tensor:
        """Return eta^(-1/2); infinity where eta is not positive."""
        return output.clamp_min(0.0).rsqrt()
