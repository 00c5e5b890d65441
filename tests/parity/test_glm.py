"""Generalised linear models against statsmodels' GLM, every attribute and every covariance, and what a model brings with its objective."""

import io

import numpy as np
import pandas as pd
import pytest
import statsmodels.api as sm
from scipy import stats

import betahat as bh
from betahat import GLM
from betahat.objectives.families import InverseGaussianFamily
from betahat.objectives.generalized import FamilyAndLink
from betahat.objectives.links import LogLink

# statsmodels stops at a change of the deviance of 1e-8; it is restarted with a tolerance of 1e-15, and rounding remains.
CLOSE = 1e-9

# Of links that do not keep means positive.
pytestmark = [
    pytest.mark.filterwarnings("ignore:The InversePower link function does not respect the domain"),
    pytest.mark.filterwarnings("ignore:The InverseSquared link function does not respect the domain"),
    pytest.mark.filterwarnings("ignore:divide by zero encountered in power"),
]

FAMILIES = [
    ("Gamma", "InversePower"),
    ("Gamma", "Log"),
    ("InverseGaussian", "InverseSquared"),
    ("InverseGaussian", "Log"),
    ("Binomial", "Logit"),
    ("Binomial", "Probit"),
    ("Poisson", "Log"),
]
FAMILY = {name: getattr(sm.families, name) for name, _ in FAMILIES}
INVERSE_GAUSSIAN = FamilyAndLink(InverseGaussianFamily(), LogLink())


def _data(family, link, seed=0, nobs=400):
    random = np.random.default_rng(seed)
    x = np.column_stack([np.ones(nobs), random.normal(size=nobs), random.uniform(size=nobs)])
    if link == "InversePower":
        mean = 1.0 / (x @ [1.0, 0.1, 0.8])
    elif link == "InverseSquared":
        mean = (x @ [1.5, 0.2, 0.8]) ** -0.5
    else:
        index = x @ [0.3, 0.4, -0.5]
        mean = {"Log": np.exp, "Logit": lambda z: 1 / (1 + np.exp(-z)), "Probit": stats.norm.cdf}[link](index)
    y = {
        "Gamma": lambda: random.gamma(2.0, mean / 2.0),
        "InverseGaussian": lambda: random.wald(mean, 2.0),
        "Binomial": lambda: (random.uniform(size=nobs) < mean) * 1.0,
        "Poisson": lambda: random.poisson(mean) * 1.0,
    }[family]()
    return y, x, random


@pytest.fixture(params=list(FAMILIES), ids="-".join, scope="module")
def both(request):
    """Ours and statsmodels' model classes, made by one function of options."""
    family, link = request.param
    y, x, random = _data(family, link)
    theirs = FAMILY[family](link=getattr(sm.families.links, link)())
    options = {
        "plain": {},
        "offset": {"offset": 0.1 * random.uniform(size=len(y))},
        "var_weights": {"var_weights": random.uniform(0.5, 2.0, len(y))},
        "freq_weights": {"freq_weights": random.integers(1, 4, len(y)).astype(float)},
    }
    return {name: (GLM(y, x, theirs, **option), sm.GLM(y, x, theirs, **option)) for name, option in options.items()}


_KNOWN = {}


def _fits(models, cov_type="nonrobust"):
    """Our fit and theirs, made once."""
    if (id(models[0]), cov_type) not in _KNOWN:
        ours, theirs = models
        fits = ours.fit(cov_type), theirs.fit(cov_type=cov_type, tol=1e-15, maxiter=200)
        _KNOWN[id(ours), cov_type] = (*fits, models)  # which keeps the models, and so their ids
    return _KNOWN[id(models[0]), cov_type][:2]


ATTRIBUTES = [
    "params",
    "bse",
    "tvalues",
    "pvalues",
    "scale",
    "deviance",
    "null_deviance",
    "llf",
    "llnull",
    "aic",
    "bic_llf",
    "bic_deviance",
    "df_model",
    "df_resid",
    "nobs",
    "pearson_chi2",
    "fittedvalues",
    "mu",
    "resid_response",
    "resid_pearson",
    "resid_deviance",
    "resid_working",
]


