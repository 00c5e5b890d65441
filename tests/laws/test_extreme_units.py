"""Units of counts, weights, offsets and exposures, and networks whose optimum is a kink or a valley."""

import math

import numpy as np
import pytest
import statsmodels.api as sm
import torch
from torch import nn

import betahat as bh
from betahat.solvers import levenberg_marquardt, newton

# Estimates in standard errors, and standard errors relative to those of ordinary units: both to the rounding of an index of some hundreds.
DIGITS = 1e-10

RNG = np.random.default_rng(0)
N = 200
X = sm.add_constant(RNG.normal(size=(N, 2)))
INDEX = X @ [0.3, 0.5, -0.4]
TARGETS = {
    "Poisson": RNG.poisson(np.exp(INDEX)).astype(float),
    "Logit": (INDEX + RNG.logistic(size=N) > 0).astype(float),
    "Probit": (INDEX + RNG.normal(size=N) > 0).astype(float),
    "MNLogit": np.argmax(np.column_stack([np.zeros(N), INDEX, -INDEX]) + RNG.gumbel(size=(N, 3)), 1),
}


def _model(name, scale=1.0, **options):
    return getattr(bh, name)(TARGETS[name] * scale, X, **options)


def _same(found, plain, shift=0.0, factor=1.0, lost=1.0):
    """Compare with the estimates in plain units, the constant moved by `shift` and all errors multiplied by `factor`."""
    moved = np.asarray(plain.params) + np.reshape([shift, 0.0, 0.0], (3, *[1] * (plain.params.ndim - 1)))
    assert float(np.abs((np.asarray(found.params) - moved) / plain.bse).max()) < DIGITS * lost
    np.testing.assert_allclose(found.bse, np.asarray(plain.bse) * factor, rtol=DIGITS)


@pytest.mark.parametrize("scale", [1e13, 1e5, 1e-5, 1e-9, 1e-13, 1e-100, 1e-300])
@pytest.mark.parametrize("cov", ["nonrobust", "HC1"])
def test_counts_in_any_unit(scale, cov):
    """The constant takes the unit up. Classical errors go by its root, the sandwich's stay."""
    factor = scale**-0.5 if cov == "nonrobust" else 1.0
    found = _model("Poisson", scale).fit(cov)
    _same(found, _model("Poisson").fit(cov), math.log(scale), factor)


@pytest.mark.parametrize("offset", [700.0, 300.0, 50.0, -50.0, -300.0, -700.0])
@pytest.mark.parametrize("name", ["Poisson", "Logit", "Probit"])
def test_offsets_of_any_size(name, offset):
    _same(_model(name, offset=np.full(N, offset)).fit(), _model(name).fit(), -offset)


@pytest.mark.parametrize("scale", [1e-8, 1e-3, 1e6, 1e8])
@pytest.mark.parametrize("seed", [17, 20])
@pytest.mark.parametrize(
    ("family", "link"),
    [
        ("InverseGaussian", "InverseSquared"),
        ("InverseGaussian", "InversePower"),
        ("Gamma", "InversePower"),
        ("Gamma", "Identity"),
        ("Gaussian", "InversePower"),
        ("Tweedie", "Sqrt"),
    ],
)
def test_densities_in_any_unit(family, link, seed, scale):
    """An index may be 1e-16, and so is its rounding error."""
    random, n = np.random.default_rng(seed), (300, 100, 40)[seed % 3]
    x = random.uniform(size=n)
    y = np.exp(x) * random.gamma((3, 1, 5)[seed % 2], 1 / 3, n)
    kind = getattr(sm.families, family)(getattr(sm.families.links, link)())
    plain, found = (bh.GLM(target, sm.add_constant(x), kind).fit() for target in (y, y * scale))
    np.testing.assert_allclose(found.tvalues, plain.tvalues, rtol=1e-9)
    assert abs(found.pseudo_rsquared() - plain.pseudo_rsquared()) < 1e-9


@pytest.mark.parametrize("exposure", [1e300, 1e20, 1e-20, 1e-300])
def test_exposures_in_any_unit(exposure):
    found = _model("Poisson", exposure=np.full(N, exposure)).fit()
    _same(found, _model("Poisson").fit(), -math.log(exposure))


@pytest.mark.parametrize("weight", [1e20, 1e10, 1e-10, 1e-20])
@pytest.mark.parametrize("name", TARGETS)
def test_weights_of_any_size(name, weight):
    """A sandwich does not feel the weights' unit; the estimates do so by rounding only, which is weighed in errors that get smaller."""
    plain = _model(name).fit("HC0")
    found = _model(name, weights=np.full(N, weight)).fit("HC0")
    _same(found, plain)
    _same(found.with_cov("nonrobust"), plain.with_cov("nonrobust"), 0.0, weight**-0.5)


@pytest.mark.parametrize("weight", [1e300, 1e-300])
def test_weights_whose_squares_cannot_be_held_are_named(weight):
    with pytest.raises(bh.EstimationError, match="divide the weights by their mean"):
        _model("Logit", weights=np.full(N, weight)).fit()


def test_offsets_that_differ_by_hundreds():
    """statsmodels and R start from the data, too."""
    offset = RNG.normal(size=N) * 30
    found = _model("Logit", offset=offset).fit()
    theirs = sm.Logit(TARGETS["Logit"], X, offset=offset).fit(disp=0, start_params=np.asarray(found.params) + 0.01)
    np.testing.assert_allclose(found.params, theirs.params, rtol=1e-6)
    np.testing.assert_allclose(found.bse, theirs.bse, rtol=1e-6)


