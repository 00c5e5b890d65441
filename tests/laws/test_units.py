"""Units beyond those whose squares a double holds: the right numbers, or one sentence."""

import numpy as np
import pytest
import torch
from support.closeness import close

import betahat as bh

# A power of ten is not exact, so that data in another unit are other data by some roundings; collinearity multiplies them by ten or so.
ROUNDING = 1e-9

N = 72
GROUPS = np.arange(N) % 12
COVARIANCES = {
    "nonrobust": "nonrobust",
    "HC0": "HC0",
    "HC1": "HC1",
    "HC2": "HC2",
    "HC3": "HC3",
    "HC4": "HC4",
    "OPG": bh.OPG(),
    "fixed scale": None,
    "cluster": bh.Cluster(GROUPS),
    "CR2": bh.Cluster(GROUPS, kind="CR2"),
    "CR3": bh.Cluster(GROUPS, kind="CR3"),
    "jackknife": bh.Jackknife(),
    "cluster jackknife": bh.Jackknife(GROUPS),
    "HAC": bh.HAC(3),
    "HAC by Andrews": bh.HAC(bandwidth="andrews", prewhiten=1),
    "HAC by Newey and West": bh.HAC(bandwidth="newey-west"),
    "Driscoll-Kraay": bh.DriscollKraay(GROUPS),
    "bootstrap": bh.Bootstrap(49, seed=1),
    "wild clusters": bh.Bootstrap(99, "wild", seed=1, clusters=GROUPS),
}
# Factors of y and of X, of which the coefficients' variances can be held, or not.
HELD = [(1e90, 1e90), (1e-130, 1e-130), (1.0, 1e130), (1e70, 1e-60)]
NOT_HELD = [(1e-90, 1e90), (1e90, 1e-90), (1e-60, 1e100)]


def _data(n=N):
    rng = np.random.default_rng(5)
    x = np.column_stack([np.ones(n), rng.normal(size=(n, 2))])
    return rng.normal(size=n) * (1.0 + x[:, 1] ** 2) + x @ [1.0, 0.3, -0.2], x


def _estimator(name, y_factor):
    return bh.FixedScale(1.7 * y_factor**2) if name == "fixed scale" else COVARIANCES[name]


def _weights():
    return np.random.default_rng(6).uniform(0.5, 2.0, N)


MODELS = {
    "OLS": bh.OLS,
    "OLS of large data": bh.OLS,
    "WLS": lambda y, x: bh.WLS(y, x, weights=_weights()),
    "MEstimator": lambda y, x: bh.MEstimator(_squared, {"b": torch.zeros(3, dtype=torch.float64)}, {"y": y, "x": x}),
}


def _squared(p, d):
    return 0.5 * (d["y"] - d["x"] @ p["b"]) ** 2


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::betahat.errors.ClusterWarning")
@pytest.mark.parametrize("name", COVARIANCES)
@pytest.mark.parametrize("model", ["OLS", "OLS of large data", "WLS"])
@pytest.mark.parametrize(("y_factor", "x_factor"), HELD)
def test_tests_and_intervals_in_any_unit(monkeypatch, model, name, y_factor, x_factor):
    if model == "OLS of large data":
        monkeypatch.setattr("betahat.data.design._SMALL", 0)
    y, x = _data()
    true = MODELS[model](y, x).fit(_estimator(name, 1.0))
    found = MODELS[model](y * y_factor, x * x_factor).fit(_estimator(name, y_factor))
    unit = y_factor / x_factor
    close(found.params, true.params * unit, ROUNDING)
    close(found.bse, true.bse * unit, ROUNDING)
    close(found.tvalues, true.tvalues, ROUNDING)
    close(found.pvalues, true.pvalues, ROUNDING)
    close(found.conf_int(), true.conf_int() * unit, ROUNDING)
    close(found.f_test(np.eye(3)[1:]).statistic, true.f_test(np.eye(3)[1:]).statistic, ROUNDING)
    close(found.f_test(np.eye(3)[1:]).pvalue, true.f_test(np.eye(3)[1:]).pvalue, ROUNDING)
    new = x[:5] + 0.5
    close(
        found.get_prediction(new * x_factor).summary_frame(),
        true.get_prediction(new).summary_frame() * y_factor,
        ROUNDING,
    )
    close(found.delta(lambda p: p[1] / p[2]).bse, true.delta(lambda p: p[1] / p[2]).bse, ROUNDING)