@pytest.mark.parametrize("option", ["plain", "offset", "var_weights", "freq_weights"])
@pytest.mark.parametrize("name", ATTRIBUTES)
def test_attributes(both, option, name):
    ours, theirs = _fits(both[option])
    if (option, name) == ("freq_weights", "nobs"):
        pytest.skip("statsmodels counts rows, and ours are what they stand for")
    np.testing.assert_allclose(getattr(ours, name), getattr(theirs, name), rtol=CLOSE, atol=1e-10)


@pytest.mark.parametrize("option", ["plain", "offset"])
def test_what_is_asked(both, option):
    ours, theirs = _fits(both[option])
    np.testing.assert_allclose(ours.conf_int(), theirs.conf_int(), rtol=CLOSE)
    np.testing.assert_allclose(ours.cov_params(), theirs.cov_params(), rtol=CLOSE)
    for kind in ("cs", "mcf"):
        np.testing.assert_allclose(ours.pseudo_rsquared(kind), theirs.pseudo_rsquared(kind), rtol=CLOSE)
    new = _data(theirs.model.family.__class__.__name__, type(theirs.model.family.link).__name__, 1, 5)[1]
    shift = {"offset": np.full(5, 0.2)} if option == "offset" else {}
    np.testing.assert_allclose(ours.predict(new, **shift), theirs.predict(new, **shift), rtol=CLOSE)
    variance = theirs.scale * theirs.model.family.variance(theirs.predict(new, **shift))
    np.testing.assert_allclose(ours.predict(new, which="var", **shift), variance, rtol=CLOSE)
    mine, its = ours.get_prediction(new, **shift), theirs.get_prediction(new, **shift)
    np.testing.assert_allclose(mine.predicted, its.predicted_mean, rtol=CLOSE)
    np.testing.assert_allclose(mine.se, its.se_mean, rtol=CLOSE)
    np.testing.assert_allclose(mine.conf_int(), np.sort(its.conf_int(), 1), rtol=CLOSE)
    np.testing.assert_allclose(ours.wald_test(np.eye(3)[1:]).statistic, theirs.wald_test(np.eye(3)[1:]).statistic)


@pytest.mark.parametrize("bread", ["expected", "observed"])
def test_robust_covariances(both, bread):
    """statsmodels' sandwiches take the observed information; its HC1 is HC0 without n / (n - k)."""
    ours, theirs = both["plain"]
    groups = np.arange(400) % 37
    fit = ours.fit(bread=bread)
    if bread == "observed":
        for name, options in (
            ("HC0", {}),
            ("cluster", {"groups": groups}),
            ("HAC", {"maxlags": 3}),
        ):
            robust = theirs.fit(cov_type=name, cov_kwds=options, tol=1e-15, maxiter=200)
            np.testing.assert_allclose(fit.with_cov(name, options).bse, robust.bse, rtol=CLOSE)
    names = [
        "HC0",
        "HC1",
        "HC2",
        "HC3",
        bh.Cluster(groups),
        bh.HAC(2),
        bh.Bootstrap(99, kind="score", seed=1),
        bh.Bootstrap(99, seed=1),
    ]
    rooted = [bh.Cluster(groups, "CR2"), bh.Cluster(groups, "CR3"), bh.Jackknife()]
    if bread == "observed" and fit.fit.objective == INVERSE_GAUSSIAN:  # its loss is not convex
        for name in rooted:
            with pytest.raises(bh.EstimationError, match=r"Leverage is a row's share .* and a row's is negative"):
                fit.with_cov(name)
    else:
        names += rooted
    for name in names:
        assert np.isfinite(fit.with_cov(name).bse).all()


def test_hc0_by_a_loop(both):
    ours, theirs = _fits(both["plain"])
    family, x = theirs.model.family, theirs.model.exog
    mean, y = theirs.fittedvalues, theirs.model.endog
    slope = 1.0 / family.link.deriv(mean)
    meat, bread = np.zeros((3, 3)), np.zeros((3, 3))
    for i in range(len(y)):
        score = x[i] * (y[i] - mean[i]) * slope[i] / family.variance(mean[i])
        meat += np.outer(score, score)
        bread += np.outer(x[i], x[i]) * slope[i] ** 2 / family.variance(mean[i])
    inverse = np.linalg.inv(bread)
    np.testing.assert_allclose(ours.with_cov("HC0").cov_params(), inverse @ meat @ inverse, rtol=1e-8)


