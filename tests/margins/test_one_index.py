"""Averages of models of one index, all in one pass, against the ones by autodiff that hold for any mean."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

import betahat as bh

# The same numbers in another order of sums.
CLOSE = {"rtol": 1e-9, "atol": 1e-12}


@pytest.fixture(scope="module")
def fits():
    rng = np.random.default_rng(9)
    n = 400
    frame = pd.DataFrame(
        {
            "x": rng.normal(2.0, 1.0, n),
            "age": rng.uniform(20.0, 60.0, n),
            "treated": rng.integers(0, 2, n),
            "region": rng.choice(["north", "south", "west"], n),
            "often": rng.integers(1, 4, n),
            "months": rng.uniform(1.0, 5.0, n),
        }
    )
    index = 0.3 * frame.x + 0.4 * frame.treated - 0.01 * (frame.age - 40.0) - 0.5
    frame = frame.assign(
        yes=(rng.uniform(size=n) < 1.0 / (1.0 + np.exp(-index))).astype(int),
        count=rng.poisson(np.exp(index) * frame.months),
        value=index + rng.normal(size=n),
    )
    text = "x * treated + np.log(age) + region * x"
    return [
        bh.logit(f"yes ~ {text}", frame, freq_weights="often").fit(),
        bh.poisson(f"count ~ {text}", frame, exposure="months").fit("HC1"),
        bh.ols(f"value ~ {text}", frame).fit(),
        bh.ols("value ~ x * treated + np.log(age) | region", frame).fit(),
    ]


@pytest.mark.parametrize("by", [None, ["treated", "region"]])
@pytest.mark.parametrize(
    "call",
    [
        lambda res, by: res.avg_slopes(by=by),
        lambda res, by: res.avg_comparisons(["x", "treated"], by=by, wts="months"),
        lambda res, by: res.avg_comparisons(["age", "x"], by=by),
        lambda res, by: res.avg_comparisons({"x": 1, "treated": None}, cross=True, by=by),
    ],
)
def test_one_pass_gives_what_autodiff_gives(fits, call, by):
    for res in fits:
        found = call(res, by)
        slow = replace(found.function, of_index=None)
        values, jacobian = slow.with_jacobian(res.fit.params)
        np.testing.assert_allclose(found.estimates, values, **CLOSE)
        np.testing.assert_allclose(found.jacobian, jacobian, **CLOSE)


@pytest.mark.parametrize("slope", ["eyex", "eydx", "dyex"])
def test_elasticities_and_ratios(fits, slope):
    for res in fits[:3]:
        for found in (
            res.avg_slopes(["x", "age"], slope=slope, by="treated"),
            res.avg_comparisons("region", comparison="lnratio"),
            res.avg_predictions(by="region"),
        ):
            values, jacobian = replace(found.function, of_index=None).with_jacobian(res.fit.params)
            np.testing.assert_allclose(found.estimates, values, **CLOSE)
            np.testing.assert_allclose(found.jacobian, jacobian, **CLOSE)
