"""Gaussian losses: least squares, and a mean with its own variance."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from betahat.lazy import lazily
from betahat.objectives.base import LinearIndex, OutputLoss, row_sums
from betahat.objectives.dispersion import RESIDUAL, Dispersion, Unity
from betahat.objectives.support import Reals

if TYPE_CHECKING:
    from scipy import stats
else:
    stats = lazily("scipy.stats")


@dataclass(frozen=True)
class Gaussian(LinearIndex):
    """The loss (y - eta)^2 / 2 of least squares.

    Attributes
    ----------
    dispersion : Dispersion
        What the loss is up to a factor.
    """

    dispersion: Dispersion = RESIDUAL

    support = Reals()

    def losses(self, output: Tensor, target: Tensor) -> Tensor:
        """Return (b,) (y - eta)^2 / 2."""
        return row_sums(0.5 * (target - output).square())

    def constant(self, target: Tensor, precision: Tensor | None) -> None:
        """Return None: the normalisation goes with the variance."""
        return

    def residual(self, index: Tensor, target: Tensor) -> Tensor:
        """Return (n,) y - eta."""
        return target - index

    def curvature(self, index: Tensor, target: Tensor) -> None:
        """Return None: the curvature is one."""
        return

    def start(self, target: Tensor, mean: Tensor) -> Tensor:
        """Return y."""
        return target

    def variance(self, index: Tensor) -> None:
        """Return None: it is the same for every row."""
        return

    def expected_curvature(self, output: Tensor) -> Tensor:
        """Return ones."""
        return torch.ones_like(output)

    def mean(self, output: Tensor) -> Tensor:
        """Return the output itself."""
        return output

    def anscombe(self, value: Tensor) -> Tensor:
        """Return the value: V is one."""
        return value

    def saturated(self, target: Tensor) -> Tensor:
        """Return zeros."""
        return torch.zeros_like(target)

    def draw(self, index: Tensor, spread: Tensor, uniform: Tensor) -> Tensor:
        """Return (R, n) the mean and normal errors."""
        quantiles: Tensor = torch.special.ndtri(uniform)
        return index + spread * quantiles

    def distribution(self, mean: np.ndarray, scale: float) -> Any:
        """Return the normal distribution."""
        return stats.norm(mean, math.sqrt(scale))


@dataclass(frozen=True)
class GaussianMeanVariance(OutputLoss):
    """Minus the log-likelihood of y with mean and variance v: (log v + (y - mean)^2 / v) / 2.

    The output is (b, ..., 2), mean and variance last. It is the loss of ``nn.GaussianNLLLoss``.

    Attributes
    ----------
    floor : float
        The least variance, `eps` in torch.
    """

    floor: float = 1e-6

    dispersion = Unity()
    support = Reals()
    elementwise = False

    def losses(self, output: Tensor, target: Tensor) -> Tensor:
        """Return (b,) the losses."""
        mean, variance = output[..., 0], output[..., 1].clamp_min(self.floor)
        return row_sums(0.5 * (torch.log(variance) + (target - mean).square() / variance))

    def constant(self, target: Tensor, precision: Tensor | None) -> Tensor:
        """Return (b,) log(2 pi) / 2 for each number, times w."""
        constant = row_sums(torch.full_like(target, 0.5 * math.log(2.0 * math.pi)))
        return constant if precision is None else precision * constant

    def expected_curvature(self, output: Tensor) -> Tensor:
        """Return 1 / v for the mean and 1 / (2 v^2) for the variance."""
        variance = output[..., 1].clamp_min(self.floor)
        return torch.stack([variance.reciprocal(), 0.5 * variance.square().reciprocal()], -1)

    def mean(self, output: Tensor) -> Tensor:
        """Return the mean."""
        return output[..., 0]
