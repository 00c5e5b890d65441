"""Lazy frames, relations and functions of the user's as datasets; what can be read only once is refused."""

import pickle

import duckdb
import narwhals as nw
import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.parquet as pq
import pytest

from betahat.data.datasets import sizes
from betahat.data.datasets.open import dataset_of
from betahat.errors import DataError

N = 1_000
TABLE = pa.table({"x": np.arange(float(N)), "s": [f"l{i % 7}" for i in range(N)], "i": np.arange(N) % 5})


@pytest.fixture
def path(tmp_path, monkeypatch):
    monkeypatch.setattr(sizes, "CHUNK_ROWS", 64)
    pq.write_table(TABLE, tmp_path / "rows.parquet", row_group_size=100)
    return tmp_path / "rows.parquet"


def _whole(dataset, columns):
    """All rows in order, as pandas has them, and the sizes of the chunks."""
    chunks = [nw.from_native(chunk) for part in dataset.partitions for chunk in part.chunks(columns)]
    return nw.concat(chunks).to_pandas(), [len(chunk) for chunk in chunks]


EVEN = [64] * 15 + [40]


def test_lazy_frames_are_computed_in_even_chunks(path):
    frame = pl.scan_parquet(path)
    dataset = dataset_of(frame)
    assert dataset.columns == ("x", "s", "i")
    for given in (dataset, pickle.loads(pickle.dumps(dataset)), dataset_of(nw.from_native(frame))):
        found, counts = _whole(given, ["i", "x", "s"])
        assert found.to_dict("list") == TABLE.select(["i", "x", "s"]).to_pydict()
        assert counts == EVEN
    made = frame.filter(pl.col("i") == 2).with_columns(z=pl.col("x").log(), d=pl.col("i").cast(pl.Decimal(10, 2)))
    found, counts = _whole(dataset_of(made), ["z", "d"])
    np.testing.assert_array_equal(found["z"], np.log(np.arange(2.0, N, 5)))
    assert list(found["d"]) == [2.0] * 200
    assert counts == [64, 64, 64, 8]


def test_only_the_columns_that_are_needed_are_computed(path):
    def fail(frame):
        raise AssertionError("a column that is not needed was computed")

    frame = pl.scan_parquet(path).with_columns(w=pl.col("x").map_batches(fail, return_dtype=pl.Float64))
    assert len(_whole(dataset_of(frame), ["x"])[0]) == N


def test_lazy_frames_that_cannot_be_computed_are_told_of(path):
    frame = pl.scan_parquet(path)
    dataset = dataset_of(frame.with_columns(z=pl.col("s").cast(pl.Int64)))
    with pytest.raises(DataError, match=r"The LazyFrame cannot be computed \(.*\); see what frame.collect"):
        _whole(dataset, ["z"])
    with pytest.raises(DataError, match=r"The LazyFrame cannot be computed"):
        dataset_of(frame.select("nothing"))
    path.unlink()
    with pytest.raises(DataError, match=r"The LazyFrame cannot be computed \(.*rows.parquet"):
        _whole(dataset, ["x"])


def test_rows_in_another_order_are_noticed(path):
    calls = []

    def shuffled(column):
        calls.append(1)
        return column if len(calls) < 2 else column.reverse()

    frame = pl.LazyFrame({"x": [1.0, 2.0, 3.0]}).select(pl.col("x").map_batches(shuffled, return_dtype=pl.Float64))
    dataset = dataset_of(frame)
    _whole(dataset, ["x"])
    with pytest.raises(DataError, match=r"The rows of the LazyFrame are other ones .*; sort the frame, ask its joins"):
        _whole(dataset, ["x"])


@pytest.mark.parametrize("column", ["x", "i", "s"])
def test_a_file_that_changed_under_a_lazy_frame_is_noticed(path, column):
    rows = TABLE.to_pandas()
    rows.to_csv(path.with_suffix(".csv"), index=False)
    frames = [pl.scan_parquet(path), pl.scan_csv(path.with_suffix(".csv"))]
    datasets = [dataset_of(frame) for frame in frames]
    for dataset in datasets:
        _whole(dataset, [column])
    rows.loc[70, column] = None if column == "s" else 777
    rows.to_csv(path.with_suffix(".csv"), index=False)
    rows.to_parquet(path)
    # polars keeps what a Parquet file's footer said
    for dataset, sentence in zip(
        datasets, ("The LazyFrame cannot be computed", "rows of the LazyFrame are other ones"), strict=True
    ):
        with pytest.raises(DataError, match=sentence):
            _whole(dataset, [column])


