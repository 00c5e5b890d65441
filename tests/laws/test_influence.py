"""Influence against the fit that it stands for: every row left out in turn, and the model fitted again."""

import numpy as np
import pandas as pd
import pytest
import torch
from support.closeness import close_to_one

import betahat as bh

# Two fits of well-conditioned data, each within a few hundred roundings, and a difference of their results.
ROUNDING = 1e-10


@pytest.fixture(params=["OLS", "WLS"])
def kind(request):
    return request.param


@pytest.fixture
def refits(sample, kind):
    data = sample(n=30, k=3)
    keep = [torch.arange(30) != i for i in range(30)]
    model = {
        "OLS": lambda k: bh.OLS(data.y[k], data.x[k]),
        "WLS": lambda k: bh.WLS(data.y[k], data.x[k], data.weights[k]),
    }
    return data, data.model(kind).fit(), [model[kind](k.to(data.x.device)).fit() for k in keep]


def _stacked(values):
    return torch.stack([torch.as_tensor(value, dtype=torch.float64) for value in values]).cpu()


def test_coefficients(refits):
    _, res, without = refits
    params = _stacked(fit.params for fit in without)
    close_to_one(res.get_influence().params_not_obsi, params, ROUNDING)
    close_to_one(res.get_influence().dfbeta, res.params.cpu() - params, ROUNDING)


def test_dfbetas_and_variance(refits):
    _, res, without = refits
    influence = res.get_influence()
    variance = _stacked(fit.scale for fit in without)
    close_to_one(influence.sigma2_not_obsi, variance, ROUNDING)
    change = res.params.cpu() - _stacked(fit.params for fit in without)
    close_to_one(
        influence.dfbetas, change / (variance[:, None] * res.normalized_cov_params.diagonal().cpu()).sqrt(), ROUNDING
    )


def test_fitted_values(refits, kind):
    """Cook's distance, DFFITS and the PRESS residual, from the predictions with and without the row."""
    data, res, without = refits
    influence = res.get_influence()
    root = (data.weights.sqrt() if kind == "WLS" else torch.ones_like(data.y)).cpu()
    x, y = root[:, None] * data.x.cpu(), root * data.y.cpu()
    params = _stacked(fit.params for fit in without)
    change = res.params.cpu() - params
    close_to_one(influence.resid_press, y - (x * params).sum(1), ROUNDING)
    assert influence.ess_press == pytest.approx(float(((y - (x * params).sum(1)) ** 2).sum()), rel=ROUNDING)
    close_to_one(influence.cooks_distance[0], ((change @ x.T) ** 2).sum(1) / (3 * res.scale), ROUNDING)
    errors = (_stacked(fit.scale for fit in without) * influence.hat_matrix_diag.cpu()).sqrt()
    close_to_one(influence.dffits[0], (x * change).sum(1) / errors, ROUNDING)
    close_to_one(
        influence.resid_studentized_external,
        (influence.resid_press.cpu() * (1 - influence.hat_matrix_diag.cpu()).sqrt())
        / _stacked(fit.scale for fit in without).sqrt(),
        ROUNDING,
    )


def test_cov_ratio(refits):
    _, res, without = refits
    ratio = _stacked(torch.linalg.det(fit.cov_params()) / torch.linalg.det(res.cov_params()) for fit in without)
    close_to_one(res.get_influence().cov_ratio, ratio, ROUNDING)


def test_leverage(refits):
    """The leverages sum to k; each is the change of the fitted value for a unit change of the response."""
    data, res, _ = refits
    leverage = res.get_influence().hat_matrix_diag
    assert float(leverage.sum()) == pytest.approx(3, rel=ROUNDING)
    moved = data.y.clone()
    moved[7] += 1
    again = type(res.model)(moved, data.x, **({"weights": data.weights} if isinstance(res.model, bh.WLS) else {})).fit()
    assert float(again.fittedvalues[7] - res.fittedvalues[7]) == pytest.approx(float(leverage[7]), rel=ROUNDING)


def test_outlier_test_is_the_t_of_a_dummy(sample):
    """The external residual of a row is the t value of a dummy for that row."""
    data = sample(n=30, k=3)
    table = data.ols().fit().outlier_test()
    dummy = torch.zeros_like(data.y)
    dummy[4] = 1
    with_dummy = bh.OLS(data.y, torch.cat([data.x, dummy[:, None]], 1)).fit()
    assert table["student_resid"].iloc[4] == pytest.approx(float(with_dummy.tvalues[-1]), rel=ROUNDING)
    assert table["unadj_p"].iloc[4] == pytest.approx(float(with_dummy.pvalues[-1]), rel=ROUNDING)
    assert table["bonf(p)"].iloc[4] == pytest.approx(min(1, 30 * float(with_dummy.pvalues[-1])), rel=ROUNDING)


# a row that a coefficient fits exactly


