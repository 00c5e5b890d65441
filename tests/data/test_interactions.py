"""`i()` in formulas: fixest's names and columns, against pyfixest, a naive loop, and what a user's own columns give."""

import pickle
import warnings

import numpy as np
import pandas as pd
import pytest
from support.closeness import close, close_to_one
from support.streams import in_partitions

import betahat as bh
from betahat.data.formulas.allowed import allowed_names
from betahat.data.formulas.harmless import harm
from betahat.errors import DataError, FormulaError

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    import pyfixest as pf

# The same least squares by another algorithm, of regressors of the size of one.
THEIRS = 1e-10
# Sums over partitions are added in another order than those over all rows.
PARTS = 1e-12
N = 360


def _frame():
    rng = np.random.default_rng(18)
    frame = pd.DataFrame(
        {
            "y": rng.normal(size=N),
            "x": rng.normal(size=N),
            "period": rng.integers(-3, 4, N),
            "cohort": rng.choice([0, 5, 7], N),
            "year": rng.integers(4, 9, N),
            "word": rng.choice(["b", "a", "Ä"], N),
            "truth": rng.random(N) > 0.5,
            "unit": rng.integers(0, 30, N),
            "two words": rng.integers(0, 3, N),
            "k": pd.Categorical(rng.choice(["low", "high"], N), ["never", "low", "high"]),
        }
    )
    # pairs that there are not
    return frame[~((frame.cohort == 7) & (frame.year == 4))].reset_index(drop=True)


FRAME = _frame()
N = len(FRAME)


def _levels(name, levels, of=FRAME):
    return {f"{name}::{level}": of[name] == level for level in levels}


def _times(columns, x, name):
    return {f"{key}:{name}": np.where(column, x, 0.0) for key, column in columns.items()}


def _pairs(one, other):
    found = {f"{a}:{b}": first & second for a, first in one.items() for b, second in other.items()}
    return {name: column for name, column in found.items() if column.any()}


COHORTS, YEARS = _levels("cohort", (0, 5, 7)), _levels("year", range(4, 9))
# Formulas, and their columns besides the constant, as a user would make them.
COLUMNS = {
    "i(period)": _levels("period", range(-2, 4)),
    "i(period) - 1": _levels("period", range(-3, 4)),
    "i(period, ref=-1)": _levels("period", (-3, -2, 0, 1, 2, 3)),
    "i(period, -1)": _levels("period", (-3, -2, 0, 1, 2, 3)),
    "i(period, ref=True)": _levels("period", range(-2, 4)),
    "i(period, ref=[-1, -3])": _levels("period", (-2, 0, 1, 2, 3)),
    "i(period, keep=range(1, 3))": _levels("period", (1, 2)),
    "i(period, ref=-1, keep=[-1, 2])": _levels("period", (2,)),
    "i(period, bin={-2: [-3, -2], 2: [2, 3]}, ref=-1)": {
        "period::-2": FRAME.period <= -2,
        "period::0": FRAME.period == 0,
        "period::1": FRAME.period == 1,
        "period::2": FRAME.period >= 2,
    },
    "i(cohort, bin={'late': [5, 7]}, ref=0)": {"cohort::late": FRAME.cohort > 0},
    "i(word, ref='a')": _levels("word", ("b", "Ä")),
    "i(truth)": _levels("truth", (True,)),
    "i(truth, ref=True)": _levels("truth", (False,)),
    "i(k)": _levels("k", ("high",)),
    "i(`two words`, ref=0)": _levels("two words", (1, 2)),
    "i(year - 4, ref=0)": {f"year - 4::{level}": FRAME.year - 4 == level for level in range(1, 5)},
    "i(cohort, x)": _times(COHORTS, FRAME.x, "x"),
    "i(period, x, ref=-1)": _times(_levels("period", (-3, -2, 0, 1, 2, 3)), FRAME.x, "x"),
    "i(word, truth)": _times(_levels("word", ("a", "b", "Ä")), FRAME.truth * 1.0, "truth"),
    "i(cohort, np.abs(x), ref=0)": _times(_levels("cohort", (5, 7)), FRAME.x.abs(), "np.abs(x)"),
    "i(cohort, i.year, ref=0, ref2=4)": _pairs(_levels("cohort", (5, 7)), _levels("year", range(5, 9))),
    "i(cohort, C(year), ref=0)": _pairs(_levels("cohort", (5, 7)), YEARS),
    "i(cohort, year, ref2=5)": _pairs(COHORTS, _levels("year", (4, 6, 7, 8))),
    "i(cohort, word)": dict(list(_pairs(COHORTS, _levels("word", ("a", "b", "Ä"))).items())[1:]),
    "i(cohort, year, ref=0, bin2={5: [4, 5]}, keep2=[5, 6])": {
        "cohort::5:year::5": (FRAME.cohort == 5) & (FRAME.year <= 5),
        "cohort::5:year::6": (FRAME.cohort == 5) & (FRAME.year == 6),
        "cohort::7:year::5": (FRAME.cohort == 7) & (FRAME.year <= 5),
        "cohort::7:year::6": (FRAME.cohort == 7) & (FRAME.year == 6),
    },
}


