"""Newey and West's covariance of panels: HAC within each unit."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from betahat.covariance.base import Covariance, Estimator, keep_given
from betahat.covariance.kernels import KernelName, kernel_name, lagged_products
from betahat.covariance.lags import Lags, lags_of, with_lags
from betahat.covariance.panel_in_turn import panel_in_turn
from betahat.covariance.panel_rows import Correction, cells_of, check_options, factor_of, named_kernel, periods_of
from betahat.covariance.partitions import group_of, time_of
from betahat.covariance.sandwich import of_core, penalised
from betahat.covariance.series import refuse_counts
from betahat.covariance.small_samples import between
from betahat.data.groups import Groups
from betahat.data.row_codes import HeldCodes
from betahat.errors import EstimationError, check_flag
from betahat.fits.fit import Fit
from betahat.lazy import lazily
from betahat.solvers.memory import check_numbers_fit

if TYPE_CHECKING:
    import pandas as pd
else:
    pd = lazily("pandas")


@dataclass(frozen=True, eq=False)
class PanelNeweyWest(Estimator):
    """HAC of each unit's own series of scores, added: robust to correlation over time within units.

    Attributes
    ----------
    panel : str or vector or None
        The units. None, with `time`, starts a new unit wherever time falls from one row to the next.
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
    >>> unit, time = np.arange(12) % 2, np.arange(12) // 2
    >>> res.with_cov(bh.PanelNeweyWest(unit, time, maxlags=1)).bse.round(4)
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
        check_options(self.maxlags, self.bandwidth, self.correction)
        check_flag("df_correction", self.df_correction)
        object.__setattr__(self, "kernel", kernel_name(self.kernel))
        keep_given(self, "panel", "time")

    def __call__(self, fit: Fit) -> Covariance:
        """Sum the lagged products of all units, each followed by as many empty periods as there are lags."""
        refuse_counts(fit, "A panel's HAC")
        if fit.sample.source.stream is not None:
            return self._in_turn(fit)
        units = self._units(fit)
        places, periods = cells_of(fit, units, self.time)
        lags = lags_of(self.kernel, self.maxlags, self.bandwidth, periods)
        first = places.new_full((units.count,), periods).scatter_reduce_(0, units.codes, places, "amin")
        last = places.new_zeros(units.count).scatter_reduce_(0, units.codes, places, "amax")
        room = (last - first + len(lags.weights)).cumsum(0)
        begin = torch.nn.functional.pad(room, (1, 0))[:-1] - first
        check_numbers_fit(int(room[-1]) * fit.rank, "The units' padded series", fit.params.device)
        series = fit.sum_groups(HeldCodes(begin[units.codes] + places), int(room[-1]), lambda rows: rows.influence())
        return self._named(fit, lagged_products([series], lags.weights), units, lags)

    def _in_turn(self, fit: Fit) -> Covariance:
        """Return the same of rows that are read in the order of units or periods."""
        if self.panel is None:
            raise EstimationError(
                "Units are told apart by time where rows are in memory; pass panel=, the column of the units, of rows that are read."
            )
        units = group_of(fit, self.panel, "panel")
        times = None if self.time is None else periods_of(fit, self.time)
        periods = int(units.sizes.max()) if times is None else times.count
        lags = lags_of(self.kernel, self.maxlags, self.bandwidth, periods)
        return self._named(fit, panel_in_turn(fit, units, times).core(fit, lags.weights), units, lags)

    def _named(self, fit: Fit, products: Tensor, units: Groups, lags: Lags) -> Covariance:
        core = factor_of(self.correction, units.count, fit) * products
        note = f"Standard Errors are robust to cluster correlation (HAC-Panel){named_kernel(self.kernel, lags.words)}"
        df = between([units.count]) if self.df_correction else None
        return with_lags(of_core(fit, core, "hac-panel", note + penalised(fit), df_tests=df), self, lags)

    def _units(self, fit: Fit) -> Groups:
        """Return the units; without `panel`, rows between which time does not fall are one."""
        if self.panel is not None or self.time is None:
            return group_of(fit, self.panel, "panel")
        times = time_of(fit, self.time)
        codes = torch.nn.functional.pad((times.codes.diff() < 0).cumsum(0), (1, 0))
        count = int(codes[-1]) + 1
        if count == 1:
            raise EstimationError(
                f"{times.name} never decreases from one row to the next, so there is only one unit; pass the units too, or use HAC with time= "
                "for one series."
            )
        return Groups(HeldCodes(codes), count, "panel, told by time,", "", pd.RangeIndex(count))
