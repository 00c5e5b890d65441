"""Heteroskedasticity- and autocorrelation-consistent covariance of a time series: Newey and West, Andrews."""

from __future__ import annotations

from dataclasses import dataclass
from numbers import Integral, Real
from typing import Any, Literal

import torch
from torch import Tensor

from betahat.calculus.autodiff import value_and_gradient
from betahat.calculus.rows import Rows
from betahat.covariance.base import Covariance, Estimator, check_flags, of_core
from betahat.covariance.kernels import (
    KernelName,
    andrews,
    kernel_name,
    lagged_products,
    newey_west,
    prewhitened,
    weights_of_bandwidth,
    weights_of_lags,
)
from betahat.data.blocks import product
from betahat.data.design import Design
from betahat.errors import EstimationError, OptionError
from betahat.fit import Fit


@dataclass(frozen=True)
class HAC(Estimator):
    """A^-1 (w_0 Gamma_0 + sum of w_j (Gamma_j + Gamma_j')) A^-1, Gamma_j = sum of s_t s_(t-j)' over scores in the order of rows.

    Attributes
    ----------
    maxlags : int, "newey-west" or None
        The last lag L, of weight k(L / (L + 1)): for Bartlett 1 - j / (L + 1). "newey-west" is the whole part of that
        bandwidth. None, without a bandwidth, is the whole part of 4 (n / 100)^(2/9), statsmodels' default.
    kernel : {"bartlett", "parzen", "quadratic-spectral", "tukey-hanning", "truncated"}
        k; statsmodels' "uniform" is "truncated".
    bandwidth : float, "newey-west", "andrews" or None
        Instead of maxlags: lag j has weight k(j / bandwidth). By a rule, the constant has no say in it.
    prewhiten : int
        The order of the vector autoregression that scores are filtered by first; 0 is none.
    correction : bool
        Whether to multiply by n / (n - k).

    Raises
    ------
    OptionError, EstimationError

    Examples
    --------
    >>> import numpy as np
    >>> import betahat as bh
    >>> x = np.arange(12.0) % 5
    >>> res = bh.OLS(np.sqrt(x) + np.sin(np.arange(12)), bh.add_constant(x)).fit()
    >>> res.with_cov(bh.HAC(2)).bse.round(4)
    array([0.3173, 0.1192])
    >>> res.with_cov(bh.HAC(kernel="quadratic-spectral", bandwidth="andrews")).bse.round(4)
    array([0.3251, 0.139 ])

    Notes
    -----
    A bandwidth by a rule, and prewhitening, hold the (n, k) scores; lags alone pass through them once, in blocks.

    References
    ----------
    Newey and West (1987), Econometrica 55(3). Andrews (1991), Econometrica 59(3). Andrews and Monahan (1992),
    Econometrica 60(4). Newey and West (1994), Rev. Econ. Stud. 61(4). R: ``sandwich::NeweyWest``, ``sandwich::kernHAC``.
    """

    maxlags: int | Literal["newey-west"] | None = None
    kernel: KernelName = "bartlett"
    bandwidth: float | Literal["newey-west", "andrews"] | None = None
    prewhiten: int = 0
    correction: bool = False

    def __post_init__(self) -> None:
        """Refuse unknown options."""
        check_lags(self.maxlags, self.bandwidth)
        object.__setattr__(self, "kernel", kernel_name(self.kernel))
        if isinstance(self.prewhiten, bool):
            object.__setattr__(self, "prewhiten", int(self.prewhiten))
        if not isinstance(self.prewhiten, Integral) or self.prewhiten < 0:
            raise OptionError(f"prewhiten is {self.prewhiten!r}; pass the order of an autoregression, 0 or more.")
        check_flags(self, "correction")

    def __call__(self, fit: Fit) -> Covariance:
        """Sum the lagged products of the scores."""
        refuse_counts(fit, "HAC")
        rule = isinstance(self.bandwidth, str) or isinstance(self.maxlags, str)
        if not rule and not self.prewhiten:
            weights, lags = self._weights(fit, None, _constant_free(fit))
            mean = _mean_score(fit) if fit.well_conditioned else _mean_score(fit) @ fit.root
            each = fit.each(_plain_scores if fit.well_conditioned else _rotated)
            meat = lagged_products(
                (scores - mean for scores in each) if fit.problem.penalty is not None else each, weights
            )
            core = fit.root.mT @ meat @ fit.root if fit.well_conditioned else meat
        else:
            scores = fit.once("rotated scores", lambda: fit.map_rows(_rotated)) - _mean_score(fit) @ fit.root
            whole, half = (scores, None) if not self.prewhiten else prewhitened(scores, int(self.prewhiten))
            # a vector autoregression turns with the coordinates, and a rule for the bandwidth looks at the columns' own
            own = whole @ (fit.root.mT @ fit.triangle.mT) @ fit.triangle
            weights, lags = self._weights(fit, own, _constant_free(fit))
            core = lagged_products([whole], weights)
            core = core if half is None else half @ core @ half.mT
        if self.correction:
            core = core * (fit.nobs / fit.df_resid)
        how = "with" if self.correction else "without"
        note = f"Standard Errors are heteroscedasticity and autocorrelation robust (HAC) using {lags} and {how} small sample correction"
        white = f", prewhitened by VAR({self.prewhiten})" if self.prewhiten else ""
        return of_core(fit, core, "HAC", note + white)

    def _weights(self, fit: Fit, scores: Tensor | None, weights: Tensor) -> tuple[Tensor, str]:
        """Return the lags' weights, and a word on them."""
        count, order = len(fit.sample.columns[0]) - int(self.prewhiten), int(self.prewhiten)
        if scores is None or not (isinstance(self.bandwidth, str) or isinstance(self.maxlags, str)):
            return lag_weights(self.kernel, self.maxlags, self.bandwidth, count)
        scores = scores / scores.abs().max().clamp_min(
            torch.finfo(scores.dtype).tiny
        )  # whose fourth powers need be held
        if self.bandwidth == "andrews":
            found = andrews(scores, self.kernel, weights)
        else:
            found = newey_west(scores, self.kernel, weights, count + order, order)
        if isinstance(self.maxlags, str):
            return lag_weights(self.kernel, int(found), None, count)
        return lag_weights(self.kernel, None, found, count)


