"""Margins of every model with regressors: finite differences of `predict`, through the formula and at moved parameters."""

from dataclasses import replace

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pyfixest as pf
import pytest
import statsmodels.api as sm
import torch

import betahat as bh

# Differences of fourth order with steps of 3e-3 have an error of 1e-10 of the fifth derivative, and rounding of 1e-13; central ones of 1e-4 in the
# parameters have one of 1e-8 of the third, and rounding of 1e-9 of those differences, which enter the standard errors.
CLOSE = {"rtol": 1e-8, "atol": 1e-10}
ERRORS = {"rtol": 1e-6, "atol": 1e-9}
_STEP = 3e-3
_STENCIL = ((1.0, 8.0 / 12.0), (-1.0, -8.0 / 12.0), (2.0, -1.0 / 12.0), (-2.0, 1.0 / 12.0))

RIGHT = "x * d + I(w ** 2) + C(g)"


@pytest.fixture(scope="module")
def frame():
    rng = np.random.default_rng(3)
    n = 160
    found = pd.DataFrame(
        {
            "x": rng.normal(size=n),
            "w": rng.uniform(1.0, 3.0, n),
            "d": rng.integers(0, 2, n),
            "g": rng.choice(["a", "b", "c"], n),
            "firm": rng.integers(0, 8, n),
            "t": rng.uniform(0.5, 2.0, n),
            "often": rng.integers(1, 4, n),
            "iv": rng.normal(size=n),
        }
    )
    index = 0.3 * found.x + 0.5 * found.d - 0.3 * (found.g == "b") + 0.2 * found.w
    noise = rng.normal(size=n)
    counts = rng.poisson(np.exp(index + 0.8 * rng.normal(size=n) - 0.3)).astype(float)
    return found.assign(
        y=index + noise,
        seen=(index + noise).clip(lower=0.5),
        yes=(rng.uniform(size=n) < 1.0 / (1.0 + np.exp(0.5 - index))).astype(float),
        count=counts,
        rare=np.where(rng.uniform(size=n) < 0.3, 0.0, counts),
        size=np.exp(index + 0.4 * rng.normal(size=n)),
        died=rng.integers(0, 2, n),
        kind=rng.choice(["lo", "mid", "hi"], n),
        level=pd.cut(index + noise, 3, labels=["lo", "mid", "hi"]),
        price=found.iv + 0.5 * noise + 0.3 * rng.normal(size=n),
    )


def _glm(family, left):
    return lambda df: bh.glm(f"{left} ~ {RIGHT}", df, family=family).fit("HC1")


MODELS = {
    "OLS": lambda df: bh.ols(f"y ~ {RIGHT}", df).fit("HC2"),
    "WLS": lambda df: bh.wls(f"y ~ {RIGHT}", df, weights="w").fit(),
    "Logit": lambda df: bh.logit(f"yes ~ {RIGHT}", df).fit(),
    "Probit": lambda df: bh.probit(f"yes ~ {RIGHT}", df).fit("HC0"),
    "Poisson": lambda df: bh.poisson(f"count ~ {RIGHT}", df, exposure="t").fit("HC1"),
    "NegativeBinomial": lambda df: bh.negativebinomial(f"count ~ {RIGHT}", df, offset="t").fit(),
    "gamma": _glm(sm.families.Gamma(sm.families.links.Log()), "size"),
    "cloglog": _glm(sm.families.Binomial(sm.families.links.CLogLog()), "yes"),
    "inverse": _glm(sm.families.InverseGaussian(sm.families.links.Log()), "size"),
    "sqrt": _glm(sm.families.Poisson(sm.families.links.Sqrt()), "count"),
    "MNLogit": lambda df: bh.mnlogit(f"kind ~ {RIGHT}", df).fit(),
    "OrderedModel": lambda df: bh.ordered(f"level ~ {RIGHT}", df, distr="logit").fit(),
    "zero-inflated": lambda df: bh.zeroinflatedpoisson(f"rare ~ {RIGHT}", df, exog_infl="~ x + d").fit(),
    "hurdle": lambda df: bh.hurdlepoisson("rare ~ x * d", df, exog_zero=f"~ {RIGHT}").fit(),
    "Tobit": lambda df: bh.tobit(f"seen ~ {RIGHT}", df, left=0.5).fit(),
    "AFT": lambda df: bh.aft(f"size ~ {RIGHT}", df, status="died", dist="weibull").fit(),
    "QuantReg": lambda df: bh.quantreg(f"y ~ {RIGHT}", df).fit(q=[0.3, 0.7]),
    "RLM": lambda df: bh.rlm(f"y ~ {RIGHT}", df).fit(),
    "instruments": lambda df: bh.ols("y ~ x + C(g) | price ~ iv + w", df).fit("HC1"),
}
BESIDE = {"Poisson": {"exposure": "t"}, "NegativeBinomial": {"offset": "t"}}
# What else `predict` calls by a name, and margins by the same.
WHICH = {
    "Tobit": "expected",
    "AFT": "mean",
    "zero-inflated": "prob-zero",
    "hurdle": "mean-nonzero",
    "OrderedModel": "cumprob",
    "MNLogit": "linear",
    "Logit": "linear",
    "NegativeBinomial": "var",
}
# Of a kind with others, by other closed forms.
ALIKE = {"WLS", "Probit", "cloglog", "inverse", "sqrt", "RLM", "AFT", "hurdle", "QuantReg"}
CASES = [
    pytest.param(name, which, id=f"{name}-{which}", marks=[pytest.mark.slow] if name in ALIKE else [])
    for name, which in [*((name, None) for name in MODELS), *WHICH.items()]
]


