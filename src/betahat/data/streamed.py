"""`Streamed`: a source whose rows are made of a dataset's chunks as they are read."""

from __future__ import annotations

import threading
from abc import ABC, abstractmethod
from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import singledispatch
from itertools import accumulate, chain
from typing import Any
from weakref import WeakKeyDictionary

import torch
from torch import Tensor

from betahat.data.datasets.base import Dataset, Partition
from betahat.data.datasets.partitioned import Partitioned
from betahat.data.source import Derived, Excerpt, Replaced, Source, Span
from betahat.data.threads import remembered
from betahat.data.user_data import UserData
from betahat.errors import DataError, counted


@dataclass(frozen=True, eq=False)
class Built:
    """What a chunk becomes.

    Attributes
    ----------
    columns : dict of str to Tensor
        (m, ...) of the rows in use.
    used : Tensor or None
        (n,) which of the chunk's rows these are; None is all of them.
    """

    columns: dict[str, Tensor]
    used: Tensor | None = None

    def places(self, rows: int) -> Tensor:
        """Return (m,) the positions of the rows in use among the `rows` of the chunk."""
        if self.used is None:
            return torch.arange(rows)
        return self.used.nonzero().flatten() if self.used.dtype == torch.bool else self.used


class Builder(ABC):
    """How a chunk becomes columns of a source; it is pickled for workers, and learns nothing."""

    @property
    @abstractmethod
    def needs(self) -> tuple[str, ...]:
        """The columns of the dataset that it reads."""

    @property
    @abstractmethod
    def shapes(self) -> Mapping[str, tuple[int, ...]]:
        """Each column's sizes beyond n, as in `Source`."""

    @abstractmethod
    def build(self, chunk: Any) -> Built:
        """Return the columns of a chunk, a dataframe with the columns that are needed; rows with missing values are left out."""


class Beside(ABC):
    """A column that is made of a dataset's others beside what the builder makes, such as the codes of clusters."""

    @property
    @abstractmethod
    def needs(self) -> tuple[str, ...]:
        """The columns of the dataset that it reads."""

    @property
    @abstractmethod
    def shape(self) -> tuple[int, ...]:
        """Its sizes beyond n."""

    @abstractmethod
    def values(self, chunk: Any) -> Tensor:
        """Return (n, ...) values of all of a chunk's rows; those that are not in use are left out later."""


