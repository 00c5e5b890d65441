"""Heteroskedasticity- and autocorrelation-consistent covariance of a time series: Newey and West, Andrews."""

from __future__ import annotations

from dataclasses import dataclass
from numbers import Integral
from typing import Any, Literal

import torch
from torch import Tensor

from betahat.calculus.autodiff import value_and_gradient
from betahat.calculus.rows import Rows
from betahat.covariance.base import Covariance, Estimator, keep_given
from betahat.covariance.kernels import KernelName, andrews, kernel_name, lagged_products, newey_west, prewhitened
from betahat.covariance.lags import Lags, check_lags, default_lags, lags_of, with_lags
from betahat.covariance.sandwich import of_core, penalised
from betahat.covariance.scores_in_turn import ScoresInTurn
from betahat.covariance.series import Series, refuse_counts, series_in_time
from betahat.covariance.small_samples import FULL, factor
from betahat.data.design import Design
from betahat.errors import OptionError, check_flag, shown
from betahat.fits.fit import Fit
from betahat.fits.inverse_root import inverse_root
from betahat.fits.remembered import of_fit


@dataclass(frozen=True)
class HAC(Estimator):
    """A^-1 (w_0 Gamma_0 + sum of w_j (Gamma_j + Gamma_j')) A^-1, Gamma_j = sum of s_t s_(t-j)' over scores in the order of time.

    Attributes
    ----------
    maxlags : int, "newey-west" or None
        The last lag L, of weight k(L / (L + 1)): for Bartlett 1 - j / (L + 1). "newey-west" is the whole part of that
        bandwidth. None, without a bandwidth, is the whole part of 4 (n / 100)^(2/9), statsmodels' default.
    kernel : {"bartlett", "parzen", "quadratic-spectral", "tukey-hanning", "truncated"}
        k; statsmodels' "uniform" is "truncated".
    bandwidth : float, "newey-west", "andrews" or None
        Instead of maxlags: lag j has weight k(j / bandwidth). The rules leave out the constant.
    prewhiten : int
        The order of the vector autoregression that scores are filtered by first; 0 is none.
    correction : bool
        Whether to multiply by n / (n - k).
    time : str or vector or None
        The period of each row, a column's name or a label: numbers, dates, periods. Lags are then distances in time, so that a period that
        is missing breaks its pairs and no others. None takes the rows in their order.

    Raises
    ------
    DataError, OptionError, EstimationError
        Two rows of one period; gaps beside a bandwidth by a rule or prewhitening, which need every period.

    Warns
    -----
    ClusterWarning
        There is no `time`, and the data's index of dates is not in order.

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
    A bandwidth by a rule, and prewhitening, hold the (n, k) scores of rows in memory; lags alone pass through them once, in blocks.

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
    time: Any = None

    def __post_init__(self) -> None:
        """Refuse unknown options."""
        check_lags(self.maxlags, self.bandwidth)
        object.__setattr__(self, "kernel", kernel_name(self.kernel))
        if isinstance(self.prewhiten, bool):
            object.__setattr__(self, "prewhiten", int(self.prewhiten))
        if not isinstance(self.prewhiten, Integral) or self.prewhiten < 0:
            raise OptionError(f"prewhiten is {shown(self.prewhiten)}; pass the order of an autoregression, 0 or more.")
        check_flag("correction", self.correction)
        keep_given(self, "time")

    def __call__(self, fit: Fit) -> Covariance:
        """Sum the lagged products of the scores."""
        refuse_counts(fit, "HAC")
        rule = isinstance(self.bandwidth, str) or isinstance(self.maxlags, str)
        series = series_in_time(fit, self.time)
        if not rule and not self.prewhiten:
            lags = self._lags(series, None, fit)
            last, read = len(lags.weights) - 1, fit.sample.source.stream is not None
            if fit.problem.penalty is None:
                each = series.each(fit, _summands, last)
                core = fit.point.core(lagged_products((part for part, _ in each), lags.weights, read=read))
            else:
                each, mean = series.each(fit, _influence, last), _mean_influence(fit)
                core = lagged_products((part - mean * there for part, there in each), lags.weights, read=read)
        else:
            series.check_whole()
            if fit.sample.source.stream is not None:
                core, lags = self._in_turn(fit, series)
                return self._named(fit, core, lags, series)
            scores = _influences(fit) - _mean_influence(fit)
            scores = scores if series.order is None else scores[series.order]
            whole, half = (scores, None) if not self.prewhiten else prewhitened(scores, int(self.prewhiten))
            # a vector autoregression turns with the coordinates, and a rule for the bandwidth looks at the columns' own
            own = whole @ inverse_root(fit)
            lags = self._lags(series, own, fit)
            core = lagged_products([whole], lags.weights)
            core = core if half is None else half @ core @ half.mT
        return self._named(fit, core, lags, series)

    def _in_turn(self, fit: Fit, series: Series) -> tuple[Tensor, Lags]:
        """Return the core and the lags by passes over scores that are not held."""
        mean, order = _mean_influence(fit), int(self.prewhiten)
        scores = ScoresInTurn(
            lambda: (part - mean for part, _ in series.each(fit, _influence, 0)), series.rows, inverse_root(fit)
        )
        scores, half = (scores, None) if not order else scores.prewhitened(order)
        rule = self.bandwidth if isinstance(self.bandwidth, str) else self.maxlags
        if isinstance(rule, str):
            weights = _constant_free(fit)
            found = (
                scores.andrews(self.kernel, weights)
                if rule == "andrews"
                else scores.newey_west(self.kernel, weights, order)
            )
            lags = self._lags_of_rule(found, scores.rows)
        else:
            lags = self._lags(series, None, fit)
        core = lagged_products(scores.read(), lags.weights, read=True)
        return core if half is None else half @ core @ half.mT, lags

    def _named(self, fit: Fit, core: Tensor, lags: Lags, series: Series) -> Covariance:
        if self.correction:
            core = core * factor(fit.counts, FULL)
        how = "with" if self.correction else "without"
        note = f"Standard Errors are heteroscedasticity and autocorrelation robust (HAC) using {lags.words} and {how} small sample correction"
        white = f", prewhitened by VAR({self.prewhiten})" if self.prewhiten else ""
        return with_lags(of_core(fit, core, "HAC", note + white + series.note + penalised(fit)), self, lags)

    def _lags(self, series: Series, scores: Tensor | None, fit: Fit) -> Lags:
        """Return the lags by number, by bandwidth, or by a rule from the (n, k) scores."""
        count, order = series.periods - int(self.prewhiten), int(self.prewhiten)
        if scores is None or not (isinstance(self.bandwidth, str) or isinstance(self.maxlags, str)):
            plain = self.maxlags is None and self.bandwidth is None
            return lags_of(
                self.kernel, default_lags(series.rows - order) if plain else self.maxlags, self.bandwidth, count
            )
        scores = scores / scores.abs().max().clamp_min(
            torch.finfo(scores.dtype).tiny
        )  # whose fourth powers need be held
        weights = _constant_free(fit)
        if self.bandwidth == "andrews":
            found = andrews(scores, self.kernel, weights)
        else:
            found = newey_west(scores, self.kernel, weights, count + order, order)
        return self._lags_of_rule(found, count)

    def _lags_of_rule(self, found: float, count: int) -> Lags:
        if isinstance(self.maxlags, str):
            return lags_of(self.kernel, int(found), None, count)
        return lags_of(self.kernel, None, found, count)


def _summands(rows: Rows) -> Tensor:
    return rows.summands()


def _influence(rows: Rows) -> Tensor:
    return rows.influence()


@of_fit
def _influences(fit: Fit) -> Tensor:
    """Return (n, r) Zᵀs."""
    return fit.map_rows(_influence)


def _constant_free(fit: Fit) -> Tensor:
    """Return (k,) the columns' weights in a bandwidth by a rule: none for a constant, unless it is alone."""
    weights = torch.ones_like(fit.params)
    if isinstance(fit.sample, Design):
        index = fit.sample.constant.index
        if index is not None and fit.sample.width > 1:
            weights[index :: fit.sample.width] = 0.0
    return weights


def _mean_influence(fit: Fit) -> Tensor:
    """Return (r,) the mean of Zᵀs, which is zero but for a penalty's gradient."""
    penalty = fit.problem.penalty
    if penalty is None:
        return fit.root.new_zeros(fit.rank)
    return value_and_gradient(penalty, fit.params)[1] @ fit.root / fit.nobs
