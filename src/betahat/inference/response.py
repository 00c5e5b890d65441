"""Residuals, deviance and the null model of discrete models, and predictions with their standard errors."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from betahat.calculus.index import IndexRows, excess_loss, index_rows
from betahat.calculus.rows import Rows, times
from betahat.data.container import Container, to_numpy
from betahat.data.engine import Block, fold, gather
from betahat.data.handed_out import hands_out_copies
from betahat.data.source import Held
from betahat.errors import EstimationError, check_flag
from betahat.fits.fit import Fit
from betahat.fits.index import fit_index
from betahat.fits.remembered import of_fit
from betahat.inference.coefficients import interval
from betahat.inference.distribution import Df
from betahat.inference.likelihood import log_likelihood_of
from betahat.inference.observations import observation_bounds
from betahat.inference.variances import Variances
from betahat.lazy import lazily
from betahat.objectives.base import LinearIndex

if TYPE_CHECKING:
    import pandas as pd
else:
    pd = lazily("pandas")


# Residuals of perfect fits are a few units in the last place; where they are far above that there is no need to look.
_ROUNDING, _NEARLY = 16 * torch.finfo(torch.float64).eps, 1e-16


@of_fit
def means(fit: Fit) -> Tensor:
    """Return (n,) E(y)."""
    return fit.map_rows(_mean)


@of_fit
def variances(fit: Fit) -> Tensor:
    """Return (n,) V(mu), the variance of y up to the dispersion."""
    return fit.map_rows(lambda rows: variance(index_rows(rows).objective, index_rows(rows).index))


@of_fit
def anscombe_residuals(fit: Fit) -> Tensor:
    """Return (n,) (A(y) - A(mu)) / V(mu)^(1/6), A the integral of V^(-1/3): Anscombe's residuals, of rows of weight one."""
    return fit.map_rows(_anscombe)


@of_fit
def working_residuals(fit: Fit) -> Tensor:
    """Return (n,) (y - mu) deta/dmu, the residuals of the last weighted least squares."""
    return fit.map_rows(lambda rows: (index_rows(rows).y - _mean(rows)) / mean_slope(index_rows(rows)))


def mean_slope(rows: IndexRows) -> Tensor:
    """Return (b,) dE(y)/deta."""
    with torch.enable_grad():
        leaf = rows.index.detach().requires_grad_(True)
        (slope,) = torch.autograd.grad(rows.objective.mean(leaf).sum(), leaf)
    found: Tensor = slope
    return found


def is_exact(fit: Fit) -> bool:
    """Tell whether the dispersion of a linear index is the rounding error of the means, so that y follows from the regressors without an error."""
    loss, design = fit.objective.one_index, fit.design
    assert loss is not None
    mean = design.mean_of_endog
    typical = variance(loss, loss.start(mean, mean)[None])[0]
    size = float(fit.dispersion)
    (squares,) = fold(design.source.only("endog"), _squared_endog, design.engine)
    if size > _NEARLY * float(squares / design.rows / typical):  # which spares a pass over the regressors
        return False
    return size * fit.df_resid <= _ROUNDING**2 * float(fit.sum_rows(_squared_means))


def _squared_endog(block: Block) -> tuple[Tensor]:
    return (block["endog"].to(torch.float64).square().sum(),)


def _squared_means(rows: Rows) -> Tensor:
    """Return () the sum of w (|mu| + |dmu/deta| sum |x_j b_j|)^2 / V(mu), of which eps^2 is what rounding leaves of Pearson's statistic."""
    read = index_rows(rows)
    terms = read.x.abs() @ read.at.params.abs() + (0.0 if read.offset is None else read.offset.abs())
    squares = (_mean(rows).abs() + mean_slope(read).abs() * terms).square()
    return times(squares / variance(read.objective, read.index), read.weights, read.counts).sum()


@of_fit
def generalized_residuals(fit: Fit) -> Tensor:
    """Return (n,) -dl/deta, of a row of weight one."""
    return fit.map_rows(lambda rows: index_rows(rows).objective.residual(index_rows(rows).index, index_rows(rows).y))


@of_fit
def deviance_residuals(fit: Fit) -> Tensor:
    """Return (n,) the signed roots of twice the loss beyond that of a perfect fit."""
    return fit.map_rows(_deviance_residual)


