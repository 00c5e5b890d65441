"""Every container in, the same numbers out, and out as it went in."""

import narwhals as nw
import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
import torch

import betahat as bh

# The containers hold the same doubles, so the results are the same doubles.
NUMBERS = ("params", "bse", "pvalues")


def _read_only(values):
    values = values.copy()
    values.flags.writeable = False
    return values


ARRAYS = {
    "C order": np.ascontiguousarray,
    "Fortran order": np.asfortranarray,
    "negative strides": lambda v: v[::-1].copy()[::-1],
    "every other row": lambda v: np.repeat(v, 2, axis=0)[::2],
    "read-only": _read_only,
    "big-endian": lambda v: v.astype(">f8"),
    "big-endian float32": lambda v: v.astype(">f4"),
    "float32": lambda v: v.astype(np.float32),
    "float16": lambda v: v.astype(np.float16),
    "longdouble": lambda v: v.astype(np.longdouble),
    "masked, nothing missing": lambda v: np.ma.masked_array(v, mask=np.zeros(v.shape, bool)),
    "list": lambda v: v.tolist(),
    "list of arrays": list,
    "tuple": lambda v: tuple(map(tuple, v.tolist())) if v.ndim == 2 else tuple(v.tolist()),
}
TENSORS = {
    "float64": torch.tensor,
    "float32": lambda v: torch.tensor(v, dtype=torch.float32),
    "requires_grad": lambda v: torch.tensor(v, requires_grad=True),
    "not contiguous": lambda v: torch.tensor(v.T.copy()).mT if v.ndim == 2 else torch.tensor(np.repeat(v, 2))[::2],
    "parameter": lambda v: torch.nn.Parameter(torch.tensor(v)),
    "bfloat16": lambda v: torch.tensor(v, dtype=torch.bfloat16),
}


def _columns(values):
    return {f"c{i}": values[:, i] for i in range(values.shape[1])} if values.ndim == 2 else {"target": values}


def _nullable(kind):
    return lambda v: pd.DataFrame(_columns(v)).astype(kind) if v.ndim == 2 else pd.Series(v, name="target").astype(kind)


FRAMES = {
    "pandas": lambda v: pd.DataFrame(_columns(v)) if v.ndim == 2 else pd.Series(v, name="target"),
    "pandas, y a frame": lambda v: pd.DataFrame(_columns(v)),
    "pandas Float64": _nullable("Float64"),
    "pandas float32": _nullable("float32"),
    "pandas pyarrow": _nullable("double[pyarrow]"),
    "polars": lambda v: pl.DataFrame(_columns(v)) if v.ndim == 2 else pl.Series("target", v),
    "polars Float32": lambda v: pl.DataFrame(_columns(v)).cast(pl.Float32),
    "pyarrow": lambda v: pa.table(_columns(v)) if v.ndim == 2 else pa.chunked_array([v[:7], v[7:]]),
    "pyarrow, y a table": lambda v: pa.table(_columns(v)),
}


def _expected(x, y):
    return bh.OLS(y, x).fit("HC3")


def _check_numbers(res, expected):
    for number in NUMBERS:
        assert np.array_equal(np.asarray(getattr(res, number)), getattr(expected, number))
    assert np.array_equal(np.asarray(res.resid), expected.resid)


@pytest.mark.parametrize("kind", ARRAYS)
def test_arrays(x, y, kind):
    res = bh.OLS(ARRAYS[kind](y), ARRAYS[kind](x)).fit("HC3")
    _check_numbers(res, _expected(x, y))
    for value in (res.params, res.conf_int(), res.cov_params(), res.resid, res.get_influence().dfbetas, res.predict(x)):
        assert type(value) is np.ndarray
        assert value.dtype == np.float64
    assert bh.OLS(ARRAYS[kind](y)[:, None] if kind == "C order" else y, x).fit().nobs == 40


@pytest.mark.parametrize("kind", ["int8", "uint16", "int64", "bool"])
@pytest.mark.parametrize("library", ["numpy", "torch", "pandas", "polars", "pyarrow"])
def test_whole_numbers(library, kind):
    rng = np.random.default_rng(0)
    values = np.column_stack([np.ones(30), rng.integers(0, 2, size=(30, 2))]).astype(kind)
    y = rng.integers(0, 2, 30).astype(kind)
    make = {
        "numpy": lambda v: v,
        "torch": torch.tensor,
        "pandas": FRAMES["pandas"],
        "polars": FRAMES["polars"],
        "pyarrow": FRAMES["pyarrow"],
    }[library]
    if library == "torch" and kind == "uint16":
        make = lambda v: torch.tensor(v.astype(int)).to(torch.uint8)  # noqa: E731
    _check_numbers(bh.OLS(make(y), make(values)).fit("HC3"), _expected(values.astype(float), y.astype(float)))


