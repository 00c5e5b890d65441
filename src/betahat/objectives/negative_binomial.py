"""Negative binomial losses: counts whose variance is more than their mean, by a dispersion alpha of their own."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from betahat.data.design import Design
from betahat.data.engine import Block, fold
from betahat.errors import EstimationError
from betahat.lazy import lazily
from betahat.objectives.base import LinearIndex
from betahat.objectives.dispersion import Unity
from betahat.objectives.indices import LinearIndices, side_by_side, square
from betahat.objectives.poisson import PoissonLog
from betahat.objectives.rising import log_rising, rising_curvature, rising_slope
from betahat.objectives.support import Counts

if TYPE_CHECKING:
    from scipy import stats
else:
    stats = lazily("scipy.stats")

# Sums over the numbers below a count are looked up in a table of so many, which beyond takes longer than Stirling's series.
_TABLE = 2**14
# Below this the closed forms lose more digits than the series has.
_SMALL, _TERMS = 0.05, 14
# Tails are summed up to the count beyond which there is no more than this, unless there are so many.
_TAIL, _COUNTS = 1e-18, 2**17
# The alphas that a solver may start from; the rows that are enough for the means; in standard errors, what is no rounding or chance.
_LEAST, _MOST, _SAMPLE, _CLEARLY = 0.01, 10.0, 2**13, 8.0


@dataclass(frozen=True)
class CountIndices(LinearIndices, ABC):
    """Minus the log-likelihood of counts with mean mu = e^eta, eta the first index."""

    dispersion = Unity()
    support = Counts()

    def mean(self, output: Tensor) -> Tensor:
        """Return (...,) e^eta."""
        return torch.exp(output[..., 0])

    @abstractmethod
    def variance(self, output: Tensor) -> Tensor:
        """Return (...,) Var(y) at (..., q) indices."""

    def distribution(self, index: Tensor) -> Any:
        """Return scipy's frozen distribution of y at (..., q) indices."""
        mean, variance = (np.asarray(values.detach().cpu()) for values in (self.mean(index), self.variance(index)))
        return stats.nbinom(mean**2 / (variance - mean), mean / variance)

    def draw(self, index: Tensor, spread: Tensor, uniform: Tensor) -> Tensor:
        """Return (R, n) counts."""
        return torch.as_tensor(self.distribution(index).ppf(np.asarray(uniform.cpu()))).to(uniform)


@dataclass(frozen=True)
class WithAlpha(CountIndices, ABC):
    """What has a dispersion alpha, the second index, and an infinite loss where that is not positive."""

    allowed = ", with an alpha above zero"

    def constant(self, target: Tensor, precision: Tensor | None) -> Tensor:
        """Return (b,) w log y!."""
        constant = torch.lgamma(target + 1.0)
        return constant if precision is None else precision * constant

    @abstractmethod
    def excess(self, target: Tensor, mean: Tensor) -> Tensor:
        """Return (n,) the derivative of the log-likelihood in alpha at zero, where it is Poisson's."""

    @abstractmethod
    def first_dispersion(self, target: Tensor, mean: Tensor) -> Tensor:
        """Return (n, 2) a numerator and a denominator of alpha by the method of moments."""

    def first(self, design: Design, fit: Callable[[LinearIndex | LinearIndices, Design], Tensor]) -> Tensor:
        """Return the estimates of a Poisson regression, and alpha by the method of moments; an error if the likelihood falls in alpha at zero.

        Of many rows a sample is enough, unless its answer is in doubt.
        """
        many = design.rows // _SAMPLE
        params = fit(PoissonLog(), design.every(many) if many > 1 else design)
        excess, squares, above, below = fold(design.source, partial(self._moments, params), design.engine)
        if many > 1 and float(excess) < _CLEARLY * float(squares) ** 0.5:
            params = fit(PoissonLog(), design)
            excess, squares, above, below = fold(design.source, partial(self._moments, params), design.engine)
        if float(excess) <= 0.0:
            raise EstimationError(
                "The counts vary no more around their means than those of a Poisson distribution, so that alpha goes to zero, where there are no "
                "standard errors; use Poisson."
            )
        alpha = (above / below).clamp(_LEAST, _MOST)
        return torch.cat([params, alpha[None]])

    def _moments(self, params: Tensor, block: Block) -> tuple[Tensor, ...]:
        """Sum the slope in alpha at zero and its square, and the moments' numerator and denominator."""
        offset, weights, y = block.get("offset"), block.get("weights"), block["endog"].to(params)
        index = block["exog"].to(params) @ params
        mean = torch.exp(index if offset is None else index + offset)
        excess = self.excess(y, mean)
        terms = torch.cat([torch.stack([excess, excess.square()], 1), self.first_dispersion(y, mean)], 1)
        for factor in (weights, block.get("counts")):
            terms = terms if factor is None else terms * factor[:, None]
        return terms.sum(0).unbind()


