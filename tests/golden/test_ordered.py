"""OrderedModel against R: ordinal::clm and MASS::polr, with sandwich. `ordered.R` wrote R's numbers to `ordered.json`."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from support.closeness import close, close_to_largest, same_covariance

import betahat as bh

# clm ends by Newton's method at a gradient of 1e-12, some 1e-13 standard errors from the optimum.
R_DIGITS = 1e-10
# polr ends by BFGS, at 1e-7 standard errors, and differentiates numerically, which leaves 1e-5 of an error.
POLR, POLR_ERRORS = 1e-6, 1e-5
# Of a Cauchy distribution clm and polr leave out what is beyond 1e5 and 100: 3e-6 and 3e-3 of it, and more of rare categories.
CUT_OFF, POLR_CUT_OFF = 1e-3, 0.2

GOLDEN = json.loads(Path(__file__).with_name("ordered.json").read_text())
RECORDS = {f"{data} {r['distr']}": (data, r) for data in ("wine", "housing") for r in GOLDEN[data]}


def _wine():
    frame = pd.DataFrame(GOLDEN["data"]["wine"])
    frame["rating"] = pd.Categorical(frame["rating"], ordered=True)
    return "rating ~ C(temp) + C(contact)", frame, {}


def _housing():
    frame = pd.DataFrame(GOLDEN["data"]["housing"])
    frame["Sat"] = pd.Categorical(frame["Sat"], ["Low", "Medium", "High"], ordered=True)
    frame["Infl"] = pd.Categorical(frame["Infl"], ["Low", "Medium", "High"])
    frame["Type"] = pd.Categorical(frame["Type"], ["Tower", "Apartment", "Atrium", "Terrace"])
    frame["Cont"] = pd.Categorical(frame["Cont"], ["Low", "High"])
    return "Sat ~ C(Infl) + C(Type) + C(Cont)", frame, {"freq_weights": "Freq"}


DATA = {"wine": _wine(), "housing": _housing()}


@pytest.fixture(scope="module", params=RECORDS)
def both(request):
    data, record = RECORDS[request.param]
    formula, frame, options = DATA[data]
    return bh.ordered(formula, frame, distr=record["distr"], **options).fit(), record, data


def _turned(res, covariance=None):
    """R's parameters, coefficients and then cut points, and their covariance."""
    res = res if covariance is None else res.with_cov(covariance)
    width = len(res.params) - len(res.thresholds.params)
    turn = np.vstack([np.eye(len(res.params))[:width], res.thresholds.found.jacobian])
    params = np.concatenate([np.asarray(res.params)[:width], np.asarray(res.thresholds.params)])
    return params, turn @ np.asarray(res.cov_params()) @ turn.T


def test_estimates_and_errors(both):
    res, record, _ = both
    params, covariance = _turned(res)
    cauchy = record["distr"] == "cauchit"
    close_to_largest(params, record["params"], CUT_OFF if cauchy else R_DIGITS)
    same_covariance(covariance, record["cov"], CUT_OFF if cauchy else R_DIGITS)
    if cauchy:
        assert res.llf >= record["loglik"]
    else:
        assert res.llf == pytest.approx(record["loglik"], rel=R_DIGITS)
    assert res.diagnostics.decrement < 1e-16


def test_polr(both):
    res, record, _ = both
    params, covariance = _turned(res)
    cauchy = record["distr"] == "cauchit"
    close_to_largest(params, record["polr"]["params"], POLR_CUT_OFF if cauchy else POLR)
    close(np.sqrt(np.diag(covariance)), record["polr"]["se"], POLR_CUT_OFF if cauchy else POLR_ERRORS)
    if not cauchy:
        close_to_largest(np.asarray(res.predict())[:5], record["polr"]["probs"], POLR)


def test_probabilities_with_errors_and_intervals(both):
    res, record, _ = both
    room = CUT_OFF if record["distr"] == "cauchit" else R_DIGITS
    found, theirs = res.get_prediction(), {name: np.array(part) for name, part in record["predicted"].items()}
    bounds = found.conf_int()
    for mine, name in (
        (found.predicted, "fit"),
        (found.se, "se.fit"),
        (bounds[..., 0], "lwr"),
        (bounds[..., 1], "upr"),
    ):
        close_to_largest(np.asarray(mine)[:5], theirs[name], room)


def test_sandwiches(both):
    res, record, data = both
    if "hc0" not in record:
        assert data == "housing" or record["distr"] == "loglog"
        return
    room = CUT_OFF if record["distr"] == "cauchit" else R_DIGITS
    same_covariance(_turned(res, "HC0")[1], record["hc0"], room)
    judge = np.array(GOLDEN["data"]["wine"]["judge"], dtype=float)
    with pytest.warns(bh.ClusterWarning):
        same_covariance(_turned(res, bh.Cluster(judge, kind="CR1"))[1], record["cluster"], room)
