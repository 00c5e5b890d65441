"""`lag`, `lead` and `diff` in formulas: against pandas, a naive loop and other ways of counting time; what they refuse."""

import pickle
from dataclasses import replace

import numpy as np
import pandas as pd
import polars as pl
import pytest
from support.closeness import close, close_to_one
from support.streams import in_partitions

import betahat as bh
from betahat.data.container import to_numpy
from betahat.data.formulas.stored import stored_formula
from betahat.errors import FormulaError, OptionError

# The same regressors, whose rows stand in another order.
ROUNDED = 1e-10
FIRMS, YEARS = 7, 11


def _panel(share=1.0, seed=18):
    rng = np.random.default_rng(seed)
    pairs = [(firm, 1990 + year) for firm in range(FIRMS) for year in range(YEARS) if rng.random() < share]
    frame = pd.DataFrame(pairs, columns=["firm", "year"])
    frame["x"], frame["y"] = rng.normal(size=(2, len(frame)))
    frame["n"], frame["truth"] = rng.integers(0, 3, len(frame)), rng.random(len(frame)) > 0.5
    frame["word"] = rng.choice(["b", "a"], len(frame))
    return frame.sample(frac=1.0, random_state=seed)


BALANCED, GAPS = _panel(), _panel(0.75)
CALLS = {"lag(x)": 1, "lag(x, 1)": 1, "lag(x, k=3)": 3, "lead(x, 2)": -2, "lag(x, 0)": 0, "lag(x, -1)": -1}


def _by_loop(frame, column, k):
    known = {(row.firm, row.year): getattr(row, column) for row in frame.itertuples()}
    return [known.get((row.firm, row.year - k), np.nan) for row in frame.itertuples()]


@pytest.mark.parametrize("call", CALLS)
def test_a_balanced_panel_is_shifted_as_pandas_does(call):
    ordered = BALANCED.sort_values(["firm", "year"])
    theirs = ordered.groupby("firm").x.shift(CALLS[call]).dropna().sort_index()
    model = bh.ols(f"y ~ {call}", BALANCED, panel="firm", time="year")
    assert model.exog_names == ["Intercept", call]
    pd.testing.assert_series_equal(model.exog[call].sort_index(), theirs, check_names=False)


@pytest.mark.parametrize("call", CALLS)
def test_gaps_are_missing_and_units_apart(call):
    theirs = pd.Series(_by_loop(GAPS, "x", CALLS[call]), GAPS.index).dropna()
    found = bh.ols(f"y ~ {call}", GAPS, panel="firm", time="year").exog[call]
    pd.testing.assert_series_equal(found, theirs, check_names=False)
    own = GAPS.assign(z=_by_loop(GAPS, "x", CALLS[call]))
    assert list(bh.ols("y ~ z", own).exog.index) == list(found.index)


@pytest.mark.parametrize("seed", range(6))
def test_random_panels_agree_with_a_loop(seed):
    rng = np.random.default_rng(seed)
    step, start = int(rng.integers(1, 5)), int(rng.integers(-40, 40))
    units = ["a", "b", "", "long name", "c"] if seed % 2 else [10**12, -3, 0, 7, 8]
    pairs = [(unit, start + step * t) for unit in units for t in range(15) if rng.random() < 0.6]
    frame = pd.DataFrame([pairs[i] for i in rng.permutation(len(pairs))], columns=["firm", "year"])
    frame["x"], frame["y"] = rng.normal(size=(2, len(frame)))
    step = int(np.gcd.reduce(np.diff(np.unique(frame.year))))
    known = {(row.firm, row.year): row.x for row in frame.itertuples()}
    for k in (int(rng.integers(1, 4)), -1):
        theirs = [known.get((row.firm, row.year - k * step)) for row in frame.itertuples()]
        found = bh.ols(f"y ~ lag(x, {k})", frame, panel="firm", time="year").exog[f"lag(x, {k})"]
        pd.testing.assert_series_equal(found, pd.Series(theirs, dtype=float).dropna(), check_names=False)


