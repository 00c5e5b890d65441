"""Rows in the order of time."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from betahat.calculus.rows import Rows
from betahat.covariance.partitions import time_of
from betahat.data.design import Design
from betahat.data.row_codes import HeldCodes, ReadCodes, RowCodes
from betahat.data.streamed import Streamed
from betahat.data.ticks import Ticks, course_of
from betahat.data.times import calendar
from betahat.errors import ClusterWarning, DataError, EstimationError, counted, of_data, user_level
from betahat.fits.fit import Fit
from betahat.lazy import lazily
from betahat.solvers.memory import check_numbers_fit

if TYPE_CHECKING:
    import pandas as pd
else:
    pd = lazily("pandas")


# A calendar may have so many periods for each that has a row.
_SPARSE = 1000
# The times of more rows than this are not listed.
_LABELS = 2**20


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
    read_places : RowCodes or None
        The same of rows that are read in turn, in the order of time.
    """

    rows: int
    periods: int
    name: str = "time"
    order: Tensor | None = None
    places: Tensor | None = None
    read_places: RowCodes | None = None

    @property
    def note(self) -> str:
        """What a summary says of gaps."""
        missing = self.periods - self.rows
        return f", with {counted(missing, 'period')} of time without a row" if missing else ""

    def each(self, fit: Fit, function: Callable[[Rows], Tensor], lags: int) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield `function(rows)` of blocks in the order of time, zero in periods without a row, and (b, 1) which periods have one.

        Of rows that are read in turn, only so many periods without a row are there as there are `lags`; more would change nothing.
        """
        if self.read_places is not None:
            yield from _spread(fit.each_beside(self.read_places, function), lags)
            return
        if self.places is not None:
            there = torch.zeros(self.periods, 1, dtype=torch.float64, device=self.places.device)
            check_numbers_fit(self.periods * fit.rank, "The periods, those without a row included,", there.device)
            yield fit.sum_groups(HeldCodes(self.places), self.periods, function), there.index_fill_(0, self.places, 1.0)
            return
        for values in fit.each(function) if self.order is None else fit.each_in(self.order, function):
            yield values, torch.ones_like(values[:, :1])

    def check_whole(self) -> None:
        """Refuse gaps where every period is needed."""
        if self.places is not None or self.read_places is not None:
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
    stream = fit.sample.source.stream
    if stream is not None and isinstance(given, str) and rows > _LABELS:
        return _series_by_ticks(fit, stream, given)
    times = time_of(fit, given)
    if times.count < rows:
        first = of_data(times.labels[int(times.sizes.argmax())])
        raise DataError(
            f"{times.name} has several rows in one period, {first} for one, and HAC is of one series; use DriscollKraay, which adds up the rows "
            "of a period, or PanelNeweyWest for the series of several units."
        )
    if stream is not None:
        course_of(fit.sample, times.of_rows, times.name)
        order = None
    else:
        order = None if bool((times.codes.diff() == 1).all()) else torch.argsort(times.codes)
    found = calendar(times.labels)
    if found is None:
        return Series(rows, rows, times.name, order)
    places = (found.places - found.places[0]) // found.step
    periods = int(places[-1]) + 1
    if periods == rows:
        return Series(rows, rows, times.name, order)
    _check_adjacent(times.name, periods, rows)
    table = torch.as_tensor(places).to(fit.params.device)
    if stream is not None:
        return Series(rows, periods, times.name, None, None, times.of_rows.mapped(table))
    return Series(rows, periods, times.name, None, table[times.codes])


def _check_adjacent(name: str, periods: int, rows: int) -> None:
    """Refuse a calendar on which nearly all periods have no row."""
    if periods > _SPARSE * rows:
        raise DataError(
            f"{name} has {rows} periods on a calendar of {periods}, so hardly any are adjacent; pass periods of regular length, "
            "such as days, or omit time to use the order of the rows."
        )


def _series_by_ticks(fit: Fit, stream: Streamed, column: str) -> Series:
    """Return so many rows that their times are no list of labels: whole numbers, or dates at what they are all multiples of."""
    rows, name = fit.sample.rows, f"time {column!r}"
    plain = ReadCodes(stream, Ticks(column, name))
    course = course_of(fit.sample, plain, name)
    periods = (course.last - course.first) // course.step + 1
    if periods == rows:
        return Series(rows, rows, name)
    _check_adjacent(name, periods, rows)
    return Series(rows, periods, name, None, None, ReadCodes(stream, Ticks(column, name, course.first, course.step)))


def _spread(blocks: Iterable[tuple[Tensor, Tensor]], lags: int) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield (b, r) blocks with rows of zeros between those whose (b,) periods are not adjacent, at most as many as there are lags."""
    before: Tensor | None = None
    for values, periods in blocks:
        ahead = torch.cat([periods[:1] - 1 if before is None else before, periods]).diff()
        places = ahead.clamp_max(lags + 1).cumsum(0) - 1
        joint = values.new_zeros(int(places[-1]) + 1, values.shape[1])
        yield joint.index_copy_(0, places, values), joint.new_zeros(len(joint), 1).index_fill_(0, places, 1.0)
        before = periods[-1:]


def warn_of_order(fit: Fit, what: str, units: Tensor | None = None) -> None:
    """Warn where rows are taken in their order, within each unit, and the data's index of dates is in another."""
    labels = None if fit.sample.source.in_turn else fit.sample.container.row_labels  # rows of files have no dates
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
        by = (
            "freq_weights repeat them" if sample.schema.compression is None else "compress counted those that are alike"
        )
        raise EstimationError(f"{what} needs rows in the order of time or space, but {by}; pass the rows themselves.")
