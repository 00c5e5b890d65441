"""`LeastSquaresResults`: rows, predictions, sums of squares, R², F and diagnostics, which linear models share."""

from __future__ import annotations

import math
import warnings
from abc import ABC
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from betahat.data.container import to_tensor
from betahat.data.modes import in_ordinary_mode
from betahat.data.sample import WithoutRows
from betahat.errors import BetahatWarning, OptionError, user_level
from betahat.inference.cases import Cases, index_cases
from betahat.inference.diagnostics import (
    ResidualDiagnostics,
    condition_number,
    eigenvalues,
    residual_diagnostics,
)
from betahat.inference.distribution import f_tail
from betahat.inference.effects import fitted_index, index_rows_with_effects, refuse_effects
from betahat.inference.goodness import SumsOfSquares, mean_of_endog, sums_of_squares
from betahat.inference.margins import Response, linear_mean, only_one
from betahat.inference.prediction import Prediction, predict, predict_mean
from betahat.inference.residuals import plain_residuals, whitened_residuals
from betahat.inference.wald import WaldTest, identity_rows
from betahat.results.effects import effects_at, presented_effects
from betahat.results.elsewhere import in_parts, predict_in_parts
from betahat.results.layout import Vector
from betahat.results.new_data import Model, check_beside, new_regressors, prediction_labels
from betahat.results.statsmodels_names import Results

# Taking off its mean leaves of a constant some units in its last place, squared.
_ROUNDING = (8 * torch.finfo(torch.float64).eps) ** 2


