"""Tail probabilities and quantiles of the t, normal, F and chi-squared distributions, from scipy.special."""

from __future__ import annotations

from numbers import Real
from typing import TYPE_CHECKING, Any

import numpy as np
from torch import Tensor

from betahat.data.container import to_numpy, to_tensor
from betahat.errors import OptionError, shown
from betahat.lazy import lazily

if TYPE_CHECKING:
    from scipy import special
else:
    special = lazily("scipy.special")

Df = float | Tensor | None


def two_sided(statistic: Tensor, df: Df) -> Tensor:
    """Return P(|T| > |statistic|), in the shape of `statistic`; a df of None is the normal distribution."""
    absolute = np.abs(to_numpy(statistic))
    tail = special.ndtr(-absolute) if df is None else special.stdtr(_plain(df), -absolute)
    return to_tensor(2.0 * tail, statistic)


def quantile(alpha: float, df: Df) -> float | np.ndarray:
    """Return the quantile with probability alpha / 2 in the upper tail."""
    check_alpha(alpha)
    upper = 1.0 - alpha / 2.0
    critical: Any = special.ndtri(upper) if df is None else special.stdtrit(_plain(df), upper)
    return np.asarray(critical) if np.ndim(critical) else float(critical)


def check_alpha(alpha: float) -> None:
    """Refuse an alpha that is not between 0 and 1."""
    if not isinstance(alpha, Real) or not 0.0 < alpha < 1.0:
        raise OptionError(f"alpha is {shown(alpha)}; pass one minus the coverage, between 0 and 1, such as 0.05.")


def f_tail(statistic: float, df_num: float, df_denom: float) -> float:
    """Return P(F > statistic), 1 below zero, and NaN where F is not defined."""
    return float(special.fdtrc(df_num, df_denom, np.maximum(statistic, 0.0))) if df_num > 0 else float("nan")


def chi2_tail(statistic: float, df: float) -> float:
    """Return P(chi2 > statistic), 1 below zero, and NaN without degrees of freedom."""
    return float(special.chdtrc(df, np.maximum(statistic, 0.0))) if df > 0 else float("nan")


def f_quantile(alpha: float, df_num: float, df_denom: float) -> float:
    """Return the quantile of F with probability alpha in the upper tail."""
    return float(special.fdtri(df_num, df_denom, 1.0 - alpha))


def chi2_quantile(alpha: float, df: float) -> float:
    """Return the quantile of chi-squared with probability alpha in the upper tail."""
    return float(special.chdtri(df, alpha))


def _plain(df: float | Tensor) -> float | np.ndarray:
    return to_numpy(df) if isinstance(df, Tensor) else df
