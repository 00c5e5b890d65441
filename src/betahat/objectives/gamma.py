"""Gamma losses: positive numbers whose standard deviation is proportional to their mean, by its logarithm or its inverse."""

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
from betahat.objectives.quantiles import gamma_quantile
from betahat.objectives.support import Positive

if TYPE_CHECKING:
    from scipy import stats
else:
    stats = lazily("scipy.stats")


class _Gamma(LinearIndex, ABC):
    """The loss y / mu + log mu, mu = E(y): phi times minus the log-likelihood of shape 1 / phi, up to a constant."""

    dispersion = PearsonVariance()
    support = Positive()

    def constant(self, target: Tensor, precision: Tensor | None) -> Tensor:
        """Return (b,) log Gamma(v) - v log(v y) + log y, v = w / phi the shape."""
        shape = torch.ones_like(target) if precision is None else precision
        return torch.lgamma(shape) - shape * torch.log(shape * target) + torch.log(target)

    def variance(self, index: Tensor) -> Tensor:
        """Return mu^2."""
        return self.mean(index).square()

    def anscombe(self, value: Tensor) -> Tensor:
        """Return 3 y^(1/3)."""
        return 3.0 * value ** (1.0 / 3.0)

    def saturated(self, target: Tensor) -> Tensor:
        """Return 1 + log y."""
        return 1.0 + torch.log(target)

    def draw(self, index: Tensor, spread: Tensor, uniform: Tensor) -> Tensor:
        """Return (R, n) values of shape 1 / spread^2 and mean mu."""
        shape = spread.square().reciprocal()
        return gamma_quantile(shape.expand_as(uniform), uniform) * self.mean(index) / shape

    def distribution(self, mean: np.ndarray, scale: float) -> Any:
        """Return the gamma distribution of shape 1 / scale."""
        return stats.gamma(1.0 / scale, scale=mean * scale)


@dataclass(frozen=True)
class GammaLog(_Gamma):
    """The gamma loss of eta = log mu, y e^-eta + eta."""

    def losses(self, output: Tensor, target: Tensor) -> Tensor:
        """Return (b,) y e^-eta + eta."""
        return row_sums(target * torch.exp(-output) + output)

    def residual(self, index: Tensor, target: Tensor) -> Tensor:
        """Return (n,) y e^-eta - 1."""
        return target * torch.exp(-index) - 1.0

    def curvature(self, index: Tensor, target: Tensor) -> Tensor:
        """Return (n,) y e^-eta."""
        return target * torch.exp(-index)

    def expected_curvature(self, output: Tensor) -> Tensor:
        """Return ones."""
        return torch.ones_like(output)

    def start(self, target: Tensor, mean: Tensor) -> Tensor:
        """Return log((y + mean) / 2)."""
        return torch.log(0.5 * target + 0.5 * mean)

    def mean(self, output: Tensor) -> Tensor:
        """Return e^eta."""
        return torch.exp(output)


@dataclass(frozen=True)
class GammaInverse(_Gamma):
    """The gamma loss of eta = 1 / mu, y eta - log eta: the canonical link. An index of zero or less has no mean, and an infinite loss."""

    def losses(self, output: Tensor, target: Tensor) -> Tensor:
        """Return (b,) y eta - log eta."""
        losses = target * output - torch.log(output.clamp_min(torch.finfo(output.dtype).tiny))
        return row_sums(torch.where(output > 0, losses, math.inf))

    def residual(self, index: Tensor, target: Tensor) -> Tensor:
        """Return (n,) 1 / eta - y."""
        return index.reciprocal() - target

    def curvature(self, index: Tensor, target: Tensor) -> Tensor:
        """Return (n,) 1 / eta^2."""
        return index.square().reciprocal()

    def expected_curvature(self, output: Tensor) -> Tensor:
        """Return 1 / eta^2: the link is canonical."""
        return output.square().reciprocal()

    def start(self, target: Tensor, mean: Tensor) -> Tensor:
        """Return 2 / (y + mean)."""
        return 2.0 / (target + mean)

    def mean(self, output: Tensor) -> Tensor:
        """Return 1 / eta; infinity where eta is not positive."""
        return torch.where(output > 0, output.reciprocal(), math.inf)
