"""Location and scale of a number that is censored in some rows: limited dependent variables and times that had not ended."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from betahat.data.design import Design
from betahat.data.engine import Block, fold
from betahat.data.turned import computed
from betahat.errors import EstimationError, OptionError
from betahat.objectives.base import LinearIndex
from betahat.objectives.dispersion import Unity
from betahat.objectives.gaussian import Gaussian
from betahat.objectives.indices import LinearIndices, side_by_side, square
from betahat.objectives.latent import END, Latent
from betahat.objectives.support import Positive, Reals


@dataclass(frozen=True, eq=False)
class Known:
    """What is known of a number.

    Attributes
    ----------
    value : Tensor
        (...,) it, or a bound.
    below, above : Tensor
        (...,) whether it is no more than the value, or no less; neither where it is the value.
    """

    value: Tensor
    below: Tensor
    above: Tensor

    @property
    def exact(self) -> Tensor:
        """(...,) whether it is the value."""
        return ~(self.below | self.above)


@dataclass(frozen=True)
class CensoredLocationScale(LinearIndices, ABC):
    """Minus the log-likelihood of eta + sigma z, z of a known distribution, where some rows tell a bound alone.

    The indices are eta and log sigma; where there is one, sigma is 1. Of a known value the loss is log sigma - log f(z), of a bound minus
    the log of the probability beyond it.
    """

    latent: Latent

    dispersion = Unity()

    @property
    @abstractmethod
    def predictions(self) -> Mapping[str, Callable[[Tensor], Tensor]]:
        """What may be predicted, by name: functions of (m, q) indices to (m,) values; the first is the default."""

    @abstractmethod
    def known(self, target: Tensor) -> Known:
        """Return what (...,) targets tell."""

    def first(self, design: Design, fit: Callable[[LinearIndex | LinearIndices, Design], Tensor]) -> Tensor:
        """Return (k,) least squares of the values, or of bounds in their place, and the logarithm of its residuals' size."""
        plain = replace(design, source=computed(design.source, "endog", ("endog",), self._values))
        slopes = fit(Gaussian(), plain)
        if len(self.equations) == 1:
            return slopes
        squares, rows = fold(plain.source, _Squares(slopes), plain.engine)
        scale = (squares / rows).sqrt().clamp_min(torch.finfo(torch.float64).tiny)
        return torch.cat([slopes, torch.log(scale)[None]])

    def _values(self, y: Tensor) -> Tensor:
        """Return (b,) values, or bounds in their place."""
        return self.known(y.to(torch.float64)).value

    def losses(self, output: Tensor, target: Tensor) -> Tensor:
        """Return (...,) the losses."""
        known, log_scale = self.known(target), self.log_scale(output)
        z = (known.value - output[..., 0]) * torch.exp(-log_scale)
        return torch.where(
            known.exact,
            log_scale - self.latent.log_density(z),
            -self.latent.log_probability(*_interval(z, known.above)),
        )

    def residual(self, index: Tensor, target: Tensor, mean: Tensor) -> Tensor:
        """Return (..., q) l' / sigma, and z l', less one where the value is known; l' the derivative by z."""
        known, log_scale = self.known(target), self.log_scale(index)
        rate = torch.exp(-log_scale)
        z = (known.value - index[..., 0]) * rate
        slope, _ = self._slopes(z, known)
        return side_by_side([rate * slope, z * slope - known.exact.to(z)])[..., : index.shape[-1]]

    def curvature(self, index: Tensor, target: Tensor, mean: Tensor) -> Tensor:
        """Return (..., q, q) l'' / sigma^2, (l' + z l'') / sigma and z l' + z^2 l''."""
        known, log_scale = self.known(target), self.log_scale(index)
        rate = torch.exp(-log_scale)
        z = (known.value - index[..., 0]) * rate
        slope, bend = self._slopes(z, known)
        turned = slope + z * bend
        return _square(rate.square() * bend, rate * turned, z * turned, index.shape[-1])

    def root(self, index: Tensor, target: Tensor, mean: Tensor) -> Tensor:
        """Return (..., 2, q) l''^(1/2) (1 / sigma, z), and (0, 1) where the value is known.

        In b / sigma and 1 / sigma the loss is convex, and this is the root of a row's Hessian there, turned to b and log sigma; what it leaves
        out is the gradient's, which sums to zero.

        References
        ----------
        Olsen (1978), Econometrica 46(5).
        """
        known, log_scale = self.known(target), self.log_scale(index)
        rate = torch.exp(-log_scale)
        z = (known.value - index[..., 0]) * rate
        bend = self._slopes(z, known)[1].clamp_min(0.0).sqrt()
        rows = [[rate * bend, z * bend], [torch.zeros_like(z), known.exact.to(z)]]
        return square(rows)[..., : index.shape[-1]]

    def log_scale(self, output: Tensor) -> Tensor:
        """Return (...,) log sigma; zeros where there is one index."""
        return output[..., 1] if output.shape[-1] > 1 else torch.zeros_like(output[..., 0])

    def _slopes(self, z: Tensor, known: Known) -> tuple[Tensor, Tensor]:
        """Return (...,) the first and the second derivative of a row's loss by z."""
        first, second = self.latent.slopes(z)
        found = self.latent.interval(*_interval(z, known.above))
        slope = torch.where(known.exact, first, torch.where(known.above, found.lower, found.upper))
        bend = torch.where(known.exact, second, torch.where(known.above, found.lower_lower, found.upper_upper))
        return -slope, -bend


