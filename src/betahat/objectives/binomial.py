"""Binomial losses under any link: shares, and successes out of a number of trials."""

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
from betahat.objectives.bernoulli import incomplete_beta
from betahat.objectives.dispersion import UNITY, Dispersion
from betahat.objectives.links import Link
from betahat.objectives.support import UnitInterval

if TYPE_CHECKING:
    from scipy import stats
else:
    stats = lazily("scipy.stats")


class Binomial(LinearIndex, ABC):
    """The loss -y log mu - (1 - y) log(1 - mu), mu the probability of a yes, and y a share.

    By a = d log mu / d eta and b = -d log(1 - mu) / d eta, the residual is y a - (1 - y) b and the expected curvature a b; no probability is
    rounded to 0 or 1 on the way. An index that is not a probability's has an infinite loss.

    Attributes
    ----------
    link : Link
        The probability of an index.
    dispersion : Dispersion
        What the loss is up to a factor.
    """

    link: Link
    support = UnitInterval()
    convex = False

    @property
    def domain(self) -> str | None:
        """What the link needs for a probability."""
        return self.link.share_domain

    def losses(self, output: Tensor, target: Tensor) -> Tensor:
        """Return (b,) -y log mu - (1 - y) log(1 - mu)."""
        losses = -target * self.link.log_mean(output) - (1.0 - target) * self.link.log_rest(output)
        if self.domain is None:
            return row_sums(losses)
        mean = self.link.mean(output)
        return row_sums(torch.where((mean > 0) & (mean < 1), losses, math.inf))

    def residual(self, index: Tensor, target: Tensor) -> Tensor:
        """Return (n,) y a - (1 - y) b."""
        return target * self.link.log_slope(index) + (1.0 - target) * self.link.rest_slope(index)

    def curvature(self, index: Tensor, target: Tensor) -> Tensor:
        """Return (n,) (1 - y) b' - y a'."""
        return -target * self.link.log_bend(index) - (1.0 - target) * self.link.rest_bend(index)

    def expected_curvature(self, output: Tensor) -> Tensor:
        """Return a b."""
        return -self.link.log_slope(output) * self.link.rest_slope(output)

    def start(self, target: Tensor, mean: Tensor) -> Tensor:
        """Return the index of (y + mean) / 2."""
        return self.link.index(0.5 * target + 0.5 * mean)

    def mean(self, output: Tensor) -> Tensor:
        """Return mu."""
        return self.link.mean(output)

    def variance(self, index: Tensor) -> Tensor:
        """Return mu (1 - mu)."""
        return self.link.mean(index) * torch.exp(self.link.log_rest(index))

    def anscombe(self, value: Tensor) -> Tensor:
        """Return the incomplete beta function B(y; 2/3, 2/3)."""
        return incomplete_beta(value)

    def saturated(self, target: Tensor) -> Tensor:
        """Return (n,) the entropy of a share; zero of 0 and 1."""
        entropy: Tensor = torch.special.xlogy(target, target) + torch.special.xlog1py(1.0 - target, -target)
        return -entropy

    def distribution(self, mean: np.ndarray, scale: float) -> Any:
        """Return Bernoulli's distribution, of one trial."""
        return stats.bernoulli(mean)


@dataclass(frozen=True)
class BinomialShares(Binomial):
    """A yes, a no, or a share of yeses, whose weight is analytic: fractional responses.

    References
    ----------
    Papke and Wooldridge (1996), J. Applied Econometrics 11(6).
    """

    link: Link
    dispersion: Dispersion = UNITY

    def constant(self, target: Tensor, precision: Tensor | None) -> Tensor:
        """Return (b,) -w log of the binomial coefficient of y out of one, as statsmodels has it for shares too; zero of 0 and 1."""
        constant = -_log_choose(torch.ones_like(target), target)
        return constant if precision is None else precision * constant

    def draw(self, index: Tensor, spread: Tensor, uniform: Tensor) -> Tensor:
        """Return (R, n) ones where the uniform number is below mu."""
        return (uniform < self.mean(index)).to(torch.float64)


@dataclass(frozen=True)
class BinomialCounts(Binomial):
    """The share of successes in a number of trials, which is its weight."""

    link: Link
    dispersion: Dispersion = UNITY

    trials = True

    def constant(self, target: Tensor, precision: Tensor | None) -> Tensor:
        """Return (b,) minus the log of the binomial coefficient."""
        trials = torch.ones_like(target) if precision is None else precision
        return -_log_choose(trials, trials * target)

    def draw(self, index: Tensor, spread: Tensor, uniform: Tensor) -> Tensor:
        """Return (R, n) shares of successes, by scipy; there are 1 / spread^2 trials, and where there are none, no successes."""
        trials = torch.where(spread > 0, spread.square().reciprocal(), 0.0).expand(index.shape).round()
        mean = self.mean(index)
        drawn = stats.binom(trials.cpu().numpy(), mean.cpu().numpy()).ppf(uniform.cpu().numpy())
        return torch.as_tensor(drawn).to(uniform) / trials.clamp_min(1.0)


def _log_choose(trials: Tensor, successes: Tensor) -> Tensor:
    """Return (n,) the logarithm of the binomial coefficient."""
    return torch.lgamma(trials + 1.0) - torch.lgamma(successes + 1.0) - torch.lgamma(trials - successes + 1.0)
