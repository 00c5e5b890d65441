"""CSV files, each a partition: types are those of all its rows, as for who reads it whole."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from betahat.data.datasets.base import Partition
from betahat.data.datasets.files import File, arrow
from betahat.data.datasets.layout import Contents, Layout
from betahat.errors import DataError, optional_module, shown

# In bytes; some tens of thousands of rows.
_BLOCK = 2**22
# What pandas takes for missing beyond pyarrow's own.
_MISSING = ("None", "<NA>")
_MISFIT = re.compile(r"In CSV column #(\d+): .*conversion error")


@dataclass(frozen=True)
class Lines(Partition):
    """The rows of a CSV file.

    Attributes
    ----------
    file : File
    layout : Layout
    """

    file: File
    layout: Layout

    @property
    def name(self) -> str:
        """The file's."""
        return self.file.name

    def chunks(self, columns: Sequence[str]) -> Iterator[Any]:
        """Yield a table of each four megabytes of text."""
        self.layout.check(columns)
        own = {name: self.layout.types[name] for name in columns if name not in self.file.keys}
        with self.file.being_read("CSV"), self.file.open_text() as opened, _reader(self.file, opened, own, own) as read:
            for rows in read:
                if rows.num_rows:
                    yield self.layout.table(rows, columns, self.file.keys)
        self.file.check()


@dataclass(frozen=True)
class Types(Contents):
    """What the text of a CSV file can be read as.

    Attributes
    ----------
    columns : pyarrow.Schema
    """

    columns: Any

    @classmethod
    def of(cls, file: File) -> Types:
        """Read all of it, since a whole number may be followed by a fraction, and a missing value by text."""
        pa = arrow()
        known: dict[str, Any] = {}
        with file.being_read("CSV"):
            while True:
                with file.open_text() as opened, _reader(file, opened, known) as reading:
                    schema = _schema(reading, file)
                    wider = _dates(schema) or _misfit(reading, schema)
                if not wider:
                    break
                known |= wider
        if pa.binary() in schema.types:
            name = schema.field(schema.types.index(pa.binary())).name
            raise _no_utf8(file, f"text in column {shown(name)}")
        if len(schema.names) == 1 and ";" in schema.names[0]:
            raise DataError(
                f"{file.name} has a single column, {shown(schema.names[0])}, so that its separator seems to be a semicolon; save it with commas, or pass "
                "pyarrow.dataset.dataset(path, format=CsvFileFormat(ParseOptions(delimiter=';'))), or lambda: pandas.read_csv(path, sep=';', chunksize=100_000)."
            )
        return cls(schema)

    @property
    def schema(self) -> Any:
        """Its columns and their types."""
        return self.columns

    def partitions(self, file: File, layout: Layout) -> list[Lines]:
        """Return the file."""
        return [Lines(file, layout)]


def _schema(reading: Any, file: File) -> Any:
    """Return the columns that are found, with their types."""
    schema = reading.schema
    try:
        schema.names  # noqa: B018  # which are decoded only here
    except UnicodeDecodeError as error:
        raise _no_utf8(file, "names of columns") from error
    return schema


def _no_utf8(file: File, what: str) -> DataError:
    return DataError(
        f"{file.name} has {what} that {'are' if what.startswith('names') else 'is'} not UTF-8; save it as UTF-8, or pass a pyarrow Dataset whose CsvFileFormat has the encoding."
    )


def _dates(schema: Any) -> dict[str, Any]:
    """Return the columns of dates and times, which stay text, as pandas and polars have them."""
    pa = arrow()
    return {field.name: pa.string() for field in schema if pa.types.is_temporal(field.type)}


def _misfit(reading: Any, schema: Any) -> dict[str, Any]:
    """Read to the end; where a value is not of the type of those above it, return the column and the next type to try."""
    pa = arrow()
    following = {pa.null(): pa.int64(), pa.int64(): pa.float64(), pa.float64(): pa.bool_()}
    try:
        for _ in reading:
            pass
    except pa.ArrowInvalid as error:
        found = _MISFIT.match(str(error))
        field = schema.field(int(found[1])) if found else None
        if field is None or field.type == pa.string():
            raise
        return {field.name: following.get(field.type, pa.string())}
    return {}


def _reader(file: File, opened: Any, types: Mapping[str, Any], columns: Sequence[str] | Mapping[str, Any] = ()) -> Any:
    """Read a file from its beginning, some columns or all."""
    csv = optional_module("pyarrow.csv", "CSV files need pyarrow", "files")
    convert = csv.ConvertOptions(
        column_types=dict(types),
        include_columns=list(columns),
        strings_can_be_null=True,
        quoted_strings_can_be_null=False,
    )
    convert.null_values = [*convert.null_values, *_MISSING]
    return csv.open_csv(
        opened,
        read_options=csv.ReadOptions(block_size=_BLOCK, use_threads=False),
        parse_options=csv.ParseOptions(delimiter="\t" if ".tsv" in file.name.lower() else ",", newlines_in_values=True),
        convert_options=convert,
    )
