"""`fit_at`: parameters that were found elsewhere have every covariance."""

import numpy as np
import pytest
import statsmodels.api as sm
import torch

import betahat as bh

# Newton's own optimum, taken as it is: the same sums.
CLOSE = 1e-11


def _data():
    random = np.random.default_rng(0)
    x = np.column_stack([np.ones(200), random.normal(size=(200, 2))])
    index = x @ [0.2, 0.5, -0.4]
    return {
        "OLS": bh.OLS(index + random.normal(size=200), x),
        "Logit": bh.Logit((random.uniform(size=200) < 1 / (1 + np.exp(-index))) * 1, x),
        "Probit": bh.Probit((random.normal(size=200) < index) * 1, x),
        "Poisson": bh.Poisson(random.poisson(np.exp(index)), x),
        "MNLogit": bh.MNLogit(random.integers(0, 3, 200), x),
    }


@pytest.mark.parametrize(
    "cov", [bh.Classical(), bh.HC0(), bh.Cluster(np.arange(200) % 11), bh.HAC(2), bh.Bootstrap(19, seed=1)], ids=repr
)
@pytest.mark.parametrize("name", _data())
def test_covariances_are_those_of_the_fit(name, cov):
    model = _data()[name]
    res = model.fit()
    params = np.asarray(res.params)
    taken = bh.fit_at(model.problem, params.T.reshape(-1))
    np.testing.assert_allclose(cov(taken).matrix, res.with_cov(cov).cov.matrix, rtol=CLOSE, atol=1e-15)
    assert taken.diagnostics.route == "as given"
    assert taken.diagnostics.decrement < 1e-20
    assert not taken.diagnostics.converged


def test_a_torch_model():
    torch.manual_seed(0)
    x, y = torch.randn(80, 2, dtype=torch.float64), torch.randn(80, dtype=torch.float64)
    model = bh.TorchModel(torch.nn.Linear(2, 1), torch.nn.MSELoss(), x, y)
    res = model.fit("HC1")
    taken = bh.fit_at(model.problem, res.fit.params)
    np.testing.assert_allclose(bh.HC1()(taken).matrix, res.cov.matrix, rtol=1e-9)


def test_parameters_of_another_package():
    model = _data()["Logit"]
    theirs = sm.Logit(model.endog, model.exog).fit(disp=False)
    ours = bh.HC0()(bh.fit_at(model.problem, theirs.params)).matrix
    robust = sm.Logit(model.endog, model.exog).fit(disp=False, cov_type="HC0").cov_params()
    np.testing.assert_allclose(ours, robust, rtol=1e-6)  # statsmodels stops at 1e-8


def test_bad_input():
    problem = _data()["Logit"].problem
    with pytest.raises(bh.OptionError, match="one number for each of the 3 parameters"):
        bh.fit_at(problem, [1.0, 2.0])
    with pytest.raises(bh.OptionError, match="bread is 'hessian'"):
        bh.fit_at(problem, [1.0, 2.0, 3.0], "hessian")
    with pytest.raises(bh.OptionError, match="pass the problem of a model"):
        bh.fit_at(_data()["OLS"], [1.0, 2.0, 3.0])
    with pytest.raises(bh.EstimationError, match="standard errors from the optimum"):
        bh.Classical()(bh.fit_at(problem, [1.0, 2.0, 3.0]))
