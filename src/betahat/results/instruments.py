"""`InstrumentResults`: results of IV2SLS, IVLIML and IVGMM."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from betahat.data.modes import in_ordinary_mode
from betahat.fits.instrumented import Instruments
from betahat.lazy import lazily
from betahat.results.instrument_tests import InstrumentTests
from betahat.results.summaries import instrument_content
from betahat.tables.summary import Content

if TYPE_CHECKING:
    import pandas as pd
else:
    pd = lazily("pandas")


@in_ordinary_mode
@dataclass(frozen=True, eq=False, repr=False)
class InstrumentResults(InstrumentTests):
    """Results of IV2SLS, IVLIML and IVGMM, with statsmodels' names where least squares has them; what they share with it is in `LeastSquaresResults`.

    Fitted values, residuals, predictions and R² are those of the true regressors; R² may be negative. F is a Wald test under any covariance.
    """

    @property
    def kappa(self) -> float:
        """Kappa of the k-class, 1 for two-stage least squares; NaN for GMM."""
        return 1.0 + self._instruments.excess if self._instruments.half is None else math.nan

    @property
    def method(self) -> str:
        """How it was estimated."""
        return self._instruments.how.method

    @property
    def scale(self) -> float:
        """The variance of an error of weight one: s^2 = e'e / (n - r), or the known one of `FixedScale`."""
        return 2.0 * float(self.fit.loss) / self.df_resid if self.cov.noise is None else self.cov.noise

    def glance(self) -> pd.DataFrame:
        """Return one row of statistics of the model, under broom's column names.

        Returns
        -------
        pandas.DataFrame
            (1, 8).
        """
        return pd.DataFrame(
            {
                "r.squared": [self.rsquared],
                "adj.r.squared": [self.rsquared_adj],
                "sigma": [math.sqrt(self.scale)],
                "statistic": [self.fvalue],
                "p.value": [self.f_pvalue],
                "df": [self.df_model],
                "df.residual": [self.df_resid],
                "nobs": [int(self.nobs)],
            }
        )

    # private

    _learned = ("k_constant", "_squares", "_spectrum", "_residual_diagnostics", "fvalue")

    @property
    def _instruments(self) -> Instruments:
        assert self.fit.instruments is not None
        return self.fit.instruments

    def _content(self, alpha: float) -> Content:
        return instrument_content(self, alpha)
