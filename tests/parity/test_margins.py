"""Marginal effects against live statsmodels, and against a delta method of our own with torch.func."""

import re
from functools import cache, partial

import numpy as np
import pandas as pd
import pytest
import statsmodels.api as sm
import statsmodels.formula.api as smf
import torch
from scipy.stats import norm
from support.discrete import CONVERGED
from support.summaries import check_printed

import betahat as bh

# As in test_discrete.py.
RELATIVE = 1e-9
# statsmodels takes the effects' derivatives in the coefficients by complex steps, which are exact, but for Probit, whose
# norm.cdf takes no complex numbers: there by forward differences of 1.5e-8, which leave half the digits.
STEPS = {"Logit": RELATIVE, "Probit": 1e-6, "Poisson": RELATIVE, "MNLogit": RELATIVE}
# Both sides are derivatives by torch in double precision of the same function, written twice.
EXACT = 1e-11

MODELS = ("Logit", "Probit", "Poisson", "MNLogit")
AT = ("overall", "mean", "median", "zero", "all")
METHODS = ("dydx", "eyex", "dyex", "eydx")
COVARIANCES = ("nonrobust", "HC0")
NAMES = ["const", "age", "flag", "kids", "size"]


def _data(n=90, seed=3):
    """A constant, a number, a dummy, a count and a number far from zero; a dependent variable for each model."""
    rng = np.random.default_rng(seed)
    x = np.column_stack(
        [np.ones(n), rng.normal(size=n), rng.integers(0, 2, n), rng.integers(0, 5, n), 3 + rng.normal(size=n)]
    )
    index = x @ [0.2, 0.7, -0.5, 0.15, -0.1]
    y = {
        "Logit": (index + rng.logistic(size=n) > 0) * 1.0,
        "Probit": (index + rng.normal(size=n) > 0) * 1.0,
        "Poisson": rng.poisson(np.exp(index)) * 1.0,
        "MNLogit": np.argmax(np.column_stack([0 * index, index, -0.5 * index + 0.3]) + rng.gumbel(size=(n, 3)), 1),
    }
    return y, x


Y, X = _data()


def _fit(quiet, model, cov_type="nonrobust", use_t=None):
    mine = getattr(bh, model)(Y[model], X).fit(cov_type, use_t=use_t)
    return mine, quiet(getattr(sm, model)(Y[model], X).fit, cov_type=cov_type, use_t=use_t, **CONVERGED)


@pytest.fixture(scope="module")
def pair(quiet):
    """Fit betahat and statsmodels, once."""
    return cache(partial(_fit, quiet))


# A product with a coefficient below zero at x = 0 is -0 in statsmodels and 0 in betahat: a sign of nothing.
def _unsigned(text):
    return re.sub(r"-0(?![.\d])", " 0", text)


def _same_tables(mine, theirs, model, close, quiet, alpha=0.05):
    close(mine.margeff, theirs.margeff, np.maximum(np.abs(theirs.margeff), theirs.margeff_se), label="margeff")
    close(mine.margeff_se, theirs.margeff_se, tolerance=STEPS[model], label="margeff_se")
    size = np.sqrt(np.diag(theirs.margeff_cov))
    close(mine.margeff_cov, theirs.margeff_cov, np.outer(size, size), tolerance=2 * STEPS[model], label="margeff_cov")
    for attribute in ("tvalues", "pvalues"):
        close(getattr(mine, attribute), quiet(getattr, theirs, attribute), 1.0 + np.abs(quiet(getattr, theirs, "tvalues")),
              tolerance=10 * STEPS[model], label=attribute)  # fmt: skip
    interval = theirs.conf_int(alpha)
    close(mine.conf_int(alpha), interval, np.max(np.abs(interval)), tolerance=STEPS[model], label="conf_int")
    found, expected = mine.summary(alpha=alpha), quiet(theirs.summary, alpha=alpha)
    check_printed(found, expected, quiet, _unsigned)
    frame, expected = mine.summary_frame(alpha=alpha), quiet(theirs.summary_frame, alpha=alpha)
    pd.testing.assert_frame_equal(frame, expected, rtol=100 * STEPS[model], atol=STEPS[model])


@pytest.mark.slow
@pytest.mark.parametrize("cov_type", COVARIANCES)
@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("at", AT)
@pytest.mark.parametrize("model", MODELS[:3])
def test_derivatives(model, at, method, cov_type, pair, close, quiet):
    mine, theirs = (result.get_margeff(at=at, method=method) for result in pair(model, cov_type))
    if at == "all":
        close(mine.margeff, theirs.margeff, np.abs(theirs.margeff).max())
    else:
        _same_tables(mine, theirs, model, close, quiet)


