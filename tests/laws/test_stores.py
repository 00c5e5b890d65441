"""Fits of every kind of source are those of memory; files that go or change between passes are noticed."""

import os

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from support.sources import SOURCES

import betahat as bh
from betahat.errors import DataError

N = 1_500
# Sums over files are added in another order than those over all rows.
RTOL = 1e-12


@pytest.fixture(scope="module")
def rows():
    rng = np.random.default_rng(5)
    made = pd.DataFrame(
        {
            "x": rng.normal(size=N),
            "i": rng.integers(-3, 4, N),
            "group": rng.choice(["b", "a", "d c"], N),
            "yes": rng.random(N) < 0.4,
            "firm": [f"firm {j}" for j in rng.integers(0, 60, N)],
            "row": np.arange(N),
        }
    )
    made["y"] = 1 + made["x"] + made["i"] + rng.normal(size=N) * (1 + made["x"] ** 2)
    made["b"] = (made["y"] > 0) * 1.0
    made.loc[::40, "x"] = np.nan
    made.loc[::50, "group"] = None
    return made


FITS = {
    "OLS": lambda data: bh.ols("y ~ x + C(group) + i + yes", data, missing="drop").fit("HC1"),
    "Logit": lambda data: bh.logit("b ~ x * i", data, missing="drop").fit(bh.Cluster("firm")),
}


@pytest.fixture(scope="module")
def held(rows):
    return {name: fit(rows) for name, fit in FITS.items()}


@pytest.mark.parametrize("model", ["OLS", pytest.param("Logit", marks=pytest.mark.slow)])
@pytest.mark.parametrize("source", SOURCES)
def test_a_fit_of_any_source_is_that_of_memory(rows, held, tmp_path, source, model):
    found, true = FITS[model](SOURCES[source](rows, tmp_path / source)), held[model]
    assert (list(found.params.index), found.nobs) == (list(true.params.index), true.nobs)
    for name in ("params", "bse"):
        np.testing.assert_allclose(getattr(found, name), getattr(true, name), rtol=RTOL)


def _fit(rows, folder):
    paths = [folder / f"{i}.parquet" for i in range(3)]
    for i, path in enumerate(paths):
        rows[i * 500 : (i + 1) * 500].to_parquet(path, index=False)
    return paths, bh.ols("y ~ x", f"{folder}/*.parquet", missing="drop").fit("HC1")


def test_a_file_that_was_deleted_between_passes_is_named(rows, tmp_path):
    paths, results = _fit(rows, tmp_path)
    before = results.bse
    os.remove(paths[1])
    with pytest.raises(DataError, match=r"1.parquet is not there; put it back"):
        results.with_cov("HC3").bse  # noqa: B018
    assert results.bse is before or (results.bse == before).all()


@pytest.mark.parametrize("how", ["size", "time", "rows"])
def test_a_file_that_changed_between_passes_is_named(rows, tmp_path, how):
    paths, results = _fit(rows, tmp_path)
    if how == "time":
        rows[500:1000].assign(y=0.0).to_parquet(paths[1], index=False)
        os.utime(paths[1], ns=(0, 1))
    elif how == "size":
        rows[500:1000].assign(further=np.arange(500.0)).to_parquet(paths[1], index=False)
    else:
        rows[500:900].to_parquet(paths[1], index=False)
    with pytest.raises(DataError, match=r"1.parquet has changed since the model was made"):
        results.with_cov("HC3").bse  # noqa: B018


def test_files_whose_types_or_columns_differ_are_refused_before_a_fit(rows, tmp_path):
    for i in range(3):
        part = rows[i * 500 : (i + 1) * 500]
        part = part.assign(i=part["i"].astype(str)) if i == 2 else part
        (part.drop(columns="x") if i == 1 else part).to_parquet(tmp_path / f"{i}.parquet", index=False)
    assert bh.ols("y ~ yes", f"{tmp_path}/*.parquet").nobs == N
    with pytest.raises(DataError, match=r"1.parquet has no column 'x', which .*0.parquet has"):
        bh.ols("y ~ x", f"{tmp_path}/*.parquet")
    with pytest.raises(DataError, match=r"'i' is int64 in .*0.parquet, but (large_)?string in .*2.parquet"):
        bh.ols("y ~ i", f"{tmp_path}/*.parquet")


