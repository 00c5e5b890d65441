"""Arrow files (Feather) as partitions of whole record batches."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from betahat.data.datasets.base import Partition
from betahat.data.datasets.files import File
from betahat.data.datasets.layout import Contents, Layout
from betahat.data.datasets.sizes import cuts, evenly
from betahat.errors import optional_module


@dataclass(frozen=True)
class RecordBatches(Partition):
    """Consecutive record batches of an Arrow file.

    Attributes
    ----------
    file : File
    first, last : int
        The first record batch, and one past the last.
    layout : Layout
    whole : bool
        Whether these are all record batches of the file.
    """

    file: File
    first: int
    last: int
    layout: Layout
    whole: bool

    @property
    def name(self) -> str:
        """The file's, and which record batches."""
        return self.file.name if self.whole else f"{self.file.name} (record batches from {self.first})"

    def chunks(self, columns: Sequence[str]) -> Iterator[Any]:
        """Yield tables of 65,536 rows."""
        return evenly(self._tables(columns))

    def _tables(self, columns: Sequence[str]) -> Iterator[Any]:
        self.layout.check(columns)
        with self.file.being_read("Arrow"), self.file.open() as opened:
            names = _reader(opened).schema.names
            reading = _reader(opened, [names.index(name) for name in columns if name not in self.file.keys])
            for number in range(self.first, self.last):
                yield self.layout.table(reading.get_batch(number), columns, self.file.keys)
        self.file.check()


@dataclass(frozen=True)
class Batches(Contents):
    """What an Arrow file says of itself.

    Attributes
    ----------
    columns : pyarrow.Schema
    sizes : list of int
        The rows of each record batch.
    """

    columns: Any
    sizes: list[int]

    @classmethod
    def of(cls, file: File) -> Batches:
        """Read it."""
        with file.being_read("Arrow"), file.open() as opened:
            reading = _reader(opened, [])
            sizes = [reading.get_batch(i).num_rows for i in range(reading.num_record_batches)]
            return cls(_reader(opened).schema, sizes)

    @property
    def schema(self) -> Any:
        """Its columns and their types."""
        return self.columns

    def partitions(self, file: File, layout: Layout) -> list[RecordBatches]:
        """Cut the file into partitions of about a million rows."""
        bounds = cuts(self.sizes)
        return [RecordBatches(file, first, last, layout, len(bounds) == 1) for first, last in bounds]


def _reader(opened: Any, fields: list[int] | None = None) -> Any:
    """Open a file, of which some fields are read."""
    ipc = optional_module("pyarrow.ipc", "Arrow files need pyarrow", "files")
    return ipc.open_file(opened, options=ipc.IpcReadOptions(included_fields=fields, use_threads=False))
