"""MEstimator: how a loss may be called, the same numbers as TorchModel, and least squares by Gauss and Newton."""

import copy
import pickle

import numpy as np
import pandas as pd
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from support.closeness import same_covariance
from torch import nn

import betahat as bh

# The same sums of products in another order; optima to 1e-12 standard errors.
ROUNDING = 1e-9

pytestmark = [
    pytest.mark.filterwarnings("ignore:.torch.jit.script. is deprecated:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:There is a performance drop because we have not yet implemented:UserWarning"),
]


def _normal(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


N = 50
X = torch.cat([torch.ones(N, 1).double(), _normal(N, 2, seed=1)], 1)
Y = X @ torch.tensor([0.5, 1.0, -0.7]).double() + _normal(N, seed=2)
YES = (Y > 0).double()
COUNTS = torch.poisson((0.4 * X[:, 1] + 0.5).exp(), generator=torch.Generator().manual_seed(3))
START = {"beta": torch.zeros(3)}
DATA = {"x": X, "y": Y}


def _half_square(p, d):
    return 0.5 * (d["y"] - d["x"] @ p["beta"]) ** 2


def _log_cosh(p, d):
    return torch.log(torch.cosh(d["y"] - d["x"] @ p["beta"]))


class Callable:
    def __call__(self, p, d):
        return _log_cosh(p, d)


# calling conventions

CALLS = {
    "two dicts": _log_cosh,
    "dicts of other names": lambda theta, rows: torch.log(torch.cosh(rows["y"] - rows["x"] @ theta["beta"])),
    "by name": lambda beta, x, y: torch.log(torch.cosh(y - x @ beta)),
    "by name in another order": lambda y, beta, x: torch.log(torch.cosh(y - x @ beta)),
    "parameters, then data by name": lambda p, x, y: torch.log(torch.cosh(y - x @ p["beta"])),
    "parameters, then data in another order": lambda p, y, x: torch.log(torch.cosh(y - x @ p["beta"])),
    "keywords alone": lambda *, x, y, beta: torch.log(torch.cosh(y - x @ beta)),
    "an option of its own": lambda beta, x, y, scale=1.0: torch.log(torch.cosh((y - x @ beta) / scale)),
    "an object": Callable(),
    "a column": lambda p, d: _log_cosh(p, d)[:, None],
    "a single row": lambda p, d: torch.log(torch.cosh(d["y"] - torch.dot(d["x"], p["beta"]))),
    "a single row by name": lambda beta, x, y: torch.log(torch.cosh(y - torch.dot(x, beta))),
    "a single row of shape (1,)": lambda p, x, y: torch.log(torch.cosh(y - torch.dot(x, p["beta"])))[None],
    "a single row, summed": lambda p, d: torch.log(torch.cosh(d["y"] - (d["x"] * p["beta"]).sum())),
    "a loop over the rows": lambda p, d: torch.stack([_log_cosh(p, {"x": x, "y": y}) for x, y in zip(d["x"], d["y"], strict=True)]),
    "a branch in each row": lambda p, d: torch.stack([
        F.softplus(2 * e) - e - np.log(2) if e.item() > 0 else F.softplus(-2 * e) + e - np.log(2) for e in d["y"] - d["x"] @ p["beta"]
    ]),
}  # fmt: skip


@pytest.mark.parametrize("name", CALLS)
def test_calling_conventions(name):
    res = bh.MEstimator(CALLS[name], START, DATA).fit()
    true = bh.TorchModel(nn.Linear(3, 1, bias=False), lambda o, t: torch.log(torch.cosh(t - o[:, 0])), X, Y).fit()
    torch.testing.assert_close(res.params, true.params, rtol=ROUNDING, atol=ROUNDING)
    same_covariance(res.cov_params(), true.cov_params(), ROUNDING)
    same_covariance(res.with_cov("HC1").cov_params(), true.with_cov("HC1").cov_params(), ROUNDING)
    assert res.names == ("beta[0]", "beta[1]", "beta[2]")
    assert res.cov_type == "HC0"


def test_naive_scores_hessian_and_sandwich():
    res = bh.MEstimator(_log_cosh, START, DATA).fit()
    theta, residual = res.params, Y - X @ res.params
    scores = torch.tanh(residual)[:, None] * X
    assert float((scores.sum(0).abs() / scores.abs().sum(0)).max()) < ROUNDING
    hessian = sum(torch.outer(x, x) / torch.cosh(e) ** 2 for x, e in zip(X, residual, strict=True))
    bread = torch.linalg.inv(hessian)
    same_covariance(res.cov_params(), bread @ scores.mT @ scores @ bread, ROUNDING)
    same_covariance(res.with_cov("HC1").cov_params(), bread @ scores.mT @ scores @ bread * N / (N - 3), ROUNDING)
    torch.testing.assert_close(res.fit.map_rows(lambda rows: rows.scores()), scores)
    assert torch.equal(theta, res.state()["beta"])


# the built-in models


LIKELIHOODS = {
    "Logit": (bh.Logit, YES, lambda beta, x, y: F.softplus(x @ beta) - y * (x @ beta)),
    "Probit": (bh.Probit, YES, lambda beta, x, y: -torch.special.log_ndtr((2 * y - 1) * (x @ beta))),
    "Poisson": (bh.Poisson, COUNTS, lambda beta, x, y: (x @ beta).exp() - y * (x @ beta) + torch.lgamma(y + 1)),
}


@pytest.mark.parametrize("name", LIKELIHOODS)
def test_likelihoods_are_the_built_in_models(name):
    kind, y, loss = LIKELIHOODS[name]
    res = bh.MEstimator(loss, START, {"x": X, "y": y}, likelihood=True).fit()
    true = kind(y, X).fit()
    assert res.cov_type == "nonrobust"
    for kinds in ("nonrobust", "HC0", "HC1", "OPG"):
        same_covariance(res.with_cov(kinds).cov_params(), true.with_cov(kinds).cov_params(), ROUNDING)
    assert res.llf == pytest.approx(true.llf, rel=1e-12)
    assert res.aic == pytest.approx(true.aic, rel=1e-12)
    opg = bh.MEstimator(loss, START, {"x": X, "y": y}, likelihood=True).fit(bread="opg")
    other = kind(y, X).fit(bread="opg")
    for kinds in ("nonrobust", "HC0"):
        same_covariance(opg.with_cov(kinds).cov_params(), other.with_cov(kinds).cov_params(), ROUNDING)


@settings(max_examples=10, deadline=None)
@given(st.integers(0, 10**6))
def test_random_logits(seed):
    x = _normal(40, 2, seed=seed)
    y = (x @ torch.tensor([0.7, -0.3]).double() + _normal(40, seed=seed + 1) > 0).double()
    loss = LIKELIHOODS["Logit"][2]
    try:
        true = bh.Logit(y, x).fit("HC1")
    except bh.EstimationError:
        return
    res = bh.MEstimator(loss, {"beta": np.zeros(2)}, {"x": x, "y": y}, likelihood=True).fit("HC1")
    same_covariance(res.cov_params(), true.cov_params(), 1e-8)


# nonlinear least squares

CURVE_X = _normal(N, seed=4)
CURVE_Y = 1.5 * torch.exp(0.4 * CURVE_X) + 0.3 * _normal(N, seed=5)


class Curve(nn.Module):
    def __init__(self):
        super().__init__()
        self.a, self.b = nn.Parameter(torch.tensor(1.0)), nn.Parameter(torch.tensor(0.1))

    def forward(self, x):
        return self.a * torch.exp(self.b * x)


def _curve(scale):
    return lambda p, d: scale * (d["y"] - p["a"] * torch.exp(p["b"] * d["x"])) ** 2


@pytest.mark.parametrize("scale", [0.5, 1.0, 20.0])
@pytest.mark.parametrize("kind", ["nonrobust", "HC0", "HC1", "HC2", "HC3"])
def test_gauss_newton_reads_half_squared_residuals(kind, scale):
    """A factor of the loss changes no standard error; nls, with its J'J, prints the same."""
    res = bh.MEstimator(_curve(scale), {"a": 1.0, "b": 0.1}, {"x": CURVE_X, "y": CURVE_Y}).fit(
        kind, bread="gauss-newton"
    )
    true = bh.TorchModel(Curve(), nn.MSELoss(), CURVE_X, CURVE_Y).fit(kind, bread="gauss-newton")
    torch.testing.assert_close(res.params, true.params, rtol=ROUNDING, atol=ROUNDING)
    same_covariance(res.cov_params(), true.cov_params(), ROUNDING)
    a, b = res.params
    jacobian = torch.stack([torch.exp(b * CURVE_X), a * CURVE_X * torch.exp(b * CURVE_X)], 1)
    residual = CURVE_Y - a * torch.exp(b * CURVE_X)
    bread = torch.linalg.inv(jacobian.mT @ jacobian)
    leverage = ((jacobian @ bread) * jacobian).sum(1)
    factor = {"HC0": 1.0, "HC1": N / (N - 2), "HC2": 1 / (1 - leverage), "HC3": 1 / (1 - leverage) ** 2}
    if kind == "nonrobust":
        same_covariance(res.cov_params(), residual @ residual / (N - 2) * bread, ROUNDING)
        assert res.use_t
        return
    meat = (jacobian * (factor[kind] * residual**2)[:, None]).mT @ jacobian
    same_covariance(res.cov_params(), bread @ meat @ bread, ROUNDING)


@pytest.mark.filterwarnings("ignore::betahat.ConvergenceWarning")
def test_a_residual_of_zero_keeps_its_jacobian():
    """Its score is zero, and its J still counts in J'J and has a leverage."""
    curve = torch.exp(0.125 * CURVE_X)
    y = curve + 0.1 * _normal(N, seed=5) * (torch.arange(N) % 7 > 0)
    module = Curve()
    with torch.no_grad():
        module.b.fill_(0.125)
    m_estimator = bh.MEstimator(_curve(0.5), {"a": 1.0, "b": 0.125}, {"x": CURVE_X, "y": y})
    assert int((m_estimator._losses(torch.tensor([1.0, 0.125]).double(), (CURVE_X, y)) == 0).sum()) == 8
    for kind in ("HC0", "HC3"):
        models = m_estimator, bh.TorchModel(module, nn.MSELoss(), CURVE_X, y)
        found, true = (m.fit(kind, bread="gauss-newton", polish=False) for m in models)
        same_covariance(found.cov_params(), true.cov_params(), ROUNDING)


def test_numbers_start_in_double_precision():
    model = bh.MEstimator(lambda p, d: (d["y"] - p["mean"]) ** 2, {"mean": 0.1}, {"y": 0.2 * Y + 0.1})
    with pytest.warns(bh.ConvergenceWarning):
        assert float(model.fit(polish=False).params[0]) == 0.1


def test_the_other_breads():
    for bread in ("observed", "gauss-newton"):
        res = bh.MEstimator(_curve(0.5), {"a": 1.0, "b": 0.1}, {"x": CURVE_X, "y": CURVE_Y}).fit("HC0", bread=bread)
        true = bh.TorchModel(Curve(), nn.MSELoss(), CURVE_X, CURVE_Y).fit("HC0", bread=bread)
        same_covariance(res.cov_params(), true.cov_params(), ROUNDING)
        assert res.diagnostics.bread == bread


def test_penalties():
    for penalty, function in (
        (2.0, lambda b: b.square().sum()),
        (lambda p: (p["beta"] ** 4).sum(), lambda b: (b**4).sum()),
    ):
        res = bh.MEstimator(_log_cosh, START, DATA, penalty=penalty).fit()
        theta = res.params
        scores = torch.tanh(Y - X @ theta)[:, None] * X
        gradient = torch.autograd.functional.jacobian(function, theta) - scores.sum(0)
        assert float(gradient.abs().max()) < ROUNDING
        hessian = (X / torch.cosh(Y - X @ theta)[:, None] ** 2).mT @ X
        bread = torch.linalg.inv(hessian + torch.autograd.functional.hessian(function, theta))
        same_covariance(res.cov_params(), bread @ scores.mT @ scores @ bread, ROUNDING)
        assert "bias" in res.cov.note


# what results have and have not


def test_parameters_by_their_tensors():
    loss = lambda p, d: _log_cosh({"beta": torch.cat([p["intercept"][None], p["beta"]])}, d)  # noqa: E731
    res = bh.MEstimator(loss, {"beta": torch.zeros(2), "intercept": 0.0}, DATA).fit()
    assert res.names == ("beta[0]", "beta[1]", "intercept")
    ratio = res.delta(lambda p: p["beta"][0] / p["intercept"])
    b, v = res.params, res.cov_params()
    gradient = torch.stack([1 / b[2], 0 * b[1], -b[0] / b[2] ** 2])
    assert float(ratio.estimate) == pytest.approx(float(b[0] / b[2]), rel=1e-12)
    assert float(ratio.bse) == pytest.approx(float((gradient @ v @ gradient) ** 0.5), rel=1e-12)
    assert float(res.t_test("beta[0] = beta[1]").pvalue) < 0.05
    assert res.state()["intercept"].shape == ()
    assert res.state()["beta"].shape == (2,)
    matrix = bh.MEstimator(
        lambda p, d: _log_cosh({"beta": p["b"][0]}, d), {"b": np.zeros((1, 3))}, DATA, names=["const", "educ", "exper"]
    ).fit()
    assert matrix.names == ("const", "educ", "exper")
    assert matrix.state()["b"].shape == (1, 3)
    assert float(matrix.delta(lambda p: p["educ"] / p["exper"]).estimate) == pytest.approx(float(b[0] / b[1]), rel=1e-9)
    assert "exper" in str(matrix.summary())


def test_predictions_are_refused():
    res = bh.MEstimator(_log_cosh, START, DATA).fit()
    for call in (res.predict, res.get_prediction, res.get_margeff, lambda: res.fittedvalues, lambda: res.resid):
        with pytest.raises(bh.EstimationError, match="row loss"):
            call()
    for kind in ("HC2", "HC3"):
        with pytest.raises(bh.EstimationError, match="Leverage"):
            res.with_cov(kind)
    with pytest.raises(bh.EstimationError, match="likelihood=True"):
        res.with_cov("nonrobust")
    with pytest.raises(bh.OptionError, match="expected"):
        res.model.fit(bread="expected")


@pytest.mark.parametrize("container", ["tensor", "numpy", "pandas"])
def test_what_goes_in_decides_what_comes_out(container):
    data = {
        "tensor": DATA,
        "numpy": {"x": X.numpy(), "y": Y.numpy()},
        "pandas": {"x": pd.DataFrame(X.numpy(), columns=list("abc")), "y": pd.Series(Y.numpy())},
    }[container]
    res = bh.MEstimator(_log_cosh, START, data).fit()
    kinds = {"tensor": torch.Tensor, "numpy": np.ndarray, "pandas": pd.Series}
    assert isinstance(res.params, kinds[container])
    assert isinstance(res.bse, kinds[container])
    torch.testing.assert_close(res.fit.params, bh.MEstimator(_log_cosh, START, DATA).fit().fit.params)


def test_tables_and_copies():
    res = bh.MEstimator(_log_cosh, START, DATA).fit()
    text = str(res.summary())
    for words in ("MEstimator", "_log_cosh", "M-estimation", "HC0", "beta[2]", "Summed loss:", "converged:"):
        assert words in text
    assert bh.compare(res, ["HC0", "HC1"]).to_frame() is not None
    assert "Loss" in bh.regtable([res, res.with_cov("HC1")]).to_text()
    assert list(res.tidy()["term"]) == list(res.names)
    assert res.glance()["loss"][0] == res.loss
    assert bool(res.glance()["logLik"].isna()[0])
    assert torch.equal(copy.deepcopy(res).cov_params(), res.cov_params())
    assert res.diagnostics.converged
    assert res.diagnostics.certificate < 1e-10
    assert "vmap" in res.diagnostics.derivatives
    with pytest.raises(bh.EstimationError):
        res.llf  # noqa: B018


def test_results_of_a_named_function_are_pickled():
    res = bh.MEstimator(_log_cosh, START, DATA).fit()
    assert torch.equal(pickle.loads(pickle.dumps(res)).params, res.params)


def test_parameters_as_they_are():
    best = bh.MEstimator(_log_cosh, START, DATA).fit()
    near = bh.MEstimator(_log_cosh, {"beta": best.params + 1e-6}, DATA).fit(polish=False)
    assert not near.converged
    assert torch.equal(near.params, best.params + 1e-6)
    with pytest.warns(bh.ConvergenceWarning, match="standard errors from the optimum"):
        bh.MEstimator(_log_cosh, START, DATA).fit(polish=False)


def test_a_loss_of_all_rows_with_a_ridge_in_it_is_refused():
    """The sum over the rows plus a ridge is no sum over rows, as TorchModel says of such a loss."""

    def loss(p, d):
        return ((d["y"] - d["x"] @ p["beta"]) ** 2).sum() + 10 * (p["beta"] ** 2).sum()

    with pytest.raises(bh.BetahatError):
        bh.MEstimator(loss, START, DATA).fit()


def test_a_loss_of_all_rows_that_adds_up():
    res = bh.MEstimator(lambda p, d: _half_square(p, d).sum(), START, DATA).fit()
    same_covariance(res.cov_params(), bh.OLS(Y, X).fit("HC0").cov_params(), ROUNDING)


def test_rows_that_depend_on_each_other_are_refused():
    with pytest.raises(bh.DataError, match="depends on other rows"):
        bh.MEstimator(lambda p, d: (d["y"] - (d["x"] @ p["beta"]).softmax(0)) ** 2, START, DATA)