@dataclass(frozen=True)
class Limited(CensoredLocationScale):
    """A normal number of which values at or beyond a limit are seen as the limit: the tobit.

    Attributes
    ----------
    left, right : float or None
        The limits.
    """

    left: float | None = None
    right: float | None = None

    support = Reals()

    @property
    def predictions(self) -> Mapping[str, Callable[[Tensor], Tensor]]:
        """The latent mean; E(y) of values between the limits; E(y) of what is seen; the probability of a value between the limits."""
        return {
            "latent": self.shown,
            "conditional": self.conditional,
            "expected": self.mean,
            "probability": self.inside,
        }

    def known(self, target: Tensor) -> Known:
        """Return the value, or a limit that was met."""
        nothing = torch.zeros_like(target, dtype=torch.bool)
        below = nothing if self.left is None else target <= self.left
        above = nothing if self.right is None else target >= self.right
        return Known(target, below, above)

    def constant(self, target: Tensor, precision: Tensor | None) -> None:
        """Return None."""
        return

    def limits(self, output: Tensor) -> tuple[Tensor, Tensor]:
        """Return (...,) the limits, less eta and over sigma."""
        rate = torch.exp(-self.log_scale(output))
        low, high = (
            torch.full_like(rate, end) if limit is None else (limit - output[..., 0]) * rate
            for limit, end in ((self.left, -END), (self.right, END))
        )
        return low, high

    def inside(self, output: Tensor) -> Tensor:
        """Return (...,) the probability of a value between the limits."""
        return torch.exp(self.latent.log_probability(*self.limits(output)))

    def conditional(self, output: Tensor) -> Tensor:
        """Return (...,) E(y) of values between the limits, eta + sigma (phi(a) - phi(b)) / (Phi(b) - Phi(a))."""
        low, high = self.limits(output)
        logs = self.latent.log_probability(low, high)
        ratio = torch.exp(self.latent.log_density(low) - logs) - torch.exp(self.latent.log_density(high) - logs)
        return output[..., 0] + torch.exp(self.log_scale(output)) * ratio

    def mean(self, output: Tensor) -> Tensor:
        """Return (...,) E(y), limits and what lies between them by their probabilities."""
        low, high = self.limits(output)
        mean = self.inside(output) * self.conditional(output)
        mean = mean if self.left is None else mean + self.left * self.latent.below(low)
        return mean if self.right is None else mean + self.right * self.latent.above(high)

    def expected_curvature(self, output: Tensor) -> Tensor:
        """Return (..., 2, 2), from the moments of z between the limits, and what rows at the limits have.

        References
        ----------
        Amemiya (1973), Econometrica 41(6).
        """
        low, high = self.limits(output)
        rate = torch.exp(-self.log_scale(output))
        at_low, at_high = (torch.exp(self.latent.log_density(z)) for z in (low, high))
        inside = self.inside(output)
        first, second = at_low - at_high, inside + low * at_low - high * at_high
        parts = [inside, 2.0 * first, 2.0 * second]
        for z, is_above in ((low, False), (high, True)):
            above = torch.full_like(z, is_above, dtype=torch.bool)
            slope, bend = self._slopes(z, Known(z, ~above, above))
            share = self.latent.above(z) if is_above else self.latent.below(z)
            turned = slope + z * bend
            parts = [
                part + torch.where(share > 0, share * own, 0.0)
                for part, own in zip(parts, (bend, turned, z * turned), strict=True)
            ]
        return _square(rate.square() * parts[0], rate * parts[1], parts[2], output.shape[-1])

    def draw(self, index: Tensor, spread: Tensor, uniform: Tensor) -> Tensor:
        """Return (R, n) values, at most and at least the limits."""
        drawn = index[:, 0] + torch.exp(self.log_scale(index)) * self.latent.quantile(uniform)
        return drawn.clamp(self.left, self.right)


