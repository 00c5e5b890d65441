"""Formulas on datasets: what a formula learns of partitions and chunks is what it learns of all rows in memory."""

import pickle
import re

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
import torch
from formulaic.transforms import stateful_transform
from support.streams import in_partitions

import betahat as bh
from betahat.errors import BetahatError, DataError, FormulaError

N = 1_000
SIZES = (300, 0, 1, 299, 400)
# Sums over partitions are added in another order than those over all rows.
RTOL = 1e-12
VECTOR = np.arange(N)
KINDS = {
    "pandas": lambda frame: frame,
    "polars": pl.from_pandas,
    "pyarrow": lambda frame: pa.Table.from_pandas(frame, preserve_index=False),
}


def _frame():
    rng = np.random.default_rng(17)
    frame = pd.DataFrame(
        {
            "y": rng.normal(size=N),
            "x": rng.normal(size=N) + 3,
            "two words": rng.normal(size=N),
            "n": rng.integers(0, 9, N),
            "g": rng.integers(0, 4, N),
            "t": rng.choice(["b", "a", "Ä"], N),
            "k": pd.Categorical(rng.choice(["low", "high"], N), ["low", "high"]),
            "b": rng.random(N) > 0.5,
            "d": pd.Timestamp("2026-01-01") + pd.to_timedelta(rng.integers(0, 3, N), "D"),
            "w": rng.random(N) + 0.5,
            "f": rng.integers(1, 4, N),
        }
    )
    frame.loc[rng.random(N) < 0.05, "x"] = np.nan
    frame.loc[rng.random(N) < 0.05, "t"] = None
    frame.loc[rng.random(N) < 0.05, "w"] = np.nan
    frame.loc[frame.index == N - 1, "t"] = "z, the last"
    frame["y"] += frame["x"].fillna(0)
    return frame


FRAME = _frame()
FORMULAS = (
    "y ~ x + n",
    "y ~ x * n + C(g)",
    "y ~ x + t",
    "y ~ t:x + k + b",
    "np.log(x ** 2) ~ C(d) + C(t, Sum) + Q('two words')",
    "y ~ x + C(g, Treatment(2)) - 1",
    "y ~ C(g, levels=[3, 2, 1, 0]) + `two words`",
    "y ~ hashed(t, levels=2) + np.where(x > 3, x, 3) - 1",
    "y ~ 1",
)


def _same(streamed, held):
    assert list(streamed.params.index) == list(held.params.index)
    np.testing.assert_allclose(streamed.params, held.params, rtol=RTOL, atol=1e-13)
    np.testing.assert_allclose(streamed.bse, held.bse, rtol=RTOL, atol=1e-13)
    assert streamed.nobs == held.nobs


@pytest.mark.slow
@pytest.mark.parametrize("formula", FORMULAS)
@pytest.mark.parametrize("kind", KINDS)
def test_formulas_give_the_numbers_of_memory(formula, kind):
    if kind != "pandas" and "k" in formula:
        pytest.skip("a chunk of these knows the categories that it has")
    dataset = in_partitions(FRAME, SIZES, made=KINDS[kind])
    streamed, held = bh.ols(formula, dataset).fit("HC1"), bh.ols(formula, FRAME).fit("HC1")
    _same(streamed, held)
    np.testing.assert_allclose(streamed.predict(FRAME[:50]), held.predict(FRAME[:50]), rtol=RTOL)


@pytest.mark.parametrize("weights", ["w", "w ** 2", "2 + center(w)", 2.0])
def test_weights_by_name(weights):
    streamed = bh.wls("y ~ x + t", in_partitions(FRAME, SIZES), weights=weights).fit("HC1")
    _same(streamed, bh.wls("y ~ x + t", FRAME, weights=weights).fit("HC1"))


def test_counts_offsets_and_exposures():
    options = {"offset": "0.1 * x", "exposure": "w", "freq_weights": "f"}
    streamed = bh.poisson("n ~ x + t", in_partitions(FRAME, SIZES), **options).fit("HC0")
    _same(streamed, bh.poisson("n ~ x + t", FRAME, **options).fit("HC0"))


def test_successes_and_failures():
    streamed = bh.glm("n + g ~ x", in_partitions(FRAME, SIZES), family="binomial").fit("HC0")
    _same(streamed, bh.glm("n + g ~ x", FRAME, family="binomial").fit("HC0"))


