"""Hurdles: whether there is a count at all by one equation, and which by the other."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from betahat.data.design import Design
from betahat.errors import EstimationError
from betahat.objectives.excess_zeros import ExcessZeros, Fitter, log_share, share_curvature
from betahat.objectives.indices import LinearIndices
from betahat.objectives.poisson import PoissonIndices, PoissonLog

# A solver that has not come to an end at such an alpha follows a ridge along which it grows.
_ENDLESS = 1e2


@dataclass(frozen=True)
class Hurdle(ExcessZeros):
    """P(y > 0) by one equation, and counts that are positive by the other: P(y) = P(y > 0) f(y) / (1 - f(0)).

    The indices are that of the mean of f, that of P(y > 0), and alpha. With L = log f(0) and h = 1 / (e^-L - 1), d log(1 - f(0)) = -h dL, and
    d2 log(1 - f(0)) = -h d2L - h (1 + h) dL dL'.

    References
    ----------
    Mullahy (1986), Journal of Econometrics 33(3).
    """

    second = "zero"
    poisson = (
        "The positive counts vary no more than those of a Poisson distribution, so that alpha goes to zero, where there are no standard errors; use "
        "HurdlePoisson."
    )
    separation = (
        "some rows have nothing but zeros, or none, or no count above one. Leave columns out, or merge categories."
    )

    def stalled(self, params: Tensor) -> str | None:
        """Say that alpha has no bound, where positive counts become those of a logarithmic series."""
        if len(self.equations) == 2 or float(params[-1]) < _ENDLESS:
            return None
        return (
            "alpha grows without end, and the mean of the counts before their zeros are taken away goes to zero: positive counts spread more than "
            "those of any negative binomial. Use HurdlePoisson with robust errors, or ZeroInflatedNegativeBinomialP."
        )

    @property
    def boundary(self) -> tuple[LinearIndices, ...]:
        """Poisson counts."""
        without = replace(self, counts=PoissonIndices(equations=()), equations=self.equations[:2])
        return (without,) if len(self.equations) > 2 else ()

    def first_without_alpha(self, design: Design, fit: Fitter) -> Tensor:
        """Return the estimates of a Poisson regression, or zeros where there are none, and zeros, where P(y > 0) is a half."""
        counts, zeros = self.places(design.width)
        start = torch.zeros(len(counts) + len(zeros), dtype=torch.float64, device=design.device)
        with suppress(EstimationError):  # what the model of both has to say tells more
            start[: len(counts)] = fit(PoissonLog(), design.select(counts))
        return start

    def weight(self, index: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
        """Return ones where y > 0, and there f(0) / (1 - f(0)), how many zeros go with such a count."""
        some = (target > 0.0).to(index)
        return some, some * self._odds(self.parts(index)[1])

    def losses(self, output: Tensor, target: Tensor) -> Tensor:
        """Return (...,) -log P(y), less log y!."""
        zeros, at = self.parts(output)
        above = log_share(self.zeros, zeros, 1.0) - self.counts.losses(at, target) - self._log_above(at)
        return -torch.where(target == 0.0, log_share(self.zeros, zeros, 0.0), above)

    def parts(self, index: Tensor) -> tuple[Tensor, Tensor]:
        """Return the second index, and the others."""
        return index[..., 1], torch.cat([index[..., :1], index[..., 2:]], -1)

    def joined(self, zeros: Tensor, counts: Tensor) -> Tensor:
        """Put the zeros' second."""
        return torch.cat([counts[..., :1], zeros[..., None], counts[..., 1:]], -1)

    def main_share(self, index: Tensor) -> Tensor:
        """Return (...,) P(y > 0) / (1 - f(0))."""
        zeros, at = self.parts(index)
        return torch.exp(log_share(self.zeros, zeros, 1.0) - self._log_above(at))

    def main_probability(self, index: Tensor) -> Tensor:
        """Return (...,) P(y > 0)."""
        return torch.exp(log_share(self.zeros, self.parts(index)[0], 1.0))

    def main_level(self, index: Tensor, uniform: Tensor) -> Tensor:
        """Return (R, n) f(0) + (1 - f(0)) (u - P(0)) / P(y > 0), and zero where u is not above P(0)."""
        zeros, at = self.parts(index)
        none, some = (torch.exp(log_share(self.zeros, zeros, answer)) for answer in (0.0, 1.0))
        above = torch.exp(self._log_above(at))
        return torch.where(uniform > none, (1.0 - above) + above * (uniform - none) / some, 0.0)

    def residual(self, index: Tensor, target: Tensor, mean: Tensor) -> Tensor:
        """Return (..., q) the derivatives of log P(y)."""
        zeros, at = self.parts(index)
        some = (target > 0.0).to(at)
        expected = self.counts.mean(at)
        own = self.counts.residual(at, target, expected)
        zero = self.counts.residual(at, torch.zeros_like(target), expected)
        counts = some[..., None] * (own + self._odds(at)[..., None] * zero)
        return self.joined(self.zeros.residual(zeros, some), counts)

    def curvature(self, index: Tensor, target: Tensor, mean: Tensor) -> Tensor:
        """Return (..., q, q) d2l/deta deta'."""
        zeros, at = self.parts(index)
        some = (target > 0.0).to(at)
        above = self.counts.curvature(at, target, self.counts.mean(at))
        return self._curvature(at, share_curvature(self.zeros, zeros, some), some, above)

    def expected_curvature(self, output: Tensor) -> Tensor:
        """Return (b, q, q) Fisher's information; where y > 0 the curvature of f is (E - f(0) times that of zero) / (1 - f(0))."""
        zeros, at = self.parts(output)
        nothing = torch.zeros_like(zeros)
        zero = self.counts.curvature(at, nothing, self.counts.mean(at))
        above = torch.exp(self._log_above(at))[..., None, None]
        own = (self.counts.expected_curvature(at) - (1.0 - above) * zero) / above
        some = torch.exp(log_share(self.zeros, zeros, 1.0))
        return self._curvature(at, self.zeros.expected_curvature(zeros), some, own)

    def _curvature(self, at: Tensor, by_zeros: Tensor, some: Tensor, above: Tensor) -> Tensor:
        """(..., q, q), given the (...,) curvature of the zeros' equation, shares of y > 0, and the (..., m, m) curvature of f there."""
        nothing, expected, h = torch.zeros_like(some), self.counts.mean(at), self._odds(at)[..., None, None]
        slope, second = self.counts.residual(at, nothing, expected), self.counts.curvature(at, nothing, expected)
        steep = slope[..., :, None] * slope[..., None, :]
        counts = some[..., None, None] * (above + h * second - h * (1.0 + h) * steep)
        width = counts.shape[-1]
        found = counts.new_zeros(*counts.shape[:-2], width + 1, width + 1)
        places = torch.tensor([0, *range(2, width + 1)], device=counts.device)
        found[..., places[:, None], places] = counts
        found[..., 1, 1] = by_zeros
        return found

    def _log_above(self, at: Tensor) -> Tensor:
        """Return (...,) log(1 - f(0))."""
        return torch.log(-torch.expm1(-self.counts.losses(at, torch.zeros_like(at[..., 0]))))

    def _odds(self, at: Tensor) -> Tensor:
        """Return (...,) f(0) / (1 - f(0))."""
        return torch.expm1(self.counts.losses(at, torch.zeros_like(at[..., 0]))).reciprocal()