CASES = [(model, name) for model in ("OLS", "OLS of large data") for name in COVARIANCES]
CASES += [(model, name) for model in ("WLS", "MEstimator") for name in ("HC0", "cluster", "HAC", "bootstrap")]


@pytest.mark.parametrize(("model", "name"), CASES)
@pytest.mark.parametrize(("y_factor", "x_factor"), NOT_HELD)
def test_variances_that_no_number_holds_are_refused(monkeypatch, model, name, y_factor, x_factor):
    if model == "OLS of large data":
        monkeypatch.setattr("betahat.data.design._SMALL", 0)
    y, x = _data()
    with pytest.raises(bh.EstimationError, match="cannot be held in a number"):
        MODELS[model](y * y_factor, x * x_factor).fit(cov_type=_estimator(name, y_factor))


@pytest.mark.parametrize("factor", [1e-170, 1e-300, 1e250])
@pytest.mark.parametrize("name", COVARIANCES)
def test_restrictions_in_any_unit(name, factor):
    """A restriction times a number is the same restriction."""
    y, x = _data()
    res = bh.OLS(y, x).fit(_estimator(name, 1.0))
    matrix, values = np.array([[0.0, 1.0, -1.0], [0.0, 2.0, 1.0]]), np.array([0.1, 0.2])
    true, found = res.t_test((matrix, values)), res.t_test((matrix * factor, values * factor))
    close(found.tvalue, true.tvalue, ROUNDING)
    close(found.pvalue, true.pvalue, ROUNDING)
    close(found.sd, true.sd * factor, ROUNDING)
    close(found.conf_int(), true.conf_int() * factor, ROUNDING)
    mixed = np.array([factor, 1.0])
    true, found = res.f_test((matrix, values)), res.f_test((matrix * mixed[:, None], values * mixed))
    close(found.statistic, true.statistic, ROUNDING)
    close(found.pvalue, true.pvalue, ROUNDING)
    close(res.get_prediction(x[:3] * factor).se_mean, res.get_prediction(x[:3]).se_mean * factor, ROUNDING)
    scaled = res.delta(lambda p: torch.stack([p[1], p[2]]) * factor)
    close(scaled.bse, np.asarray(res.delta(lambda p: torch.stack([p[1], p[2]])).bse) * factor, ROUNDING)
    close(scaled.pvalue, res.delta(lambda p: torch.stack([p[1], p[2]])).pvalue, ROUNDING)


@pytest.mark.parametrize("name", ["nonrobust", "HC0", "HC3", "CR2", "bootstrap"])
def test_columns_of_wildly_different_scale(name):
    y, x = _data()
    factors = np.array([1.0, 1e120, 1e-120])
    true, found = bh.OLS(y, x).fit(COVARIANCES[name]), bh.OLS(y, x * factors).fit(COVARIANCES[name])
    close(found.tvalues, true.tvalues, ROUNDING)
    close(found.pvalues, true.pvalues, ROUNDING)
    close(found.f_test(np.eye(3)[1:]).statistic, true.f_test(np.eye(3)[1:]).statistic, ROUNDING)
    close(found.get_prediction(x[:4] * factors).se_mean, true.get_prediction(x[:4]).se_mean, ROUNDING)


@pytest.mark.parametrize("formula", ["logit", "probit", "poisson", "mnlogit"])
@pytest.mark.parametrize("factor", [1e130, 1e-130])
@pytest.mark.parametrize("name", ["nonrobust", "HC0", "CR3", "HAC"])
def test_discrete_models_in_any_unit(formula, factor, name):
    y, x = _data()
    model = {"logit": bh.Logit, "probit": bh.Probit, "poisson": bh.Poisson, "mnlogit": bh.MNLogit}[formula]
    outcome = np.digitize(y, [-0.5, 1.5]) if formula in ("poisson", "mnlogit") else (y > 0).astype(float)
    factors = np.array([1.0, factor, 1.0])
    true, found = (
        model(outcome, x).fit(cov_type=COVARIANCES[name]),
        model(outcome, x * factors).fit(cov_type=COVARIANCES[name]),
    )
    close(found.tvalues, true.tvalues, ROUNDING)
    close(found.pvalues, true.pvalues, ROUNDING)
    close(found.get_margeff().tvalues, true.get_margeff().tvalues, ROUNDING)
