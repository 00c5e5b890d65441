"""Link functions: what the mean of y is of a linear index eta, by the logarithms of mu and of 1 - mu, which keep their digits in the tails."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor


class Link(ABC):
    """A link: mu = E(y) is a function of eta = x'b + offset.

    Logarithms have derivatives that neither vanish nor overflow before the index does. What a link says of 1 - mu is for families whose mean is
    a probability.

    Attributes
    ----------
    domain, share_domain : str or None
        What the index must be for there to be a positive mean, and one between 0 and 1; None if it may be any number.
    """

    domain: ClassVar[str | None] = None

    @property
    def share_domain(self) -> str | None:
        """The domain, where the mean is a probability."""
        return self.domain

    @abstractmethod
    def index(self, mean: Tensor) -> Tensor:
        """Return (n,) the index of (n,) means."""

    @abstractmethod
    def mean(self, index: Tensor) -> Tensor:
        """Return (n,) mu."""

    @abstractmethod
    def log_mean(self, index: Tensor) -> Tensor:
        """Return (n,) log mu; NaN where mu is not positive."""

    @abstractmethod
    def log_slope(self, index: Tensor) -> Tensor:
        """Return (n,) d log mu / d eta."""

    @abstractmethod
    def log_bend(self, index: Tensor) -> Tensor:
        """Return (n,) d2 log mu / d eta2."""

    def log_rest(self, index: Tensor) -> Tensor:
        """Return (n,) log(1 - mu)."""
        return log_of_rest(self.log_mean(index))

    def rest_slope(self, index: Tensor) -> Tensor:
        """Return (n,) d log(1 - mu) / d eta."""
        return -self.log_slope(index) * self._odds(index)

    def rest_bend(self, index: Tensor) -> Tensor:
        """Return (n,) d2 log(1 - mu) / d eta2."""
        odds = self._odds(index)
        return -odds * (self.log_bend(index) + self.log_slope(index).square() * (1.0 + odds))

    def _odds(self, index: Tensor) -> Tensor:
        """Return (n,) mu / (1 - mu)."""
        return torch.expm1(-self.log_mean(index)).reciprocal()


@dataclass(frozen=True)
class LogLink(Link):
    """log mu."""

    @property
    def share_domain(self) -> str:
        """Below zero."""
        return "below 0"

    def index(self, mean: Tensor) -> Tensor:
        """Return log mu."""
        return torch.log(mean)

    def mean(self, index: Tensor) -> Tensor:
        """Return e^eta."""
        return torch.exp(index)

    def log_mean(self, index: Tensor) -> Tensor:
        """Return eta."""
        return index

    def log_slope(self, index: Tensor) -> Tensor:
        """Return ones."""
        return torch.ones_like(index)

    def log_bend(self, index: Tensor) -> Tensor:
        """Return zeros."""
        return torch.zeros_like(index)


@dataclass(frozen=True)
class PowerLink(Link):
    """mu^power: the identity, the inverse, the square root, ... An index of zero or less has no positive mean.

    Attributes
    ----------
    power : float
        Any number but zero.
    """

    power: float = 1.0

    domain = "above 0"

    @property
    def share_domain(self) -> str:
        """Between 0 and 1, or above 1 of a negative power."""
        return "between 0 and 1" if self.power > 0 else "above 1"

    def index(self, mean: Tensor) -> Tensor:
        """Return mu^power."""
        return mean if self.power == 1.0 else mean**self.power

    def mean(self, index: Tensor) -> Tensor:
        """Return eta^(1 / power); NaN where eta is negative, unless the power is 1 or -1."""
        if self.power == 1.0:
            return index
        if self.power == -1.0:
            return index.reciprocal()
        return torch.where(index >= 0, index.clamp_min(0.0) ** (1.0 / self.power), torch.nan)

    def log_mean(self, index: Tensor) -> Tensor:
        """Return log(eta) / power."""
        return torch.log(index) / self.power

    def log_slope(self, index: Tensor) -> Tensor:
        """Return 1 / (power eta)."""
        return (self.power * index).reciprocal()

    def log_bend(self, index: Tensor) -> Tensor:
        """Return -1 / (power eta^2)."""
        return -self.power * self.log_slope(index).square()

    def rest_bend(self, index: Tensor) -> Tensor:
        """Return what the other derivatives make it, without the terms that cancel."""
        odds = self._odds(index)
        return -odds * self.log_slope(index).square() * (1.0 - self.power + odds)


@dataclass(frozen=True)
class NegativeBinomialLink(Link):
    """log(mu / (mu + 1 / alpha)), the canonical link of a negative binomial distribution. An index of zero or more has no mean.

    Attributes
    ----------
    alpha : float
        Above zero.
    """

    alpha: float = 1.0

    domain = "below 0"

    def index(self, mean: Tensor) -> Tensor:
        """Return -log(1 + 1 / (alpha mu))."""
        return -torch.log1p((self.alpha * mean).reciprocal())

    def mean(self, index: Tensor) -> Tensor:
        """Return 1 / (alpha (e^-eta - 1))."""
        return (self.alpha * torch.expm1(-index)).reciprocal()

    def log_mean(self, index: Tensor) -> Tensor:
        """Return -log(alpha (e^-eta - 1)), which far below 0 is eta - log alpha."""
        return index - torch.log(-torch.expm1(index)) - math.log(self.alpha)

    def log_slope(self, index: Tensor) -> Tensor:
        """Return 1 / (1 - e^eta)."""
        return -torch.expm1(index).reciprocal()

    def log_bend(self, index: Tensor) -> Tensor:
        """Return e^eta / (1 - e^eta)^2."""
        return torch.exp(index) * self.log_slope(index).square()


def log_of_rest(log_share: Tensor) -> Tensor:
    """Return log(1 - p) from log p, by whichever of two forms keeps its digits."""
    return torch.where(
        log_share > -math.log(2.0), torch.log(-torch.expm1(log_share)), torch.log1p(-torch.exp(log_share))
    )
