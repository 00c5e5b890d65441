"""Residuals and leverage of single rows, for every model that has them: what the diagnostic figures show."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from betahat.calculus.index import excess_loss, index_rows
from betahat.calculus.rows import Rows, slack, times
from betahat.data.handed_out import computed, hands_out_copies
from betahat.errors import EstimationError
from betahat.fits.fit import Fit
from betahat.inference.effects import fitted_index
from betahat.objectives.base import LinearIndex


@hands_out_copies
@dataclass(frozen=True, eq=False)
class Cases:
    """The rows of a fit.

    Attributes
    ----------
    fit : Fit
    fitted : Tensor
        (n,) the linear index, or a module's output.
    residuals : Tensor
        (n,) Pearson's, e = sqrt(w) (y - mu) / sqrt(V(mu)), whose variance is the dispersion times 1 - h; y - mu if V is unknown.
    deviance : Tensor
        (n,) the signed square roots of each row's part of the deviance; for least squares the residuals.
    variance_known : bool
        Whether V is known up to a factor.
    """

    fit: Fit
    fitted: Tensor
    residuals: Tensor
    deviance: Tensor
    variance_known: bool = True

    @property
    def labels(self) -> Any:
        """(n,) the labels of the rows, or None."""
        return self.fit.sample.container.row_labels

    @property
    def counts(self) -> Tensor | None:
        """(n,) the frequency weights, or None."""
        return self.fit.sample.counts

    @property
    def weighted(self) -> bool:
        """Whether there are analytic weights."""
        return self.fit.sample.weighted

    @property
    def least_squares(self) -> bool:
        """Whether the residuals are normal if the errors are."""
        return self.fit.objective.dispersion.squares

    @property
    def binary(self) -> bool:
        """Whether y has only two values."""
        loss = self.fit.objective.output_loss
        return loss is not None and loss.support is not None and loss.support.binary

    @computed
    def leverage(self) -> Tensor:
        """(n,) h, the weight of a row in its own fitted value, under the bread in use."""
        return self.fit.map_rows(lambda rows: rows.leverage)

    @computed
    def standardized(self) -> Tensor:
        """(n,) e / (s sqrt(1 - h)), where s^2 is the dispersion; NaN where h is 1."""
        return self._standardized(self.residuals)

    @computed
    def standardized_deviance(self) -> Tensor:
        """(n,) the same for `deviance`."""
        return self._standardized(self.deviance)

    @property
    def cooks_distance(self) -> Tensor:
        """(n,) Cook's distance, standardized^2 h / ((1 - h) k); NaN where h is 1."""
        return self.standardized**2 * self.leverage / (slack(self.leverage) * self.fit.size)

    def _standardized(self, residuals: Tensor) -> Tensor:
        if not self.variance_known:
            raise EstimationError(
                "The loss does not imply the variance of y, so residuals cannot be standardised; plot_residuals shows them as they are."
            )
        fit = self.fit
        errors = 2.0 * fit.loss / fit.df_resid if fit.objective.dispersion.instrumented else fit.dispersion
        return residuals / (errors * slack(self.leverage)).sqrt()


def index_cases(fit: Fit) -> Cases:
    """Return the rows of a model with one linear index."""
    index, pearson, deviance = fit.map_rows(_index_columns).unbind(1)
    return Cases(fit, index if fit.absorbed is None else fitted_index(fit), pearson, deviance)


def output_cases(fit: Fit, output: Tensor, mean: Tensor, target: Tensor | None) -> Cases:
    """Return the rows of a module with (n, ...) outputs and means and target y; an error if there are several outputs for a row."""
    if target is None or target.shape != mean.shape or mean.numel() != len(mean):
        raise EstimationError(
            "A figure of residuals needs one mean and one number y for each row, but this model has several outputs or a class."
        )
    objective = fit.objective.output_loss
    loss = None if objective is None else objective.one_index
    index, mean, y = (values.detach().reshape(-1).to(torch.float64) for values in (output, mean, target))
    if loss is not None and loss.dispersion.likelihood:
        return Cases(fit, index, *_residuals(loss, index, y, fit.sample.weights))
    return Cases(fit, index, y - mean, y - mean, variance_known=False)


def no_cases(why: str) -> EstimationError:
    """Return the error for a model whose rows have no residual."""
    return EstimationError(f"There are no residuals to draw: {why}.")


def _index_columns(rows: Rows) -> Tensor:
    """Return (b, 3) the index, Pearson and deviance residuals."""
    read = index_rows(rows)
    return torch.stack([read.index, *_residuals(read.objective, read.index, read.y, read.weights)], 1)


def _residuals(loss: LinearIndex, index: Tensor, y: Tensor, weights: Tensor | None) -> tuple[Tensor, Tensor]:
    root = None if weights is None else weights.sqrt()
    error, variance = y - loss.mean(index), loss.variance(index)
    if variance is None:
        pearson = times(error, root)
        return pearson, pearson
    deviance = error.sign() * (2.0 * excess_loss(loss, index, y)).sqrt()
    return times(error / variance.sqrt(), root), times(deviance, root)