@pytest.mark.parametrize("term", COLUMNS)
def test_its_columns_are_those_that_a_user_would_make(term):
    model = bh.ols(f"y ~ {term}", FRAME)
    constant = {} if term.endswith("- 1") else {"Intercept": np.ones(N)}
    columns = constant | COLUMNS[term]
    assert model.exog_names == list(columns)
    close(model.exog, np.column_stack([np.asarray(column, dtype=float) for column in columns.values()]), 0)


@pytest.mark.parametrize("term", COLUMNS)
def test_new_data_streams_files_and_pickles_have_the_same(term, tmp_path):
    formula = f"y ~ {term}"
    res = bh.ols(formula, FRAME).fit()
    new = FRAME.iloc[[11, 3, 200, 100]]  # without many of the levels
    close(res.predict(new), res.fittedvalues.iloc[[11, 3, 200, 100]], PARTS, unit=1.0)
    streamed = bh.ols(formula, in_partitions(FRAME, (100, 0, 1, N - 101))).fit()
    assert list(streamed.params.index) == list(res.params.index)
    close_to_one(streamed.params, res.params, PARTS)
    if "range" not in term:  # which is no number
        loaded = bh.load(res.save(tmp_path / "r"))
        close(loaded.predict(new), res.predict(new), 0)
        assert list(loaded.params.index) == list(res.params.index)
    close(pickle.loads(pickle.dumps(res)).predict(new), res.predict(new), 0)


THEIR_FORMULAS = (
    "y ~ x + i(period, ref=-1)",
    "y ~ i(period)",
    "y ~ i(cohort, x) | unit",
    "y ~ i(period, truth, ref=-1) | unit + year",
    "y ~ i(cohort, year, ref=0, ref2=4) | unit",
    "y ~ i(word, period, ref='a', ref2=-1) | unit + year",
    "y ~ i(period, bin={-2: [-3, -2]}, ref=-1)",
)


@pytest.mark.filterwarnings("ignore:.*:FutureWarning", "ignore:.*:DeprecationWarning")
@pytest.mark.parametrize("formula", THEIR_FORMULAS)
def test_pyfixest_has_the_same_coefficients_by_the_same_names(formula):
    data = FRAME.assign(truth=FRAME.truth * 1)
    res = bh.ols(formula, data).fit()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        theirs = pf.feols(formula, data, vcov="iid", fixef_tol=1e-12).coef()
    there = res.params.dropna()  # they leave columns out of the table that depend on others
    assert set(theirs.index) == set(there.index)
    close_to_one(there, theirs[there.index], THEIRS)


def test_rows_with_a_gap_in_either_variable_are_left_out():
    data = FRAME.astype({"period": float, "cohort": float})
    data.loc[3, "period"] = data.loc[8, "x"] = data.loc[9, "cohort"] = np.nan
    res = bh.ols("y ~ i(period, x, ref=-1)", data).fit()
    assert res.nobs == N - 2
    # whole numbers that gaps made floats are written as they were
    assert list(res.params.index[1:]) == [f"period::{level}:x" for level in (-3, -2, 0, 1, 2, 3)]
    assert bh.ols("y ~ i(cohort, period, ref=0, ref2=-1)", data).fit().nobs == N - 2
    assert np.isnan(res.predict(data.iloc[[3, 8]])).all()
    with pytest.raises(DataError, match=r"Missing values in 2 of .* by column: period \(1\), x \(1\)"):
        bh.ols("y ~ i(period, x, ref=-1)", data, missing="raise")


def test_infinite_levels_are_the_never_treated(tmp_path):
    data = FRAME.assign(since=np.where(FRAME.cohort == 0, np.inf, FRAME.period))
    res = bh.ols("y ~ i(since, ref=[-1, np.inf])", data).fit()
    assert list(res.params.index[1:]) == [f"since::{level}" for level in (-3, -2, 0, 1, 2, 3)]
    assert "since::inf" in bh.ols("y ~ i(since, ref=-1)", data).exog_names
    close(bh.load(res.save(tmp_path / "r")).predict(data), res.fittedvalues, PARTS, unit=1.0)


def test_days_are_written_without_a_time_and_names_may_begin_with_underscores():
    data = FRAME.assign(__day=pd.Timestamp("2026-01-01") + pd.to_timedelta(FRAME.cohort, "D"))
    names = bh.ols("y ~ i(__day)", data).exog_names
    assert names == ["Intercept", "__day::2026-01-06", "__day::2026-01-08"]


def test_a_term_is_tested_as_a_whole():
    res = bh.ols("y ~ x + i(period, ref=-1) + i(cohort, x, ref=0)", FRAME).fit("HC1")
    table = res.wald_test_terms().table
    assert list(table.index) == ["Intercept", "i(period, ref=-1)", "i(cohort, x, ref=0)", "x"]
    assert list(table.df_constraint) == [1, 6, 2, 1]
    joint = res.wald_test(np.eye(len(res.params))[1:7], use_f=False)
    close_to_one(table["statistic"].iloc[1], np.squeeze(joint.statistic), PARTS)


