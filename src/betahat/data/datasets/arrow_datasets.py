"""Datasets of pyarrow: files with a schema of their own, and filters."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NoReturn

from betahat.data.datasets.base import Dataset, Partition
from betahat.data.datasets.files import File, arrow, at_once
from betahat.data.datasets.layout import Contents, Layout, handed_out_as
from betahat.data.datasets.parquet import Footer
from betahat.data.datasets.partitioned import Partitioned
from betahat.data.datasets.sizes import CHUNK_ROWS, evenly
from betahat.errors import DataError, optional_module, shown


@dataclass(frozen=True, eq=False)
class Fragment(Partition):
    """A file that pyarrow reads by the dataset's format and schema.

    Attributes
    ----------
    file : File
    fragment : pyarrow.dataset.Fragment
    schema : pyarrow.Schema
        The dataset's.
    layout : Layout
    """

    file: File
    fragment: Any
    schema: Any
    layout: Layout

    @property
    def name(self) -> str:
        """The file's."""
        return self.file.name

    def chunks(self, columns: Sequence[str]) -> Iterator[Any]:
        """Yield tables of 65,536 rows."""
        return evenly(self._tables(columns))

    def _tables(self, columns: Sequence[str]) -> Iterator[Any]:
        self.layout.check(columns)
        self.file.check()
        with self.file.being_read(self.fragment.format.default_extname):
            for rows in self.fragment.to_batches(schema=self.schema, columns=list(columns), **_LEAST):
                yield self.layout.table(rows, columns, {})
        self.file.check()


@dataclass(frozen=True, eq=False)
class Whole(Contents):
    """What a file that pyarrow reads says of itself.

    Attributes
    ----------
    fragment : pyarrow.dataset.Fragment
    declared : pyarrow.Schema
        The dataset's.
    file : File
    """

    fragment: Any
    declared: Any
    file: File

    @property
    def schema(self) -> Any:
        """Its columns and their types."""
        with self.file.being_read(self.fragment.format.default_extname):
            return self.fragment.physical_schema

    def partitions(self, file: File, layout: Layout) -> list[Fragment]:
        """Return the file."""
        return [Fragment(file, self.fragment, self.declared, layout)]


@dataclass(frozen=True, eq=False)
class Filtered(Partition):
    """The rows of a filtered dataset.

    Attributes
    ----------
    dataset : pyarrow.dataset.Dataset
    files : tuple of File
    layout : Layout
    """

    dataset: Any
    files: tuple[File, ...]
    layout: Layout

    @property
    def name(self) -> str:
        """What it is called in a sentence."""
        return "the filtered pyarrow Dataset"

    def chunks(self, columns: Sequence[str]) -> Iterator[Any]:
        """Yield tables of 65,536 rows."""
        return evenly(self._tables(columns))

    def _tables(self, columns: Sequence[str]) -> Iterator[Any]:
        self.layout.check(columns)
        self._check()
        try:
            for rows in self.dataset.to_batches(columns=list(columns), **_LEAST):
                yield self.layout.table(rows, columns, {})
        except (arrow().ArrowException, OSError) as error:
            reason = str(error).splitlines()[0].rstrip(".")
            raise DataError(f"{self.name} cannot be read ({reason}); try dataset.head(5).") from error
        self._check()

    def _check(self) -> None:
        for file in self.files:
            file.check()

    def __reduce__(self) -> NoReturn:
        """Refuse to go to another process, since pyarrow's filters do not."""
        raise DataError(
            "A filtered pyarrow Dataset cannot be sent to other processes; write its rows to files, filter with polars.scan_parquet(...).filter(...), "
            "or use no engine or one of threads."
        )


# Rows are read by the thread that asks for them, in its own time.
_LEAST: dict[str, Any] = {
    "batch_size": CHUNK_ROWS,
    "batch_readahead": 0,
    "fragment_readahead": 0,
    "use_threads": False,
}


def arrow_dataset(given: Any) -> Dataset:
    """Return a Dataset of pyarrow as a dataset: Parquet in row groups, other formats by file, filtered ones as a whole."""
    module = optional_module("pyarrow.dataset", "Datasets need pyarrow", "files")
    if isinstance(given, module.InMemoryDataset):
        raise DataError(
            "data is a pyarrow Dataset of tables in memory, or of a reader that can be read only once; pass dataset.to_table(), or a Dataset of files."
        )
    label = "the pyarrow Dataset"
    types = {field.name: handed_out_as(field.type) for field in given.schema}
    if given._scan_options:  # pyarrow's own way of keeping a filter, for which it has no other name
        paths = given.files if isinstance(given, module.FileSystemDataset) else ()
        files = at_once(File.stamped, [File(path, path, given.filesystem) for path in paths])
        return Partitioned(label, tuple(types), (Filtered(given, tuple(files), Layout(types, {})),))
    fragments = list(given.get_fragments())
    keys = [module.get_partition_keys(fragment.partition_expression) for fragment in fragments]
    files = at_once(
        File.stamped,
        [File(part.path, part.path, part.filesystem, None, own) for part, own in zip(fragments, keys, strict=True)],
    )
    contents = [
        Footer.of(file) if isinstance(fragment, module.ParquetFileFragment) else Whole(fragment, given.schema, file)
        for fragment, file in zip(fragments, files, strict=True)
    ]
    layout = _layout(types, files, [found.schema for found in contents])
    parts = [part for file, found in zip(files, contents, strict=True) for part in found.partitions(file, layout)]
    return Partitioned(label, tuple(types), tuple(parts))


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
