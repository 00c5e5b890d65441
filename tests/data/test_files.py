"""Arrow and CSV files, and pyarrow's datasets of files, are read as Parquet is: right, or one sentence that names the file."""

import itertools
import os
import pickle

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.csv
import pyarrow.dataset as ds
import pyarrow.feather
import pyarrow.ipc
import pyarrow.parquet as pq
import pytest

from betahat.data.datasets import csv_files, sizes
from betahat.data.datasets.open import dataset_of
from betahat.errors import DataError


def _rows(dataset, columns):
    """All rows in order, as one table."""
    chunks = [chunk for part in pickle.loads(pickle.dumps(dataset)).partitions for chunk in part.chunks(columns)]
    return pa.concat_tables(chunks)


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    os.mkdir("rows")
    return tmp_path / "rows"


TABLE = pa.table(
    {
        "x": np.arange(100.0),
        "s": pa.array(["a", "b"] * 50).dictionary_encode(),
        "t": [str(i) for i in range(100)],
        "n": pa.array([None, 1] * 50, "int8"),
    }
)


@pytest.mark.parametrize("compression", ["uncompressed", "lz4"])
def test_arrow_files_are_cut_by_record_batches(folder, monkeypatch, compression):
    monkeypatch.setattr(sizes, "PARTITION_ROWS", 25)
    pyarrow.feather.write_feather(TABLE, "rows/a.feather", compression, chunksize=10)
    dataset = dataset_of("rows")
    assert [part.name for part in dataset.partitions] == [
        f"rows/a.feather (record batches from {i})" for i in (0, 3, 6)
    ]
    assert _rows(dataset, ["t", "x", "s", "n"]).to_pydict() == TABLE.select(["t", "x", "s", "n"]).to_pydict()
    pyarrow.feather.write_feather(TABLE.slice(0, 5), "rows/a.feather")
    with pytest.raises(DataError, match=r"rows/a.feather has changed"):
        _rows(dataset, ["x"])


def test_arrow_files_that_are_none_are_named(folder):
    with pa.OSFile("rows/a.arrow", "wb") as file, pyarrow.ipc.new_stream(file, TABLE.schema) as writer:
        writer.write_table(TABLE)
    with pytest.raises(DataError, match=r"rows/a.arrow cannot be read as Arrow \(.*\); write it again"):
        dataset_of("rows/a.arrow")


TEXT = "x,s,d,b\n1,a,2020-01-31,True\n2,,2021-12-31,False\nNA,None,2021-12-31,True\n"


@pytest.mark.parametrize("name", ["a.csv", "a.csv.gz", "a.tsv"])
def test_csv_files_are_read_as_pandas_reads_them(folder, name):
    text = TEXT.replace(",", "\t") if "tsv" in name else TEXT
    with pa.output_stream(f"rows/{name}", compression="gzip" if name.endswith("gz") else None) as file:
        file.write(text.encode())
    found = _rows(dataset_of(f"rows/{name}"), ["b", "x", "s", "d"]).to_pandas()
    expected = pd.read_csv(f"rows/{name}", sep="\t" if "tsv" in name else ",")[["b", "x", "s", "d"]]
    pd.testing.assert_frame_equal(found, expected, check_dtype=False)


@pytest.mark.parametrize(
    ("values", "kind"),
    [
        (["1"] * 40 + ["2"], "int64"),
        (["1"] * 40 + ["2.5"], "double"),
        ([""] * 40 + ["2.5"], "double"),
        (["1"] * 40 + ["2.5"] * 40 + ["a"], "string"),
        ([""] * 40 + ["a"], "string"),
        ([""] * 40 + ["True"], "bool"),
        (["True"] * 40 + ["2"], "string"),
        (["2020-01-31"] * 40 + ["2"], "string"),
        (["12:30"] * 40, "string"),
        ([""] * 40, "double"),
        (['"1,\n2"'] * 40, "string"),
    ],
)
def test_the_type_of_a_csv_file_is_that_of_all_its_rows(folder, monkeypatch, values, kind):
    monkeypatch.setattr(csv_files, "_BLOCK", 64)
    (folder / "a.csv").write_text("x,y\n" + "".join(f"{value},1\n" for value in values))
    found = _rows(dataset_of("rows/a.csv"), ["x"])["x"]
    assert (len(found), str(found.type)) == (len(values), kind)
    expected = pd.read_csv("rows/a.csv")["x"]
    assert found.is_null().to_pylist() == expected.isna().to_list()
    if kind == "double":
        assert found.to_pandas().equals(expected)


