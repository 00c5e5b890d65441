"""The contents of a table, whatever its format: cells in rows, rows in blocks."""

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
    """One cell."""

    text: str  # a number as printed, with its parentheses, or any string
    marks: str = ""  # the stars after it
    span: int = 1  # how many columns it covers
    decimal: bool = False  # whether it is aligned at the decimal point; other cells are centred

    def __post_init__(self) -> None:
        """Make invisible characters visible (see `printable`), here and below."""
        _show(self, text=printable(self.text), marks=printable(self.marks))

    @property
    def printed(self) -> str:
        """Its text, with typographic minus signs."""
        return re.sub(r"(?<![\w.])-(?=\d|inf\b)", "\u2212", self.text)

    @property
    def parts(self) -> tuple[str, str]:
        """Its text before the decimal point, and from the decimal point on, without marks."""
        whole = self.text.partition("e")[0].rstrip(")]}")
        point = whole.find(".") if "." in whole else len(whole)
        return self.text[:point], self.text[point:]


@dataclass(frozen=True)
class Line:
    """A row of the body or the foot: its name and one cell for each column."""

    name: str
    cells: tuple[Cell, ...]

    def __post_init__(self) -> None:
        """Make invisible characters visible."""
        _show(self, name=printable(self.name))


@dataclass(frozen=True)
class Block:
    """Rows that belong together, under a title if there is one."""

    title: str
    lines: tuple[Line, ...]

    def __post_init__(self) -> None:
        """Make invisible characters visible."""
        _show(self, title=printable(self.title))


@dataclass(frozen=True)
class Layout:
    """A table."""

    title: str
    heads: tuple[tuple[Cell, ...], ...]  # rows whose spans add up to the number of columns
    body: tuple[Block, ...]  # coefficients
    foot: tuple[Line, ...]  # statistics
    notes: tuple[str, ...]
    marks_note: str = ""  # the sentence that explains the marks

    def __post_init__(self) -> None:
        """Make invisible characters visible."""
        notes = tuple(map(printable, self.notes))
        _show(self, title=printable(self.title), notes=notes, marks_note=printable(self.marks_note))

    @property
    def columns(self) -> int:
        """The number of columns, not counting the names of the rows."""
        return sum(cell.span for cell in self.heads[0])

    @property
    def lines(self) -> tuple[Line, ...]:
        """The rows of the body and the foot."""
        return (*(line for block in self.body for line in block.lines), *self.foot)

    @property
    def texts(self) -> tuple[str, ...]:
        """Everything that is printed."""
        heads = [cell.text for cells in self.heads for cell in cells]
        body = [text for line in self.lines for text in (line.name, *(cell.text + cell.marks for cell in line.cells))]
        return (self.title, *heads, *(block.title for block in self.body), *body, *self.sentences)

    @property
    def sentences(self) -> tuple[str, ...]:
        """All notes, the explanation of the marks last."""
        return (*self.notes, self.marks_note) if self.marks_note else self.notes

    def without_marks(self) -> Layout:
        """Return the table without stars and without the note that explains them."""
        bare = tuple(replace(block, lines=tuple(_without_marks(line) for line in block.lines)) for block in self.body)
        return replace(self, body=bare, foot=tuple(map(_without_marks, self.foot)), marks_note="")


def spanning(texts: Sequence[str]) -> tuple[Cell, ...]:
    """Return a row of heads in which equal neighbours are merged."""
    return tuple(Cell(text, span=len(list(same))) for text, same in groupby(texts))


def plain(texts: Sequence[str]) -> tuple[Cell, ...]:
    """Return one cell for each string."""
    return tuple(map(Cell, texts))


def number(value: float, digits: int | None = None, significant: int | None = None) -> str:
    """Print a number with `digits` decimals or with `significant` digits; digits before the decimal point are never rounded away.

    With neither: four decimals below 10, three below 100,000, none above, and three significant digits below 0.001. NaN is printed as "".

    >>> number(0.08267441), number(1234.5678), number(1.5e-7), number(float("nan"))
    ('0.0827', '1234.568', '1.50e-07', '')
    >>> number(0.08267441, digits=2), number(0.08267441, significant=2), number(1234.5678, significant=2)
    ('0.08', '0.083', '1235')
    """
    if not math.isfinite(value):
        return "" if math.isnan(value) else str(value)
    if digits is not None:
        return _unsigned_zero(f"{value:.{digits}f}")
    value += 0.0  # turns -0.0 into 0.0
    if significant is not None:
        return _significant(value, significant)
    size = abs(value)
    if size == 0 or 1e-3 <= size < 1e5:
        return f"{value:.{4 if size < 10 else 3}f}"
    return f"{value:.0f}" if 1e5 <= size < 1e9 else f"{value:#.3g}"


def number_format(digits: int | None, significant: int | None) -> Number:
    """Return the function that prints numbers, after checking the two options."""
    if digits is not None and significant is not None:
        raise OptionError("digits and significant cannot be combined; pass only one of them.")
    for option, value, least in (("digits", digits, 0), ("significant", significant, 1)):
        if value is not None and (not is_whole(value) or not least <= value <= 15):
            raise OptionError(f"{option} is {shown(value)}; pass a whole number from {least} to 15.")
    return partial(number, digits=digits, significant=significant)


def is_whole(value: object) -> bool:
    """Tell whether a value is a whole number; True and False are not."""
    return isinstance(value, int | np.integer) and not isinstance(value, bool)


# Below this power of ten, zeros after the decimal point are harder to read than an exponent.
_TINY = -5


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
