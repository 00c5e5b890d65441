"""`RLMResults` of robust regression, with the names of `statsmodels.robust`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from betahat.calculus.index import index_rows
from betahat.calculus.rows import Rows
from betahat.data.container import Container
from betahat.data.modes import in_ordinary_mode
from betahat.data.sample import WithoutRows
from betahat.inference.cases import Cases, index_cases
from betahat.inference.margins import Response, linear_mean, only_one
from betahat.inference.prediction import predict_mean
from betahat.inference.residuals import fitted_values, plain_residuals
from betahat.inference.response import ResponsePrediction, predict_response
from betahat.lazy import lazily
from betahat.results.elsewhere import in_parts, predict_in_parts
from betahat.results.layout import Vector
from betahat.results.new_data import Model, new_regressors, prediction_labels
from betahat.results.second_summary import second_summary
from betahat.results.statsmodels_names import Results
from betahat.results.summaries import robust_content
from betahat.tables.summary import Content

if TYPE_CHECKING:
    import pandas as pd
    from statsmodels.iolib.summary2 import Summary as SecondSummary
else:
    pd = lazily("pandas")


@in_ordinary_mode
@dataclass(frozen=True, eq=False, repr=False)
class RLMResults(Results):
    """Results of robust regression, with statsmodels' names; what is shared with other models is in `Results`.

    Attributes
    ----------
    model, fit, cov
        As in `Results`.
    scale_est : str
        How the scale was estimated: "mad", or "HuberScale".
    """

    model: Model
    scale_est: str

    # how well it fits

    @property
    def scale(self) -> float:
        """s, the scale of the errors, in units of endog."""
        return float(self.fit.dispersion.sqrt())

    @property
    def df_model(self) -> float:
        """The degrees of freedom of the model, r - 1: one column counts as the constant, as in statsmodels."""
        return float(self.fit.rank - 1)

    @property
    def k_constant(self) -> int:
        """1 if a column, or a combination of columns, is constant."""
        return self.fit.k_constant

    @property
    def converged(self) -> bool:
        """True: a fit that does not converge is an error."""
        return self.diagnostics.converged

    @property
    def goodness(self) -> tuple[str, float]:
        """The scale of the errors, under its name in a table."""
        return "Scale", self.scale

    @property
    def fit_options(self) -> dict[str, Any]:
        """What was fitted, under statsmodels' keys: "cov", "scale_est" and "norm"."""
        return {"cov": self.cov_type, "scale_est": self.scale_est, "norm": type(self.fit.objective).__name__}

    @property
    def fit_history(self) -> dict[str, Any]:
        """How the solver got there: "iteration" is the number of its steps."""
        return {"iteration": self.diagnostics.iterations}

    @property
    def bcov_scaled(self) -> Any:
        """(k, k) the covariance of the coefficients, `cov_params()`."""
        return self.cov_params()

    @property
    def chisq(self) -> Any:
        """(k,) the squares of the coefficients over their standard errors."""
        return self.tvalues**2

    # the rows

    @property
    def fittedvalues(self) -> Any:
        """(n,) x'b."""
        return self._container.present_rows(fitted_values(self.fit))

    @property
    def resid(self) -> Any:
        """(n,) y - x'b."""
        return self._container.present_rows(plain_residuals(self.fit))

    @property
    def sresid(self) -> Any:
        """(n,) residuals over their scale."""
        return self._container.present_rows(plain_residuals(self.fit) / self.scale)

    @property
    def weights(self) -> Any:
        """(n,) psi(z) / z of the residuals over their scale: what least squares with these weights takes to give the same fit."""
        return self._container.present_rows(self.fit.map_rows(_weight))

    @cached_property
    def cases(self) -> Cases:
        """Residuals and leverage of each row, as the pictures show them."""
        return index_cases(self.fit)

    # predictions

    def predict(self, exog: Any = None, transform: bool = True, *, path: Any = None) -> Any:
        """Predict x'b, the centre of the dependent variable.

        Parameters
        ----------
        exog : dataframe or array_like, optional
            New data: the formula's variables, or (m, k) regressors; None takes the data of the fit. Files, lazy frames and whatever else a model can be fitted to will
            do, too.
        transform : bool
            Whether new data go through the formula.
        path : str or path, optional
            A new folder for the predictions, which are written as Parquet files, one for each partition of the data and with its rows in their order; rows with
            missing values are NaN. For the data of the fit, residuals stand beside them, "resid". The folder is returned.

        Returns
        -------
        (m,)

        Raises
        ------
        DataError, FormulaError
            New data of another width, without a variable, or with a category that the fit did not see.
        """
        if in_parts(exog, path):
            return predict_in_parts(self, exog, path, transform, residuals=True)
        if exog is None:
            return self.fittedvalues
        regressors, container, _ = new_regressors(self, exog, transform)
        return container.present_rows(predict_mean(regressors, self.fit.params))

    def get_prediction(self, exog: Any = None, transform: bool = True, row_labels: Any = None) -> ResponsePrediction:
        """Predict x'b with standard errors and intervals; a loss that is no distribution's has none for a new observation.

        Parameters
        ----------
        exog, transform
            As in `predict`.
        row_labels : sequence, optional
            (m,) labels for `summary_frame`.

        Returns
        -------
        ResponsePrediction

        Raises
        ------
        DataError, FormulaError
            As in `predict`.
        OptionError
            Labels of another number.
        """
        container: Container
        known: Tensor | None = None
        if exog is None:
            regressors, container = self.fit.design.exog, self.fit.design.container
        else:
            regressors, container, known = new_regressors(self, exog, transform)
        labels = prediction_labels(row_labels, container, len(regressors))
        variances, df = self._pair.variances, self._pair.df_of(regressors)
        return predict_response(self.fit, regressors, None, variances, df, True, container, labels, known)

    # tables

    def summary2(
        self,
        yname: str | None = None,
        xname: Sequence[str] | None = None,
        title: str | None = None,
        alpha: float = 0.05,
        float_format: str = "%.4f",
    ) -> SecondSummary:
        """Return statsmodels' second summary, byte for byte.

        Parameters
        ----------
        yname, xname, title, alpha
            As in `summary`.
        float_format : str
            How the coefficients are printed.

        Returns
        -------
        statsmodels.iolib.summary2.Summary
            With `as_text`, `as_html` and `as_latex`.
        """
        return second_summary(
            self, {}, [], yname=yname, xname=xname, title=title, alpha=alpha, float_format=float_format
        )

    def glance(self) -> pd.DataFrame:
        """Return one row of statistics of the model, under broom's column names for an `rlm`.

        Returns
        -------
        pandas.DataFrame
            (1, 4).
        """
        return pd.DataFrame(
            {
                "sigma": [self.scale],
                "converged": [self.converged],
                "df.residual": [self.df_resid],
                "nobs": [int(self.nobs)],
            }
        )

    # private

    def _response(self, which: Any) -> Response:
        only_one(which, "x'b")
        name, sample = self.endog_name, self.fit.sample
        return Response(
            linear_mean,
            lambda: self.fit.design.index_columns,
            sample.names,
            self._kind,
            name,
            (name,),
            sample.engine,
        )

    _learned = ("k_constant",)

    def _without_rows(self, rows: WithoutRows) -> Mapping[str, Any]:
        return {"model": self.model.without_rows(rows)}

    def _content(self, alpha: float) -> Content:
        return robust_content(self, alpha)

    def _laid_out(self) -> Vector:
        return Vector(self.fit)


def _weight(rows: Rows) -> Tensor:
    read = index_rows(rows)
    error = read.y - read.index
    weight = read.objective.residual(read.index, read.y) / error
    return torch.where(error == 0, 1.0, weight)