def deviance(fit: Fit) -> float:
    """Return twice the summed loss beyond that of a perfect fit."""
    return float(fit.misfit.deviance())


def certain_share(fit: Fit) -> float:
    """Return the share of rows whose probability is within 1e-4 of what was observed."""
    return fit.fact("certain share", lambda: float(fit.sum_rows(_certain)) / float(fit.nobs))


def null_log_likelihood(fit: Fit) -> float:
    """Return the log-likelihood of the model with a constant alone, with the same offset, weights and dispersion."""
    return fit.fact("null log-likelihood", lambda: _null_log_likelihood(fit))


def _null_log_likelihood(fit: Fit) -> float:
    null = null_fit(fit)
    phi = fit.objective.dispersion.within_other(fit.loss, float(fit.nobs), fit.df_resid, fit.misfit)
    return float(log_likelihood_of(null.problem, null.loss, phi, null.sum_rows))


def null_deviance(fit: Fit) -> float:
    """Return the deviance of the model with a constant alone, with the same offset and weights."""
    return fit.fact("null deviance", lambda: deviance(null_fit(fit)))


def null_fit(fit: Fit) -> Fit:
    """Return the fit of a constant alone, with the same offset and weights."""
    objective = fit.objective.one_index or fit.objective.indices
    assert objective is not None
    null = fit.raw.with_constant_alone()
    several = objective.indices
    if several is None or several.uniform:
        return fit_index(objective, null, fit.bread_kind, "pinv")
    alone = several.relocated(tuple(() if equation.constant else (0,) for equation in several.equations))
    for loss in (alone, *alone.boundary):
        with suppress(EstimationError):
            return fit_index(loss, null, fit.bread_kind, "pinv")
    return fit_index(alone, null, fit.bread_kind, "pinv")


def prediction_table(fit: Fit, threshold: float) -> Tensor:
    """Return (2, 2) how often i was observed and j predicted."""
    return fit.sum_rows(_PredictionTable(threshold))


@dataclass(frozen=True)
class _PredictionTable:
    threshold: float

    def __call__(self, rows: Rows) -> Tensor:
        """Count a block."""
        y, predicted = index_rows(rows).y >= 0.5, _mean(rows) > self.threshold
        cells = 2 * y.long() + predicted.long()
        weights = times(torch.ones_like(index_rows(rows).y), rows.counts)
        return torch.zeros(4, dtype=weights.dtype, device=weights.device).index_add_(0, cells, weights).reshape(2, 2)


@hands_out_copies
@dataclass(frozen=True, eq=False)
class ResponsePrediction:
    """Predictions with standard errors by the delta method, with statsmodels' names.

    Attributes
    ----------
    values, errors : Tensor
        (m,).
    bounds_of : callable
        alpha -> (m, 2) intervals: for a mean, those of the linear index, transformed.
    container : Container
        How arrays are handed out.
    labels : sequence or None
        (m,) the labels of the rows.
    name : str
        The name of the values in the frame.
    observed : callable or None
        alpha -> (m, 2) intervals for new observations; None where there is none to ask for.
    """

    values: Tensor
    errors: Tensor
    bounds_of: Any
    container: Container
    labels: Any
    name: str = "predicted"
    observed: Any = None

    @property
    def predicted(self) -> Any:
        """(m,) the predictions."""
        return self.container.plain(self.values)

    @property
    def se(self) -> Any:
        """(m,) their standard errors."""
        return self.container.plain(self.errors)

    def conf_int(self, alpha: float = 0.05, *, obs: bool = False) -> Any:
        """Return (m, 2) intervals of coverage 1 - alpha: for the prediction or, with `obs`, for a new observation of weight one.

        Parameters
        ----------
        alpha : float
            Intervals have coverage 1 - alpha.
        obs : bool
            Quantiles of the predictive distribution: that of the observation, with the linear index or output normal around its
            estimate. For least squares it is normal or t, with variance se^2 + s^2; of counts its quantiles are counts.

        Returns
        -------
        array
            (m, 2).

        Raises
        ------
        OptionError
            `alpha` is not between 0 and 1.
        EstimationError
            The loss does not say how an observation is distributed.
        """
        check_flag("obs", obs)
        return self.container.plain(self._bounds(alpha, obs))

    def summary_frame(self, alpha: float = 0.05, *, obs: bool = False) -> pd.DataFrame:
        """Return predictions, standard errors and intervals, one row for each.

        Parameters
        ----------
        alpha : float
            Intervals have coverage 1 - alpha.
        obs : bool
            Whether to add "obs_ci_lower" and "obs_ci_upper", for a new observation.

        Returns
        -------
        pandas.DataFrame
            (m, 4), or (m, 6).
        """
        check_flag("obs", obs)
        bounds = {"ci": to_numpy(self._bounds(alpha, False))}
        if obs:
            bounds["obs_ci"] = to_numpy(self._bounds(alpha, True))
        ends = {
            f"{name}_{end}": found[:, i] for name, found in bounds.items() for i, end in enumerate(("lower", "upper"))
        }
        columns = {self.name: to_numpy(self.values), "se": to_numpy(self.errors), **ends}
        return pd.DataFrame(columns, index=self.labels)

    def _bounds(self, alpha: float, obs: bool) -> Tensor:
        if not obs:
            found: Tensor = self.bounds_of(alpha)
            return found
        if self.observed is None:
            raise EstimationError(
                "There are intervals for new observations of models whose one index gives their distribution; this prediction is of several parameters, or "
                "a function of the parameters, which has no new observations; use conf_int() without obs=True."
            )
        observed: Tensor = self.observed(alpha)
        return observed

    def __repr__(self) -> str:
        """Return the frame as text."""
        return str(self.summary_frame())