@pytest.mark.parametrize("cov_type", COVARIANCES)
@pytest.mark.parametrize("method", ["dydx", "eydx"])
@pytest.mark.parametrize("at", AT)
def test_derivatives_of_probabilities(at, method, cov_type, pair, close, quiet):
    """statsmodels' MNLogit has no elasticities: see test_what_statsmodels_does_not_have."""
    mine, theirs = (result.get_margeff(at=at, method=method) for result in pair("MNLogit", cov_type))
    if at == "all":
        close(mine.margeff, theirs.margeff, np.abs(theirs.margeff).max())
    else:
        _same_tables(mine, theirs, "MNLogit", close, quiet)


@pytest.mark.parametrize("steps", [{"dummy": True}, {"count": True}, {"dummy": True, "count": True}], ids=str)
@pytest.mark.parametrize("method", ["dydx", "eydx"])
@pytest.mark.parametrize("at", ["overall", "mean", "all"])
@pytest.mark.parametrize("model", MODELS[:3])
def test_steps(model, at, method, steps, pair, close, quiet):
    mine, theirs = (result.get_margeff(at=at, method=method, **steps) for result in pair(model, "HC0"))
    if at == "all":
        close(mine.margeff, theirs.margeff, np.abs(theirs.margeff).max())
    else:
        _same_tables(mine, theirs, model, close, quiet)


POINTS = {
    "one column": {1: 0.3},
    "several": {1: -1.0, 3: 2.0, 4: 0.5},
    "a column for each row": {1: np.linspace(-1, 2, 90)},
    "rows": X[:7] * [1, 0.5, 1, 1, 2],
    "as many rows": X[::-1] * [1, 0.5, 1, 1, 2],
}


@pytest.mark.parametrize(("points", "method"), [*((points, "dydx") for points in POINTS), ("several", "eydx")])
@pytest.mark.parametrize("at", ["overall", "mean", "median", "all"])
@pytest.mark.parametrize("model", MODELS)
def test_points(model, at, method, points, pair, close, quiet):
    points = POINTS[points].copy()
    mine, theirs = (result.get_margeff(at=at, method=method, atexog=points) for result in pair(model))
    if at == "all":
        close(mine.margeff, theirs.margeff, np.abs(theirs.margeff).max())
        return
    close(mine.margeff, theirs.margeff, np.abs(theirs.margeff).max())
    close(mine.margeff_se, theirs.margeff_se, tolerance=STEPS[model])
    assert _unsigned(str(mine.summary())) == _unsigned(str(quiet(theirs.summary)))


def test_points_by_name_and_position(pair):
    """A name of a column is betahat's own; a row is that point."""
    frame = pd.DataFrame(X, columns=NAMES)
    framed, mine = bh.Logit(Y["Logit"], frame).fit(), pair("Logit")[0]
    named = framed.get_margeff(atexog={"age": 0.3, "kids": 2.0}).margeff
    np.testing.assert_array_equal(named, framed.get_margeff(atexog={1: 0.3, 3: 2.0}).margeff)
    # A frame's columns lie one after the other, an array's rows do: sums of two fits differ in their last digit.
    np.testing.assert_allclose(named, mine.get_margeff(atexog={1: 0.3, 3: 2.0}).margeff, rtol=EXACT)
    np.testing.assert_array_equal(mine.get_margeff(atexog=X[4]).margeff, mine.get_margeff(atexog=X[4:5]).margeff)
    np.testing.assert_allclose(mine.get_margeff(at="all").margeff[4], mine.get_margeff(atexog=X[4]).margeff, rtol=EXACT)


@pytest.mark.parametrize("alpha", [0.1, 0.01])
@pytest.mark.parametrize("model", MODELS)
def test_alpha(model, alpha, pair, close, quiet):
    mine, theirs = (result.get_margeff() for result in pair(model))
    _same_tables(mine, theirs, model, close, quiet, alpha)


@pytest.mark.parametrize("model", MODELS)
def test_effects_are_normal_under_use_t_as_well(model, pair, close, quiet):
    """As in statsmodels."""
    mine, theirs = (result.get_margeff() for result in pair(model, "nonrobust", True))
    _same_tables(mine, theirs, model, close, quiet)