def test_instruments_and_second_equations():
    dataset = in_partitions(FRAME, SIZES)
    formula = "y ~ n | x ~ I(x + w) + C(g)"
    _same(bh.ols(formula, dataset).fit("HC1"), bh.ols(formula, FRAME).fit("HC1"))
    streamed = bh.zeroinflatedpoisson("n ~ x", dataset, exog_infl="~ w").fit()
    _same(streamed, bh.zeroinflatedpoisson("n ~ x", FRAME, exog_infl="~ w").fit())


@pytest.mark.filterwarnings("ignore::betahat.errors.BetahatWarning")
@pytest.mark.parametrize("effects", ["t", "n + t", "n^t", "d + k", "w2"])
def test_absorbed_effects(effects):
    frame = FRAME.assign(w2=(FRAME["w"] * 400).round())  # some alone, some missing
    formula = f"y ~ x + f | {effects}"
    streamed, held = bh.ols(formula, in_partitions(frame, SIZES)), bh.ols(formula, frame)
    _same(streamed.fit("HC1"), held.fit("HC1"))
    assert streamed.design.schema.dropped == held.design.schema.dropped
    _same(streamed.fit(bh.Cluster("n")), held.fit(bh.Cluster("n")))


def test_what_builds_chunks_is_pickled():
    source = bh.ols("np.log(x + 10) ~ C(t)", in_partitions(FRAME, SIZES)).design.source
    again = pickle.loads(pickle.dumps(source.builder))
    chunk = FRAME[["x", "t"]][:50]
    assert torch.equal(again.build(chunk).columns["exog"], source.builder.build(chunk).columns["exog"])


def _tell(call):
    with pytest.raises(BetahatError) as told:
        call()
    return str(told.value)


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
@pytest.mark.parametrize(
    "made",
    [
        lambda data: bh.ols("y ~ x + t", data, missing="raise"),
        lambda data: bh.ols("y ~ np.log(x - 3)", data, missing="raise"),
        lambda data: bh.wls("y ~ n", data, weights="w", missing="raise"),
        lambda data: bh.wls("y ~ n", data, weights="w - 1"),
        lambda data: bh.wls("y ~ n", data, weights="0 * f"),
        lambda data: bh.poisson("n ~ x", data, exposure="f - 2"),
        lambda data: bh.poisson("n ~ g", data, exposure="w", missing="raise"),
        lambda data: bh.poisson("n ~ x", data, freq_weights="w"),
        lambda data: bh.poisson("n ~ x", data, freq_weights="0 * f"),
        lambda data: bh.poisson("n ~ x", data, freq_weights="w", missing="raise"),
        lambda data: bh.ols("y ~ np.log(n) + x", data),
        lambda data: bh.ols("y ~ nought", data),
        lambda data: bh.ols("y ~ n | t", data, missing="raise"),
        lambda data: bh.ols("y ~ n | nought", data),
        lambda data: bh.ols("t ~ x", data),
        lambda data: bh.ols("y ~ d", data),
        lambda data: bh.ols("y ~ C(g, levels=[1, 2])", data),
        lambda data: bh.ols("y ~ np.sqrt(-1 - n)", data),
        lambda data: bh.ols("y ~ bs(x * np.nan, df=4)", data),
        lambda data: bh.ols("y ~ bs(x, df=1)", data),
        lambda data: bh.ols("y ~ poly(0 * n, 2)", data),
        lambda data: bh.ols("y ~ scale(0 * n)", data),
        lambda data: bh.ols("y ~ center(np.where(n == 3, np.inf, x))", data),
        lambda data: bh.wls("y ~ x", data, weights="w * np.nan"),
        lambda data: bh.glm("n + I(g - 1) ~ x", data, family="binomial"),
        lambda data: bh.glm("n + g ~ x", data, family="binomial", var_weights="f"),
    ],
)
def test_what_cannot_be_is_told_as_in_memory(made):
    """But for the name of the first partition that has it, where a value is meant."""
    told = _tell(lambda: made(in_partitions(FRAME, SIZES)))
    assert re.sub(r"^part \d: ", "", told) == _tell(lambda: made(FRAME))


def test_what_only_datasets_are_told():
    dataset = in_partitions(FRAME, SIZES)
    with pytest.raises(DataError, match="weights has a value for each row, but the rows lie in frames; pass the name"):
        bh.wls("y ~ x", dataset, weights=np.ones(N))
    with pytest.raises(DataError, match="The data are empty: frames has no rows"):
        bh.ols("y ~ x", in_partitions(FRAME[:0], (0,)))


