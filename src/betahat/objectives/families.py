"""Families of distributions by their mean: the variance, the loss that goes with it, and what else a generalised linear model asks of y."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from betahat.errors import EstimationError
from betahat.lazy import lazily
from betahat.objectives.quantiles import gamma_quantile, inverse_gaussian_quantile, least_count
from betahat.objectives.support import NonNegative, Positive, Reals, Support

if TYPE_CHECKING:
    from scipy import special, stats
else:
    special = lazily("scipy.special")
    stats = lazily("scipy.stats")


class Family(ABC):
    """A family of distributions with mean mu and variance phi V(mu) / w.

    Its loss l(mu, y) is phi times minus the log-likelihood, up to a constant: dl / dmu = -(y - mu) / V.
    """

    @property
    @abstractmethod
    def support(self) -> Support:
        """The values that y may have."""

    @abstractmethod
    def allows(self, mean: Tensor) -> Tensor:
        """Return (n,) whether each number can be a mean."""

    @abstractmethod
    def losses(self, mean: Tensor, log_mean: Tensor, target: Tensor) -> Tensor:
        """Return (n,) l, of mu and its logarithm, which has digits where mu has none."""

    @abstractmethod
    def ratio(self, mean: Tensor) -> Tensor:
        """Return (n,) mu / V."""

    @abstractmethod
    def elasticity(self, mean: Tensor) -> Tensor | float:
        """Return (n,) or one number, the derivative of log(mu / V) in log mu."""

    @abstractmethod
    def variance(self, mean: Tensor) -> Tensor | None:
        """Return (n,) V; None means the same for every row."""

    @abstractmethod
    def saturated(self, target: Tensor) -> Tensor:
        """Return (n,) l at mu = y."""

    @abstractmethod
    def constant(self, target: Tensor, precision: Tensor) -> Tensor:
        """Return (n,) what minus the log-likelihood has beside l w / phi, of (n,) y and (n,) or () w / phi."""

    @abstractmethod
    def anscombe(self, value: Tensor) -> Tensor:
        """Return (n,) the integral of V^(-1/3)."""

    @abstractmethod
    def draw(self, mean: Tensor, spread: Tensor, uniform: Tensor) -> Tensor:
        """Return (R, n) quantiles of y at (R, n) uniform numbers; `spread` is (n,) or () the root of phi / w."""

    @abstractmethod
    def distribution(self, mean: np.ndarray, scale: float) -> Any:
        """Return scipy's distribution of y."""


@dataclass(frozen=True)
class GaussianFamily(Family):
    """Any numbers, whose variance is the same for all, l = (y - mu)^2 / 2."""

    support = Reals()

    def allows(self, mean: Tensor) -> Tensor:
        """Return whether each is a number."""
        return torch.isfinite(mean)

    def losses(self, mean: Tensor, log_mean: Tensor, target: Tensor) -> Tensor:
        """Return (y - mu)^2 / 2."""
        return 0.5 * (target - mean).square()

    def ratio(self, mean: Tensor) -> Tensor:
        """Return mu."""
        return mean

    def elasticity(self, mean: Tensor) -> float:
        """Return one."""
        return 1.0

    def variance(self, mean: Tensor) -> None:
        """Return None."""
        return

    def saturated(self, target: Tensor) -> Tensor:
        """Return zeros."""
        return torch.zeros_like(target)

    def constant(self, target: Tensor, precision: Tensor) -> Tensor:
        """Return log(2 pi phi / w) / 2."""
        return (0.5 * torch.log(2.0 * math.pi / precision)).expand_as(target)

    def anscombe(self, value: Tensor) -> Tensor:
        """Return y."""
        return value

    def draw(self, mean: Tensor, spread: Tensor, uniform: Tensor) -> Tensor:
        """Return the mean and normal errors."""
        quantiles: Tensor = torch.special.ndtri(uniform)
        return mean + spread * quantiles

    def distribution(self, mean: np.ndarray, scale: float) -> Any:
        """Return the normal distribution."""
        return stats.norm(mean, math.sqrt(scale))


