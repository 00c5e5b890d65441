"""The condition number of the design and the distribution of the residuals, as statsmodels' summary prints them."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from betahat.data.container import to_numpy, to_tensor
from betahat.data.quiet import quiet
from betahat.fits.fit import Fit
from betahat.lazy import lazily

if TYPE_CHECKING:
    from scipy import stats
    from statsmodels.stats import stattools
else:
    stats = lazily("scipy.stats")
    stattools = lazily("statsmodels.stats.stattools")

# The smallest singular value of R has a relative error of about 1e-16 times the condition number, so up to a condition number
# of 1e10 the three digits of a summary are correct. Beyond, they are rounding errors of the algorithm in use.
_TRUSTED_CONDITION = 1e10


@dataclass(frozen=True)
class ResidualDiagnostics:
    """Statistics of the (whitened) residuals, as in statsmodels' summary."""

    omnibus: float  # D'Agostino and Pearson's test of normality; NaN with fewer than eight rows
    omnibus_pvalue: float
    skew: float  # 0 for the normal distribution
    kurtosis: float  # 3 for the normal distribution
    durbin_watson: float  # close to 2 without first-order autocorrelation
    jarque_bera: float
    jarque_bera_pvalue: float


def residual_diagnostics(wresid: Tensor, counts: Tensor | None) -> ResidualDiagnostics:
    """Return the statistics of (n,) whitened residuals, each of which occurs as often as (n,) counts say, one copy after the other."""
    if counts is not None:
        return _of_moments(wresid, counts.to(wresid))
    resid = to_numpy(wresid)
    with np.errstate(all="ignore"), quiet():  # scipy warns if all residuals are the same
        omnibus, omnibus_pvalue = stats.normaltest(resid) if len(resid) >= 8 else (np.nan, np.nan)
        bera, bera_pvalue, skew, kurtosis = stattools.jarque_bera(resid)
        watson = stattools.durbin_watson(resid)
    return ResidualDiagnostics(*map(float, (omnibus, omnibus_pvalue, skew, kurtosis, watson, bera, bera_pvalue)))


def _of_moments(resid: Tensor, counts: Tensor) -> ResidualDiagnostics:
    """Return the statistics from sums over (n,) residuals times (n,) counts: copies differ from each other by nothing."""
    resid, counts = resid[counts > 0], counts[counts > 0]
    n = float(counts.sum())
    errors = resid - (counts @ resid) / n
    second, third, fourth = (float(counts @ errors**power) / n for power in (2, 3, 4))
    with np.errstate(all="ignore"), quiet():
        skew, kurtosis = np.divide(third, second**1.5), np.divide(fourth, second**2)
        bera = n / 6.0 * (skew**2 + 0.25 * (kurtosis - 3.0) ** 2)
        omnibus = _skew_score(skew, n) ** 2 + _kurtosis_score(kurtosis, n) ** 2 if n >= 8 else np.nan
        watson = np.divide(float(resid.diff().square().sum()), float(counts @ resid**2))
        pvalues = stats.chi2.sf([omnibus, bera], 2)
    return ResidualDiagnostics(*map(float, (omnibus, pvalues[0], skew, kurtosis, watson, bera, pvalues[1])))


def _skew_score(skew: float, n: float) -> float:
    """Return a standard normal number: D'Agostino (1970), Biometrika 57(3)."""
    scaled = skew * np.sqrt((n + 1) * (n + 3) / (6 * (n - 2)))
    beta = 3 * (n**2 + 27 * n - 70) * (n + 1) * (n + 3) / ((n - 2) * (n + 5) * (n + 7) * (n + 9))
    square = np.sqrt(2 * (beta - 1)) - 1
    return float(np.arcsinh(scaled / np.sqrt(2 / (square - 1))) / np.sqrt(0.5 * np.log(square)))


def _kurtosis_score(kurtosis: float, n: float) -> float:
    """Return a standard normal number: Anscombe and Glynn (1983), Biometrika 70(1)."""
    variance = 24 * n * (n - 2) * (n - 3) / ((n + 1) ** 2 * (n + 3) * (n + 5))
    scaled = (kurtosis - 3 * (n - 1) / (n + 1)) / np.sqrt(variance)
    beta = 6 * (n**2 - 5 * n + 2) / ((n + 7) * (n + 9)) * np.sqrt(6 * (n + 3) * (n + 5) / (n * (n - 2) * (n - 3)))
    df = 6 + 8 / beta * (2 / beta + np.sqrt(1 + 4 / beta**2))
    ratio = np.divide(1 - 2 / df, 1 + scaled * np.sqrt(2 / (df - 4)))
    return float((1 - 2 / (9 * df) - np.cbrt(ratio)) / np.sqrt(2 / (9 * df)))


def eigenvalues(fit: Fit) -> Tensor:
    """Return (k,) the eigenvalues of X'WX, largest first.

    They are the squared singular values of R. If the design is singular, the smallest is rounding error, and a summary can only agree with
    statsmodels' by the same route, LAPACK's gesdd on all rows.
    """
    if not fit.rank:  # effects alone
        return fit.loss.new_full((1,), torch.nan)
    columns = fit.triangle if fit.instruments is None else fit.instruments.factor.columns
    values = torch.linalg.svdvals(columns)
    if float(values[0]) > _TRUSTED_CONDITION * float(values[-1]) and fit.design.width > 1:
        x = to_numpy(fit.design.exog).astype(float)
        for often in (fit.design.weights, fit.design.counts):
            x = x if often is None else np.sqrt(to_numpy(often))[:, None] * x
        values = to_tensor(np.linalg.svd(x, full_matrices=False)[1], values)
    return torch.sort(values.square(), descending=True).values


def condition_number(spectrum: Tensor) -> float:
    """Return the ratio of the largest to the smallest singular value, given (k,) eigenvalues, largest first."""
    smallest = float(spectrum[-1])
    if math.isnan(smallest):
        return math.nan
    return float((spectrum[0] / spectrum[-1]).sqrt()) if smallest > 0 else float("inf")
