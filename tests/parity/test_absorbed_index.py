"""Poisson, logit, probit and GLM with absorbed effects against pyfixest's fepois and feglm, live.

Its "iid" errors are scaled by (n - 1) / (n - k), which those of R's glm and statsmodels are not, nor ours; and those of feglm's gaussian family lack the
dispersion (0.069 for 0.033 here, half of what its own feols has), so that they are not compared.
"""

import warnings

import numpy as np
import pytest
from support.absorbed import panel
from support.closeness import close, close_to_one

import betahat as bh

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    import pyfixest as pf

# The issue allows 1e-8. Of probit pyfixest's steps, of Fisher's information, end where the deviance changes by 1e-14 of itself, which leaves half of the
# digits: full dummies have ours to 1e-15 (tests/laws/test_absorbed_index.py).
THEIRS, SCORING = 1e-8, 1e-7

pytestmark = [
    pytest.mark.filterwarnings("ignore::betahat.ClusterWarning"),
    pytest.mark.filterwarnings("ignore:.*(rows per level|left out):betahat.BetahatWarning"),
    pytest.mark.filterwarnings("ignore:.*:FutureWarning"),
    pytest.mark.filterwarnings("ignore:.*:UserWarning:pyfixest"),
    pytest.mark.filterwarnings("ignore:.*:DeprecationWarning"),
]


def _data():
    data = panel(240, seed=4)
    rng = np.random.default_rng(8)
    index = 0.4 * data["x"] - 0.3 * data["z"] + 0.1 * (data["firm"].astype("category").cat.codes % 5)
    return data.assign(
        count=rng.poisson(np.exp(index)),
        yes=(index - index.mean() + rng.logistic(size=len(data)) > 0) * 1.0,
        g=data["region"],
        h=data["state"],
    )


DATA = _data()
ROBUST = {
    "iid": ("iid", "nonrobust"),
    "hetero": ("hetero", "HC1"),
    "one way": ({"CRV1": "g"}, bh.Cluster("g", correction="fixest")),
    "two ways": ({"CRV1": "g + h"}, bh.Cluster(["g", "h"], correction="fixest")),
}


def _same(ours, theirs, name, digits=THEIRS):
    factor = ((ours.nobs - 1) / ours.df_resid) ** 0.5 if name == "iid" else 1.0
    close(ours.params, theirs.coef().to_numpy(), digits)
    close_to_one(ours.bse * factor, theirs.se().to_numpy(), digits)


@pytest.mark.parametrize("name", ROBUST)
@pytest.mark.parametrize("effects", ["state", "region + state", "state + region + year"])
def test_poisson(name, effects):
    vcov, cov = ROBUST[name]
    theirs = pf.fepois(
        f"count ~ x + z | {effects}", DATA, vcov=vcov, fixef_rm="singleton", fixef_tol=1e-12, iwls_tol=1e-14,
        iwls_maxiter=100,
    )  # fmt: skip
    ours = bh.poisson(f"count ~ x + z | {effects}", DATA).fit(cov)
    assert ours.nobs == theirs._N
    _same(ours, theirs, name)
    close(ours.deviance, float(theirs.deviance), THEIRS)


@pytest.mark.parametrize(
    ("name", "family"),
    [
        (n, f)
        for n in ("iid", "hetero", "one way")
        for f in ("logit", "probit", "gaussian")
        if (n, f) != ("iid", "gaussian")
    ],
)
def test_glm(name, family):
    vcov, cov = ROBUST[name]
    theirs = pf.feglm("yes ~ x + z | region", DATA, family=family, vcov=vcov, fixef_tol=1e-12, iwls_tol=1e-14)
    if family == "gaussian":
        ours = bh.glm("yes ~ x + z | region", DATA).fit(cov)
    else:
        ours = {"logit": bh.logit, "probit": bh.probit}[family]("yes ~ x + z | region", DATA).fit(cov, bread="expected")
    _same(ours, theirs, name, SCORING if family == "probit" else THEIRS)
