"""What links and families say against each other and against many digits; fits that are exact, or whose optimum lies at the edge of a link."""

import math
import warnings

import mpmath
import numpy as np
import pytest
import statsmodels.api as sm
import torch

import betahat as bh
from betahat.objectives import families, links, probability_links
from betahat.objectives.binomial import BinomialShares
from betahat.objectives.generalized import FamilyAndLink

# Each is a handful of operations; next to a zero of a function a digit more is lost.
DIGITS = 5e-14
# An exponent of 450 has a rounding error of 1e-13.
EXPONENT = 1e-12
# Autodiff of the losses, whose own rounding is that of sums of terms.
BY_AUTODIFF = 1e-9

F, L = sm.families, sm.families.links
PROBABILITIES = {
    probability_links.LogitLink(): lambda e: 1 / (1 + mpmath.exp(-e)),
    probability_links.ProbitLink(): lambda e: mpmath.erfc(-e / mpmath.sqrt(2)) / 2,
    probability_links.CauchyLink(): lambda e: mpmath.mpf(1) / 2 + mpmath.atan(e) / mpmath.pi,
    probability_links.CLogLogLink(): lambda e: 1 - mpmath.exp(-mpmath.exp(e)),
    probability_links.LogLogLink(): lambda e: mpmath.exp(-mpmath.exp(-e)),
    links.LogLink(): mpmath.exp,
    probability_links.LogCLink(): lambda e: 1 - mpmath.exp(e),
    links.PowerLink(1.0): lambda e: e,
    links.PowerLink(0.5): lambda e: e**2,
    links.PowerLink(-1.0): lambda e: 1 / e,
}
POINTS = {
    "below 0": [-30.0, -6.0, -0.7, -0.1, -1e-3],
    "between 0 and 1": [1e-9, 0.1, 0.5, 0.9, 1 - 1e-6],
    "above 1": [1.0 + 1e-6, 1.5, 7.0, 1e9],
    None: [-30.0, -12.0, -5.0, -2.4, -2.2, -0.5, 0.3, 1.9, 3.5],
}


@pytest.mark.parametrize("link", PROBABILITIES, ids=repr)
def test_logarithms_of_probabilities_keep_their_digits(link):
    """log mu, log(1 - mu) and two derivatives of each, against eighty digits."""
    mpmath.mp.dps = 80
    mean = PROBABILITIES[link]
    for point in POINTS[link.share_domain]:
        at = torch.tensor([point], dtype=torch.float64)
        for log, slope, bend, of in (
            (link.log_mean, link.log_slope, link.log_bend, mean),
            (link.log_rest, link.rest_slope, link.rest_bend, lambda e: 1 - mean(e)),
        ):
            known = [mpmath.diff(lambda e, of=of: mpmath.log(of(e)), mpmath.mpf(point), order) for order in range(3)]
            for found, value in zip((log(at), slope(at), bend(at)), known, strict=True):
                size = abs(float(value)) + (
                    float(slope(at)) ** 2 if value is known[2] else 0.0
                )  # which is what a bend is the difference of
                assert abs(float(found) - float(value)) <= DIGITS * size + 1e-60
        assert abs(float(link.mean(at)) - float(mean(mpmath.mpf(point)))) <= EXPONENT * float(mean(mpmath.mpf(point)))
        if 1e-6 < float(link.mean(at)) < 1 - 1e-6:  # beyond, means round
            back = link.index(link.mean(at))
            np.testing.assert_allclose(back, at, rtol=1e-7)


MEANS = [
    links.LogLink(),
    links.PowerLink(1.0),
    links.PowerLink(-1.0),
    links.PowerLink(0.5),
    links.PowerLink(-2.0),
    links.PowerLink(0.3),
]
FAMILIES = [
    families.GaussianFamily(),
    families.PoissonFamily(),
    families.GammaFamily(),
    families.InverseGaussianFamily(),
    families.TweedieFamily(1.3),
    families.TweedieFamily(2.4),
    families.NegativeBinomialFamily(0.6),
]
LOSSES = [
    *(FamilyAndLink(family, link) for family in FAMILIES for link in MEANS),
    FamilyAndLink(FAMILIES[-1], links.NegativeBinomialLink(0.6)),
    FamilyAndLink(FAMILIES[-1], probability_links.CLogLogLink()),
    *(BinomialShares(link) for link in PROBABILITIES),
]


