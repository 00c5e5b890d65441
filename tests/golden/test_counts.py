"""Zero-inflated and hurdle models against R's pscl, and against the same likelihoods at their optimum.

`counts.R` wrote R's numbers to `counts.json`.
"""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from support.closeness import close, close_to_largest

import betahat as bh

# In standard errors. R's Newton steps take slopes from differences, of eight digits where the inflation is nearly flat.
OPTIMUM, FLAT = 5e-8, 5e-7
# Covariances of second differences have five digits; in the flat case four.
COVARIANCE, FLAT_COVARIANCE = 1e-6, 2e-4
# In standard errors, how far pscl's BFGS stops from the optimum.
STOPS_SHORT = 2e-4
# Its numbers differ as its parameters do, and its bread is a second difference.
AT_ITS_OWN, ITS_BREAD = 2e-4, 2e-3
# R's glm.nb at convergence of 1e-14 in the deviance.
GLM_NB = 1e-7

GOLDEN = json.loads(Path(__file__).with_name("counts.json").read_text())
DATA = pd.DataFrame(GOLDEN["data"])
FUNCTIONS = {
    ("zeroinfl", "poisson"): bh.zeroinflatedpoisson,
    ("zeroinfl", "negbin"): bh.zeroinflatednegativebinomialp,
    ("hurdle", "poisson"): bh.hurdlepoisson,
    ("hurdle", "negbin"): bh.hurdlenegativebinomial,
}


@pytest.fixture(scope="module", params=GOLDEN["cases"])
def case(request):
    r = GOLDEN["cases"][request.param]
    counts, zeros = (part.strip() for part in r["formula"].replace(" + offset(log(years))", "").split("|"))
    inflated = r["kind"] == "zeroinfl"
    options = (
        {"exog_infl": f"~ {zeros}", "inflation": r["link"]}
        if inflated
        else {"exog_zero": f"~ {zeros}", "link": r["link"]}
    )
    offset = "np.log(years)" if r["offset"] else None
    found = FUNCTIONS[r["kind"], r["dist"]](counts, DATA, offset=offset, **options).fit()
    return request.param, r, found


def test_the_optimum(case):
    name, r, found = case
    flat = name in ("zip_all", "zinb_all")
    optimum = r["optimum"]
    close(found.params, optimum["params"], FLAT if flat else OPTIMUM, unit=found.bse)
    close(found.llf, optimum["llf"], 1e-12)
    close_to_largest(found.cov_params(), optimum["vcov"], FLAT_COVARIANCE if flat else COVARIANCE)


def test_pscl(case):
    _, r, found = case
    pscl = r["pscl"]
    close(found.params, pscl["params"], STOPS_SHORT, unit=found.bse)
    close(found.llf, pscl["llf"], 1e-9)
    close(found.predict()[:20], pscl["fitted"], AT_ITS_OWN)
    close(np.asarray(found.predict(which="prob"))[:5, :6], pscl["prob"], AT_ITS_OWN)
    close(found.resid_pearson[:20], pscl["pearson"], AT_ITS_OWN)


def test_sandwiches(case):
    """pscl has no scores of alpha, so that its sandwiches are those of Poisson counts."""
    _, r, found = case
    if r["dist"] == "poisson":
        close_to_largest(found.with_cov("HC0").cov_params(), r["pscl"]["HC0"], ITS_BREAD)
        clusters = found.with_cov(bh.Cluster(DATA["team"], correction="sandwich"))
        close_to_largest(clusters.cov_params(), r["pscl"]["clusters"], ITS_BREAD)


def test_the_hurdle_is_two_models(case):
    """The zeros' equation is a Logit or Probit of y > 0."""
    _, r, found = case
    if r["kind"] == "hurdle":
        zeros = r["formula"].split("|")[1]
        binary = {"logit": bh.logit, "probit": bh.probit}[r["link"]](f"I((art > 0) * 1) ~ {zeros}", DATA).fit()
        close(found.params.filter(like="zero_"), binary.params, 1e-10)
        close(found.bse.filter(like="zero_"), binary.bse, 1e-9)


def test_glm_nb():
    """MASS conditions on theta: its errors are those of Fisher's information."""
    r = GOLDEN["glm_nb"]
    found = bh.negativebinomial("art ~ fem + mar + kid5 + phd + ment", DATA).fit(bread="expected")
    close(found.params, [*r["params"], r["alpha"]], GLM_NB, unit=found.bse)
    close_to_largest(found.cov_params().iloc[:-1, :-1], r["vcov"], GLM_NB)
    close_to_largest(found.with_cov("HC0").cov_params().iloc[:-1, :-1], r["HC0"], GLM_NB)