def test_a_file_is_named_once(rows, tmp_path, monkeypatch):
    monkeypatch.setattr("betahat.data.datasets.sizes.PARTITION_ROWS", 100)
    for name in "ab":
        part = rows if name == "a" else rows.drop(columns="x")
        pq.write_table(pa.Table.from_pandas(part), tmp_path / f"{name}.parquet", row_group_size=100)
    with pytest.raises(DataError, match=r"^\S*b.parquet has no column 'x', which \S*a.parquet has; leave the file out"):
        bh.ols("y ~ x", f"{tmp_path}/*.parquet")
    results = bh.ols("y ~ i", f"{tmp_path}/*.parquet").fit()
    os.utime(tmp_path / "a.parquet", ns=(0, 0))
    with pytest.raises(DataError, match=r"^\S*a.parquet has changed since the model was made"):
        results.with_cov("HC3").bse  # noqa: B018


def test_only_the_columns_that_a_fit_needs_are_read(rows, tmp_path):
    """The middle of the other columns' pages is broken."""
    path = tmp_path / "a.parquet"
    pq.write_table(pa.Table.from_pandas(rows[["y", "i", "x", "firm"]]), path, use_dictionary=False)
    footer = pq.read_metadata(path).row_group(0)
    content = bytearray(path.read_bytes())
    for column in range(footer.num_columns):
        chunk = footer.column(column)
        if chunk.path_in_schema in ("x", "firm"):
            content[chunk.data_page_offset : chunk.data_page_offset + 40] = bytes(40)
    path.write_bytes(content)
    np.testing.assert_allclose(bh.ols("y ~ i", path).fit().params, bh.ols("y ~ i", rows).fit().params, rtol=RTOL)
    with pytest.raises(DataError, match=r"a.parquet cannot be read as Parquet"):
        bh.ols("y ~ x", path)


def _parts_of_two_types():
    """Ids that float64 cannot tell apart, in a part of integers; and a part of floats."""
    x = np.arange(200.0)
    rows = pd.DataFrame({"y": np.sin(x), "x": np.cos(x)})
    return rows.assign(k=2**53 + np.arange(200) // 2), rows.assign(k=2.0**53 + np.arange(200) // 2 * 2)


_BEYOND = r"has whole numbers beyond 2\*\*53, and is of a floating type in other"


@pytest.mark.parametrize("turn", [1, -1])
@pytest.mark.parametrize("source", ["files", "function"])
def test_ids_that_floats_cannot_tell_apart_are_refused(source, turn, tmp_path):
    parts = _parts_of_two_types()[::turn]
    for number, part in enumerate(parts):
        part.to_parquet(tmp_path / f"{number}.parquet")
    data = tmp_path if source == "files" else lambda: iter(parts)
    for text in ("y ~ x | k", "y ~ x + C(k)"):
        with pytest.raises(DataError, match=_BEYOND):
            bh.ols(text, data).fit()
    res = bh.ols("y ~ x", data).fit()
    with pytest.raises(DataError, match=_BEYOND):
        res.with_cov(bh.Cluster("k"))
    with pytest.raises(DataError, match=_BEYOND):
        bh.ols("y ~ k", data, compress=True).fit()
    with pytest.raises(DataError, match=_BEYOND):
        bh.mnlogit("k ~ x", data).fit()


def test_smaller_ids_of_two_types_are_those_of_both(tmp_path):
    parts = [part.assign(k=part["k"] - 2**53) for part in _parts_of_two_types()]
    for number, part in enumerate(parts):
        part.to_parquet(tmp_path / f"{number}.parquet")
    whole = bh.ols("y ~ x", pd.concat(parts)).fit(bh.Cluster("k"))
    for data in (tmp_path, lambda: iter(parts)):
        found = bh.ols("y ~ x", data).fit(bh.Cluster("k")).bse
        assert np.allclose(found, whole.bse, rtol=1e-12, atol=0)  # sums of other blocks


def test_labels_in_a_vector_are_of_the_rows_in_use_or_of_all(rows, tmp_path):
    data = rows[["x", "firm"]].assign(y=np.sin(np.arange(N)))
    data.loc[[3, 700, 1_400], "x"] = np.nan
    for number, part in enumerate((data[:600], data[600:])):
        part.to_parquet(tmp_path / f"{number}.parquet")
    expected = bh.ols("y ~ x", data).fit(bh.Cluster("firm")).bse
    model = bh.ols("y ~ x", tmp_path)
    for labels in (data["firm"], data["firm"].to_numpy(), data["firm"][data["x"].notna()].to_numpy()):
        assert np.allclose(model.fit(bh.Cluster(labels)).bse, expected, rtol=RTOL, atol=0)
    with pytest.raises(DataError, match=r"groups has 5 labels and the data 1500 rows, 1460 of them in use"):
        model.fit(bh.Cluster(np.arange(5)))
