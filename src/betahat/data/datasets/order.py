"""`Order`: whether rows that are computed anew on each pass come in the same order."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

import narwhals as nw
import numpy as np

from betahat.errors import DataError


@dataclass(frozen=True, slots=True)
class Trace:
    """What is kept of a column of a chunk.

    Attributes
    ----------
    first, last : str
        Its first and last values.
    total : float
        The sum of a column of numbers, how many values are missing in another: of the same rows the same, bit for bit.
    """

    first: str
    last: str
    total: float

    @classmethod
    def of(cls, column: nw.Series[Any]) -> Trace:
        """Look at a column."""
        if column.dtype.is_numeric():
            values = column.to_numpy()
            with np.errstate(all="ignore"):
                total = float(values.sum())
                total = float(np.nansum(values)) if math.isnan(total) else total
            total = 0.0 if math.isnan(total) else total  # of infinite values
        else:
            total = float(column.null_count())
        return cls(repr(column.item(0)), repr(column.item(len(column) - 1)), total)


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
                if self.seen.setdefault((column.name, number), trace) != trace:
                    raise DataError(
                        f"The rows of {self.name} are other ones than when they were read before, or come in another order, and a fit reads them "
                        f"several times; {self.remedy}."
                    )
            yield chunk
