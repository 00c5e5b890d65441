"""`dataset_of`: what a user may pass in the place of a dataframe, as a dataset."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import narwhals as nw

from betahat.data.datasets.arrow_datasets import arrow_dataset
from betahat.data.datasets.arrow_files import Batches
from betahat.data.datasets.base import Dataset
from betahat.data.datasets.csv_files import Types
from betahat.data.datasets.dask_frames import dask_frame
from betahat.data.datasets.duckdb_relations import relation
from betahat.data.datasets.files import File, arrow, at_once, found_files
from betahat.data.datasets.functions import function_of_chunks
from betahat.data.datasets.layout import Contents, Layout
from betahat.data.datasets.lazy_frames import lazy_frame
from betahat.data.datasets.parquet import Footer
from betahat.data.datasets.partitioned import Partitioned
from betahat.data.datasets.ray_datasets import ray_dataset
from betahat.errors import DataError, described, shown

_READ: dict[str, Callable[[File], Contents]] = {"Parquet": Footer.of, "Arrow": Batches.of, "CSV": Types.of}
# What is lazy, by the module and name of its type, which whoever made one has imported.
_KINDS: tuple[tuple[str, str, Callable[[Any], Dataset]], ...] = (
    ("polars", "LazyFrame", lazy_frame),
    ("duckdb", "DuckDBPyRelation", relation),
    ("pyarrow.dataset", "Dataset", arrow_dataset),
    ("dask.dataframe", "DataFrame", dask_frame),
    ("ray.data", "Dataset", ray_dataset),
)
# What reads files or tables once, and what to pass instead.
_ONCE = (
    ("pyarrow", "RecordBatchReader", "the files it reads (their paths), or reader.read_all() if that fits into memory"),
    ("pyarrow.dataset", "Scanner", "its Dataset, after dataset.filter(...) if need be"),
    ("pyarrow.parquet", "ParquetFile", "the file's path"),
    (
        "pandas.io.parsers",
        "TextFileReader",
        "the file's path, or a function that opens it anew, such as lambda: pandas.read_csv(path, chunksize=100_000)",
    ),
)


def dataset_of(data: Any) -> Dataset | None:
    """Return data that do not lie in memory as a dataset; None where they are an ordinary dataframe, or nothing that is known here."""
    if isinstance(data, Dataset):
        return data
    if isinstance(data, nw.LazyFrame):
        data = data.to_native()
    if isinstance(data, str | os.PathLike):
        return _of_files([data])
    if isinstance(data, list | tuple):
        if data and all(isinstance(path, str | os.PathLike) for path in data):
            return _of_files(data)
        if all(nw.from_native(part, pass_through=True) is not part for part in data):
            raise DataError(
                f"data is {described(data)} of dataframes; put them together, or pass a function that returns a fresh iterator of them, such as "
                "lambda: iter(frames)."
                if data
                else f"data is an empty {type(data).__name__}; pass a dataframe, or the paths of files."
            )
        return None
    if isinstance(data, set | frozenset) and data and all(isinstance(path, str | os.PathLike) for path in data):
        raise DataError("data is a set of paths, which has no order; pass sorted(data), a list.")
    for module, name, opened in _KINDS:
        if _is_a(data, module, name):
            return opened(data)
    if _is_a(data, "dask.delayed", "Delayed"):
        raise DataError(
            "data is something delayed of dask; pass dask.dataframe.from_delayed([data]), or data.compute() if it fits into memory."
        )
    _refuse_what_is_read_once(data)
    return function_of_chunks(data) if callable(data) else None


def _of_files(paths: Sequence[Any]) -> Dataset:
    """Return the files that paths stand for as one dataset."""
    given = found_files(paths)
    contents = at_once(_contents, given)
    files = [file.without_keys(found.schema.names) for file, found in zip(given, contents, strict=True)]
    layout = Layout.of((file.name, _with_keys(file, found.schema)) for file, found in zip(files, contents, strict=True))
    parts = [part for file, found in zip(files, contents, strict=True) for part in found.partitions(file, layout)]
    first = shown(os.fspath(paths[0]))
    label = first if len(paths) == 1 else f"{first} and {len(paths) - 1} more"
    return Partitioned(label, tuple(layout.types), tuple(parts))


def _contents(file: File) -> Contents:
    return _READ[file.kind](file)


def _with_keys(file: File, schema: Any) -> Any:
    """Put the columns that folders name behind those of a file."""
    for name, value in file.keys.items():
        schema = schema.append(arrow().field(name, arrow().scalar(value).type))
    return schema


def _is_a(data: Any, module: str, name: str) -> bool:
    """Tell whether an object is of a type of a module, without importing it; one that another thread is importing has none yet."""
    kind = getattr(sys.modules.get(module), name, None)
    return kind is not None and isinstance(data, kind)


def _refuse_what_is_read_once(data: Any) -> None:
    """Refuse iterators, whose rows are gone after one pass."""
    known = [instead for module, name, instead in _ONCE if _is_a(data, module, name)]
    if known or isinstance(data, Iterator):
        anything = "a function that returns a fresh one on each call, the path of a file, or a dataframe"
        raise DataError(
            f"data is {described(data)}, whose rows can be read only once, and a fit reads them several times; pass {[*known, anything][0]}."
        )