def test_what_models_say_at_parameters(both):
    ours, theirs = both["plain"]
    at = theirs.fit(tol=1e-15, maxiter=200).params * 1.02
    np.testing.assert_allclose(ours.loglike(at), theirs.loglike(at), rtol=CLOSE)
    np.testing.assert_allclose(ours.score(at), theirs.score(at), rtol=CLOSE)
    np.testing.assert_allclose(ours.hessian(at), theirs.hessian(at), rtol=1e-8)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("family", "link"),
    [("Gamma", "InversePower"), ("Gamma", "Log"), ("InverseGaussian", "InverseSquared"), ("InverseGaussian", "Log")],
)
def test_parametric_bootstrap_draws_from_the_family(family, link):
    """Means, variances and the distribution itself are those of scipy's; errors are near the classical ones."""
    y, x, _ = _data(family, link)
    fit = GLM(y, x, FAMILY[family](link=getattr(sm.families.links, link)())).fit()
    boot = fit.with_cov(bh.Bootstrap(1999, kind="parametric", seed=3))
    np.testing.assert_allclose(boot.bse, fit.bse, rtol=0.1)  # 1,999 replicates have a standard error of 1.6%
    objective, spread = fit.fit.objective, fit.fit.dispersion.sqrt()
    import torch

    index = torch.full((1,), 0.7, dtype=torch.float64)
    uniform = torch.linspace(1e-6, 1 - 1e-6, 999, dtype=torch.float64)[:, None]
    drawn = objective.draw(index, spread, uniform)[:, 0]
    known = objective.distribution(objective.mean(index).numpy(), float(spread) ** 2)
    np.testing.assert_allclose(drawn, known.ppf(uniform[:, 0]), rtol=1e-8)


@pytest.mark.parametrize("scale", [1e-6, 1.0, 1e6])
def test_inverse_gaussian_draws_in_the_tails(scale):
    """The lower tail has all digits; next to one, u itself has eight."""
    import torch

    uniform = torch.tensor([1e-15, 1e-8, 0.3, 0.9, 1 - 1e-8], dtype=torch.float64)[:, None]
    spread = torch.tensor(scale**0.5, dtype=torch.float64)
    drawn = INVERSE_GAUSSIAN.draw(torch.full((1,), -0.3, dtype=torch.float64), spread, uniform)[:, 0].numpy()
    known = stats.invgauss(np.exp(-0.3) * scale, scale=1 / scale)
    np.testing.assert_allclose(known.cdf(drawn[:3]), uniform[:3, 0], rtol=1e-8)
    np.testing.assert_allclose(known.sf(drawn[3:]), 1 - uniform[3:, 0], rtol=1e-7)


@pytest.mark.parametrize("start", [-12.0, -8.0, 30.0])
def test_a_loss_that_is_not_convex_finds_its_way_back(start):
    y, x, _ = _data("InverseGaussian", "Log")
    model = GLM(y, x, FAMILY["InverseGaussian"](sm.families.links.Log()))
    np.testing.assert_allclose(model.fit(start_params=[start, 0.0, 0.0]).params, model.fit().params, rtol=1e-9)


def test_cases_pictures_and_files(both):
    ours, theirs = _fits(both["var_weights"])
    np.testing.assert_allclose(ours.cases.residuals, theirs.resid_pearson, rtol=1e-8, atol=1e-10)
    np.testing.assert_allclose(ours.cases.deviance, theirs.resid_deviance, rtol=1e-8, atol=1e-10)
    np.testing.assert_allclose(ours.cases.leverage, theirs.get_hat_matrix_diag(observed=False), rtol=1e-8)
    for bare in (False, True):
        file = io.BytesIO()
        ours.save(file, remove_data=bare)
        file.seek(0)
        again = bh.load(file)
        assert str(again.summary()) == str(ours.summary())
        for name in ("scale", "deviance", "null_deviance", "llf", "llnull", "aic"):
            assert getattr(again, name) == getattr(ours, name)


