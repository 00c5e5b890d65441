"""PHReg against R's survival package: coxph, its residuals, robust variances, baseline hazards and concordance.

`phreg.R` wrote R's numbers to `phreg.json`.
"""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from support.closeness import close, close_to_largest, same_covariance

import betahat as bh

# R's Newton steps end at a change of the log-likelihood of 1e-14, at the optimum but for rounding: found within 5e-14.
R_DIGITS = 1e-11

GOLDEN = json.loads(Path(__file__).with_name("phreg.json").read_text())["records"]
pytestmark = pytest.mark.filterwarnings("ignore::betahat.ClusterWarning")


@pytest.fixture(scope="module", params=GOLDEN)
def both(request):
    """R's record and our fit of its data."""
    record = GOLDEN[request.param]
    data = pd.DataFrame(record["data"])
    beside = {
        ours: data.get(theirs)
        for ours, theirs in [("entry", "entry"), ("strata", "stratum"), ("offset", "offset"), ("weights", "weight")]
    }
    x = pd.DataFrame(np.array(record["x"], dtype=float), columns=record["names"])
    return record, bh.PHReg(data["time"], x, data["status"], **beside, ties=record["ties"]).fit()


def test_estimates(both):
    record, res = both
    close(res.params, record["coef"], R_DIGITS)
    same_covariance(res.cov_params(), record["var"], R_DIGITS)
    close([res.llnull, res.llf], record["loglik"], R_DIGITS)
    assert res.converged
    assert res.diagnostics.decrement < 1e-16


def test_lin_and_wei_is_hc0(both):
    record, res = both
    same_covariance(res.with_cov("HC0").cov_params(), record["robust"], R_DIGITS)


def test_clusters_of_coxph_are_cr0(both):
    record, res = both
    clusters = bh.Cluster(np.array(record["data"]["id"]), kind="CR0")
    same_covariance(res.with_cov(clusters).cov_params(), record["cluster"], R_DIGITS)


def test_residuals(both):
    record, res = both
    close_to_largest(res.martingale_residuals, record["martingale"], R_DIGITS)
    close_to_largest(res.deviance_residuals, record["deviance"], R_DIGITS)
    close_to_largest(res.score_residuals, record["score"], R_DIGITS)
    naive = np.array(record["var"])
    close_to_largest(res.dfbeta, np.array(record["score"]) @ naive, R_DIGITS)


def test_schoenfeld_residuals(both):
    """R has the rows of events in the order of strata and times, rounding apart."""
    record, res = both
    data = pd.DataFrame(record["data"]).round({"time": 6})
    by = ["stratum", "time"] if "stratum" in data else ["time"]
    events = data[data["status"] == 1].sort_values(by, kind="stable").index
    close_to_largest(res.schoenfeld_residuals.loc[events], record["schoenfeld"], R_DIGITS)
    assert res.schoenfeld_residuals.loc[data["status"] == 0].isna().all(axis=None)


def test_baseline_hazard(both):
    """R's is that of a row with the mean of the offset."""
    record, res = both
    factor = np.exp(np.mean(record["data"].get("offset", 0.0)))
    r = pd.DataFrame(record["hazard"])
    strata = r["strata"].unique() if "strata" in r else [None]
    ours = list(res.baseline_cumulative_hazard_function.values())
    assert len(ours) == len(strata)
    for function, stratum in zip(ours, strata, strict=True):
        some = r if stratum is None else r[r["strata"] == stratum]
        close_to_largest(function(some["time"]) * factor, some["hazard"], R_DIGITS)


def test_expected_events(both):
    """What a row was expected to have is its cumulative hazard at its time, less that at its entry."""
    record, res = both
    expected = res.predict(pred_type="cumhaz").predicted_values
    if "entry" in record["data"]:
        data = res.model.design
        expected = expected - res.predict(data.column("entry").numpy(), pred_type="cumhaz").predicted_values
    if record["ties"] == "breslow":  # by Efron an event is not exposed to all of its own tie
        close_to_largest(expected, record["expected"], R_DIGITS)
    close_to_largest(res.model.status - res.martingale_residuals, record["expected"], R_DIGITS)


def test_concordance(both):
    record, res = both
    close(res.concordance, record["concordance"][0], R_DIGITS)


def test_tests_of_all_coefficients(both):
    record, res = both
    k = len(res.params)
    score = res.score_test(params_constrained=np.zeros(k), k_constraints=k)
    close(score.statistic, record["score_test"], R_DIGITS)
    close(res.wald_test(np.eye(k)).statistic, record["wald_test"], R_DIGITS)
    close([res.aic, res.bic], [record["aic"], record["bic"]], R_DIGITS)
    close(res.n_events, record["nevent"], R_DIGITS)


@pytest.mark.parametrize("transform", ["identity", "log", "rank", "km"])
def test_proportionality(both, transform):
    record, res = both
    if transform in record["zph"]:
        close(res.test_proportionality(transform), record["zph"][transform], R_DIGITS)
