"""Tests of restrictions, terms and nested models, intervals and functions of parameters against live statsmodels."""

from functools import cache, partial

import numpy as np
import pandas as pd
import pytest
import statsmodels.api as sm
import statsmodels.formula.api as smf
import torch
from statsmodels.stats._delta_method import NonlinearDeltaCov
from statsmodels.tools.sm_exceptions import InvalidTestWarning
from support.least_squares import FITS, array_pair, fit_both

import betahat as bh

# As in conftest.py.
RELATIVE = 1e-9
# A robust covariance is a product of three matrices: its error is about u * condition^2 of the columns.
UNIT_ROUNDOFF = 1.1e-16

# More digits than a table shows; the numbers themselves are compared by `close`.
PRINTED = 1e-6


@pytest.fixture(scope="module")
def pair(people):
    """Fit betahat and statsmodels to the same formula, once."""
    return cache(partial(fit_both, people))


MATRIX = np.array([[0, 0, 0, 1.0, -1.0, 0], [0, 1, 0, 2, 0, 0], [1, 0, 0, 0, 0, 1]])
# The columns are Intercept, C(g)[T.south], C(g)[T.west], x1, x2, pos.
RESTRICTIONS = {
    "one": "x1 = 0",
    "one without =": "x1 - x2",
    "two": "x1 = 2*x2, pos = 0",
    "chained": "x1 = x2 = 0",
    "chained of three": "x1 = x2 = pos = 0.5",
    "numbers": "2*x1 + 3*x2 - pos/4 = 1.5, Intercept = 1",
    "brackets": "C(g)[T.south] = C(g)[T.west]",
    "list": ["x1 = 1", "x2 + pos = 0"],
    "list of one": ["x1"],
    "dict": {"x1": 1.0, "pos": 0.0},
    "dict of one": {"x2": -0.5},
    "matrix": MATRIX,
    "matrix of one row": MATRIX[:1],
    "matrix as lists": MATRIX.tolist(),
    "vector": MATRIX[0],
    "vector of whole numbers": [0, 0, 0, 1, 0, -1],
    "identity": np.eye(6),
    "matrix and values": (MATRIX, [0.1, 0.2, 0.3]),
    "matrix and values, an array": (MATRIX, np.array([0.1, 0.2, 0.3])),
    "matrix and a column of values": (MATRIX, np.array([[0.1], [0.2], [0.3]])),
    "one row and a value": (MATRIX[:1], [0.7]),
}


def _steepness(statistic, df):
    """The relative condition of a tail: z^2 for the normal distribution, at most df for t and F."""
    square = np.square(statistic)
    return 1 + (square if df is None else np.minimum(square, df))


@pytest.mark.slow
@pytest.mark.parametrize(("cov_type", "use_t"), FITS)
@pytest.mark.parametrize("restriction", RESTRICTIONS)
def test_t_test(restriction, cov_type, use_t, pair, close, quiet):
    mine, theirs = pair(cov_type, use_t)
    got, wanted = mine.t_test(RESTRICTIONS[restriction]), theirs.t_test(RESTRICTIONS[restriction])
    _compare_t(got, wanted, close)


def _compare_t(got, wanted, close):
    sd = np.ravel(wanted.sd)
    close(got.effect, wanted.effect, np.maximum(abs(wanted.effect), sd), label="effect")
    close(got.sd, wanted.sd, label="sd")
    for name in ("tvalue", "statistic"):
        size = np.maximum(np.abs(getattr(wanted, name)), 1)
        close(getattr(got, name), getattr(wanted, name), size, label=name)
    steepness = _steepness(np.squeeze(wanted.tvalue), wanted.df_denom if wanted.distribution == "t" else None)
    close(got.pvalue, wanted.pvalue, wanted.pvalue * steepness, label="pvalue")
    assert got.distribution == wanted.distribution
    if wanted.distribution == "t":
        assert got.df_denom == wanted.df_denom
    reach = np.maximum(abs(wanted.effect), sd)[:, None] * 3
    for alpha in (0.05, 0.3):
        close(got.conf_int(alpha), wanted.conf_int(alpha), reach, label=f"conf_int({alpha})")
        assert str(got.summary(alpha=alpha)) == str(wanted.summary(alpha=alpha))
    names = [f"r{i}" for i in range(len(sd))]
    for options in ({}, {"xname": names, "title": "Mine"}):
        mine, theirs = got.summary(**options), wanted.summary(**options)
        assert mine.as_text() == theirs.as_text()
        assert mine.as_html() == theirs.as_html()
        assert mine.as_latex_tabular() == theirs.as_latex_tabular()
    assert str(got) == str(wanted)
    frame = wanted.summary_frame(xname=names, alpha=0.1)
    pd.testing.assert_frame_equal(got.summary_frame(xname=names, alpha=0.1), frame, rtol=PRINTED)
    pd.testing.assert_index_equal(got.summary_frame().index, wanted.summary_frame().index)


