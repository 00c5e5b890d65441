"""Link functions of probabilities: logit, probit, cauchit, complementary log-log, log-log, and the logarithm of 1 - mu."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import softplus

from betahat.objectives.links import Link, log_of_rest

# Below, three terms of a series in t = e^eta are exact, and t / (e^t - 1) is 0 / 0 at last; above, e^t overflows at last.
_SMALL, _LARGE = 1e-5, 700.0
# Below, t / (e^t - 1) + t - 1 has lost a digit, and its series has not.
_CANCELLING = 0.1


@dataclass(frozen=True)
class LogitLink(Link):
    """log(mu / (1 - mu))."""

    def index(self, mean: Tensor) -> Tensor:
        """Return the logit."""
        return torch.logit(mean)

    def mean(self, index: Tensor) -> Tensor:
        """Return 1 / (1 + e^-eta)."""
        return torch.sigmoid(index)

    def log_mean(self, index: Tensor) -> Tensor:
        """Return -log(1 + e^-eta)."""
        return -softplus(-index, threshold=40.0)

    def log_slope(self, index: Tensor) -> Tensor:
        """Return 1 - mu."""
        return torch.sigmoid(-index)

    def log_bend(self, index: Tensor) -> Tensor:
        """Return -mu (1 - mu)."""
        return -torch.sigmoid(index) * torch.sigmoid(-index)

    def log_rest(self, index: Tensor) -> Tensor:
        """Return -log(1 + e^eta)."""
        return self.log_mean(-index)

    def rest_slope(self, index: Tensor) -> Tensor:
        """Return -mu."""
        return -torch.sigmoid(index)

    def rest_bend(self, index: Tensor) -> Tensor:
        """Return -mu (1 - mu)."""
        return self.log_bend(index)


@dataclass(frozen=True)
class ProbitLink(Link):
    """The normal quantile of mu."""

    def index(self, mean: Tensor) -> Tensor:
        """Return the probit."""
        found: Tensor = torch.special.ndtri(mean)
        return found

    def mean(self, index: Tensor) -> Tensor:
        """Return Phi(eta)."""
        return 0.5 * torch.erfc(-index / math.sqrt(2.0))  # torch.special.ndtr has no digit left at -8

    def log_mean(self, index: Tensor) -> Tensor:
        """Return log Phi(eta)."""
        found: Tensor = torch.special.log_ndtr(index)
        return found

    def log_slope(self, index: Tensor) -> Tensor:
        """Return phi(eta) / Phi(eta), in which what vanishes in both has gone."""
        hazard: Tensor = math.sqrt(2.0 / math.pi) / torch.special.erfcx(-index * math.sqrt(0.5))
        return hazard

    def log_bend(self, index: Tensor) -> Tensor:
        """Return -r (r + eta), r the slope."""
        slope = self.log_slope(index)
        return -slope * (slope + index)

    def log_rest(self, index: Tensor) -> Tensor:
        """Return log Phi(-eta)."""
        return self.log_mean(-index)

    def rest_slope(self, index: Tensor) -> Tensor:
        """Return -phi(eta) / Phi(-eta)."""
        return -self.log_slope(-index)

    def rest_bend(self, index: Tensor) -> Tensor:
        """Return what log mu has at -eta."""
        return self.log_bend(-index)


@dataclass(frozen=True)
class CauchyLink(Link):
    """The quantile of Cauchy's distribution: the cauchit."""

    def index(self, mean: Tensor) -> Tensor:
        """Return tan(pi (mu - 1/2))."""
        return torch.tan(math.pi * (mean - 0.5))

    def mean(self, index: Tensor) -> Tensor:
        """Return 1/2 + arctan(eta) / pi, as an angle that keeps its digits far below zero."""
        return torch.atan2(torch.ones_like(index), -index) / math.pi

    def log_mean(self, index: Tensor) -> Tensor:
        """Return log mu."""
        return torch.log(self.mean(index))

    def log_slope(self, index: Tensor) -> Tensor:
        """Return 1 / (pi (1 + eta^2) mu)."""
        return (math.pi * (1.0 + index.square()) * self.mean(index)).reciprocal()

    def log_bend(self, index: Tensor) -> Tensor:
        """Return -r (r + 2 eta / (1 + eta^2)), r the slope."""
        slope = self.log_slope(index)
        return -slope * (slope + 2.0 * index / (1.0 + index.square()))

    def log_rest(self, index: Tensor) -> Tensor:
        """Return log mu at -eta."""
        return self.log_mean(-index)

    def rest_slope(self, index: Tensor) -> Tensor:
        """Return minus the slope of log mu at -eta."""
        return -self.log_slope(-index)

    def rest_bend(self, index: Tensor) -> Tensor:
        """Return what log mu has at -eta."""
        return self.log_bend(-index)


