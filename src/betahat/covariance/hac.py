"""Heteroskedasticity- and autocorrelation-consistent covariance of a time series: Newey and West, Andrews."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from numbers import Integral
from typing import TYPE_CHECKING, Any, Literal

import torch
from torch import Tensor

from betahat.calculus.autodiff import value_and_gradient
from betahat.calculus.rows import Rows
from betahat.covariance.base import Covariance, Estimator, keep_given, of_core, penalised
from betahat.covariance.cluster import time_of
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
from betahat.covariance.small_samples import FULL, counts_of, factor
from betahat.covariance.told import told_option
from betahat.data.design import Design
from betahat.data.times import calendar
from betahat.errors import (
    ClusterWarning,
    DataError,
    EstimationError,
    OptionError,
    check_flag,
    counted,
    is_number,
    shown,
    user_level,
)
from betahat.fits.fit import Fit
from betahat.fits.remembered import of_fit
from betahat.lazy import lazily
from betahat.solvers.memory import check_numbers_fit

if TYPE_CHECKING:
    import pandas as pd
else:
    pd = lazily("pandas")

# A calendar may have so many periods for each that has a row.
_SPARSE = 1000


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
        Instead of maxlags: lag j has weight k(j / bandwidth). By a rule, the constant has no say in it.
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
            weights, lags = self._weights(series, None, fit)
            if fit.problem.penalty is None:
                each = series.each(fit, lambda rows: rows.summands())
                core = fit.point.core(lagged_products((part for part, _ in each), weights))
            else:
                each, mean = series.each(fit, lambda rows: rows.influence()), _mean_influence(fit)
                core = lagged_products((part - mean * there for part, there in each), weights)
        else:
            series.check_whole()
            scores = _influences(fit) - _mean_influence(fit)
            scores = scores if series.order is None else scores[series.order]
            whole, half = (scores, None) if not self.prewhiten else prewhitened(scores, int(self.prewhiten))
            # a vector autoregression turns with the coordinates, and a rule for the bandwidth looks at the columns' own
            own = whole @ (fit.root.mT @ fit.triangle.mT) @ fit.triangle
            weights, lags = self._weights(series, own, fit)
            core = lagged_products([whole], weights)
            core = core if half is None else half @ core @ half.mT
        if self.correction:
            core = core * factor(counts_of(fit), FULL)
        how = "with" if self.correction else "without"
        note = f"Standard Errors are heteroscedasticity and autocorrelation robust (HAC) using {lags} and {how} small sample correction"
        white = f", prewhitened by VAR({self.prewhiten})" if self.prewhiten else ""
        return with_lags(of_core(fit, core, "HAC", note + white + series.note + penalised(fit)), self, weights)

    def _weights(self, series: Series, scores: Tensor | None, fit: Fit) -> tuple[Tensor, str]:
        """Return the lags' weights, and a word on them."""
        count, order = series.periods - int(self.prewhiten), int(self.prewhiten)
        if scores is None or not (isinstance(self.bandwidth, str) or isinstance(self.maxlags, str)):
            plain = self.maxlags is None and self.bandwidth is None
            return lag_weights(
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
        if isinstance(self.maxlags, str):
            return lag_weights(self.kernel, int(found), None, count)
        return lag_weights(self.kernel, None, found, count)


@dataclass(frozen=True, eq=False)
class Series:
    """Rows in the order of time.

    Attributes
    ----------
    rows : int
        n.
    periods : int
        From the first to the last, those without a row included.
    name : str
        What to call the time in a sentence.
    order : Tensor or None
        (n,) the rows' positions in the order of time, where it is another than theirs.
    places : Tensor or None
        (n,) each row's period, from 0, where some have no row.
    """

    rows: int
    periods: int
    name: str = "time"
    order: Tensor | None = None
    places: Tensor | None = None

    @property
    def note(self) -> str:
        """What a summary says of gaps."""
        missing = self.periods - self.rows
        return f", with {counted(missing, 'period')} of time without a row" if missing else ""

    def each(self, fit: Fit, function: Callable[[Rows], Tensor]) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield `function(rows)` of blocks in the order of time, zero in periods without a row, and (b, 1) which periods have one."""
        if self.places is not None:
            there = torch.zeros(self.periods, 1, dtype=torch.float64, device=self.places.device)
            check_numbers_fit(self.periods * fit.rank, "The periods, those without a row included,", there.device)
            yield fit.sum_groups(self.places, self.periods, function), there.index_fill_(0, self.places, 1.0)
            return
        for values in fit.each(function) if self.order is None else fit.each_in(self.order, function):
            yield values, torch.ones_like(values[:, :1])

    def check_whole(self) -> None:
        """Refuse gaps where every period is needed."""
        if self.places is not None:
            raise EstimationError(
                f"{self.name} skips periods, and a bandwidth by a rule, or prewhitening, needs every one; pass maxlags= or bandwidth= as a "
                "number, or leave time out to take the rows as they follow each other."
            )


def series_in_time(fit: Fit, given: Any) -> Series:
    """Return the rows in the order of `time`, with the periods between them; None takes them in their own.

    Raises
    ------
    DataError
        Two rows of one period; periods that are hardly ever neighbours.
    """
    rows = fit.sample.rows
    if given is None:
        warn_of_order(fit, "HAC")
        return Series(rows, rows)
    times = time_of(fit, given)
    if times.count < rows:
        first = times.labels[int(times.sizes.argmax())]
        raise DataError(
            f"{times.name} has several rows in one period, {first} for one, and HAC is of one series; use DriscollKraay, which adds up the rows "
            "of a period, or PanelNeweyWest for the series of several units."
        )
    order = None if bool((times.codes.diff() == 1).all()) else torch.argsort(times.codes)
    found = calendar(times.labels)
    if found is None:
        return Series(rows, rows, times.name, order)
    places = (found.places - found.places[0]) // found.step
    periods = int(places[-1]) + 1
    if periods == rows:
        return Series(rows, rows, times.name, order)
    if periods > _SPARSE * rows:
        raise DataError(
            f"{times.name} has {rows} periods on a calendar of {periods}, so that hardly any are neighbours; pass periods of regular length, "
            "such as days, or leave time out to take the rows as they follow each other."
        )
    return Series(rows, periods, times.name, None, torch.as_tensor(places).to(times.codes.device)[times.codes])


def warn_of_order(fit: Fit, what: str, units: Tensor | None = None) -> None:
    """Warn where rows are taken in their order, within each unit, and the data's index of dates is in another."""
    labels = fit.sample.container.row_labels
    if not isinstance(labels, pd.DatetimeIndex | pd.PeriodIndex | pd.TimedeltaIndex):
        return
    moved = torch.as_tensor(labels.asi8.copy())
    if units is not None:
        order = torch.argsort(units.cpu(), stable=True)
        same = units.cpu()[order].diff() == 0
        moves = moved[order].diff()[same]
    else:
        moves = moved.diff()
    if bool((moves > 0).any()) and bool((moves < 0).any()):
        warnings.warn(
            f"{what} takes the rows in their order, and the dates in the data's index have another; pass time=, such as time=data.index, or "
            "sort the data.",
            ClusterWarning,
            stacklevel=user_level(),
        )


def with_lags(covariance: Covariance, estimator: Any, weights: Tensor) -> Covariance:
    """Say how many lags there are, where the estimator's own options do not."""
    if estimator.bandwidth is not None or isinstance(estimator.maxlags, Integral):
        return covariance
    return replace(covariance, options=(("maxlags", told_option("maxlags", len(weights) - 1)),))


def check_lags(maxlags: Any, bandwidth: Any) -> None:
    """Refuse lags and bandwidths that are none."""
    if maxlags is not None and bandwidth is not None:
        raise OptionError("maxlags and bandwidth were both given, and each says how far lags go; pass one.")
    whole = isinstance(maxlags, Integral) and is_number(maxlags) and int(maxlags) >= 0
    if not whole and maxlags is not None and not (isinstance(maxlags, str) and maxlags == "newey-west"):
        raise OptionError(f"maxlags is {shown(maxlags)}; pass a whole number of lags, 0 or more, or 'newey-west'.")
    if isinstance(bandwidth, str) and bandwidth not in ("newey-west", "andrews"):
        raise OptionError(f"bandwidth is {shown(bandwidth)}; pass a number, 'newey-west' or 'andrews'.")
    number = is_number(bandwidth) and bandwidth >= 0.0
    if bandwidth is not None and not isinstance(bandwidth, str) and not number:
        raise OptionError(f"bandwidth is {shown(bandwidth)}; pass a number of zero or more, 'newey-west' or 'andrews'.")


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


@of_fit
def _influences(fit: Fit) -> Tensor:
    """Return (n, r) Z's."""
    return fit.map_rows(lambda rows: rows.influence())


def _constant_free(fit: Fit) -> Tensor:
    """Return (k,) the columns' weights in a bandwidth by a rule: none for a constant, unless it is alone."""
    weights = torch.ones_like(fit.params)
    if isinstance(fit.sample, Design):
        index = fit.sample.constant.index
        if index is not None and fit.sample.width > 1:
            weights[index :: fit.sample.width] = 0.0
    return weights


def _mean_influence(fit: Fit) -> Tensor:
    """Return (r,) the mean of Z's, which is zero but for a penalty's gradient."""
    penalty = fit.problem.penalty
    if penalty is None:
        return fit.root.new_zeros(fit.rank)
    return value_and_gradient(penalty, fit.params)[1] @ fit.root / fit.nobs
