"""Rows in the order of time."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from betahat.calculus.rows import Rows
from betahat.covariance.partitions import time_of
from betahat.data.design import Design
from betahat.data.row_codes import HeldCodes
from betahat.data.times import calendar
from betahat.errors import ClusterWarning, DataError, EstimationError, counted, user_level
from betahat.fits.fit import Fit
from betahat.lazy import lazily
from betahat.solvers.memory import check_numbers_fit

if TYPE_CHECKING:
    import pandas as pd
else:
    pd = lazily("pandas")


# A calendar may have so many periods for each that has a row.
_SPARSE = 1000


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
            yield fit.sum_groups(HeldCodes(self.places), self.periods, function), there.index_fill_(0, self.places, 1.0)
            return
        for values in fit.each(function) if self.order is None else fit.each_in(self.order, function):
            yield values, torch.ones_like(values[:, :1])

    def check_whole(self) -> None:
        """Refuse gaps where every period is needed."""
        if self.places is not None:
            raise EstimationError(
                f"{self.name} skips periods, and a bandwidth by a rule, or prewhitening, needs every one; pass maxlags= or bandwidth= as a "
                "number, or omit time to use the order of the rows."
            )


def series_in_time(fit: Fit, given: Any) -> Series:
    """Return the rows in the order of `time`, with the periods between them; None takes them in their own order."""
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
            f"{times.name} has {rows} periods on a calendar of {periods}, so hardly any are adjacent; pass periods of regular length, "
            "such as days, or omit time to use the order of the rows."
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
            f"{what} uses the order of the rows, which is not that of the dates in the data's index; pass time=, such as time=data.index, or "
            "sort the data.",
            ClusterWarning,
            stacklevel=user_level(),
        )


def refuse_counts(fit: Fit, what: str) -> None:
    """Refuse frequency weights, since repeated rows have no order in time."""
    sample = fit.sample
    if isinstance(sample, Design) and sample.counts is not None:
        raise EstimationError(
            f"{what} needs rows in the order of time or space, but freq_weights repeat them; pass the rows themselves."
        )