@pytest.fixture(scope="module")
def fitted(frame):
    made = {}

    def of(name):
        if name not in made:
            made[name] = MODELS[name](frame)
        return made[name]

    return of


def _moves(res, data):
    """The frames whose average means make each slope or contrast, and what they are multiplied by."""
    for name in res.model.source.variables:
        if name == "g":
            for level in ("b", "c"):
                yield [(data.assign(g=level), 1.0), (data.assign(g="a"), -1.0)]
        elif name == "d":
            yield [(data.assign(d=1), 1.0), (data.assign(d=0), -1.0)]
        else:
            yield [(data.assign(**{name: data[name] + far * _STEP}), share / _STEP) for far, share in _STENCIL]


def _naive(res, data, beside, which):
    """(m,) averages by differences of `predict`, outcome by outcome, and their (m, k) derivatives by those at moved parameters."""
    moves = list(_moves(res, data))
    every = pd.concat([part for move in moves for part, _ in move], ignore_index=True)
    options = {**beside, **({} if which is None else {"which": which})}

    def numbers(params):
        there = replace(res, fit=replace(res.fit, params=params))
        means = np.asarray(there.predict(every, **options)).reshape(len(every), -1)
        averages = iter(means.reshape(-1, len(data), means.shape[1]).mean(1))
        return np.stack([sum(share * next(averages) for _, share in move) for move in moves], 1).ravel()

    params = res.fit.params
    jacobian = []
    for i, value in enumerate(params.tolist()):
        step = torch.zeros_like(params)
        step[i] = 1e-4 * (1.0 + abs(value))
        jacobian.append((numbers(params + step) - numbers(params - step)) / (2.0 * float(step[i])))
    return numbers(params), np.stack(jacobian, 1)


@pytest.mark.parametrize(("name", "which"), CASES)
def test_averages_are_differences_of_predictions(fitted, frame, name, which):
    res = fitted(name)
    estimates, jacobian = _naive(res, frame, BESIDE.get(name, {}), which)
    found = res.avg_slopes(which=which)
    np.testing.assert_allclose(found.estimates, estimates, **CLOSE)
    cov = jacobian @ res.cov.matrix.numpy() @ jacobian.T
    np.testing.assert_allclose(found.bse, np.sqrt(np.diag(cov)), **ERRORS)
    np.testing.assert_allclose(found.cov_params(), cov, rtol=1e-6, atol=1e-6 * np.abs(cov).max())


@pytest.mark.parametrize("name", ["OLS", "Logit", "Poisson", "MNLogit", "OrderedModel", "zero-inflated", "Tobit"])
def test_rows_and_predictions(fitted, frame, name):
    res = fitted(name)
    beside = BESIDE.get(name, {})
    new = frame.head(7)
    means = np.asarray(res.predict(new, **({"which": "mean"} if name == "Logit" else {})))
    outcomes = 1 if means.ndim == 1 else means.shape[1]
    np.testing.assert_allclose(
        np.asarray(res.predictions(new).params).reshape(outcomes, -1).T.reshape(means.shape), means, rtol=1e-12
    )
    averages = np.asarray(res.predict(frame, **beside)).reshape(len(frame), -1).mean(0)
    np.testing.assert_allclose(res.avg_predictions().params, averages, rtol=1e-12)
    rows = np.asarray(res.comparisons("d").params).reshape(outcomes, -1)
    each = [np.asarray(res.predict(frame.assign(d=d), **beside)).reshape(len(frame), -1) for d in (1, 0)]
    np.testing.assert_allclose(rows, (each[0] - each[1]).T, rtol=1e-9, atol=1e-13)


