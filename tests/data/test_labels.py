"""Labels of columns that are no words: numbers, levels, dates; names are words, whatever the dtypes."""

import numpy as np
import pandas as pd
import pytest
import statsmodels.api as sm

import betahat as bh

# The same normal equations, solved in another order of operations.
ROUNDING = 1e-9

R = np.random.default_rng(0)
N = 30
X, Y = R.normal(size=N), R.normal(size=N)
COLUMNS = {
    "floats": lambda: [np.ones(N), X],
    "integers": lambda: [np.ones(N, int), np.arange(N)],
    "mixed": lambda: [np.ones(N, np.int8), X],
    "float32": lambda: [np.ones(N, np.float32), X.astype(np.float32)],
    "booleans": lambda: [np.ones(N, bool), X > 0],
    "nullable": lambda: [pd.array(np.ones(N, int), dtype="Int64"), pd.array(X, dtype="Float64")],
    "arrow": lambda: [pd.array(np.ones(N, int), dtype="int64[pyarrow]"), X],
}
LABELS = {
    "numbers": ([0, 1], ["0", "1"]),
    "floats": ([0.5, 1.5], ["0.5", "1.5"]),
    "mixed": (["a", 1], ["a", "1"]),
    "levels": (pd.MultiIndex.from_tuples([("wage", "mean"), ("wage", "std")]), ["wage_mean", "wage_std"]),
    "empty levels": (pd.MultiIndex.from_tuples([("const", ""), ("wage", 1)]), ["const", "wage_1"]),
    "dates": (pd.to_datetime(["2020-01-01", "2021-01-01"]), ["2020-01-01 00:00:00", "2021-01-01 00:00:00"]),
    "categories": (pd.CategoricalIndex(["p", "q"]), ["p", "q"]),
    "nothing": ([None, "x"], ["nan", "x"]),
}


@pytest.mark.parametrize("columns", COLUMNS)
@pytest.mark.parametrize("labels", LABELS)
def test_a_frame_of_any_labels_and_dtypes(columns, labels):
    given, names = LABELS[labels]
    frame = pd.concat([pd.Series(column) for column in COLUMNS[columns]()], axis=1).set_axis(pd.Index(given), axis=1)
    res = bh.OLS(Y, frame).fit("HC1")
    assert list(res.params.index) == list(res.bse.index) == names
    expected = sm.OLS(Y, frame.to_numpy(dtype=float)).fit(cov_type="HC1")
    np.testing.assert_allclose(res.params, expected.params, rtol=ROUNDING)
    np.testing.assert_allclose(res.bse, expected.bse, rtol=ROUNDING)
    np.testing.assert_allclose(res.predict(frame.iloc[:4, ::-1]), res.fittedvalues[:4], rtol=ROUNDING)
    assert np.isfinite(res.t_test([0, 1]).pvalue).all()


@pytest.mark.parametrize("labels", ["numbers", "levels", "mixed", "dates"])
@pytest.mark.parametrize("columns", ["integers", "mixed", "booleans", "nullable"])
def test_a_constant_beside_any_labels(labels, columns):
    frame = pd.concat([pd.Series(column) for column in COLUMNS[columns]()[1:]], axis=1)
    frame = frame.set_axis(pd.Index(LABELS[labels][0])[1:], axis=1)
    with_constant = bh.add_constant(frame)
    assert isinstance(with_constant, pd.DataFrame)
    assert bh.OLS(Y, with_constant).exog_names == ["const", LABELS[labels][1][1]]
    assert (with_constant.iloc[:, 0] == 1.0).all()
    assert bh.add_constant(with_constant).equals(with_constant)


def test_names_of_levels_are_statsmodels():
    frame = pd.DataFrame({("a", "m"): X, ("a", "s"): X**2, ("b", ""): np.arange(N)})
    assert bh.OLS(Y, frame).exog_names == sm.OLS(Y, frame).exog_names


def test_the_dependent_variable_too():
    for label, name in ((3, "3"), (("wage", "mean"), "wage_mean")):
        assert bh.OLS(pd.Series(Y, name=label), X[:, None]).endog_names == name
        assert bh.OLS(pd.DataFrame({label: Y}), X[:, None]).endog_names == name


def test_formulas_and_groups_find_them():
    frame = pd.DataFrame({("pay", "log"): Y, ("pay", "other"): X, ("firm", ""): np.arange(N) % 10})
    res = bh.ols("pay_log ~ pay_other", frame).fit(bh.Cluster("firm"))
    plain = frame.set_axis(["y", "x", "firm"], axis=1)
    expected = bh.ols("y ~ x", plain).fit(bh.Cluster("firm"))
    assert np.array_equal(res.bse, expected.bse)
    assert np.array_equal(res.predict(frame.head(3)), expected.predict(plain.head(3)))


def test_labels_that_become_the_same_word():
    with pytest.raises(bh.DataError, match="share a name: '1'"):
        bh.OLS(Y, pd.DataFrame({"1": X, 1: X**2}))
    with pytest.raises(bh.DataError, match="share a name: 'a_b'"):
        bh.ols("a_b ~ 1", pd.DataFrame({("a", "b"): X, ("a_b", ""): X**2}))


def test_a_constant_beside_levels_is_a_whole_label():
    # Part of a label is deprecated by pandas.
    frame = pd.DataFrame([[0, 2], [3, 1], [5, 8]], columns=pd.MultiIndex.from_tuples([("a", 1), ("b", 2)]))
    assert list(bh.add_constant(frame).columns) == [("const", ""), ("a", 1), ("b", 2)]
