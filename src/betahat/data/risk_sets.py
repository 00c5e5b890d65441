"""Who is at risk when: rows sorted by stratum and time, and sums over those at risk."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from betahat.data.threads import remembered

# Times that differ by less, beside their mean, are the same but for rounding, as R's `aeqSurv` has it.
_ROUNDING = torch.finfo(torch.float64).eps ** 0.5


@dataclass(frozen=True, eq=False)
class Segments:
    """Consecutive segments of rows, each with running sums of its own.

    Attributes
    ----------
    sizes : Tensor
        (s,) how many rows each has.
    """

    sizes: Tensor

    @remembered
    def starts(self) -> Tensor:
        """(s,) the first row of each."""
        return self.sizes.cumsum(0) - self.sizes

    @remembered
    def of_rows(self) -> Tensor:
        """(n,) the segment of each row."""
        return torch.repeat_interleave(self.sizes)

    @remembered
    def _batches(self) -> list[tuple[Tensor, Tensor]]:
        """Return (c, L) places of the rows of c segments of similar size, n where one is shorter, and which of them are rows."""
        width = self.sizes.clamp_min(1).log2().ceil().long()
        total, found = int(self.sizes.sum()), []
        for size in torch.unique(width[self.sizes > 0]).tolist():
            some = ((width == size) & (self.sizes > 0)).nonzero().flatten()
            step = torch.arange(int(self.sizes[some].max()), device=some.device)
            there = step < self.sizes[some, None]
            found.append((torch.where(there, self.starts[some, None] + step, total), there))
        return found

    def running(self, values: Tensor) -> Tensor:
        """Return (n, ...) the sums of (n, ...) values from the first row of a segment to each of its rows.

        Differences of one sum over all segments would have the rounding errors of the largest.
        """
        if len(self.sizes) == 1:
            return values.cumsum(0)
        found, padded = torch.empty_like(values), torch.cat([values, torch.zeros_like(values[:1])])
        for places, there in self._batches:
            found[places[there]] = padded[places].cumsum(1)[there]
        return found

    def remaining(self, values: Tensor) -> Tensor:
        """Return (n, ...) the sums of (n, ...) values from each row to the last of its segment, added up from there."""
        return Segments(self.sizes.flip(0)).running(values.flip(0)).flip(0)

    def since(self, remaining: Tensor, places: Tensor, segments: Tensor) -> Tensor:
        """Return (m, ...) the sums from the rows at (m,) places on, of the (m,) segments that they are in or at the end of."""
        return self._there(remaining, places, places < (self.starts + self.sizes)[segments])

    def running_logs(self, logs: Tensor) -> Tensor:
        """Return (n,) the logarithms of the running sums of exp(logs)."""
        if len(self.sizes) == 1:
            return torch.logcumsumexp(logs, 0)
        found, padded = torch.empty_like(logs), torch.nn.functional.pad(logs, (0, 1), value=-torch.inf)
        for places, there in self._batches:
            found[places[there]] = torch.logcumsumexp(padded[places], 1)[there]
        return found

    @staticmethod
    def _there(values: Tensor, places: Tensor, inside: Tensor) -> Tensor:
        """Return (m, ...) the values at (m,) places, zero where there are none."""
        if not len(values):
            return values.new_zeros(len(places), *values.shape[1:])
        found = values[torch.where(inside, places, 0)]
        return torch.where(inside.reshape(-1, *[1] * (values.ndim - 1)), found, 0.0)


@dataclass(frozen=True, eq=False)
class Intervals:
    """Rows that are at risk from one of `count` places to another, and sums over them without a difference.

    A difference of running sums loses what is small beside the rows that are gone or have not come yet. Here each interval is cut at powers of
    two into at most two parts for each of log(count) sizes, and only parts are added.

    Attributes
    ----------
    first, last : Tensor
        (n,) the first place of each row, and one more than its last.
    count : int
        M.
    """

    first: Tensor
    last: Tensor
    count: int

    def over_places(self, values: Tensor) -> Tensor:
        """Return (m, ...) the sums of (n, ...) values over the rows that are there at each place."""
        parts = values.new_zeros(2 * self._size, *values.shape[1:])
        for rows, nodes in self._parts():
            parts.index_add_(0, nodes, values[rows])
        for width in self._widths:
            parts[2 * width : 4 * width] += parts[width : 2 * width].repeat_interleave(2, 0)
        return parts[self._size : self._size + self.count]

    def over_rows(self, values: Tensor) -> Tensor:
        """Return (n, ...) the sums of (m, ...) values over the places of each row."""
        parts = values.new_zeros(2 * self._size, *values.shape[1:])
        parts[self._size : self._size + self.count] = values
        for width in reversed(self._widths):
            parts[width : 2 * width] = parts[2 * width : 4 * width : 2] + parts[2 * width + 1 : 4 * width : 2]
        found = values.new_zeros(len(self.first), *values.shape[1:])
        for rows, nodes in self._parts():
            found.index_add_(0, rows, parts[nodes])
        return found

    @property
    def _size(self) -> int:
        """The least power of two that is not below m."""
        return 1 << max(self.count - 1, 0).bit_length()

    @property
    def _widths(self) -> list[int]:
        """How many parts of each size there are, but for single places."""
        return [1 << level for level in range(self._size.bit_length() - 1)]

    def _parts(self) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield the rows that have a part, and which, numbered by size: 1 is all places, 2 and 3 are its halves, and so on."""
        left, right = self.first + self._size, self.last + self._size
        while bool((left < right).any()):
            rows = ((left & 1 == 1) & (left < right)).nonzero().flatten()
            yield rows, left[rows]
            left = (left + 1) >> 1  # past an odd one
            rows = ((right & 1 == 1) & (left << 1 < right)).nonzero().flatten()
            yield rows, right[rows] - 1
            right = right >> 1


