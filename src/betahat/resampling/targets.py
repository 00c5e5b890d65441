"""Other values of y: residuals in another order or with other signs, and draws from the distribution of the model."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass

import torch
from torch import Tensor

from betahat.calculus.index import index_rows
from betahat.calculus.indices import IndicesRows
from betahat.calculus.ordered import OrderedRows
from betahat.calculus.rows import Rows, slack
from betahat.errors import EstimationError
from betahat.fits.fit import Fit
from betahat.objectives.base import LinearIndex
from betahat.objectives.indices import LinearIndices
from betahat.resampling.counter import uniforms
from betahat.resampling.weights import Multinomial, Scheme
from betahat.solvers.projections import Projection, projection_on


class Targets(ABC):
    """A function from (R,) replicates to (R, n) values of y."""

    @abstractmethod
    def __call__(self, replicates: Tensor) -> Tensor:
        """Return the values of some replicates."""


@dataclass(frozen=True, eq=False)
class FromModel(Targets):
    """Values of y drawn from the model."""

    objective: LinearIndex | LinearIndices
    index: Tensor  # (n,) or (n, q) the linear index at the estimate
    spread: Tensor  # (n,) or () the standard deviation of least squares
    seed: int

    def __call__(self, replicates: Tensor) -> Tensor:
        """Evaluate the quantile function at uniform numbers."""
        return self.objective.draw(self.index, self.spread, uniforms(self.seed, 0, replicates, len(self.index)))


@dataclass(frozen=True, eq=False)
class FromResiduals(Targets):
    """Values (slope r - zero) / unit of y, where r is the residual of a random row."""

    residuals: Tensor  # (m,) to draw from
    slope: Tensor  # (n,), as are the next two
    zero: Tensor
    unit: Tensor
    seed: int

    def __call__(self, replicates: Tensor) -> Tensor:
        """Draw rows with replacement."""
        scheme = Multinomial(len(self.residuals), len(self.slope))
        drawn = self.residuals[scheme.indices(self.seed, replicates)]
        return drawn.mul_(self.slope).sub_(self.zero).div_(self.unit)


@dataclass(frozen=True, eq=False)
class FromSigns(Targets):
    """Fitted values plus residuals times random numbers."""

    fitted: Tensor  # (n,)
    residuals: Tensor  # (n,)
    signs: Scheme
    seed: int

    def __call__(self, replicates: Tensor) -> Tensor:
        """Multiply."""
        return self.fitted + self.signs(self.seed, replicates) * self.residuals


@dataclass(frozen=True, eq=False)
class FromSizes(Targets):
    """Fitted quantiles plus the sizes of the errors, times 2 (1 - q) with probability 1 - q, and -2 q with probability q."""

    fitted: Tensor  # (n,)
    sizes: Tensor  # (n,)
    q: float
    seed: int

    def __call__(self, replicates: Tensor) -> Tensor:
        """Draw and multiply."""
        below = uniforms(self.seed, 0, replicates, len(self.fitted)) < self.q
        return self.fitted + 2.0 * (1.0 - self.q - below.to(self.fitted)) * self.sizes


@dataclass(frozen=True, eq=False)
class LessEffects(Targets):
    """Values of y of least squares from which absorbed effects were taken off."""

    targets: Targets
    projection: Projection

    def __call__(self, replicates: Tensor) -> Tensor:
        """Draw and project."""
        return self.projection.residuals(self.targets(replicates).mT).mT.contiguous()


def _less_effects(fit: Fit, targets: Targets) -> Targets:
    """Take absorbed effects off the values of y of least squares; other models are fitted with their effects anew."""
    if fit.absorbed is None or not fit.objective.least_squares:
        return targets
    return LessEffects(targets, projection_on(fit.raw.effects, fit.absorbed.weights))


def quantile_targets(fit: Fit, seed: int) -> Targets:
    """Return y made of the fitted quantile and the size of each row's own error, of either sign: Feng, He and Hu (2011), Biometrika 98(4)."""
    _check_no_counts(fit, "wild")
    (check,) = fit.objective.checks
    index = fit.map_rows(_index)
    return FromSizes(index, (fit.design.endog.to(index) - index).abs(), check.q, seed)


def parametric_targets(fit: Fit, seed: int) -> Targets:
    """Return y drawn from the model at the estimate; an error if the objective is not a likelihood, or there are weights it does not explain."""
    objective = fit.objective.one_index or fit.objective.indices
    if objective is None or not objective.dispersion.likelihood:
        raise EstimationError(
            "The parametric bootstrap needs the distribution of y, which this model does not state; use kind='pairs' or 'bayesian'."
        )
    _check_no_counts(fit, "parametric")
    if not objective.dispersion.drawn:
        raise EstimationError(
            "The parametric bootstrap draws y from its distribution, and no distribution of the family has a scale other than 1; use kind='pairs' or "
            "'score', or fit without scale=."
        )
    weights = fit.design.weights
    if weights is not None and not (objective.dispersion.estimated or objective.trials):
        raise EstimationError(
            "The parametric bootstrap draws y from its distribution, which analytic weights do not determine; use kind='pairs', or omit the "
            "weights."
        )
    spread = fit.dispersion.sqrt()
    spread = spread if weights is None else spread * _root_of_variance(weights.to(spread))
    return _less_effects(fit, FromModel(objective, fit.map_rows(_index), spread, seed))


