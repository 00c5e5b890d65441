"""Influence against the fit that it stands for: every row left out in turn, and the model fitted again."""

import pytest
import torch

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


def _close(found, true):
    torch.testing.assert_close(torch.as_tensor(found).cpu(), true, rtol=ROUNDING, atol=ROUNDING)


def test_coefficients(refits):
    _, res, without = refits
    params = _stacked(fit.params for fit in without)
    _close(res.get_influence().params_not_obsi, params)
    _close(res.get_influence().dfbeta, res.params.cpu() - params)


def test_dfbetas_and_variance(refits):
    _, res, without = refits
    influence = res.get_influence()
    variance = _stacked(fit.scale for fit in without)
    _close(influence.sigma2_not_obsi, variance)
    change = res.params.cpu() - _stacked(fit.params for fit in without)
    _close(influence.dfbetas, change / (variance[:, None] * res.normalized_cov_params.diagonal().cpu()).sqrt())


def test_fitted_values(refits, kind):
    """Cook's distance, DFFITS and the PRESS residual, from the predictions with and without the row."""
    data, res, without = refits
    influence = res.get_influence()
    root = (data.weights.sqrt() if kind == "WLS" else torch.ones_like(data.y)).cpu()
    x, y = root[:, None] * data.x.cpu(), root * data.y.cpu()
    params = _stacked(fit.params for fit in without)
    change = res.params.cpu() - params
    _close(influence.resid_press, y - (x * params).sum(1))
    assert influence.ess_press == pytest.approx(float(((y - (x * params).sum(1)) ** 2).sum()), rel=ROUNDING)
    _close(influence.cooks_distance[0], ((change @ x.T) ** 2).sum(1) / (3 * res.scale))
    errors = (_stacked(fit.scale for fit in without) * influence.hat_matrix_diag.cpu()).sqrt()
    _close(influence.dffits[0], (x * change).sum(1) / errors)
    _close(
        influence.resid_studentized_external,
        (influence.resid_press.cpu() * (1 - influence.hat_matrix_diag.cpu()).sqrt())
        / _stacked(fit.scale for fit in without).sqrt(),
    )


def test_cov_ratio(refits):
    _, res, without = refits
    ratio = _stacked(torch.linalg.det(fit.cov_params()) / torch.linalg.det(res.cov_params()) for fit in without)
    _close(res.get_influence().cov_ratio, ratio)


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