@pytest.mark.parametrize("kind", TENSORS)
def test_tensors(x, y, kind):
    target, regressors = TENSORS[kind](y), TENSORS[kind](x)
    res = bh.OLS(target, regressors).fit("HC3")
    # bfloat16 rounds the data before betahat sees them.
    _check_numbers(res, _expected(regressors.detach().double().numpy(), target.detach().double().numpy()))
    for value in (res.params, res.conf_int(), res.resid, res.get_influence().dfbetas, res.predict(regressors)):
        assert isinstance(value, torch.Tensor)
        assert value.dtype == torch.float64
        assert not value.requires_grad
    assert regressors.requires_grad == (kind in ("requires_grad", "parameter"))


@pytest.mark.parametrize("kind", FRAMES)
def test_frames(x, y, kind):
    res = bh.OLS(FRAMES[kind](y), FRAMES[kind](x)).fit("HC3")
    _check_numbers(res, _expected(x, y))
    assert isinstance(res.params, pd.Series)
    assert list(res.params.index) == ["c0", "c1", "c2"]
    assert list(res.conf_int().index) == list(res.cov_params().columns) == ["c0", "c1", "c2"]
    assert isinstance(res.resid, pd.Series)
    assert list(res.resid.index) == list(range(40))


def test_one_dimension_is_one_column(x, y):
    assert bh.OLS(y, x[:, 1]).fit().params.shape == (1,)
    assert list(bh.OLS(y, pd.Series(x[:, 1], name="only")).fit().params.index) == ["only"]
    assert list(bh.OLS(y, pl.Series("only", x[:, 1])).fit().params.index) == ["only"]


@pytest.mark.parametrize("kind", ["int", "text", "dates", "MultiIndex", "duplicated", "reversed"])
def test_pandas_index(x, y, kind):
    index = {
        "int": pd.Index(range(100, 140)),
        "text": pd.Index([f"row {i}" for i in range(40)], name="who"),
        "dates": pd.date_range("2020-01-01", periods=40),
        "MultiIndex": pd.MultiIndex.from_product([range(4), range(10)], names=["firm", "year"]),
        "duplicated": pd.Index([0, 1] * 20),
        "reversed": pd.RangeIndex(39, -1, -1),
    }[kind]
    frame = pd.DataFrame(x, columns=list("abc"), index=index).assign(y=y)
    for res in (
        bh.OLS(frame["y"], frame[list("abc")]).fit("HC3"),
        bh.OLS(frame["y"], frame[list("abc")], missing="drop").fit("HC3"),
        bh.ols("y ~ b + c", frame).fit("HC3"),
    ):
        assert res.resid.index.equals(index)
        assert res.get_influence().summary_frame().index.equals(index)
        np.testing.assert_allclose(res.resid, _expected(x, y).resid, rtol=1e-12, atol=1e-13)
        assert res.predict(frame if "Intercept" in res.params.index else frame[list("abc")]).index.equals(index)


def test_index_of_one_side_labels_the_rows(x, y):
    frame = pd.DataFrame(x, columns=list("abc"), index=range(100, 140))
    assert bh.OLS(y, frame).fit().resid.index.equals(frame.index)
    series = pd.Series(y, index=range(100, 140), name="target")
    res = bh.OLS(series, x).fit()
    assert res.resid.index.equals(series.index)
    assert res.endog_name == "target"


def test_indices_that_differ_are_an_error(x, y):
    frame = pd.DataFrame(x, columns=list("abc"))
    with pytest.raises(bh.DataError, match="indices of endog and exog differ"):
        bh.OLS(pd.Series(y, index=range(1, 41)), frame)


def test_index_of_the_weights_that_differs_is_an_error(x, y):
    """Weights with other labels, or in another order, belong to other rows."""
    frame, weights = pd.DataFrame(x, columns=list("abc")), pd.Series(np.arange(1.0, 41.0))
    assert bh.WLS(pd.Series(y), frame, weights=weights).fit().nobs == 40
    with pytest.raises(bh.DataError, match="weights"):
        bh.WLS(pd.Series(y), frame, weights=weights[::-1])


def test_pyarrow_array(x, y):
    """A pyarrow column is a ChunkedArray in a table and an Array by itself; both are columns."""
    table = pa.table(_columns(x))
    assert np.array_equal(bh.OLS(pa.array(y), table).fit().params, bh.OLS(y, x).fit().params)
    assert np.array_equal(
        bh.WLS(y, table, weights=pa.array(y**2 + 1)).fit().params, bh.WLS(y, x, y**2 + 1).fit().params
    )


def test_integer_column_names(x, y):
    assert list(bh.OLS(y, pd.DataFrame(x)).fit().params.index) == ["0", "1", "2"]


