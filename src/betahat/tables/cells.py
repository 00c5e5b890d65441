"""What a table says, before anything is known of how it looks: cells in rows, rows in blocks."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import groupby
from typing import Any

import numpy as np

from betahat.data.printable import printable
from betahat.errors import OptionError, shown

Number = Callable[[float], str]


@dataclass(frozen=True)
class Cell:
    """One cell.

    Attributes
    ----------
    text : str
        A number as printed, with its parentheses, or a text.
    marks : str
        The stars after it.
    span : int
        The columns that it covers.
    decimal : bool
        Whether it stands on its column's decimal point; other cells are centred.
    """

    text: str
    marks: str = ""
    span: int = 1
    decimal: bool = False

    def __post_init__(self) -> None:
        """Show what has no look of its own, as in `printable`; and so below."""
        _show(self, text=printable(self.text), marks=printable(self.marks))

    @property
    def printed(self) -> str:
        """Its text, with the minus signs of typography."""
        return re.sub(r"(?<![\w.])-(?=\d|inf\b)", "\u2212", self.text)

    @property
    def parts(self) -> tuple[str, str]:
        """What stands before the decimal point, and from it on, without marks."""
        whole = self.text.partition("e")[0].rstrip(")]}")
        point = whole.find(".") if "." in whole else len(whole)
        return self.text[:point], self.text[point:]


@dataclass(frozen=True)
class Line:
    """A row of the body or the foot: its name, and a cell for each column."""

    name: str
    cells: tuple[Cell, ...]

    def __post_init__(self) -> None:
        """Show what has no look of its own."""
        _show(self, name=printable(self.name))


@dataclass(frozen=True)
class Block:
    """Rows that belong together, under a title or none."""

    title: str
    lines: tuple[Line, ...]

    def __post_init__(self) -> None:
        """Show what has no look of its own."""
        _show(self, title=printable(self.title))


@dataclass(frozen=True)
class Layout:
    """A table.

    Attributes
    ----------
    title : str
        Its heading.
    heads : tuple of tuple of Cell
        The rows of the head, without the one above the row names; their spans add up to the number of columns.
    body : tuple of Block
        Coefficients.
    foot : tuple of Line
        Statistics.
    notes : tuple of str
        Sentences under the table.
    marks_note : str
        The sentence that explains the marks, or nothing.
    """

    title: str
    heads: tuple[tuple[Cell, ...], ...]
    body: tuple[Block, ...]
    foot: tuple[Line, ...]
    notes: tuple[str, ...]
    marks_note: str = ""

    def __post_init__(self) -> None:
        """Show what has no look of its own."""
        notes = tuple(map(printable, self.notes))
        _show(self, title=printable(self.title), notes=notes, marks_note=printable(self.marks_note))

    @property
    def columns(self) -> int:
        """How many columns there are beside the names of the rows."""
        return sum(cell.span for cell in self.heads[0])

    @property
    def lines(self) -> tuple[Line, ...]:
        """The rows of the body and the foot."""
        return (*(line for block in self.body for line in block.lines), *self.foot)

    @property
    def texts(self) -> tuple[str, ...]:
        """All that is printed."""
        heads = [cell.text for cells in self.heads for cell in cells]
        body = [text for line in self.lines for text in (line.name, *(cell.text + cell.marks for cell in line.cells))]
        return (self.title, *heads, *(block.title for block in self.body), *body, *self.sentences)

    @property
    def sentences(self) -> tuple[str, ...]:
        """All notes, that of the marks last."""
        return (*self.notes, self.marks_note) if self.marks_note else self.notes

    def without_marks(self) -> Layout:
        """Return the table without stars and their note."""
        bare = tuple(replace(block, lines=tuple(_without_marks(line) for line in block.lines)) for block in self.body)
        return replace(self, body=bare, foot=tuple(map(_without_marks, self.foot)), marks_note="")


def spanning(texts: Sequence[str]) -> tuple[Cell, ...]:
    """Return a row of heads in which equal neighbours are one."""
    return tuple(Cell(text, span=len(list(same))) for text, same in groupby(texts))


def plain(texts: Sequence[str]) -> tuple[Cell, ...]:
    """Return cells of texts."""
    return tuple(map(Cell, texts))


def number(value: float, digits: int | None = None, significant: int | None = None) -> str:
    """Print a number.

    Parameters
    ----------
    value : float
        NaN is printed as nothing.
    digits : int, optional
        How many decimals.
    significant : int, optional
        How many significant digits; digits before the decimal point are never rounded away. With neither option,
        four decimals below 10, three below 100,000, none above, and three significant digits below 0.001.

    Examples
    --------
    >>> number(0.08267441), number(1234.5678), number(1.5e-7), number(float("nan"))
    ('0.0827', '1234.568', '1.50e-07', '')
    >>> number(0.08267441, digits=2), number(0.08267441, significant=2), number(1234.5678, significant=2)
    ('0.08', '0.083', '1235')
    """
    if not math.isfinite(value):
        return "" if math.isnan(value) else str(value)
    if digits is not None:
        return _unsigned_zero(f"{value:.{digits}f}")
    value += 0.0  # which has no sign
    if significant is not None:
        return _significant(value, significant)
    size = abs(value)
    if size == 0 or 1e-3 <= size < 1e5:
        return f"{value:.{4 if size < 10 else 3}f}"
    return f"{value:.0f}" if 1e5 <= size < 1e9 else f"{value:#.3g}"


# Below this power of ten, zeros after the decimal point say less than an exponent.
_TINY = -5


def number_format(digits: int | None, significant: int | None) -> Number:
    """Return how numbers are printed, for options that make sense."""
    if digits is not None and significant is not None:
        raise OptionError("digits and significant were both given; pass decimals or significant digits.")
    for option, value, least in (("digits", digits, 0), ("significant", significant, 1)):
        if value is not None and (not is_whole(value) or not least <= value <= 15):
            raise OptionError(f"{option} is {shown(value)}; pass a whole number from {least} to 15.")
    return partial(number, digits=digits, significant=significant)


def is_whole(value: object) -> bool:
    """Tell whether a value is a whole number, and no truth value."""
    return isinstance(value, int | np.integer) and not isinstance(value, bool)


def _significant(value: float, digits: int) -> str:
    power = int(f"{value:.{digits - 1}e}".partition("e")[2])
    return f"{value:.{digits - 1}e}" if power < _TINY else f"{value:.{max(digits - 1 - power, 0)}f}"


def _unsigned_zero(text: str) -> str:
    return text.removeprefix("-") if float(text) == 0 else text


def _show(record: object, **texts: Any) -> None:
    for name, text in texts.items():
        object.__setattr__(record, name, text)


def _without_marks(line: Line) -> Line:
    return replace(line, cells=tuple(replace(cell, marks="") for cell in line.cells))
