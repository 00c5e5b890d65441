"""Formulas: the design that patsy makes for statsmodels, the caller's names, new data, every dataframe."""

import re

import numpy as np
import pandas as pd
import patsy
import polars as pl
import pyarrow as pa
import pytest

import betahat as bh

# Splines and centres are the same formulas in another order of operations.
ROUNDING = 1e-12

module_scale = 3.0


@pytest.fixture
def frame():
    rng = np.random.default_rng(8)
    n = 60
    return pd.DataFrame(
        {
            "y": rng.normal(size=n),
            "x": rng.uniform(1, 5, n),
            "z": rng.normal(size=n),
            "count": rng.integers(0, 3, n),
            "flag": rng.integers(0, 2, n).astype(bool),
            "g": rng.choice(["north", "east", "south"], n),
            "a b": rng.normal(size=n),
            "size": pd.Categorical(rng.choice(["small", "middle", "large"], n), ["small", "middle", "large"]),
        }
    )


LIBRARIES = {
    "pandas": lambda frame: frame,
    "dict": lambda frame: {name: frame[name].to_numpy() for name in frame if name != "size"} | {"size": frame["size"]},
    "polars": lambda frame: pl.DataFrame(
        {
            name: pl.Series(frame[name].astype(str), dtype=pl.Enum(["small", "middle", "large"]))
            if name == "size"
            else pl.Series(frame[name].tolist())
            for name in frame
        }
    ),
    "pyarrow": pa.Table.from_pandas,
}
libraries = pytest.mark.parametrize("library", LIBRARIES)

FORMULAS = [
    "y ~ x + z",
    "y ~ x - 1",
    "y ~ 0 + x + z",
    "y ~ 1",
    "y ~ x * z",
    "y ~ x : z",
    "y ~ g",
    "y ~ C(g)",
    "y ~ C(count)",
    "y ~ C(g) - 1",
    "y ~ size + x",
    "y ~ g * x",
    "y ~ g * size",
    "y ~ g : x",
    "y ~ x + C(g) + z + C(count) : z",
    "y ~ flag",
    "y ~ I(x ** 2) + np.log(x)",
    "np.log(x) ~ z + I(z ** 2)",
    "y ~ Q('a b') + x",
    "y ~ (x + z + g) ** 2",
    "y ~ x + I(x > 2)",
]


@pytest.mark.parametrize("formula", FORMULAS)
@libraries
def test_design_is_patsys(frame, formula, library):
    """The columns, their order and their names are those of statsmodels, which asks patsy."""
    _, right = patsy.dmatrices(formula, frame, return_type="dataframe")
    model = bh.ols(formula, LIBRARIES[library](frame))
    assert model.exog_names == list(right.columns)
    np.testing.assert_allclose(model.exog, right, rtol=ROUNDING)


def test_left_side(frame):
    model = bh.ols("np.log(x) ~ z", frame)
    assert model.endog_names == "np.log(x)"
    assert np.array_equal(model.endog, np.log(frame["x"]))
    assert bh.ols("I(x ** 2) ~ z", frame).endog_names == "I(x ** 2)"


@libraries
def test_order_of_categories_is_kept(frame, library):
    """An ordered list of categories is not sorted: its first is the base."""
    res = bh.ols("y ~ size", LIBRARIES[library](frame)).fit()
    assert list(res.params.index) == ["Intercept", "size[T.middle]", "size[T.large]"]
    assert list(bh.ols("y ~ C(size)", LIBRARIES[library](frame)).fit().params.index)[1:] == [
        "C(size)[T.middle]",
        "C(size)[T.large]",
    ]


def test_polars_categorical(frame):
    """A Categorical has no order of its own: every category but one gets a column, and is told apart."""
    sizes = pl.Series(frame["size"].astype(str).tolist(), dtype=pl.Categorical)
    names = bh.ols("y ~ size", pl.DataFrame({"y": frame["y"].to_numpy(), "size": sizes})).exog_names
    assert len(names) == 3
    assert set(names[1:]) < {f"size[T.{name}]" for name in ("small", "middle", "large")}


def test_another_base(frame):
    names = bh.ols("y ~ C(g, Treatment('south'))", frame).exog_names
    assert len(names) == 3
    assert not any("south]" in name for name in names)


def test_terms(frame):
    terms = bh.ols("y ~ g * x + size", frame).design.schema.terms
    assert terms == {"Intercept": [0], "g": [1, 2], "size": [3, 4], "x": [5], "g:x": [6, 7]}


