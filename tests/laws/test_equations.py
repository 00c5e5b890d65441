"""Models of several linear indices, each with columns of its own: derivatives by autodiff, every covariance, and closed forms beside them."""

import math
from dataclasses import dataclass

import numpy as np
import pytest
import torch

import betahat as bh
from betahat.calculus.rows import Bread
from betahat.covariance.names import covariance_of, resolve
from betahat.fits.index import fit_index
from betahat.objectives.dispersion import Unity
from betahat.objectives.equation import Equation
from betahat.objectives.indices import LinearIndices
from betahat.objectives.softmax import MultinomialLogit
from betahat.objectives.support import Reals

# Two Newton solvers stop within 1e-12 standard errors; sandwiches of both are sums in another order.
CLOSE = 1e-9


@dataclass(frozen=True)
class LocationScale(LinearIndices):
    """Minus the log-likelihood of a normal y with mean eta_1 and standard deviation e^eta_2, from the loss alone."""

    dispersion = Unity()
    support = Reals()

    def losses(self, output, target):
        mean, log_sd = output.unbind(-1)
        return log_sd + 0.5 * ((target - mean) * torch.exp(-log_sd)).square() + 0.5 * math.log(2 * math.pi)

    def constant(self, target, precision):
        return

    def expected_curvature(self, output):
        information = torch.zeros(*output.shape, 2).to(output)
        information[..., 0, 0] = torch.exp(-2.0 * output[..., 1])
        information[..., 1, 1] = 2.0
        return information

    def mean(self, output):
        return output[..., 0]

    def draw(self, index, spread, uniform):
        return index[:, 0] + torch.exp(index[:, 1]) * torch.special.ndtri(uniform)


EQUATIONS = (Equation("mean", (0, 1, 2)), Equation("sd", (0, 3)))


def _data(scale=1.0, nobs=300):
    random = np.random.default_rng(0)
    x = np.column_stack([np.ones(nobs), random.normal(size=(nobs, 3))])
    y = x[:, :3] @ [1.0, 0.5, -1.0] + np.exp(x[:, [0, 3]] @ [-0.5, 0.4]) * random.normal(size=nobs)
    return y, x * [1.0, scale, 1.0, 1.0 / scale]


def _fit(y, x, bread="observed", equations=EQUATIONS, **beside):
    design = bh.WLS(y, x, **beside).design if beside else bh.OLS(y, x).design
    return fit_index(LocationScale(equations=equations), design, Bread(bread), "pinv")


def _by_hand(y, x):
    def loss(p, d):
        log_sd = d["x"][:, [0, 3]] @ p["sd"]
        return log_sd + 0.5 * ((d["y"] - d["x"][:, :3] @ p["mean"]) * torch.exp(-log_sd)) ** 2

    start = {"mean": torch.tensor([1.0, 0.4, -0.9], dtype=torch.float64), "sd": torch.tensor([-0.4, 0.3]).double()}
    data = {"y": torch.tensor(y), "x": torch.tensor(x)}
    return bh.MEstimator(loss, start, data, likelihood=True)


GROUPS = np.arange(300) % 23
COVARIANCES = ["nonrobust", "HC0", "HC1", "OPG", bh.Cluster(GROUPS), bh.HAC(3), bh.Bootstrap(49, seed=2)]


@pytest.mark.parametrize("cov", COVARIANCES, ids=str)
def test_the_same_as_a_loss_of_the_parameters(cov):
    y, x = _data()
    fit, own = _fit(y, x), _by_hand(y, x).fit("HC0")
    np.testing.assert_allclose(fit.params, torch.as_tensor(own.fit.params), rtol=CLOSE)
    ours = covariance_of(fit, resolve(cov, None, None)).matrix
    np.testing.assert_allclose(ours, own.with_cov(cov).cov.matrix, rtol=1e-6, atol=1e-12)
    assert fit.names == ("mean:const", "mean:x1", "mean:x2", "sd:const", "sd:x3")


def test_expected_information_and_weights():
    y, x = _data()
    fit = _fit(y, x, "expected")
    by_blocks = np.zeros((5, 5))
    sd = torch.exp(torch.tensor(x[:, [0, 3]]) @ fit.params[3:]).numpy()
    for i in range(len(y)):
        by_blocks[:3, :3] += np.outer(x[i, :3], x[i, :3]) / sd[i] ** 2
        by_blocks[3:, 3:] += 2 * np.outer(x[i, [0, 3]], x[i, [0, 3]])
    np.testing.assert_allclose(fit.bread, np.linalg.inv(by_blocks), rtol=1e-9, atol=1e-14)
    twice = _fit(y, x, weights=np.full(len(y), 2.0))
    np.testing.assert_allclose(twice.params, fit.params, rtol=CLOSE)
    np.testing.assert_allclose(2.0 * twice.bread, _fit(y, x).bread, rtol=CLOSE)


def test_columns_of_other_units_lose_no_digits():
    """Each index's columns are made orthonormal by themselves."""
    (y, x), (_, wild) = _data(), _data(1e9)
    plain, scaled = _fit(y, x), _fit(y, wild)
    factors = torch.tensor([1.0, 1e9, 1.0, 1.0, 1e-9], dtype=torch.float64)
    np.testing.assert_allclose(scaled.params * factors, plain.params, rtol=1e-8)
    for cov in ("nonrobust", "HC0"):
        choice = resolve(cov, None, None)
        first, second = covariance_of(plain, choice).matrix, covariance_of(scaled, choice).matrix
        np.testing.assert_allclose(second * factors * factors[:, None], first, rtol=1e-7, atol=1e-12)


def test_columns_that_depend_on_each_other_are_named():
    y, x = _data()
    x = np.column_stack([x, x[:, 1] + x[:, 2]])
    with pytest.raises(bh.EstimationError, match="'x4' depends linearly on the other columns of the equation mean"):
        _fit(y, x, equations=(Equation("mean", (0, 1, 2, 4)), Equation("sd", (0, 3))))
    fit = _fit(y, x, equations=(Equation("mean", (0, 1, 2)), Equation("sd", (0, 4))))  # in different equations they may
    assert fit.rank == 5


@dataclass(frozen=True)
class ByAutodiff(MultinomialLogit):
    """Multinomial logit without its closed forms."""

    residual = LinearIndices.residual
    curvature = LinearIndices.curvature


def test_autodiff_finds_the_closed_forms():
    random = torch.Generator().manual_seed(0)
    index = torch.randn(7, 3, generator=random, dtype=torch.float64)
    target = torch.tensor([0, 1, 2, 3, 0, 1, 2])
    names = tuple(map(Equation, "abc"))
    closed, general = MultinomialLogit(equations=names), ByAutodiff(equations=names)
    mean = closed.mean(index)
    np.testing.assert_allclose(general.residual(index, target, mean), closed.residual(index, target, mean), atol=1e-15)
    np.testing.assert_allclose(
        general.curvature(index, target, mean), closed.curvature(index, target, mean), atol=1e-15
    )


def test_draws_come_from_the_model():
    y, x = _data()
    fit = _fit(y, x)
    boot = covariance_of(fit, resolve(bh.Bootstrap(999, kind="parametric", seed=1), None, None))
    np.testing.assert_allclose(boot.matrix.diagonal().sqrt(), fit.bread.diagonal().sqrt(), rtol=0.12)
