"""Parquet files as datasets: which files, which row groups, which types; and files that went, changed or cannot be read."""

import os
import pickle

import fsspec
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from betahat.data.datasets import sizes
from betahat.data.datasets.open import dataset_of
from betahat.errors import DataError


def _rows(dataset, columns):
    """All rows in order, as one table."""
    return pa.concat_tables([chunk for part in dataset.partitions for chunk in part.chunks(columns)])


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    os.mkdir("rows")
    return tmp_path / "rows"


def _write(path, size=None, **columns):
    pq.write_table(pa.table(columns), path, row_group_size=size)


def test_paths_globs_lists_and_directories_are_files_in_order(folder):
    for i, name in enumerate(["b", "a", "c"]):
        _write(folder / f"{name}.parquet", x=[i, i])
    _write(folder / "_metadata.parquet", x=[9])
    expected = {
        "rows/a.parquet": [1, 1],
        "rows/[abc].parquet": [1, 1, 0, 0, 2, 2],
        "rows": [1, 1, 0, 0, 2, 2],
    }
    for path, values in expected.items():
        assert _rows(dataset_of(path), ["x"])["x"].to_pylist() == values
    (folder / "_SUCCESS").write_bytes(b"")
    os.mkdir(folder / "c=1")
    _write(folder / "c=1" / "d.parquet", x=[3])
    for path, values in {
        "rows/[abc].*": [1, 1, 0, 0, 2, 2],
        "rows/*=*": [3],
        "rows/**": [1, 1, 0, 0, 2, 2, 3],
        f"file://{folder}/*.parquet": [1, 1, 0, 0, 2, 2],
        f"file://{folder}/c=1": [3],
    }.items():
        found = dataset_of(path)
        assert _rows(found, ["x"])["x"].to_pylist()[-len(values) :] == values
    listed = dataset_of([folder / "c.parquet", "rows/a.parquet"])
    assert _rows(listed, ["x"])["x"].to_pylist() == [2, 2, 1, 1]
    assert dataset_of(["rows/a.parquet"]).name == "'rows/a.parquet'"
    assert [part.name for part in dataset_of("rows/?.parquet").partitions] == [f"rows/{name}.parquet" for name in "abc"]


def test_only_the_columns_that_are_asked_for_are_read(folder):
    _write(folder / "a.parquet", **{"x": [1, 2], "a.b": ["c", "d"], "a": [1.5, 2.5]})
    dataset = dataset_of("rows/a.parquet")
    assert dataset.columns == ("x", "a.b", "a")
    (chunk,) = dataset.partitions[0].chunks(["a", "x"])
    assert chunk.to_pydict() == {"a": [1.5, 2.5], "x": [1, 2]}
    (chunk,) = dataset.partitions[0].chunks(["a.b"])
    assert chunk.to_pydict() == {"a.b": ["c", "d"]}


@pytest.mark.parametrize("size", [1, 3, 10, 40, 100])
def test_large_files_are_cut_by_row_groups_and_small_ones_are_joined(folder, monkeypatch, size):
    monkeypatch.setattr(sizes, "PARTITION_ROWS", 25)
    _write(folder / "a.parquet", size, x=np.arange(100))
    dataset = pickle.loads(pickle.dumps(dataset_of("rows/a.parquet")))
    counts = [sum(map(len, part.chunks(["x"]))) for part in dataset.partitions]
    assert counts == {1: [25] * 4, 3: [27, 27, 27, 19], 10: [30, 30, 40], 40: [40, 40, 20], 100: [100]}[size]
    assert _rows(dataset, ["x"])["x"].to_pylist() == list(range(100))
    assert dataset.partitions[0].name == "rows/a.parquet" + {
        1: " (row groups 0 to 24)", 3: " (row groups 0 to 8)", 10: " (row groups 0 to 2)", 40: " (row group 0)", 100: ""
    }[size]  # fmt: skip


def test_a_partition_is_read_in_chunks(folder):
    _write(folder / "a.parquet", x=np.arange(2 * sizes.CHUNK_ROWS + 5))
    assert [len(chunk) for chunk in dataset_of("rows").partitions[0].chunks(["x"])] == [sizes.CHUNK_ROWS] * 2 + [5]


