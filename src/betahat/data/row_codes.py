"""`RowCodes`: which group each row belongs to, as numbers in memory or made of a dataset's columns as its rows are read."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass

import torch
from torch import Tensor

from betahat.data.engine import column_of_rows
from betahat.data.source import Source
from betahat.data.streamed import Beside, Streamed
from betahat.data.threads import remembered

# What the column of a source is called that has a row's group.
GROUP = "group"


class RowCodes(ABC):
    """The group of each row, from 0."""

    @property
    @abstractmethod
    def held(self) -> Tensor | None:
        """(n,) int64, where they are in memory; None where they are made as rows are read."""

    @property
    @abstractmethod
    def whole(self) -> Tensor:
        """(n,) int64 all of them in memory, for what has a number for each row; passes go by blocks."""

    @abstractmethod
    def beside(self, source: Source, name: str = GROUP) -> Source:
        """Return the source of the rows with the groups as a column."""

    @abstractmethod
    def mapped(self, table: Tensor) -> RowCodes:
        """Return table[code] of each row."""

    @abstractmethod
    def paired(self, other: RowCodes, count: int) -> RowCodes:
        """Return code * count + code of the other, which has `count`."""

    @abstractmethod
    def at(self, places: Tensor) -> Tensor:
        """Return (m,) those of the rows at (m,) positions."""

    @abstractmethod
    def same(self, other: RowCodes) -> bool:
        """Tell whether these are another's numbers, where the labels are equal."""


@dataclass(frozen=True, eq=False)
class HeldCodes(RowCodes):
    """Numbers in memory.

    Attributes
    ----------
    numbers : Tensor
        (n,) int64.
    """

    numbers: Tensor

    @property
    def held(self) -> Tensor:
        """(n,) the numbers."""
        return self.numbers

    @property
    def whole(self) -> Tensor:
        """(n,) the numbers."""
        return self.numbers

    def beside(self, source: Source, name: str = GROUP) -> Source:
        """Put the tensor beside the columns."""
        return source.replaced({name: self.numbers})

    def mapped(self, table: Tensor) -> RowCodes:
        """Look the numbers up."""
        return HeldCodes(table[self.numbers])

    def paired(self, other: RowCodes, count: int) -> RowCodes:
        """Write both as one number."""
        return HeldCodes(self.numbers * count + other.whole)

    def at(self, places: Tensor) -> Tensor:
        """Take them."""
        return self.numbers[places]

    def same(self, other: RowCodes) -> bool:
        """Compare them."""
        return other.held is not None and torch.equal(self.numbers, other.held)


@dataclass(frozen=True, eq=False)
class ReadCodes(RowCodes):
    """Numbers that are made of a dataset's columns.

    Attributes
    ----------
    stream : Streamed
        The dataset's rows.
    made : Beside
        What makes them.
    """

    stream: Streamed
    made: Beside

    @property
    def held(self) -> None:
        """There is no tensor."""
        return

    @remembered
    def whole(self) -> Tensor:
        """(n,) by a pass over the rows."""
        return column_of_rows(self.beside(self.stream.only()), GROUP).to(torch.int64)

    def beside(self, source: Source, name: str = GROUP) -> Source:
        """Let them be made beside the dataset's other columns."""
        return source.with_columns({name: self.made})

    def mapped(self, table: Tensor) -> RowCodes:
        """Look the numbers up as they are made."""
        return ReadCodes(self.stream, Mapped(self.made, table.cpu()))

    def paired(self, other: RowCodes, count: int) -> RowCodes:
        """Write both as one number, as they are made where both are."""
        if isinstance(other, ReadCodes):
            return ReadCodes(self.stream, Paired(self.made, other.made, count))
        return HeldCodes(self.whole * count + other.whole)

    def at(self, places: Tensor) -> Tensor:
        """Read the rows."""
        return self.beside(self.stream.only()).take((GROUP,), places)[0]

    def same(self, other: RowCodes) -> bool:
        """Tell whether the same makes them."""
        return isinstance(other, ReadCodes) and self.made is other.made


@dataclass(frozen=True, eq=False)
class Mapped(Beside):
    """Numbers that are looked up in a table by others.

    Attributes
    ----------
    base : Beside
        The others.
    table : Tensor
        (m, ...).
    """

    base: Beside
    table: Tensor

    @property
    def needs(self) -> tuple[str, ...]:
        """Those of the others."""
        return self.base.needs

    @property
    def shape(self) -> tuple[int, ...]:
        """That of an entry of the table."""
        return tuple(self.table.shape[1:])

    def values(self, chunk: object) -> Tensor:
        """Look them up."""
        return self.table[self.base.values(chunk)]


@dataclass(frozen=True, eq=False)
class Paired(Beside):
    """Two numbers as one.

    Attributes
    ----------
    first, second : Beside
    count : int
        How many numbers the second may be.
    """

    first: Beside
    second: Beside
    count: int

    @property
    def needs(self) -> tuple[str, ...]:
        """Those of both."""
        return tuple(dict.fromkeys((*self.first.needs, *self.second.needs)))

    @property
    def shape(self) -> tuple[int, ...]:
        """A number for each row."""
        return ()

    def values(self, chunk: object) -> Tensor:
        """Write them as one."""
        return self.first.values(chunk) * self.count + self.second.values(chunk)