@pytest.mark.parametrize(
    "values",
    [
        pd.array([1, None, 3], "Int64"),
        pd.array([1.5, None, 3], "Float64"),
        pd.array([True, None, False], "boolean"),
        np.array([1e308, 1e308, 1e308]),
        np.array([np.inf, -np.inf, 1.0]),
        np.array([np.nan, np.nan, np.nan]),
        pd.Categorical(["a", None, "b"]),
        pd.array(["a", None, "b"], "string[pyarrow]"),
        pd.to_datetime(["2020-01-31", None, "2021-01-31"]),
    ],
)
def test_values_that_are_hard_to_compare_are_the_same_again(values):
    frame = pd.DataFrame({"x": values})
    for function in (lambda: iter([frame]), lambda: iter([pl.from_pandas(frame)]), lambda: [pa.table(frame)]):
        dataset = dataset_of(function)
        for _ in range(2):
            assert len(_whole(dataset, ["x"])[0]) == 3


@pytest.fixture
def connection():
    with duckdb.connect() as connection:
        yield connection


def test_relations_are_computed_in_even_chunks(path, connection):
    relation = connection.read_parquet(str(path))
    dataset = dataset_of(relation)
    assert dataset.columns == ("x", "s", "i")
    found, counts = _whole(dataset, ["i", "x", "s"])
    assert found.to_dict("list") == TABLE.select(["i", "x", "s"]).to_pydict()
    assert counts == EVEN
    assert connection.execute("select 1").fetchall() == [(1,)]
    made = relation.filter("i = 2").project('ln(x) as "a ""name""", 1.5 as d')
    found, _ = _whole(dataset_of(made), ['a "name"', "d"])
    np.testing.assert_allclose(found['a "name"'], np.log(np.arange(2.0, N, 5)), rtol=1e-15)
    assert set(found["d"]) == {1.5}


def test_relations_of_one_connection_are_read_in_turns(path, connection):
    dataset = dataset_of(connection.read_parquet(str(path)))
    other = dataset_of(connection.read_parquet(str(path)).filter("i < 3"))
    (part,), (second,) = dataset.partitions, other.partitions
    readings = [part.chunks(["x"]), part.chunks(["x", "i"]), second.chunks(["x"])]
    parts = [[], [], []]
    for _ in range(3):
        for reading, found in zip(readings, parts, strict=True):
            found.append(next(reading)["x"])
    for reading, found in zip(readings, parts, strict=True):
        found += [chunk["x"] for chunk in reading]
    everything, some = list(range(N)), [x for x in range(N) if x % 5 < 3]
    for found, expected in zip(parts, (everything, everything, some), strict=True):
        assert [value for chunk in found for value in chunk.to_pylist()] == expected
    next(part.chunks(["x"]))  # a reading that nobody ends
    assert connection.execute("select 1").fetchall() == [(1,)]


def test_relations_that_cannot_be_computed_or_sent_are_told_of(path, connection):
    dataset = dataset_of(connection.read_parquet(str(path)).project("x, cast(s as integer) as z"))
    with pytest.raises(DataError, match=r"The DuckDB relation cannot be computed \(.*\); try relation.limit"):
        _whole(dataset, ["z"])
    with pytest.raises(DataError, match=r"There is no column 'w'; there are 'x', 'z'"):
        _whole(dataset, ["w"])
    with pytest.raises(DataError, match=r"A DuckDB relation belongs to its connection"):
        pickle.dumps(dataset)
    relation = connection.read_parquet(str(path))
    dataset = dataset_of(relation)
    connection.close()
    with pytest.raises(DataError, match=r"The DuckDB relation cannot be computed"):
        _whole(dataset, ["x"])
    with pytest.raises(DataError, match=r"The DuckDB relation cannot be computed"):
        dataset_of(relation)


def test_relations_in_another_order_are_noticed(connection):
    dataset = dataset_of(connection.sql("select random() as x from range(10)"))
    _whole(dataset, ["x"])
    with pytest.raises(DataError, match=r"rows of the DuckDB relation are other ones .*; order the relation"):
        _whole(dataset, ["x"])


LIBRARIES = {
    "pandas": lambda: (TABLE.to_pandas()[i : i + 300] for i in range(0, N, 300)),
    "polars": lambda: (pl.from_arrow(TABLE)[i : i + 300] for i in range(0, N, 300)),
    "pyarrow": lambda: (TABLE[i : i + 300] for i in range(0, N, 300)),
    "a list": lambda: [TABLE.to_pandas()],
}


@pytest.mark.parametrize("library", LIBRARIES)
def test_functions_return_chunks_of_any_library(library):
    dataset = dataset_of(LIBRARIES[library])
    assert dataset.name == "<lambda>()"
    assert dataset.columns == ("x", "s", "i")
    for _ in range(2):
        assert _whole(dataset, ["i", "s"])[0].to_dict("list") == TABLE.select(["i", "s"]).to_pydict()