@dataclass(frozen=True)
class CLogLogLink(Link):
    """log(-log(1 - mu)), the complementary log-log link: 1 - mu = e^-t with t = e^eta."""

    def index(self, mean: Tensor) -> Tensor:
        """Return log(-log(1 - mu))."""
        return torch.log(-torch.log1p(-mean))

    def mean(self, index: Tensor) -> Tensor:
        """Return 1 - e^-t."""
        return -torch.expm1(-_exp(index))

    def log_mean(self, index: Tensor) -> Tensor:
        """Return log(1 - e^-t), which is eta - t / 2 where t is small."""
        t = _exp(index)
        return _chosen(t < _SMALL, lambda: index - 0.5 * t + t.square() / 24.0, log_of_rest(-t))

    def log_slope(self, index: Tensor) -> Tensor:
        """Return t / (e^t - 1)."""
        return _bernoulli(_exp(index))

    def log_bend(self, index: Tensor) -> Tensor:
        """Return -a (a + t - 1), a the slope."""
        t = _exp(index)
        slope = _bernoulli(t)
        return -slope * _chosen(t < _CANCELLING, lambda: _excess(t), slope + t - 1.0)

    def log_rest(self, index: Tensor) -> Tensor:
        """Return -t."""
        return -_exp(index)

    def rest_slope(self, index: Tensor) -> Tensor:
        """Return -t."""
        return -_exp(index)

    def rest_bend(self, index: Tensor) -> Tensor:
        """Return -t."""
        return -_exp(index)


_COMPLEMENTARY = CLogLogLink()


@dataclass(frozen=True)
class LogLogLink(Link):
    """-log(-log mu): the complementary log-log link of 1 - mu and -eta."""

    def index(self, mean: Tensor) -> Tensor:
        """Return -log(-log mu)."""
        return -torch.log(-torch.log(mean))

    def mean(self, index: Tensor) -> Tensor:
        """Return exp(-e^-eta)."""
        return torch.exp(-_exp(-index))

    def log_mean(self, index: Tensor) -> Tensor:
        """Return -e^-eta."""
        return -_exp(-index)

    def log_slope(self, index: Tensor) -> Tensor:
        """Return e^-eta."""
        return _exp(-index)

    def log_bend(self, index: Tensor) -> Tensor:
        """Return -e^-eta."""
        return -_exp(-index)

    def log_rest(self, index: Tensor) -> Tensor:
        """Return log(1 - mu)."""
        return _COMPLEMENTARY.log_mean(-index)

    def rest_slope(self, index: Tensor) -> Tensor:
        """Return its slope."""
        return -_COMPLEMENTARY.log_slope(-index)

    def rest_bend(self, index: Tensor) -> Tensor:
        """Return its second derivative."""
        return _COMPLEMENTARY.log_bend(-index)


@dataclass(frozen=True)
class LogCLink(Link):
    """log(1 - mu). An index of zero or more has no positive mean."""

    domain = "below 0"

    def index(self, mean: Tensor) -> Tensor:
        """Return log(1 - mu)."""
        return torch.log1p(-mean)

    def mean(self, index: Tensor) -> Tensor:
        """Return 1 - e^eta."""
        return -torch.expm1(index)

    def log_mean(self, index: Tensor) -> Tensor:
        """Return log(1 - e^eta)."""
        return log_of_rest(index)

    def log_slope(self, index: Tensor) -> Tensor:
        """Return -1 / (e^-eta - 1)."""
        return -torch.expm1(-index).reciprocal()

    def log_bend(self, index: Tensor) -> Tensor:
        """Return r (1 - r), r the slope."""
        slope = self.log_slope(index)
        return slope * (1.0 - slope)

    def log_rest(self, index: Tensor) -> Tensor:
        """Return eta."""
        return index

    def rest_slope(self, index: Tensor) -> Tensor:
        """Return ones."""
        return torch.ones_like(index)

    def rest_bend(self, index: Tensor) -> Tensor:
        """Return zeros."""
        return torch.zeros_like(index)


def _exp(index: Tensor) -> Tensor:
    """Return e^eta, or 1e304: a number still, of which none are none."""
    return torch.exp(index.clamp_max(_LARGE))


def _bernoulli(t: Tensor) -> Tensor:
    """Return t / (e^t - 1), whose series has Bernoulli's numbers."""
    held = t.clamp(_SMALL, _LARGE)
    return _chosen(t < _SMALL, lambda: 1.0 - 0.5 * t + t.square() / 12.0, held / torch.expm1(held))


def _excess(t: Tensor) -> Tensor:
    """Return t / (e^t - 1) + t - 1 by its series."""
    square = t.square()
    return t * (0.5 + t * (1 / 12 - square * (1 / 720 - square * (1 / 30240 - square / 1209600))))


def _chosen(where: Tensor, small: Callable[[], Tensor], large: Tensor) -> Tensor:
    """Return (n,) the one where a condition holds and the other elsewhere; the former is not computed if it holds nowhere."""
    return torch.where(where, small(), large) if bool(where.any()) else large
