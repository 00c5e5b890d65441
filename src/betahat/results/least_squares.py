"""`LeastSquaresResults`: sums of squares, R², F and diagnostics, which linear models share."""

from __future__ import annotations

import math
from abc import ABC
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from betahat.data.modes import in_ordinary_mode
from betahat.inference.diagnostics import (
    ResidualDiagnostics,
    condition_number,
    eigenvalues,
    residual_diagnostics,
)
from betahat.inference.distribution import f_tail
from betahat.inference.goodness import SumsOfSquares, sums_of_squares
from betahat.inference.residuals import (
    whitened_residuals,
)
from betahat.inference.wald import (
    WaldTest,
    identity_rows,
)
from betahat.lazy import lazily
from betahat.results.statsmodels_names import Results

if TYPE_CHECKING:
    import pandas as pd
    from statsmodels.stats import multitest
else:
    multitest = lazily("statsmodels.stats.multitest")
    pd = lazily("pandas")


# Taking off its mean leaves of a constant some units in its last place, squared.
_ROUNDING = (8 * torch.finfo(torch.float64).eps) ** 2


@in_ordinary_mode
@dataclass(frozen=True, eq=False, repr=False)
class LeastSquaresResults(Results, ABC):
    """How well a linear model fits, with statsmodels' names; what is shared with other models is in `Results`."""

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
    def rsquared_adj(self) -> float:
        """1 - (1 - R2) (n - constant) / (n - r)."""
        return 1.0 - (self.nobs - self.k_constant) / self.df_resid * (1.0 - self.rsquared)

    @property
    def mse_model(self) -> float:
        """The explained sum of squares over its degrees of freedom; NaN where there is nothing to explain."""
        return _ratio(self.ess, self.df_model) if self.df_model and not self._still else math.nan

    @property
    def mse_resid(self) -> float:
        """RSS / (n - r); the same as `scale`, unless the variance is known."""
        return self.ssr / self.df_resid

    @property
    def mse_total(self) -> float:
        """The total sum of squares over n, less one if there is a constant."""
        return self._tss / (self.df_resid + self.df_model)

    @property
    def fvalue(self) -> float:
        """F of all coefficients but the constant.

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
        return self._container.plain(self._spectrum)

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
        """R², under its name in a table."""
        return "R²", self.rsquared

    # private

    @cached_property
    def _spectrum(self) -> Tensor:
        return self.fit.fact("eigenvalues", lambda: eigenvalues(self.fit))

    @cached_property
    def _squares(self) -> SumsOfSquares:
        return self.fit.fact("sums of squares", lambda: sums_of_squares(self.fit))

    @cached_property
    def _residual_diagnostics(self) -> ResidualDiagnostics:
        def diagnosed() -> ResidualDiagnostics:
            return residual_diagnostics(whitened_residuals(self.fit), self.fit.sample.counts)

        return self.fit.fact("residual diagnostics", diagnosed)

    @cached_property
    def _overall(self) -> WaldTest:
        if not self.cov.robust:
            value = _ratio(self.mse_model, self.mse_resid)
            return WaldTest(value, f_tail(value, self.df_model, self.df_resid), self.df_model, self.df_resid, "F")
        constant = self.fit.constant.index
        columns = [i for i in range(self.fit.sample.width) if i != constant]
        if (self.k_constant and constant is None) or not columns:
            return WaldTest(math.nan, math.nan, 0.0, self.df_resid, "F")
        rows = identity_rows(columns, self.fit.sample.width, self.fit.params)
        return self._pair.joint(rows, torch.zeros_like(rows[:, 0]), use_f=True)


def _ratio(numerator: float, denominator: float) -> float:
    if denominator == 0:
        return math.nan if numerator == 0 or math.isnan(numerator) else math.copysign(math.inf, numerator)
    return numerator / denominator