def check_lags(maxlags: Any, bandwidth: Any) -> None:
    """Refuse lags and bandwidths that are none."""
    if maxlags is not None and bandwidth is not None:
        raise OptionError("maxlags and bandwidth were both given, and each says how far lags go; pass one.")
    whole = isinstance(maxlags, Integral) and not isinstance(maxlags, bool) and int(maxlags) >= 0
    if not whole and maxlags is not None and not (isinstance(maxlags, str) and maxlags == "newey-west"):
        raise OptionError(f"maxlags is {maxlags!r}; pass a whole number of lags, 0 or more, or 'newey-west'.")
    if isinstance(bandwidth, str) and bandwidth not in ("newey-west", "andrews"):
        raise OptionError(f"bandwidth is {bandwidth!r}; pass a number, 'newey-west' or 'andrews'.")
    number = isinstance(bandwidth, Real) and 0.0 <= float(bandwidth) < float("inf")
    if bandwidth is not None and not isinstance(bandwidth, str) and not number:
        raise OptionError(f"bandwidth is {bandwidth!r}; pass a number of zero or more, 'newey-west' or 'andrews'.")


def lag_weights(kernel: KernelName, maxlags: Any, bandwidth: Any, count: int) -> tuple[Tensor, str]:
    """Return the weights of lags below `count`, and a word on them for a note."""
    if bandwidth is not None:
        name = "" if kernel == "bartlett" else f"the {kernel} kernel with "
        return weights_of_bandwidth(kernel, float(bandwidth), count), f"{name}bandwidth {float(bandwidth):.4g}"
    lags = default_lags(count) if maxlags is None else int(maxlags)
    if lags >= count:
        raise OptionError(f"maxlags is {lags}, and there are {count} periods; pass fewer lags than that.")
    return weights_of_lags(kernel, lags), f"{lags} lags"


def default_lags(count: int) -> int:
    """Return the whole part of 4 (n / 100)^(2/9)."""
    return min(int(4.0 * (count / 100.0) ** (2.0 / 9.0)), count - 1)


def refuse_counts(fit: Fit, what: str) -> None:
    """Refuse frequency weights, since repeated rows have no order in time."""
    sample = fit.sample
    if isinstance(sample, Design) and sample.counts is not None:
        raise EstimationError(
            f"{what} needs rows in the order of time or space, and freq_weights repeat them; pass the rows themselves."
        )


def _plain_scores(rows: Rows) -> Tensor:
    return rows.scores()


def _rotated(rows: Rows) -> Tensor:
    return product(rows.scores(), rows.at.root)


def _constant_free(fit: Fit) -> Tensor:
    """Return (k,) the columns' weights in a bandwidth by a rule: none for a constant, unless it is alone."""
    weights = torch.ones_like(fit.params)
    if isinstance(fit.sample, Design):
        index = fit.sample.constant.index
        if index is not None and fit.sample.width > 1:
            weights[index :: fit.sample.width] = 0.0
    return weights


def _mean_score(fit: Fit) -> Tensor:
    """Return (k,) the mean of the scores, which is zero but for a penalty's gradient."""
    penalty = fit.problem.penalty
    if penalty is None:
        return torch.zeros_like(fit.params)
    return value_and_gradient(penalty, fit.params)[1] / fit.nobs
