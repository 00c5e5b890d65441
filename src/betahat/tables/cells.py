"""The contents of a table, whatever its format: cells in rows, rows in blocks."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from typing import Any

from betahat.tables.tex import one_line


@dataclass(frozen=True)
class Cell:
    """One cell."""

    text: str  # a number as printed, with its parentheses, or any string
    marks: str = ""  # the stars after it
    span: int = 1  # how many columns it covers
    decimal: bool = False  # whether it is aligned at the decimal point; other cells are centred

    def __post_init__(self) -> None:
        """Make invisible characters visible (see `printable`), here and below."""
        _show(self, text=one_line(self.text), marks=one_line(self.marks))

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
        _show(self, name=one_line(self.name))


@dataclass(frozen=True)
class Block:
    """Rows that belong together, under a title if there is one."""

    title: str
    lines: tuple[Line, ...]
    ruled: bool = False  # whether a rule stands above it, as above a panel
    continues: bool = False  # whether its rows belong under the title before it

    def __post_init__(self) -> None:
        """Make invisible characters visible."""
        _show(self, title=one_line(self.title))

    @property
    def indented(self) -> bool:
        """Whether its rows stand under a title."""
        return bool(self.title) or self.continues


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
        notes = tuple(map(one_line, self.notes))
        _show(self, title=one_line(self.title), notes=notes, marks_note=one_line(self.marks_note))

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


def _show(record: object, **texts: Any) -> None:
    for name, text in texts.items():
        object.__setattr__(record, name, text)


def _without_marks(line: Line) -> Line:
    return replace(line, cells=tuple(replace(cell, marks="") for cell in line.cells))
