"""Absorbed effects against R: lm and glm with all dummies, by sandwich and clubSandwich, and plm's within models.

`absorbed.R` wrote R's numbers to `absorbed.json`, and says what it leaves out; every covariance there is compared here.
"""

import json
from collections import Counter
from functools import cache
from pathlib import Path

import pandas as pd
import pytest
from support.closeness import close, close_to_one, same_covariance

import betahat as bh

# The issue allows 1e-8; R's numbers with all dummies are within 1e-10 of those of our own regressions with all dummies.
R_DIGITS = 1e-9
# Ratios of sums of fourth powers.
DF_DIGITS = 1e-8

GOLDEN = json.loads(Path(__file__).with_name("absorbed.json").read_text())
DATA = pd.DataFrame(GOLDEN["data"])
RECORDS = {
    f"{r['model']} {r.get('family', '')} {' + '.join(r['absorb'])}{', weighted' * r['weighted']}": r
    for r in GOLDEN["records"]
}
FUNCTIONS = {"poisson-log": bh.poisson, "binomial-logit": bh.logit, "binomial-probit": bh.probit}

pytestmark = [
    pytest.mark.filterwarnings("ignore::betahat.ClusterWarning"),  # R does not warn of few clusters
    pytest.mark.filterwarnings("ignore:.*incidental:betahat.BetahatWarning"),
]


@cache
def _fit(name):
    r = RECORDS[name]
    formula = f"{r.get('y', 'y')} ~ x1 + x2 | {' + '.join(r['absorb'])}"
    if r["model"] == "glm":
        return FUNCTIONS[r["family"]](formula, DATA).fit(bread="expected")
    return bh.wls(formula, DATA, weights="w").fit() if r["weighted"] else bh.ols(formula, DATA).fit()


def _coefficients(res):
    """The number of all coefficients, those of the dummies included."""
    return res.nobs - res.df_resid


def _covariance(e, res):
    """What an entry of R is here, and a factor where plm's or sandwich's own has no name."""
    n, k, ways = res.nobs, _coefficients(res), e.get("cluster")
    lagged = {"maxlags": e.get("maxlag"), "correction": None}
    free = n / (n - 2)
    match e["kind"], e.get("type"):
        case "vcov" | "plm", None:
            return "nonrobust", 1.0
        case kind, None:
            return kind, 1.0
        case "vcovCL", "HC0":
            return bh.Cluster(ways, "CR1" if e["cadjust"] else "CR0"), 1.0
        case "vcovCL", "HC1" if e["cadjust"] and res.fit.objective.least_squares:
            return bh.Cluster(ways, correction="sandwich"), 1.0
        case "vcovCL", "HC1":
            return bh.Cluster(ways, "CR1" if e["cadjust"] else "CR0"), (n - 1) / (n - k)
        case "vcovCR" | "plm vcovCR", kind:
            return bh.Cluster(ways, kind, target="inverse_weights" if e.get("inverse_var") else "identity"), 1.0
        case "arellano", "sss":
            return bh.Cluster({"group": "firm", "time": "year"}[ways], correction="none"), 1.0
        case "arellano", kind:
            return bh.Cluster({"group": "firm", "time": "year"}[ways], "CR0"), free if kind == "HC1" else 1.0
        case "white1", kind:
            return "HC0", {"HC0": 1.0, "HC1": free, "sss": free}[kind]
        case "vcovDC", "sss":
            return bh.Cluster(["firm", "year"], correction="none"), 1.0
        case "vcovDC", kind:
            return bh.Cluster(["firm", "year"], "CR0"), free if kind == "HC1" else 1.0
        case "vcovNW", kind:
            return bh.PanelNeweyWest("firm", "year", **lagged), 1.0 if kind == "HC0" else free
        case "vcovSCC", kind:
            return bh.DriscollKraay("year", **lagged), {"HC0": 1.0, "HC1": free, "sss": 10 / 9 * (n - 1) / (n - 2)}[
                kind
            ]
    raise AssertionError(e)


ENTRIES = {
    f"{name}: {e['kind']} {e.get('type', '')} {e.get('cluster', '')}{e.get('maxlag', '')} {i}": (name, e)
    for name, r in RECORDS.items()
    for i, e in enumerate(r["entries"])
}


@pytest.mark.parametrize("name", RECORDS)
def test_estimates_are_r_s(name):
    r, res = RECORDS[name], _fit(name)
    close_to_one(res.params, r["coef"], R_DIGITS)
    assert list(res.params.index) == ["x1", "x2"]
    if r["model"] == "lm":
        close(res.scale, r["sigma2"], R_DIGITS)
        assert _coefficients(res) == r["rank"]
        close(res.rsquared, r["r2"], R_DIGITS)
    elif r["model"] == "plm":
        close(res.rsquared_within, r["r2_within"], R_DIGITS)
        if r["effects"]:
            close_to_one(res.fixed_effects()[r["absorb"][0]], r["effects"], R_DIGITS)  # plm::fixef
    else:
        assert res.nobs == len(DATA)


@pytest.mark.slow
@pytest.mark.parametrize("case", ENTRIES)
def test_covariances_are_r_s(case):
    name, e = ENTRIES[case]
    cov, scale = _covariance(e, _fit(name))
    found = _fit(name).with_cov(cov)
    same_covariance(found.cov_params() * scale, e["vcov"], R_DIGITS, case)
    if e.get("df") and e["type"] in ("CR2", "CR3"):
        close(found.cov.df, e["df"], DF_DIGITS, label=case)


def test_all_matrices_are_compared():
    kinds = Counter(e["kind"] for _, e in ENTRIES.values())
    assert sum(kinds.values()) == GOLDEN["meta"]["matrices"] > 900