@pytest.mark.parametrize("model", MODELS)
def test_names(model, close, quiet):
    """Frames and formulas, long names, and a constant that is not first."""
    frame = pd.DataFrame(X, columns=NAMES).assign(out=Y[model], town=np.array(["n", "s", "w"])[np.arange(90) % 3])
    formula = "out ~ age + C(town) + np.exp(age / 4)"
    mine = getattr(bh, model.lower())(formula, frame).fit("HC0").get_margeff()
    theirs = quiet(getattr(smf, model.lower())(formula, frame).fit, cov_type="HC0", **CONVERGED).get_margeff()
    _same_tables(mine, theirs, model, close, quiet)
    x = frame[["age", "const", "size"]].set_axis(
        ["a_very_long_name_of_a_variable_that_never_ends", "const", "s"], axis=1
    )
    y = frame["out"].rename("how often in the last twelve months")
    mine = getattr(bh, model)(y, x).fit().get_margeff()
    theirs = quiet(getattr(sm, model)(y, x).fit, **CONVERGED).get_margeff()
    _same_tables(mine, theirs, model, close, quiet)
    mine = getattr(bh, model)(y, x.drop(columns="const")).fit().get_margeff()
    theirs = quiet(getattr(sm, model)(y, x.drop(columns="const")).fit, **CONVERGED).get_margeff()
    _same_tables(mine, theirs, model, close, quiet)


@pytest.mark.parametrize("classes", [["bus", "car", "train"], [1, 5, 7], [0.5, 1.0, 2.25]], ids=str)
def test_classes(classes, close, quiet):
    y, x = pd.Series(np.array(classes)[Y["MNLogit"]], name="mode"), pd.DataFrame(X, columns=NAMES)
    mine = bh.MNLogit(y, x).fit().get_margeff()
    _same_tables(mine, quiet(quiet(sm.MNLogit, y, x).fit, **CONVERGED).get_margeff(), "MNLogit", close, quiet)


# a delta method of our own


def _mean(model, theta, x, offset):
    """Return (n, J) means, written without betahat."""
    if model == "MNLogit":
        parts = torch.exp(torch.cat([torch.zeros(len(x), 1, dtype=x.dtype), x @ theta.reshape(2, -1).T], 1))
        return parts / parts.sum(1, keepdim=True)
    index = x @ theta + offset
    if model == "Logit":
        return (1 / (1 + torch.exp(-index)))[:, None]
    if model == "Probit":
        return (0.5 * torch.erfc(-index / 2**0.5))[:, None]
    return torch.exp(index)[:, None]


def _effect(model, at, method, dummy, count, theta, x, offset):
    """Return (p, J) effects at the average row, or averaged over the rows."""
    varies = [j for j in range(x.shape[1]) if len(torch.unique(x[:, j])) > 1]
    if at == "mean":
        x, offset = x.mean(0, keepdim=True), offset.mean()[None]
    elif at == "zero":
        x, offset = (
            torch.tensor([[0.0 if j in varies else 1.0 for j in range(x.shape[1])]], dtype=x.dtype),
            torch.zeros(1, dtype=x.dtype),
        )

    def row(point, shift):
        """Return (p, J)."""
        function = lambda z: _mean(model, theta, z[None], shift)[0]  # noqa: E731
        slopes, value = torch.func.jacrev(function)(point), function(point)
        out = []
        for j in varies:
            if (dummy and j == 2) or (count and j == 3):
                low, high = (0.0, 1.0) if j == 2 else (point[j] - 1, point[j] + 1)
                away = torch.zeros_like(point)
                away[j] = 1.0
                ends = [function(point + away * (end - point[j])) for end in (low, high)]
                ends = [end.log() for end in ends] if method == "eydx" else ends
                out.append((ends[1] - ends[0]) / (high - low))
                continue
            effect = slopes[:, j]
            effect = effect * point[j] if method in ("eyex", "dyex") else effect
            out.append(effect / value if method in ("eyex", "eydx") else effect)
        return torch.stack(out)

    return torch.stack([row(point, shift) for point, shift in zip(x, offset, strict=True)]).mean(0)


# Rows whose fits have no index below -5: see test_probabilities_of_the_tail.
ROWS = slice(30, 66)
SIZE = 36
DELTAS = [
    *[(at, method, False, False) for at in ("overall", "mean", "zero") for method in METHODS],
    *[(at, method, dummy, count) for at in ("overall", "mean") for method in ("dydx", "eydx") for dummy, count in ((True, False), (False, True), (True, True))],
]  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("weighted", [False, True], ids=["", "offset"])
@pytest.mark.parametrize(("at", "method", "dummy", "count"), DELTAS)
@pytest.mark.parametrize("model", MODELS)
def test_delta_method(model, at, method, dummy, count, weighted, close):
    """The gradient in the coefficients of the average effect is jacrev's, and the covariance G V G'."""
    y, x = Y[model][ROWS], X[ROWS]
    offset = np.linspace(-0.4, 0.4, SIZE) if weighted and model != "MNLogit" else np.zeros(SIZE)
    options = {"offset": offset} if offset.any() else {}
    mine = getattr(bh, model)(y, x, **options).fit("HC0")
    theta = torch.tensor(np.asarray(mine.params).ravel(order="F"))
    found = partial(_effect, model, at, method, dummy, count, x=torch.tensor(x), offset=torch.tensor(offset))
    effect = found(theta)
    gradient = torch.func.jacrev(found)(theta).movedim(1, 0).reshape(-1, len(theta))  # outcome by outcome
    covariance = gradient @ torch.tensor(np.asarray(mine.cov_params())) @ gradient.T
    margins = mine.get_margeff(at=at, method=method, dummy=dummy, count=count)
    expected = effect.numpy() if model == "MNLogit" else effect.numpy()[:, 0]
    errors = covariance.diagonal().sqrt().reshape(effect.shape[1], -1).T.numpy()
    close(margins.margeff, expected, np.abs(expected) + np.abs(errors.reshape(expected.shape)), tolerance=EXACT)
    close(margins.margeff_se, errors.reshape(expected.shape), errors.max(), tolerance=EXACT)
    close(margins.margeff_cov, covariance, float(covariance.abs().max()), tolerance=EXACT)


