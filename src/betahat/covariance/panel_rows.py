"""Units and periods of a panel's rows, and the options that its covariances share."""

from __future__ import annotations

import warnings
from typing import Any, Literal

import torch
from torch import Tensor

from betahat.covariance.kernels import KernelName
from betahat.covariance.lags import check_lags
from betahat.covariance.partitions import time_of
from betahat.covariance.series import warn_of_order
from betahat.covariance.small_samples import FULL, factor
from betahat.data.groups import Groups
from betahat.data.times import gaps
from betahat.errors import (
    ClusterWarning,
    DataError,
    OptionError,
    counted,
    is_one_of,
    listed,
    of_data,
    shown,
    user_level,
)
from betahat.fits.fit import Fit

Correction = Literal["cluster", "hac"]


def check_options(maxlags: Any, bandwidth: Any, correction: Any) -> None:
    """Refuse unknown options, and rules for the bandwidth, which panels do not have."""
    if isinstance(maxlags, str) or isinstance(bandwidth, str):
        raise OptionError(
            f"maxlags={shown(maxlags)} and bandwidth={shown(bandwidth)}: a panel has no automatic rule; pass a number."
        )
    check_lags(maxlags, bandwidth)
    if not is_one_of(correction, ("cluster", "hac", None)):
        raise OptionError(f"correction is {shown(correction)}; use 'cluster', 'hac' or None.")


def periods_of(fit: Fit, given: Any) -> Groups:
    """Return the periods of the rows, and warn where whole numbers skip some."""
    times = time_of(fit, given)
    skipped = gaps(times)
    if skipped:
        warnings.warn(
            f"{times.name} skips periods after {listed(skipped)}; lags count the periods that occur, so each gap is one step.",
            ClusterWarning,
            stacklevel=user_level(),
        )
    return times


def cells_of(fit: Fit, units: Groups, time: Any) -> tuple[Tensor, int]:
    """Return (n,) each row's period, and their number; refuse two rows in one cell."""
    if time is None:
        warn_of_order(fit, "A panel's HAC", units.codes)
        order = torch.argsort(units.codes, stable=True)
        starts = units.sizes.cumsum(0) - units.sizes
        places = torch.empty_like(order)
        places[order] = torch.arange(len(order), device=order.device) - starts[units.codes[order]]
        return places, int(units.sizes.max())
    times = periods_of(fit, time)
    cells = units.codes * times.count + times.codes
    double = torch.unique(cells, return_counts=True)
    if bool((double[1] > 1).any()):
        cell = double[0][double[1] > 1][0]
        unit, period = of_data(units.labels[int(cell) // times.count]), of_data(times.labels[int(cell) % times.count])
        raise DataError(
            f"{units.name} and {times.name} have several rows in {counted(int((double[1] > 1).sum()), 'cell')}, such as ({unit}, {period}); "
            "a panel has one row for each unit and period: add them up, or cluster."
        )
    return times.codes, times.count


def named_kernel(kernel: KernelName, lags: str) -> str:
    """Name a kernel that is not statsmodels' default."""
    return "" if kernel == "bartlett" else f", by {lags}"


def factor_of(correction: Correction | None, count: int, fit: Fit) -> float:
    """Return the factor: of rows for "hac", of `count` groups for "cluster"."""
    if correction is None:
        return 1.0
    return factor(fit.counts, FULL, None if correction == "hac" else count)
