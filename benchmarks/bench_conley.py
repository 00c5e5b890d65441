"""Conley's covariance of places all over the United States, within 100 km, beside all distances by NumPy, an eighth of the rows."""

import numpy as np
import pytest

import betahat as bh

ROWS = 40_000
CUTOFF = 100.0


@pytest.fixture(scope="module")
def located():
    rng = np.random.default_rng(0)
    exog = np.column_stack([np.ones(ROWS), rng.normal(size=(ROWS, 5))])
    endog = exog.sum(1) + rng.normal(size=ROWS)
    return endog, exog, rng.uniform(25, 49, ROWS), rng.uniform(-125, -67, ROWS)


@pytest.mark.parametrize("kernel", ["uniform", "bartlett"])
def test_conley(benchmark, located, kernel):
    endog, exog, *place = located
    res = bh.OLS(endog, exog).fit()
    benchmark.pedantic(lambda: res.with_cov(bh.Conley(*place, CUTOFF, kernel)).bse, rounds=3, warmup_rounds=1)


def test_numpy(benchmark, located):
    """Haversines of all pairs, 500 rows at a time; so many more rows would take 64 times as long."""
    count = ROWS // 8
    endog, exog, north, east = (part[:count] for part in located)
    scores = exog * (endog - exog @ np.linalg.lstsq(exog, endog, rcond=None)[0])[:, None]
    north, east = np.radians(north), np.radians(east)

    def meat():
        total = 0.0
        for start in range(0, count, 500):
            here = slice(start, start + 500)
            square = np.sin(0.5 * (north[here, None] - north)) ** 2
            square += np.cos(north[here, None]) * np.cos(north) * np.sin(0.5 * (east[here, None] - east)) ** 2
            near = 2.0 * 6376.0 * np.arcsin(np.sqrt(square)) <= CUTOFF
            total = total + scores[here].T @ (near @ scores)
        return total

    benchmark.pedantic(meat, rounds=2)