@pytest.mark.parametrize("use_t", [True, False])
def test_t_test_options(use_t, pair, close):
    mine, theirs = pair()
    given = np.diag(np.arange(1.0, 7.0)) + 0.1
    for options in ({"use_t": use_t}, {"cov_p": given}, {"cov_p": given, "use_t": use_t}):
        _compare_t(mine.t_test(MATRIX, **options), theirs.t_test(MATRIX, **options), close)


@pytest.mark.parametrize(("cov_type", "use_t"), FITS)
@pytest.mark.parametrize("restriction", RESTRICTIONS)
def test_joint_tests(restriction, cov_type, use_t, pair, close):
    mine, theirs = pair(cov_type, use_t)
    restriction = RESTRICTIONS[restriction]
    _compare_f(mine.f_test(restriction), theirs.f_test(restriction), close)
    for use_f in (None, True, False):
        _compare_f(mine.wald_test(restriction, use_f=use_f), theirs.wald_test(restriction, use_f=use_f), close)


def _compare_f(got, wanted, close, tolerance=RELATIVE):
    close(got.statistic, wanted.statistic, tolerance=tolerance, label="statistic")
    assert got.distribution == wanted.distribution
    assert got.df_denom == wanted.df_denom
    df_num = wanted.df_num if wanted.distribution == "F" else wanted.df_denom
    assert got.df_num == df_num
    steepness = 1 + df_num * wanted.statistic
    if wanted.distribution == "F":
        close(got.fvalue, wanted.fvalue, tolerance=tolerance, label="fvalue")
        steepness = min(steepness, 1 + wanted.df_denom)
    close(got.pvalue, wanted.pvalue, wanted.pvalue * steepness, tolerance=tolerance, label="pvalue")
    assert np.shape(got.pvalue) == np.shape(wanted.pvalue)
    # The numbers are printed to the last digit, in which two algorithms differ.
    assert _blank(str(got)) == _blank(str(wanted))
    assert _blank(got.summary()) == _blank(wanted.summary())


def _blank(text):
    words = text.replace(">", "").replace(",", "").split()
    return [word.split("=")[0] if word.startswith(("F=", "p=", "statistic=", "p-value=")) else word for word in words]


def test_joint_test_with_a_given_covariance(pair, close):
    mine, theirs = pair()
    given = np.diag(np.arange(1.0, 7.0)) + 0.1
    for use_f in (True, False):
        _compare_f(mine.wald_test(MATRIX, given, use_f), theirs.wald_test(MATRIX, given, use_f=use_f), close)
    _compare_f(mine.f_test(MATRIX, given), theirs.f_test(MATRIX, given), close)
    frame = pd.DataFrame(given, mine.params.index, mine.params.index)
    _compare_f(mine.f_test(MATRIX, cov_p=frame), theirs.f_test(MATRIX, cov_p=frame), close)


def test_restrictions_that_repeat_each_other(pair, close, quiet):
    mine, theirs = pair()
    twice = np.vstack([MATRIX, MATRIX[0] + MATRIX[1]])
    _compare_f(mine.f_test(twice), quiet(theirs.f_test, twice), close)
    _compare_f(mine.wald_test(twice, use_f=False), quiet(theirs.wald_test, twice, use_f=False), close)


@pytest.mark.parametrize("restriction", ["x1 = 2*x2", "x1 = x2 = 0", "const = 1"])
def test_restrictions_on_arrays_and_tensors(restriction, people, close):
    mine, theirs = array_pair(people)
    _compare_t(mine.t_test(restriction), theirs.t_test(restriction), close)
    _compare_f(mine.f_test(restriction), theirs.f_test(restriction), close)
    tensors = bh.OLS(torch.tensor(mine.model.endog), torch.tensor(mine.model.exog)).fit()
    test = tensors.t_test(restriction)
    for name in ("effect", "sd", "tvalue", "pvalue"):
        assert isinstance(getattr(test, name), torch.Tensor), name
        close(getattr(test, name), getattr(theirs.t_test(restriction), name), label=name)


def test_tensor_restrictions(pair, close):
    mine, theirs = pair()
    _compare_t(mine.t_test(torch.tensor(MATRIX)), theirs.t_test(MATRIX), close)
    _compare_f(mine.f_test((torch.tensor(MATRIX), torch.zeros(3))), theirs.f_test(MATRIX), close)