@pytest.mark.parametrize(
    "expression",
    [
        "I(x - x.mean())",
        "I(x.fillna(x.median()))",
        "x.rank()",
        "lag(n)",
        "np.cumsum(n)",
        "I(w / w.max())",
    ],
)
def test_what_depends_on_other_rows_is_refused(expression):
    with pytest.raises(
        FormulaError, match="depends on other rows than its own, and the rows of frames are read in parts"
    ):
        bh.ols(f"y ~ n + {expression}", in_partitions(FRAME, SIZES))


def test_weights_that_depend_on_other_rows_are_refused():
    with pytest.raises(FormulaError, match=r"weights='w / w.sum\(\)' depends on other rows"):
        bh.wls("y ~ n", in_partitions(FRAME, SIZES), weights="w / w.sum()")


@stateful_transform
def halved(x, _state=None):
    return x / 2


def test_functions_that_learn_and_are_not_known_are_refused():
    with pytest.raises(FormulaError, match=r"halved\(x\) learns of all rows at once"):
        bh.ols("y ~ halved(x)", in_partitions(FRAME, SIZES))
    with pytest.raises(FormulaError, match="'VECTOR' is a vector, and no column of frames"):
        bh.ols("y ~ VECTOR", in_partitions(FRAME, SIZES))
    with pytest.raises(FormulaError, match="quantiles of the different values"):
        bh.ols(
            "y ~ cr(x, df=4)", in_partitions(pd.concat([FRAME] * 70).assign(x=np.arange(70_000.0)), (70_000,), 40_000)
        )


def _parts_of(frames, made=lambda frame: frame):
    """Return dataframes that differ in their types as partitions."""
    dataset = in_partitions(FRAME, [len(frame) for frame in frames], made=made)
    for part, frame in zip(dataset.parts, frames, strict=True):
        object.__setattr__(part, "frame", frame)
    return dataset


def test_categories_in_another_order_in_another_part():
    """They keep the order in which they come: those of the first part, and others behind them, as Arrow unifies dictionaries."""
    levels = [["low", "high"], ["top", "high", "low"]]
    frames = [
        pd.DataFrame({"y": np.arange(9.0) ** 2, "k": pd.Categorical(values * 3, order)})
        for values, order in zip((["low", "high", "low"], ["high", "top", "low"]), levels, strict=True)
    ]
    whole = pd.concat([frame.assign(k=frame["k"].astype(str)) for frame in frames], ignore_index=True)
    held = bh.ols("y ~ C(k, levels=['low', 'high', 'top'])", whole).fit("HC1")
    for made in (lambda frame: frame, KINDS["pyarrow"]):
        streamed = bh.ols("y ~ k", _parts_of(frames, made)).fit("HC1")
        assert list(streamed.params.index) == ["Intercept", "k[T.high]", "k[T.top]"]
        np.testing.assert_allclose(streamed.params, held.params, rtol=RTOL)
        np.testing.assert_allclose(streamed.bse, held.bse, rtol=RTOL)


@pytest.mark.parametrize("second", [["c", "a", "b"], ["a", "b", "c", "d"], None])
@pytest.mark.parametrize("made", [KINDS["pandas"], KINDS["pyarrow"]])
def test_ordered_categories_of_another_order_in_another_part_are_refused(second, made):
    """None is one without an order."""
    first = FRAME[["y", "x"]][:9].assign(k=pd.Categorical(["a", "b", "c"] * 3, ["a", "b", "c"], ordered=True))
    other = pd.Categorical(["a", "b", "c"] * 3, second or ["a", "b", "c"], ordered=second is not None)
    for call in (
        lambda data: bh.ols("y ~ k", data),
        lambda data: bh.ordered("k ~ y", data),
    ):
        call(_parts_of([first, first], made))
        with pytest.raises(DataError, match="ordered category in which the levels differ between parts of the data"):
            call(_parts_of([first, first.assign(k=other)], made))


@pytest.mark.parametrize("kind", [pl.Categorical, pl.Enum(["c", "b", "a"])])
def test_categories_of_polars_differ_between_parts(kind):
    frame = FRAME[["y"]][:40].assign(k=["a", "b"] * 10 + ["c", "b"] * 10)
    dataset = in_partitions(
        frame, (20, 20), made=lambda part: pl.from_pandas(part).with_columns(pl.col("k").cast(kind))
    )
    levels = sorted("abc", reverse=kind is not pl.Categorical)
    held = bh.ols(f"y ~ C(k, levels={levels})", frame).fit()
    np.testing.assert_allclose(bh.ols("y ~ k", dataset).fit().params, held.params, rtol=1e-11)