@dataclass(frozen=True)
class NegativeBinomial2(WithAlpha):
    """NB2, whose variance is mu + alpha mu^2.

    With j = 0, ..., y - 1 the loss is -sum log(1 + alpha j) - y eta + (y + 1 / alpha) log(1 + alpha mu), which keeps its digits where alpha is
    small.

    References
    ----------
    Lawless (1987), Canadian Journal of Statistics 15(3). Cameron and Trivedi (2013), Regression Analysis of Count Data, section 3.3.
    """

    def losses(self, output: Tensor, target: Tensor) -> Tensor:
        """Return (...,) the losses."""
        eta, alpha = output.unbind(-1)
        product = (alpha * torch.exp(eta)).clamp_min(0.0)
        inverse = alpha.clamp_min(torch.finfo(alpha.dtype).tiny).reciprocal()
        found = (target + inverse) * torch.log1p(product) - target * eta - _below(output, target, 0)
        return torch.where(alpha > 0, found, math.inf)

    def residual(self, index: Tensor, target: Tensor, mean: Tensor) -> Tensor:
        """Return (..., 2) (y - mu) / (1 + alpha mu), and sum j / (1 + alpha j) - y mu / (1 + alpha mu) - mu^2 h(alpha mu)."""
        product = index[..., 1] * mean
        inverse = (1.0 + product).reciprocal()
        by_alpha = _below(index, target, 1) - target * mean * inverse - mean.square() * _h(product)
        return side_by_side([(target - mean) * inverse, by_alpha])

    def curvature(self, index: Tensor, target: Tensor, mean: Tensor) -> Tensor:
        """Return (..., 2, 2) the second derivatives."""
        return self._curvature(index, mean, target, _below(index, target, 2))

    def expected_curvature(self, output: Tensor) -> Tensor:
        """Return (b, 2, 2) the same with E(y) = mu for y, which is diagonal, and P(y > j) in the sum over j."""
        mean, alpha = self.mean(output), output[:, 1]
        total = torch.zeros_like(mean)
        for j, tail in enumerate(_tails(mean, alpha.reciprocal(), (1.0 + alpha * mean).reciprocal())):
            total = total + (j / (1.0 + alpha * j)) ** 2 * tail
        return self._curvature(output, mean, mean, total)

    @staticmethod
    def _curvature(index: Tensor, mean: Tensor, target: Tensor, squares: Tensor) -> Tensor:
        """(..., 2, 2), given (...,) sums of (j / (1 + alpha j))^2 over j below y."""
        alpha = index[..., 1]
        product = alpha * mean
        inverse = (1.0 + product).reciprocal()
        scaled = mean * inverse.square()
        own = scaled * (1.0 + alpha * target)
        cross = (target - mean) * scaled
        by_alpha = squares - target * mean * scaled + mean**3 * _h_slope(product)
        return square([[own, cross], [cross, by_alpha]])

    def variance(self, output: Tensor) -> Tensor:
        """Return mu + alpha mu^2."""
        mean = self.mean(output)
        return mean + output[..., 1] * mean.square()

    def excess(self, target: Tensor, mean: Tensor) -> Tensor:
        """Return ((y - mu)^2 - y) / 2."""
        return 0.5 * ((target - mean).square() - target)

    def first_dispersion(self, target: Tensor, mean: Tensor) -> Tensor:
        """Return (y - mu)^2 - mu and mu^2."""
        return torch.stack([(target - mean).square() - mean, mean.square()], -1)


