"""Every attribute comes out in the container that went in, with statsmodels' labels."""

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
import statsmodels.api as sm
import torch
from support.designs import DESIGNS

import betahat as bh

HC = ("HC0", "HC1", "HC2", "HC3")


@pytest.mark.parametrize("kind", ["numpy", "pandas"])
@pytest.mark.parametrize("weighted", [False, True])
def test_attributes_of_the_model(weighted, kind, close):
    y, x, w = _containers(kind)
    mine, theirs = (package.WLS(y, x, w) if weighted else package.OLS(y, x) for package in (bh, sm))
    for name in ("endog", "exog", "weights"):
        close(getattr(mine, name), getattr(theirs, name), label=name)
    assert list(mine.exog_names) == list(theirs.exog_names)
    for name in ("endog_names", "nobs"):
        assert getattr(mine, name) == getattr(theirs, name), name


PARAMETER_VECTORS = ("params", "bse", "tvalues", "pvalues", *(f"{name}_se" for name in HC))
PARAMETER_MATRICES = ("normalized_cov_params", *(f"cov_{name}" for name in HC))
ROW_VECTORS = ("resid", "wresid", "fittedvalues", "resid_pearson")
# statsmodels hands these out bare; betahat labels whatever a dataframe went into.
BARE_IN_STATSMODELS = (*(f"cov_{name}" for name in HC), "resid_pearson")
ARRAYS = (*PARAMETER_VECTORS, *PARAMETER_MATRICES, *ROW_VECTORS, "eigenvals")
SCALARS = (
    *("llf", "aic", "bic", "rsquared", "rsquared_adj", "fvalue", "f_pvalue", "ess", "ssr", "centered_tss"),
    *("uncentered_tss", "mse_model", "mse_resid", "mse_total", "scale", "nobs", "df_resid", "df_model"),
    "condition_number",
)


def _containers(kind, columns=("one", "two", "three", "four")):
    """The constant design, in a container; with weights."""
    case = DESIGNS["weights"]
    y, x, w = case.endog, case.exog, case.weights
    if kind == "numpy":
        return y, x, w
    if kind == "tensor":
        return tuple(map(torch.tensor, (y, x, w)))
    if kind == "polars":
        return pl.Series("target", y), pl.DataFrame(dict(zip(columns, x.T, strict=True))), pl.Series("w", w)
    if kind == "pyarrow":
        frame = pa.table(dict(zip(columns, x.T, strict=True)))
        return pa.table({"target": y}), frame, pa.chunked_array([w])
    index = pd.Index(range(100, 100 + len(y)), name="row") if kind == "pandas" else None
    return pd.Series(y, index, name="target"), pd.DataFrame(x, index, columns), pd.Series(w, index)


@pytest.mark.parametrize("cov_type", ["nonrobust", "HC3"])
def test_arrays_in_arrays_out(cov_type):
    y, x, w = _containers("numpy")
    mine, theirs = bh.WLS(y, x, w).fit(cov_type=cov_type), sm.WLS(y, x, w).fit(cov_type=cov_type)
    for name in ARRAYS:
        assert type(getattr(mine, name)) is type(getattr(theirs, name)) is np.ndarray, name
        assert getattr(mine, name).dtype == getattr(theirs, name).dtype, name
    for values in (mine.conf_int(), mine.cov_params(), mine.predict(), mine.predict(x)):
        assert type(values) is np.ndarray
    for name in SCALARS:
        assert isinstance(getattr(mine, name), float), name


@pytest.mark.parametrize("cov_type", ["nonrobust", "HC3"])
def test_tensors_in_tensors_out(cov_type):
    y, x, w = _containers("tensor")
    mine, bare = bh.WLS(y, x, w).fit(cov_type=cov_type), bh.WLS(*_containers("numpy")).fit(cov_type)
    for name in ARRAYS:
        assert isinstance(getattr(mine, name), torch.Tensor), name
        assert torch.equal(getattr(mine, name), torch.from_numpy(getattr(bare, name).copy())), name
    for values in (mine.conf_int(), mine.cov_params(), mine.predict(), mine.predict(x)):
        assert isinstance(values, torch.Tensor)
    for name in SCALARS:
        assert isinstance(getattr(mine, name), float), name
        assert getattr(mine, name) == getattr(bare, name), name