def test_local_and_global_names_of_the_caller(frame):
    offset = 2.0

    def shifted(values):
        return values + offset

    plain = bh.ols("y ~ I(x + 2)", frame).exog["I(x + 2)"]
    assert np.array_equal(bh.ols("y ~ shifted(x)", frame).exog.iloc[:, 1], plain)
    assert np.array_equal(bh.ols("y ~ I(x + offset)", frame).exog.iloc[:, 1], plain)
    assert np.array_equal(bh.OLS.from_formula("y ~ shifted(x)", frame).exog.iloc[:, 1], plain)
    assert np.array_equal(bh.wls("y ~ shifted(x)", frame, weights="x").exog.iloc[:, 1], plain)
    assert np.array_equal(bh.WLS.from_formula("y ~ shifted(x)", frame, weights="x").exog.iloc[:, 1], plain)
    scaled = bh.ols("y ~ I(module_scale * x)", frame).exog.iloc[:, 1]
    assert np.array_equal(scaled, module_scale * frame["x"])
    assert np.array_equal(bh.ols("y ~ shifted(x)", frame).fit().predict(frame.head(5)).index, range(5))


def test_a_column_wins_over_a_local_variable(frame):
    x = np.zeros(60)
    assert np.array_equal(bh.ols("y ~ x", frame).exog["x"], frame["x"])
    assert not x.any()


@libraries
def test_weights_column(frame, library):
    res = bh.wls("y ~ z", LIBRARIES[library](frame), weights="x").fit()
    expected = bh.WLS(frame["y"], bh.add_constant(frame[["z"]]), weights=frame["x"]).fit()
    assert np.array_equal(res.params, expected.params)
    assert np.array_equal(res.bse, expected.bse)


@pytest.mark.parametrize(
    "formula", ["y ~ center(x)", "y ~ scale(x)", "y ~ bs(x, df=5)", "y ~ poly(x, 2)", "y ~ x + C(g)"]
)
def test_state_is_kept_for_new_data(frame, formula):
    """Centres, knots and levels are those of the fit, whatever the new data look like."""
    res = bh.ols(formula, frame).fit()
    rows = frame.iloc[[17]]
    assert float(res.predict(rows).iloc[0]) == pytest.approx(float(res.fittedvalues.iloc[17]), rel=ROUNDING)
    some = frame[frame["g"] != "east"]
    np.testing.assert_allclose(res.predict(some), res.fittedvalues[some.index], rtol=ROUNDING)


def test_center_is_the_mean_of_the_fit(frame):
    res = bh.ols("y ~ center(x)", frame).fit()
    new = pd.DataFrame({"x": [10.0]})
    expected = res.params.iloc[0] + res.params.iloc[1] * (10.0 - frame["x"].mean())
    assert res.predict(new).iloc[0] == pytest.approx(expected, rel=ROUNDING)


@libraries
def test_new_data(frame, library):
    res = bh.ols("y ~ x + size + np.log(x)", frame).fit("HC3")
    new = LIBRARIES[library](frame.iloc[5:15])
    np.testing.assert_allclose(res.predict(new), res.fittedvalues.iloc[5:15], rtol=ROUNDING)
    table, whole = res.get_prediction(new).summary_frame(), res.get_prediction().summary_frame()
    np.testing.assert_allclose(table, whole.iloc[5:15], rtol=1e-10)
    index = range(5, 15) if library in ("pandas", "pyarrow") else range(10)
    if library == "pandas":
        assert list(res.predict(new).index) == list(index)


@pytest.mark.parametrize("library", ["pandas", "polars", "pyarrow"])
def test_new_data_need_only_the_right_side(frame, library):
    res = bh.ols("np.log(y ** 2) ~ x", frame).fit()
    new = {"pandas": pd.DataFrame, "polars": pl.DataFrame, "pyarrow": pa.table}[library]({"x": [1.0, 2.0]})
    assert len(res.predict(new)) == 2


@pytest.mark.parametrize("library", ["pandas", "polars", "pyarrow"])
def test_unseen_category(frame, library):
    res = bh.ols("y ~ x + g", frame).fit()
    new = {"pandas": pd.DataFrame, "polars": pl.DataFrame, "pyarrow": pa.table}[library](
        {"x": [1.0, 2.0], "g": ["west", "north"]}
    )
    with pytest.raises(bh.DataError, match="'west'"):
        res.predict(new)