def test_csv_files_with_other_types_or_none_at_all(folder):
    for name, text in {"a": "x,y\n1,a\n", "b": "y,x\nb,2.5\n", "c": "x,y\n", "d": "x,y\n,\n"}.items():
        (folder / f"{name}.csv").write_text(text)
    assert _rows(dataset_of("rows"), ["x", "y"]).to_pydict() == {"x": [1, 2.5, None], "y": ["a", "b", None]}
    (folder / "e.csv").write_text("x,y\nmany,c\n")
    with pytest.raises(DataError, match=r"'x' is double in rows/a.csv, but string in rows/e.csv"):
        _rows(dataset_of("rows"), ["x"])
    for text in ("", "x,y\n1,2\n1,2,3\n"):
        (folder / "e.csv").write_text(text)
        with pytest.raises(DataError, match=r"rows/e.csv cannot be read as CSV \(.*\); write it again"):
            _rows(dataset_of("rows/e.csv"), ["x"])


def test_csv_files_in_another_encoding_are_named(folder, monkeypatch):
    (folder / "a.csv").write_bytes(b"x,y\n\xff,2\n")
    with pytest.raises(DataError, match=r"rows/a.csv has text in column 'x' that is not UTF-8"):
        dataset_of("rows")
    monkeypatch.setattr(csv_files, "_BLOCK", 64)
    (folder / "a.csv").write_bytes(b"x,y\n" + b"2020-01-31,a\n" * 40 + b"\xff,2\n")
    with pytest.raises(DataError, match=r"rows/a.csv cannot be read as CSV \(.*UTF8"):
        dataset_of("rows")


def test_files_of_several_kinds_go_together(folder):
    pq.write_table(pa.table({"x": [1, 2]}), "rows/a.parquet")
    pyarrow.feather.write_feather(pa.table({"x": [3.5]}), "rows/b.feather")
    (folder / "c.csv").write_text("x\n4\n")
    assert _rows(dataset_of("rows/*"), ["x"])["x"].to_pylist() == [1, 2, 3.5, 4]


def test_folders_tell_columns(folder):
    for year, place in ((2020, "a b"), (2021, None)):
        name = "__HIVE_DEFAULT_PARTITION__" if place is None else "a%20b"
        os.makedirs(f"rows/year={year}/place={name}")
        for path in ("a.parquet", "b.csv", "c.feather"):
            where = f"rows/year={year}/place={name}/{path}"
            table = pa.table({"x": [1, 2]})
            if path == "a.parquet":
                pq.write_table(table, where)
            elif path == "b.csv":
                pyarrow.csv.write_csv(table, where)
            else:
                pyarrow.feather.write_feather(table, where)
    for files in ("rows", "rows/**/*.parquet", "rows/**/*.csv", "rows/**/*.feather"):
        dataset = dataset_of(files)
        assert dataset.columns == ("x", "year", "place")
        found = _rows(dataset, ["place", "x", "year"]).to_pydict()
        times = 3 if files == "rows" else 1
        assert found["year"] == [2020, 2020] * times + [2021, 2021] * times
        assert found["place"] == ["a b", "a b"] * times + [None, None] * times
        assert _rows(dataset, ["year"])["year"].to_pylist() == found["year"]


def test_a_column_of_the_file_itself_is_the_one_that_is_read(folder):
    os.makedirs("rows/x=7")
    pq.write_table(pa.table({"x": [1, 2]}), "rows/x=7/a.parquet")
    dataset = dataset_of("rows")
    assert dataset.columns == ("x",)
    assert _rows(dataset, ["x"])["x"].to_pylist() == [1, 2]


def _pyarrow_dataset(folder, write_to=4):
    for i in range(write_to):
        os.makedirs(f"rows/year={2020 + i}", exist_ok=True)
        pq.write_table(
            pa.table({"x": [1.0 * i, -1.0], "y": [i, 2]}), f"rows/year={2020 + i}/a.parquet", row_group_size=1
        )
    return ds.dataset("rows", partitioning="hive")


def test_pyarrow_datasets_of_parquet_are_read_by_row_groups(folder):
    given = _pyarrow_dataset(folder)
    dataset = dataset_of(given)
    assert dataset.columns == ("x", "y", "year")
    assert len(dataset.partitions) == 4
    assert _rows(dataset, ["year", "x"]).to_pydict() == given.to_table(columns=["year", "x"]).to_pydict()
    both = dataset_of(ds.dataset([given, given]))
    assert _rows(both, ["x"])["x"].to_pylist() == given.to_table()["x"].to_pylist() * 2
    os.utime("rows/year=2021/a.parquet", ns=(0, 0))
    with pytest.raises(DataError, match=r"year=2021/a.parquet has changed"):
        _rows(dataset, ["x"])


