"""Least squares with absorbed effects from a dataframe, a million rows and six columns, HC1, beside pyfixest's feols, in CPU seconds.

Firms, firms and years, and those with sectors as well are simple. Workers, firms and years are difficult where few workers change, and those
to a firm nearby: pyfixest's alternating projections do not end there, and its LSMR is compared. Where a worker who changes may come to any firm, levels
mix well.
"""

import time
import warnings

import numpy as np
import pandas as pd
import pyfixest as pf
import pytest

import betahat as bh

N, WORKERS, FIRMS = 1_000_000, 125_000, 20_000
SIMPLE = {"one": "firm", "two": "firm + year", "three": "firm + year + sector"}
DIFFICULT = {"far": "worker + far + year", "near": "worker + near + year"}

pytestmark = pytest.mark.benchmark(timer=time.process_time)


@pytest.fixture(scope="module")
def table():
    rng = np.random.default_rng(0)
    exog = rng.normal(size=(N, 5))
    worker = np.arange(N) // (N // WORKERS)
    home = worker * FIRMS // WORKERS
    moves = rng.random(N) < 0.03
    return pd.DataFrame(exog, columns=[f"x{i}" for i in range(5)]).assign(
        y=exog.sum(1) + rng.normal(size=N),
        firm=rng.integers(0, FIRMS, N),
        year=rng.integers(0, 10, N),
        sector=rng.integers(0, 1000, N),
        worker=worker,
        far=np.where(moves, rng.integers(0, FIRMS, N), home),
        near=np.where(moves, np.clip(home + rng.integers(-20, 21, N), 0, FIRMS - 1), home),
    )


@pytest.mark.parametrize("effects", {**SIMPLE, **DIFFICULT}.values())
def test_betahat(benchmark, table, effects):
    formula = f"y ~ x0 + x1 + x2 + x3 + x4 | {effects}"
    benchmark.pedantic(lambda: bh.ols(formula, table).fit("HC1").bse, rounds=5, warmup_rounds=1)


@pytest.mark.parametrize("effects", SIMPLE.values())
def test_pyfixest(benchmark, table, effects):
    formula = f"y ~ x0 + x1 + x2 + x3 + x4 | {effects}"
    benchmark.pedantic(lambda: pf.feols(formula, table, vcov="HC1").se(), rounds=5, warmup_rounds=1)


@pytest.mark.parametrize("effects", DIFFICULT.values())
def test_pyfixest_lsmr(benchmark, table, effects):
    formula = f"y ~ x0 + x1 + x2 + x3 + x4 | {effects}"

    def fit():
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return pf.feols(formula, table, vcov="HC1", demeaner=pf.LsmrDemeaner()).se()

    benchmark.pedantic(fit, rounds=3, warmup_rounds=1)
