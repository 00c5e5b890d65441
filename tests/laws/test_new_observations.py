"""Intervals for a new observation: statsmodels' obs_ci of least squares, and quantiles of distributions by other means."""

import numpy as np
import pytest
import statsmodels.api as sm
import torch
from scipy import integrate, optimize, stats
from support.closeness import close_to_largest
from torch import nn

import betahat as bh

# Two solvers of one regression.
CLOSE = 1e-9
# The integral over the output has 21 nodes here, and an adaptive rule there.
INTEGRAL = 1e-6

N = 80
RNG = np.random.default_rng(0)
X, NEW = RNG.normal(size=(N, 2)), RNG.normal(size=(5, 2))
Y = X @ [1.0, 2.0] + 1.0 + RNG.normal(size=N)
COUNT = RNG.poisson(np.exp(0.3 * X[:, 0] + 0.5)).astype(float)
YES = (RNG.uniform(size=N) < 0.4) * 1.0
POSITIVE = np.exp(0.3 * X[:, 0]) * RNG.gamma(2.0, size=N)
WITH_ONE, NEW_WITH_ONE = (np.column_stack([x, np.ones(len(x))]) for x in (X, NEW))


def _module(loss, y, module=None, **options):
    torch.manual_seed(0)
    module = nn.Linear(2, 1) if module is None else module
    return bh.TorchModel(module, loss, torch.tensor(X), torch.tensor(y), **options)


@pytest.mark.parametrize("alpha", [0.05, 0.3])
@pytest.mark.parametrize("cov_type", ["nonrobust", "HC3"])
def test_least_squares_has_statsmodels_obs_ci(alpha, cov_type):
    theirs = sm.OLS(Y, WITH_ONE).fit(cov_type=cov_type).get_prediction(NEW_WITH_ONE).summary_frame(alpha)
    ours = _module(nn.MSELoss(), Y).fit(cov_type).get_prediction(torch.tensor(NEW))
    frame = ours.summary_frame(alpha, obs=True)
    close_to_largest(frame[["obs_ci_lower", "obs_ci_upper"]], theirs[["obs_ci_lower", "obs_ci_upper"]], CLOSE)
    close_to_largest(ours.conf_int(alpha, obs=True), theirs[["obs_ci_lower", "obs_ci_upper"]], CLOSE)
    assert list(ours.summary_frame().columns) == ["predicted", "se", "ci_lower", "ci_upper"]


def test_weighted_least_squares_has_that_of_an_observation_of_weight_one():
    weights = RNG.uniform(0.5, 2.0, N)
    theirs = sm.WLS(Y, WITH_ONE, weights).fit().get_prediction(NEW_WITH_ONE, weights=1.0).summary_frame()
    ours = _module(nn.MSELoss(), Y, weights=weights).fit().get_prediction(torch.tensor(NEW))
    close_to_largest(ours.conf_int(obs=True), theirs[["obs_ci_lower", "obs_ci_upper"]], CLOSE)


def test_a_network_by_its_delta_method():
    res = _module(nn.MSELoss(), Y[:, None], nn.Sequential(nn.Linear(2, 1), nn.Softplus())).fit()
    found = res.get_prediction(torch.tensor(NEW))
    margin = stats.t.ppf(0.975, res.df_resid) * np.sqrt(found.se.numpy() ** 2 + res.scale)
    close_to_largest(found.conf_int(obs=True)[:, 1], found.predicted.numpy() + margin, CLOSE)


class MeanVariance(nn.Module):
    """A mean that is linear, and a variance that grows with the first input."""

    def __init__(self):
        super().__init__()
        self.mean, self.log = nn.Linear(2, 1), nn.Linear(2, 1)

    def forward(self, x):
        return torch.cat([self.mean(x), torch.exp(self.log(x))], 1)


def test_a_variance_that_is_modelled():
    res = _module(nn.GaussianNLLLoss(), Y, MeanVariance()).fit()
    output = res.predict(torch.tensor(NEW))
    found = res.get_prediction(torch.tensor(NEW), which="mean")
    margin = stats.norm.ppf(0.95) * np.sqrt(found.se.numpy() ** 2 + output[:, 1].numpy())
    close_to_largest(found.conf_int(0.1, obs=True)[:, 0], output[:, 0].numpy() - margin, CLOSE)


def _mixture(index, error, cdf, share):
    """The probability up to each number, of an index that is normal, by an adaptive rule."""

    def total(value):
        def part(z):
            return cdf(value, index + error * z) * stats.norm.pdf(z)

        return integrate.quad(part, -8.0, 8.0, limit=200)[0]

    return total


