"""Labels of a million rows in ten thousand groups become numbers, in every container, beside pandas' sorted factorize of the same as a series."""

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

import betahat as bh
from betahat.data.groups import read_groups

ROUNDS = {"rounds": 3, "warmup_rounds": 1}
N, GROUPS = 1_000_000, 10_000
KINDS = {
    "objects": lambda text, codes, sparse: text.astype(object),
    "text": lambda text, codes, sparse: text,
    "pandas str": lambda text, codes, sparse: pd.Series(text, dtype="str"),
    "pandas category": lambda text, codes, sparse: pd.Series(text).astype("category"),
    "pandas intervals": lambda text, codes, sparse: pd.Series(pd.interval_range(0, GROUPS)[codes]),
    "integers": lambda text, codes, sparse: codes,
    "sparse integers": lambda text, codes, sparse: sparse,
    "floats": lambda text, codes, sparse: sparse / 7,
    "dates": lambda text, codes, sparse: np.datetime64("2000-01-01") + codes,
    "polars text": lambda text, codes, sparse: pl.Series(text),
    "polars category": lambda text, codes, sparse: pl.Series(text, dtype=pl.Categorical),
    "Arrow text": lambda text, codes, sparse: pa.array(text.tolist()),
    "list of text": lambda text, codes, sparse: text.tolist(),
    "list of integers": lambda text, codes, sparse: sparse.tolist(),
}


@pytest.fixture(scope="module")
def sample():
    return bh.OLS(np.arange(N), np.ones((N, 1))).design


@pytest.fixture(scope="module")
def made():
    rng = np.random.default_rng(0)
    codes = rng.integers(0, GROUPS, N)
    text = np.array([f"firm{i:06d}x" for i in range(GROUPS)])[codes]
    return text, codes, rng.choice(10**12, GROUPS, replace=False)[codes]


@pytest.mark.parametrize("kind", KINDS)
def test_labels(benchmark, sample, made, kind):
    given = KINDS[kind](*made)
    benchmark.pedantic(lambda: read_groups(sample, given, "groups"), **ROUNDS)


@pytest.mark.parametrize("kind", KINDS)
def test_pandas(benchmark, made, kind):
    given = KINDS[kind](*made)
    benchmark.pedantic(
        lambda: pd.factorize(
            pd.Series(np.asarray(given) if kind.startswith(("polars", "Arrow")) else given), sort=True
        ),
        **ROUNDS,
    )
