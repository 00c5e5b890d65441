"""`QuantRegResults`: quantile regressions, a vector of parameters for one quantile and a column for each of several."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, Never

import torch
from torch import Tensor

from betahat.covariance.names import QUANTILE_NAMES
from betahat.data.container import Container
from betahat.data.modes import in_ordinary_mode
from betahat.data.sample import WithoutRows
from betahat.errors import EstimationError, OptionError
from betahat.fits.linear import fit_least_squares
from betahat.fits.quantile_refits import given_design, null_loss
from betahat.inference.cases import Cases, no_cases
from betahat.inference.diagnostics import condition_number, eigenvalues
from betahat.inference.margins import Response, linear_mean, only_one
from betahat.inference.response import ResponsePrediction, predict_response
from betahat.lazy import lazily
from betahat.results.elsewhere import in_parts, predict_in_parts
from betahat.results.layout import Grid, Layout, Vector
from betahat.results.new_data import Model, new_regressors, prediction_labels
from betahat.results.second_summary import equations_summary, second_summary
from betahat.results.statsmodels_names import Results
from betahat.results.summaries import quantile_content
from betahat.tables.summary import Content

if TYPE_CHECKING:
    import pandas as pd
    from statsmodels.iolib.summary2 import Summary as SecondSummary
else:
    pd = lazily("pandas")


@in_ordinary_mode
@dataclass(frozen=True, eq=False, repr=False)
class QuantRegResults(Results):
    """Results of quantile regressions, with statsmodels' names.

    Those of several quantiles, ``fit(q=[0.1, 0.5, 0.9])``, have a column for each, and one covariance of all coefficients, in which
    those of different quantiles can be tested against each other.
    """

    model: Model

    # the quantiles

    @property
    def q(self) -> Any:
        """The quantile, or (J,) of them."""
        return self._each([check.q for check in self.fit.objective.checks])

    @property
    def bandwidth(self) -> Any:
        """The kernel's bandwidth, in units of endog; (J,) for several quantiles."""
        return self._each(self._bandwidths)

    @property
    def sparsity(self) -> Any:
        """One over the density of the errors at the quantile, by the kernel; (J,) for several quantiles."""
        return self._each(self._sparsities)

    @property
    def prsquared(self) -> Any:
        """1 - V / V0, V the summed loss and V0 that of the quantile of endog alone; (J,) for several quantiles.

        References
        ----------
        Koenker and Machado (1999), JASA 94(448).
        """
        return self._each(self._pseudo)

    @property
    def iterations(self) -> int:
        """The pivots of the simplex method after the interior point was reached."""
        found: int = self.fit.facts["pivots"]
        return found

    @property
    def unique(self) -> bool:
        """Whether there is no other solution."""
        found: bool = self.fit.facts["unique"]
        return found

    @property
    def df_model(self) -> float:
        """r, less one if there is a constant; for several quantiles, that of each."""
        return self.fit.rank / len(self.fit.objective.checks) - self.k_constant

    @property
    def k_constant(self) -> int:
        """1 if a column, or a combination of columns, is constant."""
        return self.fit.k_constant

    @property
    def goodness(self) -> tuple[str, float]:
        """The pseudo R², with its name in a table; for several quantiles, their mean."""
        return "Pseudo R²", sum(self._pseudo) / len(self._pseudo)

    # the rows

    @property
    def fittedvalues(self) -> Any:
        """(n,) x'b, the quantiles; (n, J) for several."""
        return self._rows_of(self._indices(self.fit.design.exog), self._container)

    @property
    def resid(self) -> Any:
        """(n,) y - x'b, exactly zero in the k rows that the solution goes through; (n, J) for several quantiles."""
        errors = self.fit.design.endog.to(torch.float64)[:, None] - self._indices(self.fit.design.exog)
        zero = errors.new_tensor([check.rounding for check in self.fit.objective.checks])
        return self._rows_of(torch.where(errors.abs() <= zero, 0.0, errors), self._container)

    @property
    def cases(self) -> Cases:
        """Not defined: the rows have no leverage, and no variance."""
        raise no_cases(
            "a quantile regression says nothing of leverage and variance; draw resid against fittedvalues, or plot()"
        )

    def predict(self, exog: Any = None, transform: bool = True, *, path: Any = None) -> Any:
        """Predict the quantile.

        Parameters
        ----------
        exog : dataframe or array_like, optional
            New data: the formula's variables, or (m, k) regressors; None takes the data of the fit. Files, lazy frames and whatever else a model can be fitted to will
            do, too.
        transform : bool
            Whether new data go through the formula.
        path : str or path, optional
            A new folder for the predictions, which are written as Parquet files, one for each partition of the data and with its rows in their order; rows with
            missing values are NaN. The folder is returned.

        Returns
        -------
        array
            (m,), or (m, J) for several quantiles.

        Raises
        ------
        DataError, FormulaError
            New data of another width, without a variable, or with a category that the fit did not see.
        """
        if in_parts(exog, path):
            return predict_in_parts(self, exog, path, transform)
        if exog is None:
            return self.fittedvalues
        regressors, container, _ = new_regressors(self, exog, transform)
        return self._rows_of(self._indices(regressors), container)

    def get_prediction(self, exog: Any = None, transform: bool = True, row_labels: Any = None) -> ResponsePrediction:
        """Predict the quantile with standard errors and intervals.

        Parameters
        ----------
        exog, transform
            As in `predict`.
        row_labels : sequence, optional
            (m,) labels for `summary_frame`.

        Returns
        -------
        ResponsePrediction
            Intervals are for the quantile; new observations lie below it with probability q.

        Raises
        ------
        OptionError
            Several quantiles, or labels of another number.
        DataError, FormulaError
            As in `predict`.
        """
        if self.fit.equations:
            raise OptionError("get_prediction is of one quantile; fit it alone, or use predict for all of them.")
        if exog is None:
            regressors, container, known = self.fit.design.exog, self._container, None
        else:
            regressors, container, known = new_regressors(self, exog, transform)
        labels = prediction_labels(row_labels, container, len(regressors))
        variances, df = self._pair.variances, self._pair.df_of(regressors)
        return predict_response(self.fit, regressors, None, variances, df, True, container, labels, known)

    def get_margeff(self, *args: Any, **kwargs: Any) -> Never:
        """Not defined: the coefficients are the effects.

        Parameters
        ----------
        *args, **kwargs
            Of other models.

        Raises
        ------
        EstimationError
            Always.
        """
        raise EstimationError(
            "The coefficients are the marginal effects on the quantile, as it is linear in the regressors; use params and bse, or delta for functions of them."
        )

    # tables

    def summary2(
        self,
        yname: str | None = None,
        xname: Sequence[str] | None = None,
        title: str | None = None,
        alpha: float = 0.05,
        float_format: str = "%.4f",
    ) -> SecondSummary:
        """Return statsmodels' second summary; for several quantiles, a table for each.

        Parameters
        ----------
        yname, xname, title, alpha
            As in `summary`; for several quantiles, `alpha` only.
        float_format : str
            How the coefficients are printed.

        Returns
        -------
        statsmodels.iolib.summary2.Summary
            With `as_text`, `as_html` and `as_latex`.
        """
        if self.fit.equations:
            model = {
                "Model:": "QuantReg",
                "Dependent Variable:": self.endog_name,
                "No. Observations:": f"{self.nobs:.0f}",
                "Df Residuals:": f"{self.df_resid:.0f}",
            }
            heads = [f"q = {check.q:.10g}" for check in self.fit.objective.checks]
            return equations_summary(self, self.fit.given.names, heads, alpha, float_format, model)
        return second_summary(
            self,
            {},
            self._content(alpha).notes,
            yname=yname,
            xname=xname,
            title=title,
            alpha=alpha,
            float_format=float_format,
        )

    def glance(self) -> pd.DataFrame:
        """Return one row of statistics of the model, under broom's column names for `rq`; for several quantiles, a row for each.

        Returns
        -------
        pandas.DataFrame
            (J, 5).
        """
        return pd.DataFrame(
            {
                "tau": [check.q for check in self.fit.objective.checks],
                "pseudo.r.squared": self._pseudo,
                "sparsity": self._sparsities,
                "df.residual": self.df_resid,
                "nobs": int(self.nobs),
            }
        )

    # private

    def _response(self, which: Any) -> Response:
        only_one(which, "quantiles")
        name, sample = self.endog_name, self.fit.sample
        outcomes = tuple(equation.name for equation in self.fit.equations) or (name,)
        return Response(
            linear_mean,
            lambda: self.fit.design.index_columns,
            sample.names,
            self._kind,
            name,
            outcomes,
            sample.engine,
        )

    _learned = ("k_constant", "_pseudo", "_sizes")
    _own_names = QUANTILE_NAMES

    @property
    def _bandwidths(self) -> list[float]:
        return [check.density.bandwidth for check in self.fit.objective.checks if check.density is not None]

    @property
    def _sparsities(self) -> list[float]:
        return [1.0 / check.density.height for check in self.fit.objective.checks if check.density is not None]

    @cached_property
    def _pseudo(self) -> list[float]:
        """(J,) the pseudo R² of each quantile."""
        return self.fit.fact("pseudo", lambda: [1.0 - loss / null for loss, null in null_loss(self.fit)])

    @cached_property
    def _sizes(self) -> tuple[float, float]:
        """The smallest eigenvalue of X'X, and the condition number of X."""
        return self.fit.fact("sizes", self._measured)

    def _measured(self) -> tuple[float, float]:
        spectrum = eigenvalues(fit_least_squares(given_design(self.fit), "pinv"))
        return float(spectrum[-1]), condition_number(spectrum)

    def _each(self, values: Sequence[float]) -> Any:
        """Hand out a number for each quantile, or that of one."""
        if not self.fit.equations:
            return values[0]
        return self._container.present(torch.tensor(values, dtype=torch.float64).to(self.fit.params), self._quantiles)

    def _quantiles(self) -> Sequence[Any]:
        return [check.q for check in self.fit.objective.checks]

    def _rows_of(self, values: Tensor, container: Container) -> Any:
        """Hand out (m, J) numbers, of one quantile (m,)."""
        return (
            container.present_rows(values, self._quantiles())
            if self.fit.equations
            else container.present_rows(values[:, 0])
        )

    def _indices(self, exog: Tensor) -> Tensor:
        """(m, J) the fitted quantiles."""
        return exog.to(torch.float64) @ self.fit.params.view(len(self.fit.objective.checks), -1).mT

    def _without_rows(self, rows: WithoutRows) -> Mapping[str, Any]:
        return {"model": self.model.without_rows(rows)}

    def _content(self, alpha: float) -> Content:
        return quantile_content(self, alpha)

    def _laid_out(self) -> Layout:
        if not self.fit.equations:
            return Vector(self.fit)
        levels = tuple(self._quantiles())
        return Grid(self.fit, levels, levels, "q")
