"""QuantReg against live statsmodels, whose own reweighting stops early: at betahat's solution, by statsmodels' own code for all that follows."""

import warnings
from unittest import mock

import numpy as np
import pandas as pd
import pytest
import statsmodels.api as sm
from statsmodels.regression import quantile_regression as theirs
from support.closeness import close, close_to_one, same_covariance

import betahat as bh

# statsmodels takes its estimates 1e-9 above betahat's intercept, since what it says of a residual of zero depends on how that is rounded:
# everything that depends on residuals is as far off, relative to their size. The issue allows 1e-8 and, of what stops early, 1e-6.
NUDGE = 1e-9
DIGITS = 1e-8
# Where statsmodels stops: its steps are below 1e-6.
STOPPED = 1e-4

KERNELS = ("epa", "biw", "cos", "gau", "par")
ENGEL = sm.datasets.engel.load_pandas().data


def data(n=400, seed=0):
    rng = np.random.default_rng(seed)
    x = np.column_stack([np.ones(n), rng.normal(size=n), rng.uniform(-1, 2, size=n)])
    return x @ [1.0, 2.0, -1.0] + rng.standard_t(3, size=n) * (1.0 + 0.4 * np.abs(x[:, 1])), x


def statsmodels_at(params, model, **options):
    """Return statsmodels' results at these parameters, by its own `fit`: one step of it, whose pinv(X'X) X'y is these."""
    start = np.array(params, dtype=float)
    start[0] += NUDGE
    own, given = theirs.pinv, iter([_Estimate(start)])
    with mock.patch.object(theirs, "pinv", lambda matrix: next(given, None) or own(matrix)), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return model.fit(max_iter=1, **options)


class _Estimate:
    """A matrix whose product with anything is the estimate."""

    def __init__(self, params):
        self.params = params

    def __array_function__(self, function, types, given, options):
        assert function is np.dot
        return self.params


@pytest.mark.parametrize("q", [0.1, 0.5, 0.75])
def test_estimates(q):
    """No worse a loss than statsmodels', and near to it; three residuals are zero."""
    y, x = data()
    mine, them = bh.QuantReg(y, x).fit(q), sm.QuantReg(y, x).fit(q)
    close(mine.params, them.params, STOPPED)
    assert _loss(mine.resid, q) <= _loss(them.resid, q)
    assert (mine.resid == 0).sum() == 3
    close_to_one(mine.fittedvalues, x @ mine.params, 1e-14)
    close_to_one(mine.predict(x[:5]), mine.fittedvalues[:5], 1e-14)


@pytest.mark.parametrize("vcov", ["robust", "iid"])
@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize(("q", "bandwidth"), [(0.5, "bofinger"), (0.2, "hsheather"), (0.7, "chamberlain")])
def test_covariances(q, bandwidth, kernel, vcov):
    y, x = data()
    mine = bh.QuantReg(y, x).fit(q, vcov, kernel, bandwidth)
    them = statsmodels_at(mine.params, sm.QuantReg(y, x), q=q, vcov=vcov, kernel=kernel, bandwidth=bandwidth)
    same_covariance(mine.cov_params(), them.cov_params(), DIGITS)
    for name in ("bandwidth", "sparsity", "prsquared", "df_resid", "df_model", "nobs"):
        close(getattr(mine, name), getattr(them, name), DIGITS, label=name)
    close_to_one(mine.conf_int(), them.conf_int(), DIGITS)
    close_to_one(mine.pvalues, them.pvalues, DIGITS)
    assert mine.q == them.q


@pytest.mark.parametrize("q", [0.1, 0.5, 0.9])
@pytest.mark.parametrize("vcov", ["robust", "iid"])
def test_summary(q, vcov, same):
    model = sm.QuantReg.from_formula("foodexp ~ income", ENGEL)
    mine = bh.quantreg("foodexp ~ income", ENGEL).fit(q, vcov)
    same(mine, statsmodels_at(mine.params, model, q=q, vcov=vcov))


def test_summary_of_arrays(same):
    y, x = data(40)
    mine = bh.QuantReg(y, x).fit(0.4)
    same(mine, statsmodels_at(mine.params, sm.QuantReg(y, x), q=0.4))


def test_summary_of_collinear_columns(same):
    y, x = data(60)
    x = np.column_stack([x, x[:, 1]])
    with pytest.warns(bh.CollinearityWarning):
        mine = bh.QuantReg(y, x).fit(0.5)
    them = statsmodels_at(mine.params, sm.QuantReg(y, x), q=0.5)
    close(mine.bse, them.bse, DIGITS)
    assert "strong multicollinearity problems" in str(mine.summary())


def test_prediction():
    mine = bh.quantreg("foodexp ~ income", ENGEL).fit(0.5)
    them = statsmodels_at(mine.params, sm.QuantReg.from_formula("foodexp ~ income", ENGEL), q=0.5)
    new = pd.DataFrame({"income": [500.0, 1000.0]})
    found, true = mine.get_prediction(new), them.get_prediction(new)
    close(found.predicted, true.predicted_mean, DIGITS)
    close(found.se, true.se_mean, DIGITS)
    close(found.conf_int(), true.conf_int(), DIGITS)


def _loss(resid, q):
    return np.maximum(q * resid, (q - 1.0) * resid).sum()