def test_only_levels_are_categories():
    res = bh.ols("y ~ i(cohort, np.abs(x), ref=0) + i(word, truth, ref='a')", FRAME).fit()
    assert res.model.source.categorical_variables == {"cohort", "word"}


@pytest.mark.filterwarnings("ignore:The solution at q = 0.5 is not unique:betahat.BetahatWarning")
@pytest.mark.parametrize(
    ("function", "family"), [(bh.poisson, {}), (bh.logit, {}), (bh.glm, {"family": "poisson"}), (bh.quantreg, {})]
)
def test_every_model_takes_it(function, family):
    data = FRAME if function is bh.quantreg else FRAME.assign(y=(FRAME.y > 0) * 1)
    res = function("y ~ i(period, ref=-1) + x", data, **family).fit()
    dummies = pd.DataFrame({name: column * 1.0 for name, column in COLUMNS["i(period, ref=-1)"].items()})
    own = data[["y", "x"]].join(dummies.set_axis([f"d{i}" for i in range(6)], axis=1))
    byhand = function("y ~ d0 + d1 + d2 + d3 + d4 + d5 + x", own, **family).fit()
    close_to_one(res.params, byhand.params, 0)


def test_what_was_not_in_the_fit_is_said():
    res = bh.ols("y ~ i(cohort, i.year, ref=0)", FRAME).fit()
    with pytest.raises(DataError, match=r"did not occur in the fit of .*: 9;"):
        res.predict(pd.DataFrame({"cohort": [5], "year": [9]}))
    with pytest.raises(DataError, match=r"did not occur in the fit of .*: \(7, 4\);"):
        res.predict(pd.DataFrame({"cohort": [7, 0], "year": [4, 4]}))
    of_numbers = bh.ols("y ~ i(cohort, x)", FRAME).fit()
    with pytest.raises(
        DataError, match="'x' was numbers in the fit, which multiplied the levels of cohort, and is none in the new"
    ):
        of_numbers.predict(pd.DataFrame({"cohort": [5], "x": ["a"]}))
    of_words = bh.ols("y ~ i(cohort, word)", FRAME).fit()
    with pytest.raises(DataError, match="did not occur in the fit"):
        of_words.predict(pd.DataFrame({"cohort": [5], "word": [3]}))


@pytest.mark.parametrize(
    ("term", "says"),
    [
        ("i(period, ref=9)", "ref in i(period, ...) is 9, and 9 is not among the levels; choose from -3, -2, -1, 0"),
        ("i(word, keep=['a', 'zz'])", "'zz' is not among the levels; choose from 'a', 'b', 'Ä'."),
        ("i(period, bin=[1, 2])", "bin in i(period, ...) is [1, 2]; write new levels and their old ones"),
        ("i(period, ref2=1)", "i(period, ...) has ref2, keep2 or bin2, and no second variable"),
        ("i(period, keep=1, ref=1)", "No level of i(period, ...) has a column: all are references, or none is kept"),
        ("i(3)", "'3' in i(...) is no column"),
        ("i(period, np.column_stack([x, x]))", "in i(...) is no column"),
    ],
)
def test_mistakes_are_sentences(term, says):
    with pytest.raises(FormulaError) as caught:
        bh.ols(f"y ~ {term}", FRAME)
    assert says in str(caught.value)


def test_levels_of_parts_keep_the_order_of_their_categories():
    data = FRAME.assign(k=FRAME.k.cat.add_categories("top"))
    data.loc[N - 1, "k"] = "top"
    parts = [data.head(100), data.tail(N - 100)]
    parts = [part.assign(k=part.k.cat.remove_unused_categories()) for part in parts]
    streamed = bh.ols("y ~ i(k, word)", lambda: iter(parts))
    assert streamed.exog_names == bh.ols("y ~ i(k, word)", data).exog_names


def test_infinite_multipliers_of_parts_are_refused():
    data = FRAME.assign(x=FRAME.x.where(FRAME.index != 5, np.inf))
    with pytest.raises(DataError, match=r"Infinite values in 1 of \d+ rows, by column: cohort::0:x"):
        bh.ols("y ~ i(cohort, x)", lambda: iter([data]))


@pytest.mark.parametrize(
    "call",
    [
        "i(cohort, poly(x, 3))",
        "i(cohort, C(year, Sum(5)))[0]",
        "i(cohort, ref=print(1))",
        "i(cohort, ref=np.log)",
        "i(cohort, bin={**x})",
        "i(cohort, bin={5: [x]})",
        "i(cohort, _spelled=['a'])",
        "i(*cohort)",
    ],
)
def test_in_a_file_it_runs_no_code(call):
    names = allowed_names(FRAME, {}, {}, ())
    assert harm("i(cohort, x, ref=[-1, np.inf], bin={5: [5, 7]})", names) is None
    assert harm(call, names) is not None