@pytest.mark.parametrize("model", [bh.OLS, bh.Logit, bh.Poisson, bh.RLM])
def test_columns_are_variables(frame, model):
    left = {bh.Logit: "yes", bh.Poisson: "count"}.get(model, "y")
    X = bh.add_constant(frame[["x", "w", "d"]])
    by_formula = getattr(bh, model.__name__.lower())(f"{left} ~ x + w + d", frame).fit().avg_slopes()
    for endog, exog in [
        (frame[left], X),
        (frame[left].to_numpy(), X.to_numpy()),
        (torch.tensor(frame[left].to_numpy()), torch.tensor(X.to_numpy())),
    ]:
        found = model(endog, exog).fit().avg_slopes()
        np.testing.assert_allclose(found.estimates, by_formula.estimates, rtol=1e-10)
        np.testing.assert_allclose(found.bse, by_formula.bse, rtol=1e-8)
        assert list(found.labels.term) == (["x", "w", "d"] if exog is X else ["x1", "x2", "x3"])


@pytest.mark.parametrize("container", ["dict", "polars", "pyarrow"])
def test_frames_of_any_library(frame, container):
    gaps = frame.assign(x=frame.x.where(frame.index % 10 != 3))[["yes", "x", "d", "g", "w"]]
    data = {
        "dict": lambda: {name: column.to_numpy() for name, column in gaps.items()},
        "polars": lambda: pl.from_pandas(gaps),
        "pyarrow": lambda: pa.Table.from_pandas(gaps),
    }[container]()
    expected = bh.logit("yes ~ x * d + C(g)", gaps).fit().avg_slopes(by="d")
    found = bh.logit("yes ~ x * d + C(g)", data).fit().avg_slopes(by="d")
    np.testing.assert_allclose(found.estimates, expected.estimates, rtol=1e-12)
    assert found.names == expected.names


def test_both_equations_by_columns_and_by_formula(frame):
    res = bh.zeroinflatedpoisson("rare ~ x + w", frame, exog_infl="~ x + d").fit()
    columns = bh.ZeroInflatedPoisson(
        frame.rare, bh.add_constant(frame[["x", "w"]]), exog_infl=bh.add_constant(frame[["x", "d"]])
    ).fit()
    one, other = res.avg_slopes(["x", "w", "d"]), columns.avg_slopes(["x", "w", "d"])
    np.testing.assert_allclose(one.estimates, other.estimates, rtol=1e-8)
    np.testing.assert_allclose(one.bse, other.bse, rtol=1e-6)


def test_weights_of_frequency_are_repeated_rows(frame):
    once = bh.logit("yes ~ x * d + w", frame, freq_weights="often").fit()
    rows = bh.logit("yes ~ x * d + w", frame.loc[frame.index.repeat(frame.often)]).fit()
    for call in ("avg_slopes", "avg_predictions"):
        np.testing.assert_allclose(getattr(once, call)().estimates, getattr(rows, call)().estimates, rtol=1e-9)
        np.testing.assert_allclose(getattr(once, call)().bse, getattr(rows, call)().bse, rtol=1e-7)


@pytest.mark.parametrize("rank", ["pinv", "drop"])
def test_collinear_columns(frame, rank):
    data = frame.assign(twice=2.0 * frame.d)
    with pytest.warns(bh.CollinearityWarning):
        res = bh.logit("yes ~ x * d + C(g) + twice", data).fit(rank=rank)
    without = bh.logit("yes ~ x * d + C(g)", data).fit().avg_slopes(["x", "g"])
    found = res.avg_slopes(["x", "g"])
    np.testing.assert_allclose(found.estimates, without.estimates, rtol=1e-9)
    np.testing.assert_allclose(found.bse, without.bse, rtol=1e-7)
    if rank == "drop":  # the model is that without the column
        assert list(dict.fromkeys(res.avg_slopes().labels.term)) == ["x", "d", "g"]
        with pytest.raises(bh.OptionError, match="'twice' moves columns alone that were left out as collinear"):
            res.avg_slopes("twice")
        return
    with pytest.warns(bh.CollinearityWarning, match="do not identify 'd', 'twice'"):
        assert np.isnan(res.avg_slopes(["d", "twice"]).bse).all()


