"""Robust regression against MASS::rlm, with its scales, covariances and sandwiches. `rlm.R` wrote R's numbers to `rlm.json`."""

import json
from pathlib import Path

import numpy as np
import pytest
import statsmodels.api as sm
from support.closeness import close_to_one, same_covariance

import betahat as bh

# rlm runs until coefficients move by 1e-14; X'X of the stack loss has a condition of 1e6.
R_DIGITS = 1e-9

pytestmark = pytest.mark.filterwarnings("ignore:groups has 7 clusters")

GOLDEN = json.loads(Path(__file__).with_name("rlm.json").read_text())
# R divides its MAD by 0.6745, so that its tuning constants are this much larger in units of ours.
QUARTILE = 0.6744897501960817
UNIT = QUARTILE / 0.6745
BENDS = {"HuberT": (1.345,), "TukeyBiweight": (4.685,), "Hampel": (2.0, 4.0, 8.0)}


@pytest.fixture(
    scope="module", params=[(d, n, s) for d in GOLDEN for n in BENDS for s in ("MAD", "proposal2")], ids="-".join
)
def case(request):
    data, norm, scale = request.param
    golden = GOLDEN[data]
    unit = UNIT if scale == "MAD" else 1.0
    M = getattr(sm.robust.norms, norm)(*(bend * unit for bend in BENDS[norm]))
    scale_est = "mad" if scale == "MAD" else sm.robust.scale.HuberScale(d=1.345)
    res = bh.RLM(golden["y"], np.array(golden["x"]), M=M).fit(scale_est=scale_est)
    return golden, golden["fits"][norm][scale], res, unit


def test_coefficients_scale_and_weights(case):
    _, r, res, unit = case
    np.testing.assert_allclose(res.params, r["coef"], rtol=R_DIGITS)
    np.testing.assert_allclose(res.scale * unit, r["scale"], rtol=R_DIGITS)
    close_to_one(res.weights, r["weights"], R_DIGITS)


def test_covariances(case):
    golden, r, res, _ = case
    for name in ("H1", "H2", "H3", "HC0", "HC1", "HC2", "HC3"):
        same_covariance(res.with_cov(name).cov_params(), r[name], R_DIGITS, name)
    same_covariance(res.with_cov(bh.Cluster(golden["firm"], "CR0")).cov_params(), r["CR0"], R_DIGITS, "CR0")


def test_standard_errors_of_its_summary(case):
    """R has n - 1 in the variance of psi'."""
    _, r, res, _ = case
    np.testing.assert_allclose(res.bse * r["summary_K"], r["summary"], rtol=R_DIGITS)
