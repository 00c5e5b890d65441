"""Lazy frames of polars, which computes them in batches: columns that are not needed, and filters, are its own affair."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from betahat.data.datasets.base import Dataset, Partition
from betahat.data.datasets.order import Order
from betahat.data.datasets.partitioned import Partitioned
from betahat.data.datasets.sizes import CHUNK_ROWS, evenly
from betahat.errors import DataError, optional_module


@dataclass(frozen=True, eq=False)
class LazyFrame(Partition):
    """All rows of a lazy frame.

    Attributes
    ----------
    frame : polars.LazyFrame
    order : Order
    """

    frame: Any = field(repr=False)
    order: Order

    @property
    def name(self) -> str:
        """What messages call it."""
        return self.order.name

    def chunks(self, columns: Sequence[str]) -> Iterator[Any]:
        """Yield frames of 65,536 rows."""
        return self.order.kept(evenly(self._batches(columns)))

    def _batches(self, columns: Sequence[str]) -> Iterator[Any]:
        polars = _polars()
        try:
            kinds = self.frame.collect_schema()
            chosen = [
                polars.col(name).cast(polars.Float64) if kinds[name].is_decimal() else polars.col(name)
                for name in columns
            ]
            yield from self.frame.select(chosen).collect_batches(chunk_size=CHUNK_ROWS, maintain_order=True, lazy=True)
        except (polars.exceptions.PolarsError, OSError) as error:
            raise _unreadable(error) from error


def lazy_frame(frame: Any) -> Dataset:
    """Return a lazy frame of polars as a dataset."""
    polars = _polars()
    try:
        names = tuple(frame.collect_schema().names())
    except (polars.exceptions.PolarsError, OSError) as error:
        raise _unreadable(error) from error
    remedy = "sort the frame, ask its joins and groups for maintain_order, or write it to a file (sink_parquet) and pass its path"
    label = "the LazyFrame"
    return Partitioned(label, names, (LazyFrame(frame, Order(label, remedy)),))


def _unreadable(error: Exception) -> DataError:
    reason = str(error).strip().splitlines()[0].rstrip(".")
    return DataError(
        f"The LazyFrame cannot be computed ({reason}); see what frame.collect() says, and make frame and model again if its files have changed."
    )


def _polars() -> Any:
    return optional_module("polars", "Lazy frames need polars", "files")
