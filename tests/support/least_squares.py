"""Least squares by either package, under covariances that both have."""

import numpy as np
import statsmodels.api as sm
import statsmodels.formula.api as smf

import betahat as bh

COVARIANCES = {"nonrobust": {}, "HC0": {}, "HC1": {}, "HC3": {}, "fixed scale": {"scale": 2.5}}
FITS = [("nonrobust", None), ("nonrobust", False), ("HC1", None), ("HC3", True), ("fixed scale", None)]
FORMULA = "y ~ x1 + x2 + pos + C(g)"


def fit_both(data, cov_type="nonrobust", use_t=None, formula=FORMULA):
    options = {"cov_type": cov_type, "cov_kwds": dict(COVARIANCES[cov_type]), "use_t": use_t}
    return bh.ols(formula, data).fit(**options), smf.ols(formula, data).fit(**options)


def array_pair(people, cov_type="nonrobust", weights=None):
    x = np.column_stack([np.ones(80), people[["x1", "x2", "pos"]]])
    y = people["y"].to_numpy()
    options = {"cov_type": cov_type, "cov_kwds": dict(COVARIANCES[cov_type])}
    if weights is None:
        return bh.OLS(y, x).fit(**options), sm.OLS(y, x).fit(**options)
    return bh.WLS(y, x, weights=weights).fit(**options), sm.WLS(y, x, weights=weights).fit(**options)
