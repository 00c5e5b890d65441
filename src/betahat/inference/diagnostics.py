"""The condition number of the design and the distribution of the residuals, as statsmodels' summary prints them."""

from __future__ import annotations

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


def residual_diagnostics(wresid: Tensor) -> ResidualDiagnostics:
    """Return the statistics of (n,) whitened residuals."""
    resid = to_numpy(wresid)
    with np.errstate(all="ignore"), quiet():  # scipy warns if all residuals are the same
        omnibus, omnibus_pvalue = stats.normaltest(resid) if len(resid) >= 8 else (np.nan, np.nan)
        bera, bera_pvalue, skew, kurtosis = stattools.jarque_bera(resid)
        watson = stattools.durbin_watson(resid)
    return ResidualDiagnostics(*map(float, (omnibus, omnibus_pvalue, skew, kurtosis, watson, bera, bera_pvalue)))


def eigenvalues(fit: Fit) -> Tensor:
    """Return (k,) the eigenvalues of X'WX, largest first.

    They are the squared singular values of R. If the design is singular, the smallest is rounding error, and a summary can only agree with
    statsmodels' by the same route, LAPACK's gesdd on all rows.
    """
    values = torch.linalg.svdvals(fit.triangle)
    if float(values[0]) > _TRUSTED_CONDITION * float(values[-1]) and fit.design.width > 1:
        x = to_numpy(fit.design.exog).astype(float)
        weights = fit.design.weights
        whitened = x if weights is None else np.sqrt(to_numpy(weights))[:, None] * x
        values = to_tensor(np.linalg.svd(whitened, full_matrices=False)[1], values)
    return torch.sort(values.square(), descending=True).values


def condition_number(spectrum: Tensor) -> float:
    """Return the ratio of the largest to the smallest singular value, given (k,) eigenvalues, largest first."""
    smallest = float(spectrum[-1])
    return float((spectrum[0] / spectrum[-1]).sqrt()) if smallest > 0 else float("inf")
