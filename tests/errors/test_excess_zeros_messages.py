"""What zero-inflated and hurdle models say about data, options and estimates that they cannot have."""

import numpy as np
import pandas as pd
import pytest

import betahat as bh

DRAW = np.random.default_rng(2)
ROWS = 300
X = np.column_stack([np.ones(ROWS), DRAW.normal(size=(ROWS, 2))])
THERE = DRAW.uniform(size=ROWS) < 0.7
POISSON = DRAW.poisson(np.exp(0.5 + 0.3 * X[:, 1])).astype(float)
Y = POISSON * THERE
FRAME = pd.DataFrame({"y": Y, "x": X[:, 1], "z": X[:, 2]})
MODELS = (bh.ZeroInflatedPoisson, bh.ZeroInflatedNegativeBinomialP, bh.HurdlePoisson, bh.HurdleNegativeBinomial)


@pytest.fixture(params=MODELS, ids=lambda model: model.__name__)
def model(request):
    return request.param


def says(sentence, error, function, *args, **options):
    with pytest.raises(error, match=sentence):
        function(*args, **options)


def test_what_is_no_count(model):
    wrong = np.where(np.arange(ROWS) < 3, -1.0, np.where(np.arange(ROWS) == 5, 0.5, Y))
    says(
        r"endog has 3 negative values and 1 fraction, and .* needs counts; leave out rows with negative values, and round fractions",
        bh.DataError,
        model,
        wrong,
        X,
    )
    says("endog is 0 in every row", bh.DataError, model, 0.0 * Y, X)
    says("endog has no zeros, and .* has an equation for them; use Poisson", bh.DataError, model, Y + 1.0, X)


def test_options():
    says(
        "inflation is 'cloglog'; use one of 'logit', 'probit'",
        bh.OptionError,
        bh.ZeroInflatedPoisson,
        Y,
        X,
        inflation="cloglog",
    )
    says("link is 3; use one of 'logit', 'probit'", bh.OptionError, bh.HurdlePoisson, Y, X, link=3)
    says(
        r"p is 3; use 2, for a variance of mu \+ alpha mu\^2, or 1",
        bh.OptionError,
        bh.ZeroInflatedNegativeBinomialP,
        Y,
        X,
        p=3,
    )


def test_regressors_of_the_second_equation():
    says("exog_infl has 5 rows, but exog has 300", bh.DataError, bh.ZeroInflatedPoisson, Y, X, X[:5])
    says(
        "The indices of exog_infl and exog differ",
        bh.DataError,
        bh.ZeroInflatedPoisson,
        Y,
        FRAME[["x"]],
        FRAME[["z"]][::-1],
    )
    says(
        "exog_zero is 'z'; write the regressors alone", bh.FormulaError, bh.hurdlepoisson, "y ~ x", FRAME, exog_zero="z"
    )
    says("exog_zero is 'y ~ z'; write", bh.FormulaError, bh.hurdlepoisson, "y ~ x", FRAME, exog_zero="y ~ z")
    says("exog_zero is a ndarray; beside a formula", bh.FormulaError, bh.hurdlepoisson, "y ~ x", FRAME, exog_zero=X)
    says("exog_infl='~ 0' has no regressors", bh.FormulaError, bh.zeroinflatedpoisson, "y ~ x", FRAME, exog_infl="~ 0")
    says("refers to 'w'", bh.FormulaError, bh.zeroinflatedpoisson, "y ~ x", FRAME, exog_infl="~ w")
    twice = np.column_stack([X, X[:, 1]])
    says(
        "'inflate_x3' depends linearly on the other columns of the equation inflate",
        bh.EstimationError,
        bh.ZeroInflatedPoisson(Y, X, twice).fit,
    )
    says(
        "depends linearly on the other columns of the main equation; leave such columns out, which rank= does only where all",
        bh.EstimationError,
        bh.zeroinflatedpoisson(r"y ~ x + I(2 * x)", FRAME).fit,
        rank="drop",
    )
    says(
        "several parts.*the second beside it, exog_infl='~ ...'",
        bh.FormulaError,
        bh.zeroinflatedpoisson,
        "y ~ x | z",
        FRAME,
    )
    says("several parts.*the second beside it, exog_zero=", bh.FormulaError, bh.hurdlepoisson, "y ~ x | z", FRAME)


