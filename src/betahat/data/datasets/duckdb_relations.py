"""Relations of DuckDB, which it computes in batches."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, NoReturn

from betahat.data.datasets.base import Dataset, Partition
from betahat.data.datasets.files import arrow
from betahat.data.datasets.layout import Layout, handed_out_as
from betahat.data.datasets.order import Order
from betahat.data.datasets.partitioned import Partitioned
from betahat.data.datasets.sizes import CHUNK_ROWS, evenly
from betahat.errors import DataError, optional_module

# Who reads and changes which results are open.
_LOCK = threading.RLock()
_OPEN: list[Any] = []


@dataclass(frozen=True, eq=False)
class Relation(Partition):
    """All rows of a relation.

    A connection has one result at a time: who reads on after another reading began computes the relation again, up to where it was.

    Attributes
    ----------
    relation : duckdb.DuckDBPyRelation
    order : Order
    layout : Layout
    """

    relation: Any = field(repr=False)
    order: Order
    layout: Layout

    @property
    def name(self) -> str:
        """What messages call it."""
        return self.order.name

    def chunks(self, columns: Sequence[str]) -> Iterator[Any]:
        """Yield tables of 65,536 rows."""
        self.layout.check(columns)
        return self.order.kept(evenly(self._tables(tuple(columns))))

    def _tables(self, columns: tuple[str, ...]) -> Iterator[Any]:
        reader, read = None, 0
        try:
            while True:
                with _LOCK:
                    if reader not in _OPEN:
                        reader = self._opened(columns, read)
                    rows = _next(reader)
                if rows is None:
                    self._check_open()  # a reader whose connection was closed ends early
                    return
                read += rows.num_rows
                yield self.layout.table(rows, columns, {})
        finally:
            with _LOCK:
                _close(reader)

    def _opened(self, columns: tuple[str, ...], skipped: int) -> Any:
        """Begin to compute some columns, and leave out the rows that were read already."""
        duckdb = _duckdb()
        try:
            reader = self._begun(columns)
        except duckdb.Error as error:
            if not _OPEN:
                raise _unreadable(error) from error
            for other in list(_OPEN):  # one of which may be of the same connection
                _close(other)
            return self._opened(columns, skipped)
        _OPEN.append(reader)
        while skipped > 0:
            rows = _next(reader)
            skipped -= skipped if rows is None else rows.num_rows
        return reader

    def _check_open(self) -> None:
        try:
            self.relation.columns  # noqa: B018  # which a closed connection does not tell
        except _duckdb().Error as error:
            raise _unreadable(error) from error

    def _begun(self, columns: tuple[str, ...]) -> Any:
        chosen = [_duckdb().ColumnExpression(name) for name in columns]
        return self.relation.select(*chosen).to_arrow_reader(CHUNK_ROWS)

    def __reduce__(self) -> NoReturn:
        """Refuse to go to another process, where its connection is not."""
        raise DataError(
            "A DuckDB relation belongs to its connection in this process and cannot be sent to others; write it with relation.write_parquet(path) and "
            "pass the path, or use no engine or one of threads."
        )


def relation(given: Any) -> Dataset:
    """Return a relation of DuckDB as a dataset."""
    try:
        schema = given.limit(0).to_arrow_table().schema
    except _duckdb().Error as error:
        raise _unreadable(error) from error
    label = "the DuckDB relation"
    layout = Layout({field.name: handed_out_as(field.type) for field in schema}, {})
    remedy = (
        "order the relation (relation.order('id')), or write it with relation.write_parquet(path) and pass the path"
    )
    return Partitioned(label, tuple(schema.names), (Relation(given, Order(label, remedy), layout),))


def _close(reader: Any) -> None:
    """Let a connection compute something else."""
    if reader in _OPEN:
        _OPEN.remove(reader)
        reader.close()


def _next(reader: Any) -> Any:
    """Return the next record batch; None after the last."""
    try:
        return reader.read_next_batch()
    except StopIteration:
        return None
    except (_duckdb().Error, arrow().ArrowException, OSError) as error:
        raise _unreadable(error) from error


def _unreadable(error: Exception) -> DataError:
    reason = str(error).strip().splitlines()[0].rstrip(".")
    return DataError(f"The DuckDB relation cannot be computed ({reason}); try relation.limit(5).show().")


def _duckdb() -> Any:
    return optional_module("duckdb", "Relations need duckdb", "duckdb")
