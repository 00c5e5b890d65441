"""New data for a prediction: by name where there are names, and never by accident."""

import pickle
import threading

import numpy as np
import pandas as pd
import pytest

import betahat as bh

EXACT = {"rtol": 1e-14, "atol": 0}


@pytest.fixture
def data():
    rng = np.random.default_rng(8)
    frame = pd.DataFrame(rng.normal(size=(40, 2)), columns=["x", "z"])
    return frame.assign(y=1 + frame.x + rng.normal(size=40))


@pytest.mark.parametrize("columns", [["x", "z"], [0, 1], pd.MultiIndex.from_tuples([("a", 1), ("b", 2)])])
def test_columns_in_another_order_are_found_by_name(data, columns):
    exog = data[["x", "z"]].set_axis(columns, axis=1)
    res = bh.OLS(data.y, exog).fit()
    np.testing.assert_allclose(res.predict(exog.iloc[:3, ::-1]), res.predict(exog.iloc[:3]), **EXACT)


def test_a_variable_of_the_caller_does_not_stand_in_for_a_missing_column(data):
    z = np.full(3, 100.0)
    res = bh.ols("y ~ x + z", data).fit()
    assert len(z) == 3
    with pytest.raises(bh.FormulaError, match="'z'"):
        res.predict(pd.DataFrame({"x": [1.0, 2.0, 3.0]}))


def test_a_variable_of_the_caller_with_a_columns_name_is_not_kept(data):
    z = threading.Lock()
    res = bh.ols("y ~ x + z", data).fit()
    assert not z.locked()
    assert pickle.loads(pickle.dumps(res)).params.equals(res.params)


def test_one_row_in_any_form(data):
    by_formula = bh.ols("y ~ x + z", data).fit()
    wanted = by_formula.predict(data[:1]).to_numpy()
    for row in (data.iloc[0], {"x": data.x[0], "z": data.z[0]}, {"x": [data.x[0]], "z": [data.z[0]]}):
        np.testing.assert_allclose(by_formula.predict(row), wanted, **EXACT)
    exog = bh.add_constant(data[["x", "z"]])
    np.testing.assert_allclose(bh.OLS(data.y, exog).fit().predict(exog.iloc[0]), wanted, rtol=1e-13)


def test_no_row_at_all(data):
    exog = bh.add_constant(data[["x", "z"]])
    assert len(bh.OLS(data.y, exog).fit().predict(exog[:0])) == 0


def test_an_array_for_a_formula_is_refused(data):
    with pytest.raises(bh.DataError, match="transform=False"):
        bh.ols("y ~ x", data).fit().predict(np.ones((1, 2)))


def test_a_column_called_const_that_is_none():
    with pytest.raises(bh.DataError, match="rename"):
        bh.add_constant(pd.DataFrame({"const": [1.0, 2.0]}))