@pytest.mark.parametrize("alpha", [0.05, 0.5])
def test_counts_are_quantiles_of_the_predictive_distribution(alpha):
    res = _module(nn.PoissonNLLLoss(), COUNT).fit()
    found = res.get_prediction(torch.tensor(NEW))
    bounds = found.conf_int(alpha, obs=True).numpy()
    for index, error, (low, high) in zip(found.predicted.tolist(), found.se.tolist(), bounds, strict=True):
        total = _mixture(index, error, lambda value, eta: stats.poisson.cdf(value, np.exp(eta)), alpha)
        for end, share in ((low, alpha / 2), (high, 1 - alpha / 2)):
            assert end == round(end)
            assert total(end) >= share > total(end - 1)
    direct = bh.Poisson(COUNT, WITH_ONE).fit().get_prediction(NEW_WITH_ONE)
    np.testing.assert_array_equal(direct.conf_int(alpha, obs=True), bounds)
    mean = _module(nn.PoissonNLLLoss(log_input=False), COUNT, nn.Sequential(nn.Linear(2, 1), nn.Softplus())).fit()
    by_mean = mean.get_prediction(torch.tensor(NEW)).conf_int(alpha, obs=True).numpy()
    assert (np.abs(by_mean - bounds) <= 1).all()


def test_yes_and_no():
    for loss, module in (
        (nn.BCEWithLogitsLoss(), nn.Linear(2, 1)),
        (nn.BCELoss(), nn.Sequential(nn.Linear(2, 1), nn.Sigmoid())),
    ):
        found = _module(loss, YES, module).fit().get_prediction(torch.tensor(NEW), which="mean")
        wide, narrow = found.conf_int(0.05, obs=True), found.conf_int(0.9, obs=True)
        assert set(wide.flatten().tolist()) == {0.0, 1.0}
        np.testing.assert_array_equal(narrow[:, 0], (found.predicted > 0.55).double())


def test_a_gamma_regression_by_root_finding():
    family = sm.families.Gamma(sm.families.links.Log())
    res = bh.GLM(POSITIVE, WITH_ONE, family).fit()
    found = res.get_prediction(NEW_WITH_ONE, which="linear")
    bounds = found.conf_int(0.1, obs=True)
    shape = 1.0 / res.scale
    for index, error, ends in zip(found.predicted, found.se, bounds, strict=True):
        total = _mixture(index, error, lambda value, eta: stats.gamma.cdf(value, shape, scale=np.exp(eta) / shape), 0.1)
        for end, share in zip(ends, (0.05, 0.95), strict=True):
            true = optimize.brentq(lambda value: total(value) - share, 1e-6, 100.0, xtol=1e-12)  # noqa: B023
            assert abs(end - true) < INTEGRAL * true


def test_coverage():
    """The t interval of 40 rows covers nine in ten new observations: 1,000 of them, of 100 samples."""
    random, inside = np.random.default_rng(7), 0.0
    for _ in range(100):
        x, new = random.normal(size=(40, 2)), random.normal(size=(10, 2))
        y, y_new = (part @ [1.0, -1.0] + random.normal(size=len(part)) for part in (x, new))
        bounds = bh.GLM(y, x, sm.families.Gaussian()).fit(use_t=True).get_prediction(new).conf_int(0.1, obs=True)
        inside += ((bounds[:, 0] < y_new) & (y_new < bounds[:, 1])).mean() / 100
    assert abs(inside - 0.9) < 4 * np.sqrt(0.09 / 1000)


def test_rows_that_are_not_identified_have_none():
    with pytest.warns(bh.CollinearityWarning):
        res = bh.Poisson(COUNT, np.column_stack([X, X[:, 0]])).fit()
    with pytest.warns(bh.CollinearityWarning):
        bounds = res.get_prediction([[1.0, 2.0, 1.0], [1.0, 2.0, 3.0]]).conf_int(obs=True)
    assert np.isfinite(bounds[0]).all()
    assert np.isnan(bounds[1]).all()


REFUSED = {
    "robust": lambda: bh.RLM(Y, WITH_ONE).fit().get_prediction(NEW_WITH_ONE),
    "huber": lambda: _module(nn.HuberLoss(), Y).fit().get_prediction(torch.tensor(NEW)),
    "own": lambda: _module(lambda o, t: ((o - t) ** 4).mean(), Y[:, None]).fit().get_prediction(torch.tensor(NEW)),
}


@pytest.mark.parametrize("case", REFUSED)
def test_a_loss_without_a_distribution(case):
    found = REFUSED[case]()
    with pytest.raises(bh.EstimationError, match="A new observation has an interval where the loss says how a number"):
        found.conf_int(obs=True)
    assert np.isfinite(np.asarray(found.conf_int())).all()


def test_options():
    found = _module(nn.PoissonNLLLoss(), COUNT).fit().get_prediction()
    with pytest.raises(bh.OptionError, match="alpha is 2"):
        found.conf_int(2, obs=True)
    with pytest.raises(bh.OptionError, match="obs is 'yes'"):
        found.conf_int(obs="yes")
    with pytest.raises(bh.OptionError, match="obs is 3"):
        found.summary_frame(obs=3)
    with pytest.raises(bh.EstimationError, match="a function of the parameters, which has no new observations"):
        bh.Tobit(np.maximum(Y, 0.0), X).fit().get_prediction().conf_int(obs=True)