def test_files_and_row_groups_may_be_empty(folder):
    _write(folder / "a.parquet", x=pa.array([], "int64"))
    _write(folder / "b.parquet", x=[1, 2])
    with pq.ParquetWriter(folder / "c.parquet", pa.schema({"x": pa.int64()})) as writer:
        for values in ([3], [], [4]):
            writer.write_table(pa.table({"x": pa.array(values, "int64")}))
    dataset = dataset_of("rows")
    assert len(dataset.partitions) == 3
    assert _rows(dataset, ["x"])["x"].to_pylist() == [1, 2, 3, 4]


CATEGORY = pa.DictionaryArray.from_arrays
JOINED = {
    "int and float": (pa.array([1, 2], "int32"), pa.array([0.5, 2]), pa.float64()),
    "int and int": (pa.array([1, 2], "int8"), pa.array([2**40, 2]), pa.int64()),
    "float32 and int": (pa.array([1, 2], "float32"), pa.array([2**53 - 1, 2]), pa.float64()),
    "missing and text": (pa.array([None, None]), pa.array(["a", "b"]), pa.string()),
    "text of two kinds": (pa.array(["a", "b"], "large_string"), pa.array(["a", "b"]), pa.large_string()),
    "categories and text": (CATEGORY([0, 1], ["a", "b"]), pa.array(["c", "b"]), pa.string()),
    "categories in other orders": (
        CATEGORY([0, 1], ["a", "b"]),
        CATEGORY([0, 1], ["b", "a"]),
        pa.dictionary(pa.int64(), pa.string()),
    ),
}


@pytest.mark.parametrize("kinds", JOINED)
def test_types_that_differ_over_files_are_one_type(folder, kinds):
    one, other, joined = JOINED[kinds]
    _write(folder / "a.parquet", x=one)
    _write(folder / "b.parquet", x=other)
    for order in (["rows/a.parquet", "rows/b.parquet"], ["rows/b.parquet", "rows/a.parquet"]):
        chunks = [chunk for part in dataset_of(order).partitions for chunk in part.chunks(["x"])]
        types = {chunk.schema.field("x").type for chunk in chunks}
        assert len(types) == 1
        (found,) = types
        assert str(found) == str(joined) or (pa.types.is_dictionary(joined) and pa.types.is_dictionary(found))
        values = {"rows/a.parquet": one.to_pylist(), "rows/b.parquet": other.to_pylist()}
        assert [chunk["x"].to_pylist() for chunk in chunks] == [values[path] for path in order]


@pytest.mark.parametrize(
    "other", [pa.array(["a", "b"]), pa.array([True, False]), CATEGORY([0, 1], ["a", "b"]), pa.array([[1], [2]])]
)
def test_types_that_do_not_go_together_are_refused_where_they_are_needed(folder, other):
    _write(folder / "a.parquet", x=[1, 2], y=[3, 4])
    _write(folder / "b.parquet", x=other, y=[5, 6])
    dataset = dataset_of("rows/*.parquet")
    assert _rows(dataset, ["y"])["y"].to_pylist() == [3, 4, 5, 6]
    with pytest.raises(DataError, match=r"'x' is int64 in rows/a.parquet, but .* in rows/b.parquet"):
        next(dataset.partitions[0].chunks(["x"]))


def test_a_file_without_a_column_is_named_before_any_row_is_read(folder):
    _write(folder / "a.parquet", x=[1, 2], y=[3, 4])
    _write(folder / "b.parquet", y=[5, 6], z=[1, 2])
    dataset = dataset_of("rows/*.parquet")
    assert _rows(dataset, ["y"])["y"].to_pylist() == [3, 4, 5, 6]
    with pytest.raises(DataError, match=r"rows/b.parquet has no column 'x', which rows/a.parquet has"):
        next(dataset.partitions[0].chunks(["y", "x"]))
    with pytest.raises(DataError, match=r"rows/a.parquet has no column 'z', which rows/b.parquet has"):
        next(dataset.partitions[1].chunks(["z"]))
    with pytest.raises(DataError, match=r"There is no column 'w'; there are 'x', 'y', 'z'\."):
        next(dataset.partitions[0].chunks(["w"]))


