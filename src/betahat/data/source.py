"""`Source`: rows that are read a block at a time, whether they are tensors in memory or lie in a file."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, NoReturn

import torch
from torch import Tensor

from betahat.data.threads import remembered
from betahat.data.user_data import UserData
from betahat.errors import DataError

if TYPE_CHECKING:
    from betahat.data.streamed import Beside, Streamed


@dataclass(frozen=True)
class Span:
    """Consecutive rows that are read by one worker.

    Attributes
    ----------
    start, stop : int
        The first, and one past the last.
    name : str
        What they are called in a sentence, of a partition; nothing where there is only one span.
    apart : bool
        Whether they lie with a worker, so that they are read there, alone.
    """

    start: int
    stop: int
    name: str = ""
    apart: bool = False


class Source(ABC):
    """Rows as named columns of one length on one device, read a block at a time and as often as they are asked for.

    Several threads may read at once. A source that is handed to other processes is pickled.
    """

    @property
    @abstractmethod
    def rows(self) -> int:
        """N."""

    @property
    @abstractmethod
    def device(self) -> torch.device:
        """Where what is read lies."""

    @property
    @abstractmethod
    def shapes(self) -> Mapping[str, tuple[int, ...]]:
        """Each column's sizes beyond n: () of n numbers, (k,) of n rows of k."""

    @property
    def spans(self) -> tuple[Span, ...]:
        """The rows that are read together, in row order: all of them, or those of each partition."""
        return (Span(0, self.rows),)

    @property
    def in_turn(self) -> bool:
        """Whether the rows of a span are best read one after the other, by one thread."""
        return False

    @abstractmethod
    def read(self, names: Sequence[str], start: int, stop: int) -> tuple[Tensor, ...]:
        """Return (stop - start, ...) rows of some columns, in any dtype."""

    @abstractmethod
    def take(self, names: Sequence[str], places: Tensor) -> tuple[Tensor, ...]:
        """Return (m, ...) some columns of the rows at (m,) positions, in the order of these."""

    def within(self, start: int, stop: int) -> Source:
        """Return what reads rows `start` to `stop` from their positions, and no others: what is sent to a worker has only these of what is in memory."""
        return self

    def held(self, name: str) -> Tensor | None:
        """Return (n, ...) a column that is a tensor in memory; None where it is read from elsewhere, or made as it is read."""
        return None

    def only(self, *names: str) -> Source:
        """Return the source with some of the columns, those of the names that it has."""
        return Replaced(self, {}, tuple(name for name in names if name in self.shapes))

    def replaced(self, columns: Mapping[str, Tensor]) -> Source:
        """Return the source with (n, ...) tensors as columns, in the place of those with their names or beside them."""
        others = (name for name in self.shapes if name not in columns)
        return Replaced(self, dict(columns), tuple(others))

    @abstractmethod
    def check(self, *, whole: bool) -> None:
        """Refuse rows whose memory was written on since they were read; some rows are compared, or every bit."""

    @property
    def user_data(self) -> UserData:
        """Where the rows come from; here they are all there is."""
        return UserData(None, self.rows)

    @property
    def stream(self) -> Streamed | None:
        """The rows of the dataset beneath; None where there is none."""
        return None

    def with_columns(self, columns: Mapping[str, Beside]) -> Source:
        """Return the source with columns beside its own that are made of the dataset's beneath; itself where there is none."""
        return self

    @property
    def width(self) -> int:
        """The numbers in a row of all columns."""
        return sum(map(math.prod, self.shapes.values()))