@pytest.mark.parametrize("cov_type", ["nonrobust", "HC3"])
def test_pandas_labels(cov_type):
    y, x, w = _containers("pandas")
    mine, theirs = bh.WLS(y, x, w).fit(cov_type=cov_type), sm.WLS(y, x, w).fit(cov_type=cov_type)
    bare = bh.WLS(*_containers("numpy")).fit(cov_type)
    for name in ARRAYS:
        got, wanted = getattr(mine, name), getattr(theirs, name)
        np.testing.assert_array_equal(got, getattr(bare, name), err_msg=name)
        if name not in BARE_IN_STATSMODELS:
            _assert_same_labels(got, wanted, name)
    _assert_same_labels(mine.conf_int(), theirs.conf_int(), "conf_int")
    _assert_same_labels(mine.cov_params(), theirs.cov_params(), "cov_params")
    _assert_same_labels(mine.predict(x[:7]), theirs.predict(x[:7]), "predict")
    for name in BARE_IN_STATSMODELS:
        like = mine.params if name.startswith("cov") else mine.resid
        pd.testing.assert_index_equal(getattr(mine, name).index, like.index)
    for package, results in ((bh, mine), (sm, theirs)):
        assert list(results.model.exog_names) == ["one", "two", "three", "four"], package
        assert results.model.endog_names == "target"


@pytest.mark.parametrize(
    "index",
    [
        pd.date_range("2020-01-31", periods=60, freq="ME"),
        pd.MultiIndex.from_product([range(30), ["a", "b"]], names=["firm", "year"]),
        pd.Index([0] * 60),
    ],
    ids=["dates", "two levels", "repeated"],
)
def test_row_labels_of_any_kind(index):
    case = DESIGNS["constant"]
    y, x = pd.Series(case.endog, index, name="y"), pd.DataFrame(case.exog, index, list("abcd"))
    mine, theirs = bh.OLS(y, x).fit(), sm.OLS(y, x).fit()
    for name in ("resid", "fittedvalues", "wresid"):
        _assert_same_labels(getattr(mine, name), getattr(theirs, name), name)


@pytest.mark.parametrize("name", [None, "", "target", 7], ids=repr)
def test_name_of_endog(name):
    case = DESIGNS["constant"]
    y, x = pd.Series(case.endog, name=name), pd.DataFrame(case.exog, columns=list("abcd"))
    assert bh.OLS(y, x).endog_names == str(sm.OLS(y, x).endog_names)


def test_integer_column_labels():
    case = DESIGNS["constant"]
    x = pd.DataFrame(case.exog)
    mine, theirs = bh.OLS(case.endog, x).fit(), sm.OLS(case.endog, x).fit()
    """Intended difference: betahat's names are text, so that restrictions can be written with them."""
    assert list(mine.params.index) == [str(label) for label in theirs.params.index]


@pytest.mark.parametrize("which", ["endog", "exog"])
def test_only_one_of_the_two_is_labelled(which):
    y, x, _ = _containers("pandas")
    y, x = (y, x.to_numpy()) if which == "endog" else (y.to_numpy(), x)
    mine, theirs = bh.OLS(y, x).fit(), sm.OLS(y, x).fit()
    for name in ("params", "resid", "normalized_cov_params"):
        _assert_same_labels(getattr(mine, name), getattr(theirs, name), name)


def test_names_of_unnamed_columns():
    """ "const" is a column that does not vary, wherever it stands, and counts as a place."""
    case = DESIGNS["constant"]
    for order in ([0, 1, 2, 3], [1, 0, 2, 3], [1, 2, 3, 0], [1, 2, 3]):
        x = case.exog[:, order]
        assert list(bh.OLS(case.endog, x).exog_names) == list(sm.OLS(case.endog, x).exog_names)


@pytest.mark.parametrize("cov_type", ["nonrobust", "HC3"])
@pytest.mark.parametrize("kind", ["polars", "pyarrow"])
def test_other_frames_are_as_pandas(kind, cov_type):
    mine, pandas = (bh.WLS(*_containers(name)).fit(cov_type) for name in (kind, "pandas without index"))
    for name in ARRAYS:
        got, wanted = getattr(mine, name), getattr(pandas, name)
        assert type(got) is type(wanted), name
        check = {pd.Series: pd.testing.assert_series_equal, pd.DataFrame: pd.testing.assert_frame_equal}
        check.get(type(got), np.testing.assert_array_equal)(got, wanted)
    pd.testing.assert_frame_equal(mine.conf_int(), pandas.conf_int())
    assert mine.model.endog_names == "target"
    assert mine.summary().as_text() == pandas.summary().as_text()


def _assert_same_labels(mine, theirs, label):
    assert type(mine) is type(theirs), label
    if isinstance(theirs, np.ndarray):
        return
    pd.testing.assert_index_equal(mine.index, theirs.index, obj=label)
    if isinstance(theirs, pd.DataFrame):
        pd.testing.assert_index_equal(mine.columns, theirs.columns, exact="equiv", obj=label)
    else:
        assert mine.name == theirs.name, label
