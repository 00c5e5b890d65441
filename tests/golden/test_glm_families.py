"""GLM's families and links against R: glm with its expected information, sandwich's HC0 to HC5 and clusters, clubSandwich's CR2.

`glm_families.R` wrote R's numbers to `glm_families.json`.
"""

import json
from pathlib import Path

import numpy as np
import pytest
import statsmodels.api as sm
from support.closeness import same_covariance

import betahat as bh

# R starts glm again at its own answer until it rests; its working weights are those of the step before.
R_DIGITS = 1e-9
F, L = sm.families, sm.families.links
LINKS = {
    **{
        "inverse": L.InversePower(),
        "log": L.Log(),
        "identity": L.Identity(),
        "1/mu^2": L.InverseSquared(),
        "sqrt": L.Sqrt(),
    },
    **{"logit": L.Logit(), "probit": L.Probit(), "cloglog": L.CLogLog(), "cauchit": L.Cauchy(), "mu^0": L.Log()},
}
FAMILIES = {
    "Gamma": F.Gamma,
    "inverse.gaussian": F.InverseGaussian,
    "gaussian": F.Gaussian,
    "poisson": F.Poisson,
    "quasipoisson": F.Poisson,
    "binomial": F.Binomial,
    "quasibinomial": F.Binomial,
}

RECORDS = {r["name"]: r for r in json.loads(Path(__file__).with_name("glm_families.json").read_text())["models"]}

pytestmark = [
    pytest.mark.filterwarnings("ignore:The .* link function does not respect the domain"),
    pytest.mark.filterwarnings("ignore::betahat.ClusterWarning"),
]


def _family(r):
    link = LINKS[r["link"]]
    if "alpha" in r:
        return F.NegativeBinomial(link, alpha=r["alpha"])
    if "power" in r:
        return F.Tweedie(link, var_power=r["power"])
    return FAMILIES[r["family"]](link)


@pytest.fixture(scope="module", params=RECORDS)
def both(request):
    r = RECORDS[request.param]
    weights = None if set(r["weights"]) == {1} else np.array(r["weights"])
    return r, bh.GLM(np.array(r["endog"]), np.array(r["exog"]), _family(r), var_weights=weights).fit(
        scale=r.get("scale")
    )


def test_estimates(both):
    r, res = both
    np.testing.assert_allclose(res.params, r["coef"], rtol=R_DIGITS, atol=1e-12)
    np.testing.assert_allclose(res.scale, r["dispersion"], rtol=R_DIGITS)
    np.testing.assert_allclose(res.deviance, r["deviance"], rtol=R_DIGITS)
    np.testing.assert_allclose(res.null_deviance, r["null_deviance"], rtol=R_DIGITS)
    same_covariance(res.cov_params(), np.array(r["vcov"]), R_DIGITS)
    np.testing.assert_allclose(res.cases.leverage, r["hatvalues"], rtol=1e-8)


@pytest.mark.parametrize("name", ["HC0", "HC1", "HC2", "HC3", "HC4", "HC4m", "HC5"])
def test_heteroskedasticity(both, name):
    r, res = both
    same_covariance(res.with_cov(name).cov_params(), np.array(r["vcovHC"][name]), 10 * R_DIGITS)


def test_clusters(both):
    r, res = both
    groups = np.array(r["cluster"])
    same_covariance(res.with_cov(bh.Cluster(groups, "CR0")).cov_params(), np.array(r["CR0"]), 10 * R_DIGITS)
    found = res.with_cov(bh.Cluster(groups, correction="sandwich")).cov_params()
    same_covariance(found, np.array(r["vcovCL"]), 10 * R_DIGITS)


def test_cr2(both):
    r, res = both
    found = res.with_cov(bh.Cluster(np.array(r["cluster"]), "CR2")).cov_params()
    same_covariance(found, np.array(r["CR2"]), 10 * R_DIGITS)


def test_residuals(both):
    r, res = both
    for name, values in r["residuals"].items():
        found = np.asarray(getattr(res, f"resid_{name}"))
        if name == "response" and np.ndim(r["endog"]) == 2:
            found = found / np.sum(r["endog"], 1)  # statsmodels' are numbers of successes
        np.testing.assert_allclose(found, values, rtol=1e-6, atol=1e-7, err_msg=name)