@dataclass(frozen=True, eq=False)
class Streamed(Source):
    """Rows that are read from a dataset.

    Each thread keeps its place in a partition, so that blocks read in row order read each chunk once.

    Attributes
    ----------
    dataset : Dataset
    builder : Builder
        Makes the columns.
    kept : tuple of int
        How many rows of each partition are in use.
    place : torch.device
        Where tensors go.
    beside : dict of str to Beside
        Columns beside those of the builder.
    names : tuple of str or None
        The columns of the builder that are there; None is all of them.
    """

    dataset: Dataset
    builder: Builder
    kept: tuple[int, ...]
    place: torch.device = field(default_factory=lambda: torch.device("cpu"))
    beside: dict[str, Beside] = field(default_factory=dict)
    names: tuple[str, ...] | None = None

    @property
    def rows(self) -> int:
        """N, the rows in use."""
        return sum(self.kept)

    @property
    def device(self) -> torch.device:
        """Where what is read lies."""
        return self.place

    @remembered
    def shapes(self) -> Mapping[str, tuple[int, ...]]:
        """Each column's sizes beyond n."""
        made = self.builder.shapes
        own = {name: made[name] for name in (made if self.names is None else self.names)}
        return {**own, **{name: column.shape for name, column in self.beside.items()}}

    @remembered
    def spans(self) -> tuple[Span, ...]:
        """The rows of each partition."""
        stops = list(accumulate(self.kept))
        pairs = zip([0, *stops], stops, self.dataset.partitions, strict=False)
        return tuple(Span(start, stop, partition.name, partition.apart) for start, stop, partition in pairs)

    @remembered
    def _starts(self) -> list[int]:
        return [span.start for span in self.spans]

    @property
    def in_turn(self) -> bool:
        """Rows are read one after the other."""
        return True

    @property
    def user_data(self) -> UserData:
        """The dataset, in which groups and times are looked up by name."""
        return UserData(self.dataset, self.rows)

    @property
    def stream(self) -> Streamed:
        """These rows."""
        return self

    def read(self, names: Sequence[str], start: int, stop: int) -> tuple[Tensor, ...]:
        """Read on in the partitions that the rows lie in."""
        parts = []
        for i in range(bisect_right(self._starts, start) - 1, bisect_left(self._starts, stop)):
            span = self.spans[i]
            if max(start, span.start) < min(stop, span.stop):
                reading = self._place_in(i, tuple(names))
                parts.append(reading.read(max(start, span.start) - span.start, min(stop, span.stop) - span.start))
        if not parts:
            return tuple(torch.zeros(0, *self.shapes[name], dtype=torch.float64, device=self.place) for name in names)
        return parts[0] if len(parts) == 1 else tuple(map(torch.cat, zip(*parts, strict=True)))

    def take(self, names: Sequence[str], places: Tensor) -> tuple[Tensor, ...]:
        """Read, in row order, the partitions that rows lie in, and put the rows into the order of the positions."""
        order = torch.argsort(places, stable=True)
        asked, parts = places[order].tolist(), []
        first = 0
        while first < len(asked):
            span = self.spans[bisect_right(self._starts, asked[first]) - 1]
            last = first
            while last < len(asked) and asked[last] < min(span.stop, asked[first] + _TAKEN):
                last += 1
            block = self.read(names, asked[first], asked[last - 1] + 1)
            own = torch.tensor(asked[first:last], device=self.place) - asked[first]
            parts.append(tuple(column[own] for column in block))
            first = last
        if not parts:
            return self.read(names, 0, 0)
        back = torch.empty_like(order)
        back[order] = torch.arange(len(order), device=order.device)
        return tuple(torch.cat(columns)[back.to(self.place)] for columns in zip(*parts, strict=True))

    def within(self, start: int, stop: int) -> Source:
        """Keep the partitions that the rows lie in."""
        first, last = max(bisect_right(self._starts, start) - 1, 0), bisect_left(self._starts, stop)
        needs, whole = self._chunks(tuple(self.shapes)).needs, self.dataset
        parts = tuple(partition.ready(needs) for partition in whole.partitions[first:last])
        rows = replace(self, dataset=Partitioned(whole.name, whole.columns, parts), kept=self.kept[first:last])
        return Excerpt(rows, self.spans[first].start if parts else 0, self.rows)

    def only(self, *names: str) -> Source:
        """Return the source with some of the columns."""
        own = tuple(name for name in names if name in self.shapes and name not in self.beside)
        return replace(self, names=own, beside={name: self.beside[name] for name in names if name in self.beside})

    def with_columns(self, columns: Mapping[str, Beside]) -> Streamed:
        """Return the source with further columns that are made of the dataset's."""
        return replace(self, beside={**self.beside, **columns})

    def replaced(self, columns: Mapping[str, Tensor]) -> Source:
        """Return the source with (n, ...) tensors in the place of columns, or beside them."""
        others = (name for name in self.shapes if name not in columns)
        return Replaced(self, dict(columns), tuple(others))

    def check(self, *, whole: bool) -> None:
        """Partitions are checked as they are opened."""

    def _place_in(self, partition: int, names: tuple[str, ...]) -> _Reading:
        """Return this thread's reading of some columns of a partition."""
        readings = _here().setdefault(self, {})
        reading = readings.get(names)
        if reading is None or reading.number != partition:
            reading = readings[names] = _Reading(
                partition, self.dataset.partitions[partition], self.kept[partition], self._chunks(names)
            )
        return reading

    def _chunks(self, names: tuple[str, ...]) -> _Chunks:
        beside = {name: self.beside[name] for name in names if name in self.beside}
        return _Chunks(self.builder, beside, names, self.place)


