"""Dataframes of dask and datasets of ray: the numbers of memory, and the same bits wherever the rows are computed."""

import numpy as np
import pandas as pd
import pytest

import betahat as bh
from betahat.data.datasets.dask_frames import Frames

N = 6_000
# Sums over partitions are added in another order than those over all rows.
RTOL = 1e-12


def _frame():
    rng = np.random.default_rng(3)
    data = pd.DataFrame({"x": rng.normal(size=N), "g": rng.choice(["a", "b", "c"], N), "firm": rng.integers(0, 90, N)})
    data["y"] = data["x"] + (data["g"] == "b") + rng.normal(size=N) * (1.0 + data["x"].abs())
    data["many"] = rng.poisson(np.exp(0.3 * data["x"]))
    data.loc[::97, "x"] = np.nan
    return data


FRAME = _frame()
FITS = {
    "Poisson HC0": lambda data, **engine: bh.poisson("many ~ x", data, **engine).fit("HC0"),
    "OLS clusters": lambda data, **engine: bh.ols("y ~ x + C(g)", data, **engine).fit(bh.Cluster("firm")),
}


def _same(found, true, exactly=False):
    assert list(found.params.index) == list(true.params.index)
    for name in ("params", "bse"):
        mine, theirs = getattr(found, name), getattr(true, name)
        if exactly:
            np.testing.assert_array_equal(mine, theirs)
        else:
            np.testing.assert_allclose(mine, theirs, rtol=RTOL, atol=1e-13)
    assert found.nobs == true.nobs


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """Five files of other sizes."""
    folder = tmp_path_factory.mktemp("rows")
    for i, (first, last) in enumerate([(0, 2_500), (2_500, 2_501), (2_501, 4_000), (4_000, 5_900), (5_900, N)]):
        FRAME[first:last].to_parquet(folder / f"{i}.parquet")
    return folder


@pytest.mark.slow
@pytest.mark.xdist_group("dask")
def test_dask(dask, files):
    """A frame of files, one that the workers hold, here and there; and files that the workers read."""
    import dask.dataframe as dd

    paths = f"{files}/*.parquet"
    frame = dd.read_parquet(paths)
    held = dask.persist(frame)
    for fit in FITS.values():
        true, here = fit(FRAME), fit(paths)
        _same(here, true)
        for data in (frame, held):
            _same(fit(data, engine=dask), here, exactly=True)
    _same(fit(frame), here, exactly=True)
    _same(fit(paths, engine=dask), here, exactly=True)
    with dask.as_current():
        _same(fit(held), here, exactly=True)
    with bh.engine(dask.get_executor()):
        _same(fit(frame), here, exactly=True)


def test_dask_reads_the_columns_that_are_needed(files):
    dd = pytest.importorskip("dask.dataframe")
    frames = Frames(dd.read_parquet(f"{files}/*.parquet"))
    parts = frames.of(["y", "x"])
    assert len(parts) == 5
    assert list(parts[0].compute(scheduler="synchronous")) == ["y", "x"]
    assert frames.of(("y", "x")) is parts


@pytest.mark.slow
@pytest.mark.xdist_group("ray")
def test_ray(ray, files):
    """A dataset of ray, there and here; and files that its workers read."""
    paths = f"{files}/*.parquet"
    whole = ray.data.from_pandas([pd.read_parquet(files / f"{i}.parquet") for i in range(5)])
    for fit in FITS.values():
        true, here = fit(FRAME), fit(paths)
        _same(here, true)
        _same(fit(whole, engine=ray), here, exactly=True)
    _same(fit(whole), here, exactly=True)
    _same(fit(paths, engine=ray), here, exactly=True)
