"""The condition number of the design and the distribution of the residuals, as statsmodels' summary prints them."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from betahat.calculus.rows import Rows
from betahat.data.container import to_numpy, to_tensor
from betahat.data.quiet import quiet
from betahat.fits.fit import Fit
from betahat.inference.residuals import whitened, whitened_residuals
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


def residual_diagnostics(fit: Fit) -> ResidualDiagnostics:
    """Return the statistics of the whitened residuals, each of which occurs as often as its count says, one copy after the other.

    Residuals of rows that are read are not held: their moments are taken of one block after the other.
    """
    if fit.sample.source.in_turn:
        return _of_moments(_moments_by_blocks(fit))
    counts = fit.sample.counts
    if counts is not None:
        return _of_moments(_moments(whitened_residuals(fit), counts))
    resid = to_numpy(whitened_residuals(fit))
    with np.errstate(all="ignore"), quiet():  # scipy warns if all residuals are the same
        omnibus, omnibus_pvalue = stats.normaltest(resid) if len(resid) >= 8 else (np.nan, np.nan)
        bera, bera_pvalue, skew, kurtosis = stattools.jarque_bera(resid)
        watson = stattools.durbin_watson(resid)
    return ResidualDiagnostics(*map(float, (omnibus, omnibus_pvalue, skew, kurtosis, watson, bera, bera_pvalue)))


@dataclass(frozen=True)
class _Moments:
    """Moments of residuals e, copies included: n, the mean powers of e less its mean, sum e^2, and the sum of the squared steps from one row to the next."""

    n: float
    second: float
    third: float
    fourth: float
    squares: float
    steps: float


def _moments(resid: Tensor, counts: Tensor) -> _Moments:
    """Return the moments of (n,) residuals with (n,) counts: copies differ from each other by nothing."""
    resid, counts = resid[counts > 0], counts[counts > 0].to(resid)
    n = float(counts.sum())
    errors = resid - (counts @ resid) / n
    second, third, fourth = (float(counts @ errors**power) / n for power in (2, 3, 4))
    return _Moments(n, second, third, fourth, float(counts @ resid**2), float(resid.diff().square().sum()))


def _moments_by_blocks(fit: Fit) -> _Moments:
    """Return the moments of all rows from those of each block, in one pass.

    With d the distance of a block's mean from that of all, its sum of e^3 about the latter is M3 + 3 d M2 + n d^3, and that of e^4 is
    M4 + 4 d M3 + 6 d^2 M2 + n d^4: Pebay (2008), Sandia report SAND2008-6212. From the last row of a block to the first of the next is a step, too.
    """
    blocks = [part for part in fit.each(_block_moments) if float(part[0]) > 0]
    n, mean, second, third, fourth, squares, steps, first, last = torch.stack(blocks).unbind(1)
    d = mean - (n @ mean) / n.sum()
    total = float(n.sum())
    return _Moments(
        n=total,
        second=float((second + n * d**2).sum()) / total,
        third=float((third + 3 * d * second + n * d**3).sum()) / total,
        fourth=float((fourth + 4 * d * third + 6 * d**2 * second + n * d**4).sum()) / total,
        squares=float(squares.sum()),
        steps=float(steps.sum() + (first[1:] - last[:-1]).square().sum()),
    )


def _block_moments(rows: Rows) -> Tensor:
    """Return (9,) of a block's residuals: n, their mean, sums of powers about it, of squares and of squared steps, the first and the last."""
    resid, counts = whitened(rows), rows.counts
    counts = torch.ones_like(resid) if counts is None else counts.to(resid)
    resid, counts = resid[counts > 0], counts[counts > 0]
    n = counts.sum()
    mean = (counts @ resid) / n
    errors = resid - mean
    powers = [counts @ errors**power for power in (2, 3, 4)]
    ends = resid[[0, -1]] if len(resid) else resid.new_zeros(2)
    return torch.stack([n, mean, *powers, counts @ resid**2, resid.diff().square().sum(), *ends])


def _of_moments(found: _Moments) -> ResidualDiagnostics:
    n = found.n
    with np.errstate(all="ignore"), quiet():
        skew, kurtosis = np.divide(found.third, found.second**1.5), np.divide(found.fourth, found.second**2)
        bera = n / 6.0 * (skew**2 + 0.25 * (kurtosis - 3.0) ** 2)
        omnibus = _skew_score(skew, n) ** 2 + _kurtosis_score(kurtosis, n) ** 2 if n >= 8 else np.nan
        watson = np.divide(found.steps, found.squares)
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
    statsmodels' by the same route, LAPACK's gesdd on all rows, where these are in memory.
    """
    if not fit.rank:  # effects alone
        return fit.loss.new_full((1,), torch.nan)
    columns = fit.triangle if fit.instruments is None else fit.instruments.factor.columns
    values = torch.linalg.svdvals(columns)
    singular = float(values[0]) > _TRUSTED_CONDITION * float(values[-1])
    if singular and fit.design.width > 1 and not fit.sample.source.in_turn:
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
