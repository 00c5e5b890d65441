"""Modules of several outputs with a squared error against R's lm(cbind(...)) and sandwich.

`multivariate.R` wrote R's numbers to `multivariate.json`.
"""

import json
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from support.closeness import same_covariance
from torch import nn

import betahat as bh

# R's Householder QR and betahat's optimum each have some thirteen digits of these well-conditioned designs.
R_DIGITS = 2e-12

GOLDEN = json.loads(Path(__file__).with_name("multivariate.json").read_text())["models"]


@pytest.fixture(scope="module", params=GOLDEN)
def case(request):
    r = {key: np.array(value) if isinstance(value, list) else value for key, value in GOLDEN[request.param].items()}
    x, y = torch.as_tensor(r["x"]), torch.as_tensor(r["y"])
    module = nn.Linear(x.shape[1], y.shape[1], bias=False)
    return r, bh.TorchModel(module, nn.MSELoss(), x, y).fit()


def test_the_default_is_sigma_kronecker_the_inverse_gram(case):
    r, res = case
    np.testing.assert_allclose(res.state()["weight"].T, r["coef"], rtol=R_DIGITS)
    same_covariance(res.cov_params(), r["vcov"], R_DIGITS)
    assert res.cov_type == "nonrobust"
    assert res.df_resid == r["df_residual"]


def test_t_tests_have_the_degrees_of_freedom_of_one_equation(case):
    r, res = case
    assert res.use_t
    np.testing.assert_allclose(res.tvalues, r["t_values"].T.ravel(), rtol=R_DIGITS)
    np.testing.assert_allclose(res.pvalues, r["p_values"].T.ravel(), rtol=1e-10)  # |t| dt of relative error
    single = res.t_test(np.eye(len(res.params))[:2])
    np.testing.assert_allclose(single.pvalue, r["p_values"].T.ravel()[:2], rtol=1e-10)
    assert res.f_test(np.eye(len(res.params))[:2]).df_denom == r["df_residual"]
    assert re.search(rf"Df Residuals: +{int(r['df_residual'][0])}\n", str(res.summary()))


@pytest.mark.parametrize("kind", ["HC0", "HC1", "HC2", "HC3", "HC4", "HC4m", "HC5"])
def test_heteroskedasticity_is_sandwichs(case, kind):
    r, res = case
    same_covariance(res.with_cov(kind).cov_params(), np.array(r["vcovHC"][kind]), R_DIGITS)


@pytest.mark.filterwarnings("ignore:groups has 11 clusters, and a single row in 3")
def test_clusters_are_sandwichs(case):
    """vcovCL of an mlm takes HC0 with G / (G - 1) unless told otherwise, as of a glm."""
    r, res = case
    same_covariance(res.with_cov(bh.Cluster(r["cluster"], correction="sandwich")).cov_params(), r["vcovCL"], R_DIGITS)
    same_covariance(res.with_cov(bh.Cluster(r["cluster"], kind="CR1")).cov_params(), r["vcovCL"], R_DIGITS)
    same_covariance(res.with_cov(bh.Cluster(r["cluster"], kind="CR0")).cov_params(), r["vcovCL_unadjusted"], R_DIGITS)
