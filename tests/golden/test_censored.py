"""Tobit and AFT against R's AER::tobit and survival::survreg, with sandwich. `ordered.R` wrote R's numbers to `ordered.json`."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from support.closeness import close, close_to_largest, same_covariance

import betahat as bh

# survreg ends by Newton's method at a relative change of 1e-15, with second derivatives in closed form.
R_DIGITS = 1e-10
# Of the log-normal times survreg says that it ran out of steps, and is that near.
STOPPED = 2e-9

GOLDEN = json.loads(Path(__file__).with_name("ordered.json").read_text())
AFFAIRS = pd.DataFrame(GOLDEN["data"]["affairs"])
LUNG = pd.DataFrame(GOLDEN["data"]["lung"]).rename(columns={"ph.ecog": "ecog"})
AFTS = {r["dist"]: r for r in GOLDEN["aft"]}
TOBITS = {f"{r['left']} to {r['right']}": r for r in GOLDEN["tobit"]}


@pytest.fixture(scope="module", params=TOBITS)
def tobit(request):
    record = TOBITS[request.param]
    frame = AFFAIRS.assign(affairs=AFFAIRS["affairs"].clip(record["left"], record["right"]))
    formula = "affairs ~ age + yearsmarried + religiousness + occupation + rating"
    return bh.tobit(formula, frame, left=record["left"], right=record["right"]).fit(), record


def test_tobit(tobit):
    res, record = tobit
    close_to_largest(res.params, record["params"], R_DIGITS)
    same_covariance(res.cov_params(), record["cov"], R_DIGITS)
    assert res.llf == pytest.approx(record["loglik"], rel=R_DIGITS)
    assert res.diagnostics.decrement < 1e-16
    assert list(res.params.index)[-1] == "log(scale)"
    assert res.df_resid == 601 - 7
    close(res.sigma, np.exp(record["params"][-1]), R_DIGITS)
    close_to_largest(res.predict()[:5], record["latent"], R_DIGITS)
    seen = np.asarray(res.model.endog)[:5]
    close_to_largest(res.resid_response[:5], seen - np.array(record["latent"]), R_DIGITS)
    same_covariance(res.with_cov("HC0").cov_params(), record["hc0"], R_DIGITS)
    with pytest.warns(bh.ClusterWarning):
        same_covariance(res.with_cov(bh.Cluster(AFFAIRS["age"], "CR1")).cov_params(), record["cluster"], R_DIGITS)


@pytest.fixture(scope="module", params=AFTS)
def aft(request):
    return bh.aft("time ~ age + sex + ecog", LUNG, status="died", dist=request.param).fit(), AFTS[request.param]


def test_aft(aft):
    res, record = aft
    digits = STOPPED if record["dist"] == "lognormal" else R_DIGITS
    close_to_largest(res.params, record["params"], digits)
    same_covariance(res.cov_params(), record["cov"], digits)
    assert res.llf == pytest.approx(record["loglik"], rel=R_DIGITS)
    assert res.llnull == pytest.approx(record["null"], rel=R_DIGITS)
    assert res.diagnostics.decrement < 1e-16
    same_covariance(res.with_cov("HC0").cov_params(), record["hc0"], digits)
    same_covariance(res.with_cov(bh.Cluster(LUNG["inst"], "CR1")).cov_params(), record["cluster"], digits)


def test_predictions_of_times(aft):
    res, record = aft
    digits = STOPPED if record["dist"] == "lognormal" else R_DIGITS
    close_to_largest(res.predict()[:5], record["response"], digits)
    close_to_largest(res.resid_response[:5], LUNG["time"][:5] - record["response"], digits)
    close_to_largest(res.predict(which="linear")[:5], record["linear"], digits)
    close_to_largest(res.quantiles(0.25)[:5], record["quantile"], digits)
    close_to_largest(res.get_prediction().summary_frame()["se"][:5], record["response_se"], digits)
