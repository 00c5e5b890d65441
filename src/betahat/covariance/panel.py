"""Covariances of panels: Driscoll and Kraay, Newey and West within each unit, Beck and Katz's panel-corrected."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import torch
from torch import Tensor

from betahat.calculus.index import index_rows
from betahat.covariance.base import Covariance, Estimator, keep_given, of_core, penalised
from betahat.covariance.cluster import group_of, time_of
from betahat.covariance.hac import check_lags, lag_weights, refuse_counts, warn_of_order, with_lags
from betahat.covariance.kernels import KernelName, kernel_name, lagged_products
from betahat.covariance.small_samples import FULL, between, counts_of, factor
from betahat.data.groups import Groups
from betahat.data.times import gaps
from betahat.errors import (
    ClusterWarning,
    DataError,
    EstimationError,
    OptionError,
    check_flag,
    counted,
    is_one_of,
    listed,
    shown,
    user_level,
)
from betahat.fits.fit import Fit
from betahat.fits.influence_sums import influence_sums
from betahat.lazy import lazily
from betahat.solvers.memory import check_numbers_fit

if TYPE_CHECKING:
    import pandas as pd
else:
    pd = lazily("pandas")

Correction = Literal["cluster", "hac"]


@dataclass(frozen=True, eq=False)
class DriscollKraay(Estimator):
    """HAC of the sums of scores over each period: robust to correlation across units and over time.

    Attributes
    ----------
    time : str or vector
        The periods, a column's name or a label for each row; their order is found. Lags count the periods that occur.
    maxlags : int or None
        The last lag; None, without a bandwidth, is the whole part of 4 (T / 100)^(2/9).
    kernel, bandwidth
        As in `HAC`; a bandwidth is a number.
    correction : {"cluster", "hac"} or None
        The factor T / (T - 1) (n - 1) / (n - k) of T periods, statsmodels' default; n / (n - k); or none.
    df_correction : bool
        Whether tests by t and F take T - 1 degrees of freedom or n - k.

    Raises
    ------
    DataError, OptionError

    Warns
    -----
    ClusterWarning
        Whole-number periods skip some: what lies between is taken for one step.

    Examples
    --------
    >>> import numpy as np
    >>> import betahat as bh
    >>> x = np.arange(12.0) % 5
    >>> res = bh.OLS(np.sqrt(x) + np.sin(np.arange(12)), bh.add_constant(x)).fit()
    >>> res.with_cov(bh.DriscollKraay(np.arange(12) // 2, maxlags=1)).bse.round(4)
    array([0.3306, 0.11  ])

    References
    ----------
    Driscoll and Kraay (1998), Rev. Econ. Stat. 80(4). Hoechle (2007), Stata J. 7(3). R: ``plm::vcovSCC``,
    ``sandwich::vcovPL``.
    """

    time: Any
    maxlags: int | None = None
    kernel: KernelName = "bartlett"
    bandwidth: float | None = None
    correction: Correction | None = "cluster"
    df_correction: bool = True

    def __post_init__(self) -> None:
        """Refuse unknown options."""
        _check(self.maxlags, self.bandwidth, self.correction)
        check_flag("df_correction", self.df_correction)
        object.__setattr__(self, "kernel", kernel_name(self.kernel))
        keep_given(self, "time")

    def __call__(self, fit: Fit) -> Covariance:
        """Sum the lagged products of the periods' scores."""
        refuse_counts(fit, "Driscoll and Kraay's covariance")
        times = _times(fit, self.time)
        weights, lags = lag_weights(self.kernel, self.maxlags, self.bandwidth, times.count)
        core = _factor(self.correction, times.count, fit) * lagged_products([influence_sums(fit, times)], weights)
        note = f"Driscoll and Kraay Standard Errors are robust to cluster correlation (HAC-Groupsum){_other(self.kernel, lags)}"
        df = between([times.count]) if self.df_correction else None
        return with_lags(of_core(fit, core, "hac-groupsum", note + penalised(fit), df_tests=df), self, weights)


@dataclass(frozen=True, eq=False)
class PanelNeweyWest(Estimator):
    """HAC of each unit's own series of scores, added: robust to correlation over time within units.

    Attributes
    ----------
    panel : str or vector or None
        The units. None, beside `time`, begins another where time falls from one row to the next.
    time : str or vector or None
        The periods; None takes each unit's rows in their order. Lags count the periods that occur in the data, so that a
        period that a unit lacks breaks its pairs.
    maxlags, kernel, bandwidth
        As in `DriscollKraay`.
    correction : {"hac", "cluster"} or None
        The factor n / (n - k), statsmodels' default; G / (G - 1) (n - 1) / (n - k) of G units; or none.
    df_correction : bool
        Whether tests by t and F take G - 1 degrees of freedom or n - k.

    Raises
    ------
    DataError
        Two rows of one unit in one period.

    Examples
    --------
    >>> import numpy as np
    >>> import betahat as bh
    >>> x = np.arange(12.0) % 5
    >>> res = bh.OLS(np.sqrt(x) + np.sin(np.arange(12)), bh.add_constant(x)).fit()
    >>> res.with_cov(bh.PanelNeweyWest(np.arange(12) % 2, np.arange(12) // 2, maxlags=1)).bse.round(4)
    array([0.3556, 0.1784])

    References
    ----------
    Newey and West (1987), Econometrica 55(3). R: ``sandwich::vcovPL(aggregate = FALSE)``.
    """

    panel: Any
    time: Any = None
    maxlags: int | None = None
    kernel: KernelName = "bartlett"
    bandwidth: float | None = None
    correction: Correction | None = "hac"
    df_correction: bool = True

    def __post_init__(self) -> None:
        """Refuse unknown options."""
        _check(self.maxlags, self.bandwidth, self.correction)
        check_flag("df_correction", self.df_correction)
        object.__setattr__(self, "kernel", kernel_name(self.kernel))
        keep_given(self, "panel", "time")

    def __call__(self, fit: Fit) -> Covariance:
        """Sum the lagged products of all units, each followed by as many empty periods as there are lags."""
        refuse_counts(fit, "A panel's HAC")
        units = self._units(fit)
        places, periods = _places(fit, units, self.time)
        weights, lags = lag_weights(self.kernel, self.maxlags, self.bandwidth, periods)
        first = places.new_full((units.count,), periods).scatter_reduce_(0, units.codes, places, "amin")
        last = places.new_zeros(units.count).scatter_reduce_(0, units.codes, places, "amax")
        room = (last - first + len(weights)).cumsum(0)
        begin = torch.nn.functional.pad(room, (1, 0))[:-1] - first
        check_numbers_fit(int(room[-1]) * fit.rank, "The units' padded series", fit.params.device)
        series = fit.sum_groups(begin[units.codes] + places, int(room[-1]), lambda rows: rows.influence())
        core = _factor(self.correction, units.count, fit) * lagged_products([series], weights)
        note = f"Standard Errors are robust to cluster correlation (HAC-Panel){_other(self.kernel, lags)}"
        df = between([units.count]) if self.df_correction else None
        return with_lags(of_core(fit, core, "hac-panel", note + penalised(fit), df_tests=df), self, weights)

    def _units(self, fit: Fit) -> Groups:
        """Return the units; without `panel`, rows between which time does not fall are one."""
        if self.panel is not None or self.time is None:
            return group_of(fit, self.panel, "panel")
        times = time_of(fit, self.time)
        codes = torch.nn.functional.pad((times.codes.diff() < 0).cumsum(0), (1, 0))
        count = int(codes[-1]) + 1
        if count == 1:
            raise EstimationError(
                f"{times.name} never falls from one row to the next, so that there is one unit only; pass the units too, or use HAC with time= "
                "for one series."
            )
        return Groups(codes, count, "panel, told by time,", "", pd.RangeIndex(count))


@dataclass(frozen=True, eq=False)
class PanelCorrected(Estimator):
    """Sum over periods of x_it x_jt' times the covariance of the residuals of units i and j.

    Attributes
    ----------
    panel, time : str or vector
        The units and the periods.
    pairwise : bool
        Of an unbalanced panel, whether a pair's covariance takes the periods that both have, or all pairs those that
        every unit has.

    Raises
    ------
    DataError, EstimationError
        Two rows of one unit in one period; no period that all units have; a model without a linear index.

    Examples
    --------
    >>> import numpy as np
    >>> import betahat as bh
    >>> x = np.arange(12.0) % 5
    >>> res = bh.OLS(np.sqrt(x) + np.sin(np.arange(12)), bh.add_constant(x)).fit()
    >>> res.with_cov(bh.PanelCorrected(np.arange(12) % 2, np.arange(12) // 2)).bse.round(4)
    array([0.3887, 0.1618])

    References
    ----------
    Beck and Katz (1995), Am. Pol. Sci. Rev. 89(3). R: ``sandwich::vcovPC``.
    """

    panel: Any
    time: Any
    pairwise: bool = False

    def __post_init__(self) -> None:
        """Refuse unknown options."""
        check_flag("pairwise", self.pairwise)
        keep_given(self, "panel", "time")

    def __call__(self, fit: Fit) -> Covariance:
        """Estimate the units' covariance, and weight the periods' cross products by it."""
        refuse_counts(fit, "A panel-corrected covariance")
        units = group_of(fit, self.panel, "panel")
        places, periods = _places(fit, units, self.time)
        cells, width = units.count * periods, fit.rank
        check_numbers_fit(cells * (width + 1) + units.count**2, "The panel's cells", fit.params.device)
        codes = units.codes * periods + places
        joint = fit.sum_groups(
            codes, cells, lambda rows: torch.cat([index_rows(rows).rotated, index_rows(rows).residual[:, None]], 1)
        ).view(units.count, periods, width + 1)
        there = (
            torch.zeros(cells, dtype=torch.float64, device=codes.device).index_fill_(0, codes, 1.0).view(-1, periods)
        )
        sigma = self._errors(joint[:, :, -1], there)
        columns = joint[:, :, :-1]
        mixed = (sigma @ columns.reshape(units.count, -1)).view_as(columns)
        core = torch.einsum("itr,its->rs", columns, mixed)
        note = "Standard Errors are panel-corrected, robust to correlation of the units within periods"
        return of_core(fit, core, "panel-corrected", note + penalised(fit))

    def _errors(self, residuals: Tensor, there: Tensor) -> Tensor:
        """Return (N, N) the covariance of the units' residuals."""
        if self.pairwise:
            shared = there @ there.mT
            return residuals @ residuals.mT / shared.clamp_min(1.0)
        whole = there.all(0)
        if not bool(whole.any()):
            raise EstimationError(
                "No period has a row of every unit, so that their covariance is not known; pass pairwise=True."
            )
        return residuals[:, whole] @ residuals[:, whole].mT / float(whole.sum())


def _check(maxlags: Any, bandwidth: Any, correction: Any) -> None:
    if isinstance(maxlags, str) or isinstance(bandwidth, str):
        raise OptionError(
            f"maxlags={shown(maxlags)} and bandwidth={shown(bandwidth)}: a panel has no automatic rule; pass a number."
        )
    check_lags(maxlags, bandwidth)
    if not is_one_of(correction, ("cluster", "hac", None)):
        raise OptionError(f"correction is {shown(correction)}; use 'cluster', 'hac' or None.")


def _times(fit: Fit, given: Any) -> Groups:
    times = time_of(fit, given)
    skipped = gaps(times)
    if skipped:
        warnings.warn(
            f"{times.name} skips periods after {listed(skipped)}; lags count the periods that occur, so that each gap is one step.",
            ClusterWarning,
            stacklevel=user_level(),
        )
    return times


def _places(fit: Fit, units: Groups, time: Any) -> tuple[Tensor, int]:
    """Return (n,) each row's period, and their number; refuse two rows in one cell."""
    if time is None:
        warn_of_order(fit, "A panel's HAC", units.codes)
        order = torch.argsort(units.codes, stable=True)
        starts = units.sizes.cumsum(0) - units.sizes
        places = torch.empty_like(order)
        places[order] = torch.arange(len(order), device=order.device) - starts[units.codes[order]]
        return places, int(units.sizes.max())
    times = _times(fit, time)
    cells = units.codes * times.count + times.codes
    double = torch.unique(cells, return_counts=True)
    if bool((double[1] > 1).any()):
        cell = double[0][double[1] > 1][0]
        unit, period = units.labels[int(cell) // times.count], times.labels[int(cell) % times.count]
        raise DataError(
            f"{counted(int((double[1] > 1).sum()), 'cell')} of {units.name} and {times.name} has several rows, ({unit}, {period}) for one; "
            "a panel has one row for each unit and period: add them up, or cluster."
        )
    return times.codes, times.count


def _other(kernel: KernelName, lags: str) -> str:
    """Name a kernel that is not statsmodels' default."""
    return "" if kernel == "bartlett" else f", by {lags}"


def _factor(correction: Correction | None, count: int, fit: Fit) -> float:
    """Return the factor: of rows for "hac", of `count` groups for "cluster"."""
    if correction is None:
        return 1.0
    return factor(counts_of(fit), FULL, None if correction == "hac" else count)
