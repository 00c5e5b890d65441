"""Every source under every model and covariance: the numbers of the dataframe. Who computes changes no bit: tests/laws has that."""

from functools import cache

import duckdb
import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.csv
import pyarrow.dataset
import pyarrow.feather
import pyarrow.parquet
import pytest

import betahat as bh

# Sums over partitions are added in another order than those over all rows; a multinomial or a negative binomial step in another order moves the
# optimum by the last digits that Newton's tolerance asks for.
RTOL = 1e-12
N, PARTS = 640, (200, 0, 1, 239, 200)

MODELS = {
    "ols": lambda data: bh.ols("y ~ x + z + C(state)", data),
    "wls": lambda data: bh.wls("y ~ x + z + C(state)", data, weights="w"),
    "logit": lambda data: bh.logit("d ~ x + z", data),
    "probit": lambda data: bh.probit("d ~ x + z", data),
    "poisson": lambda data: bh.poisson("count ~ x + state", data),
    "mnlogit": lambda data: bh.mnlogit("choice ~ x + z", data),
    "gamma": lambda data: bh.glm("positive ~ x + z", data, family="gamma"),
    "negativebinomial": lambda data: bh.negativebinomial("count ~ x + z", data),
    "ols of one effect": lambda data: bh.ols("y ~ x + z | firm", data),
    "ols of two effects": lambda data: bh.ols("y ~ x + z | firm + state", data),
}
COVARIANCES = {
    **{name: name for name in ("nonrobust", "HC0", "HC1", "HC2", "HC3", "HC4", "HC5")},
    "OPG": bh.OPG(),
    **{kind: bh.Cluster("firm", kind=kind) for kind in ("CR0", "CR1", "CR1S", "CR2", "CR3", "jackknife")},
    "two ways": bh.Cluster(["firm", "state"], psd="repair"),
    "two ways, min": bh.Cluster(["firm", "year"], multiway="min", psd="repair"),
    "HAC": bh.HAC(3),
    "HAC by time": bh.HAC(3, time="order"),
    "Newey-West": bh.HAC("newey-west"),
    "panel Newey-West": bh.PanelNeweyWest("firm", "order"),
    "Driscoll-Kraay": bh.DriscollKraay("year", 2),
    "Bayesian bootstrap": bh.Bootstrap(19, kind="bayesian", seed=1),
    "Poisson bootstrap": bh.Bootstrap(19, kind="poisson", seed=1),
    "score bootstrap": bh.Bootstrap(19, kind="score", clusters="firm", seed=1),
    "wild clusters": bh.Bootstrap(19, kind="wild", clusters="firm", seed=1),
    "wild clusters, 33": bh.Bootstrap(19, kind="wild", clusters="firm", variant="33", seed=1),
    "jackknife by clusters": bh.Jackknife("firm"),
    "pairs": bh.Bootstrap(19, kind="pairs", seed=1),
    "pairs of clusters": bh.Bootstrap(19, kind="pairs", clusters="firm", seed=1),
}


@cache
def rows():
    """640 rows of 40 firms, which lie in several partitions, in the order of their years."""
    generator = np.random.default_rng(5)
    x, z = generator.standard_normal((2, N))
    firm = generator.integers(0, 40, N)
    effect = generator.standard_normal(40)[firm] / 2
    index = 0.4 * x - 0.3 * z + effect
    mean = np.exp(index)
    count = generator.poisson(mean * generator.gamma(1.5, 1 / 1.5, N))
    return pd.DataFrame(
        {
            "y": index + generator.standard_normal(N) * (1 + x**2) / 2,
            "d": (generator.random(N) < 1 / (1 + np.exp(-index))).astype(float),
            "count": count,
            "choice": generator.choice(3, N, p=[0.3, 0.4, 0.3]),
            "positive": mean * generator.gamma(2.0, 0.5, N),
            "x": np.where(np.arange(N) % 97 == 3, np.nan, x),
            "z": z,
            "w": generator.random(N) + 0.5,
            "firm": np.char.add("firm ", firm.astype(str)),
            "state": generator.choice(["NJ", "NY", "PA"], N),
            "year": np.sort(generator.integers(2001, 2012, N)),
            "order": np.arange(N) + 10,
        }
    )


def _parts():
    ends = np.cumsum(PARTS)
    return [rows().iloc[end - size : end] for end, size in zip(ends, PARTS, strict=True)]