def residual_targets(fit: Fit, seed: int, power: float) -> Targets:
    """Return y made of the fitted values and of residuals of other rows, divided by (1 - h)^power and then centred.

    Residuals are Pearson's, (y - mu) / sqrt(V); for least squares sqrt(w) (y - x'b). Efron (1979), Ann. Stat. 7(1). Davison and Hinkley (1997),
    Bootstrap Methods and their Application, section 7.2.
    """
    objective = fit.objective.one_index
    if objective is None or not objective.dispersion.likelihood:
        raise EstimationError(
            "The residual bootstrap needs a mean and a variance that follow from one linear index, so that residuals can be exchanged, and this model "
            "does not state them; use kind='pairs' or 'score'."
        )
    _check_no_counts(fit, "residual")
    pearson = fit.map_rows(lambda rows: _pearson(rows) * _slack(rows, power))
    index = fit.map_rows(_index)
    zero = objective.residual(index, torch.zeros_like(index))
    unit = objective.residual(index, torch.ones_like(index)) - zero
    # the generalized residual, which is linear in y, is the square root of the information times the residual that was drawn
    weights = fit.design.weights
    pearson = pearson if weights is None else pearson[weights > 0]  # a row of weight zero has no residual
    return _less_effects(fit, FromResiduals(pearson - pearson.mean(), fit.map_rows(_slopes), zero, unit, seed))


def sign_targets(fit: Fit, signs: Scheme, seed: int, power: float) -> Targets:
    """Return y of least squares made of the fitted values and residuals over (1 - h)^power, times random numbers."""
    residuals = fit.map_rows(lambda rows: _errors(rows) * _slack(rows, power))
    return _less_effects(fit, FromSigns(fit.map_rows(_index), residuals, signs, seed))


def slack_power(residuals: str) -> float:
    """Return the power of 1 / (1 - h) by which residuals are multiplied."""
    return {"raw": 0.0, "HC2": 0.5, "HC3": 1.0}[residuals]


def _slack(rows: Rows, power: float) -> Tensor:
    """Return (b,) (1 - h)^-power."""
    if power == 0.0:
        return torch.ones(len(rows)).to(rows.at.params)
    left = slack(rows.leverage)
    if bool(torch.isnan(left).any()):
        raise EstimationError(
            "A row has leverage 1: it determines a coefficient on its own, so its residual cannot be divided by 1 - h; use residuals='raw'."
        )
    return left**-power


def scaled_scores(rows: Rows, power: float) -> Tensor:
    """Return (b, r) the scores in Z's coordinates, with residuals divided by (1 - h)^power."""
    return rows.influence(None if power == 0.0 else _slack(rows, power))


def _index(rows: Rows) -> Tensor:
    return rows.index if isinstance(rows, IndicesRows | OrderedRows) else index_rows(rows).index


def _slopes(rows: Rows) -> Tensor:
    """Return (b,) sqrt(E(l'')) over the square root of the weight: over s, a generalized residual's standard deviation at weight one."""
    block = index_rows(rows)
    slope = block.objective.expected_curvature(block.index).sqrt()
    return slope if block.weights is None else slope * _root_of_variance(block.weights)


def _pearson(rows: Rows) -> Tensor:
    """Return (b,) the generalized residual over its standard deviation, up to s."""
    block = index_rows(rows)
    root = block.objective.expected_curvature(block.index).sqrt()
    return block.residual / root if block.weights is None else block.residual / root * _root_of_variance(block.weights)


def _errors(rows: Rows) -> Tensor:
    """Return (b,) y - x'b."""
    block = index_rows(rows)
    return block.residual if block.weights is None else block.residual * _root_of_variance(block.weights).square()


def _root_of_variance(weights: Tensor) -> Tensor:
    """Return (b,) the square roots of 1 / w, the standard deviations of errors up to s; zero for weights of zero, which do not matter."""
    return torch.where(weights > 0, weights.rsqrt(), 0.0)


def _check_no_counts(fit: Fit, kind: str) -> None:
    if fit.sample.counts is not None:
        raise EstimationError(
            f"The {kind} bootstrap draws one y for each row, but with freq_weights a row stands for several; pass the rows themselves, or use "
            "kind='pairs'."
        )