@pytest.mark.parametrize("loss", LOSSES, ids=repr)
def test_derivatives_are_those_of_the_losses(loss):
    places = torch.linspace(0.05, 0.95, 31, dtype=torch.float64)
    shift = {"below 0": -1.5, "above 1": 1.1}.get(loss.domain, 0.0)
    index = (places * (1.0 if loss.domain else 4.0) + (shift if loss.domain else -2.0)).requires_grad_(True)
    target = torch.linspace(0.02, 0.98, 31, dtype=torch.float64) * (1.0 if loss.support.binary else 3.0)
    values = loss.losses(index, target)
    (first,) = torch.autograd.grad(values.sum(), index, create_graph=True)
    (second,) = torch.autograd.grad(first.sum(), index)
    at = index.detach()
    np.testing.assert_allclose(loss.residual(at, target), -first.detach(), rtol=BY_AUTODIFF, atol=1e-10)
    np.testing.assert_allclose(loss.curvature(at, target), second, rtol=BY_AUTODIFF, atol=1e-9)
    # The curvature is linear in y: Fisher's information is what it is at the mean, where residuals vanish.
    np.testing.assert_allclose(loss.expected_curvature(at), loss.curvature(at, loss.mean(at)), rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(loss.residual(at, loss.mean(at)), 0.0, atol=1e-10)
    means = target if not isinstance(loss.link, probability_links.CLogLogLink) else target.clamp_max(0.9)
    best = loss.losses(loss.link.index(means), means)
    np.testing.assert_allclose(best, loss.saturated(means), rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("family", FAMILIES, ids=repr)
def test_anscombe_is_an_integral(family):
    if family.variance(torch.ones(1)) is None:
        variance = lambda t: mpmath.mpf(1)  # noqa: E731
    else:
        variance = lambda t: mpmath.mpf(float(family.variance(torch.tensor([float(t)], dtype=torch.float64))))  # noqa: E731
    mpmath.mp.dps = 20
    known = mpmath.quad(lambda t: variance(t) ** (-mpmath.mpf(1) / 3), [0.5, 1.0, 2.0])
    low, high = (family.anscombe(torch.tensor([value], dtype=torch.float64)) for value in (0.5, 2.0))
    np.testing.assert_allclose(float(high - low), float(known), rtol=1e-12)


EXACT = {
    "Gaussian": (F.Gaussian(), lambda e: e),
    "Gaussian, Log": (F.Gaussian(L.Log()), np.exp),
    "Gamma, Log": (F.Gamma(L.Log()), np.exp),
    "Gamma": (F.Gamma(), lambda e: 1 / e),
    "InverseGaussian, Log": (F.InverseGaussian(L.Log()), np.exp),
    "InverseGaussian": (F.InverseGaussian(), lambda e: e**-0.5),
    "Tweedie": (F.Tweedie(var_power=1.5), np.exp),
    "Poisson": (F.Poisson(), np.exp),
    "NegativeBinomial": (F.NegativeBinomial(alpha=1.0), np.exp),
    "Binomial, CLogLog": (F.Binomial(L.CLogLog()), lambda e: -np.expm1(-np.exp(e))),
}


@pytest.mark.parametrize("name", EXACT)
def test_exact_fits_converge(name):
    """y = mu: the scale is zero up to rounding, and so are standard errors, of which a warning tells where they are estimated."""
    family, inverse = EXACT[name]
    x = np.column_stack([np.ones(60), np.random.default_rng(0).uniform(0, 1, 60)])
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        res = bh.GLM(inverse(x @ [0.5, 0.8]), x, family).fit()
    np.testing.assert_allclose(res.params, [0.5, 0.8], rtol=1e-10)
    assert res.deviance < 1e-13
    assert res.converged
    told = any("as near as rounding lets them come" in str(one.message) for one in caught)
    assert told is (res.fit.objective.dispersion.estimated)
    assert res.scale < 1e-25 or not told


@pytest.mark.parametrize("unit", [1.0, 1e6, 1e-6])
@pytest.mark.parametrize("name", EXACT)
def test_one_sentence_tells_of_an_exact_fit_whose_scale_is_estimated(name, unit):
    """Of a constant y, and of one that follows from a regressor, but not where an error is a millionth of y."""
    family, inverse = EXACT[name]
    density = not isinstance(family, F.Poisson | F.Binomial | F.NegativeBinomial)
    unit, random = (unit if density else 1.0), np.random.default_rng(0)
    x = np.column_stack([np.ones(60), random.uniform(0, 1, 60)])
    exact = inverse(x @ [0.5, 0.8]) * unit
    noisy = exact * (1 - 1e-6 * random.uniform(size=60))
    for y, wanted in ((np.full(60, exact[0]), 1), (exact, 1), (noisy, 0)):
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            bh.GLM(y, x, family).fit(scale="X2")
        said = [str(one.message) for one in caught]
        assert len(said) == wanted, said
        assert all("essentially perfect fit" in one or "as near as rounding" in one for one in said)


def test_a_constant_has_an_essentially_perfect_fit():
    with pytest.warns(bh.BetahatWarning, match="The residuals are zero up to rounding, an essentially perfect fit"):
        bh.GLM(np.full(5, 3.0), np.ones((5, 1)), "gamma").fit()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        bh.GLM(np.full(5, 3.0), np.ones((5, 1)), "gamma").fit(scale=1.0)


def _at_the_edge():
    """More and more ones, and from a point on nothing else."""
    x = np.column_stack([np.ones(40), np.linspace(0, 1, 40)])
    y = (np.arange(40) % 4 < np.linspace(0, 4, 40)) * 1.0
    y[-8:] = 1.0
    return y, x


@pytest.mark.parametrize("link", [L.Log(), L.Identity()])
def test_an_optimum_at_the_edge_is_a_sentence(link):
    y, x = _at_the_edge()
    with pytest.raises(
        bh.EstimationError, match="the best fit lies at the edge, where there are no standard errors; take a link"
    ):
        bh.GLM(y, x, F.Binomial(link)).fit()
    # There is no interior optimum: going on from where the means still exist always raises the likelihood.
    model = bh.GLM(y, x, F.Binomial(L.Log()))
    inner = [model.loglike([math.log(top) - slope, slope]) for top, slope in ((0.9, 1.0), (0.99, 1.0), (0.999, 1.0))]
    assert inner == sorted(inner)


def test_hc3_of_a_row_that_curves_downward_is_the_jackknife_of_one_step():
    """A^-1 x s / (1 - h) is the step of Newton's method without the row, whatever the sign of its information."""
    rng = np.random.default_rng(3)
    x = np.column_stack([np.ones(50), rng.normal(size=50)])
    y = rng.wald(np.exp(x @ [0.3, 0.4]), 1.0)
    model = bh.GLM(y, x, F.InverseGaussian(L.Log()))
    res = model.fit("HC3", bread="observed")
    scale = float(res.scale)
    information, scores = -model.hessian(res.params) * scale, model.score_obs(res.params) * scale
    curvature = (2 * y * np.exp(-x @ res.params) - 1) * np.exp(-x @ res.params)
    assert (curvature < 0).any()
    steps = [
        np.linalg.solve(information - c * np.outer(x_i, x_i), s) for c, x_i, s in zip(curvature, x, scores, strict=True)
    ]
    np.testing.assert_allclose(res.cov_params(), np.einsum("ni,nj->ij", steps, steps), rtol=1e-8)