@dataclass(frozen=True)
class Duration(CensoredLocationScale):
    """The logarithm of a time. A target is the time, with a minus sign where it had not ended then."""

    support = Positive()

    @property
    def predictions(self) -> Mapping[str, Callable[[Tensor], Tensor]]:
        """E^eta, as R predicts; eta; the mean of the time; and its median."""
        return {
            "response": lambda index: torch.exp(self.shown(index)),
            "linear": self.shown,
            "mean": self.mean,
            "median": lambda index: self.quantile(index, 0.5),
        }

    def known(self, target: Tensor) -> Known:
        """Return the logarithm, of a time that ended or of one that is longer."""
        return Known(torch.log(target.abs()), torch.zeros_like(target, dtype=torch.bool), target < 0)

    def constant(self, target: Tensor, precision: Tensor | None) -> Tensor:
        """Return (b,) w log t of times that ended, which makes a density of log t one of t."""
        constant = torch.where(target > 0, torch.log(target.abs()), 0.0)
        return constant if precision is None else precision * constant

    def mean(self, output: Tensor) -> Tensor:
        """Return (...,) the mean of the time; infinity where it has none."""
        return torch.exp(output[..., 0]) * self.latent.growth(torch.exp(self.log_scale(output)))

    def quantile(self, output: Tensor, share: float) -> Tensor:
        """Return (...,) the time that a share of times does not reach."""
        z = self.latent.quantile(output.new_tensor(share))
        return torch.exp(output[..., 0] + torch.exp(self.log_scale(output)) * z)

    def expected_curvature(self, output: Tensor) -> Tensor:
        """Refuse: when a time would have been censored is not known of those that ended."""
        raise OptionError(
            "bread='expected' needs the distribution of what is seen, and when a time would have been censored is not known of times that "
            "ended; pass bread='observed' or 'opg'."
        )

    def draw(self, index: Tensor, spread: Tensor, uniform: Tensor) -> Tensor:
        """Refuse: when a drawn time would be censored is not known."""
        raise EstimationError(
            "The parametric bootstrap draws times, and when a drawn time would be censored is not known of rows whose time ended; use "
            "kind='pairs' or 'bayesian'."
        )


@dataclass(frozen=True, eq=False)
class _Squares:
    """The sum of squared residuals of (k,) coefficients, and of weights, of a block."""

    slopes: Tensor

    def __call__(self, block: Block) -> tuple[Tensor, Tensor]:
        residual = block["endog"] - block["exog"] @ self.slopes
        scale = torch.ones_like(residual)
        for often in (block.get("weights"), block.get("counts")):
            scale = scale if often is None else scale * often
        return (scale * residual.square()).sum(), scale.sum()


def _interval(z: Tensor, above: Tensor) -> tuple[Tensor, Tensor]:
    """Return (...,) the ends of what is beyond z, above it or below."""
    return torch.where(above, z, -END), torch.where(above, END, z)


def _square(first: Tensor, mixed: Tensor, second: Tensor, width: int) -> Tensor:
    """Return (..., q, q) symmetric matrices of their entries; the first entry alone where q is 1."""
    if width == 1:
        return first[..., None, None]
    return square([[first, mixed], [mixed, second]])
