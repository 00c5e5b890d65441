"""A module that computes what a built-in model does has its numbers, to the last covariance."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from support.closeness import close_to_largest, same_covariance
from support.modules import X2, Moments, Padded, draws, filled, normal
from support.torch_losses import LOSSES, classes, counts, loss_model, real, yes
from torch import nn

import betahat as bh

# The same sums of products in another order.
ROUNDING = 1e-10

# Forward mode, and some functions under vmap, import parts of torch that say so of others.
pytestmark = [
    pytest.mark.filterwarnings("ignore:.torch.jit.script. is deprecated:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:There is a performance drop because we have not yet implemented:UserWarning"),
]


X3 = bh.add_constant(X2)
COVARIANCES = ("nonrobust", "HC0", "HC1", "OPG")


def _agrees(res, other, covariances=COVARIANCES, leverage=True):
    for kind in (*covariances, *(("HC2", "HC3") if leverage else ())):
        found, true = res.with_cov(kind), other.with_cov(kind)
        same_covariance(found.cov_params(), true.cov.matrix, ROUNDING)
        close_to_largest(found.params, true.fit.params, ROUNDING)
        close_to_largest(found.tvalues, true.fit.params / true.cov.matrix.diagonal().sqrt(), 1e-8)
    assert res.llf == pytest.approx(other.llf, rel=1e-12)
    assert res.aic == pytest.approx(other.aic, rel=1e-12)
    assert res.bic == pytest.approx(other.bic, rel=1e-12)
    assert res.df_resid == other.df_resid
    assert res.nobs == other.nobs


MODELS = {
    "OLS": (bh.OLS, nn.MSELoss(), real),
    "OLS by a curve": (bh.OLS, nn.MSELoss(), real),
    "Logit": (bh.Logit, nn.BCEWithLogitsLoss(), yes),
    "Logit by a curve": (bh.Logit, nn.BCEWithLogitsLoss(), yes),
    "Logit of probabilities": (bh.Logit, nn.BCELoss(), yes),
    "Poisson": (bh.Poisson, nn.PoissonNLLLoss(), counts),
    "Poisson by a curve": (bh.Poisson, nn.PoissonNLLLoss(), counts),
    "Poisson of means": (bh.Poisson, nn.PoissonNLLLoss(log_input=False, eps=0.0), counts),
}


class Flat(nn.Module):
    """A linear index that the solver does not know to be linear."""

    def __init__(self, last):
        super().__init__()
        self.index, self.last = nn.Linear(3, 1, bias=False), last

    def forward(self, x):
        index = self.index(x)
        index = index + 1e-30 * index**3 if self.last is None else index
        return self.last(index) if self.last else index


@pytest.mark.parametrize("name", MODELS)
def test_a_linear_module_is_the_built_in_model(name):
    kind, loss, target = MODELS[name]
    y = target()
    last = {"Logit of probabilities": nn.Sigmoid(), "Poisson of means": torch.exp}.get(name)
    module = nn.Linear(3, 1, bias=False) if last is None and "curve" not in name else Flat(last)
    res = bh.TorchModel(filled(module, 2, 0.2), loss, X3, y).fit()
    plain = last is None
    _agrees(res, kind(y[:, 0], X3).fit(), leverage=plain)
    if last is None:
        other = kind(y[:, 0], X3).fit()
        me, true = (r.get_margeff() for r in (res, other)) if kind is not bh.OLS else (None, None)
        if me is not None:
            close_to_largest(me.margeff, true.margeff, ROUNDING)
            close_to_largest(me.margeff_se, true.margeff_se, 1e-8)


def test_padded_logits_are_mnlogit():
    y = classes()
    other = bh.MNLogit(y, X3).fit()
    for module, loss in (
        (Padded(3, 3), nn.CrossEntropyLoss()),
        (nn.Sequential(Padded(3, 3), nn.LogSoftmax(1)), nn.NLLLoss()),
    ):
        _agrees(bh.TorchModel(module, loss, X3, y).fit(), other, leverage=False)


def test_a_probit_of_ones_own():
    y = yes()

    def loss(output, target):
        return -torch.special.log_ndtr((2 * target - 1) * output).sum()

    res = bh.TorchModel(nn.Linear(3, 1, bias=False), loss, X3, y, likelihood=True).fit()
    _agrees(res, bh.Probit(y[:, 0], X3).fit(), leverage=True)


@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
@pytest.mark.parametrize(
    "name",
    ["BCEWithLogitsLoss", "PoissonNLLLoss", "CrossEntropyLoss", pytest.param("NLLLoss"), "BCELoss"],
)
def test_a_function_of_ones_own_is_the_recognised_loss(name, reduction):
    recognised, make, target = LOSSES[name]
    inner = recognised(reduction)

    def function(output, target):
        return inner(output, target)

    y = target()[:, 0] if name == "BCELoss" else target()
    own = bh.TorchModel(filled(make(), 3, 0.3), function, X2, y, likelihood=True).fit()
    true = loss_model(name).fit()
    for kind in COVARIANCES:
        same_covariance(own.with_cov(kind).cov_params(), true.with_cov(kind).cov_params(), 1e-9)


def test_a_mean_and_its_variance():
    """With a constant variance the mean is least squares', the variance RSS / n, and its logarithm has variance 2 / n."""
    y = real()
    res = bh.TorchModel(Moments(False), nn.GaussianNLLLoss(full=True), X2, y).fit()
    ols = bh.OLS(y[:, 0], X3).fit()
    order = [1, 2, 0]
    close_to_largest(res.state()["mean.weight"][0], ols.params[order[:2]], ROUNDING)
    assert float(res.state()["constant"].exp()) == pytest.approx(ols.ssr / 60, rel=1e-9)
    same_covariance(res.cov_params()[1:, 1:], (ols.cov_params() * 57 / 60)[order][:, order], 1e-9)
    assert float(res.cov_params()[0, 0]) == pytest.approx(2 / 60, rel=1e-9)
    assert res.llf == pytest.approx(ols.llf, rel=1e-12)
    assert res.names == ("constant", "mean.weight[0,0]", "mean.weight[0,1]", "mean.bias")