def test_differences_several_k_and_lags_of_lags():
    own = GAPS.assign(**{f"x{k}": _by_loop(GAPS, "x", k) for k in (1, 2, 3)}, y1=_by_loop(GAPS, "y", 1))
    res = bh.ols("diff(y) ~ lag(x, [1, 2]) + diff(x) + I(lag(x, 3)**2)", GAPS, panel="firm", time="year").fit()
    assert list(res.params.index) == ["Intercept", "lag(x, 1)", "lag(x, 2)", "diff(x)", "I(lag(x, 3) ** 2)"]
    byhand = bh.ols("I(y - y1) ~ x1 + x2 + I(x - x1) + I(x3**2)", own).fit()
    close_to_one(res.params, byhand.params, 0)
    twice = bh.ols("y ~ lag(lag(x)) + diff(diff(x), 1)", BALANCED, panel="firm", time="year").exog
    balanced = BALANCED.assign(**{f"x{k}": _by_loop(BALANCED, "x", k) for k in (1, 2)}).dropna()
    close(twice["lag(lag(x))"], balanced.x2, 0)
    close(twice["diff(diff(x), 1)"], balanced.x - 2 * balanced.x1 + balanced.x2, 1e-14, unit=1.0)
    assert "lag(x, 1)" in bh.ols("y ~ lag(x, range(1, 4))", BALANCED, panel="firm", time="year").exog_names


def test_categories_whole_numbers_and_booleans_stay_what_they_are():
    model = bh.ols("y ~ lag(word) + C(lag(n, 1)) + lag(truth) + i(lag(n), ref=0)", GAPS, panel="firm", time="year")
    assert model.exog_names == [
        *("Intercept", "lag(word)[T.b]", "C(lag(n, 1))[T.1]", "C(lag(n, 1))[T.2]", "lag(truth)[T.True]"),
        *("lag(n)::1", "lag(n)::2"),
    ]
    theirs = pd.Series(_by_loop(GAPS, "truth", 1), GAPS.index).dropna()
    assert list(model.exog["lag(truth)[T.True]"]) == list(theirs.astype(float))


