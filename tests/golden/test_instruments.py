"""Two-stage least squares against R: AER::ivreg with sandwich and clubSandwich, with firms absorbed where R has their dummies.

`instruments.R` wrote R's numbers to `instruments.json`; every covariance there is compared here.
"""

import json
from functools import cache
from pathlib import Path

import pandas as pd
import pytest
from support.closeness import close, close_to_one, same_covariance

import betahat as bh

# The issue allows 1e-8; R's numbers are within 1e-10 of ours.
R_DIGITS = 1e-9
# Ratios of sums of fourth powers.
DF_DIGITS = 1e-8

GOLDEN = json.loads(Path(__file__).with_name("instruments.json").read_text())
DATA = pd.DataFrame(GOLDEN["data"])
RECORDS = {f"{r['name']}{', weighted' * r['weighted']}{', firms' * r['dummies']}": r for r in GOLDEN["records"]}
ENTRIES = {
    f"{name}: {e['kind']} {e.get('type', '')} {e.get('cluster', '')} {i}": (name, e)
    for name, r in RECORDS.items()
    for i, e in enumerate(r["entries"])
}

pytestmark = [
    pytest.mark.filterwarnings("ignore::betahat.ClusterWarning"),  # R does not warn of few clusters
    pytest.mark.filterwarnings("ignore:.*weak:betahat.BetahatWarning"),
]


@cache
def _fit(name):
    r = RECORDS[name]
    parts = [f"y ~ {' + '.join(r['exog'])}", f"{' + '.join(r['endog'])} ~ {' + '.join(r['instruments'])}"]
    formula = " | ".join([parts[0], *(["firm"] if r["dummies"] else []), parts[1]])
    return bh.wls(formula, DATA, weights="w").fit() if r["weighted"] else bh.ols(formula, DATA).fit()


def _covariance(e, res):
    """What an entry of R is here, and a factor where there is no name for it."""
    n, k, ways = res.nobs, res.nobs - res.df_resid, e.get("cluster")
    match e["kind"], e.get("type"):
        case "vcov", _:
            return "nonrobust", 1.0
        case "vcovCL", "HC1" if e["cadjust"]:
            return bh.Cluster(ways, correction="sandwich"), 1.0
        case "vcovCL", kind:
            return bh.Cluster(ways, "CR1" if e["cadjust"] else "CR0"), (n - 1) / (n - k) if kind == "HC1" else 1.0
        case "vcovCR", kind:
            return bh.Cluster(ways, kind), 1.0
        case "NeweyWest", _:
            return bh.HAC(e["lag"], correction=e.get("adjust", False)), 1.0
        case kind, _:
            return kind, 1.0


@pytest.mark.parametrize("name", RECORDS)
def test_estimates_are_r_s(name):
    r, res = RECORDS[name], _fit(name)
    close_to_one(res.params, r["coef"], R_DIGITS)
    close(res.scale, r["sigma2"], R_DIGITS)
    assert res.df_resid == r["df"]
    close_to_one(res.rsquared, r["r2"], R_DIGITS)


@pytest.mark.parametrize("name", RECORDS)
def test_diagnostics_are_aer_s(name):
    r, res = RECORDS[name], _fit(name)
    for test in r["diagnostics"]:
        kind, _, regressor = test["name"].partition(" (")
        if kind == "Weak instruments":
            found = res.first_stage[regressor.strip(")") or r["endog"][0]].instruments_test
        elif kind == "Wu-Hausman":
            found = res.wu_hausman()
        elif test["statistic"] is None:
            with pytest.raises(bh.EstimationError, match="nothing is left to test"):
                res.sargan()
            continue
        else:
            found = res.sargan()
        close(found.statistic, test["statistic"], DF_DIGITS, label=test["name"])
        assert found.df == test["df1"]
        close(found.pvalue, test["pvalue"], DF_DIGITS, label=test["name"])


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
    assert len(ENTRIES) == GOLDEN["meta"]["matrices"] > 550