def test_missing_category_in_new_data(frame):
    res = bh.ols("y ~ x + g", frame).fit()
    new = pd.DataFrame({"x": [1.0, 2.0, np.nan], "g": ["north", None, "south"]}, index=["p", "q", "r"])
    found = res.predict(new)
    assert np.isnan(found).tolist() == [False, True, True]
    assert list(found.index) == ["p", "q", "r"]


def test_transform_false_takes_regressors(frame):
    res = bh.ols("y ~ x + np.log(x)", frame).fit()
    np.testing.assert_allclose(
        res.predict(res.model.exog.head(4), transform=False), res.fittedvalues.head(4), rtol=ROUNDING
    )


def test_new_data_of_arrays_and_frames(frame):
    """A frame may hold the regressors in any order, and other columns beside them."""
    x = bh.add_constant(frame[["x", "z"]])
    res = bh.OLS(frame["y"], x).fit()
    expected = res.fittedvalues.head(6)
    np.testing.assert_allclose(res.predict(x.head(6)), expected, rtol=ROUNDING)
    np.testing.assert_allclose(res.predict(x[["z", "const", "x"]].head(6)), expected, rtol=ROUNDING)
    np.testing.assert_allclose(res.predict(pl.DataFrame(x.head(6))), expected, rtol=ROUNDING)
    np.testing.assert_allclose(res.predict(x.head(6).to_numpy()), expected, rtol=ROUNDING)
    np.testing.assert_allclose(res.predict(x.head(6).assign(other=1.0)), expected, rtol=ROUNDING)


def test_new_data_with_columns_that_nobody_asked_for(frame):
    x = bh.add_constant(frame[["x", "z"]])
    res = bh.OLS(frame["y"], x).fit()
    found = res.predict(x.assign(name=frame["g"]).head(6))
    np.testing.assert_allclose(found, res.fittedvalues.head(6), rtol=ROUNDING)


def test_one_new_row_as_a_vector(frame):
    res = bh.OLS(frame["y"].to_numpy(), bh.add_constant(frame[["x", "z"]].to_numpy())).fit()
    assert res.predict([1.0, frame["x"][3], frame["z"][3]]) == pytest.approx(res.fittedvalues[3:4], rel=ROUNDING)


def test_read_only_columns(frame):
    """A frame of one dtype may hand out read-only memory: that is no reason for a warning."""
    res = bh.ols("y ~ x + z", frame).fit()
    assert len(res.predict(frame.head(3))) == 3
    assert len(bh.ols("y ~ 0 + x", frame).fit().predict(frame.head(3))) == 3


@pytest.mark.parametrize("rows", [9, 50, 51, 400])
def test_a_vector_of_the_callers_has_a_value_for_each_row(rows):
    """The order of the terms is known from the one evaluation, of all rows."""
    rng = np.random.default_rng(1)
    data = pd.DataFrame({"y": rng.normal(size=rows), "g": ["a", "b", "c"] * (rows // 3) + ["a"] * (rows % 3)})
    vector, series = rng.normal(size=rows), pd.Series(rng.normal(size=rows))  # noqa: F841  in the formula
    _, right = patsy.dmatrices("y ~ vector + g + series + np.abs(vector):g", data, return_type="dataframe")
    model = bh.ols("y ~ vector + g + series + np.abs(vector):g", data)
    assert model.exog_names == list(right.columns)
    assert np.array_equal(model.exog, right)


@pytest.mark.parametrize(
    "left", ["y - x", "y**2", "y + x", "-y", "y:x", "y*x", "y/x", "(y - x)", "y - 1", "np.log(x) - z", "y^2", "y + 0"]
)
def test_arithmetic_on_the_left_is_refused(frame, left):
    """patsy takes it for terms, R for numbers; with I it is R's, in statsmodels too."""
    with pytest.raises(bh.FormulaError, match=rf"write I\({re.escape(left)}\)"):
        bh.ols(f"{left} ~ z", frame)


@pytest.mark.parametrize(
    "left", ["I(y - x)", "I(y**2)", "y", "(y)", "np.log(x)", "I(-y)", "`a b`", "Q('a b')", "x.diff()", "x // 2"]
)
def test_what_may_stand_on_the_left(frame, left):
    model = bh.ols(f"{left} ~ z", frame)
    expected = patsy.dmatrices(f"{'Q(chr(97) + chr(32) + chr(98))' if '`' in left else left} ~ z", frame)[0]
    np.testing.assert_allclose(model.endog, expected[:, 0], rtol=ROUNDING)
