"""HC0 to HC3 against a naive loop over the rows, in NumPy and in 50-digit arithmetic."""

import json
import math
from pathlib import Path

import mpmath
import numpy as np
import pytest

import betahat as bh

# Well-conditioned data: both sides are within a few hundred roundings of the exact number.
ROUNDING = 1e-12
# Longley's scaled condition is 5e4. A meat formed in the columns' own units and squeezed between two breads
# squares it and leaves 7 digits; scores times R^-1, multiplied first, leave 11. statsmodels has 9 and more.
LONGLEY = 1e-10

HC = ("HC0", "HC1", "HC2", "HC3")
FACTORS = {
    "HC0": lambda h, n, k: 1,
    "HC1": lambda h, n, k: n / (n - k),
    "HC2": lambda h, n, k: 1 / (1 - h),
    "HC3": lambda h, n, k: 1 / (1 - h) ** 2,
}


def naive(kind, x, y, w):
    """Loop over the rows: A^-1 (sum of factor * score score') A^-1."""
    n, k = x.shape
    bread = np.linalg.inv(sum(w[i] * np.outer(x[i], x[i]) for i in range(n)))
    coef = bread @ sum(w[i] * y[i] * x[i] for i in range(n))
    meat = np.zeros((k, k))
    for i in range(n):
        leverage = w[i] * x[i] @ bread @ x[i]
        score = w[i] * (y[i] - x[i] @ coef) * x[i]
        meat += FACTORS[kind](leverage, n, k) * np.outer(score, score)
    return bread @ meat @ bread


def exact(kind, x, y):
    """Do the same in 50 digits, for weights of one; kind None is the classical covariance."""
    with mpmath.workdps(50):
        x, y = mpmath.matrix(x), mpmath.matrix(y)
        n, k = x.rows, x.cols
        bread = (x.T * x) ** -1
        coef = bread * (x.T * y)
        resid = y - x * coef
        if kind is None:
            covariance = bread * (mpmath.fsum(e**2 for e in resid) / (n - k))
        else:
            leverage = [(x[i, :] * bread * x[i, :].T)[0] for i in range(n)]
            squares = [FACTORS[kind](leverage[i], mpmath.mpf(n), k) * resid[i] ** 2 for i in range(n)]
            covariance = bread * (x.T * mpmath.diag(squares) * x) * bread
        slopes, inner = coef[1:], covariance[1:, 1:]
        wald = (slopes.T * inner**-1 * slopes)[0] / (k - 1)
        means = [math.sqrt((x[i, :] * covariance * x[i, :].T)[0]) for i in range(n)]
        return np.array(covariance.tolist(), dtype=float), float(wald), np.array(means)


def relative(found, true):
    """Return the largest error of a covariance's element, over sqrt(v_ii v_jj)."""
    errors = np.sqrt(np.diagonal(true))
    return (np.abs(np.asarray(found) - true) / np.outer(errors, errors)).max()


@pytest.fixture(scope="module")
def longley():
    path = Path(__file__).parent.parent / "golden" / "linear.json"
    (record,) = [model for model in json.loads(path.read_text())["models"] if model["name"] == "longley"]
    return record["design"]["rows"], record["data"]["Employed"]


@pytest.mark.parametrize("model", ["OLS", "WLS"])
@pytest.mark.parametrize("kind", HC)
def test_naive_loop(sample, model, kind):
    data = sample()
    found = data.model(model).fit(kind).cov.matrix
    x, y, w = (part.cpu().numpy() for part in (data.x, data.y, data.weights))
    true = naive(kind, x, y, w if model == "WLS" else np.ones_like(w))
    assert relative(found.cpu(), true) < ROUNDING


@pytest.mark.parametrize("route", ["gram", "tsqr"])
@pytest.mark.parametrize("kind", HC)
def test_naive_loop_over_several_blocks(sample, kind, route, cut):
    cut(1, route)
    data = sample(n=2500)
    res = data.wls().fit(kind)
    assert res.fit.route == route
    true = naive(kind, *(part.cpu().numpy() for part in (data.x, data.y, data.weights)))
    assert relative(res.cov.matrix.cpu(), true) < ROUNDING


@pytest.mark.parametrize("kind", [None, *HC])
def test_longley_in_fifty_digits(longley, kind):
    x, y = longley
    covariance, _, _ = exact(kind, x, y)
    assert relative(bh.OLS(y, x).fit(kind).cov_params(), covariance) < LONGLEY


@pytest.mark.parametrize("kind", [None, *HC])
def test_longley_f_of_the_slopes_in_fifty_digits(longley, kind):
    x, y = longley
    _, wald, _ = exact(kind, x, y)
    assert bh.OLS(y, x).fit(kind).f_test(np.eye(7)[1:]).fvalue == pytest.approx(wald, rel=LONGLEY)


@pytest.mark.parametrize("kind", [None, *HC])
def test_longley_standard_errors_of_predictions_in_fifty_digits(longley, kind):
    x, y = longley
    _, _, means = exact(kind, x, y)
    assert bh.OLS(y, x).fit(kind).get_prediction(x).se_mean == pytest.approx(means, rel=LONGLEY)
