"""The loss of a family of distributions under a link: what a generalised linear model minimises, whatever the two are."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from betahat.objectives.base import LinearIndex, row_sums
from betahat.objectives.dispersion import PEARSON, Dispersion
from betahat.objectives.families import Family
from betahat.objectives.links import Link
from betahat.objectives.support import Support


@dataclass(frozen=True)
class FamilyAndLink(LinearIndex):
    """The loss l(mu, y) of a family at the mean of a link.

    With L = log mu, h = mu / V and e the derivative of log h in L, a prime being one in eta, the residual is (y - mu) h L', and the curvature
    h (mu L'^2 - (y - mu) (e L'^2 + L'')), of which only the first term has an expectation. An index without a mean has an infinite loss.

    Attributes
    ----------
    family : Family
        The distribution of y given its mean.
    link : Link
        The mean of an index.
    dispersion : Dispersion
        What the loss is up to a factor.

    References
    ----------
    McCullagh and Nelder (1989), Generalized Linear Models, section 2.5.
    """

    family: Family
    link: Link
    dispersion: Dispersion = PEARSON

    convex = False

    @property
    def support(self) -> Support:
        """The family's."""
        return self.family.support

    @property
    def domain(self) -> str | None:
        """The link's."""
        return self.link.domain

    def losses(self, output: Tensor, target: Tensor) -> Tensor:
        """Return (b,) l; infinity where there is no mean."""
        mean = self.link.mean(output)
        losses = self.family.losses(mean, self.link.log_mean(output), target)
        return row_sums(losses if self.domain is None else torch.where(self.family.allows(mean), losses, math.inf))

    def residual(self, index: Tensor, target: Tensor) -> Tensor:
        """Return (n,) (y - mu) h L'."""
        mean = self.link.mean(index)
        return (target - mean) * self.family.ratio(mean) * self.link.log_slope(index)

    def curvature(self, index: Tensor, target: Tensor) -> Tensor:
        """Return (n,) h (mu ((1 + e) L'^2 + L'') - y (e L'^2 + L'')); in sums of terms that do not cancel where y is far below mu."""
        mean, square = self.link.mean(index), self.link.log_slope(index).square()
        bend = self.family.elasticity(mean) * square + self.link.log_bend(index)
        return self.family.ratio(mean) * (mean * (square + bend) - target * bend)

    def expected_curvature(self, output: Tensor) -> Tensor:
        """Return mu h L'^2."""
        mean = self.link.mean(output)
        return mean * self.family.ratio(mean) * self.link.log_slope(output).square()

    def start(self, target: Tensor, mean: Tensor) -> Tensor:
        """Return the index of (y + mean) / 2."""
        return self.link.index(0.5 * target + 0.5 * mean)

    def mean(self, output: Tensor) -> Tensor:
        """Return mu."""
        return self.link.mean(output)

    def variance(self, index: Tensor) -> Tensor | None:
        """Return V(mu)."""
        return self.family.variance(self.link.mean(index))

    def constant(self, target: Tensor, precision: Tensor | None) -> Tensor:
        """Return (b,) what minus the log-likelihood has beside the loss."""
        return self.family.constant(
            target, torch.ones((), dtype=target.dtype, device=target.device) if precision is None else precision
        )

    def anscombe(self, value: Tensor) -> Tensor:
        """Return the integral of V^(-1/3)."""
        return self.family.anscombe(value)

    def saturated(self, target: Tensor) -> Tensor:
        """Return l at mu = y."""
        return self.family.saturated(target)

    def draw(self, index: Tensor, spread: Tensor, uniform: Tensor) -> Tensor:
        """Return (R, n) values of y."""
        return self.family.draw(self.link.mean(index), spread, uniform)

    def distribution(self, mean: np.ndarray, scale: float) -> Any:
        """Return the family's distribution."""
        return self.family.distribution(mean, scale)