def test_arrows_dictionaries_in_pandas_are_categories():
    frame = FRAME[["y"]].assign(
        g=pd.Series(FRAME["g"].astype(str), dtype=pd.ArrowDtype(pa.dictionary(pa.int32(), pa.string())))
    )
    _same(bh.ols("y ~ g", in_partitions(frame, SIZES)).fit(), bh.ols("y ~ g", frame).fit())


def test_numbers_of_other_types_in_other_parts_and_gaps():
    """Whole numbers, decimals, smaller types, nullable ones, and a part in which nothing is known."""
    frames = [FRAME[["y", "n"]][:300].astype({"n": "int32"}), FRAME[["y", "n"]][300:600].astype({"n": "float32"})]
    frames += [FRAME[["y", "n"]][600:700].assign(n=None), FRAME[["y", "n"]][700:].astype({"n": "Int64"})]
    whole = FRAME[["y", "n"]].drop(range(600, 700))
    for formula in ("y ~ n", "y ~ C(n)"):
        held = bh.ols(formula, whole).fit("HC1")
        np.testing.assert_allclose(bh.ols(formula, _parts_of(frames)).fit("HC1").bse, held.bse, rtol=1e-11)


def test_a_column_that_is_text_in_one_part_is_refused_by_name():
    mixed = FRAME.assign(x=FRAME["x"].astype(object).where(FRAME.index < 600, "many"))
    parts = [frame.infer_objects() for frame in (mixed[:600], mixed[600:])]
    dataset = _parts_of(parts)
    with pytest.raises(DataError, match="'x' is a number in some of the data and a category in others, such as part 1"):
        bh.ols("y ~ x", dataset)


LEARNING = (
    "y ~ center(x) + scale(n)",
    "y ~ standardize(x, center=False) + scale(`two words`, center=1.5, ddof=0)",
    "y ~ np.log(5 + center(x) ** 2) + t",
    "y ~ scale(center(n)) + bs(standardize(x), df=5)",
    "y ~ bs(x, df=6, degree=2) + bs(n, df=4, include_intercept=True) - 1",
    "y ~ bs(x, knots=[2, 3], lower_bound=-5, upper_bound=20)",
    "y ~ bs(x, df=5, lower_bound=1, upper_bound=5, extrapolation='clip')",
    "y ~ cr(n, df=4) - 1",
    "y ~ cc(n, df=3) - 1",
    "y ~ cr(n, df=4, constraints='center') + poly(x, degree=3)",
    "y ~ poly(n, 2, raw=True) + poly(`two words`, 2):b",
    "y ~ C(n > 4) + scale(f):t",
)


@pytest.mark.slow
@pytest.mark.parametrize("distinct", [2**16, 20])
@pytest.mark.parametrize("formula", LEARNING)
def test_calls_learn_of_all_rows(formula, distinct, monkeypatch):
    """Of few values each is counted; of many, quantiles are found in brackets and polynomials in further passes."""
    monkeypatch.setattr("betahat.data.formulas.sums.DISTINCT", distinct)
    dataset = in_partitions(FRAME, SIZES)
    streamed, held = bh.ols(formula, dataset).fit("HC1"), bh.ols(formula, FRAME).fit("HC1")
    np.testing.assert_allclose(streamed.model.exog, held.model.exog, rtol=1e-11, atol=1e-11)
    _same(streamed, held)
    np.testing.assert_allclose(streamed.predict(FRAME[:50]), held.predict(FRAME[:50]), rtol=RTOL)


def test_means_are_those_of_memory_to_the_last_digits():
    formula = "y ~ scale(x)"
    states = [
        bh.ols(formula, data).source.spec.transform_state["scale(x)"] for data in (in_partitions(FRAME, SIZES), FRAME)
    ]
    for name in ("center", "scale"):
        np.testing.assert_allclose(states[0][name], states[1][name], rtol=1e-15)


def test_means_and_levels_are_learnt_in_one_pass():
    for formula, passes in (("y ~ center(x) + t", 1), ("y ~ np.log(9 + center(x)) + t", 2)):
        dataset = in_partitions(FRAME, SIZES)
        bh.ols(formula, dataset)
        assert [len(part.opened) for part in dataset.parts] == [passes] * len(SIZES)


