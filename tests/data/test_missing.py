"""Missing values: an error that counts them, or rows left out, with everything that belongs to the row."""

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
import torch

import betahat as bh

Y_HOLE, X_HOLE, W_HOLE = 3, 8, 21


@pytest.fixture
def holed(x, y):
    """Return y, x, weights with one NaN each, and the rows that are whole."""
    x, y, weights = x.copy(), y.copy(), np.linspace(0.5, 2.0, 40)
    y[Y_HOLE] = x[X_HOLE, 1] = weights[W_HOLE] = np.nan
    return y, x, weights, np.delete(np.arange(40), [Y_HOLE, X_HOLE, W_HOLE])


def _null(values):
    return [None if value != value else value for value in values.tolist()]


MAKERS = {
    "numpy": lambda v: v,
    "list": lambda v: v.tolist(),
    "masked": lambda v: np.ma.masked_array(np.nan_to_num(v, nan=1e9), mask=np.isnan(v)),
    "torch": torch.tensor,
    "float32": lambda v: torch.tensor(v, dtype=torch.float32),
    "pandas": lambda v: pd.DataFrame(v, columns=list("abc")) if v.ndim == 2 else pd.Series(v),
    "pandas Float64": lambda v: (pd.DataFrame(v, columns=list("abc")) if v.ndim == 2 else pd.Series(v)).astype(
        "Float64"
    ),
    "polars NaN": lambda v: pl.DataFrame(v, schema=list("abc")) if v.ndim == 2 else pl.Series("v", v),
    "polars null": lambda v: (
        pl.DataFrame({name: _null(v[:, i]) for i, name in enumerate("abc")})
        if v.ndim == 2
        else pl.Series("v", _null(v))
    ),
    "pyarrow null": lambda v: (
        pa.table({name: _null(v[:, i]) for i, name in enumerate("abc")})
        if v.ndim == 2
        else pa.chunked_array([_null(v)])
    ),
    "pyarrow NaN": lambda v: (
        pa.table({name: v[:, i] for i, name in enumerate("abc")}) if v.ndim == 2 else pa.chunked_array([v])
    ),
}


@pytest.mark.parametrize("kind", MAKERS)
def test_drop(holed, kind):
    y, x, weights, whole = holed
    make = MAKERS[kind]
    if kind == "float32":
        weights = weights.astype(np.float32)
    expected = bh.WLS(y[whole], x[whole], weights=weights[whole]).fit("HC3")
    res = bh.WLS(make(y), make(x), weights=make(weights), missing="drop").fit("HC3")
    assert res.nobs == 37
    assert np.array_equal(np.asarray(res.params), expected.params)
    assert np.array_equal(np.asarray(res.bse), expected.bse)
    assert np.array_equal(np.asarray(res.model.weights), weights[whole])
    if isinstance(res.resid, pd.Series):
        assert list(res.resid.index) == whole.tolist()


@pytest.mark.parametrize("kind", MAKERS)
@pytest.mark.parametrize("missing", ["none", "raise"])
def test_error(holed, kind, missing):
    y, x, weights, _ = holed
    make = MAKERS[kind]
    second = "b" if kind.startswith(("pandas", "polars", "pyarrow")) else "column 1"
    with pytest.raises(bh.DataError, match=rf"3 of 40 rows.*{second} \(1\).*missing='drop'") as caught:
        bh.WLS(make(y), make(x), weights=make(weights), missing=missing)
    assert "weights (1)" in str(caught.value)


def test_drop_keeps_a_scalar_weight(holed):
    y, x, _, _ = holed
    assert bh.WLS(y, x, weights=2.0, missing="drop").fit().nobs == 38


def test_drop_does_not_hide_infinity(holed):
    y, x, _, _ = holed
    x[0, 2] = np.inf
    with pytest.raises(bh.DataError, match=r"Infinite values in 1 of 38 rows.*column 2 \(1\)"):
        bh.OLS(y, x, missing="drop")


def test_nothing_missing_changes_nothing(x, y):
    assert bh.OLS(y, x, missing="drop").design.user_data.in_use is None