class PowerVariance(Family, ABC):
    """Families with V = mu^p: l = y mu^(1-p) / (p - 1) + mu^(2-p) / (2 - p), with logarithms where an exponent is zero.

    Attributes
    ----------
    p : float
        The power, 1 or more.
    """

    @property
    @abstractmethod
    def p(self) -> float:
        """The power."""

    def allows(self, mean: Tensor) -> Tensor:
        """Return whether each is positive."""
        return mean > 0

    def losses(self, mean: Tensor, log_mean: Tensor, target: Tensor) -> Tensor:
        """Return the general form; y / (2 mu^2) - 1 / mu of p = 3 is also less (y / mu - 1)^2 / (2 y), whose digits go where mu is far above y."""
        rise = mean ** (1.0 - self.p) / (self.p - 1.0)
        return target * rise + mean ** (2.0 - self.p) / (2.0 - self.p)

    def ratio(self, mean: Tensor) -> Tensor:
        """Return mu^(1 - p)."""
        return mean ** (1.0 - self.p)

    def elasticity(self, mean: Tensor) -> float:
        """Return 1 - p."""
        return 1.0 - self.p

    def variance(self, mean: Tensor) -> Tensor:
        """Return mu^p."""
        return mean**self.p

    def saturated(self, target: Tensor) -> Tensor:
        """Return y^(2 - p) / ((p - 1) (2 - p))."""
        return target ** (2.0 - self.p) / ((self.p - 1.0) * (2.0 - self.p))

    def anscombe(self, value: Tensor) -> Tensor:
        """Return y^c / c, c = 1 - p / 3, or log y."""
        c = 1.0 - self.p / 3.0
        return torch.log(value) if c == 0.0 else value**c / c


@dataclass(frozen=True)
class PoissonFamily(PowerVariance):
    """Counts, whose variance is their mean."""

    support = NonNegative()
    p = 1.0

    def losses(self, mean: Tensor, log_mean: Tensor, target: Tensor) -> Tensor:
        """Return mu - y log mu."""
        return mean - target * log_mean

    def ratio(self, mean: Tensor) -> Tensor:
        """Return ones."""
        return torch.ones_like(mean)

    def saturated(self, target: Tensor) -> Tensor:
        """Return y - y log y."""
        perfect: Tensor = target - torch.special.xlogy(target, target)
        return perfect

    def constant(self, target: Tensor, precision: Tensor) -> Tensor:
        """Return w log(y!) / phi."""
        return precision * torch.lgamma(target + 1.0)

    def draw(self, mean: Tensor, spread: Tensor, uniform: Tensor) -> Tensor:
        """Return counts: Q(k + 1, mean) = P(y <= k)."""
        return least_count(lambda k: torch.special.gammaincc(k + 1.0, mean.expand_as(uniform)), mean, uniform)

    def distribution(self, mean: np.ndarray, scale: float) -> Any:
        """Return Poisson's distribution."""
        return stats.poisson(mean)


@dataclass(frozen=True)
class GammaFamily(PowerVariance):
    """Positive numbers whose standard deviation is proportional to their mean."""

    support = Positive()
    p = 2.0

    def losses(self, mean: Tensor, log_mean: Tensor, target: Tensor) -> Tensor:
        """Return y / mu + log mu."""
        return target / mean + log_mean

    def ratio(self, mean: Tensor) -> Tensor:
        """Return 1 / mu."""
        return mean.reciprocal()

    def saturated(self, target: Tensor) -> Tensor:
        """Return 1 + log y."""
        return 1.0 + torch.log(target)

    def constant(self, target: Tensor, precision: Tensor) -> Tensor:
        """Return log Gamma(v) - v log(v y) + log y, v = w / phi the shape."""
        return torch.lgamma(precision) - precision * torch.log(precision * target) + torch.log(target)

    def draw(self, mean: Tensor, spread: Tensor, uniform: Tensor) -> Tensor:
        """Return values of shape 1 / spread^2."""
        shape = spread.square().reciprocal()
        return gamma_quantile(shape.expand_as(uniform), uniform) * mean / shape

    def distribution(self, mean: np.ndarray, scale: float) -> Any:
        """Return the gamma distribution of shape 1 / scale."""
        return stats.gamma(1.0 / scale, scale=mean * scale)


@dataclass(frozen=True)
class InverseGaussianFamily(PowerVariance):
    """Positive numbers whose variance is proportional to the cube of their mean."""

    support = Positive()
    p = 3.0

    def constant(self, target: Tensor, precision: Tensor) -> Tensor:
        """Return v / (2 y) + log(2 pi y^3 / v) / 2, v = w / phi."""
        logs = math.log(2.0 * math.pi) + 3.0 * torch.log(target) - torch.log(precision)
        return 0.5 * (precision / target + logs)

    def draw(self, mean: Tensor, spread: Tensor, uniform: Tensor) -> Tensor:
        """Return values of variance spread^2 mu^3."""
        shape = (mean * spread.square()).reciprocal()
        return mean * inverse_gaussian_quantile(shape.expand_as(uniform), uniform)

    def distribution(self, mean: np.ndarray, scale: float) -> Any:
        """Return the inverse Gaussian distribution of variance scale * mean^3."""
        return stats.invgauss(mean * scale, scale=1.0 / scale)