def test_absorbed_effects_cancel(frame):
    right = "x * C(g) + I(w ** 2) + d"
    absorbed, dummies = (
        bh.ols(f"y ~ {right} | firm", frame).fit("HC1"),
        bh.ols(f"y ~ {right} + C(firm)", frame).fit("HC1"),
    )
    variables = ["x", "g", "w", "d"]
    for by in (None, "firm"):
        one, other = absorbed.avg_slopes(variables, by=by), dummies.avg_slopes(variables, by=by)
        np.testing.assert_allclose(one.estimates, other.estimates, rtol=1e-8, atol=1e-12)
        np.testing.assert_allclose(one.bse, other.bse, rtol=1e-7)
    assert "firm" not in set(absorbed.avg_slopes().labels.term)
    counts, all_of_them = (
        bh.poisson("count ~ x + d | firm", frame).fit(),
        bh.poisson("count ~ x + d + C(firm)", frame).fit(),
    )
    for comparison in ("ratio", "lnratio", "lift"):
        for call in ("comparisons", "avg_comparisons"):
            one, other = (getattr(res, call)("d", comparison=comparison) for res in (counts, all_of_them))
            np.testing.assert_allclose(one.estimates, other.estimates, rtol=1e-7)
            np.testing.assert_allclose(one.bse, other.bse, rtol=1e-6)
    with pytest.warns(bh.BetahatWarning, match="incidental"):
        odds = bh.logit("yes ~ x + d | firm", frame).fit().comparisons("d", comparison="lnor")
    np.testing.assert_allclose(odds.estimates, odds.of.params["d"], rtol=1e-9)
    np.testing.assert_allclose(counts.avg_slopes("x", slope="eydx").params, counts.params["x"], rtol=1e-9)


@pytest.mark.filterwarnings("ignore:.*:DeprecationWarning")  # pyfixest's use of pandas
@pytest.mark.filterwarnings("ignore:.*inplace.*")
def test_effects_of_pyfixest(frame):
    # marginaleffects 0.6 does not read pyfixest's results with polars 2: their slope by hand.
    ours = bh.ols("y ~ x * w + d | firm", frame).fit("HC1").avg_slopes("x")
    theirs = pf.feols("y ~ x * w + d | firm", frame, vcov="hetero")
    place = [theirs._coefnames.index(name) for name in ("x", "x:w")]
    weights, cov = np.array([1.0, frame.w.mean()]), theirs._vcov[np.ix_(place, place)]
    np.testing.assert_allclose(ours.estimates, weights @ theirs._beta_hat[place], rtol=1e-7)
    np.testing.assert_allclose(ours.bse, np.sqrt(weights @ cov @ weights), rtol=1e-6)
    counts = bh.poisson("count ~ x * w | firm", frame).fit("HC1")
    rows = counts.comparisons("x", newdata=frame.head(3), comparison="lnratio")
    theirs = pf.fepois("count ~ x * w | firm", frame, vcov="hetero", iwls_tol=1e-12)
    place = [theirs._coefnames.index(name) for name in ("x", "x:w")]
    weights = np.stack([np.ones(3), frame.w.head(3)], 1)
    np.testing.assert_allclose(rows.estimates, weights @ theirs._beta_hat[place], rtol=1e-6)
    errors = np.sqrt(np.diag(weights @ theirs._vcov[np.ix_(place, place)] @ weights.T))
    np.testing.assert_allclose(rows.bse, errors, rtol=1e-3)  # pyfixest stops earlier


@pytest.mark.parametrize(
    ("call", "sentence"),
    [
        (lambda df: bh.poisson("count ~ x | firm", df).fit().avg_slopes(), "depend on the absorbed effects"),
        (lambda df: bh.ols("y ~ x | firm", df).fit().avg_predictions(), "depend on the absorbed effects"),
        (lambda df: bh.ols("y ~ x | firm", df).fit().predictions(df.head(2)), "depend on the absorbed effects"),
        (lambda df: bh.ols("y ~ x | firm", df).fit().avg_slopes("firm"), "'firm' is part of an absorbed effect"),
        (lambda df: bh.ols("y ~ x", df).fit().avg_slopes(which="mean"), "predicts the mean, x'b alone"),
        (lambda df: bh.quantreg("y ~ x", df).fit().avg_slopes(which="mean"), "predicts quantiles alone"),
        (lambda df: bh.logit("yes ~ x", df).fit().avg_slopes(which="var"), "which is 'var'; use 'mean' or 'linear'"),
        (lambda df: bh.mnlogit("kind ~ x", df).fit().avg_slopes(which="var"), "use 'mean' or 'linear'"),
        (lambda df: bh.tobit("seen ~ x", df, left=0.5).fit().avg_slopes(which="mean"), "use one of 'latent'"),
        (lambda df: bh.phreg("size ~ x", df, status="died").fit().avg_slopes(), "leaves the baseline hazard open"),
    ],
)
def test_what_is_refused(frame, call, sentence):
    with pytest.raises(bh.BetahatError, match=sentence):
        call(frame)