@pytest.mark.parametrize("size", [1e-2, 1e-3, 1e-4, 1e-5])
@pytest.mark.parametrize("cov_type", ["nonrobust", "HC0", "HC1", "HC2", "HC3"])
def test_wald_of_nearly_collinear_columns(cov_type, size, close):
    """Two columns that differ by `size`, in whose sum and difference a test must not drown.

    Against 60 digits of mpmath, statsmodels' robust F is off by 2e-13, 7e-11, 4e-9 and 3e-7.
    """
    rng = np.random.default_rng(5)
    x = rng.normal(size=(50, 3))
    x = sm.add_constant(np.column_stack([x, x[:, 0] + size * rng.normal(size=50)]))
    y = x @ [1.0, 1, 1, 0, 1] + rng.normal(size=50) * (1 + x[:, 1] ** 2)
    mine, theirs = bh.OLS(y, x).fit(cov_type), sm.OLS(y, x).fit(cov_type=cov_type)
    tolerance = max(RELATIVE, 10 * UNIT_ROUNDOFF * np.linalg.cond(x) ** 2)
    close(mine.bse, theirs.bse, tolerance=tolerance, label="bse")
    close(mine.t_test("x1 + x4").sd, theirs.t_test("x1 + x4").sd, tolerance=tolerance, label="error of the sum")
    close(mine.fvalue, theirs.fvalue, tolerance=tolerance, label="fvalue")
    _compare_f(mine.f_test(np.eye(5)[1:]), theirs.f_test(np.eye(5)[1:]), close, tolerance)


@pytest.mark.parametrize("cov_type", ["nonrobust", "HC1"])
@pytest.mark.parametrize("factor", [1.0, 30.0, 1e3, 1e6])
def test_wald_of_collinear_columns(factor, cov_type, close):
    """A multiple of a column changes nothing but the rank: F is that of the design without it."""
    rng = np.random.default_rng(6)
    x = sm.add_constant(rng.normal(size=(50, 3)))
    y = x @ [1.0, 1, 1, 0] + rng.normal(size=50)
    theirs = sm.OLS(y, x).fit(cov_type=cov_type)
    with pytest.warns(bh.CollinearityWarning):
        mine = bh.OLS(y, np.column_stack([x, factor * x[:, 1]])).fit(cov_type)
    # One of the two coefficients is 1 / factor of the other: u * factor^2 is the rounding of the small one.
    # statsmodels' own F of this design is off by 4e-14, 1e-11 and 3e-10.
    tolerance = max(RELATIVE, 10 * UNIT_ROUNDOFF * factor**2)
    test = mine.f_test(np.eye(5)[1:])
    assert test.df_num == 3
    close(test.statistic, theirs.fvalue, tolerance=tolerance)
    close(mine.fvalue, theirs.fvalue, tolerance=tolerance)


# terms


@pytest.mark.parametrize(("cov_type", "use_t"), FITS)
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"skip_single": True},
        {"combine_terms": ["x1", "C(g)"]},
        {"skip_single": True, "combine_terms": ["h"]},
        {"extra_constraints": [("mine", "x1 = x2")]},
    ],
    ids=str,
)
def test_wald_test_terms(options, cov_type, use_t, pair, close, quiet):
    mine, theirs = pair(cov_type, use_t, "y ~ C(g)*x1 + x2 + C(h)")
    got, wanted = mine.wald_test_terms(**options), theirs.wald_test_terms(**options)
    assert got.distribution == wanted.distribution
    assert list(got.table.columns) == list(wanted.table.columns)
    assert list(got.table.index) == list(wanted.table.index)
    for name in wanted.table.columns:
        unit = abs(wanted.table[name]) * (1 + wanted.table.df_constraint * wanted.table.statistic)
        close(got.table[name], wanted.table[name], unit if name == "pvalue" else None, label=name)


def test_wald_test_terms_prints_as_statsmodels(pair):
    mine, theirs = pair()
    got, wanted = mine.wald_test_terms(), theirs.wald_test_terms()
    pd.testing.assert_frame_equal(got.summary_frame(), wanted.summary_frame(), rtol=PRINTED)
    assert str(got) == str(wanted)


def test_wald_test_terms_of_arrays(people, close):
    mine, theirs = array_pair(people)
    got, wanted = mine.wald_test_terms(), theirs.wald_test_terms()
    assert list(got.table.index) == list(wanted.table.index)
    close(got.table.statistic, wanted.table.statistic)


