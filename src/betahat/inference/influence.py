"""Influence of single rows on a least squares fit: leave-one-out results without refitting.

With leverage h, residual e and s^2 = RSS / (n - k), the fit without row i has the coefficients b - A^-1 x e / (1 - h) and
s_(i)^2 = (RSS - e^2 / (1 - h)) / (n - k - 1) (Belsley, Kuh and Welsch 1980, chapter 2).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from betahat.calculus.rows import slack, times
from betahat.data.container import to_numpy, to_tensor
from betahat.data.modes import in_ordinary_mode
from betahat.fits.fit import Fit
from betahat.inference.distribution import two_sided
from betahat.inference.residuals import whitened_residuals
from betahat.lazy import lazily

if TYPE_CHECKING:
    import pandas as pd
    from scipy import special
else:
    special = lazily("scipy.special")
    pd = lazily("pandas")


@in_ordinary_mode
@dataclass(frozen=True, eq=False)
class Influence:
    """Leverage, studentised residuals, Cook's distance, DFFITS and DFBETAS, with statsmodels' names.

    For WLS, they are those of the whitened rows, as in R's `influence.measures`. A row with a leverage of one is fitted exactly, so it has
    no residual, and there is no fit without it: whatever is divided by 1 - h is NaN there. Of a row that occurs several times, by frequency
    weights, one copy is left out.

    Attributes
    ----------
    fit : Fit
        A least squares fit.
    """

    fit: Fit

    def __repr__(self) -> str:
        """Return the numbers of rows and coefficients."""
        return f"<Influence of {self.fit.nobs} rows on {self._width} coefficients; see summary_frame()>"

    @property
    def hat_matrix_diag(self) -> Any:
        """(n,) leverage h = w x'(X'WX)^-1 x."""
        return self._rows(self._leverage)

    @property
    def resid_press(self) -> Any:
        """(n,) e / (1 - h), the residual of a row in the fit without it."""
        return self._rows(self._resid / self._slack)

    @cached_property
    def ess_press(self) -> float:
        """The sum of squared `resid_press`."""
        return float(times((self._resid / self._slack) ** 2, self.fit.design.counts).sum())

    @property
    def influence(self) -> Any:
        """(n,) e h / (1 - h), the change in the fitted value."""
        return self._rows(self._resid * self._odds)

    @property
    def hat_diag_factor(self) -> Any:
        """(n,) h / (1 - h)."""
        return self._rows(self._odds)

    @property
    def resid_studentized_internal(self) -> Any:
        """(n,) e / (s sqrt(1 - h))."""
        return self._rows(self._internal)

    @property
    def resid_studentized(self) -> Any:
        """The same as `resid_studentized_internal`."""
        return self.resid_studentized_internal

    @property
    def resid_studentized_external(self) -> Any:
        """(n,) e / (s_(i) sqrt(1 - h)), with s_(i) from the fit without the row."""
        return self._rows(self._external)

    @property
    def sigma2_not_obsi(self) -> Any:
        """(n,) s_(i)^2, the error variance in the fit without the row."""
        return self._rows(self._sigma2_without)

    @property
    def cooks_distance(self) -> tuple[Any, Any]:
        """(n,) Cook's distance t^2 h / ((1 - h) k), t studentised internally, and its upper tail in F(k, n - k)."""
        distance = self._cooks
        tail = special.fdtrc(self._width, self.fit.df_resid, to_numpy(distance))
        return self._rows(distance), self._rows(to_tensor(tail, distance))

    @property
    def dffits(self) -> tuple[Any, float]:
        """(n,) the change in the fitted value in standard errors, and the threshold 2 sqrt(k / n)."""
        return self._rows(self._dffits), self._threshold

    @property
    def dffits_internal(self) -> tuple[Any, float]:
        """(n,) `dffits` with s instead of s_(i), and the threshold 2 sqrt(k / n)."""
        return self._rows(self._dffits_internal), self._threshold

    @property
    def dfbeta(self) -> Any:
        """(n, k) b minus the b of the fit without the row: A^-1 x e / (1 - h)."""
        return self._rows(self._changes, self.fit.design.names)

    @property
    def dfbetas(self) -> Any:
        """(n, k) `dfbeta` in standard errors s_(i) sqrt((A^-1)_jj)."""
        return self._rows(self._scaled_changes, self.fit.design.names)

    @property
    def params_not_obsi(self) -> Any:
        """(n, k) the coefficients of the fits without each row."""
        return self._rows(self.fit.params - self._changes, self.fit.design.names)

    @property
    def cov_ratio(self) -> Any:
        """(n,) the determinant of the classical covariance without the row, over that with it."""
        return self._rows(self._determinant_ratio)

    @property
    def det_cov_params_not_obsi(self) -> Any:
        """(n,) the determinant of the classical covariance without the row."""
        determinant = torch.linalg.slogdet(self._sigma2 * self.fit.bread).logabsdet.exp()
        return self._rows(self._determinant_ratio * determinant)

    @property
    def resid_var(self) -> Any:
        """(n,) s^2 (1 - h)."""
        return self._rows(self._sigma2 * self._slack.nan_to_num(0.0))

    @property
    def resid_std(self) -> Any:
        """(n,) s sqrt(1 - h)."""
        return self._rows((self._sigma2 * self._slack.nan_to_num(0.0)).sqrt())

    def summary_frame(self) -> pd.DataFrame:
        """Return DFBETAS and six other measures for each row, as statsmodels does.

        Returns
        -------
        pandas.DataFrame
            (n, k + 6).
        """
        changes = pd.DataFrame(
            to_numpy(self._scaled_changes),
            columns=[f"dfb_{name}" for name in self.fit.design.names],
            index=self.fit.design.container.row_labels,
        )
        columns = {
            "cooks_d": self._cooks,
            "standard_resid": self._internal,
            "hat_diag": self._leverage,
            "dffits_internal": self._dffits_internal,
            "student_resid": self._external,
            "dffits": self._dffits,
        }
        return changes.assign(**{name: to_numpy(values) for name, values in columns.items()})

    def outlier_tests(self) -> tuple[Tensor, Tensor]:
        """Return (n,) externally studentised residuals and their two-sided p-values on n - k - 1 df.

        Returns
        -------
        tuple of Tensor
            (n,) and (n,).
        """
        return self._external.clone(), two_sided(self._external, self.fit.df_resid - 1)

    @cached_property
    def _leverage(self) -> Tensor:
        return self.fit.map_rows(lambda rows: rows.leverage)

    @property
    def _slack(self) -> Tensor:
        return slack(self._leverage)

    @cached_property
    def _resid(self) -> Tensor:
        return whitened_residuals(self.fit)

    @property
    def _sigma2(self) -> Tensor:
        return self.fit.dispersion

    @cached_property
    def _sigma2_without(self) -> Tensor:
        left = 2.0 * self.fit.loss - self._resid**2 / self._slack
        return left.clamp_min(0.0) / (self.fit.df_resid - 1)

    @cached_property
    def _internal(self) -> Tensor:
        return self._resid / (self._sigma2 * self._slack).sqrt()

    @cached_property
    def _external(self) -> Tensor:
        return self._resid / (self._sigma2_without * self._slack).sqrt()

    @property
    def _determinant_ratio(self) -> Tensor:
        return (self._sigma2_without / self._sigma2) ** self._width / self._slack

    @property
    def _odds(self) -> Tensor:
        return self._leverage / self._slack

    @property
    def _dffits(self) -> Tensor:
        return self._external * self._odds.sqrt()

    @property
    def _dffits_internal(self) -> Tensor:
        return self._internal * self._odds.sqrt()

    @property
    def _cooks(self) -> Tensor:
        return self._internal**2 * self._odds / self._width

    @cached_property
    def _changes(self) -> Tensor:
        steps = self.fit.map_rows(lambda rows: rows.influence(slack(rows.leverage).reciprocal()))
        return steps @ self.fit.root.mT

    @cached_property
    def _scaled_changes(self) -> Tensor:
        return self._changes / self._sigma2_without.sqrt()[:, None] / self.fit.bread.diagonal().sqrt()

    @property
    def _width(self) -> int:
        return self.fit.design.width if self.fit.absorbed is None else int(self.fit.size)

    @property
    def _threshold(self) -> float:
        return 2.0 * math.sqrt(self._width / self.fit.nobs)

    def _rows(self, values: Tensor, columns: Any = None) -> Any:
        return self.fit.design.container.present_rows(values, columns)
