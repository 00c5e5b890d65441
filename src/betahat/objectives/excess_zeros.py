"""Counts with a second equation for zeros: zero-inflated counts, and hurdles."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import partial
from typing import ClassVar, Protocol, cast

import torch
from torch import Tensor

from betahat.data.design import Design
from betahat.data.engine import Block, fold
from betahat.errors import EstimationError
from betahat.objectives.base import LinearIndex
from betahat.objectives.bernoulli import Logistic
from betahat.objectives.dispersion import Unity
from betahat.objectives.equation import Equation
from betahat.objectives.indices import LinearIndices
from betahat.objectives.negative_binomial import WithAlpha
from betahat.objectives.poisson import PoissonIndices
from betahat.objectives.support import Counts

# The alphas, and shares of zeros, that a solver may start from.
_LEAST, _MOST = 0.05, 10.0
# So many rows are enough to start from, unless the slope in alpha is not so many standard errors above zero.
_SAMPLE, _CLEARLY = 2**13, 5.0
_SHARE = (0.05, 0.95)

Fitter = Callable[[LinearIndex | LinearIndices, Design], Tensor]


class CountLoss(Protocol):
    """What is asked of the loss of counts: as in `LinearIndices`, of (..., m) indices, with the variance."""

    def losses(self, output: Tensor, target: Tensor) -> Tensor: ...  # noqa: D102
    def residual(self, index: Tensor, target: Tensor, mean: Tensor) -> Tensor: ...  # noqa: D102
    def curvature(self, index: Tensor, target: Tensor, mean: Tensor) -> Tensor: ...  # noqa: D102
    def expected_curvature(self, output: Tensor) -> Tensor: ...  # noqa: D102
    def mean(self, output: Tensor) -> Tensor: ...  # noqa: D102
    def variance(self, output: Tensor) -> Tensor: ...  # noqa: D102
    def draw(self, index: Tensor, spread: Tensor, uniform: Tensor) -> Tensor: ...  # noqa: D102


@dataclass(frozen=True)
class ExcessZeros(LinearIndices, ABC):
    """Minus the log-likelihood of counts whose zeros have an index of their own, less log y!.

    Attributes
    ----------
    counts : CountLoss
        The loss of the counts, of m numbers: the logarithm of their mean, and alpha where there is one.
    zeros : LinearIndex
        The loss of a yes or no that the zeros' equation has.
    """

    counts: CountLoss = field(default=PoissonIndices(equations=()), kw_only=True)
    zeros: LinearIndex = field(default=Logistic(), kw_only=True)

    joint = "_"
    allowed = ", of which alpha, where there is one, is above zero"
    dispersion = Unity()
    support = Counts()

    second: ClassVar[str]
    """The name of the zeros' equation, which stands before the names of its columns in the design, so that these are its parameters' names."""

    poisson: ClassVar[str]
    """What says that alpha goes to zero, and the model to use."""

    @property
    def predictions(self) -> Mapping[str, Callable[[Tensor], Tensor]]:
        """What may be predicted, by statsmodels' names: functions of (..., q) indices."""
        return {
            "mean": self.mean,
            "linear": self.shown,
            "var": self.variance,
            "mean-main": lambda index: self.counts.mean(self.parts(index)[1]),
            "mean-nonzero": lambda index: self.mean(index) / (1.0 - self.none(index)),
            "prob-zero": self.none,
            "prob-main": self.main_probability,
        }

    def _names(self, equation: Equation, columns: list[str]) -> list[str]:
        """Return the names of an equation's parameters."""
        return columns if equation.name == self.second else LinearIndices._names(self, equation, columns)

    def none(self, index: Tensor) -> Tensor:
        """Return (...,) P(y = 0)."""
        return self.probability(index, torch.zeros_like(index[..., 0]))

    @abstractmethod
    def main_probability(self, index: Tensor) -> Tensor:
        """Return (...,) the probability that the counts' distribution is drawn from."""

    @abstractmethod
    def parts(self, index: Tensor) -> tuple[Tensor, Tensor]:
        """Return the (...,) index of the zeros' equation, and the (..., m) numbers of the counts' loss, of (..., q) indices."""

    @abstractmethod
    def joined(self, zeros: Tensor, counts: Tensor) -> Tensor:
        """Put (...,) numbers of the zeros' equation and (..., m) of the counts' loss in the order of the indices, along the last axis."""

    @abstractmethod
    def main_share(self, index: Tensor) -> Tensor:
        """Return (...,) what E(y) and E(y^2) of the counts' distribution are multiplied by."""

    @abstractmethod
    def main_level(self, index: Tensor, uniform: Tensor) -> Tensor:
        """Return (R, n) the probabilities at which the counts' distribution is inverted, of (R, n) uniform numbers; zero or less gives a zero."""

    @abstractmethod
    def first_without_alpha(self, design: Design, fit: Fitter) -> Tensor:
        """Return where a solver looks first, of Poisson counts."""

    @abstractmethod
    def weight(self, index: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
        """Return (n,) how often d log f(y) and d log f(0) enter the derivatives of log P(y)."""

    def first(self, design: Design, fit: Fitter) -> Tensor:
        """Return where a solver looks first: with alpha at the optimum of Poisson counts; an error if the likelihood falls in alpha there."""
        if len(self.equations) == 2:
            return _few_first(design, lambda rows: self.first_without_alpha(rows, fit))
        return _few_first(design, lambda rows: self._first_with_alpha(rows, design, fit))

    def _first_with_alpha(self, rows: Design, design: Design, fit: Fitter) -> Tensor | None:
        """Return the estimates of Poisson counts from some or all rows, and alpha by the method of moments; None where some do not tell that it is above zero."""
        without = replace(self, counts=PoissonIndices(equations=()), equations=self.equations[:2])
        params = fit(without, rows)
        term = partial(_moments, without, cast("WithAlpha", self.counts), params)
        excess, squares, above, below = fold(design.source, term, design.engine)
        if rows is not design and float(excess) < _CLEARLY * float(squares) ** 0.5:
            return None
        if float(excess) <= 0.0:
            raise EstimationError(self.poisson)
        return torch.cat([params, (above / below).clamp(_LEAST, _MOST)[None]])

    def index_of(self, params: Tensor, block: Block) -> Tensor:
        """Return (b, 2) the indices of a block, without alpha."""
        x, offset = block["exog"].to(params), block.get("offset")
        places = self.places(x.shape[1])[:2]
        parts = zip(places, torch.split(params, [len(place) for place in places]), strict=True)
        index = torch.stack([x[:, list(place)] @ part for place, part in parts], -1)
        shift = torch.nn.functional.one_hot(torch.tensor(self.main, device=x.device), 2).to(index)
        return index if offset is None else index + offset[:, None] * shift

    def constant(self, target: Tensor, precision: Tensor | None) -> Tensor:
        """Return (b,) w log y!."""
        constant = torch.lgamma(target + 1.0)
        return constant if precision is None else precision * constant

    def probability(self, index: Tensor, y: Tensor) -> Tensor:
        """Return (...,) P(y) at (..., q) indices and (...,) counts."""
        return torch.exp(-self.losses(index, y) - torch.lgamma(y + 1.0))

    def mean(self, output: Tensor) -> Tensor:
        """Return (...,) E(y)."""
        return self.main_share(output) * self.counts.mean(self.parts(output)[1])

    def variance(self, index: Tensor) -> Tensor:
        """Return (...,) Var(y)."""
        at = self.parts(index)[1]
        share, mean = self.main_share(index), self.counts.mean(at)
        return share * (self.counts.variance(at) + mean.square()) - (share * mean).square()

    def draw(self, index: Tensor, spread: Tensor, uniform: Tensor) -> Tensor:
        """Return (R, n) counts."""
        level = self.main_level(index, uniform)
        drawn = self.counts.draw(self.parts(index)[1], spread, level.clamp_min(torch.finfo(level.dtype).tiny))
        return torch.where(level > 0.0, drawn, 0.0)


def _few_first(design: Design, look: Callable[[Design], Tensor | None]) -> Tensor:
    """Return what is found in every so many rows, or where it is not, in all of them."""
    many = design.rows // _SAMPLE
    if many > 1:
        with suppress(EstimationError):
            found = look(design.every(many))
            if found is not None:
                return found
    found = look(design)
    assert found is not None
    return found


def _moments(without: ExcessZeros, density: WithAlpha, params: Tensor, block: Block) -> tuple[Tensor, ...]:
    """Sum over a block the slope in alpha at zero, its square, and the moments' numerator and denominator of alpha."""
    y, index = block["endog"].to(params), without.index_of(params, block)
    mean = without.counts.mean(without.parts(index)[1])
    terms = torch.zeros(len(y), 3).to(mean)
    for weight, count in zip(without.weight(index, y), (y, torch.zeros_like(y)), strict=True):
        parts = torch.cat([density.excess(count, mean)[:, None], density.first_dispersion(count, mean)], 1)
        terms = terms + weight[:, None] * parts
    excess = terms[:, :1]
    return counted(torch.cat([excess, excess.square(), terms[:, 1:]], 1), block).sum(0).unbind()


def counted(terms: Tensor, block: Block) -> Tensor:
    """Return (b, m) terms times the weights and counts of the rows."""
    for factor in (block.get("weights"), block.get("counts")):
        terms = terms if factor is None else terms * factor[:, None]
    return terms


def log_share(zeros: LinearIndex, index: Tensor, answer: float) -> Tensor:
    """Return (...,) the logarithm of the probability of an answer, 0 or 1."""
    flat = index.reshape(-1)
    return -zeros.losses(flat, torch.full_like(flat, answer)).view(index.shape)


def share_residual(zeros: LinearIndex, index: Tensor, answer: float) -> Tensor:
    """Return (...,) the derivative of the same."""
    return zeros.residual(index, torch.full_like(index, answer))


def share_curvature(zeros: LinearIndex, index: Tensor, answers: Tensor) -> Tensor:
    """Return (...,) minus its second derivative, of (...,) answers."""
    found = zeros.curvature(index, answers)
    assert found is not None  # None is least squares, which is no distribution of answers
    return found
