"""`Order`: whether rows that are computed anew on each pass come in the same order."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

import narwhals as nw

from betahat.errors import DataError


@dataclass(frozen=True, eq=False)
class Order:
    """Some rows of each chunk, by which another order is noticed.

    Attributes
    ----------
    name : str
        What is read.
    remedy : str
        How its order is fixed.
    seen : dict
        What stood first and last, by column and number of the chunk.
    """

    name: str
    remedy: str
    seen: dict[tuple[str, int], tuple[str, str]] = field(default_factory=dict)

    def kept(self, chunks: Iterable[Any]) -> Iterator[Any]:
        """Yield chunks, and refuse those that differ from the ones before."""
        for number, chunk in enumerate(chunks):
            frame = nw.from_native(chunk, eager_only=True)
            for column in frame.iter_columns() if len(frame) else ():
                ends = repr(column.item(0)), repr(column.item(len(column) - 1))
                if self.seen.setdefault((column.name, number), ends) != ends:
                    raise DataError(
                        f"The rows of {self.name} are other ones than when they were read before, or come in another order, and a fit reads them "
                        f"several times; {self.remedy}."
                    )
            yield chunk