def test_rows_are_named_by_their_parts():
    with pytest.raises(BetahatError, match=r"labelled 'complete row \d+ of part 4'"):
        bh.ols("y ~ x + t", in_partitions(FRAME, SIZES)).fit("HC3")


# Parts by year: in each, the year and the word have one value, and large numbers and gaps come last.
YEARS = pd.concat(
    [
        FRAME[["y", "x"]][:40].assign(yr=2000 + i, k=np.arange(40) + 10.0 + 20 * i, g="abcd"[i], j=np.arange(40) % 3)
        for i in range(4)
    ],
    ignore_index=True,
)
YEARS["d"] = pd.Timestamp("2020-01-01") + pd.to_timedelta(YEARS["yr"] - 2000, "D")
YEARS["late"] = YEARS["k"].where((YEARS["yr"] < 2003) | (YEARS["j"] != 1))
POINTS = {"a": 1.0, "b": 2.0, "c": 3.0, "d": 5.0}


def points(values):
    return np.array([POINTS[value] for value in values])


def capped(values):
    return np.where(np.asarray(values) > 65, np.mean(values), values)


OF_OTHERS = (
    "I(yr - yr.min())",
    "I(yr == yr.max())",
    "pd.factorize(yr)[0]",
    "I(k / k.max())",
    "k.rank(method='dense')",
    "np.searchsorted(np.unique(k), k)",
    "g.astype('category').cat.codes",
    "np.unique(g, return_inverse=True)[1]",
    "pd.Categorical(g).codes",
    "np.where(k > 90, k.mean(), k)",
    "np.where(k > 50, len(k), k)",
    "np.where(yr == 2003, k.mean(), k)",
    "np.where(g == 'd', len(k), k)",
    "np.where(np.isnan(late).any(), 0, late)",
    "I(g == g.min())",
    "capped(k)",
    "I(points(g) - points(g).min())",
    "I((d - d.min()).dt.days)",
    "pd.cut(k, 3)",
    "pd.get_dummies(g)",
    "yr.map(yr.value_counts())",
    "x.index",
)


@pytest.mark.parametrize("expression", OF_OTHERS)
def test_what_depends_on_other_rows_is_refused_where_a_part_has_one_value(expression):
    with pytest.raises(FormulaError, match="depends on other rows than its own"):
        bh.ols(f"y ~ x + {expression}", in_partitions(YEARS, (40,) * 4))


BY_ROW = "g.str.upper() + yr.map({2000: 1, 2001: 2, 2002: 5, 2003: 1}) + np.where(k > 65, 1, 0) + points(g) + pd.cut(k, [0, 50, 200]) + d.dt.day + np.interp(k, [0, 50, 100], [0, 1, 0]) + g.isin(['a', 'b']) + k.astype(int)"


def test_what_depends_on_its_row_is_taken_where_a_part_has_one_value():
    for expression in BY_ROW.split(" + "):
        streamed = bh.ols(f"y ~ x + {expression}", in_partitions(YEARS, (40,) * 4)).fit()
        _same(streamed, bh.ols(f"y ~ x + {expression}", YEARS).fit())


def test_weights_of_a_later_part_are_tried_too():
    with pytest.raises(FormulaError, match=r"weights='capped\(k\)' depends on other rows"):
        bh.wls("y ~ x", in_partitions(YEARS, (40,) * 4), weights="capped(k)")


@pytest.mark.parametrize("term", ["l", "C(l)"])
def test_lists_are_no_values(term):
    frame = FRAME[["y"]][:5].assign(l=[[1, 2]] * 5)
    for data in (frame, in_partitions(frame, (2, 3))):
        with pytest.raises(FormulaError, match="uses a column whose values are lists or the like"):
            bh.ols(f"y ~ {term}", data)


def _without_x(frame, number):
    return frame if number == 0 else frame[["y"]]


def test_partitions_of_dask_without_a_column_are_named():
    dask = pytest.importorskip("dask.dataframe")
    frame = FRAME[["y", "x"]][:20]
    lacking = dask.from_map(lambda number: _without_x(frame, number), [0, 1], meta=frame.iloc[:0])
    with pytest.raises(DataError, match="partition 1 of the dask DataFrame lacks columns that other parts have: 'x'"):
        bh.ols("y ~ x", lacking)
