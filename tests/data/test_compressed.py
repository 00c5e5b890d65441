"""Rows that are alike are counted once: the results are those of all rows, whichever library counts them."""

import dask.dataframe
import duckdb
import numpy as np
import pandas as pd
import polars as pl
import pyarrow.dataset
import pytest

import betahat as bh
from betahat.data.datasets.compressed import Compression, counted_lazily
from betahat.errors import DataError, EstimationError, FormulaError, OptionError

# Sums over counted rows are added in another order; a sixth of a number may be lost where errors are added up over 2,000 rows.
RTOL, ATOL = 1e-11, 1e-12
N = 2_000
rng = np.random.default_rng(4)
FRAME = pd.DataFrame(
    {
        "x": rng.integers(0, 5, N) / 4.0,
        "group": pd.Categorical(np.array(["b", "a", "c"])[rng.integers(0, 3, N)]),
        "firm": rng.integers(0, 20, N),
        "often": rng.integers(0, 3, N),
        "z": rng.normal(size=N),
    }
)
FRAME.loc[3:9, "x"] = np.nan
FRAME["y"] = np.round(1.0 + FRAME.x.fillna(0.0) + rng.normal(size=N))
FRAME["high"] = (FRAME.y > 1).astype(int)


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """Return the frame in three files, in which categories have other levels."""
    folder = tmp_path_factory.mktemp("rows")
    for i, (start, stop) in enumerate([(0, 900), (900, 901), (901, N)]):
        part = FRAME.iloc[start:stop]
        part.assign(group=part.group.cat.remove_unused_categories()).to_parquet(folder / f"{i}.parquet")
    return str(folder / "*.parquet")


SOURCES = {
    "pandas": lambda files: FRAME,
    "dict": lambda files: {name: FRAME[name] for name in FRAME},
    "polars": lambda files: pl.from_pandas(FRAME),
    "polars, lazy": lambda files: pl.from_pandas(FRAME).lazy(),
    "duckdb": duckdb.read_parquet,
    "arrow": lambda files: pyarrow.dataset.dataset(files.removesuffix("/*.parquet")),
    "dask": lambda files: dask.dataframe.from_pandas(FRAME, npartitions=3),
    "files": lambda files: files,
}


def _same(found, true):
    assert found.nobs == true.nobs
    assert list(found.params.index) == list(true.params.index)
    np.testing.assert_allclose(found.params, true.params, rtol=RTOL, atol=ATOL)
    np.testing.assert_allclose(found.bse, true.bse, rtol=RTOL)


@pytest.mark.parametrize("source", SOURCES)
def test_results_are_those_of_all_rows(source, files):
    data = SOURCES[source](files)
    found = bh.ols("y ~ x + C(group)", data, compress=True).fit("HC3")
    _same(found, bh.ols("y ~ x + C(group)", data).fit("HC3"))
    assert found.compression.rows == N
    assert found.compression.distinct < 200
    assert found.compression.columns == ("x", "group", "y")
    _same(bh.logit("high ~ x", data, compress=True).fit("HC1"), bh.logit("high ~ x", FRAME).fit("HC1"))


@pytest.mark.parametrize("often", ["often", "2 * often", 3])
@pytest.mark.parametrize("source", ["pandas", "polars, lazy", "files"])
def test_frequency_weights_are_multiplied(source, often, files):
    found = bh.ols("y ~ x", SOURCES[source](files), freq_weights=often, compress=True).fit("HC1")
    _same(found, bh.ols("y ~ x", FRAME, freq_weights=often).fit("HC1"))


def test_clusters_and_effects_and_weights(files):
    clusters = FRAME.firm.to_numpy()
    found = bh.ols("y ~ x", files, compress=["firm"]).fit(bh.Cluster("firm"))
    _same(found, bh.ols("y ~ x", FRAME).fit(bh.Cluster(clusters)))
    _same(bh.ols("y ~ x | firm", files, compress=True).fit("HC1"), bh.ols("y ~ x | firm", FRAME).fit("HC1"))
    weighted = bh.wls("y ~ x", files, weights="1 + firm", compress=True).fit("HC0")
    _same(weighted, bh.wls("y ~ x", FRAME, weights="1 + firm").fit("HC0"))


def test_what_was_done_is_said_and_saved(tmp_path):
    found = bh.ols("y ~ x", FRAME, compress=True).fit()
    assert f"{N} rows were counted as {found.compression.distinct} that differ." in str(found.summary())
    assert bh.ols("y ~ x", FRAME).fit().compression is None
    found.save(tmp_path / "found.bh")
    assert bh.load(tmp_path / "found.bh").compression == found.compression


def test_a_column_may_have_the_name_of_the_counts():
    frame = FRAME.assign(rows_alike=FRAME.firm)
    _same(bh.ols("y ~ rows_alike + x", frame, compress=True).fit("HC0"), bh.ols("y ~ rows_alike + x", frame).fit("HC0"))


def test_rows_that_hardly_repeat_are_read_as_they_are(files, monkeypatch):
    monkeypatch.setattr("betahat.data.datasets.compressed._MANY", 10)
    for pending in (50, 2**18):
        monkeypatch.setattr("betahat.data.datasets.compressed._PENDING", pending)
        found = bh.ols("y ~ z", files, compress=True).fit("HC1")
        assert found.compression == Compression(N, N, ())
        assert "Too few rows are alike to be counted." in str(found.summary())
        _same(found, bh.ols("y ~ z", FRAME).fit("HC1"))


@pytest.mark.parametrize("formula", ["y ~ center(x)", "y ~ I(x - x.mean())", "y ~ bs(x, df=4)"])
def test_what_depends_on_other_rows_is_refused(formula):
    reason = "(depends on other rows than its own|learns of all rows), and rows that are alike are counted first"
    with pytest.raises(FormulaError, match=reason):
        bh.ols(formula, FRAME, compress=True)


def test_what_cannot_be_counted_is_told():
    with pytest.raises(FormulaError, match=r"weights='x / x.sum\(\)' depends on other rows"):
        bh.wls("y ~ 1", FRAME, weights="x / x.sum()", compress=True)
    with pytest.raises(OptionError, match="compress is 3; pass True, or a list of further columns"):
        bh.ols("y ~ x", FRAME, compress=3)
    with pytest.raises(OptionError, match="compress names 'zone', found among no columns of the data"):
        bh.ols("y ~ x", FRAME, compress=["zone"])
    with pytest.raises(DataError, match="'weights' has a value for each row, and compress counts rows by columns"):
        bh.wls("y ~ x", FRAME, weights=np.ones(N), compress=True)
    with pytest.raises(FormulaError, match="'nothing'"):
        bh.ols("nothing ~ nowhere", FRAME, compress=True)
    with pytest.raises(EstimationError, match="in the order of time or space, but compress counted those"):
        bh.ols("y ~ x", FRAME, compress=True).fit(bh.HAC(2))
    with pytest.raises(OptionError, match=r"'firm' is not a column of the model's data; compress=\['firm'\] keeps"):
        bh.ols("y ~ x", FRAME, compress=True).fit(bh.Cluster("firm"))


def test_what_a_library_cannot_count_is_told():
    broken = pl.LazyFrame({"y": ["1", "a"], "x": [1, 2]}).with_columns(pl.col("y").cast(pl.Int64))
    with pytest.raises(DataError, match=r"The rows cannot be counted by polars \(InvalidOperationError"):
        counted_lazily(broken, ["y", "x"], "n")