def predict_response(
    fit: Fit,
    exog: Tensor,
    offset: Tensor | None,
    variances: Variances,
    df: Df,
    linear: bool,
    container: Container,
    labels: Any,
    known: Tensor | None = None,
) -> ResponsePrediction:
    """Predict the mean, or the linear index, at (m, k) regressors.

    Parameters
    ----------
    fit : Fit
        Of a model of one index.
    exog, offset : Tensor
        (m, k), and (m,) or None.
    variances : Variances
        V.
    df : float or None
        Degrees of freedom.
    linear : bool
        The index in the place of the mean.
    container, labels
        As in `ResponsePrediction`.
    known : Tensor or None
        (m,) whether the data identify the prediction; it has no standard error otherwise.
    """
    index = gather(Held({"x": exog}), lambda block: block["x"] @ fit.params)
    index = index if offset is None else index + offset
    error = gather(Held({"x": exog}), lambda block: variances.errors(block["x"]))
    error = error if known is None else torch.where(known, error, torch.nan)
    objective = fit.objective.one_index
    assert objective is not None

    def observed(alpha: float) -> Tensor:
        return observation_bounds(objective, index, error, float(fit.dispersion), df, alpha)

    if linear:
        return ResponsePrediction(
            index, error, lambda alpha: interval(index, error, alpha, df), container, labels, observed=observed
        )
    with torch.enable_grad():
        leaf = index.detach().requires_grad_(True)
        mean = objective.mean(leaf)
        (slope,) = torch.autograd.grad(mean.sum(), leaf)
    return ResponsePrediction(
        mean.detach(),
        slope.abs() * error,
        lambda alpha: objective.mean(interval(index, error, alpha, df)).sort(1).values,  # some links fall
        container,
        labels,
        observed=observed,
    )


def variance(objective: LinearIndex, index: Tensor) -> Tensor:
    """Return (n,) V(mu) at (n,) indices."""
    found = objective.variance(index)
    return torch.ones_like(index) if found is None else found


def _anscombe(rows: Rows) -> Tensor:
    read, mean = index_rows(rows), _mean(rows)
    loss = read.objective
    return (loss.anscombe(read.y) - loss.anscombe(mean)) / variance(loss, read.index) ** (1.0 / 6.0)


def _mean(rows: Rows) -> Tensor:
    return index_rows(rows).objective.mean(index_rows(rows).index)


def _deviance_residual(rows: Rows) -> Tensor:
    return torch.sign(index_rows(rows).y - _mean(rows)) * (2.0 * _excess(rows)).sqrt()


def _excess(rows: Rows) -> Tensor:
    read = index_rows(rows)
    return excess_loss(read.objective, read.index, read.y)


def _certain(rows: Rows) -> Tensor:
    certain = (index_rows(rows).y - _mean(rows)).abs() < 1e-4
    return times(certain.to(torch.float64), rows.counts).sum()