@dataclass(frozen=True)
class NegativeBinomial1(WithAlpha):
    """NB1, whose variance is (1 + alpha) mu: the loss -log(Gamma(q + y) / Gamma(q)) - y log alpha + (y + q) log(1 + alpha), q = mu / alpha.

    References
    ----------
    Cameron and Trivedi (2013), Regression Analysis of Count Data, section 3.3.
    """

    def losses(self, output: Tensor, target: Tensor) -> Tensor:
        """Return (...,) the losses."""
        eta, alpha = output.unbind(-1)
        there = alpha > 0
        alpha = torch.where(there, alpha, 1.0)
        q = torch.exp(eta) / alpha
        found = (target + q) * torch.log1p(alpha) - target * torch.log(alpha) - log_rising(target, q)
        return torch.where(there, found, math.inf)

    def residual(self, index: Tensor, target: Tensor, mean: Tensor) -> Tensor:
        """Return (..., 2) q (psi(q + y) - psi(q) - log(1 + alpha)), and (y - that) / alpha - (y + q) / (1 + alpha)."""
        alpha = index[..., 1]
        q = mean / alpha
        own = q * (rising_slope(target, q) - torch.log1p(alpha))
        return side_by_side([own, (target - own) / alpha - (target + q) / (1.0 + alpha)])

    def curvature(self, index: Tensor, target: Tensor, mean: Tensor) -> Tensor:
        """Return (..., 2, 2) the second derivatives."""
        q = mean / index[..., 1]
        return self._curvature(index, q, target, rising_slope(target, q), rising_curvature(target, q))

    def expected_curvature(self, output: Tensor) -> Tensor:
        """Return (b, 2, 2) the same with E(y) for y, and sums of P(y > j) / (q + j) and its square for the differences of psi and psi'."""
        mean, alpha = self.mean(output), output[:, 1]
        q = mean / alpha
        slope, curvature = torch.zeros_like(q), torch.zeros_like(q)
        for j, tail in enumerate(_tails(mean, q, (1.0 + alpha).reciprocal())):
            slope = slope + tail / (q + j)
            curvature = curvature - tail / (q + j).square()
        return self._curvature(output, q, mean, slope, curvature)

    @staticmethod
    def _curvature(index: Tensor, q: Tensor, target: Tensor, slope: Tensor, curvature: Tensor) -> Tensor:
        """(..., 2, 2), given (...,) psi(q + y) - psi(q) and psi'(q + y) - psi'(q)."""
        alpha = index[..., 1]
        share, logged = (1.0 + alpha).reciprocal(), torch.log1p(alpha)
        own = q * (logged - slope - q * curvature)
        cross = (q * share) - own / alpha
        by_alpha = (target + 2.0 * q * (logged - slope) - q.square() * curvature) / alpha.square()
        by_alpha = by_alpha - 2.0 * q * share / alpha - (target + q) * share.square()
        return square([[own, cross], [cross, by_alpha]])

    def variance(self, output: Tensor) -> Tensor:
        """Return (1 + alpha) mu."""
        return (1.0 + output[..., 1]) * self.mean(output)

    def excess(self, target: Tensor, mean: Tensor) -> Tensor:
        """Return ((y - mu)^2 - y) / (2 mu)."""
        return 0.5 * ((target - mean).square() - target) / mean

    def first_dispersion(self, target: Tensor, mean: Tensor) -> Tensor:
        """Return (y - mu)^2 - mu and mu."""
        return torch.stack([(target - mean).square() - mean, mean], -1)


@dataclass(frozen=True)
class Geometric(CountIndices):
    """The geometric distribution, NB2 with alpha = 1: the loss (y + 1) log(1 + mu) - y eta."""

    def losses(self, output: Tensor, target: Tensor) -> Tensor:
        """Return (...,) the losses."""
        eta = output[..., 0]
        return (target + 1.0) * torch.nn.functional.softplus(eta) - target * eta

    def residual(self, index: Tensor, target: Tensor, mean: Tensor) -> Tensor:
        """Return (..., 1) (y - mu) / (1 + mu)."""
        return ((target - mean) / (1.0 + mean))[..., None]

    def curvature(self, index: Tensor, target: Tensor, mean: Tensor) -> Tensor:
        """Return (..., 1, 1) (1 + y) mu / (1 + mu)^2."""
        return ((1.0 + target) * mean / (1.0 + mean).square())[..., None, None]

    def constant(self, target: Tensor, precision: Tensor | None) -> None:
        """Return None."""
        return

    def expected_curvature(self, output: Tensor) -> Tensor:
        """Return (..., 1, 1) mu / (1 + mu)."""
        return torch.sigmoid(output)[..., None]

    def variance(self, output: Tensor) -> Tensor:
        """Return mu + mu^2."""
        mean = self.mean(output)
        return mean + mean.square()

    def first(self, design: Design, fit: Callable[[LinearIndex | LinearIndices, Design], Tensor]) -> Tensor:
        """Return the estimates of a Poisson regression, of a sample of many rows."""
        many = design.rows // _SAMPLE
        return fit(PoissonLog(), design.every(many) if many > 1 else design)


