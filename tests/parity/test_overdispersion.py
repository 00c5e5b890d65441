"""Tests of Poisson's variance against statsmodels, and R's AER (numbers of golden/counts.json)."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import statsmodels.api as sm

import betahat as bh

# Sums of nine hundred squares.
CLOSE = 1e-10

GOLDEN = json.loads(Path(__file__).parents[1].joinpath("golden/counts.json").read_text())
DATA = pd.DataFrame(GOLDEN["data"])
X = sm.add_constant(DATA[["fem", "kid5", "ment"]])


def test_statsmodels():
    """Its row "CT nb1" repeats "CT nb2": the regressor is the mean in both."""
    found = bh.Poisson(DATA["art"], X).fit().test_dispersion()
    theirs = sm.Poisson(DATA["art"], X).fit(disp=0, method="newton").get_diagnostic().test_dispersion()
    others = [0, 1, 2, 3, 5, 6]
    np.testing.assert_allclose(found.statistic[others], np.asarray(theirs.statistic)[others], rtol=CLOSE)
    np.testing.assert_allclose(found.pvalue[others], np.asarray(theirs.pvalue)[others], rtol=1e-8)
    assert found.method == theirs.method
    assert found.summary_frame().columns.tolist() == theirs.summary_frame().columns.tolist()
    statistic, pvalue = found
    assert statistic.shape == pvalue.shape == (7,)


def test_aer():
    """AER's statistics are the regressions' t values."""
    r = GOLDEN["dispersiontest"]
    found = dict(zip(*(getattr(_all(), name) for name in ("method", "statistic")), strict=True))
    np.testing.assert_allclose(found["CT nb1"], r["nb1"], rtol=CLOSE)
    np.testing.assert_allclose(found["CT nb2"], r["nb2"], rtol=CLOSE)


def _all():
    return bh.poisson("art ~ fem + mar + kid5 + phd + ment", DATA).fit().test_dispersion()


def test_repeated_rows():
    often = np.arange(len(DATA)) % 3
    counted = bh.Poisson(DATA["art"], X, freq_weights=often).fit().test_dispersion()
    rows = np.repeat(np.arange(len(DATA)), often)
    repeated = bh.Poisson(DATA["art"].iloc[rows], X.iloc[rows]).fit().test_dispersion()
    np.testing.assert_allclose(counted.statistic, repeated.statistic, rtol=1e-9)


def test_what_has_no_dispersion():
    binary = bh.Logit((DATA["art"] > 0) * 1.0, X).fit()
    with pytest.raises(bh.OptionError, match="test_dispersion is for Poisson"):
        binary.test_dispersion()
    weighted = bh.Poisson(DATA["art"], X, weights=DATA["years"]).fit()
    with pytest.raises(bh.OptionError, match="does not take analytic weights"):
        weighted.test_dispersion()