# nested models


NESTED = [("y ~ x1 + x2 + pos + C(g)", small) for small in ("y ~ x1 + x2", "y ~ C(g)", "y ~ x1 + x2 + pos", "y ~ 1")]


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize(("large", "small"), NESTED)
@pytest.mark.parametrize("cov_type", ["nonrobust", "HC0", "HC3"])
def test_comparisons(cov_type, large, small, weighted, people, close, quiet):
    def fits(module, formulas):
        if weighted:
            return [module.wls(formula, people, weights=people["w"]).fit(cov_type=cov_type) for formula in formulas]
        return [module.ols(formula, people).fit(cov_type=cov_type) for formula in formulas]

    (mine, mine_small), (theirs, theirs_small) = fits(bh, (large, small)), fits(smf, (large, small))
    for name in ("compare_f_test", "compare_lr_test"):
        wanted = quiet(getattr(theirs, name), theirs_small)
        if cov_type == "nonrobust":
            got = getattr(mine, name)(mine_small)
        else:
            with pytest.warns(bh.RobustTestWarning, match="homoskedastic"):
                got = getattr(mine, name)(mine_small)
            with pytest.warns(InvalidTestWarning):
                getattr(theirs, name)(theirs_small)
        _compare_comparison(got, wanted, close)
    bare = theirs_small._results  # the wrapper's Series are more than statsmodels' own code can index
    for options in ({}, {"demean": False}, {"use_lr": True}):
        got = mine.compare_lm_test(mine_small, **options)
        _compare_comparison(got, theirs.compare_lm_test(bare, **options), close)
    got = mine.compare_lr_test(mine_small, large_sample=True)
    _compare_comparison(got, theirs.compare_lr_test(bare, large_sample=True), close)


def _compare_comparison(got, wanted, close):
    statistic, pvalue, df = wanted
    close(got[0], statistic, label="statistic")
    close(got[1], pvalue, pvalue * (1 + df * statistic), label="pvalue")
    assert got[2] == df
    assert len(tuple(got)) == 3


# intervals and functions of the parameters


@pytest.mark.parametrize("alpha", [0.5, 0.1, 0.05, 0.01, 1e-6])
@pytest.mark.parametrize(("cov_type", "use_t"), FITS)
def test_conf_int(cov_type, use_t, alpha, pair, close):
    mine, theirs = pair(cov_type, use_t)
    wanted = theirs.conf_int(alpha)
    close(mine.conf_int(alpha), wanted, np.abs(wanted.to_numpy()).max(1, keepdims=True))


FUNCTIONS = {
    "ratio": (lambda p: p["x1"] / p["x2"], lambda b: np.atleast_1d(b[3] / b[4])),
    "product of exponentials": (
        lambda p: torch.exp(p["x1"]) * torch.exp(p["pos"]),
        lambda b: np.atleast_1d(np.exp(b[3] + b[5])),
    ),
    "two": (lambda p: torch.stack([p["x1"] * p["x2"], p[5] ** 2]), lambda b: np.array([b[3] * b[4], b[5] ** 2])),
    "linear": (lambda p: 2 * p["x1"] - p["pos"], lambda b: np.atleast_1d(2 * b[3] - b[5])),
}


@pytest.mark.parametrize(("cov_type", "use_t"), FITS)
@pytest.mark.parametrize("name", FUNCTIONS)
def test_delta(name, cov_type, use_t, pair, close):
    mine, theirs = pair(cov_type, use_t)
    ours, plain = FUNCTIONS[name]
    got = mine.delta(ours)
    wanted = NonlinearDeltaCov(plain, theirs.params.to_numpy(), theirs.cov_params().to_numpy())
    # Complex steps: statsmodels' gradient is exact to rounding.
    close(np.atleast_1d(got.estimate), wanted.predicted())
    close(np.atleast_1d(got.bse), wanted.se_vectorized())
    close(got.cov(), wanted.cov(), np.outer(wanted.se_vectorized(), wanted.se_vectorized()))
    t_test = mine.t_test((np.array(wanted.grad()), np.array(wanted.grad() @ theirs.params - wanted.predicted())))
    close(np.ravel(got.statistic), np.ravel(t_test.tvalue))
    close(np.ravel(got.pvalue), np.ravel(t_test.pvalue), np.ravel(t_test.pvalue) * 1e3)
    df = theirs.df_resid if theirs.use_t else None
    bounds = wanted.conf_int(alpha=0.1, use_t=theirs.use_t, df=df)
    close(np.atleast_2d(got.conf_int(0.1)), bounds, np.abs(bounds).max())