def test_categories_of_columns(x, y):
    """MultiIndex columns get one readable name each."""
    frame = pd.DataFrame(x, columns=pd.MultiIndex.from_tuples([("m", "a"), ("m", "b"), ("n", "a")]))
    names = list(bh.OLS(y, frame).fit().params.index)
    assert len(set(names)) == 3
    assert all(isinstance(name, str) for name in names)


@pytest.mark.parametrize("kind", ["array", "frame", "tensor"])
def test_inputs_are_not_changed(x, y, kind):
    make = {"array": np.array, "frame": FRAMES["pandas"], "tensor": torch.tensor}[kind]
    target, regressors, weights = make(y), make(x), make(np.full(40, 2.0))
    res = bh.WLS(target, regressors, weights=weights, missing="drop").fit("HC3")
    res.get_influence().summary_frame(), res.summary(), res.predict(regressors), res.get_prediction().summary_frame()
    res.with_cov("HC2").wald_test(np.eye(3)), res.delta(lambda p: p[0] / p[1])
    for now, before in ((target, y), (regressors, x), (weights, np.full(40, 2.0))):
        assert np.array_equal(np.asarray(now), before)


def test_results_can_be_changed_without_harm(x, y):
    """What a property hands out is the user's: writing to it does not reach the results."""
    res = bh.OLS(y, x).fit()
    before = res.bse.copy()
    res.cov_params()[:] = 0.0
    assert np.array_equal(res.with_cov("nonrobust").bse, before)
    assert np.array_equal(np.sqrt(np.diagonal(res.cov_params())), before)


@pytest.mark.parametrize("library", ["numpy", "list", "torch", "pandas", "polars", "pyarrow"])
@pytest.mark.parametrize("prepend", [True, False])
def test_add_constant(x, library, prepend):
    values = x[:, 1:]
    data = {
        "numpy": lambda: values,
        "list": values.tolist,
        "torch": lambda: torch.tensor(values),
        "pandas": lambda: pd.DataFrame(values, columns=["a", "b"], index=range(7, 47)),
        "polars": lambda: pl.DataFrame(values, schema=["a", "b"]),
        "pyarrow": lambda: pa.table({"a": values[:, 0], "b": values[:, 1]}),
    }[library]()
    out = bh.add_constant(data, prepend=prepend)
    assert type(out) is (np.ndarray if library == "list" else type(data))
    numbers = np.column_stack([out[name].to_numpy() for name in out.column_names]) if library == "pyarrow" else out
    place = 0 if prepend else 2
    assert np.array_equal(np.asarray(numbers), np.insert(values, place, 1.0, axis=1))
    if library in ("pandas", "polars", "pyarrow"):
        names = nw.from_native(out).columns
        assert names == (["const", "a", "b"] if prepend else ["a", "b", "const"])
    if library == "pandas":
        assert out.index.equals(data.index)
        assert list(data.columns) == ["a", "b"]


@pytest.mark.parametrize("library", ["numpy", "torch", "pandas", "polars", "pyarrow"])
def test_add_constant_where_there_is_one(x, library):
    make = {"numpy": np.array, "torch": torch.tensor} | {name: FRAMES[name] for name in ("pandas", "polars", "pyarrow")}
    data = make[library](x)
    assert bh.add_constant(data) is data
    assert bh.add_constant(data, has_constant="skip") is data
    assert bh.add_constant(data, has_constant="add").shape == (40, 4)
    with pytest.raises(bh.DataError, match=r"already has a constant, in column '(0|c0)'"):
        bh.add_constant(data, has_constant="raise")
    zero = x.copy()
    zero[:, 0] = 0.0
    assert bh.add_constant(make[library](zero)).shape == (40, 4)


def test_add_constant_of_one_column(x):
    assert bh.add_constant(x[:, 1]).shape == (40, 2)
    assert list(bh.add_constant(pd.Series(x[:, 1], name="a")).columns) == ["const", "a"]
    assert bh.add_constant(pl.Series("a", x[:, 1])).columns == ["const", "a"]
    assert bh.add_constant(torch.tensor(x[:, 1])).shape == (40, 2)


def test_add_constant_keeps_the_type_of_tensors(x):
    out = bh.add_constant(torch.tensor(x[:, 1:], dtype=torch.float32))
    assert out.dtype == torch.float32
    assert out.device.type == "cpu"


def test_add_constant_keeps_what_it_does_not_touch():
    """A frame with other columns, or with missing values, keeps them as they are."""
    frame = pd.DataFrame({"a": [1, 2, 3], "b": pd.array([1, None, 3], dtype="Int64")})
    out = bh.add_constant(frame)
    assert out["a"].dtype == frame["a"].dtype
    assert out["b"].dtype == frame["b"].dtype
    assert np.isnan(bh.add_constant(np.array([[1.0], [np.nan]]))[1, 1])