@in_ordinary_mode
@dataclass(frozen=True, eq=False, repr=False)
class LeastSquaresResults(Results, ABC):
    """Rows, predictions and fit of a linear model, with statsmodels' names; what is shared with other models is in `Results`."""

    model: Model

    # the rows

    @property
    def fittedvalues(self) -> Any:
        """(n,) x'b, and absorbed effects."""
        return self._container.present_rows(fitted_index(self.fit))

    @property
    def resid(self) -> Any:
        """(n,) y - x'b."""
        return self._container.present_rows(plain_residuals(self.fit))

    @property
    def wresid(self) -> Any:
        """(n,) sqrt(w) (y - x'b)."""
        return self._container.present_rows(whitened_residuals(self.fit))

    @property
    def resid_pearson(self) -> Any:
        """(n,) `wresid` over s; `wresid` itself, with a warning, where the fit is exact."""
        resid = whitened_residuals(self.fit)
        if self.scale**0.5 < 10 * torch.finfo(torch.float64).eps * mean_of_endog(self.fit):
            warnings.warn(
                "All residuals are zero up to rounding, so they are returned unscaled; use resid.",
                BetahatWarning,
                stacklevel=user_level(),
            )
            return self._container.present_rows(resid)
        return self._container.present_rows(resid / self.scale**0.5)

    # predictions

    def predict(self, exog: Any = None, transform: bool = True, absorb: Any = None, *, path: Any = None) -> Any:
        """Predict the mean, with absorbed effects.

        Parameters
        ----------
        exog : dataframe or array_like, optional
            New data: the formula's variables, or (m, k) regressors; None takes the data of the fit. Files, lazy frames and whatever else a model can be fitted to will
            do, too.
        transform : bool
            Whether new data go through the formula.
        absorb : list of vectors, optional
            The labels of absorbed effects in the new rows, (m,) for each of their columns; None takes those of the columns of `exog`.
        path : str or path, optional
            A new folder for the predictions, which are written as Parquet files, one for each partition of the data and with its rows in their order; rows with
            missing values are NaN. For the data of the fit, residuals stand beside them, "resid". The folder is returned.

        Returns
        -------
        (m,)

        Raises
        ------
        DataError, FormulaError
            New data of another width, without a variable, or with a category or a level that the fit did not see.
        """
        if in_parts(exog, path):
            return predict_in_parts(self, exog, path, transform, {"absorb": absorb}, residuals=True)
        if exog is None:
            return self.fittedvalues
        regressors, container, _ = new_regressors(self, exog, transform)
        mean = predict_mean(regressors, self.fit.params)
        return container.present_rows(mean if self.fit.absorbed is None else mean + effects_at(self.fit, exog, absorb))

    def fixed_effects(self) -> Any:
        """Return the absorbed effects, one number for each level.

        They are what is left of the fitted values once x'b is taken off. With several effects, only sums are identified: in each part in which the levels of
        a further effect and those of one before it are connected by rows, the first level of the further effect is zero.
        A level whose rows all have a weight of zero is NaN.

        Returns
        -------
        dict
            By effect: a series with the levels' labels (of ``origin^year`` two), or an array in their order; of effects with slopes (levels, 1 + v) numbers,
            the dummies' first.

        Raises
        ------
        EstimationError
            The model absorbs no effects.
        """
        return presented_effects(self.fit)

    def get_prediction(
        self, exog: Any = None, transform: bool = True, weights: Any = None, row_labels: Any = None
    ) -> Prediction:
        """Predict with standard errors and intervals, of the mean and of a new observation.

        Parameters
        ----------
        exog, transform
            As in `predict`.
        weights : str or array_like, optional
            (m,) weights of the new observations, of a formula's data by name too; one if not given.
        row_labels : sequence, optional
            (m,) labels for `summary_frame`.

        Returns
        -------
        Prediction

        Raises
        ------
        DataError, FormulaError
            As in `predict`.
        OptionError
            Weights or labels of another length, or weights that are not positive.
        """
        refuse_effects(self.fit, "Standard errors of predictions need", "use predict, or write the effects as C(group)")
        if exog is None:
            design, known = self.fit.design, None
            regressors, container = design.exog, design.container
            check_beside(weights, "weights", exog, container)
            weights = design.weights if weights is None else weights
            noise = torch.full_like(self.fit.dispersion, self.scale).expand(len(regressors))
        else:
            regressors, container, known = new_regressors(self, exog, transform)
            check_beside(weights, "weights", exog, container)
            weights = self.model.new_vector(weights, exog, "weights")
            noise = torch.full_like(self.fit.dispersion, self.scale)
        given = None if weights is None else _read_weights(weights, regressors, self.fit.params)
        labels = prediction_labels(row_labels, container, len(regressors))
        return predict(
            regressors,
            self.fit.params,
            self._pair.variances,
            noise,
            given,
            self._pair.df_of(regressors),
            container,
            labels,
            known,
        )

    @cached_property
    def cases(self) -> Cases:
        """Residuals and leverage of each row, as the pictures show them."""
        return index_cases(self.fit)

    # how well it fits

    @property
    def k_constant(self) -> int:
        """1 if a column, or a combination of columns, is constant."""
        return self.fit.k_constant

    @property
    def df_model(self) -> float:
        """r, less one if there is a constant."""
        return self.fit.df_model

    @property
    def ssr(self) -> float:
        """The residual sum of squares, sum w (y - x'b)^2."""
        return self._squares.ssr

    @property
    def centered_tss(self) -> float:
        """The sum of squares of endog about its (weighted) mean."""
        return self._squares.centered_tss

    @property
    def uncentered_tss(self) -> float:
        """The sum of squares of endog."""
        return self._squares.uncentered_tss

    @property
    def _tss(self) -> float:
        return self.centered_tss if self.k_constant else self.uncentered_tss

    @property
    def _still(self) -> bool:
        """Whether endog does not vary: its total sum of squares is rounding error."""
        return self._tss <= _ROUNDING * self.uncentered_tss

    @property
    def ess(self) -> float:
        """The explained sum of squares: total, centered if there is a constant, less residual."""
        return self._tss - self.ssr

    @property
    def rsquared(self) -> float:
        """1 - RSS / TSS, TSS centered if there is a constant; NaN where endog is constant, too."""
        return math.nan if self._still else 1.0 - _ratio(self.ssr, self._tss)

    @property
    def rsquared_within(self) -> float:
        """1 - RSS / TSS of what absorbed effects leave of endog; without effects the same as `rsquared`."""
        within = self._squares.within_tss
        return self.rsquared if within is None else 1.0 - _ratio(self.ssr, within)

    @property
    def rsquared_adj(self) -> float:
        """1 - (1 - R2) (n - constant) / (n - r)."""
        return 1.0 - (self.nobs - self.k_constant) / self.df_resid * (1.0 - self.rsquared)

    @property
    def mse_model(self) -> float:
        """The explained sum of squares over its degrees of freedom, those of absorbed effects included; NaN where there is nothing to explain."""
        df = self.nobs - self.k_constant - self.df_resid
        return _ratio(self.ess, df) if df and not self._still else math.nan

    @property
    def mse_resid(self) -> float:
        """RSS / (n - r); the same as `scale`, unless the variance is known."""
        return self.ssr / self.df_resid

    @property
    def mse_total(self) -> float:
        """The total sum of squares over n, less one if there is a constant."""
        return self._tss / (self.nobs - self.k_constant)

    @property
    def fvalue(self) -> float:
        """F of all coefficients but the constant, and but absorbed effects.

        From the sums of squares under the classical covariance; otherwise a Wald test with the covariance
        in use, which is NaN where a constant is there only implicitly, as in statsmodels.
        """
        return float(self._overall.statistic)

    @property
    def f_pvalue(self) -> float:
        """The upper tail of `fvalue`."""
        return self._overall.pvalue

    @property
    def eigenvals(self) -> Any:
        """(k,) eigenvalues of X'WX, largest first."""
        return self._container.plain(self._spectrum if self.fit.rank else self._spectrum[:0])

    @property
    def condition_number(self) -> float:
        """The ratio of the largest to the smallest singular value of sqrt(W) X."""
        return condition_number(self._spectrum)

    @property
    def diagn(self) -> dict[str, float]:
        """The numbers of the summary's third table, under statsmodels' keys."""
        resid = self._residual_diagnostics
        return {
            "jb": resid.jarque_bera,
            "jbpv": resid.jarque_bera_pvalue,
            "skew": resid.skew,
            "kurtosis": resid.kurtosis,
            "omni": resid.omnibus,
            "omnipv": resid.omnibus_pvalue,
            "condno": self.condition_number,
            "mineigval": float(self._spectrum[-1]),
        }

    @property
    def goodness(self) -> tuple[str, float]:
        """R², with its name in a table."""
        return "R²", self.rsquared

    # private

    def _response(self, which: Any) -> Response:
        only_one(which, "the mean, x'b")
        fit, name = self.fit, self.endog_name
        sample = fit.sample
        return Response(
            linear_mean,
            lambda: index_rows_with_effects(fit),
            sample.names,
            self._kind,
            name,
            (name,),
            sample.engine,
            of_index=lambda index: index,
        )

    @cached_property
    def _spectrum(self) -> Tensor:
        return self.fit.fact("eigenvalues", lambda: eigenvalues(self.fit))

    @cached_property
    def _squares(self) -> SumsOfSquares:
        return self.fit.fact("sums of squares", lambda: sums_of_squares(self.fit))

    @cached_property
    def _residual_diagnostics(self) -> ResidualDiagnostics:
        return self.fit.fact("residual diagnostics", lambda: residual_diagnostics(self.fit))

    def _without_rows(self, rows: WithoutRows) -> Mapping[str, Any]:
        return {"model": self.model.without_rows(rows)}

    def _laid_out(self) -> Vector:
        return Vector(self.fit)

    @cached_property
    def _overall(self) -> WaldTest:
        if not self.cov.robust and self.fit.absorbed is None and self.fit.objective.least_squares:
            value = _ratio(self.mse_model, self.mse_resid)
            return WaldTest(value, f_tail(value, self.df_model, self.df_resid), self.df_model, self.df_resid, "F")
        constant = self.fit.constant.index
        columns = [i for i in range(self.fit.sample.width) if i != constant]
        implicit = self.k_constant and constant is None and self.fit.absorbed is None
        if implicit or not columns:
            return WaldTest(math.nan, math.nan, 0.0, self.df_resid, "F")
        rows = identity_rows(columns, self.fit.sample.width, self.fit.params)
        return self._pair.joint(rows, torch.zeros_like(rows[:, 0]), use_f=True)


def _read_weights(weights: Any, regressors: Tensor, like: Tensor) -> Tensor:
    """Read a positive weight for each of (m, k) regressors, or one for all."""
    given = to_tensor(weights, like)
    if given.ndim > 0 and given.shape != regressors.shape[:1]:
        raise OptionError(
            f"weights has shape {tuple(given.shape)} for {regressors.shape[0]} predictions; pass one for each, or one for all."
        )
    if not bool(((given > 0) & torch.isfinite(given)).all()):
        raise OptionError("weights has values that are not positive; they divide the variance: pass positive ones.")
    return given


def _ratio(numerator: float, denominator: float) -> float:
    if denominator == 0:
        return math.nan if numerator == 0 or math.isnan(numerator) else math.copysign(math.inf, numerator)
    return numerator / denominator
