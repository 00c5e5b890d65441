"""`LinearResults`: comparisons, influence and summaries of OLS and WLS."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from betahat.data.container import to_numpy
from betahat.data.modes import in_ordinary_mode
from betahat.errors import OptionError, check_flag, listed, shown
from betahat.inference.distribution import check_alpha
from betahat.inference.influence import Influence
from betahat.inference.nested import Comparison, compare_f, compare_lm, compare_lr
from betahat.lazy import lazily
from betahat.results.least_squares import LeastSquaresResults
from betahat.results.second_summary import second_summary
from betahat.results.summaries import linear_content, residual_statistics
from betahat.tables.summary import Content, summary_of

if TYPE_CHECKING:
    import pandas as pd
    from statsmodels.iolib.summary import Summary
    from statsmodels.iolib.summary2 import Summary as SecondSummary
    from statsmodels.stats import multitest
else:
    multitest = lazily("statsmodels.stats.multitest")
    pd = lazily("pandas")


@in_ordinary_mode
@dataclass(frozen=True, eq=False, repr=False)
class LinearResults(LeastSquaresResults):
    """Results of OLS and WLS, with statsmodels' names; what they share with other models is in `LeastSquaresResults` and `Results`."""

    # tests

    def compare_f_test(self, restricted: LinearResults) -> Comparison:
        """Test a nested model by sums of squares; warns if a covariance is robust.

        Parameters
        ----------
        restricted : LinearResults
            Results of the smaller model, on the same rows.

        Returns
        -------
        Comparison
            F = ((RSS_r - RSS) / J) / (RSS / (n - r)), its p-value and J.

        Raises
        ------
        DataError, OptionError
            The models are not nested: other rows, endog, weights, or regressors.

        Warns
        -----
        RobustTestWarning
            A covariance is robust, and sums of squares ignore it.
        """
        return compare_f(self.fit, _results(restricted).fit, robust=self.cov.robust or restricted.cov.robust)

    def compare_lr_test(self, restricted: LinearResults, large_sample: bool = False) -> Comparison:
        """Test a nested model by the likelihood ratio, or with `large_sample` by `compare_lm_test`.

        Parameters
        ----------
        restricted : LinearResults
            Results of the smaller model, on the same rows.
        large_sample : bool
            Whether to take the scores instead.

        Returns
        -------
        Comparison
            2 (llf - llf_r), its p-value and J.

        Raises
        ------
        DataError, OptionError
            The models are not nested.

        Warns
        -----
        RobustTestWarning
            A covariance is robust.
        """
        check_flag("large_sample", large_sample)
        if large_sample:
            return self.compare_lm_test(restricted, use_lr=True)
        return compare_lr(self.fit, _results(restricted).fit, robust=self.cov.robust or restricted.cov.robust)

    def compare_lm_test(self, restricted: LinearResults, demean: bool = True, use_lr: bool = False) -> Comparison:
        """Test a nested model by its scores; under a robust covariance the scores' own variance is used.

        Parameters
        ----------
        restricted : LinearResults
            Results of the smaller model, on the same rows.
        demean : bool
            Whether the scores' variance is about their mean.
        use_lr : bool
            Whether to take n R2 of the restricted residuals on all regressors.

        Returns
        -------
        Comparison
            The statistic, its p-value by chi-squared, and J.

        Raises
        ------
        DataError, OptionError
            The models are not nested.
        """
        check_flag("demean", demean)
        check_flag("use_lr", use_lr)
        return compare_lm(self.fit, _results(restricted).fit, robust=self.cov.robust, demean=demean, use_lr=use_lr)

    # influence

    def get_influence(self) -> Influence:
        """Return leverage, studentised residuals, Cook's distance, DFFITS and DFBETAS of each row.

        Returns
        -------
        Influence
        """
        return Influence(self.fit)

    def outlier_test(self, method: str = "bonf", alpha: float = 0.05) -> pd.DataFrame:
        """Test each row for being an outlier, by its externally studentised residual; a row with leverage one has none, and is not tested.

        Parameters
        ----------
        method : str
            The correction for many tests, of ``statsmodels.stats.multitest.multipletests``.
        alpha : float
            Its family-wise error rate.

        Returns
        -------
        pandas.DataFrame
            student_resid, unadj_p and the corrected p-value.

        Raises
        ------
        OptionError
            An unknown method, or `alpha` not between 0 and 1.
        """
        check_alpha(alpha)
        if not isinstance(method, str):
            raise OptionError(
                f"method is {shown(method)}; use one of {listed(multitest.multitest_methods_names, limit=20)}."
            )
        student, tail = self.get_influence().outlier_tests()
        plain, counts = to_numpy(tail), self.fit.design.counts
        adjusted, there = np.full_like(plain, np.nan), np.isfinite(plain)
        often = there.astype(int) if counts is None else there * to_numpy(counts).astype(int)
        rows = np.repeat(np.arange(len(plain)), often)
        try:
            adjusted[rows] = multitest.multipletests(plain[rows], method=method, alpha=alpha)[1]
        except ValueError as error:
            raise OptionError(
                f"The method {shown(method)} is unknown; the known ones are {listed(multitest.multitest_methods_names, limit=20)}."
            ) from error
        columns = {"student_resid": to_numpy(student), "unadj_p": plain, f"{method}(p)": adjusted}
        return pd.DataFrame(columns, index=self._container.row_labels)

    # tables

    def summary(
        self,
        yname: str | None = None,
        xname: Sequence[str] | None = None,
        title: str | None = None,
        alpha: float = 0.05,
        slim: bool = False,
    ) -> Summary:
        """Return statsmodels' summary, byte for byte.

        Parameters
        ----------
        yname, xname : str and sequence of str, optional
            Names to print instead of the data's own.
        title : str, optional
            The heading.
        alpha : float
            Intervals have coverage 1 - alpha.
        slim : bool
            Leave out the third table and half of the first.

        Returns
        -------
        statsmodels.iolib.summary.Summary
            With `as_text`, `as_html`, `as_latex` and `as_csv`.

        Raises
        ------
        OptionError
            The wrong number of names, or `alpha` not between 0 and 1.
        """
        check_flag("slim", slim)
        return summary_of(linear_content(self, alpha, slim), yname, xname, title, alpha)

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
        notes, statistics = self._content(alpha).notes, residual_statistics(self)
        return second_summary(
            self, statistics, notes, yname=yname, xname=xname, title=title, alpha=alpha, float_format=float_format
        )

    def glance(self) -> pd.DataFrame:
        """Return one row of statistics of the model, under broom's column names.

        Returns
        -------
        pandas.DataFrame
            (1, 12).
        """
        return pd.DataFrame(
            {
                "r.squared": [self.rsquared],
                "adj.r.squared": [self.rsquared_adj],
                "sigma": [math.sqrt(self.scale)],
                "statistic": [self.fvalue],
                "p.value": [self.f_pvalue],
                "df": [self.df_model],
                "logLik": [self.llf],
                "AIC": [self.aic],
                "BIC": [self.bic],
                "deviance": [self.ssr],
                "df.residual": [self.df_resid],
                "nobs": [int(self.nobs)],
            }
        )

    # private

    _learned = ("llf", "k_constant", "_squares", "_spectrum", "_residual_diagnostics")

    def _content(self, alpha: float) -> Content:
        return linear_content(self, alpha)


def _results(restricted: Any) -> LinearResults:
    if not isinstance(restricted, LinearResults):
        raise OptionError(f"The restricted model is {shown(restricted)}; pass its results, as returned by .fit().")
    return restricted