@dataclass(frozen=True, eq=False)
class RiskSets:
    """Rows in the order of strata, and in each of descending time, so that rows at risk at a time are those up to the last of that time.

    Attributes
    ----------
    order : Tensor or None
        (n,) the positions of the sorted rows; None where they are sorted as they come.
    strata : Segments
        Of the sorted rows.
    group : Tensor
        (n,) the tie of each sorted row: rows of one stratum and time.
    ends : Tensor
        (G,) one more than the last row of each tie.
    stratum : Tensor
        (G,) the stratum of each tie.
    late : LateEntry or None
        Who enters when, where some do after the start.
    """

    order: Tensor | None
    strata: Segments
    group: Tensor
    ends: Tensor
    stratum: Tensor
    late: LateEntry | None

    def sorted(self, values: Tensor) -> Tensor:
        """Return (n, ...) values of rows in the order of these sets."""
        return values if self.order is None else values[self.order]

    def unsorted(self, values: Tensor) -> Tensor:
        """Return (n, ...) values of sorted rows in the order of the data."""
        return values if self.order is None else torch.empty_like(values).index_copy_(0, self.order, values)

    def ties_by_stratum(self, ties: Tensor) -> Segments:
        """Return how many of (m,) ties each stratum has."""
        return Segments(torch.bincount(self.stratum[ties], minlength=len(self.strata.sizes)))

    def over_risk_sets(self, values: Tensor, ties: Tensor) -> Tensor:
        """Return (m, ...) the sums of (n, ...) values of sorted rows over those at risk at the times of (m,) ties."""
        if self.late is None:
            return self.strata.running(values)[self.ends[ties] - 1]
        return self._intervals(ties).over_places(values)

    def up_to_time(self, values: Tensor, ties: Tensor) -> Tensor:
        """Return (n, ...) the sums of (m, ...) values at (m,) ties over those at which each sorted row was at risk."""
        if self.late is not None:
            return self._intervals(ties).over_rows(values)
        segments = self.ties_by_stratum(ties)
        up_to = segments.remaining(values)  # ties are in descending time, so that what remains is what was before
        return segments.since(up_to, self._places(ties)[:-1], self.stratum)[self.group]

    def _places(self, ties: Tensor) -> Tensor:
        """Return (G + 1,) how many of (m,) ties come before each of all."""
        return torch.nn.functional.pad(torch.zeros_like(self.ends).index_fill_(0, ties, 1).cumsum(0), (1, 0))

    def _intervals(self, ties: Tensor) -> Intervals:
        """Return which of (m,) ties each sorted row is at risk at."""
        assert self.late is not None
        places = self._places(ties)
        return Intervals(places[self.group], places[self.late.passed], len(ties))

    def log_over_risk_sets(self, logs: Tensor, ties: Tensor) -> Tensor:
        """Return (m,) the logarithms of the sums of exp(logs) of sorted rows over those at risk at the times of (m,) ties."""
        sums = self.strata.running_logs(logs)[self.ends[ties] - 1]
        if self.late is None:
            return sums
        waiting = self.strata.running_logs(logs[self.late.order])
        places, strata = self.late.waiting[ties], self.stratum[ties]
        inside = places > self.strata.starts[strata]
        gone = torch.where(inside, waiting[(places - 1).clamp_min(0)] - sums, -torch.inf)
        return sums + torch.log1p(-torch.exp(gone.clamp_max(0.0)))


