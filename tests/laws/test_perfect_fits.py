"""Perfect fits, and dependent variables that do not vary: a sentence, and no R² of rounding errors."""

import warnings

import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn

import betahat as bh

SENTENCE = "essentially perfect fit"


def _regressors(n, k=2, seed=0, shift=0.0):
    return bh.add_constant(np.random.default_rng(seed).normal(size=(n, k)) + shift)


OUTCOMES = {
    "a combination of the regressors": lambda x: x @ np.arange(1.0, x.shape[1] + 1.0),
    "a regressor in another unit": lambda x: 2.54 * x[:, 1],
    "constant": lambda x: np.full(len(x), 0.1),
    "zero": lambda x: np.zeros(len(x)),
}


@pytest.mark.parametrize("outcome", OUTCOMES)
@pytest.mark.parametrize("covariance", ["nonrobust", "HC0", "HC1", "HC3", "opg", bh.Cluster(np.arange(200) % 20)])
@pytest.mark.parametrize("model", ["OLS", "WLS"])
def test_a_perfect_fit_says_so(model, covariance, outcome):
    if covariance == "opg" and outcome in ("zero", "constant"):
        pytest.skip("its scores have no outer products: an error")
    x = _regressors(200)
    weights = {"weights": np.random.default_rng(1).uniform(0.5, 2.0, 200)} if model == "WLS" else {}
    with pytest.warns(bh.BetahatWarning, match=SENTENCE):
        getattr(bh, model)(OUTCOMES[outcome](x), x, **weights).fit(covariance)


@pytest.mark.parametrize("outcome", OUTCOMES)
@pytest.mark.parametrize(
    ("n", "k", "shift"), [(8, 2, 0.0), (30, 3, 1e6), (1000, 20, 0.0), (100_000, 5, 1e3), (70_000, 3, 0.0)]
)
def test_sizes_and_conditions(n, k, shift, outcome):
    """Rounding grows with the rows, and with columns far from zero."""
    x = _regressors(n, k, shift=shift)
    with pytest.warns(bh.BetahatWarning, match=SENTENCE):
        bh.OLS(OUTCOMES[outcome](x), x).fit()


@pytest.mark.parametrize("wrap", [np.asarray, torch.as_tensor, pd.Series])
@pytest.mark.parametrize("size", [0.1, -7.3, 1e8, 1e-200 * 1e80])
@pytest.mark.parametrize("n", [10, 1000, 70_000])
def test_a_constant_has_no_r_squared(wrap, size, n):
    x = _regressors(n)
    with pytest.warns(bh.BetahatWarning, match=SENTENCE):
        res = bh.OLS(wrap(np.full(n, size)), pd.DataFrame(x) if wrap is pd.Series else wrap(x)).fit()
    assert np.isnan([res.rsquared, res.rsquared_adj, res.fvalue, res.f_pvalue]).all()
    assert "nan" in res.summary().as_text()


@pytest.mark.parametrize("noise", [1.0, 1e-6, 1e-9])
@pytest.mark.parametrize("mean", [0.0, 1e5])
def test_small_errors_are_errors(noise, mean):
    """Residuals of a billionth of the dependent variable are no rounding."""
    x = _regressors(200)
    y = mean + x @ [1.0, 2.0, 3.0] + noise * np.random.default_rng(2).normal(size=200)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        res = bh.OLS(y, x).fit("HC1")
    assert res.scale**0.5 == pytest.approx(noise, rel=0.2)
    assert 0 < res.rsquared <= 1


@pytest.mark.parametrize("module", ["linear", "network"])
@pytest.mark.parametrize("covariance", ["nonrobust", "HC0", "HC1"])
def test_torch_models_say_so(module, covariance):
    torch.manual_seed(0)
    x = torch.as_tensor(_regressors(60)[:, 1:])
    net = (
        nn.Linear(2, 1).double()
        if module == "linear"
        else nn.Sequential(nn.Linear(2, 1), nn.Tanh(), nn.Linear(1, 1)).double()
    )
    with torch.no_grad():
        y = net(x).clone()
    model = bh.TorchModel(net, nn.MSELoss(), x, y)
    with pytest.warns(bh.BetahatWarning, match=SENTENCE):
        model.fit(covariance)


@pytest.mark.parametrize("y", [np.full(60, 3.0), np.exp(np.arange(60.0) / 60)])
@pytest.mark.parametrize("covariance", ["HC1", bh.Cluster(np.arange(60) % 12), bh.HAC(2)])
def test_sandwiches_of_counts_that_are_fitted_perfectly(covariance, y):
    with pytest.raises(bh.EstimationError, match="no coefficient a variance: the fit is perfect, or"):
        bh.Poisson(y, bh.add_constant(np.arange(60.0)[:, None] / 60)).fit(covariance)