def _below(index: Tensor, count: Tensor, power: int) -> Tensor:
    """Return (...,) sums over j = 0, ..., y - 1 of log(1 + alpha j), or for power 1, 2 of (j / (1 + alpha j))^power.

    alpha is the same in all rows of (..., n, 2) indices, so that a table has the sums of all counts.
    """
    largest = int(count.max())
    alpha = index[..., 1]
    if largest > _TABLE:
        inverse = alpha.reciprocal()
        if power == 0:
            return log_rising(count, inverse) + count * torch.log(alpha)
        slope = rising_slope(count, inverse) * inverse
        if power == 1:
            return (count - slope) * inverse
        return (count - 2.0 * slope - rising_curvature(count, inverse) * inverse.square()) * inverse.square()
    j = torch.arange(largest, device=alpha.device, dtype=alpha.dtype)
    alpha = alpha[..., :1].clamp_min(0.0)
    terms = torch.log1p(alpha * j) if power == 0 else (j / (1.0 + alpha * j)) ** power
    table = torch.nn.functional.pad(terms.cumsum(-1), (1, 0))
    places = count.long()
    return table[places] if table.ndim == 1 else torch.gather(table, -1, places.expand(*table.shape[:-1], -1))


def _h(product: Tensor) -> Tensor:
    """Return (z / (1 + z) - log(1 + z)) / z^2, by its series where z is small."""
    z = product.clamp_min(_SMALL)
    found = (z / (1.0 + z) - torch.log1p(z)) / z.square()
    return _where_small(product, found, _SERIES)


def _h_slope(product: Tensor) -> Tensor:
    """Return the derivative of that, -1 / (z (1 + z)^2) - 2 h(z) / z."""
    z = product.clamp_min(_SMALL)
    share = (1.0 + z).reciprocal()
    found = 2.0 * (torch.log1p(z) - z * share) / z**3 - share.square() / z
    return _where_small(product, found, _SERIES_SLOPE)


def _where_small(value: Tensor, found: Tensor, weights: tuple[float, ...]) -> Tensor:
    """Return what was found, and where values are small the sum of w_i x^i."""
    small = (value < _SMALL).nonzero(as_tuple=True)
    x = value[small]
    series = torch.full_like(x, weights[-1])
    for weight in reversed(weights[:-1]):
        series = series * x + weight
    return found.index_put(small, series)


_SERIES = tuple((-1.0) ** (n - 1) * (1.0 - 1.0 / n) for n in range(2, 2 + _TERMS))
_SERIES_SLOPE = tuple(i * weight for i, weight in enumerate(_SERIES) if i)


def _tails(mean: Tensor, size: Tensor, share: Tensor) -> Iterator[Tensor]:
    """Yield (b,) P(y > j), j = 0, 1, ..., of sizes q and probabilities p, P(y = 0) = p^q, as far as the row of largest mean has any."""
    widest = int(mean.argmax())
    reach = float(stats.nbinom.isf(_TAIL, float(size[widest]), float(share[widest])))
    if not reach < _COUNTS:
        raise EstimationError(
            f"bread='expected' sums over all counts, and means of up to {float(mean.max()):.3g} need more than {_COUNTS}; pass bread='observed'."
        )
    logged, rest = size * torch.log(share), torch.log1p(-share)
    tail = torch.ones_like(mean)
    for j in range(int(reach) + 1):
        tail = tail - torch.exp(logged)
        yield tail.clamp_min(0.0)
        logged = logged + torch.log((size + j) / (j + 1.0)) + rest