def test_two_columns_of_one_name_are_refused(folder):
    pq.write_table(pa.table([[1], [2]], names=["x", "x"]), folder / "a.parquet")
    with pytest.raises(DataError, match=r"rows/a.parquet has 2 columns called 'x'; rename them"):
        next(dataset_of("rows").partitions[0].chunks(["x"]))


def test_files_that_are_gone_or_have_changed_are_noticed(folder):
    path = folder / "a.parquet"
    _write(path, x=[1, 2])
    (part,) = dataset_of("rows").partitions
    times = os.stat(path)
    _write(path, x=[1, 3])
    os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns + 1))
    with pytest.raises(DataError, match=r"rows/a.parquet has changed since the model was made"):
        next(part.chunks(["x"]))
    os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))
    reading = part.chunks(["x"])
    next(reading)
    os.utime(path)
    with pytest.raises(DataError, match=r"rows/a.parquet has changed"):
        next(reading)
    os.remove(path)
    with pytest.raises(DataError, match=r"rows/a.parquet is not there; put it back"):
        next(part.chunks(["x"]))


def test_corrupt_files_are_named(folder):
    for text in (b"", b"PAR1 and nothing else", b"x" * 100):
        (folder / "a.parquet").write_bytes(text)
        with pytest.raises(DataError, match=r"^rows/a.parquet cannot be read as Parquet \(.*\); write it again"):
            dataset_of("rows/a.parquet")
    _write(folder / "a.parquet", x=np.random.default_rng(1).normal(size=10_000))
    content = bytearray((folder / "a.parquet").read_bytes())
    content[4:2_000] = bytes(1_996)
    (folder / "a.parquet").write_bytes(content)
    with pytest.raises(DataError, match=r"^rows/a.parquet cannot be read as Parquet"):
        _rows(dataset_of("rows/a.parquet"), ["x"])


def test_what_no_file_matches_is_said(folder):
    for path in ("rows/*.parquet", "nothing.parquet", "memory://nothing/*.parquet", "y"):
        with pytest.raises(DataError, match=r"No file matches .*; pass a path"):
            dataset_of(path)
    with pytest.raises(DataError, match=r"The folder 'rows' has no files of rows"):
        dataset_of("rows")
    (folder / "a.sas7bdat").write_bytes(b"")
    with pytest.raises(DataError, match=r"What rows/a.sas7bdat holds cannot be told from its name"):
        dataset_of("rows/*")
    with pytest.raises(DataError, match=r"cannot be opened \(.*\); pass a path, or a URL of a scheme"):
        dataset_of("abfs://rows/*.parquet")
    for url in ("zzz://rows/a.parquet", "zzz://rows/*.parquet"):
        with pytest.raises(DataError, match=r"cannot be opened \(Protocol not known: zzz\)"):
            dataset_of(url)


@pytest.fixture
def memory():
    """fsspec's filesystem in memory, which knows when a file was made."""
    memory = fsspec.filesystem("memory")
    yield memory
    memory.rm("/far", recursive=True)


def test_files_of_fsspec(memory):
    for i, path in enumerate(["far/a.parquet", "far/deep/b.parquet", "far/.hidden/c.parquet", "far/notes.txt"]):
        with memory.open(f"/{path}", "wb") as file:
            pq.write_table(pa.table({"x": [i]}), file)
    for url, values in {
        "memory://far": [0, 1],
        "memory://far/*.parquet": [0],
        "memory://far/a.parquet": [0],
        "memory://far/**/[ab].parquet": [0, 1],
    }.items():
        dataset = pickle.loads(pickle.dumps(dataset_of(url)))
        assert _rows(dataset, ["x"])["x"].to_pylist() == values
    (part,) = dataset_of("memory://far/a.parquet").partitions
    assert part.name == "memory://far/a.parquet"
    with memory.open("/far/a.parquet", "wb") as file:
        pq.write_table(pa.table({"x": [5]}), file)
    with pytest.raises(DataError, match=r"memory://far/a.parquet has changed"):
        next(part.chunks(["x"]))
    memory.rm("/far/a.parquet")
    with pytest.raises(DataError, match=r"memory://far/a.parquet is not there"):
        next(part.chunks(["x"]))


def test_what_lies_in_memory_is_no_dataset():
    for data in (None, {"x": [1]}, np.ones(3), [1.0, 2.0], pa.table({"x": [1]})):
        assert dataset_of(data) is None
