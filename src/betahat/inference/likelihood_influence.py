"""Influence of single rows on a maximum likelihood fit with one linear index: one Newton step from the estimate.

With scores s_i, information A and generalized leverage h_i = dE(y_i)/dtheta' A^-1 ds_i/dy_i, omitting row i changes the estimate
by A^-1 s_i / (1 - h_i) (Pregibon 1981, Ann. Stat. 9(4); Wei, Hu and Fung 1998, Scand. J. Stat. 25).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from betahat.calculus.index import index_rows
from betahat.calculus.rows import Rows, slack
from betahat.covariance.base import Covariance
from betahat.data.container import to_numpy, to_tensor
from betahat.data.handed_out import hands_out_copies
from betahat.data.modes import in_ordinary_mode
from betahat.fits.fit import Fit
from betahat.fits.inverse_root import inverse_root
from betahat.inference.response import mean_slope, means, variances
from betahat.lazy import lazily

if TYPE_CHECKING:
    import pandas as pd
    from scipy import special
else:
    special = lazily("scipy.special")
    pd = lazily("pandas")


@in_ordinary_mode
@hands_out_copies
@dataclass(frozen=True, eq=False)
class LikelihoodInfluence:
    """Leverage, studentised residuals, Cook's distance and changes of the estimates, with the names of statsmodels' `MLEInfluence`.

    Attributes
    ----------
    fit : Fit
        Of Logit, Probit or Poisson.
    cov : Covariance
        V of the coefficients, in which changes are measured.
    errors : Tensor
        (k,) standard errors.
    prediction_errors : callable
        () -> (n,) the standard errors of E(y).
    """

    fit: Fit
    cov: Covariance
    errors: Tensor
    prediction_errors: Callable[[], Tensor]

    def __repr__(self) -> str:
        """Return the numbers of rows and coefficients."""
        return f"<Influence of {self.fit.nobs} rows on {len(self.fit.params)} coefficients; see summary_frame()>"

    @property
    def hat_matrix_diag(self) -> Any:
        """(n,) h, the derivative of the mean of a row with respect to its own y."""
        return self._rows(self._leverage)

    @property
    def d_params(self) -> Any:
        """(n, k) b minus the b after one step towards the fit without the row."""
        return self._rows(self._changes, self.fit.design.names)

    @property
    def dfbetas(self) -> Any:
        """(n, k) `d_params` in standard errors."""
        return self._rows(self._changes / self.errors, self.fit.design.names)

    @property
    def params_one(self) -> Any:
        """(n, k) the coefficients after the step."""
        return self._rows(self.fit.params - self._changes, self.fit.design.names)

    @property
    def cooks_distance(self) -> tuple[Any, Any]:
        """(n,) d'V^-1 d / k, and its upper tail in F(k, n - k)."""
        tail = special.fdtrc(len(self.fit.params), self.fit.df_resid, to_numpy(self._cooks))
        return self._rows(self._cooks), self._rows(to_tensor(tail, self._cooks))

    @property
    def resid_studentized(self) -> Any:
        """(n,) the Pearson residual over the square root of 1 - h."""
        return self._rows(self._studentized)

    @property
    def d_fittedvalues(self) -> Any:
        """(n,) the change in the mean of a row, by the slope at the estimate."""
        return self._rows(self._moved)

    @property
    def d_fittedvalues_scaled(self) -> Any:
        """(n,) `d_fittedvalues` over the standard error of the mean."""
        return self._rows(self._moved / self.prediction_errors())

    def resid_score_factor(self) -> Any:
        """Return (n,) the derivative of the log-likelihood by the index, over the square roots of its curvature and of 1 - h.

        Returns
        -------
        array
            (n,).
        """
        return self._rows(self.fit.map_rows(_score_factor) / self._slack.sqrt())

    def summary_frame(self) -> pd.DataFrame:
        """Return `dfbetas`, Cook's distance, studentised residuals, leverage and scaled changes in the mean for each row.

        Returns
        -------
        pandas.DataFrame
            (n, k + 4), under statsmodels' column names.
        """
        labels = self.fit.sample.container.row_labels
        columns = {
            f"dfb_{name}": column
            for name, column in zip(self.fit.design.names, (self._changes / self.errors).unbind(1), strict=True)
        }
        columns |= {
            "cooks_d": self._cooks,
            "standard_resid": self._studentized,
            "hat_diag": self._leverage,
            "dffits_internal": self._moved / self.prediction_errors(),
        }
        return pd.DataFrame({name: to_numpy(column) for name, column in columns.items()}, index=labels)

    # private

    @cached_property
    def _leverage(self) -> Tensor:
        return self.fit.map_rows(_leverage)

    @property
    def _slack(self) -> Tensor:
        """(n,) 1 - h; NaN where a row determines a coefficient on its own."""
        return slack(self._leverage)

    @cached_property
    def _changes(self) -> Tensor:
        return self._steps @ self.fit.root.mT

    @cached_property
    def _steps(self) -> Tensor:
        """(n, r) the changes in Z's coordinates."""
        return self.fit.map_rows(lambda rows: rows.influence()) / self._slack[:, None]

    @cached_property
    def _cooks(self) -> Tensor:
        core = self.cov.core
        if core is None:
            inverse = inverse_root(self.fit)
            core = inverse @ self.cov.matrix @ inverse.mT
        core = core * torch.eye(self.fit.rank).to(core) if core.ndim == 0 else core
        squares: Tensor = (self._steps * torch.linalg.solve(core, self._steps.mT).mT).sum(1)
        return squares / len(self.fit.params)

    @cached_property
    def _studentized(self) -> Tensor:
        error, weights = self.fit.design.endog.to(torch.float64) - means(self.fit), self.fit.design.weights
        error = error if weights is None else error * weights.sqrt()
        return error / (self.fit.dispersion * variances(self.fit) * self._slack).sqrt()

    @cached_property
    def _moved(self) -> Tensor:
        return (self.fit.map_rows(_mean_slopes) * self._changes).sum(1)

    def _rows(self, values: Tensor, names: Any = None) -> Any:
        return self.fit.sample.container.present_rows(values, names)


def _mean_slopes(rows: Rows) -> Tensor:
    """Return (b, k) dE(y)/dtheta."""
    read = index_rows(rows)
    return mean_slope(read)[:, None] * read.x


def _leverage(rows: Rows) -> Tensor:
    """Return (b,) h; generalized residuals are linear in y, so their slope is a difference."""
    read = index_rows(rows)
    zeros = torch.zeros_like(read.index)
    unit = read.objective.residual(read.index, zeros + 1.0) - read.objective.residual(read.index, zeros)
    unit = unit if read.weights is None else unit * read.weights
    squares = read.rotated.square().sum(1)
    if read.at.beside is not None and read.curvature is not None:
        own = read.at.beside.of_block(read.start, read.levels, read.curvature, len(read))
        squares = squares + torch.where(read.curvature > 0, own / read.curvature, 0.0)
    return mean_slope(read) * unit * squares


def _score_factor(rows: Rows) -> Tensor:
    read = index_rows(rows)
    return read.residual if read.curvature is None else read.residual / read.curvature.sqrt()