DATES = {
    "years": lambda year: year,
    "every other year": lambda year: 2 * year,
    "floats": lambda year: year.astype(float),
    "text": lambda year: year.astype(str),
    "categories": pd.Categorical,
    "periods": lambda year: pd.PeriodIndex(pd.to_datetime({"year": year, "month": 1, "day": 1}), freq="Y"),
    "months": lambda year: 200001 + (year - 1990) + 88 * ((year - 1990) // 12),
    "quarters": lambda year: 20001 + (year - 1990) % 4 + 10 * ((year - 1990) // 4),
    "days as numbers": lambda year: 20000101 + year - 1990,
    "starts of months": lambda year: pd.to_datetime({"year": 2000, "month": year - 1989, "day": 1}),
    "ends of months": lambda year: (
        pd.to_datetime({"year": 2000, "month": year - 1989, "day": 1}) + pd.offsets.MonthEnd()
    ),
    "days": lambda year: pd.Timestamp("2000-02-25") + pd.to_timedelta(year - 1990, "D"),
    "weekdays": lambda year: pd.Series(pd.bdate_range("2000-02-25", periods=YEARS))[year - 1990].to_numpy(),
    "weeks": lambda year: pd.Timestamp("2000-02-25") + pd.to_timedelta(7 * (year - 1990), "D"),
    "hours with a zone": lambda year: pd.Timestamp("2000-03-25", tz="CET") + pd.to_timedelta(year - 1990, "h"),
    "text of days": lambda year: (pd.Timestamp("2000-02-25") + pd.to_timedelta(year - 1990, "D")).dt.strftime(
        "%Y-%m-%d"
    ),
    "spans": lambda year: pd.to_timedelta(year - 1990, "h"),
}


@pytest.mark.parametrize("kind", DATES)
def test_time_may_be_written_in_many_ways_and_few_new_rows_are_counted_alike(kind):
    data = GAPS.assign(when=DATES[kind](GAPS.year))
    res = bh.ols("y ~ lag(x, 2) + lead(x)", data, panel="firm", time="when").fit()
    byyears = bh.ols("y ~ lag(x, 2) + lead(x)", GAPS, panel="firm", time="year").fit()
    close(res.model.exog, byyears.model.exog, 0)
    # one firm has other periods, and other gaps, than all of them together
    for firm in range(FIRMS):
        some = data.firm == firm
        close(res.predict(data[some]), byyears.predict(GAPS[some]), ROUNDED, unit=1.0)
    pairs = data.sort_values(["firm", "year"]).iloc[[3, 5]]
    assert res.predict(pairs).isna().all()


def test_other_frames_and_expressions():
    frame = pl.from_pandas(GAPS.reset_index(drop=True)).with_columns(
        when=pl.datetime(2000, 1, 1) + pl.duration(days=pl.col("year") - 1990)
    )
    theirs = bh.ols("y ~ lag(x)", GAPS, panel="firm", time="year").fit()
    for time in ("year", "when", "year - 1990", "when.dt.day"):
        res = bh.ols("y ~ lag(x)", frame, panel="firm", time=time).fit()
        close_to_one(res.params, theirs.params, ROUNDED)
    arrow = bh.ols("y ~ lag(x)", frame.to_arrow(), panel="firm", time="when").fit()
    close_to_one(arrow.params, theirs.params, ROUNDED)
    columns = {name: GAPS[name].to_numpy() for name in GAPS}
    close_to_one(bh.ols("y ~ lag(x)", columns, panel="firm", time="year").fit().params, theirs.params, ROUNDED)
    words = GAPS.assign(firm=GAPS.firm.map(lambda firm: f"firm {firm}"))
    close_to_one(bh.ols("y ~ lag(x)", words, panel="firm", time="year").fit().params, theirs.params, 0)


def test_time_alone_is_one_series():
    series = BALANCED[BALANCED.firm == 2]
    found = bh.ols("y ~ lag(x)", series, time="year").exog["lag(x)"]
    theirs = series.sort_values("year").x.shift(1).dropna()
    pd.testing.assert_series_equal(found.sort_index(), theirs.sort_index(), check_names=False)


def test_missing_units_and_periods_have_no_neighbours():
    data = GAPS.astype({"firm": float, "year": float})
    lost = data.index[:6]
    data.loc[lost[:3], "firm"] = data.loc[lost[3:], "year"] = np.nan
    found = bh.ols("y ~ lag(x)", data, panel="firm", time="year").exog["lag(x)"]
    theirs = pd.Series(_by_loop(data.dropna(), "x", 1), data.dropna().index).dropna()
    pd.testing.assert_series_equal(found, theirs, check_names=False)


def test_a_row_that_is_left_out_still_has_what_the_next_needs():
    data = GAPS.assign(y=GAPS.y.where(GAPS.year != 1995))
    found = bh.ols("y ~ lag(x)", data, panel="firm", time="year").exog["lag(x)"]
    theirs = pd.Series(_by_loop(data, "x", 1), data.index)[data.y.notna()].dropna()
    pd.testing.assert_series_equal(found, theirs, check_names=False)


@pytest.mark.parametrize(
    "formula", ["y ~ lag(x, 1) + x", "diff(y) ~ diff(x, 2) + C(lag(n))", "y ~ lag(x, [1, 2]) + lag(word)"]
)
def test_new_data_files_and_pickles_have_their_own_neighbours(formula, tmp_path):
    res = bh.ols(formula, GAPS, panel="firm", time="year").fit("HC1")
    new = GAPS[GAPS.firm.isin([1, 4])]
    found = res.predict(new)
    assert (
        list(found.dropna().index) == [label for label in new.index if label in res.fittedvalues.index]
        or "diff" in formula
    )
    there = found.dropna().index.intersection(res.fittedvalues.index)
    close(found[there], res.fittedvalues[there], 1e-12, unit=1.0)
    for again in (pickle.loads(pickle.dumps(res)), bh.load(res.save(tmp_path / "r"))):
        close(again.predict(new), found, 0)
        close(again.predict(pl.from_pandas(new)), found, 0)


@pytest.mark.parametrize(
    ("function", "options"),
    [(bh.poisson, {}), (bh.logit, {}), (bh.glm, {"family": "gaussian"}), (bh.wls, {"weights": "n + 1"}), (bh.rlm, {})],
)
def test_every_model_takes_them(function, options):
    data = GAPS if function in (bh.wls, bh.rlm) else GAPS.assign(y=(GAPS.y > 0) * 1)
    res = function("y ~ lag(x) + n", data, panel="firm", time="year", **options).fit()
    byhand = function("y ~ z + n", data.assign(z=_by_loop(data, "x", 1)), **options).fit()
    close_to_one(res.params, byhand.params, 0)


@pytest.mark.filterwarnings("ignore::betahat.WeakInstrumentWarning")
def test_effects_and_instruments_take_them():
    own = GAPS.assign(x1=_by_loop(GAPS, "x", 1), x2=_by_loop(GAPS, "x", 2), dx=GAPS.x - _by_loop(GAPS, "x", 1))
    res = bh.ols("diff(y) ~ n | firm | diff(x) ~ lag(x, 2)", GAPS, panel="firm", time="year").fit()
    byhand = bh.ols("dy ~ n | firm | dx ~ x2", own.assign(dy=GAPS.y - _by_loop(GAPS, "y", 1))).fit()
    close_to_one(res.params, byhand.params, 0)


def test_ones_own_function_of_the_name_is_ones_own():
    def lag(x):
        return x * 2

    assert list(bh.ols("y ~ lag(x)", GAPS).exog["lag(x)"]) == list(GAPS.x * 2)


@pytest.mark.parametrize(
    ("formula", "options", "kind", "says"),
    [
        ("y ~ lag(x)", {}, FormulaError, "lag(x) in 'y ~ lag(x)' is of another period, and it is not known which rows"),
        ("y ~ lag(x)", {"panel": "firm"}, OptionError, "panel='firm' tells units apart, and their periods are not known"),
        ("y ~ lag(x)", {"time": 3}, OptionError, "time is an int; beside a formula it is the name of a column"),
        ("y ~ lag(x)", {"time": "yeer"}, FormulaError, "time='yeer' refers to 'yeer', found neither in the data"),
        ("y ~ lag(x)", {"time": "year"}, FormulaError, "so that lag(x) is not one value; pass panel='...'"),
        ("y ~ lag(x)", {"panel": "n", "time": "year"}, FormulaError, "there are several rows for n 0 in year 19"),
        ("y ~ lag(x)", {"time": "x"}, FormulaError, "time='x' has labels whose distances are not known, such as"),
        ("y ~ lag(x)", {"time": "word"}, FormulaError, "make them whole numbers, dates or periods."),
        ("y ~ lag(x)", {"time": "1"}, FormulaError, "'1' is an int; pass a column"),
        ("y ~ lag(x, 1.5)", {"time": "year"}, FormulaError, "k in lag(x, k) is 1.5; pass a whole number of periods"),
        ("y ~ lag(x, [])", {"time": "year"}, FormulaError, "k in lag(x, k) is empty"),
        ("y ~ lag(word, [1, 2])", {"time": "year"}, FormulaError, "has several k, and is no number; write a term for each"),
        ("y ~ diff(word)", {"time": "year"}, FormulaError, "differences are of numbers"),
        ("y ~ lag(C(n))", {"time": "year"}, FormulaError, "shift its column first, such as C(lag(group, 1))"),
        ("y ~ lag(poly(x, 2))", {"time": "year"}, FormulaError, "lag(poly(x, 2)) is of"),
    ],
)  # fmt: skip
def test_mistakes_are_sentences(formula, options, kind, says):
    with pytest.raises(kind) as caught:
        bh.ols(formula, GAPS, **options)
    assert says in str(caught.value)


def test_what_is_read_in_parts_counted_or_beside_the_formula_has_no_other_periods():
    parts = in_partitions(GAPS.reset_index(drop=True), (20, len(GAPS) - 20))
    with pytest.raises(
        FormulaError, match=r"lag\(x\) depends on other rows than its own, and the rows of frames are read"
    ):
        bh.ols("y ~ lag(x)", parts, panel="firm", time="year")
    with pytest.raises(FormulaError, match=r"time='yeer' refers to 'yeer', found neither in the data nor"):
        bh.ols("y ~ x", parts, panel="firm", time="yeer")
    with pytest.raises(FormulaError, match=r"lag\(x\) depends on other rows than its own, and rows that are alike"):
        bh.ols("y ~ lag(x)", pd.concat([GAPS] * 3), panel="firm", time="year", compress=True)
    with pytest.raises(FormulaError, match=r"weights='lag\(n\)' is of another period, as only the terms of a formula"):
        bh.wls("y ~ x", GAPS, weights="lag(n)", panel="firm", time="year")


def test_effects_of_variables_in_other_rows_are_refused(tmp_path):
    res = bh.ols("y ~ n + lag(x)", GAPS, panel="firm", time="year").fit()
    close_to_one(res.avg_predictions().params, [res.fittedvalues.mean()], ROUNDED)
    for one in (res, bh.load(res.save(tmp_path / "r"))):
        newdata = {} if one is res else {"newdata": GAPS}
        with pytest.raises(OptionError, match=r"lag\(x\) stands in another row than its variable"):
            one.avg_slopes("x", **newdata)


def test_effects_of_variables_beside_other_rows(tmp_path):
    frame = GAPS.assign(z=np.arange(len(GAPS)) % 3 - 0.5)
    res = bh.ols("diff(y) ~ n + lag(x) + I(z**2)", frame, panel="firm", time="year").fit()
    used = frame["z"].to_numpy()[to_numpy(res.fit.given.user_data.in_use)]
    close_to_one(res.avg_slopes("z").params, [2.0 * res.params["I(z ** 2)"] * used.mean()], ROUNDED)
    loaded = bh.load(res.save(tmp_path / "r"))
    close_to_one(loaded.avg_slopes("n", newdata=frame.tail(9)).params, [res.params["n"]], ROUNDED)
    crossed = bh.ols("diff(y) ~ n*lag(x)", frame, panel="firm", time="year").fit()
    with pytest.raises(
        OptionError, match=r"lag\(x\) stands in another row than its variable, so that a row has no effect of 'n'"
    ):
        crossed.avg_slopes("n")


def test_new_data_without_periods_are_told_so():
    res = bh.ols("y ~ lag(x)", GAPS, panel="firm", time="year").fit()
    with pytest.raises(FormulaError, match="'year' is neither in the data nor one of the caller's variables"):
        res.predict(GAPS[["x", "firm"]])
    with pytest.raises(
        FormulaError, match="time='year' has labels of another kind than in the fit, such as '1990-01-01'"
    ):
        res.predict(GAPS.assign(year=pd.to_datetime({"year": GAPS.year, "month": 1, "day": 1})).sort_values("year"))
    of_periods = bh.ols("y ~ lag(x)", GAPS.assign(year=DATES["periods"](GAPS.year)), panel="firm", time="year").fit()
    with pytest.raises(FormulaError, match="labels of another kind than in the fit"):
        of_periods.predict(GAPS.assign(year=pd.PeriodIndex(DATES["periods"](GAPS.year)).asfreq("M")))


@pytest.mark.parametrize(
    "learnt",
    [
        {"panel": "__import__('os')"},
        {"time": "year.map(print)"},
        {"panel": "poly(firm, 3)"},
        {"step": 10.0**9},
        {"more": 1},
    ],
)
def test_what_a_file_says_of_units_and_periods_runs_no_code(learnt):
    source = stored_formula(bh.ols("y ~ lag(x)", GAPS, panel="firm", time="year").source)
    assert source.regressors(GAPS).notna().all(axis=1).sum() > 0
    forged = replace(source, learnt={"lag(x)": source.learnt["lag(x)"] | learnt})
    with pytest.raises(FormulaError, match="not among the computations known to be harmless"):
        forged.regressors(GAPS)


def test_a_file_of_before_knows_no_periods():
    source = stored_formula(bh.ols("y ~ lag(x)", GAPS, panel="firm", time="year").source)
    with pytest.raises(FormulaError, match="it is not known which rows follow each other"):
        replace(source, learnt={}).regressors(GAPS)
