"""Datasets of pyarrow: files with a schema of their own, and filters."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from betahat.data.datasets.base import Dataset, Partition
from betahat.data.datasets.files import File, at_once
from betahat.data.datasets.layout import Contents, Layout, handed_out_as
from betahat.data.datasets.parquet import Footer
from betahat.data.datasets.partitioned import Partitioned
from betahat.data.datasets.sizes import CHUNK_ROWS, evenly
from betahat.errors import DataError, optional_module, shown


@dataclass(frozen=True, eq=False)
class Fragment(Partition):
    """A file, or row groups of one, that pyarrow reads by the dataset's format and schema.

    Attributes
    ----------
    label : str
        What it is called.
    file : File
    fragment : pyarrow.dataset.FileFragment
    schema : pyarrow.Schema
        The dataset's.
    filter : pyarrow.compute.Expression or None
        Which rows there are.
    layout : Layout
    """

    label: str
    file: File
    fragment: Any
    schema: Any
    filter: Any
    layout: Layout

    @property
    def name(self) -> str:
        """The file's, and which row groups."""
        return self.label

    def chunks(self, columns: Sequence[str]) -> Iterator[Any]:
        """Yield tables of 65,536 rows."""
        return evenly(self._tables(columns))

    def _tables(self, columns: Sequence[str]) -> Iterator[Any]:
        self.layout.check(columns)
        self.file.check()
        asked = {"schema": self.schema, "columns": list(columns), "filter": self.filter}
        with self.file.being_read(self.fragment.format.default_extname):
            for rows in self.fragment.to_batches(**asked, **_least(self.fragment)):
                yield self.layout.table(rows, columns, {})
        self.file.check()


@dataclass(frozen=True, eq=False)
class Whole(Contents):
    """What a file that pyarrow reads says of itself.

    Attributes
    ----------
    fragment : pyarrow.dataset.FileFragment
    declared : pyarrow.Schema
        The dataset's.
    filter : pyarrow.compute.Expression or None
        Which rows there are.
    file : File
    """

    fragment: Any
    declared: Any
    filter: Any
    file: File

    @property
    def schema(self) -> Any:
        """Its columns and their types."""
        with self.file.being_read(self.fragment.format.default_extname):
            return self.fragment.physical_schema

    def partitions(self, file: File, layout: Layout) -> list[Fragment]:
        """Return the file, or row groups of a large one of Parquet."""
        rest = (self.declared, self.filter, layout)
        if not _is_parquet(self.fragment):
            return [Fragment(file.name, file, self.fragment, *rest)]
        return [
            Fragment(part.name, file, self.fragment.subset(row_group_ids=list(range(part.first, part.last))), *rest)
            for part in Footer.of(file).partitions(file, layout)
        ]


def arrow_dataset(given: Any) -> Dataset:
    """Return a Dataset of pyarrow as a dataset: Parquet in row groups, other formats by file."""
    module = _datasets()
    # A union of one has the fragments of a filtered dataset, which itself does not hand them out.
    fragments = list(module.UnionDataset(given.schema, [given]).get_fragments())
    if not all(isinstance(fragment, module.FileFragment) for fragment in fragments):
        raise DataError(
            "data is a pyarrow Dataset of tables in memory, or of a reader that can be read only once; pass dataset.to_table(), or a Dataset of files."
        )
    condition = given._scan_options.get("filter")  # for which pyarrow has no other name
    keys = [module.get_partition_keys(fragment.partition_expression) for fragment in fragments]
    files = at_once(
        File.stamped,
        [File(part.path, part.path, part.filesystem, None, own) for part, own in zip(fragments, keys, strict=True)],
    )
    contents: list[Contents] = [
        Footer.of(file)
        if condition is None and _is_parquet(fragment)
        else Whole(fragment, given.schema, condition, file)
        for fragment, file in zip(fragments, files, strict=True)
    ]
    types = {field.name: handed_out_as(field.type) for field in given.schema}
    layout = _layout(types, files, [found.schema for found in contents])
    parts = [part for file, found in zip(files, contents, strict=True) for part in found.partitions(file, layout)]
    return Partitioned("the pyarrow Dataset", tuple(types), tuple(parts))


def _datasets() -> Any:
    return optional_module("pyarrow.dataset", "Datasets need pyarrow", "files")


def _is_parquet(fragment: Any) -> bool:
    return isinstance(fragment, _datasets().ParquetFileFragment)


def _least(fragment: Any) -> dict[str, Any]:
    """Return the options by which rows are read by the thread that asks for them, in its own time."""
    least = {"batch_size": CHUNK_ROWS, "batch_readahead": 0, "fragment_readahead": 0, "use_threads": False}
    if not _is_parquet(fragment):
        return least
    return {**least, "fragment_scan_options": _datasets().ParquetFragmentScanOptions(pre_buffer=False)}


def _layout(types: dict[str, Any], files: Sequence[File], schemas: Sequence[Any]) -> Layout:
    """Take the types of the dataset's schema, and find what keeps files from being read so."""
    found = Layout.of((file.name, schema) for file, schema in zip(files, schemas, strict=True))
    keys = {name for file in files for name in file.keys}
    faults = {name: fault for name, fault in found.faults.items() if name in types and name not in keys}
    for name in types:
        if name not in found.types and name not in keys and files:
            faults[name] = (
                f"No file of the pyarrow Dataset has a column {shown(name)}, which its schema has; leave it out of the schema."
            )
    return Layout(types, faults)