@pytest.mark.filterwarnings("ignore:Perfect separation or prediction detected")
@pytest.mark.parametrize("scale", [1e13, 1e-9])
def test_statsmodels_fits_the_same_counts(scale):
    found = _model("Poisson", scale).fit()
    theirs = sm.GLM(TARGETS["Poisson"] * scale, X, family=sm.families.Poisson()).fit(tol=1e-12, tol_criterion="params")
    np.testing.assert_allclose(found.params, theirs.params, rtol=1e-6)
    np.testing.assert_allclose(found.bse, theirs.bse, rtol=1e-6)


@pytest.mark.parametrize("scale", [1e13, 1e-9])
def test_a_linear_module_fits_the_same_counts(scale):
    x, y = torch.as_tensor(X), torch.as_tensor(TARGETS["Poisson"] * scale)[:, None]
    torch.manual_seed(0)
    found = bh.TorchModel(nn.Linear(3, 1, bias=False), nn.PoissonNLLLoss(), x, y).fit()
    _same(found, _model("Poisson").fit(), math.log(scale), scale**-0.5)


def test_counts_whose_errors_are_smaller_than_the_last_digit():
    with pytest.warns(bh.ConvergenceWarning, match="as near as rounding lets them come"):
        found = _model("Poisson", 1e60).fit()
    np.testing.assert_allclose(found.bse, np.asarray(_model("Poisson").fit().bse) * 1e-30, rtol=1e-8)


@pytest.mark.parametrize("scale", [1.0, 1e-9, 1e9])
def test_separation_is_seen_in_any_unit(scale):
    y = np.where(X[:, 1] > 0, TARGETS["Poisson"] + 1.0, 0.0) * scale
    x = np.column_stack([X, X[:, 1] > 0])
    with pytest.raises(bh.EstimationError, match="separated"):
        bh.Poisson(y, x).fit()


def _saturated(offset):
    """Return a Logit's model by the loss of its rows, which has lost its curvature where it starts."""
    y, x = torch.as_tensor(TARGETS["Logit"]), torch.as_tensor(X)

    def loss(b, x, y):
        return nn.functional.binary_cross_entropy_with_logits(x @ b + offset, y, reduction="none")

    return bh.MEstimator(loss, {"b": torch.zeros(3)}, {"x": x, "y": y}, likelihood=True)


@pytest.mark.parametrize("offset", [30.0, -30.0, -50.0, -60.0])
def test_a_saturated_loss_of_ones_own_finds_its_way(offset):
    _same(_saturated(offset).fit(), _model("Logit").fit(), -offset)


def test_where_saturation_leaves_no_way_it_is_said():
    with pytest.raises(bh.EstimationError, match=r"hardly any curvature .* as where sigmoids saturate"):
        _saturated(-200.0).fit()


# networks


def _curve(n=200):
    x = torch.linspace(-2.0, 2.0, n, dtype=torch.float64)[:, None]
    return x, torch.sin(2.0 * x) + 0.1 * torch.randn(
        n, 1, generator=torch.Generator().manual_seed(1), dtype=torch.float64
    )


def _network(activation, width, seed):
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(1, width), activation, nn.Linear(width, 1))


def _reason(problem, activation, width, seed):
    x, y = problem
    with pytest.raises(bh.EstimationError) as caught:
        bh.TorchModel(_network(activation, width, seed), nn.MSELoss(), x, y).fit("HC0")
    return str(caught.value)


@pytest.mark.parametrize(
    ("activation", "width", "seed"), [(nn.ReLU(), 2, 2), (nn.LeakyReLU(), 3, 0), (nn.Hardtanh(), 3, 0)]
)
def test_a_kink_is_called_one(activation, width, seed):
    said = _reason(_curve(), activation, width, seed)
    for words in (
        "The loss has a kink there along '0.weight",
        "more training does not help",
        "nn.Softplus",
        "params=[",
    ):
        assert words in said


def test_a_dead_unit_is_named_with_what_helps():
    said = _reason(_curve(), nn.ReLU(), 2, 0)
    for words in ("does not depend on '0.weight[0,0]'", "penalty=", "params=["):
        assert words in said


def test_a_flat_valley_is_called_one(monkeypatch):
    """Steps that run out are the sign of one: here they are given out early."""
    monkeypatch.setattr(newton, "_ITERATIONS", 2)
    monkeypatch.setattr(levenberg_marquardt, "_ITERATIONS", 2)
    said = _reason(_curve(), nn.Tanh(), 3, 0)
    for words in ("after 4 steps", "a flat valley", "training never ends", "penalty=", "params=["):
        assert words in said


@pytest.mark.parametrize("steps", [2, 3, 4])
def test_a_thousandth_of_a_standard_error_is_near_enough(steps, monkeypatch):
    plain = _model("Logit").fit()
    monkeypatch.setattr(newton, "_ITERATIONS", steps)
    if steps == 2:
        with pytest.raises(bh.EstimationError, match=r"stopped after 2 steps .* scale the columns to similar sizes"):
            _model("Logit").fit()
        return
    with pytest.warns(bh.ConvergenceWarning, match=f"solver stopped after {steps} steps: it is close enough"):
        found = _model("Logit").fit()
    assert found.fit.path.converged
    assert float(np.abs((found.params - plain.params) / plain.bse).max()) < 1e-4
