"""Driscoll and Kraay: HAC of the sums of scores over each period."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from betahat.covariance.base import Covariance, Estimator, keep_given
from betahat.covariance.kernels import KernelName, kernel_name, lagged_products
from betahat.covariance.lags import lags_of, with_lags
from betahat.covariance.panel_rows import Correction, check_options, factor_of, named_kernel, periods_of
from betahat.covariance.sandwich import of_core, penalised
from betahat.covariance.series import refuse_counts
from betahat.covariance.small_samples import between
from betahat.errors import check_flag
from betahat.fits.fit import Fit
from betahat.fits.influence_sums import influence_sums


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
        Whole-number periods have gaps, and each gap counts as one step.

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
        check_options(self.maxlags, self.bandwidth, self.correction)
        check_flag("df_correction", self.df_correction)
        object.__setattr__(self, "kernel", kernel_name(self.kernel))
        keep_given(self, "time")

    def __call__(self, fit: Fit) -> Covariance:
        """Sum the lagged products of the periods' scores."""
        refuse_counts(fit, "Driscoll and Kraay's covariance")
        times = periods_of(fit, self.time)
        lags = lags_of(self.kernel, self.maxlags, self.bandwidth, times.count)
        core = factor_of(self.correction, times.count, fit) * lagged_products(
            [influence_sums(fit, times)], lags.weights
        )
        note = f"Driscoll and Kraay Standard Errors are robust to cluster correlation (HAC-Groupsum){named_kernel(self.kernel, lags.words)}"
        df = between([times.count]) if self.df_correction else None
        return with_lags(of_core(fit, core, "hac-groupsum", note + penalised(fit), df_tests=df), self, lags)