@dataclass(frozen=True)
class TweedieFamily(PowerVariance):
    """V = mu^p: between 1 and 2 sums of a Poisson number of gamma variables, with a probability of zero; from 2 on positive numbers.

    Attributes
    ----------
    p : float
        The power, more than 1 and not 2.
    eql : bool
        Whether the log-likelihood is Nelder and Pregibon's extended quasi-likelihood.

    References
    ----------
    Jorgensen (1987), JRSS B 49(2). Dunn and Smyth (2005), Statistics and Computing 15(4). Kaas (2005) for the extended quasi-likelihood, as
    statsmodels has it.
    """

    p: float = 1.5
    eql: bool = False

    @property
    def support(self) -> Support:
        """Zero is among the values for powers below 2."""
        return NonNegative() if self.p < 2.0 else Positive()

    def constant(self, target: Tensor, precision: Tensor) -> Tensor:
        """Return minus the logarithm of Wright's series over y, or what the extended quasi-likelihood has; NaN for powers above 2."""
        if self.eql:
            logs = self.p * torch.log(target) + torch.log(2.0 * math.pi / precision)
            return 0.5 * logs - precision * self.saturated(target)
        if self.p > 2.0:
            return torch.full_like(target, math.nan)
        shape = (2.0 - self.p) / (self.p - 1.0)
        positive = torch.where(target > 0, target, 1.0)
        x = (positive * precision / (self.p - 1.0)) ** shape * precision / (2.0 - self.p)
        series = torch.as_tensor(special.log_wright_bessel(shape, 0.0, x.cpu().numpy())).to(target)
        return torch.where(target > 0, torch.log(positive) - series, 0.0)

    def draw(self, mean: Tensor, spread: Tensor, uniform: Tensor) -> Tensor:
        """Refuse."""
        raise _no_tweedie("The parametric bootstrap draws y from its distribution")

    def distribution(self, mean: np.ndarray, scale: float) -> Any:
        """Refuse."""
        raise _no_tweedie("get_distribution returns one of scipy's distributions")


def _no_tweedie(what: str) -> EstimationError:
    return EstimationError(
        f"{what}, which the Tweedie family does not have here: neither its distribution function nor its quantiles have a closed form; use the "
        "pairs or the score bootstrap for errors, or the Gamma or Poisson family."
    )


@dataclass(frozen=True)
class NegativeBinomialFamily(Family):
    """Counts with V = mu + alpha mu^2: l = log(1 + alpha mu) / alpha - y log(mu / (1 + alpha mu)).

    Attributes
    ----------
    alpha : float
        Above zero.
    """

    alpha: float = 1.0

    support = NonNegative()

    def allows(self, mean: Tensor) -> Tensor:
        """Return whether each is positive."""
        return mean > 0

    def losses(self, mean: Tensor, log_mean: Tensor, target: Tensor) -> Tensor:
        """Return l."""
        logarithm = torch.log1p(self.alpha * mean)
        return logarithm / self.alpha - target * (log_mean - logarithm)

    def ratio(self, mean: Tensor) -> Tensor:
        """Return 1 / (1 + alpha mu)."""
        return (1.0 + self.alpha * mean).reciprocal()

    def elasticity(self, mean: Tensor) -> Tensor:
        """Return -alpha mu / (1 + alpha mu)."""
        scaled = self.alpha * mean
        return -scaled / (1.0 + scaled)

    def variance(self, mean: Tensor) -> Tensor:
        """Return mu (1 + alpha mu)."""
        return mean * (1.0 + self.alpha * mean)

    def saturated(self, target: Tensor) -> Tensor:
        """Return l at mu = y."""
        logarithm = torch.log1p(self.alpha * target)
        perfect: Tensor = logarithm / self.alpha - torch.special.xlogy(target, target) + target * logarithm
        return perfect

    def constant(self, target: Tensor, precision: Tensor) -> Tensor:
        """Return w / phi times log(y! Gamma(1 / alpha) / Gamma(y + 1 / alpha)) - y log alpha."""
        shape = target.new_tensor(1.0 / self.alpha)
        gammas = torch.lgamma(target + 1.0) + torch.lgamma(shape) - torch.lgamma(target + shape)
        return precision * (gammas - target * math.log(self.alpha))

    def anscombe(self, value: Tensor) -> Tensor:
        """Return 3/2 y^(2/3) F(1/3, 2/3; 5/3; -alpha y), F the hypergeometric function, for which torch has none."""
        series = special.hyp2f1(2 / 3, 1 / 3, 5 / 3, -self.alpha * value.detach().cpu().numpy())
        return 1.5 * value ** (2.0 / 3.0) * torch.as_tensor(series).to(value)

    def draw(self, mean: Tensor, spread: Tensor, uniform: Tensor) -> Tensor:
        """Return counts, by scipy."""
        drawn = self.distribution(mean.cpu().numpy(), 1.0).ppf(uniform.cpu().numpy())
        return torch.as_tensor(drawn).to(uniform)

    def distribution(self, mean: np.ndarray, scale: float) -> Any:
        """Return the negative binomial distribution."""
        return stats.nbinom(1.0 / self.alpha, 1.0 / (1.0 + self.alpha * mean))