@dataclass(frozen=True, eq=False)
class Held(Source):
    """Tensors in memory.

    Attributes
    ----------
    columns : dict of str to Tensor
        (n, ...) each.
    of_user : UserData or None
        Where the rows come from; None says that they are all there is.
    """

    columns: dict[str, Tensor]
    of_user: UserData | None = None

    @remembered
    def rows(self) -> int:
        """N."""
        return len(next(iter(self.columns.values())))

    @remembered
    def device(self) -> torch.device:
        """Where the tensors are."""
        return next(iter(self.columns.values())).device

    @remembered
    def shapes(self) -> Mapping[str, tuple[int, ...]]:
        """Each column's sizes beyond n."""
        return {name: tuple(column.shape[1:]) for name, column in self.columns.items()}

    @remembered
    def width(self) -> int:
        """The numbers in a row of all columns."""
        return sum(column.numel() for column in self.columns.values()) // max(self.rows, 1)

    @property
    def user_data(self) -> UserData:
        """Where the rows come from."""
        return UserData(None, self.rows) if self.of_user is None else self.of_user

    def read(self, names: Sequence[str], start: int, stop: int) -> tuple[Tensor, ...]:
        """Return views."""
        parts = tuple(self.columns[name] for name in names)
        return parts if stop - start >= self.rows else tuple(part[start:stop] for part in parts)

    def take(self, names: Sequence[str], places: Tensor) -> tuple[Tensor, ...]:
        """Return copies."""
        return tuple(self.columns[name][places] for name in names)

    def within(self, start: int, stop: int) -> Source:
        """Return copies of some rows."""
        return Excerpt(Held({name: part[start:stop].clone() for name, part in self.columns.items()}), start, self.rows)

    def held(self, name: str) -> Tensor | None:
        """Return (n, ...) the tensor itself."""
        return self.columns[name]

    def only(self, *names: str) -> Source:
        """Return the source with some of the columns."""
        return Held({name: self.columns[name] for name in names if name in self.columns}, self.of_user)

    def replaced(self, columns: Mapping[str, Tensor]) -> Source:
        """Return the source with other tensors in the place of some, or beside them."""
        return Held({**self.columns, **columns}, self.of_user)

    def check(self, *, whole: bool) -> None:
        """Compare the tensors with their seals."""
        if self.of_user is not None:
            self.of_user.check(whole=whole)


@dataclass(frozen=True, eq=False)
class Excerpt(Source):
    """Some consecutive rows of a source, at their positions in it.

    Attributes
    ----------
    base : Source
        (m rows) these alone.
    first : int
        The position of the first.
    of : int
        N, the rows of the whole.
    """

    base: Source
    first: int
    of: int

    @property
    def rows(self) -> int:
        """N."""
        return self.of

    @property
    def device(self) -> torch.device:
        """Where what is read lies."""
        return self.base.device

    @property
    def shapes(self) -> Mapping[str, tuple[int, ...]]:
        """Each column's sizes beyond n."""
        return self.base.shapes

    @property
    def in_turn(self) -> bool:
        """Whether they are best read one after the other."""
        return self.base.in_turn

    def read(self, names: Sequence[str], start: int, stop: int) -> tuple[Tensor, ...]:
        """Read rows by their positions in the whole."""
        return self.base.read(names, start - self.first, stop - self.first)

    def take(self, names: Sequence[str], places: Tensor) -> tuple[Tensor, ...]:
        """Take rows by their positions in the whole."""
        return self.base.take(names, places - self.first)

    def check(self, *, whole: bool) -> None:
        """Check the base."""
        self.base.check(whole=whole)


@dataclass(frozen=True, eq=False)
class Derived(Source):
    """A source that is made of another, row by row, as it is read.

    Attributes
    ----------
    base : Source
        (n rows) the other.
    """

    base: Source

    @property
    def rows(self) -> int:
        """N."""
        return self.base.rows

    @property
    def device(self) -> torch.device:
        """Where what is read lies."""
        return self.base.device

    @property
    def spans(self) -> tuple[Span, ...]:
        """The rows that are read together."""
        return self.base.spans

    @property
    def in_turn(self) -> bool:
        """Whether they are best read one after the other."""
        return self.base.in_turn

    @property
    def user_data(self) -> UserData:
        """Where the rows come from."""
        return self.base.user_data

    @property
    def stream(self) -> Streamed | None:
        """The rows of the dataset beneath."""
        return self.base.stream

    def with_columns(self, columns: Mapping[str, Beside]) -> Source:
        """Let the base have them."""
        return replace(self, base=self.base.with_columns(columns))

    def within(self, start: int, stop: int) -> Source:
        """Make the rows of those of the base; sources with tensors of n rows cut these, too."""
        return replace(self, base=self.base.within(start, stop))

    def check(self, *, whole: bool) -> None:
        """Check the base."""
        self.base.check(whole=whole)