def test_what_statsmodels_does_not_have(pair):
    """The combinations that fail there; test_delta_method proves them here."""
    theirs = pair("MNLogit")[1]
    for options in ({"method": "eyex"}, {"method": "dyex"}, {"dummy": True}, {"count": True}):
        with pytest.raises(ValueError, match="broadcast"):
            theirs.get_margeff(**options)
    with pytest.raises(NotImplementedError, match="offset"):
        sm.Logit(Y["Logit"], X, offset=X[:, 1]).fit(disp=0).get_margeff()


def test_exposure_counts(close):
    """Intended difference: statsmodels forgets exposure, and returns the effects at an exposure of one."""
    exposure = np.linspace(0.5, 4, 90)
    mine = bh.Poisson(Y["Poisson"], X, exposure=exposure).fit()
    theirs = sm.Poisson(Y["Poisson"], X, exposure=exposure).fit(**CONVERGED)
    close(mine.get_margeff().margeff, theirs.params[1:] * theirs.predict().mean())
    close(theirs.get_margeff().margeff, theirs.params[1:] * np.exp(X @ theirs.params).mean())


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("at", ["overall", "mean", "median"])
def test_frequencies_are_repeated_rows(at, model, close):
    often = np.random.default_rng(8).integers(1, 4, 90)
    mine = getattr(bh, model)(Y[model], X, freq_weights=often).fit("HC0").get_margeff(at=at)
    again = getattr(bh, model)(np.repeat(Y[model], often), np.repeat(X, often, 0)).fit("HC0").get_margeff(at=at)
    close(mine.margeff, again.margeff, np.abs(again.margeff).max())
    close(mine.margeff_se, again.margeff_se)


def test_probabilities_of_the_tail(pair, close):
    mine = pair("Probit")[0]
    index = -np.arange(2.0, 30.0)
    points = np.column_stack([index / mine.params[0], np.zeros((28, 4))])
    close(mine.predict(points), norm.cdf(index))
    hazard = np.exp(norm.logpdf(index) - norm.logcdf(index))
    found = mine.get_margeff(at="all", method="eydx", atexog=points).margeff
    close(found, hazard[:, None] * mine.params[1:])


def test_offset_at_the_median(close):
    """Of an even number of rows the median is the middle of two, of the offset as of the regressors."""
    offset = np.random.default_rng(8).normal(size=90)
    res = bh.Poisson(Y["Poisson"], X, offset=offset).fit()
    mean = np.exp(np.median(X, axis=0) @ res.params + np.median(offset))
    close(res.get_margeff(at="median").margeff, res.params[1:] * mean)


@pytest.mark.parametrize("model", MODELS)
def test_containers(model):
    """Tensors give tensors; frames and arrays give arrays, and frames their names."""
    y, x = np.asarray(Y[model], dtype=float), X
    expected = getattr(bh, model)(y, x).fit().get_margeff()
    tensors = getattr(bh, model)(torch.tensor(y), torch.tensor(x)).fit().get_margeff()
    assert isinstance(tensors.margeff, torch.Tensor)
    assert isinstance(tensors.margeff_se, torch.Tensor)
    np.testing.assert_array_equal(tensors.margeff.numpy(), expected.margeff)
    frame = getattr(bh, model)(pd.Series(y, name="out"), pd.DataFrame(x, columns=NAMES)).fit().get_margeff()
    np.testing.assert_allclose(np.asarray(frame.margeff), expected.margeff, rtol=EXACT)
    assert [name[-1] if isinstance(name, tuple) else name for name in frame.summary_frame().index[:4]] == NAMES[1:]
    assert str(frame) == str(frame.summary())
