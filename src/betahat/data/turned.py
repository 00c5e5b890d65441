"""Sources that are made of another as it is read: regressors times a matrix, some of them, residuals of a projection, rows in another order."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from betahat.data.engine import Block, gather, scan
from betahat.data.kept import SMALL
from betahat.data.source import Derived, Excerpt, Held, Source
from betahat.data.threads import remembered

EXOG = "exog"


@dataclass(frozen=True, eq=False)
class Turned(Derived):
    """A source whose regressors are X M, made block by block.

    Attributes
    ----------
    base : Source
    matrix : Tensor
        (k, r) M, float64.
    """

    matrix: Tensor

    @remembered
    def shapes(self) -> Mapping[str, tuple[int, ...]]:
        """Each column's sizes beyond n."""
        return {**self.base.shapes, EXOG: (self.matrix.shape[1],)}

    def read(self, names: Sequence[str], start: int, stop: int) -> tuple[Tensor, ...]:
        """Read the base, and multiply its regressors."""
        return self._turned(names, self.base.read(names, start, stop))

    def take(self, names: Sequence[str], places: Tensor) -> tuple[Tensor, ...]:
        """Take rows of the base, and multiply their regressors."""
        return self._turned(names, self.base.take(names, places))

    def _turned(self, names: Sequence[str], parts: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        pairs = zip(names, parts, strict=True)
        return tuple(part.to(torch.float64) @ self.matrix if name == EXOG else part for name, part in pairs)

    def held(self, name: str) -> Tensor | None:
        """Return the base's tensor, of any other column."""
        return None if name == EXOG else self.base.held(name)


@dataclass(frozen=True, eq=False)
class WithColumnsAt(Derived):
    """A source some of whose regressors have other values.

    Attributes
    ----------
    base : Source
    columns : dict of int to Tensor
        () or (n,) the values of those at these positions.
    """

    columns: dict[int, Tensor]

    @property
    def shapes(self) -> Mapping[str, tuple[int, ...]]:
        """Each column's sizes beyond n."""
        return self.base.shapes

    def read(self, names: Sequence[str], start: int, stop: int) -> tuple[Tensor, ...]:
        """Read the base, and put the values in."""
        return self._with_values(names, self.base.read(names, start, stop), slice(start, stop))

    def take(self, names: Sequence[str], places: Tensor) -> tuple[Tensor, ...]:
        """Take rows of the base, and put the values in."""
        return self._with_values(names, self.base.take(names, places), places)

    def _with_values(self, names: Sequence[str], parts: tuple[Tensor, ...], rows: slice | Tensor) -> tuple[Tensor, ...]:
        return tuple(
            self._put_in(part, rows) if name == EXOG else part for name, part in zip(names, parts, strict=True)
        )

    def _put_in(self, part: Tensor, rows: slice | Tensor) -> Tensor:
        made = part.to(torch.float64, copy=True)
        for place, values in self.columns.items():
            made[:, place] = values[rows] if values.ndim else values
        return made

    def held(self, name: str) -> Tensor | None:
        """Return the base's tensor, of any other column."""
        return None if name == EXOG else self.base.held(name)


@dataclass(frozen=True, eq=False)
class WithOnes(Derived):
    """A source with a column of ones in the place of its regressors, which are not read."""

    @remembered
    def shapes(self) -> Mapping[str, tuple[int, ...]]:
        """Each column's sizes beyond n."""
        return {**self.base.shapes, EXOG: (1,)}

    def read(self, names: Sequence[str], start: int, stop: int) -> tuple[Tensor, ...]:
        """Read the other columns of the base."""
        others = [name for name in names if name != EXOG]
        return self._with_ones(names, others, self.base.read(others, start, stop) if others else (), stop - start)

    def take(self, names: Sequence[str], places: Tensor) -> tuple[Tensor, ...]:
        """Take the other columns of the base."""
        others = [name for name in names if name != EXOG]
        return self._with_ones(names, others, self.base.take(others, places) if others else (), len(places))

    def _with_ones(
        self, names: Sequence[str], others: Sequence[str], parts: tuple[Tensor, ...], rows: int
    ) -> tuple[Tensor, ...]:
        found = dict(zip(others, parts, strict=True))
        ones = torch.ones(rows, 1, dtype=torch.float64, device=self.device)
        return tuple(ones if name == EXOG else found[name] for name in names)

    def held(self, name: str) -> Tensor | None:
        """Return the base's tensor, of any other column."""
        return None if name == EXOG else self.base.held(name)


@dataclass(frozen=True, eq=False)
class Selected(Derived):
    """A source with some of its regressors.

    Attributes
    ----------
    base : Source
    columns : tuple of int
        Their positions.
    """

    columns: tuple[int, ...]

    @remembered
    def shapes(self) -> Mapping[str, tuple[int, ...]]:
        """Each column's sizes beyond n."""
        return {**self.base.shapes, EXOG: (len(self.columns),)}

    def read(self, names: Sequence[str], start: int, stop: int) -> tuple[Tensor, ...]:
        """Read the base, and choose."""
        return self._selected(names, self.base.read(names, start, stop))

    def take(self, names: Sequence[str], places: Tensor) -> tuple[Tensor, ...]:
        """Take rows of the base, and choose."""
        return self._selected(names, self.base.take(names, places))

    def _selected(self, names: Sequence[str], parts: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        index = list(self.columns)
        return tuple(part[:, index] if name == EXOG else part for name, part in zip(names, parts, strict=True))

    def held(self, name: str) -> Tensor | None:
        """Return the base's tensor, of any other column."""
        return None if name == EXOG else self.base.held(name)


@dataclass(frozen=True, eq=False)
class Projected(Derived):
    """A source of residuals, x - D P of each column x that has coefficients P.

    Attributes
    ----------
    base : Source
    on : Source
        D, (n, q), under the name `exog`.
    coefficients : dict of str to Tensor
        (q,) or (q, k) P of each column that is projected.
    """

    on: Source
    coefficients: dict[str, Tensor]

    @property
    def shapes(self) -> Mapping[str, tuple[int, ...]]:
        """Each column's sizes beyond n."""
        return self.base.shapes

    def read(self, names: Sequence[str], start: int, stop: int) -> tuple[Tensor, ...]:
        """Read both, and take the fitted values off."""
        return self._residuals(names, self.base.read(names, start, stop), lambda: self.on.read((EXOG,), start, stop))

    def take(self, names: Sequence[str], places: Tensor) -> tuple[Tensor, ...]:
        """Take rows of both, and the fitted values off."""
        return self._residuals(names, self.base.take(names, places), lambda: self.on.take((EXOG,), places))

    def _residuals(
        self, names: Sequence[str], parts: tuple[Tensor, ...], read: Callable[[], tuple[Tensor, ...]]
    ) -> tuple[Tensor, ...]:
        if self.coefficients.keys().isdisjoint(names):
            return parts
        beside = read()[0].to(torch.float64)
        return tuple(
            part.to(torch.float64) - beside @ self.coefficients[name] if name in self.coefficients else part
            for name, part in zip(names, parts, strict=True)
        )

    def held(self, name: str) -> Tensor | None:
        """Return the base's tensor, of a column that is not projected."""
        return None if name in self.coefficients else self.base.held(name)

    def within(self, start: int, stop: int) -> Source:
        """Cut both."""
        return Projected(self.base.within(start, stop), self.on.within(start, stop), self.coefficients)

    def check(self, *, whole: bool) -> None:
        """Check both."""
        self.base.check(whole=whole)
        self.on.check(whole=whole)


@dataclass(frozen=True, eq=False)
class Computed(Derived):
    """A source with a column that is made of others, row by row, in the place of one of its name or beside them.

    Attributes
    ----------
    base : Source
    name : str
        What the column is called.
    of : tuple of str
        The columns that it is made of.
    function : callable
        Maps (b, ...) rows of these to (b, ...) of the column.
    shape : tuple of int
        Its sizes beyond n.
    """

    name: str
    of: tuple[str, ...]
    function: Callable[..., Tensor]
    shape: tuple[int, ...]

    @remembered
    def shapes(self) -> Mapping[str, tuple[int, ...]]:
        """Each column's sizes beyond n."""
        return {**self.base.shapes, self.name: self.shape}

    def read(self, names: Sequence[str], start: int, stop: int) -> tuple[Tensor, ...]:
        """Read the base, and compute."""
        return self._computed(names, lambda needed: self.base.read(needed, start, stop))

    def take(self, names: Sequence[str], places: Tensor) -> tuple[Tensor, ...]:
        """Take rows of the base, and compute."""
        return self._computed(names, lambda needed: self.base.take(needed, places))

    def _computed(
        self, names: Sequence[str], read: Callable[[tuple[str, ...]], tuple[Tensor, ...]]
    ) -> tuple[Tensor, ...]:
        if self.name not in names:
            return read(tuple(names))
        needed = tuple(dict.fromkeys([*self.of, *(name for name in names if name != self.name)]))
        found = dict(zip(needed, read(needed), strict=True))
        value = self.function(*(found[name] for name in self.of))
        return tuple(value if name == self.name else found[name] for name in names)

    def held(self, name: str) -> Tensor | None:
        """Return the base's tensor, of any other column."""
        return None if name == self.name else self.base.held(name)


@dataclass(frozen=True, eq=False)
class Taken(Source):
    """Some rows of a source, taken block by block.

    Attributes
    ----------
    base : Source
    places : Tensor
        (m,) their positions.
    """

    base: Source
    places: Tensor

    @property
    def rows(self) -> int:
        """M."""
        return len(self.places)

    @property
    def device(self) -> torch.device:
        """Where what is read lies."""
        return self.base.device

    @property
    def shapes(self) -> Mapping[str, tuple[int, ...]]:
        """Each column's sizes beyond n."""
        return self.base.shapes

    def read(self, names: Sequence[str], start: int, stop: int) -> tuple[Tensor, ...]:
        """Take the rows of a block from the base."""
        return self.base.take(names, self.places[start:stop])

    def take(self, names: Sequence[str], places: Tensor) -> tuple[Tensor, ...]:
        """Take rows of the base."""
        return self.base.take(names, self.places[places])

    def within(self, start: int, stop: int) -> Source:
        """Take the rows at once."""
        names = tuple(self.shapes)
        columns = self.base.take(names, self.places[start:stop])
        return Excerpt(Held(dict(zip(names, columns, strict=True))), start, self.rows)

    def check(self, *, whole: bool) -> None:
        """Check the base."""
        self.base.check(whole=whole)


def turned(source: Source, matrix: Tensor) -> Source:
    """Return a source whose regressors are X M, for a (k, r) matrix; what is small and held is multiplied at once."""
    return _made(Turned(source, matrix))


def with_columns_at(source: Source, columns: Mapping[int, Tensor]) -> Source:
    """Return a source whose regressors at some positions have () or (n,) other values."""
    return _made(WithColumnsAt(source, dict(columns)))


def with_ones(source: Source) -> Source:
    """Return a source with a column of ones for its regressors, in memory where the others are."""
    if source.held(EXOG) is None:
        return WithOnes(source)
    return source.replaced({EXOG: torch.ones(source.rows, 1, dtype=torch.float64, device=source.device)})


def selected(source: Source, columns: Sequence[int]) -> Source:
    """Return a source with some of its regressors; of what is small and held, a copy of them."""
    return _made(Selected(source, tuple(columns)))


def computed(
    source: Source, name: str, of: tuple[str, ...], function: Callable[..., Tensor], shape: tuple[int, ...] = ()
) -> Source:
    """Return a source with a column that a function makes of others: a tensor where these are tensors, else as it is read."""
    held = [source.held(own) for own in of]
    if all(column is not None for column in held):
        return source.replaced({name: function(*held)})
    return Computed(source, name, of, function, shape)


def taken(source: Source, places: Tensor) -> Source:
    """Return the rows at (m,) positions: tensors where they are a block, else as they are read."""
    if len(places) * source.width > SMALL:
        return Taken(source, places)
    names = tuple(source.shapes)
    return Held(dict(zip(names, source.take(names, places), strict=True)))


def every(source: Source, step: int) -> Source:
    """Return the rows 0, step, 2 step, ..., in memory."""
    held = {name: source.held(name) for name in source.shapes}
    if all(column is not None for column in held.values()):
        return Held({name: column[::step] for name, column in held.items() if column is not None})
    columns: dict[
        str, Tensor
    ] = {}  # made at once: small ones that stay would keep the memory of blocks from being given back
    for start, parts in scan(source, _Every(step)):
        place = -(-start // step)
        for name, part in parts.items():
            if name not in columns:
                columns[name] = part.new_empty(-(-source.rows // step), *part.shape[1:])
            columns[name][place : place + len(part)] = part
    return Held(columns)


@dataclass(frozen=True)
class _Every:
    """Every so many-th row of a block, counted from the first of all, with where the block starts."""

    step: int

    def __call__(self, block: Block) -> tuple[int, dict[str, Tensor]]:
        first = -block.start % self.step
        return block.start, {name: part[first :: self.step].clone() for name, part in block.columns.items()}


def _made(source: Derived) -> Source:
    """Return a source with its regressors in memory where these and those that they are made of are small and held."""
    below = source.base.held(EXOG)
    if below is None or below.numel() > SMALL:
        return source
    return source.base.replaced({EXOG: gather(source.only(EXOG), _exog)})


def _exog(block: Block) -> Tensor:
    return block[EXOG]