@pytest.mark.parametrize("kind", ["Float64", "Int64", "boolean"])
def test_pandas_nullable(x, y, kind):
    frame = pd.DataFrame({"a": np.arange(40) % 2, "y": y}).astype({"a": kind})
    frame.loc[5, "a"] = pd.NA
    expected = bh.OLS(np.delete(y, 5), bh.add_constant(np.delete(np.arange(40) % 2, 5).astype(float))).fit()
    arrays = bh.OLS(frame["y"], bh.add_constant(frame[["a"]]), missing="drop").fit()
    formula = bh.ols("y ~ a", frame).fit()
    for res in (arrays, formula):
        np.testing.assert_allclose(res.params, expected.params, rtol=1e-12)
        assert 5 not in res.resid.index


def _frame(holed):
    y, x, weights, whole = holed
    return pd.DataFrame({"y": y, "b": x[:, 1], "c": x[:, 2], "w": weights}), whole


@pytest.mark.parametrize("how", ["column", "array", "list", "series", "tensor", "polars"])
def test_formula_weights_follow_the_rows(holed, how):
    frame, whole = _frame(holed)
    weights = {
        "column": "w",
        "array": frame["w"].to_numpy(),
        "list": frame["w"].tolist(),
        "series": frame["w"],
        "tensor": torch.tensor(frame["w"].to_numpy()),
        "polars": pl.Series("w", frame["w"].to_numpy()),
    }[how]
    res = bh.wls("y ~ b + c", frame, weights=weights).fit()
    expected = bh.wls("y ~ b + c", frame.iloc[whole], weights="w").fit()
    assert res.nobs == 37
    assert np.array_equal(res.params, expected.params)
    assert list(res.resid.index) == whole.tolist()
    assert np.array_equal(res.model.weights, frame["w"].iloc[whole])


@pytest.mark.parametrize("missing", ["none", "raise"])
def test_formula_error(holed, missing):
    frame, _ = _frame(holed)
    with pytest.raises(bh.DataError, match=r"Missing values in 2 of 40 rows.*b \(1\), y \(1\).*missing='drop'"):
        bh.ols("y ~ b + c", frame, missing=missing)
    with pytest.raises(bh.DataError, match=r"w(eights)? \(1\).*missing='drop'"):
        bh.wls("y ~ b + c", frame.dropna(subset=["y", "b"]), weights="w", missing=missing)


def test_formula_drops_what_the_formula_makes(x, y):
    frame = pd.DataFrame({"y": y, "positive": np.exp(x[:, 1])})
    frame.loc[[2, 9], "positive"] = np.nan
    assert list(bh.ols("y ~ np.log(positive)", frame).fit().resid.index) == [i for i in range(40) if i not in (2, 9)]


def test_formula_drops_only_for_its_own_variables(holed):
    frame, _ = _frame(holed)
    assert bh.ols("y ~ c", frame).fit().nobs == 39


@pytest.mark.parametrize("library", ["pandas", "polars", "pyarrow"])
def test_formula_null_in_a_category(x, y, library):
    group = ["u", "v"] * 20
    group[4] = None
    frame = {"y": y, "x": x[:, 1], "g": group}
    data = {"pandas": pd.DataFrame, "polars": pl.DataFrame, "pyarrow": pa.table}[library](frame)
    res = bh.ols("y ~ x + g", data).fit()
    assert res.nobs == 39
    assert list(res.params.index) == ["Intercept", "g[T.v]", "x"]


@pytest.mark.parametrize("library", ["polars", "pyarrow"])
def test_formula_null_and_nan_are_both_missing(y, library):
    values = [float(i) for i in range(40)]
    values[4], values[7] = None, float("nan")
    data = {"polars": pl.DataFrame, "pyarrow": pa.table}[library]({"y": y.tolist(), "x": values})
    res = bh.ols("y ~ x", data).fit()
    assert res.nobs == 38
    assert 4 not in res.resid.index
    assert 7 not in res.resid.index


def test_prediction_at_a_missing_row_is_nan(holed):
    frame, whole = _frame(holed)
    res = bh.ols("y ~ b + c", frame.iloc[whole]).fit()
    new = frame.iloc[:12]
    for values in (res.predict(new), res.get_prediction(new).summary_frame()["mean"]):
        assert np.flatnonzero(np.isnan(values)).tolist() == [X_HOLE]
        assert values.index.equals(new.index)
    assert np.isnan(bh.OLS(holed[0][whole], holed[1][whole]).fit().predict(holed[1][:12])).nonzero()[0].tolist() == [
        X_HOLE
    ]