@dataclass(frozen=True, eq=False)
class LateEntry:
    """Rows that are at risk only after a time.

    Attributes
    ----------
    order : Tensor
        (n,) the sorted rows in the order of strata and of descending time of entry.
    waiting : Tensor
        (G,) one more than the last row, in that order, that has not entered before the time of each tie.
    passed : Tensor
        (n,) the first of the ties of each sorted row's stratum at or before its entry.
    """

    order: Tensor
    waiting: Tensor
    passed: Tensor


@dataclass(frozen=True, eq=False)
class Times:
    """Times, and perhaps those of entry, as places among the different ones.

    Attributes
    ----------
    values : Tensor
        (m,) the different times, ascending.
    time : Tensor
        (n,) the place of each time.
    entry : Tensor or None
        (n,) the place of each entry.
    """

    values: Tensor
    time: Tensor
    entry: Tensor | None

    def keys(self, stratum: Tensor | None) -> tuple[Tensor, Tensor | None]:
        """Return (n,) whole numbers that sort rows by stratum and descending time, and those of the times of entry, on the same scale."""
        last = len(self.values) - 1
        shift: Tensor | int = last if stratum is None else last + len(self.values) * stratum
        return shift - self.time, None if self.entry is None else shift - self.entry

    def merged(self) -> Times:
        """Return the times with each that exceeds the one before it by rounding alone in its place, as R's ``coxph(timefix=TRUE)`` does."""
        known = self.values.to(torch.float64)
        new = torch.nn.functional.pad(known.diff() > _ROUNDING * known.mean(), (1, 0), value=True)
        if bool(new.all()):
            return self
        places = new.cumsum(0) - 1
        return Times(self.values[new], places[self.time], None if self.entry is None else places[self.entry])


def times_of(time: Tensor, entry: Tensor | None) -> Times:
    """Return (n,) times, and those of entry, as places among the different ones."""
    if entry is None:
        values, places = torch.unique(time, return_inverse=True)
        return Times(values, places, None)
    values, places = torch.unique(torch.cat([time.to(torch.float64), entry.to(torch.float64)]), return_inverse=True)
    return Times(values, places[: len(time)], places[len(time) :])


def risk_sets(stop: Tensor, start: Tensor | None, stratum: Tensor | None) -> RiskSets:
    """Sort rows, given (n,) keys of the ends of their times and of their entries, and their strata."""
    order = None if bool((stop[1:] >= stop[:-1]).all()) else torch.argsort(stop, stable=True)
    stop = stop if order is None else stop[order]
    new = torch.ones_like(stop, dtype=torch.bool)
    new[1:] = stop[1:] != stop[:-1]
    group = new.cumsum(0) - 1
    firsts = new.nonzero().flatten()
    ends = torch.cat([firsts[1:], firsts.new_tensor([len(stop)])])
    if stratum is None:
        sizes = firsts.new_tensor([len(stop)])
        of_ties = torch.zeros_like(firsts)
    else:
        stratum = stratum if order is None else stratum[order]
        sizes = torch.unique_consecutive(stratum, return_counts=True)[1]
        of_ties = torch.repeat_interleave(sizes)[firsts]
    late = None
    if start is not None:
        start = start if order is None else start[order]
        entries = torch.argsort(start, stable=True)
        keys = stop[firsts]
        late = LateEntry(
            entries, torch.searchsorted(start[entries], keys, right=True), torch.searchsorted(keys, start.contiguous())
        )
    return RiskSets(order, Segments(sizes), group, ends, of_ties, late)