def test_summary_says_what_statsmodels_says(both):
    """All cells but the solver's name and its steps."""
    ours, theirs = _fits(both["plain"])
    mine, its = (str(res.summary()).splitlines() for res in (ours, theirs))
    assert len(mine) == len(its)
    skipped = ("Method:", "Date:", "Time:", "No. Iterations:")
    for line, other in zip(mine, its, strict=True):
        if not any(word in other for word in skipped):
            assert line == other
        elif "Time:" not in other:
            assert line[39:] == other[39:]


def test_a_summary_names_another_bread_only(both):
    model = both["plain"][0]
    for bread, told in (("expected", False), ("observed", True)):
        for text in (str(model.fit(bread=bread).summary()), str(model.fit(bread=bread).summary2())):
            assert ("The bread of the covariance" in text) is told


def test_formulas_and_frames():
    y, x, _ = _data("Gamma", "Log")
    frame = pd.DataFrame({"y": y, "a": x[:, 1], "b": x[:, 2], "v": np.linspace(0.5, 2, len(y))})
    family = sm.families.Gamma(sm.families.links.Log())
    ours = GLM.from_formula("y ~ a + b", frame, family=family, var_weights="v").fit()
    theirs = sm.GLM.from_formula("y ~ a + b", frame, family=family, var_weights=frame["v"]).fit(tol=1e-15, maxiter=200)
    np.testing.assert_allclose(ours.params, theirs.params, rtol=CLOSE)
    np.testing.assert_allclose(ours.bse, theirs.bse, rtol=CLOSE)
    assert list(ours.params.index) == list(theirs.params.index)
    np.testing.assert_allclose(ours.predict(frame[:3]), theirs.predict(frame[:3]), rtol=CLOSE)


def test_bad_input():
    y, x, _ = _data("Gamma", "Log")
    with pytest.raises(bh.DataError, match="1 value of zero or less, and the Gamma family needs positive numbers"):
        GLM(np.r_[0.0, y[1:]], x, "gamma")
    with pytest.raises(bh.OptionError, match="kind is 'r'"):
        GLM(y, x, "gamma").fit().pseudo_rsquared("r")


@pytest.mark.parametrize("seed", range(5))
def test_an_inverse_link_finds_its_way_back(seed):
    """A step of least squares may leave the means that are positive."""
    random = np.random.default_rng(seed)
    x = np.column_stack([np.ones(60), random.exponential(5.0, 60)])
    y = random.gamma(0.7, (1.0 / (0.05 + 0.5 * x[:, 1])) / 0.7)
    ours = GLM(y, x, "Gamma").fit()
    theirs = sm.GLM(y, x, sm.families.Gamma()).fit(start_params=ours.params, tol=1e-15)
    np.testing.assert_allclose(ours.params, theirs.params, rtol=1e-7)


@pytest.mark.parametrize("formula", ["y ~ x", "y ~ 1"])
@pytest.mark.parametrize("seed", range(4))
def test_a_gaussian_inverse_link_fits_better_than_a_constant(formula, seed):
    """Zeros have no mean, and of values of y below zero the curvature is negative: a start from either leads away."""
    random = np.random.default_rng(seed)
    x = random.uniform(size=300)
    data = pd.DataFrame({"x": x, "y": 1 / (0.2 + 2 * x) + 0.3 * random.normal(size=300)})
    family = sm.families.Gaussian(sm.families.links.InversePower())
    ours = bh.glm(formula, data, family).fit()
    theirs = sm.formula.glm(formula, data, family=family).fit(tol=1e-14)
    np.testing.assert_allclose(ours.params, theirs.params, rtol=1e-6)
    assert ours.deviance <= theirs.deviance * (1 + 1e-12)
    assert ours.deviance <= ours.null_deviance * (1 + 1e-12)


def test_a_start_that_leads_to_less_than_a_constant_is_refused():
    random = np.random.default_rng(0)
    x = random.uniform(size=300)
    data = pd.DataFrame({"x": x, "y": 1 / (0.2 + 2 * x) + 0.3 * random.normal(size=300)})
    model = bh.glm("y ~ x", data, sm.families.Gaussian(sm.families.links.InversePower()))
    with pytest.raises(bh.EstimationError, match="fits worse than the mean of the dependent variable"):
        model.fit(start_params=[-12000.0, 22000.0])