def test_readers_of_pandas_are_closed(path):
    TABLE.to_pandas().to_csv(path.with_suffix(".csv"), index=False)
    readers = []

    def load():
        readers.append(pd.read_csv(path.with_suffix(".csv"), chunksize=300))
        return readers[-1]

    dataset = dataset_of(load)
    assert len(_whole(dataset, ["x"])[0]) == N
    reading = dataset.partitions[0].chunks(["x"])
    next(reading)
    reading.close()
    assert len(readers) == 4
    assert all(reader.handles.handle.closed for reader in readers)


def test_functions_that_do_not_return_fresh_chunks_are_refused():
    once = iter([TABLE])
    for function, sentence in {
        (lambda: once): r"<lambda>\(\) returns the same iterator each time",
        (lambda: iter([])): r"<lambda>\(\) yields nothing; it should yield dataframes",
        (lambda: iter([np.ones(3)])): r"<lambda>\(\) yields a ndarray, where a fit needs dataframes",
        pd.DataFrame: r"DataFrame\(\) returns a DataFrame; let it return an iterator",
        (lambda: 3): r"<lambda>\(\) returns an int; let it return an iterator",
        (lambda path: iter([path])): r"<lambda>\(\) cannot be called without arguments",
        (lambda: 1 / 0): r"<lambda>\(\) raised ZeroDivisionError \(division by zero\), so that its rows cannot be read",
        (lambda: (1 / 0 for _ in "a")): r"<lambda>\(\) raised ZeroDivisionError",
    }.items():
        with pytest.raises(DataError, match=sentence):
            dataset_of(function)


def test_what_a_function_raises_midway_names_it():
    broken = []

    def load():
        yield TABLE[:10]
        if broken:
            raise OSError("the disk is gone")
        yield TABLE[10:20]

    dataset = dataset_of(load)
    broken.append(True)
    with pytest.raises(DataError, match=r"^load\(\) raised OSError \(the disk is gone\), .* go through") as raised:
        _whole(dataset, ["x"])
    assert isinstance(raised.value.__cause__, OSError)


def test_a_relation_is_closed_while_it_is_read(path, connection):
    dataset = dataset_of(connection.read_parquet(str(path)))
    chunks = dataset.partitions[0].chunks(["x"])
    next(chunks)
    connection.close()
    with pytest.raises(DataError, match=r"The DuckDB relation cannot be computed \(Connection Error"):
        list(chunks)


@pytest.mark.parametrize(
    ("data", "sentence"),
    [
        ([], "data is an empty list; pass a dataframe"),
        ([pd.DataFrame({"x": [1.0]})] * 2, "data is a list of dataframes; put them together, or pass a function"),
        ({"a.parquet"}, r"data is a set of paths, which has no order; pass sorted\(data\)"),
    ],
)
def test_collections_that_are_no_data(data, sentence):
    with pytest.raises(DataError, match=sentence):
        dataset_of(data)


def test_something_delayed():
    delayed = pytest.importorskip("dask.delayed").delayed(pd.DataFrame)({"x": [1.0]})
    with pytest.raises(DataError, match=r"data is something delayed of dask; pass dask.dataframe.from_delayed"):
        dataset_of(delayed)


def test_chunks_that_differ_are_named():
    first = pd.DataFrame({"x": [1, 2], "y": ["a", None]})
    frames = [first, pd.DataFrame({"x": [1.5, 2], "y": ["c", "b"]})]

    def load():
        return iter(frames)

    dataset = dataset_of(load)
    assert _whole(dataset, ["x"])[0]["x"].to_list() == [1, 2, 1.5, 2]
    frames[1] = frames[1].assign(x=["a", "b"])
    with pytest.raises(DataError, match=r"Column 'x' is text in chunk 2 of load\(\), and numbers in the first one"):
        _whole(dataset, ["x"])
    frames[1] = frames[1][["y"]]
    with pytest.raises(DataError, match=r"Chunk 2 of load\(\) has no column 'x', which the first one has"):
        _whole(dataset, ["x"])
    frames[0] = first[::-1]
    with pytest.raises(DataError, match=r"rows of load\(\) are other ones .*; let the function yield the same rows"):
        _whole(dataset, ["x"])


def test_what_can_be_read_only_once_is_refused(path):
    TABLE.to_pandas().to_csv(path.with_suffix(".csv"))
    batches = TABLE.to_batches()
    given = {
        "pass the files it reads": pa.RecordBatchReader.from_batches(TABLE.schema, batches),
        "pass its Dataset": ds.dataset(path).scanner(),
        "pass the file's path\\.": pq.ParquetFile(path),
        "pass the file's path, or a function": pd.read_csv(path.with_suffix(".csv"), chunksize=10),
        "pass a function that returns a fresh one": (batch for batch in batches),
    }
    for instead, data in given.items():
        with pytest.raises(DataError, match=rf"^data is an? \w+, whose rows can be read only once, .*; {instead}"):
            dataset_of(data)
    given["pass the file's path, or a function"].close()
    with pytest.raises(DataError, match=r"data is a pyarrow Dataset of tables in memory"):
        dataset_of(ds.dataset(TABLE))