def _written(folder, suffix, write):
    for i, part in enumerate(_parts()):
        write(pa.Table.from_pandas(part, preserve_index=False), str(folder / f"part-{i}.{suffix}"))
    return f"{folder}/*.{suffix}"


def _parquet(folder):
    return _written(folder, "parquet", lambda table, path: pa.parquet.write_table(table, path, row_group_size=150))


def _dask(folder):
    import dask.dataframe

    return dask.dataframe.read_parquet(_parquet(folder))


def _ray(folder):
    import ray.data

    return ray.data.from_pandas(_parts())


SOURCES = {
    "Parquet": _parquet,
    "Arrow": lambda folder: _written(folder, "arrow", pa.feather.write_feather),
    "CSV": lambda folder: _written(folder, "csv", pa.csv.write_csv),
    "pyarrow Dataset": lambda folder: pa.dataset.dataset(str(folder), format="parquet") if _parquet(folder) else None,
    "polars LazyFrame": lambda folder: pl.scan_parquet(_parquet(folder)),
    "DuckDB relation": lambda folder: duckdb.sql(f"SELECT * FROM read_parquet('{_parquet(folder)}')"),
    "function": lambda folder: lambda: iter([*_parts()]),
    "dask DataFrame": _dask,
    "ray Dataset": _ray,
}


# What takes the dummies of effects as columns, which streams do not.
REFUSED = {("ols of one effect", "OPG"), ("ols of two effects", "OPG")}
# A pair of source and model takes every so many-th covariance, the next pair the next ones.
SHARE = 9


@cache
def true(model):
    return MODELS[model](rows()).fit()


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::betahat.BetahatWarning", "ignore::pandas.errors.Pandas4Warning")  # dask's
@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("source", SOURCES)
def test_every_source_gives_the_numbers_of_the_frame(source, model, tmp_path, request):
    if source == "ray Dataset":
        request.getfixturevalue("ray")
    res, expected = MODELS[model](SOURCES[source](tmp_path)).fit(), true(model)
    np.testing.assert_allclose(np.ravel(res.params), np.ravel(expected.params), rtol=RTOL, atol=1e-13)
    first = (list(SOURCES).index(source) * len(MODELS) + list(MODELS).index(model)) % SHARE
    for label in list(COVARIANCES)[first::SHARE]:
        try:
            errors = np.ravel(expected.with_cov(COVARIANCES[label]).bse)
        except bh.BetahatError as refused:
            with pytest.raises(type(refused)):
                res.with_cov(COVARIANCES[label])
            continue
        if (model, label) in REFUSED:
            with pytest.raises(bh.EstimationError, match="all rows at once"):
                res.with_cov(COVARIANCES[label])
        else:
            found = np.ravel(res.with_cov(COVARIANCES[label]).bse)
            np.testing.assert_allclose(found, errors, rtol=RTOL, atol=1e-15, err_msg=label)


ENGINE_FITS = {
    "ols": ("HC3", "CR1S", "CR2", "Driscoll-Kraay", "Poisson bootstrap"),
    "logit": ("HC0", "two ways", "score bootstrap"),
    "negativebinomial": ("HC1",),
    "ols of two effects": ("CR1S",),
}


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::betahat.BetahatWarning", "ignore::pandas.errors.Pandas4Warning")  # dask's
@pytest.mark.parametrize("source", ["Parquet", "polars LazyFrame", "dask DataFrame", "ray Dataset"])
def test_every_engine_gives_the_bits_of_one_thread(source, workers, tmp_path, request):
    """Each pair of source and engine takes one of the models, the next pair the next one."""
    if source == "ray Dataset":
        request.getfixturevalue("ray")
    turn = list(SOURCES).index(source) + len(request.node.callspec.params["workers"])
    model = list(ENGINE_FITS)[turn % len(ENGINE_FITS)]
    data = SOURCES[source](tmp_path)
    alone = MODELS[model](data).fit()
    with bh.engine(workers):
        shared = MODELS[model](data).fit()
        assert np.array_equal(shared.params, alone.params)
        for label in ENGINE_FITS[model]:
            found, expected = (res.with_cov(COVARIANCES[label]).bse for res in (shared, alone))
            np.testing.assert_array_equal(found, expected, err_msg=label)
