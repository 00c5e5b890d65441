"""Modules of several outputs: each is an equation, with the standard errors of its own regression."""

import math

import numpy as np
import pytest
import torch
from support.closeness import close
from torch import nn

import betahat as bh

# Two solvers of the same problem, and sums in another order.
SOLVED = 1e-9


def _normal(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


X = _normal(60, 3, seed=1)
GROUPS = np.arange(60) % 12
MEAN = X @ torch.tensor([[0.7, -0.4], [0.2, 0.5], [-0.3, 0.1]], dtype=torch.float64)
ERRORS = _normal(60, 2, seed=2) @ torch.tensor([[1.0, 60.0], [0.0, 80.0]], dtype=torch.float64)
TARGETS = {
    "mse": MEAN + ERRORS,
    "logit": (MEAN + _normal(60, 2, seed=3) > 0).double(),
    "poisson": torch.poisson(torch.exp(MEAN), generator=torch.Generator().manual_seed(4)),
}
LOSSES = {"mse": nn.MSELoss, "logit": nn.BCEWithLogitsLoss, "poisson": nn.PoissonNLLLoss}
ALONE = {"mse": bh.OLS, "logit": bh.Logit, "poisson": bh.Poisson}
KINDS = ["nonrobust", "HC0", "HC1", "HC2", "HC3", "HC4", "HC4m", "HC5"]
CLUSTERS = ["CR0", "CR1", "CR1S", "CR1p", "CR2", "CR3", "jackknife"]


def _joint(name, **options):
    return bh.TorchModel(nn.Linear(3, 2, bias=False), LOSSES[name](), X, TARGETS[name]).fit(**options)


COVARIANCES = {
    **{kind: kind for kind in KINDS},
    **{kind: bh.Cluster(GROUPS, kind=kind) for kind in CLUSTERS},
    "HAC": bh.HAC(3, correction=True),
    "Conley": bh.Conley(np.linspace(40, 50, 60), np.linspace(0, 9, 60), cutoff=50, correction=True),
    "DriscollKraay": bh.DriscollKraay(np.arange(60) // 5, 2, correction="hac"),
}


# HC5 takes the largest leverage of all outputs, and CR2 of a Logit takes clubSandwich's root, which is not the symmetric one.
OF_R = {("mse", kind) for kind in COVARIANCES} | {
    (name, kind) for name in LOSSES for kind in COVARIANCES if kind not in ("HC5", "CR2")
}


@pytest.mark.slow
@pytest.mark.parametrize(("name", "kind"), sorted(OF_R))
def test_each_output_has_the_standard_errors_of_its_own_regression(name, kind):
    res = _joint(name).with_cov(COVARIANCES[kind])
    for j in (0, 1):
        own = ALONE[name](TARGETS[name][:, j], X).fit(COVARIANCES[kind])
        close(torch.as_tensor(res.bse).view(2, 3)[j], own.bse, SOLVED)
        close(torch.as_tensor(res.pvalues).view(2, 3)[j], own.pvalues, 1e-6)
    assert res.df_resid == 57


class Seemingly(nn.Module):
    """Two equations of their own regressors."""

    def __init__(self):
        super().__init__()
        self.first, self.second = nn.Linear(3, 1, bias=False), nn.Linear(1, 1, bias=False)

    def forward(self, x):
        return torch.cat([self.first(x), self.second(x[:, :1])], 1)


def test_equations_of_different_regressors_have_their_own_degrees_of_freedom():
    y = TARGETS["mse"]
    res = bh.TorchModel(Seemingly(), nn.MSELoss(), X, y).fit()
    first, second = bh.OLS(y[:, 0], X).fit(), bh.OLS(y[:, 1], X[:, :1]).fit()
    close(res.bse, torch.cat([first.bse, second.bse]), SOLVED)
    cross = float(first.resid @ second.resid) / math.sqrt(57 * 59)
    inverse = torch.linalg.inv(X.mT @ X) @ X.mT @ X[:, :1] / (X[:, 0] @ X[:, 0])
    torch.testing.assert_close(res.cov_params()[:3, 3:], cross * inverse, rtol=SOLVED, atol=1e-12)  # two are zero
    assert res.df_resid == 58


def test_an_output_with_as_many_coefficients_as_rows_has_no_variance():
    class Saturated(nn.Module):
        def __init__(self):
            super().__init__()
            self.level, self.slope = nn.Parameter(torch.zeros(6)), nn.Parameter(torch.zeros(1))

        def forward(self, place, x):
            return torch.stack([self.level[place], self.slope * x], 1)

    y = _normal(6, 2, seed=5)
    model = bh.TorchModel(Saturated(), nn.MSELoss(), (torch.arange(6), X[:6, 0]), y)
    with pytest.raises(bh.EstimationError, match="Output 0 has as many coefficients as rows"):
        model.fit()


class Curved(nn.Module):
    """A hidden unit that both outputs share."""

    def __init__(self):
        super().__init__()
        self.inner, self.outer = nn.Parameter(torch.tensor([0.4, 0.2, -0.3])), nn.Parameter(torch.tensor([1.0, 2.0]))

    def forward(self, x):
        return torch.tanh(x @ self.inner)[:, None] * self.outer


@pytest.mark.parametrize("bread", ["observed", "gauss-newton", "expected"])
@pytest.mark.parametrize("penalty", [None, 0.01])
def test_a_curved_module_has_the_sandwich_of_the_errors_covariance(bread, penalty):
    y = Curved().double()(X).detach() + _normal(60, 2, seed=6) @ torch.tensor([[0.1, 0.3], [0.0, 0.2]]).double()
    res = bh.TorchModel(Curved(), nn.MSELoss(), X, y, penalty=penalty).fit("nonrobust", bread=bread)

    def outputs(theta):
        return torch.tanh(X @ theta[:3])[:, None] * theta[3:]

    def total(theta):
        ridge = 0.0 if penalty is None else 0.5 * 60 * penalty * theta.square().sum()
        return 0.5 * (y - outputs(theta)).square().sum() + ridge

    jacobian = torch.autograd.functional.jacobian(outputs, res.params)
    information = torch.autograd.functional.hessian(total, res.params)
    if bread != "observed":
        information = torch.einsum("imk,iml->kl", jacobian, jacobian) + (penalty or 0.0) * 60 * torch.eye(5)
    inverse, errors = torch.linalg.inv(information), y - outputs(res.params)
    share = torch.einsum("imk,kl,iml->m", jacobian, inverse, jacobian)
    left = 60 - share * 5 / share.sum()
    sigma = errors.mT @ errors / (left * left[:, None]).sqrt()
    meat = torch.einsum("imk,mq,iql->kl", jacobian, sigma, jacobian)
    close(res.cov_params(), inverse @ meat @ inverse, 1e-7)
    assert res.df_resid == 57.5


def test_hc2_and_hc3_are_the_clusters_of_single_rows():
    """CR2 and CR3 take the matrix of a row's leverages, which no output of a curved module has to itself."""
    y = Curved().double()(X).detach() + 0.2 * _normal(60, 2, seed=6)
    res = bh.TorchModel(Curved(), nn.MSELoss(), X, y).fit(bread="gauss-newton")
    for kind, cluster in (("HC2", "CR2"), ("HC3", "CR3")):
        with pytest.warns(bh.ClusterWarning):
            rows = res.with_cov(bh.Cluster(np.arange(60), kind=cluster))
        close(res.with_cov(kind).cov_params(), rows.cov_params(), 1e-8)


def test_the_log_likelihood_is_that_of_one_normal_distribution():
    from scipy.stats import multivariate_normal

    res = _joint("mse")
    errors = np.asarray(res.resid)
    sigma = errors.T @ errors / 60
    assert res.llf == pytest.approx(multivariate_normal(cov=sigma).logpdf(errors).sum(), rel=1e-12)
    assert res.scale == pytest.approx(float(np.square(errors).sum()) / 114, rel=1e-12)
    kept = res.remove_data()
    assert (kept.llf, kept.df_resid) == (res.llf, res.df_resid)


def test_outputs_of_very_different_size_have_their_digits():
    y = TARGETS["mse"] * torch.tensor([1e-3, 1e3], dtype=torch.float64)
    res = bh.TorchModel(nn.Linear(3, 2, bias=False), nn.MSELoss(), X, y).fit("HC3")
    for j in (0, 1):  # errors of 1e-3 and 1e5, of which a sum over both keeps eight digits for the smaller
        own = bh.OLS(y[:, j], X).fit("HC3")
        close(torch.as_tensor(res.params).view(2, 3)[j], own.params, 1e-8)
        close(torch.as_tensor(res.bse).view(2, 3)[j], own.bse, 1e-8)


def test_more_outputs_than_rows_for_each_coefficient():
    y = _normal(12, 8, seed=8)
    res = bh.TorchModel(nn.Linear(3, 8, bias=False), nn.MSELoss(), X[:12], y).fit()
    errors = [bh.OLS(y[:, j], X[:12]).fit().bse for j in range(8)]
    close(res.bse, torch.cat(errors), SOLVED)


def test_outer_products_know_no_covariance_of_outputs():
    with pytest.raises(bh.EstimationError, match="OPG takes the errors of all 2 outputs to have the same variance"):
        _joint("mse").with_cov("OPG")
    with pytest.raises(bh.OptionError, match="bread='opg' takes the errors of all outputs"):
        _joint("mse", bread="opg")
    _joint("logit").with_cov("OPG")


def test_a_softmax_has_no_leverage_of_its_own():
    classes = torch.arange(60) % 3
    model = bh.TorchModel(nn.Linear(3, 3), nn.CrossEntropyLoss(), X, classes)
    with pytest.raises(
        bh.EstimationError, match="Leverage is defined for a model with one output, or whose loss adds up"
    ):
        model.fit("HC3", rank="pinv")


def test_other_routes_to_a_leverage_want_one_output():
    fit = _joint("mse").fit
    with pytest.raises(bh.EstimationError, match="A row of several outputs has a matrix of leverages"):
        fit.map_rows(lambda rows: rows.leverage)
