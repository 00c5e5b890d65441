"""Parquet files as partitions of whole row groups."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from betahat.data.datasets.base import Partition
from betahat.data.datasets.files import File
from betahat.data.datasets.layout import Contents, Layout
from betahat.data.datasets.sizes import CHUNK_ROWS, cuts
from betahat.errors import optional_module

# In bytes: what a file is asked for at once, of each column. Whole column chunks would be 80 MB of a million rows of ten; on a disk more than this
# takes no less time, and elsewhere each is a request.
_ON_DISK = 2**18
_FAR = 2**22


@dataclass(frozen=True)
class RowGroups(Partition):
    """Consecutive row groups of a Parquet file.

    Attributes
    ----------
    file : File
    first, last : int
        The first row group, and one past the last.
    layout : Layout
    whole : bool
        Whether these are all row groups of the file.
    """

    file: File
    first: int
    last: int
    layout: Layout
    whole: bool

    @property
    def name(self) -> str:
        """The file's, and which row groups."""
        if self.whole:
            return self.file.name
        groups = f"s {self.first} to {self.last - 1}" if self.last - self.first > 1 else f" {self.first}"
        return f"{self.file.name} (row group{groups})"

    def chunks(self, columns: Sequence[str]) -> Iterator[Any]:
        """Yield tables of 65,536 rows, without holding a row group."""
        self.layout.check(columns)
        groups, keys = list(range(self.first, self.last)), self.file.keys
        own = [name for name in columns if name not in keys]
        with self.file.being_read("Parquet"), self.file.open() as opened, _parquet_file(self.file, opened) as reading:
            for rows in reading.iter_batches(CHUNK_ROWS, row_groups=groups, columns=own, use_threads=False):
                yield self.layout.table(rows, columns, keys)
        self.file.check()


@dataclass(frozen=True)
class Footer(Contents):
    """What a Parquet file says of itself.

    Attributes
    ----------
    columns : pyarrow.Schema
    groups : list of int
        The rows of each row group.
    """

    columns: Any
    groups: list[int]

    @classmethod
    def of(cls, file: File) -> Footer:
        """Read it."""
        with file.being_read("Parquet"), file.open() as opened, _parquet_file(file, opened) as reading:
            metadata = reading.metadata
            return cls(reading.schema_arrow, [metadata.row_group(i).num_rows for i in range(metadata.num_row_groups)])

    @property
    def schema(self) -> Any:
        """Its columns and their types."""
        return self.columns

    def partitions(self, file: File, layout: Layout) -> list[RowGroups]:
        """Cut the file into partitions of about a million rows."""
        bounds = cuts(self.groups)
        return [RowGroups(file, first, last, layout, len(bounds) == 1) for first, last in bounds]


def _parquet_file(file: File, opened: Any) -> Any:
    parquet = optional_module("pyarrow.parquet", "Parquet files need pyarrow", "files")
    buffer = _ON_DISK if file.filesystem.type_name == "local" else _FAR
    return parquet.ParquetFile(opened, buffer_size=buffer, pre_buffer=False)
