"""Times that are read in turn: whole numbers or dates of a dataset's column, whose order and steps one pass tells."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from betahat.data.engine import Block, scan
from betahat.data.frame import column_of, ticks_of
from betahat.data.row_codes import GROUP, RowCodes
from betahat.data.sample import Sample
from betahat.data.source import Span
from betahat.data.streamed import Beside
from betahat.errors import DataError


@dataclass(frozen=True, eq=False)
class Ticks(Beside):
    """Whole numbers, or dates in microseconds.

    Attributes
    ----------
    column : str
        The dataset's column.
    name : str
        What to call it in a sentence.
    start, step : int
        What is 0, and what is 1.
    """

    column: str
    name: str
    start: int = 0
    step: int = 1

    @property
    def needs(self) -> tuple[str, ...]:
        """The column."""
        return (self.column,)

    @property
    def shape(self) -> tuple[int, ...]:
        """A number for each row."""
        return ()

    def values(self, chunk: Any) -> Tensor:
        """Read a chunk's."""
        found = ticks_of(chunk[self.column] if isinstance(chunk, Mapping) else column_of(chunk, self.column))
        if found is None:
            raise DataError(
                f"{self.name} has missing values, or neither whole numbers nor dates, which are what tells the order of so many rows; convert it, or omit "
                "time to use the order of the rows."
            )
        return torch.from_numpy((found - self.start) // self.step)


@dataclass(frozen=True)
class Course:
    """What a pass over increasing times tells.

    Attributes
    ----------
    first, last : int
        The ends.
    step : int
        What all differences are multiples of.
    shortest : int
        The smallest difference.
    """

    first: int
    last: int
    step: int
    shortest: int


@dataclass(frozen=True)
class _Piece:
    """The times of a block: its ends, the common step, the shortest, and the place of a time that is not after the one before, or -1."""

    start: int
    first: int
    last: int
    step: int
    shortest: int
    falls: int


def course_of(sample: Sample, codes: RowCodes, name: str) -> Course:
    """Read times in turn, of which each must be after the one before."""
    before: _Piece | None = None
    spans = sample.source.spans
    first, step, shortest = 0, 0, 0
    for piece in scan(codes.beside(sample.source.only()), _piece, sample.engine):
        ahead = 0 if before is None else piece.first - before.last
        if before is not None and ahead <= 0:
            raise _unsorted(spans, name, piece.start, equal=ahead == 0)
        if piece.falls >= 0:
            raise _unsorted(spans, name, piece.start + piece.falls, equal=piece.shortest == 0)
        first = piece.first if before is None else first
        step = math.gcd(step, ahead, piece.step)
        shortest = min(part for part in (shortest, ahead, piece.shortest, 2**62) if part)
        before = piece
    assert before is not None
    return Course(first, before.last, max(step, 1), shortest)


def _piece(block: Block) -> _Piece:
    times = block[GROUP]
    ahead = times.diff()
    first, last = int(times[0]), int(times[-1])
    if not len(ahead):
        return _Piece(block.start, first, last, 0, 0, -1)
    shortest = int(ahead.min())
    if shortest <= 0:
        return _Piece(block.start, first, last, 0, shortest, 1 + int((ahead <= 0).to(torch.int8).argmax()))
    return _Piece(block.start, first, last, math.gcd(*torch.unique(ahead).tolist()), shortest, -1)


def _unsorted(spans: Sequence[Span], name: str, row: int, *, equal: bool) -> DataError:
    """Say where times are out of order."""
    span = next(span for span in spans if span.start <= row < span.stop)
    where = f"row {row - span.start} of those in use of {span.name}"
    if equal:
        return DataError(
            f"{name} has several rows in one period, such as {where}, and HAC is of one series; use DriscollKraay, which adds up the rows of a "
            "period, or PanelNeweyWest for the series of several units."
        )
    return DataError(
        f"{name} is not in order: {where} is before the one above it; sort the rows by time, within files and from file to file, or read them into "
        "memory."
    )
