"""Distributions of the error of a latent variable: densities, and probabilities of intervals with derivatives that keep their digits in the tails.

With P = F(b) - F(a), derivatives of log P are f(b) / P and -f(a) / P, which are 0 / 0 in the tails unless each distribution says them in
its own way. An end at infinity is written as `END` of either sign, so that no product of infinity and zero occurs.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass

import torch
from torch import Tensor

# Its fourth power is a number, and no distribution has a probability beyond.
END = 1e50
# e^300 is beyond any probability, and its square is a number.
_LARGEST = 300.0
# Below, four terms of a series are exact.
_SMALL = 1e-4


@dataclass(frozen=True, eq=False)
class Interval:
    """The logarithm of P = F(b) - F(a) and its derivatives, (...,) each.

    Attributes
    ----------
    lower, upper : Tensor
        By a and by b.
    lower_lower, lower_upper, upper_upper : Tensor
        The second ones.
    """

    lower: Tensor
    upper: Tensor
    lower_lower: Tensor
    lower_upper: Tensor
    upper_upper: Tensor

    def mirrored(self) -> Interval:
        """Return the derivatives of log P of -z between -b and -a, by a and b."""
        return Interval(-self.upper, -self.lower, self.upper_upper, self.lower_upper, self.lower_lower)


class Latent(ABC):
    """A distribution of errors z, without location and scale."""

    @abstractmethod
    def log_density(self, z: Tensor) -> Tensor:
        """Return (...,) log f, differentiable by torch."""

    @abstractmethod
    def slopes(self, z: Tensor) -> tuple[Tensor, Tensor]:
        """Return (...,) the first and the second derivative of log f."""

    @abstractmethod
    def log_probability(self, lower: Tensor, upper: Tensor) -> Tensor:
        """Return (...,) log(F(b) - F(a)) for a < b, differentiable by torch."""

    @abstractmethod
    def interval(self, lower: Tensor, upper: Tensor) -> Interval:
        """Return the derivatives of log(F(b) - F(a))."""

    @abstractmethod
    def quantile(self, uniform: Tensor) -> Tensor:
        """Return (...,) z with F(z) = u."""

    @abstractmethod
    def growth(self, scale: Tensor) -> Tensor:
        """Return (...,) E(e^(sigma z)), the mean of a time over e^eta, of (...,) sigma; infinity where there is none."""

    def below(self, z: Tensor) -> Tensor:
        """Return (...,) F."""
        return torch.exp(self.log_probability(torch.full_like(z, -END), z))

    def above(self, z: Tensor) -> Tensor:
        """Return (...,) 1 - F."""
        return torch.exp(self.log_probability(z, torch.full_like(z, END)))


@dataclass(frozen=True)
class LatentLogistic(Latent):
    """F = 1 / (1 + e^-z)."""

    def log_density(self, z: Tensor) -> Tensor:
        """Return log F + log(1 - F)."""
        return -_softplus(z) - _softplus(-z)

    def slopes(self, z: Tensor) -> tuple[Tensor, Tensor]:
        """Return 1 - 2F and -2f."""
        return -torch.tanh(0.5 * z), -2.0 * torch.sigmoid(z) * torch.sigmoid(-z)

    def log_probability(self, lower: Tensor, upper: Tensor) -> Tensor:
        """Return log F(b) + log(1 - F(a)) + log(1 - e^(a - b))."""
        return -_softplus(-upper) - _softplus(lower) + torch.log(-torch.expm1(lower - upper))

    def interval(self, lower: Tensor, upper: Tensor) -> Interval:
        """Return the derivatives of the three terms, q = 1 / (e^(b - a) - 1) being that of the last."""
        q = torch.expm1(upper - lower).reciprocal()
        below, beyond = torch.sigmoid(lower), torch.sigmoid(-upper)
        cross = q * (1.0 + q)
        return Interval(
            -below - q,
            beyond + q,
            -below * torch.sigmoid(-lower) - cross,
            cross,
            -beyond * torch.sigmoid(upper) - cross,
        )

    def quantile(self, uniform: Tensor) -> Tensor:
        """Return log(u / (1 - u))."""
        return torch.logit(uniform)

    def growth(self, scale: Tensor) -> Tensor:
        """Return Gamma(1 + sigma) Gamma(1 - sigma), below 1."""
        return torch.exp(torch.lgamma(1.0 + scale)) * _gamma_below_one(scale)


@dataclass(frozen=True)
class LatentNormal(Latent):
    """F = Phi. With r(z) = phi / Phi, an interval whose middle is not positive has P = Phi(b) (1 - rho), rho = Phi(a) / Phi(b)."""

    def log_density(self, z: Tensor) -> Tensor:
        """Return log phi."""
        return -0.5 * z.square() - 0.5 * math.log(2.0 * math.pi)

    def slopes(self, z: Tensor) -> tuple[Tensor, Tensor]:
        """Return -z and -1."""
        return -z, -torch.ones_like(z)

    def log_probability(self, lower: Tensor, upper: Tensor) -> Tensor:
        """Return log Phi(b) + log(1 - rho), of the interval or of its mirror image."""
        mirror = lower + upper > 0
        a, b = torch.where(mirror, -upper, lower), torch.where(mirror, -lower, upper)
        below: Tensor = torch.special.log_ndtr(b)
        return below + torch.log(-torch.expm1(torch.special.log_ndtr(a) - below))

    def interval(self, lower: Tensor, upper: Tensor) -> Interval:
        """Return g = phi(b) / P and h = phi(a) / P, and -g (b + g), g h and h (a - h)."""
        mirror = lower + upper > 0
        a, b = torch.where(mirror, -upper, lower), torch.where(mirror, -lower, upper)
        tail_a, tail_b = (torch.special.erfcx(-z * math.sqrt(0.5)) for z in (a, b))
        # beyond 27 standard deviations erfcx is infinite, and the ratio nothing
        ratio = tail_a / tail_b * torch.exp(-0.5 * (a - b) * (a + b))
        rest = 1.0 - ratio
        at_b = math.sqrt(2.0 / math.pi) / tail_b / rest
        at_a = math.sqrt(2.0 / math.pi) / tail_a * ratio / rest
        lower_slope, upper_slope = torch.where(mirror, at_b, at_a), torch.where(mirror, at_a, at_b)
        return Interval(
            -lower_slope,
            upper_slope,
            lower_slope * (lower - lower_slope),
            lower_slope * upper_slope,
            -upper_slope * (upper + upper_slope),
        )

    def quantile(self, uniform: Tensor) -> Tensor:
        """Return the normal quantile."""
        found: Tensor = torch.special.ndtri(uniform)
        return found

    def growth(self, scale: Tensor) -> Tensor:
        """Return e^(sigma^2 / 2)."""
        return torch.exp(0.5 * scale.square())


@dataclass(frozen=True)
class LatentSmallest(Latent):
    """F = 1 - exp(-e^z): the logarithm of an exponential time.

    With A = e^a, B = e^b and D = B - A, log P is -A + log(1 - e^-D); its derivative by D is psi / D, psi = D / (e^D - 1).
    """

    def log_density(self, z: Tensor) -> Tensor:
        """Return z - e^z."""
        return z - torch.exp(z.clamp_max(_LARGEST))

    def slopes(self, z: Tensor) -> tuple[Tensor, Tensor]:
        """Return 1 - e^z and -e^z."""
        power = torch.exp(z.clamp_max(_LARGEST))
        return 1.0 - power, -power

    def log_probability(self, lower: Tensor, upper: Tensor) -> Tensor:
        """Return -A + log(1 - e^-D), the logarithm of D in the place of D where that is small."""
        share = -torch.expm1(lower - upper)
        upper = upper.clamp_max(_LARGEST)
        width = torch.exp(upper) * share
        small = width < _SMALL
        near = upper + torch.log(share) - 0.5 * width + width.square() / 24.0
        far = torch.log(-torch.expm1(-torch.where(small, 1.0, width)))
        return -torch.exp(lower.clamp_max(_LARGEST)) + torch.where(small, near, far)

    def interval(self, lower: Tensor, upper: Tensor) -> Interval:
        """Return the derivatives of -A and of the logarithm, A / D and B / D being 1 / (e^(b - a) - 1) and that plus one."""
        start = torch.exp(lower.clamp_max(_LARGEST))
        at_a = torch.expm1(upper - lower).reciprocal()
        at_b = -torch.expm1(lower - upper).reciprocal()
        width = torch.exp(upper.clamp_max(_LARGEST)) / at_b
        psi = torch.where(width > 0, width / torch.expm1(width), 1.0)
        # D + psi - 1, whose digits a small D would cancel
        excess = torch.where(width < _SMALL, width * (0.5 + width / 12.0), width + psi - 1.0)
        cross = psi * (1.0 + excess)
        return Interval(
            -start - psi * at_a,
            psi * at_b,
            -start - psi * at_a - cross * at_a.square(),
            cross * at_a * at_b,
            -psi * at_b * (excess + (1.0 + excess) * at_a),
        )

    def quantile(self, uniform: Tensor) -> Tensor:
        """Return log(-log(1 - u))."""
        return torch.log(-torch.log1p(-uniform))

    def growth(self, scale: Tensor) -> Tensor:
        """Return Gamma(1 + sigma)."""
        return torch.exp(torch.lgamma(1.0 + scale))


@dataclass(frozen=True)
class LatentLargest(Latent):
    """F = exp(-e^-z): minus a smallest value."""

    def log_density(self, z: Tensor) -> Tensor:
        """Return that of -z."""
        return LatentSmallest().log_density(-z)

    def slopes(self, z: Tensor) -> tuple[Tensor, Tensor]:
        """Return those of -z, the first with the other sign."""
        first, second = LatentSmallest().slopes(-z)
        return -first, second

    def log_probability(self, lower: Tensor, upper: Tensor) -> Tensor:
        """Return that of -z."""
        return LatentSmallest().log_probability(-upper, -lower)

    def interval(self, lower: Tensor, upper: Tensor) -> Interval:
        """Return those of -z."""
        return LatentSmallest().interval(-upper, -lower).mirrored()

    def quantile(self, uniform: Tensor) -> Tensor:
        """Return -log(-log u)."""
        return -torch.log(-torch.log(uniform))

    def growth(self, scale: Tensor) -> Tensor:
        """Return Gamma(1 - sigma), below 1."""
        return _gamma_below_one(scale)


@dataclass(frozen=True)
class LatentCauchy(Latent):
    """F = 1/2 + arctan(z) / pi. A difference of two arctangents is one, which keeps its digits far from zero."""

    def log_density(self, z: Tensor) -> Tensor:
        """Return -log(pi (1 + z^2))."""
        return -torch.log1p(z.square()) - math.log(math.pi)

    def slopes(self, z: Tensor) -> tuple[Tensor, Tensor]:
        """Return -2z / (1 + z^2) and -2 (1 - z^2) / (1 + z^2)^2."""
        share = (1.0 + z.square()).reciprocal()
        return -2.0 * z * share, -2.0 * (1.0 - z.square()) * share * share

    def log_probability(self, lower: Tensor, upper: Tensor) -> Tensor:
        """Return the logarithm of the angle of (1 + ab, b - a) over pi."""
        return torch.log(torch.atan2(upper - lower, 1.0 + lower * upper)) - math.log(math.pi)

    def interval(self, lower: Tensor, upper: Tensor) -> Interval:
        """Return g = f(b) / P and h = f(a) / P, and what follows from f' = -2z / (1 + z^2) f."""
        angle = torch.atan2(upper - lower, 1.0 + lower * upper)
        share_a, share_b = (1.0 + lower.square()).reciprocal(), (1.0 + upper.square()).reciprocal()
        at_a, at_b = share_a / angle, share_b / angle
        return Interval(
            -at_a,
            at_b,
            at_a * (2.0 * lower * share_a - at_a),
            at_a * at_b,
            -at_b * (2.0 * upper * share_b + at_b),
        )

    def quantile(self, uniform: Tensor) -> Tensor:
        """Return tan(pi (u - 1/2)), as -1 / tan(pi u)."""
        return -torch.tan(math.pi * uniform).reciprocal()

    def growth(self, scale: Tensor) -> Tensor:
        """Return infinity."""
        return torch.full_like(scale, math.inf)


def _gamma_below_one(scale: Tensor) -> Tensor:
    """Return Gamma(1 - sigma), infinity from 1 on."""
    there = scale < 1.0
    return torch.where(there, torch.exp(torch.lgamma(1.0 - torch.where(there, scale, 0.5))), math.inf)


def _softplus(z: Tensor) -> Tensor:
    """Return log(1 + e^z); torch's own is linear from its threshold on."""
    return torch.nn.functional.softplus(z, threshold=40.0)