def test_names_of_two_parameters():
    """Tests, tables and functions of the parameters go by names."""
    own = FRAME.assign(inflate_z=X[:, 2], zero_z=X[:, 2], alpha=X[:, 2])
    says("'inflate_z' begins with 'inflate_'", bh.DataError, bh.zeroinflatedpoisson, "y ~ x + inflate_z", own)
    says("'zero_z' begins with 'zero_'.*rename the column", bh.DataError, bh.hurdlepoisson, "y ~ x + zero_z", own)
    names = bh.add_constant(FRAME[["x"]].rename(columns={"x": "inflate_const"}))
    says("has a parameter 'inflate_const' of its own.*rename", bh.DataError, bh.ZeroInflatedPoisson, Y, names)
    for formula in (bh.negativebinomial, bh.zeroinflatednegativebinomialp):
        says("has a parameter 'alpha' of its own.*rename the column", bh.DataError, formula, "y ~ alpha", own)
    bh.negativebinomial("y ~ alpha", own, loglike_method="geometric")  # has none
    bh.hurdlenegativebinomial("y ~ alpha", own)  # "count_alpha"


def test_starts():
    model = bh.negativebinomial("y ~ x", FRAME)
    says("pass other parameters, with an alpha above zero", bh.EstimationError, model.fit, start_params=np.zeros(3))
    says("alpha.* is above zero", bh.EstimationError, bh.HurdleNegativeBinomial(Y, X).fit, start_params=np.zeros(7))


def test_predictions():
    arrays = bh.ZeroInflatedPoisson(Y, X, X[:, :2]).fit()
    says("exog_infl is passed without exog", bh.OptionError, arrays.predict, exog_infl=X[:3, :2])
    says("exog is passed without exog_infl", bh.OptionError, arrays.predict, X[:3])
    says(
        r"exog is \(3, 3\) and exog_infl \(4, 2\); pass as many rows of both, with 3 and 2 columns",
        bh.DataError,
        arrays.predict,
        X[:3],
        exog_infl=X[:4, :2],
    )
    says("which is 'median'; use one of 'mean', 'linear'", bh.OptionError, arrays.predict, which="median")
    says(
        "which is 'median'; use one of 'mean', 'linear'",
        bh.OptionError,
        arrays.model.predict,
        arrays.params,
        which="median",
    )
    says(r"y_values is \[-1\]; pass counts", bh.DataError, arrays.predict, which="prob", y_values=[-1])
    says(
        "exog_zero is passed beside new data",
        bh.OptionError,
        bh.hurdlepoisson("y ~ x", FRAME).fit().predict,
        FRAME[:3],
        exog_zero=X[:3],
    )


def test_no_excess_zeros():
    """Fewer zeros than Poisson's: the inflation goes to minus infinity."""
    few = np.where((POISSON == 0) & (np.arange(ROWS) % 3 > 0), 1.0, POISSON)
    for regressors in (None, X):
        says(
            "falls forever along .*inflate_.*: zeros are no more frequent there than the distribution of the counts says",
            bh.EstimationError,
            bh.ZeroInflatedPoisson(few, X, regressors).fit,
        )


def test_alpha_goes_to_zero():
    even = np.where(THERE, np.round(np.exp(1.5 + 0.3 * X[:, 1])), 0.0)
    for p in (1, 2):
        says(
            "Beside their excess zeros the counts vary no more than those of a Poisson distribution.*use ZeroInflatedPoisson",
            bh.EstimationError,
            bh.ZeroInflatedNegativeBinomialP(even, X, p=p).fit,
        )
    says(
        "The positive counts vary no more than those of a Poisson distribution.*use HurdlePoisson",
        bh.EstimationError,
        bh.HurdleNegativeBinomial(even, X).fit,
    )


def test_a_group_of_zeros():
    group = (np.arange(ROWS) < 40).astype(float)
    zeros = np.where(group == 1.0, 0.0, Y)
    says(
        "falls forever along .*: some rows have nothing but zeros, or none",
        bh.EstimationError,
        bh.HurdlePoisson(zeros, X, np.column_stack([X, group])).fit,
    )
    halves = pd.DataFrame({"h": ["a"] * 20 + ["b"] * 20, "y": [0] * 20 + list(range(1, 21))})
    for formula in (bh.hurdlepoisson, bh.hurdlenegativebinomial):
        says("along .*'zero_h.*: some rows have nothing but zeros", bh.EstimationError, formula("y ~ h", halves).fit)
    says(
        "along 'Intercept', 'h.*Leave such columns out, or merge categories.$",
        bh.EstimationError,
        bh.poisson("y ~ h", halves).fit,
    )


def test_alpha_grows_without_end():
    """Positive counts of a logarithmic series, with a tail more."""
    draw = np.random.default_rng(0)
    y = draw.logseries(0.97, 300).astype(float)
    y[:100], y[-5:] = 0.0, 400.0
    says("alpha grows without end", bh.EstimationError, bh.HurdleNegativeBinomial(y, np.ones((300, 1))).fit)


def test_variables_of_neither_equation():
    says(
        r"The equations have regressors of their own, and exog_extra does not say to which .*; fit the model with them, and use wald_test",
        bh.EstimationError,
        bh.ZeroInflatedPoisson(Y, X[:, :2]).fit().score_test,
        exog_extra=X[:, 2],
    )
