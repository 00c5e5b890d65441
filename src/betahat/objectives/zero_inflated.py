"""Zero-inflated counts: zero with a probability of its own, and otherwise a count."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import cast

import torch
from torch import Tensor

from betahat.data.design import Design
from betahat.data.engine import Block, fold
from betahat.objectives.excess_zeros import ExcessZeros, Fitter, counted, log_share, share_curvature, share_residual
from betahat.objectives.indices import LinearIndices
from betahat.objectives.negative_binomial import WithAlpha
from betahat.objectives.poisson import PoissonIndices, PoissonLog

# The shares of excess zeros that a solver may start from.
_SHARE = (0.05, 0.95)


@dataclass(frozen=True)
class ZeroInflated(ExcessZeros):
    """Zero with probability p, and counts otherwise: P(0) = p + (1 - p) f(0), P(y) = (1 - p) f(y); the indices are that of p and those of f.

    With A = log p, B = log (1 - p) f(0) and r = p / P(0), d log P(0) = r dA + (1 - r) dB, and
    d2 log P(0) = r d2A + (1 - r) d2B + r (1 - r) (dA - dB) (dA - dB)'.

    References
    ----------
    Lambert (1992), Technometrics 34(1).
    """

    main, second = 1, "inflate"
    poisson = (
        "Beside their excess zeros the counts vary no more than those of a Poisson distribution, so that alpha goes to zero, where there are no "
        "standard errors; use ZeroInflatedPoisson."
    )
    separation = (
        "zeros are no more frequent there than the distribution of the counts says, so that the inflation goes to zero, or some rows have nothing "
        "but zeros, or none. Leave columns out of exog_infl, or use the model without inflation."
    )

    @property
    def boundary(self) -> tuple[LinearIndices, ...]:
        """Counts without inflation, and Poisson counts with and without it."""
        _, counts, *alpha = self.equations
        poisson = PoissonIndices(equations=(counts,))
        if not alpha:
            return (poisson,)
        inflated = replace(self, counts=PoissonIndices(equations=()), equations=self.equations[:2])
        return (replace(cast("WithAlpha", self.counts), equations=(counts, *alpha)), inflated, poisson)

    def first_without_alpha(self, design: Design, fit: Fitter) -> Tensor:
        """Return the estimates of a Poisson regression, and in all rows the inflation that gives as many zeros as there are."""
        inflation, counts = self.places(design.width)
        params = fit(PoissonLog(), design.select(counts))
        begin = partial(self.index_of, torch.cat([params.new_zeros(len(inflation)), params]))
        found = fold(design.source, partial(_zeros, begin, list(inflation)), design.engine)
        rows, none, expected, ones, squares = found
        share = ((none - expected) / (rows - expected)).clamp(*_SHARE)
        level = self.zeros.start(share, share)
        everywhere = torch.cholesky_solve(ones[:, None], torch.linalg.cholesky(squares))[:, 0]
        return torch.cat([level * everywhere, params])

    def weight(self, index: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
        """Return ones where y > 0, and where it is zero the probability that it is the counts' own."""
        some = (target > 0.0).to(index)
        return some, (1.0 - some) * self._posterior(*self.parts(index))[1]

    def losses(self, output: Tensor, target: Tensor) -> Tensor:
        """Return (...,) -log P(y), less log y!."""
        zeros, at = self.parts(output)
        inflated, rest = log_share(self.zeros, zeros, 1.0), log_share(self.zeros, zeros, 0.0)
        below = torch.logaddexp(inflated, rest - self.counts.losses(at, torch.zeros_like(target)))
        return -torch.where(target == 0.0, below, rest - self.counts.losses(at, target))

    def parts(self, index: Tensor) -> tuple[Tensor, Tensor]:
        """Return the first index, and the others."""
        return index[..., 0], index[..., 1:]

    def joined(self, zeros: Tensor, counts: Tensor) -> Tensor:
        """Put the zeros' first."""
        return torch.cat([zeros[..., None], counts], -1)

    def main_share(self, index: Tensor) -> Tensor:
        """Return (...,) 1 - p."""
        return torch.exp(log_share(self.zeros, index[..., 0], 0.0))

    def main_probability(self, index: Tensor) -> Tensor:
        """Return (...,) 1 - p."""
        return self.main_share(index)

    def main_level(self, index: Tensor, uniform: Tensor) -> Tensor:
        """Return (R, n) (u - p) / (1 - p)."""
        zeros = index[..., 0]
        return (uniform - torch.exp(log_share(self.zeros, zeros, 1.0))) / self.main_share(index)

    def residual(self, index: Tensor, target: Tensor, mean: Tensor) -> Tensor:
        """Return (..., q) the derivatives of log P(y)."""
        zeros, at = self.parts(index)
        r, other = self._posterior(zeros, at)
        none, nothing = target == 0.0, torch.zeros_like(target)
        inflated, rest = share_residual(self.zeros, zeros, 1.0), share_residual(self.zeros, zeros, 0.0)
        expected = self.counts.mean(at)
        below = other[..., None] * self.counts.residual(at, nothing, expected)
        counts = torch.where(none[..., None], below, self.counts.residual(at, target, expected))
        return self.joined(torch.where(none, r * inflated + other * rest, rest), counts)

    def curvature(self, index: Tensor, target: Tensor, mean: Tensor) -> Tensor:
        """Return (..., q, q) d2l/deta deta'."""
        above = self.counts.curvature(self.parts(index)[1], target, self.counts.mean(self.parts(index)[1]))
        return self._curvature(index, (target == 0.0).to(above), above)

    def expected_curvature(self, output: Tensor) -> Tensor:
        """Return (b, q, q) Fisher's information: (1 - p) (E of f's curvature - f(0) times that of zero) where y > 0, and P(0) times that of zero."""
        _, at = self.parts(output)
        nothing = torch.zeros_like(at[..., 0])
        alone = torch.exp(-self.counts.losses(at, nothing))[..., None, None]
        zero = self.counts.curvature(at, nothing, self.counts.mean(at))
        above = (self.counts.expected_curvature(at) - alone * zero) / (1.0 - alone)
        return self._curvature(output, self.probability(output, nothing), above)

    def _curvature(self, index: Tensor, none: Tensor, above: Tensor) -> Tensor:
        """(..., q, q), given (...,) shares of zeros, and the (..., m, m) curvature of f at what is not zero."""
        zeros, at = self.parts(index)
        r, other = self._posterior(zeros, at)
        nothing = torch.zeros_like(zeros)
        inflated, rest = share_residual(self.zeros, zeros, 1.0), share_residual(self.zeros, zeros, 0.0)
        expected = self.counts.mean(at)
        slope, second = self.counts.residual(at, nothing, expected), self.counts.curvature(at, nothing, expected)
        gap, mixed = inflated - rest, (none * r * other)[..., None]
        curved = r * share_curvature(self.zeros, zeros, nothing + 1.0)
        own = none * (curved - r * other * gap.square()) + (1.0 - none * r) * share_curvature(
            self.zeros, zeros, nothing
        )
        cross = mixed * gap[..., None] * slope
        weight = none[..., None, None]
        counts = weight * other[..., None, None] * second + (1.0 - weight) * above
        found = counts.new_empty(*counts.shape[:-2], counts.shape[-1] + 1, counts.shape[-1] + 1)
        found[..., 0, 0], found[..., 0, 1:], found[..., 1:, 0] = own, cross, cross
        found[..., 1:, 1:] = counts - mixed[..., None] * slope[..., :, None] * slope[..., None, :]
        return found

    def _posterior(self, zeros: Tensor, at: Tensor) -> tuple[Tensor, Tensor]:
        """Return (...,) r = p / P(0) and 1 - r."""
        rest = log_share(self.zeros, zeros, 0.0) - self.counts.losses(at, torch.zeros_like(zeros))
        odds = log_share(self.zeros, zeros, 1.0) - rest
        return torch.sigmoid(odds), torch.sigmoid(-odds)


def _zeros(
    index_of: Callable[[Block], Tensor], columns: list[int], block: Block
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Sum over a block the rows, those of zeros, and P(y = 0) of Poisson counts, and the columns Z of the zeros' equation, Z'1 and Z'Z."""
    mean = torch.exp(index_of(block)[:, 1])
    none = (block["endog"] == 0).to(mean)
    rows = counted(torch.stack([torch.ones_like(none), none, torch.exp(-mean)], 1), block).sum(0)
    z = block["exog"][:, columns].to(mean)
    return (*rows.unbind(), z.sum(0), z.mT @ z)  # type: ignore[return-value]
