"""RowVectors one other busy process: with torch's default of threads, the same fits quiet and busy, and two processes that simulate."""

import subprocess
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context

import numpy as np
import pytest
import statsmodels.api as sm
import torch
from conftest import problem

import betahat as bh

FITS = 100


@pytest.fixture(params=["quiet", "busy"])
def beside(request):
    """Nothing, or a process that never rests, until the benchmark is over."""
    loop = [sys.executable, "-c", "while True: pass"]
    other = subprocess.Popen(loop) if request.param == "busy" else None
    try:
        yield request.param
    finally:
        if other is not None:
            other.kill()
            other.wait()


def yes_or_no(endog):
    return (endog / 5 + torch.randn(len(endog), dtype=torch.float64) > 0).double()


def measured(benchmark, function, rounds):
    benchmark.pedantic(function, rounds=rounds, warmup_rounds=2)


def test_ols_small(benchmark, beside, small):
    endog, exog = small
    measured(benchmark, lambda: bh.OLS(endog, exog).fit("HC1").bse, 400)


def test_logit_small(benchmark, beside, small):
    endog, exog = yes_or_no(small[0]), small[1]
    measured(benchmark, lambda: bh.Logit(endog, exog).fit("HC0").bse, 100)


def test_statsmodels_ols_small(benchmark, beside, small):
    endog, exog = (part.numpy() for part in small)
    measured(benchmark, lambda: sm.OLS(endog, exog).fit(cov_type="HC1").bse, 400)


def test_statsmodels_logit_small(benchmark, beside, small):
    endog, exog = yes_or_no(small[0]).numpy(), small[1].numpy()
    measured(benchmark, lambda: sm.Logit(endog, exog).fit(disp=0, cov_type="HC0").bse, 100)


def test_ols_large(benchmark, beside):
    endog, exog = problem(300_000, 20)
    measured(benchmark, lambda: bh.OLS(endog, exog).fit("HC1").bse, 9)


def test_logit_large(benchmark, beside):
    endog, exog = problem(300_000, 20)
    endog = yes_or_no(endog)
    measured(benchmark, lambda: bh.Logit(endog, exog).fit("HC0").bse, 5)


def simulate(seed):
    """Return the seconds of a Logit of five hundred rows, of a hundred in this process."""
    rng = np.random.default_rng(seed)
    exog = rng.normal(size=(500, 5))
    endog = (exog.sum(1) + 2 * rng.logistic(size=500) > 0).astype(float)
    bh.Logit(endog, exog).fit("HC0").bse.sum()
    start = time.perf_counter()
    for _ in range(FITS):
        bh.Logit(endog, exog).fit("HC0").bse.sum()
    return (time.perf_counter() - start) / FITS


@pytest.mark.parametrize("processes", [1, 2])
def test_simulation(benchmark, processes):
    benchmark.extra_info["replicates"] = FITS
    with ProcessPoolExecutor(processes, mp_context=get_context("spawn")) as pool:
        list(pool.map(simulate, range(processes)))
        benchmark.pedantic(lambda: list(pool.map(simulate, range(processes))), rounds=5)