@dataclass(frozen=True, eq=False)
class Replaced(Derived):
    """Some columns of a source, and tensors beside them: other counts, weights or targets.

    Attributes
    ----------
    base : Source
    columns : dict of str to Tensor
        (n, ...) each, or those of some rows.
    names : tuple of str
        The columns of the base that are read.
    first : int
        The position of the tensors' first row.
    """

    columns: dict[str, Tensor]
    names: tuple[str, ...]
    first: int = 0

    @remembered
    def shapes(self) -> Mapping[str, tuple[int, ...]]:
        """Each column's sizes beyond n."""
        beside = {name: tuple(column.shape[1:]) for name, column in self.columns.items()}
        return {**{name: self.base.shapes[name] for name in self.names}, **beside}

    def read(self, names: Sequence[str], start: int, stop: int) -> tuple[Tensor, ...]:
        """Return rows of the base and views of the tensors."""
        below = [name for name in names if name not in self.columns]
        rows = slice(start - self.first, stop - self.first)
        return self._joined(names, below, self.base.read(below, start, stop) if below else (), rows)

    def take(self, names: Sequence[str], places: Tensor) -> tuple[Tensor, ...]:
        """Return rows of the base and of the tensors."""
        below = [name for name in names if name not in self.columns]
        return self._joined(names, below, self.base.take(below, places) if below else (), places - self.first)

    def within(self, start: int, stop: int) -> Source:
        """Cut the base and the tensors."""
        rows = slice(start - self.first, stop - self.first)
        columns = {name: part[rows].clone() for name, part in self.columns.items()}
        return Replaced(self.base.within(start, stop), columns, self.names, start)

    def _joined(
        self, names: Sequence[str], below: Sequence[str], parts: tuple[Tensor, ...], rows: slice | Tensor
    ) -> tuple[Tensor, ...]:
        found = dict(zip(below, parts, strict=True))
        return tuple(found[name] if name in found else self.columns[name][rows] for name in names)

    def with_columns(self, columns: Mapping[str, Beside]) -> Source:
        """Let the base have them, and read them."""
        return Replaced(self.base.with_columns(columns), self.columns, (*self.names, *columns))

    def held(self, name: str) -> Tensor | None:
        """Return (n, ...) a column that is a tensor."""
        return self.columns[name] if name in self.columns else self.base.held(name)


@dataclass(frozen=True, eq=False)
class Gone(Source):
    """No rows: whatever is asked of them is refused."""

    @property
    def rows(self) -> int:
        """Refuse."""
        refuse_rows()

    @property
    def device(self) -> torch.device:
        """Refuse."""
        refuse_rows()

    @property
    def shapes(self) -> Mapping[str, tuple[int, ...]]:
        """Refuse."""
        refuse_rows()

    @property
    def user_data(self) -> UserData:
        """Refuse."""
        refuse_rows()

    def read(self, names: Sequence[str], start: int, stop: int) -> NoReturn:
        """Refuse."""
        refuse_rows()

    def take(self, names: Sequence[str], places: Tensor) -> NoReturn:
        """Refuse."""
        refuse_rows()

    def check(self, *, whole: bool) -> None:
        """There are none to change."""


def refuse_rows() -> NoReturn:
    """Say that the rows are gone."""
    raise DataError(
        "These results were kept without their data (by remove_data, or by saving a TorchModel, an MEstimator or a GMM, which are code, or a fit of rows "
        "that lie elsewhere), and this needs the rows or the model itself; fit again, or keep the data."
    )
