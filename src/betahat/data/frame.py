"""Arrays, tensors and any dataframe become a `Design`: the only room that knows narwhals."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, get_args

import narwhals as nw
import numpy as np
import pandas as pd
import torch
from torch import Tensor

from betahat.data.container import Arrays, Container, Frames, Tensors
from betahat.data.design import (
    Design,
    check_finite,
    check_shapes,
    check_weights,
    select_rows,
)
from betahat.errors import DataError, OptionError, listed

Missing = Literal["none", "drop", "raise"]
Device = torch.device | str | None


@dataclass(frozen=True, eq=False)
class Columns:
    """What was read from one of the user's objects.

    Attributes
    ----------
    values : Tensor
        (n,) or (n, k).
    names : tuple of str or None
        The columns' names, where they have some.
    index : pandas.Index or None
        The rows' labels; None unless the object is a dataframe.
    is_tensor : bool
        Whether the user gave a tensor.
    """

    values: Tensor
    names: tuple[str, ...] | None = None
    index: pd.Index | None = None
    is_tensor: bool = False


def read_design(
    endog: Any,
    exog: Any,
    weights: Any = None,
    *,
    hasconst: bool | None = None,
    missing: Missing = "none",
    device: Device = None,
    dtype: torch.dtype | None = None,
) -> Design:
    """Read endog, exog and weights, of any kind, into a `Design`.

    Parameters
    ----------
    endog, exog, weights : array_like, Tensor, series or dataframe
        (n,), (n, k) and (n,); one number serves as the weight of every row.
    hasconst : bool or None
        Whether the regressors hold a constant; None looks for one.
    missing : {"none", "drop", "raise"}
        "drop" leaves out the rows where any of the three is missing; otherwise they are an error.
    device : torch.device or str, optional
        Where the data go; a tensor stays where it is, anything else goes to torch's default device.
    dtype : torch.dtype, optional
        How the data are kept: torch.float64 or torch.float32. Sums are taken in float64 either way.

    Returns
    -------
    Design

    Raises
    ------
    DataError, OptionError
        In one sentence, before any work starts.
    """
    check_missing(missing)
    check_dtype(dtype)
    x = read_columns(exog, "exog", device, dtype)
    if x.values.ndim == 1:
        x = Columns(x.values[:, None], x.names, x.index, x.is_tensor)
    y = _single(read_columns(endog, "endog", device, dtype), "endog")
    w = read_weights(weights, x.values, device, dtype)
    check_shapes(y.values, x.values, w, x.names)
    _check_index(y.index, x.index)
    return assemble(
        y.values,
        x.values,
        w,
        container=_container(y, x),
        endog_name=y.names[0] if y.names else "y",
        names=x.names,
        hasconst=hasconst,
        drop=missing == "drop",
    )


def assemble(
    endog: Tensor,
    exog: Tensor,
    weights: Tensor | None,
    *,
    container: Container,
    endog_name: str,
    names: tuple[str, ...] | None,
    hasconst: bool | None,
    drop: bool,
    kept: Tensor | None = None,
    terms: dict[str, list[int]] | None = None,
) -> Design:
    """Drop missing rows if asked to, check what is left, and return the `Design`."""
    if drop:
        whole = _complete_rows(endog, exog, weights)
        if whole is not None:
            endog, exog, weights = endog[whole], exog[whole], select_rows(weights, whole)
            kept = whole if kept is None else kept[whole]
            if isinstance(container, Frames):
                container = Frames(container.rows[whole.cpu().numpy()])
            if not len(whole):
                raise DataError(
                    "No row is left after missing='drop': every row has a missing value; fill some in or leave a column out."
                )
    design = Design(endog, exog, weights, container, endog_name, names, hasconst, kept, terms)
    columns = names if names is not None else [f"column {i}" for i in range(exog.shape[1])]
    check_finite(endog, exog, weights, endog_name, columns)
    check_weights(weights)
    return design


def read_columns(values: Any, label: str, device: Device, dtype: torch.dtype | None) -> Columns:
    """Read one object: a tensor, anything NumPy understands, or a series or dataframe of any library.

    Raises
    ------
    DataError
        For columns that are not numbers, and for anything with more than two dimensions.
    """
    if isinstance(values, Tensor):
        read = Columns(_tensor(values, label, device, dtype), is_tensor=True)
    elif isinstance(values, np.ndarray | list | tuple | int | float):
        read = Columns(_array(values, label, device, dtype))
    else:
        read = _read_frame(values, label, device, dtype)
    if read.values.ndim not in (1, 2):
        raise DataError(f"{label} has {read.values.ndim} dimensions; pass one column, or rows by columns.")
    return read


def read_weights(weights: Any, exog: Tensor, device: Device, dtype: torch.dtype | None) -> Tensor | None:
    """Read weights: None, one number for every row, or one for each."""
    if weights is None:
        return None
    scalar = np.ndim(weights) == 0 if not isinstance(weights, Tensor) else weights.ndim == 0
    if scalar:
        return torch.full((exog.shape[0],), float(weights), dtype=torch.float64, device=exog.device)
    read = _single(read_columns(weights, "weights", device, dtype), "weights").values
    return read if isinstance(weights, Tensor) else read.to(exog.device)


def to_pandas(data: Any, text: str) -> pd.DataFrame:
    """Turn any dataframe, or a dict of columns, into pandas; a category keeps its order.

    Parameters
    ----------
    data : dataframe or mapping
        pandas, polars, pyarrow, or whatever else narwhals reads eagerly.
    text : str
        A formula; the columns whose names occur in it are taken.

    Returns
    -------
    pandas.DataFrame
        NaN and null are both missing.
    """
    if isinstance(data, dict):
        data = pd.DataFrame(data)
    if isinstance(data, pd.DataFrame):
        return data[[name for name in data.columns if str(name) in text]]
    frame = _narwhals(data, "data")
    if isinstance(frame, nw.Series):
        frame = frame.to_frame()
    chosen = [name for name in frame.columns if name in text]
    return pd.DataFrame({name: _pandas_column(frame[name]) for name in chosen}, index=pd.RangeIndex(len(frame)))


def add_constant(data: Any, prepend: bool = True, has_constant: Literal["skip", "add", "raise"] = "skip") -> Any:
    """Add a column of ones, called "const" in a dataframe, and return what came in: same kind, same device.

    Parameters
    ----------
    data : array_like, Tensor or dataframe
        (n,) or (n, k).
    prepend : bool
        Put the column first (the default) or last.
    has_constant : {"skip", "add", "raise"}
        What to do where a nonzero constant is there already.

    Returns
    -------
    array, Tensor or dataframe
        (n, k + 1), or `data` where it has a constant and `has_constant` is "skip".

    Raises
    ------
    DataError, OptionError

    References
    ----------
    statsmodels.tools.tools.add_constant, whose names and defaults these are.

    Examples
    --------
    >>> import betahat as bh
    >>> bh.add_constant([[2.0], [3.0]])
    array([[1., 2.],
           [1., 3.]])
    """
    if has_constant not in ("skip", "add", "raise"):
        raise OptionError(f"has_constant is {has_constant!r}; use 'skip', 'add' or 'raise'.")
    columns = read_columns(data, "data", None, None)
    values = columns.values if columns.values.ndim == 2 else columns.values[:, None]
    if has_constant != "add" and len(values):
        fixed = (values == values[0]).all(0) & (values[0] != 0)
        if bool(fixed.any()):
            if has_constant == "raise":
                where = [columns.names[i] if columns.names else i for i in fixed.nonzero().flatten().tolist()]
                raise DataError(
                    f"data has a constant already, in column {listed(where)}; pass has_constant='skip' or 'add'."
                )
            return data
    if columns.index is not None:
        return _prepend_to_frame(data, prepend)
    ones = torch.ones(len(values), 1, dtype=values.dtype, device=values.device)
    out = torch.cat([ones, values] if prepend else [values, ones], 1)
    return out if columns.is_tensor else out.numpy()


def check_missing(missing: str) -> None:
    """Refuse a word that `missing` does not know."""
    if missing not in get_args(Missing):
        raise OptionError(f"missing is {missing!r}; use 'none' (missing values are an error), 'drop' or 'raise'.")


def check_dtype(dtype: torch.dtype | None) -> None:
    """Refuse a dtype that is not a float of 32 or 64 bits."""
    if dtype not in (None, torch.float32, torch.float64):
        raise OptionError(f"dtype is {dtype}; the data are kept in torch.float64 or torch.float32.")


def _tensor(values: Tensor, label: str, device: Device, dtype: torch.dtype | None) -> Tensor:
    if values.is_complex():
        raise DataError(
            f"{label} is complex; betahat needs real numbers: pass its real part, or real and imaginary parts as two columns."
        )
    if values.is_sparse or values.layout != torch.strided:
        raise DataError(f"{label} is a sparse tensor; pass {label}.to_dense().")
    wanted = dtype or (values.dtype if values.is_floating_point() else torch.float64)
    return values.detach().to(device=device, dtype=wanted) if device is not None else values.detach().to(wanted)


def _array(values: Any, label: str, device: Device, dtype: torch.dtype | None) -> Tensor:
    if isinstance(values, np.ma.MaskedArray):
        values = np.ma.filled(values.astype(float), np.nan)
    try:
        array = np.asarray(values)
    except ValueError as error:
        raise DataError(f"{label} has rows of different lengths; pass rows with as many values each.") from error
    kind = array.dtype.kind
    if kind == "c":
        raise DataError(
            f"{label} is complex; betahat needs real numbers: pass its real part, or real and imaginary parts as two columns."
        )
    if kind not in "fiub":
        raise DataError(
            f"{label} is an array of {'strings' if kind in 'US' else array.dtype.name + ' values'}, not of numbers; "
            "convert it with .astype(float), or name categories in a formula: bh.ols('y ~ C(group)', data)."
        )
    if array.dtype not in (np.float32, np.float64):
        array = array.astype(np.float64)
    if not array.dtype.isnative or any(stride < 0 for stride in array.strides) or not array.flags.writeable:
        array = np.array(array, dtype=array.dtype.newbyteorder("="))
    tensor = torch.from_numpy(array)
    target = torch.get_default_device() if device is None else device
    return tensor.to(device=target, dtype=dtype or tensor.dtype)


def _read_frame(data: Any, label: str, device: Device, dtype: torch.dtype | None) -> Columns:
    frame = _narwhals(data, label)
    is_series = isinstance(frame, nw.Series)
    index = nw.maybe_get_index(frame)
    names: tuple[str, ...] | None
    if is_series:
        names = (str(frame.name),) if frame.name not in (None, "") else None
        schema = {label if names is None else names[0]: frame.dtype}
    else:
        # pandas allows two columns of one name and narwhals does not: read the names from pandas.
        listing = data.columns if isinstance(data, pd.DataFrame) else frame.columns
        names = tuple(str(name) for name in listing)
        schema = dict(frame.schema)
    bad = [name for name, kind in schema.items() if not (kind.is_numeric() or kind == nw.Boolean)]
    if bad:
        raise DataError(
            f"{label} has columns that are not numbers: {listed(bad)}; convert them, or name them in a formula: "
            "bh.ols('y ~ C(column)', data) makes the dummies."
        )
    if is_series:
        array = _numeric(frame)
    elif set(schema.values()) == {nw.Float64()} and isinstance(data, pd.DataFrame):
        array = data.to_numpy()
    else:
        array = np.empty((len(frame.columns), len(frame))).T
        for i, name in enumerate(frame.columns):
            array[:, i] = _numeric(frame[name])
    rows = pd.RangeIndex(len(array)) if index is None else index
    return Columns(_array(array, label, device, dtype), names, rows)


def _narwhals(data: Any, label: str) -> Any:
    if isinstance(data, pd.DataFrame) and not data.columns.is_unique:
        twice = sorted({str(name) for name in data.columns[data.columns.duplicated()]})
        raise DataError(
            f"Columns of {label} share a name: {listed(twice)}; rename them, so that tests and tables can tell them apart."
        )
    try:
        return nw.from_native(data, eager_only=True, allow_series=True)
    except TypeError as error:
        raise DataError(
            f"{label} is a {type(data).__name__}, which betahat cannot read; pass a tensor, an array, "
            "or an eager dataframe of pandas, polars or pyarrow (a lazy one after .collect())."
        ) from error


def _numeric(series: Any) -> np.ndarray:
    if series.dtype == nw.Float64 and not series.implementation.is_pyarrow():
        return np.asarray(series.to_numpy(), dtype=float)
    return np.asarray(series.cast(nw.Float64).to_numpy(), dtype=float)


def _pandas_column(series: Any) -> Any:
    kind = series.dtype
    if kind.is_numeric():
        return _numeric(series)
    if kind in (nw.Categorical, nw.Enum):
        text = series.cast(nw.String).to_list()
        return pd.Categorical(text, categories=series.cat.get_categories().to_list())
    return series.to_list()


def _single(columns: Columns, label: str) -> Columns:
    values = columns.values
    if values.ndim == 2 and values.shape[1] == 1:
        return Columns(values[:, 0], columns.names, columns.index, columns.is_tensor)
    if values.ndim == 2:
        raise DataError(f"{label} has {values.shape[1]} columns; pass one.")
    return columns


def _container(y: Columns, x: Columns) -> Container:
    index = x.index if x.index is not None else y.index
    if index is not None:
        return Frames(index)
    return Tensors() if y.is_tensor or x.is_tensor else Arrays()


def _check_index(endog: pd.Index | None, exog: pd.Index | None) -> None:
    if endog is None or exog is None or endog is exog or endog.equals(exog):
        return
    raise DataError(
        "The indices of endog and exog differ, so their rows may not belong together; align them first, "
        "with endog.loc[exog.index] say, or pass arrays."
    )


def _complete_rows(endog: Tensor, exog: Tensor, weights: Tensor | None) -> Tensor | None:
    columns = [column for column in (endog, exog, weights) if column is not None]
    if not any(bool(torch.isnan(column.sum(dtype=torch.float64))) for column in columns):
        return None
    missing = torch.zeros(len(endog), dtype=torch.bool, device=endog.device)
    for column in columns:
        nan = torch.isnan(column)
        missing |= nan.any(1) if nan.ndim == 2 else nan
    return (~missing).nonzero().flatten()


def _prepend_to_frame(data: Any, prepend: bool) -> Any:
    if isinstance(data, pd.Series | pd.DataFrame):
        frame = data.to_frame() if isinstance(data, pd.Series) else data.copy()
        frame.insert(0 if prepend else frame.shape[1], "const", 1.0)
        return frame
    read = _narwhals(data, "data")
    native = read.to_frame() if isinstance(read, nw.Series) else read
    ones = nw.new_series("const", np.ones(len(native)), backend=native.implementation)
    columns = [native[name] for name in native.columns]
    return native.select(*([ones, *columns] if prepend else [*columns, ones])).to_native()
