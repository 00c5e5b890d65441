"""What OrderedModel refuses, and what it says."""

import numpy as np
import pandas as pd
import pytest

import betahat as bh

RANDOM = np.random.default_rng(0)
X = RANDOM.normal(size=(60, 2))
Y = RANDOM.integers(0, 3, 60)
FRAME = pd.DataFrame({"y": Y, "x": X[:, 0], "g": np.arange(60) % 4})


def _category(values, levels, ordered=True):
    return pd.Series(pd.Categorical(values, levels, ordered=ordered))


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (lambda: bh.OrderedModel(np.ones(60), X), bh.DataError, "endog has one category, '1'"),
        (lambda: bh.OrderedModel(np.arange(60), X), bh.DataError, "60 categories in 60 rows"),
        (lambda: bh.OrderedModel(Y, bh.add_constant(X)), bh.DataError, "exog has a constant, const, and"),
        (
            lambda: bh.OrderedModel(Y, np.eye(3)[np.arange(60) % 3]),
            bh.DataError,
            "A combination of 'x1', 'x2', 'x3' is constant",
        ),
        (lambda: bh.ordered("y ~ 0 + C(g)", FRAME), bh.DataError, "is constant"),
        (lambda: bh.ordered("y ~ 1", FRAME), bh.FormulaError, "side '1' has no regressors beside the constant"),
        (lambda: bh.ordered("y ~ 0", FRAME), bh.FormulaError, "side '0' has no regressors beside the constant"),
        (
            lambda: bh.ordered("y ~ C(k)", FRAME.assign(k="a")),
            bh.FormulaError,
            r"side 'C\(k\)' has no regressors beside the constant",
        ),
        (
            lambda: bh.OrderedModel(Y, FRAME.rename(columns={"x": "0/1"})[["0/1"]]),
            bh.DataError,
            "a parameter '0/1' of its own",
        ),
        (lambda: bh.OrderedModel(Y, X).fit("HC4"), bh.EstimationError, "HC4, HC4m and HC5 by powers of it"),
        (lambda: bh.OrderedModel(Y, X, distr="weibull"), bh.OptionError, "distr is 'weibull'; use one of"),
        (lambda: bh.OrderedModel(_category(Y, [0, 1, 2, 7]), X), bh.DataError, "No row is of the category '7'"),
        (
            lambda: bh.OrderedModel(_category(Y, [-1, 0, 1, 2, 7]), X),
            bh.DataError,
            "No row is of the categories '-1', '7'",
        ),
        (
            lambda: bh.OrderedModel(Y, X, freq_weights=(Y < 2) * 1),
            bh.DataError,
            "Every row of the category '2' has weight 0, .*leave these rows out",
        ),
        (
            lambda: bh.ordered("y ~ a + b + x", FRAME[:3].assign(a=[1.0, 2.0, 4.0], b=[3.0, 1.0, 2.0])),
            bh.EstimationError,
            "With 3 rows for 3 coefficients no degrees of freedom are left; use",
        ),
        (lambda: bh.OrderedModel(Y, X).fit().predict(which="mean"), bh.OptionError, "which is 'mean'; use 'prob'"),
        (lambda: bh.OrderedModel(Y, X).fit("HC3"), bh.EstimationError, "ordered categories have several"),
        (
            lambda: bh.OrderedModel(Y, X).fit().cases,
            bh.EstimationError,
            "has categories in the place of numbers; draw resid_prob, a",
        ),
        (lambda: bh.OrderedModel(Y, X).fit(method="bfgs"), bh.OptionError, "fit does not take 'method'"),
    ],
)
def test_sentences(call, error, words):
    with pytest.raises(error, match=words):
        call()


def test_a_category_without_an_order():
    with pytest.warns(bh.BetahatWarning, match="without an order, so '0', '1', '2' are taken to rise"):
        bh.OrderedModel(_category(Y, [0, 1, 2], ordered=False), X)


@pytest.mark.parametrize("model", [bh.ordered, bh.mnlogit])
def test_sentences_about_formulas_name_the_column(model):
    with pytest.raises(bh.FormulaError, match=r"formula 'y ~ nope' .* columns are 'y', 'x', 'g'\."):
        model("y ~ nope", FRAME)
    with pytest.raises(bh.DataError, match=r"by column: y \(2\)"):
        model("y ~ x", FRAME.assign(y=FRAME["y"].where(FRAME.index > 1)), missing="raise")


def test_text_has_no_order():
    text = np.array(["lo", "mid", "top"])[Y]
    for call in (lambda: bh.OrderedModel(text, X), lambda: bh.ordered("t ~ x", FRAME.assign(t=text))):
        with pytest.warns(
            bh.BetahatWarning, match=r"endog is text, so 'lo', 'mid', 'top' are taken to rise .*ordered=True"
        ):
            call()


@pytest.mark.parametrize("distr", ["logit", "probit", "cloglog", "loglog"])
def test_separation(distr):
    x = np.linspace(-1.0, 1.0, 60)
    y = np.digitize(x, [-0.3, 0.4])
    with pytest.raises(bh.EstimationError, match=r"falls forever along .*x1.*separated"):
        bh.OrderedModel(y, x, distr=distr).fit()
