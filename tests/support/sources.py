"""The same rows in every kind of source, by name."""

from __future__ import annotations

import itertools
import os
from pathlib import Path

import duckdb
import fsspec
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.feather as feather
import pyarrow.parquet as pq


def _parts(rows: pd.DataFrame) -> list[pa.Table]:
    """Cut a frame into tables, the middle one of which is small."""
    table = pa.Table.from_pandas(rows, preserve_index=False)
    places = [0, len(table) // 2, len(table) // 2 + 7, len(table)]
    return [table.slice(a, b - a) for a, b in itertools.pairwise(places)]


def _written(rows: pd.DataFrame, folder: Path, ending: str) -> Path:
    os.makedirs(folder, exist_ok=True)
    for i, part in enumerate(_parts(rows)):
        path = folder / f"part-{i}.{ending}"
        if ending == "parquet":
            pq.write_table(part, path, row_group_size=500)
        elif ending == "feather":
            feather.write_feather(part, path, chunksize=300)
        else:
            part.to_pandas().to_csv(path, index=False)
    return folder


def _in_memory(rows: pd.DataFrame, folder: Path) -> str:
    memory = fsspec.filesystem("memory")
    _written(rows, folder, "parquet")
    for path in folder.iterdir():
        memory.pipe(f"/{folder.name}/{path.name}", path.read_bytes())
    return f"memory://{folder.name}/*.parquet"


SOURCES = {
    "a glob of Parquet": lambda rows, folder: f"{_written(rows, folder, 'parquet')}/*.parquet",
    "a list of Parquet": lambda rows, folder: sorted(_written(rows, folder, "parquet").iterdir()),
    "a folder of Feather": lambda rows, folder: str(_written(rows, folder, "feather")),
    "a glob of CSV": lambda rows, folder: _written(rows, folder, "csv") / "*.csv",
    "a URL": _in_memory,
    "a pyarrow Dataset": lambda rows, folder: ds.dataset(_written(rows, folder, "parquet")),
    "a filtered pyarrow Dataset": lambda rows, folder: ds.dataset(_written(rows, folder, "parquet")).filter(
        ds.field("row") >= 0
    ),
    "a LazyFrame of Parquet": lambda rows, folder: pl.scan_parquet(_written(rows, folder, "parquet")).filter(
        pl.col("row") >= 0
    ),
    "a LazyFrame of CSV": lambda rows, folder: pl.scan_csv(_written(rows, folder, "csv")),
    "a DuckDB relation": lambda rows, folder: duckdb.connect().read_parquet(
        f"{_written(rows, folder, 'parquet')}/*.parquet"
    ),
    "a function of pandas": lambda rows, folder: lambda: (part.to_pandas() for part in _parts(rows)),
    "a function of polars": lambda rows, folder: lambda: map(pl.from_arrow, _parts(rows)),
    "a function of pyarrow": lambda rows, folder: lambda: iter(_parts(rows)),
}
