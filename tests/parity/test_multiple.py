"""Several outcomes and randomization inference against pyfixest, whose draws are others: within Monte Carlo error."""

import numpy as np
import pandas as pd
import pyfixest as pf
import pytest

import betahat as bh

# Two shares of random draws differ by this many of their joint standard errors once in 15,000 times; the seeds are fixed.
ERRORS = 4.0


def _within(one, other, draws, more):
    """Assert that two shares, of so many draws each, are equal up to Monte Carlo error."""
    spread = np.sqrt(np.asarray(one) * (1.0 - np.asarray(one)) * (1.0 / draws + 1.0 / more))
    assert (np.abs(np.asarray(one) - np.asarray(other)) <= ERRORS * spread + 1.0 / draws).all(), (one, other)


@pytest.fixture(scope="module")
def trial():
    random = np.random.default_rng(5)
    data = pd.DataFrame({"t": np.arange(240) % 2, "x": random.normal(size=240), "firm": np.arange(240) // 8})
    shared = random.normal(size=240)
    for i, effect in enumerate([0.05, 0.25, 0.35]):
        data[f"y{i}"] = effect * data.t + 0.3 * data.x + shared + random.normal(size=240)
    return data


@pytest.mark.filterwarnings("ignore")
def test_romano_and_wolf(trial):
    theirs = [pf.feols(f"y{i} ~ t + x", trial, vcov={"CRV1": "firm"}) for i in range(3)]
    wild = bh.Bootstrap(9999, "wild", clusters="firm", seed=1)
    ours = [bh.ols(f"y{i} ~ t + x", trial).fit(wild) for i in range(3)]
    table = bh.regtable(ours, adjust=bh.Adjust("romano-wolf", keep="t", across=True), below="p").to_frame()
    found = table.loc[("t", "P>|t|")].to_numpy(dtype=float)
    _within(found, pf.rwolf(theirs, "t", reps=999, seed=1).loc["RW Pr(>|t|)"].to_numpy(dtype=float), 999, 9999)


# p-values of pyfixest 0.60: pf.feols("y1 ~ t + x", trial, vcov="hetero").ritest("t", reps=500, type=..., rng=np.random.default_rng(1)); it takes half a
# minute, most of it to import and compile. Half of the rows are treated, so that its treatments, each value with equal chances, are nearly permutations.
PYFIXEST = {"coef": 0.082164, "t": 0.078156}


@pytest.mark.parametrize("statistic", PYFIXEST)
def test_randomization(trial, statistic):
    ours = bh.ritest(bh.ols("y1 ~ t + x", trial).fit("HC1"), "t", reps=9999, seed=1, statistic=statistic)
    _within(ours.pvalue, PYFIXEST[statistic], 500, 9999)