def test_least_squares_of_several_outputs_has_the_sandwich_of_its_rows():
    y = torch.cat([real(1), real(2)], 1)
    res = bh.TorchModel(nn.Linear(3, 2, bias=False), nn.MSELoss(), X3, y).fit("HC0")
    parts = [bh.OLS(y[:, j], X3).fit("HC0") for j in (0, 1)]
    for j in (0, 1):
        same_covariance(res.cov_params()[3 * j : 3 * j + 3, 3 * j : 3 * j + 3], parts[j].cov_params(), ROUNDING)
    bread = torch.linalg.inv(X3.mT @ X3)
    meat = X3.mT @ (parts[0].resid * parts[1].resid)[:, None].mul(X3)
    close_to_largest(res.cov_params()[:3, 3:], bread @ meat @ bread, 1e-9)


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 10**6), st.integers(1, 3), st.sampled_from(["mse", "logit", "counts"]), st.booleans())
def test_random_linear_modules_are_the_built_in_models(seed, width, loss, single):
    x = normal(40, width, seed=seed)
    index = x @ normal(width, 1, seed=seed + 1) * 0.5
    kind, torch_loss, y = {
        "mse": (bh.OLS, nn.MSELoss(), index + normal(40, 1, seed=seed + 2)),
        "logit": (bh.Logit, nn.BCEWithLogitsLoss(), (index + normal(40, 1, seed=seed + 2) > 0).double()),
        "counts": (bh.Poisson, nn.PoissonNLLLoss(), torch.poisson(index.exp(), generator=draws(seed))),
    }[loss]
    x, y = (x.float(), y.float()) if single else (x, y)
    try:
        true = kind(y[:, 0], x).fit("HC3")
    except bh.BetahatError as error:
        with pytest.raises(type(error)):
            bh.TorchModel(nn.Linear(width, 1, bias=False), torch_loss, x, y).fit("HC3")
        return
    res = bh.TorchModel(nn.Linear(width, 1, bias=False), torch_loss, x, y).fit("HC3")
    close_to_largest(res.params, true.fit.params, 1e-8)
    same_covariance(res.cov_params(), true.cov.matrix, 1e-8)


@settings(max_examples=10, deadline=None)
@given(st.integers(0, 10**6), st.floats(-2, 2), st.floats(0.1, 2))
def test_random_curves_scale_with_their_target(seed, slope, noise):
    """y in other units: the amplitude's error follows, the slope's stays, and so do all t values."""

    class Wave(nn.Module):
        def __init__(self):
            super().__init__()
            self.amplitude, self.shift = nn.Parameter(torch.tensor(1.0)), nn.Parameter(torch.tensor(0.0))

        def forward(self, x):
            return self.amplitude * torch.tanh(x) + self.shift * x

    x = normal(30, seed=seed)
    y = torch.tanh(x) + slope * x + noise * normal(30, seed=seed + 1)
    one, other = (bh.TorchModel(Wave(), nn.MSELoss(), x, c * y).fit("HC3") for c in (1.0, 1000.0))
    close_to_largest(other.params, 1000 * one.params, 1e-8)
    close_to_largest(other.tvalues, one.tvalues, 1e-8)