def _singletons(n=60, alone=20, level=0.0, weights=False):
    """Some units with one row, each with a dummy: their leverage is one, but for rounding."""
    rng = np.random.default_rng(11)
    unit = np.r_[np.arange(alone), alone + np.arange(n - alone) % 4]
    frame = pd.DataFrame({"unit": unit, "x": rng.normal(size=n)}, index=[f"r{i}" for i in range(n)])
    frame["y"] = frame.x + unit / 7 + rng.normal(size=n) + level
    frame["w"] = rng.uniform(0.3, 3.0, size=n) if weights else 1.0
    return frame, unit < alone


@pytest.mark.parametrize("level", [0.0, 1e7])
@pytest.mark.parametrize("weights", [False, True])
def test_rows_of_leverage_one(weights, level):
    """Their measures are NaN, as R's are; those of the other rows are those of the fit without these and their dummies."""
    frame, alone = _singletons(weights=weights, level=level)
    res = bh.wls("y ~ x + C(unit)", frame, weights="w").fit() if weights else bh.ols("y ~ x + C(unit)", frame).fit()
    rest = frame[~alone]
    small = bh.wls("y ~ x + C(unit)", rest, weights="w").fit() if weights else bh.ols("y ~ x + C(unit)", rest).fit()
    found, wanted = res.get_influence(), small.get_influence()
    tolerance = {"rtol": 1e-8 if level == 0.0 else 1e-4, "atol": 1e-10 if level == 0.0 else 1e-4}
    same = (
        "resid_studentized_external",
        "resid_studentized_internal",
        "resid_press",
        "hat_diag_factor",
        "influence",
        "sigma2_not_obsi",
    )
    for name in same:
        values = getattr(found, name)
        assert np.isnan(values).tolist() == alone.tolist(), name
        np.testing.assert_allclose(values[~alone], getattr(wanted, name), **tolerance)
    np.testing.assert_allclose(found.dfbeta["x"][~alone], wanted.dfbeta["x"], **tolerance)
    np.testing.assert_allclose(found.dffits[0][~alone], wanted.dffits[0], **tolerance)
    ratio = (alone.sum() + 5) / 5  # of the coefficients, which Cook's distance counts
    np.testing.assert_allclose(found.cooks_distance[0][~alone] * ratio, wanted.cooks_distance[0], **tolerance)
    for values in (
        *found.cooks_distance,
        found.dffits[0],
        found.dffits_internal[0],
        found.cov_ratio,
        found.det_cov_params_not_obsi,
    ):
        assert np.isnan(values).tolist() == alone.tolist()
    for values in (found.dfbeta, found.dfbetas, found.params_not_obsi):
        assert np.isnan(values).all(axis=1).tolist() == alone.tolist()
        assert np.isfinite(values[~alone]).all(axis=None)
    assert np.isnan(found.ess_press)
    np.testing.assert_array_equal(found.resid_var[alone], 0.0)
    summary = found.summary_frame()
    assert summary.drop(columns="hat_diag")[alone].isna().all(axis=None)
    np.testing.assert_allclose(summary["hat_diag"][alone], 1.0, rtol=1e-12)
    cases = res.cases
    for values in (cases.standardized, cases.cooks_distance):
        assert torch.isnan(values).tolist() == alone.tolist()
    np.testing.assert_allclose(cases.cooks_distance[~alone], found.cooks_distance[0][~alone], **tolerance)
    with pytest.warns(bh.BetahatWarning, match="20 rows with a leverage of one left out"):
        assert res.plot_diagnostics().shape == (2, 2)


@pytest.mark.parametrize("method", ["bonf", "holm", "fdr_bh", "sidak"])
def test_outliers_are_looked_for_in_the_other_rows(method):
    frame, alone = _singletons(n=200, alone=120)
    found = bh.ols("y ~ x + C(unit)", frame).fit().outlier_test(method)
    wanted = bh.ols("y ~ x + C(unit)", frame[~alone]).fit().outlier_test(method)
    assert found.index.tolist() == frame.index.tolist()
    assert found[alone].isna().all(axis=None)
    np.testing.assert_allclose(found[~alone], wanted, rtol=1e-8)


def test_no_row_can_be_judged():
    """One degree of freedom is left, and none without a row."""
    frame = pd.DataFrame({"x": [1.0, 2.0, 4.0], "y": [1.0, 3.0, 2.0]})
    assert bh.ols("y ~ x", frame).fit().outlier_test()["unadj_p"].isna().all()


@pytest.mark.parametrize("model", ["logit", "probit", "poisson"])
def test_the_rows_of_a_discrete_model(model):
    """Leverage under the bread in use; an own dummy of a count has the leverage one."""
    frame, alone = _singletons(n=100, alone=3)
    frame["y"] = np.where(frame.y > 0, 2.0, 1.0) if model == "poisson" else (frame.y > frame.y.median()) * 1.0
    if model != "poisson":
        frame["unit"], alone = np.where(alone, 3, frame.unit), np.zeros(100, dtype=bool)
    cases = getattr(bh, model)("y ~ x + C(unit)", frame).fit().cases
    for values in (cases.standardized, cases.standardized_deviance, cases.cooks_distance):
        assert torch.isnan(values).tolist() == alone.tolist()