@pytest.mark.parametrize("size", [1, 1_000])
def test_filters_of_pyarrow_datasets_go_with_each_file(folder, monkeypatch, size):
    monkeypatch.setattr(sizes, "PARTITION_ROWS", size)
    condition = (ds.field("x") >= 0) & (ds.field("year") > 2020)
    given = _pyarrow_dataset(folder).filter(condition)
    for filtered in (given, ds.dataset([_pyarrow_dataset(folder)]).filter(condition)):
        dataset = dataset_of(filtered)
        assert len(dataset.partitions) == (8 if size == 1 else 4)
        assert _rows(dataset, ["y", "year"]).to_pydict() == {"y": [1, 2, 3], "year": [2021, 2022, 2023]}
    os.utime("rows/year=2021/a.parquet", ns=(0, 0))
    with pytest.raises(DataError, match=r"year=2021/a.parquet has changed"):
        _rows(dataset, ["y"])
    broken = dataset_of(ds.dataset(_pyarrow_broken(folder)).filter(ds.field("x") >= 0))
    with pytest.raises(DataError, match=r"broken.parquet cannot be read as parquet \(.*\); write it again"):
        _rows(broken, ["x"])


def _pyarrow_broken(folder):
    """A file whose middle is zeros."""
    path = folder / "broken.parquet"
    pq.write_table(pa.table({"x": np.random.default_rng(1).normal(size=10_000)}), path)
    content = bytearray(path.read_bytes())
    content[4:2_000] = bytes(1_996)
    path.write_bytes(content)
    return path


def test_pyarrow_datasets_of_other_formats_keep_their_options(folder):
    for name in "ab":
        (folder / f"{name}.txt").write_text("x;y\n1;2,5\n")
    form = ds.CsvFileFormat(
        pyarrow.csv.ParseOptions(delimiter=";"), convert_options=pyarrow.csv.ConvertOptions(decimal_point=",")
    )
    dataset = dataset_of(ds.dataset("rows", format=form))
    assert _rows(dataset, ["y", "x"]).to_pydict() == {"y": [2.5, 2.5], "x": [1, 1]}
    (folder / "b.txt").write_text("x;y\n1;2,5\n1\n")
    with pytest.raises(DataError, match=r"rows/b.txt has changed"):
        _rows(dataset, ["y"])
    with pytest.raises(DataError, match=r"rows/b.txt cannot be read as csv \(.*\); write it again"):
        _rows(dataset_of(ds.dataset("rows", format=form)), ["y"])


def test_pyarrow_datasets_whose_files_lack_columns_are_refused(folder):
    pq.write_table(pa.table({"x": [1], "y": [2]}), "rows/a.parquet")
    pq.write_table(pa.table({"x": [1]}), "rows/b.parquet")
    dataset = dataset_of(ds.dataset("rows"))
    assert _rows(dataset, ["x"])["x"].to_pylist() == [1, 1]
    with pytest.raises(DataError, match=r"rows/b.parquet has no column 'y', which .*rows/a.parquet has"):
        _rows(dataset, ["y"])
    declared = ds.dataset("rows", schema=pa.schema({"x": pa.float64(), "z": pa.float64()}))
    assert str(_rows(dataset_of(declared), ["x"])["x"].type) == "double"
    with pytest.raises(DataError, match=r"No file of the pyarrow Dataset has a column 'z', which its schema has"):
        _rows(dataset_of(declared), ["z"])


def test_decimals_are_floats(folder):
    pq.write_table(pa.table({"x": pa.array([1, 2]).cast(pa.decimal128(22, 2))}), "rows/a.parquet")
    assert _rows(dataset_of("rows"), ["x"])["x"].to_pylist() == [1.0, 2.0]


def test_rows_of_any_sizes_are_cut_evenly(monkeypatch):
    monkeypatch.setattr(sizes, "CHUNK_ROWS", 10)
    table = pa.table({"x": np.arange(97)})
    for cut in (0, 1, 3, 10, 37, 97):
        places = [0, 0, *range(0, 97, cut or 97), 97, 97]
        chunks = list(sizes.evenly(table.slice(a, b - a) for a, b in itertools.pairwise(places)))
        assert [len(chunk) for chunk in chunks] == [10] * 9 + [7]
        assert pa.concat_tables(chunks)["x"].to_pylist() == list(range(97))
    assert list(sizes.evenly([])) == list(sizes.evenly([table[:0]])) == []


def test_a_file_that_is_named_twice_is_refused(folder):
    pq.write_table(TABLE, "rows/one.parquet")
    for paths in (["rows/one.parquet"] * 2, ["rows/one.parquet", "rows/*.parquet"]):
        with pytest.raises(DataError, match=r"one\.parquet is named twice"):
            dataset_of(paths)


def test_headers_that_are_not_utf8_and_other_separators(folder):
    (folder / "a.csv").write_bytes("y,größe\n1,2\n".encode("latin-1"))
    with pytest.raises(DataError, match=r"a\.csv has names of columns that are not UTF-8; save it as UTF-8"):
        dataset_of("rows/a.csv")
    (folder / "a.csv").write_text("y;x\n1;2\n")
    with pytest.raises(DataError, match=r"a\.csv has a single column, 'y;x', .* semicolon; save it with commas"):
        dataset_of("rows/a.csv")


def test_a_folder_without_rows_is_told_of(folder):
    with pytest.raises(DataError, match=r"^The folder 'rows' has no files of rows"):
        dataset_of("rows")
