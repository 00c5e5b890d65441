"""`Order`: whether rows that are computed anew on each pass come in the same order."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

import narwhals as nw

from betahat.errors import DataError


@dataclass(frozen=True)
class Trace:
    """What is kept of a column of a chunk.

    Attributes
    ----------
    ends : tuple of str
        Its first and last values.
    missing : int
        How many values are missing.
    total : float
        Of a column of numbers, their sum, which may be computed in another order.
    error : float
        By how much it may be another one then.
    """

    ends: tuple[str, str]
    missing: int
    total: float
    error: float

    @classmethod
    def of(cls, column: nw.Series[Any]) -> Trace:
        """Look at a column."""
        total, error = 0.0, 0.0
        if column.dtype.is_numeric() and column.null_count() < len(column):
            total = float(column.sum())
            error = 1e-12 * len(column) * max(abs(float(column.min())), abs(float(column.max())))
        return cls((repr(column.item(0)), repr(column.item(len(column) - 1))), column.null_count(), total, error)

    def differs(self, other: Trace) -> bool:
        """Tell whether another column was seen; sums that are no number do not tell."""
        return (self.ends, self.missing) != (other.ends, other.missing) or abs(self.total - other.total) > self.error


@dataclass(frozen=True, eq=False)
class Order:
    """What was seen of each chunk, by which other rows, or another order, are noticed.

    Attributes
    ----------
    name : str
        What is read.
    remedy : str
        How its order is fixed.
    seen : dict
        By column and number of the chunk.
    """

    name: str
    remedy: str
    seen: dict[tuple[str, int], Trace] = field(default_factory=dict)

    def kept(self, chunks: Iterable[Any]) -> Iterator[Any]:
        """Yield chunks, and refuse those that differ from the ones before."""
        for number, chunk in enumerate(chunks):
            frame = nw.from_native(chunk, eager_only=True)
            for column in frame.iter_columns() if len(frame) else ():
                trace = Trace.of(column)
                if self.seen.setdefault((column.name, number), trace).differs(trace):
                    raise DataError(
                        f"The rows of {self.name} are other ones than when they were read before, or come in another order, and a fit reads them "
                        f"several times; {self.remedy}."
                    )
            yield chunk