@singledispatch
def stream_below(source: Source) -> Streamed | None:
    """Return the stream that a source is made of as it is read; None where its rows are in memory."""
    return None


@stream_below.register
def _(source: Derived) -> Streamed | None:
    return stream_below(source.base)


@stream_below.register
def _(source: Streamed) -> Streamed | None:
    return source


_TAKEN = 2**16


class _Here(threading.local):
    readings: WeakKeyDictionary[Streamed, dict[tuple[str, ...], _Reading]] | None = None


_HERE = _Here()


def _here() -> WeakKeyDictionary[Streamed, dict[tuple[str, ...], _Reading]]:
    """Return the readings of this thread, which end with their sources."""
    if _HERE.readings is None:
        _HERE.readings = WeakKeyDictionary()
    return _HERE.readings


@dataclass(frozen=True, eq=False)
class _Chunks:
    """Makes tensors of the chunks of a partition."""

    builder: Builder
    beside: dict[str, Beside]
    names: tuple[str, ...]
    place: torch.device

    @property
    def needs(self) -> tuple[str, ...]:
        """The columns of the dataset that are read."""
        return tuple(dict.fromkeys(chain(self.builder.needs, *(column.needs for column in self.beside.values()))))

    def of(self, partition: Partition) -> Iterator[tuple[Tensor, ...]]:
        """Yield the columns of one chunk after the other, of the rows in use."""
        for chunk in partition.chunks(self.needs):
            built = self.builder.build(chunk)
            values = {name: column.values(chunk) for name, column in self.beside.items()}
            if built.used is not None:
                values = {name: column[built.used] for name, column in values.items()}
            made = {**built.columns, **values}
            yield tuple(_aligned(made[name].to(self.place)) for name in self.names)


def _aligned(column: Tensor) -> Tensor:
    """Return a column whose memory begins at a multiple of 16 bytes, as torch's and NumPy's do: the last bits of MKL's products with a vector depend on it."""
    return column if column.data_ptr() % 16 == 0 else column.clone()


class _Reading:
    """A partition that is being read: some rows are at hand, and more are to come."""

    def __init__(self, number: int, partition: Partition, rows: int, chunks: _Chunks) -> None:
        self.number = number
        self._partition, self._rows, self._chunks = partition, rows, chunks
        self._begin()

    def _begin(self) -> None:
        self._coming = self._chunks.of(self._partition)
        self._start = 0
        self._held: tuple[Tensor, ...] = ()

    def read(self, start: int, stop: int) -> tuple[Tensor, ...]:
        """Return rows of the partition, which is opened anew where they lie before what is at hand."""
        if start < self._start:
            self._begin()
        parts = []
        while start < stop:
            end = self._start + (len(self._held[0]) if self._held else 0)
            if start < end:
                last = min(stop, end)
                parts.append(tuple(part[start - self._start : last - self._start] for part in self._held))
                start = last
            else:
                self._held, self._start = (), end
                found = next(self._coming, None)
                if found is None:
                    raise self._changed(end)
                self._held = found
        if stop == self._rows:
            self._close(stop)
        return parts[0] if len(parts) == 1 else tuple(map(torch.cat, zip(*parts, strict=True)))

    def _close(self, stop: int) -> None:
        """Let go of the last rows, and refuse others behind them."""
        beyond = sum(len(part[0]) for part in self._coming) + self._start + len(self._held[0]) - stop
        self._begin()
        if beyond:
            raise self._changed(stop + beyond)

    def _changed(self, rows: int) -> DataError:
        return DataError(
            f"{self._partition.name} has {counted(rows, 'complete row')}, where it had {self._rows} when the model was made; make the "
            "model again, and leave the data as they are until the results have been used."
        )
