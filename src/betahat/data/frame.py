"""Arrays, tensors and any dataframe become a `Design`: the only room that knows narwhals."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from numbers import Real
from typing import TYPE_CHECKING, Any, Literal, NoReturn, get_args

import narwhals as nw
import numpy as np
import torch
from torch import Tensor

from betahat.data.checks import (
    check_counts,
    check_finite,
    check_numbers,
    check_shapes,
    check_size,
    check_weights,
    column_sums,
)
from betahat.data.container import Arrays, Container, Frames, Tensors
from betahat.data.design import Design
from betahat.data.engine import Block, gather, numbered
from betahat.data.kept import keep_tensors
from betahat.data.modes import check_dense, check_held, settled
from betahat.data.schema import Schema
from betahat.data.source import Held, Origin
from betahat.errors import DataError, OptionError, check_flag, counted, described, is_number, is_one_of, listed, shown
from betahat.lazy import lazily

if TYPE_CHECKING:
    import pandas as pd
else:
    pd = lazily("pandas")

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


@dataclass(frozen=True, eq=False)
class Beside:
    """What may stand beside endog and exog: None, a number for each row, or one number for all.

    In a formula a column's name will do.

    Attributes
    ----------
    weights : object
        Analytic weights.
    offset, exposure : object
        What is added to the linear index, as it is or by its logarithm.
    freq_weights : object
        How often a row occurs.
    """

    weights: Any = None
    offset: Any = None
    exposure: Any = None
    freq_weights: Any = None

    def items(self) -> list[tuple[str, Any]]:
        """Return the names and what was given under them."""
        return [(name, getattr(self, name)) for name in ("weights", "offset", "exposure", "freq_weights")]


def read_design(
    endog: Any,
    exog: Any,
    beside: Beside | None = None,
    *,
    hasconst: bool | None = None,
    missing: Missing = "none",
    device: Device = None,
    dtype: torch.dtype | None = None,
) -> Design:
    """Read endog, exog and weights, of any kind, into a `Design`.

    Parameters
    ----------
    endog, exog : array_like, Tensor, series or dataframe
        (n,) and (n, k).
    beside : Beside, optional
        Weights, offset and exposure.
    hasconst : bool or None
        Whether the regressors hold a constant; None looks for one.
    missing : {"none", "drop", "raise"}
        "drop" leaves out the rows where any of them is missing; otherwise they are an error.
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
    check_options(missing, device, dtype, hasconst)
    x = read_columns(exog, "exog", device, dtype)
    if x.values.ndim == 1:
        x = replace(x, values=x.values[:, None])
    y = _single(read_columns(endog, "endog", device, dtype), "endog")
    read = {name: read_weights(given, x.values, device, dtype, name) for name, given in (beside or Beside()).items()}
    vectors = {name: column.values for name, column in read.items() if column is not None}
    check_shapes(y.values, x.values, vectors)
    check_index("endog", y.index, x.index)
    for name, column in read.items():
        if column is not None:
            check_index(name, column.index, x.index)
    named = [("endog", y.values), ("exog", x.values), *vectors.items()]
    (endog_kept, exog_kept, *beside_kept), seals = keep_tensors(named)
    return assemble(
        endog_kept,
        exog_kept,
        dict(zip(vectors, beside_kept, strict=True)),
        container=_container(y, x),
        endog_name=y.names[0] if y.names else "y",
        names=x.names,
        hasconst=hasconst,
        drop=missing == "drop",
        origin=Origin.of(exog if x.names else None, len(x.values), seals),
    )


def assemble(
    endog: Tensor,
    exog: Tensor,
    vectors: Mapping[str, Tensor],
    *,
    container: Container,
    endog_name: str,
    names: tuple[str, ...] | None,
    hasconst: bool | None,
    drop: bool,
    origin: Origin,
    terms: dict[str, list[int]] | None = None,
) -> Design:
    """Drop missing rows if asked to, check what is left, and return the `Design`."""
    if drop:
        whole = _complete_rows(endog, exog, *vectors.values())
        if whole is not None:
            endog, exog = endog[whole], exog[whole]
            vectors = {name: vector[whole] for name, vector in vectors.items()}
            origin = replace(origin, kept=whole if origin.kept is None else origin.kept[whole], seals=())
            if isinstance(container, Frames):
                container = Frames(container.rows[whole.cpu().numpy()])
            if not len(whole):
                raise DataError(
                    "No row is left after missing='drop': every row has a missing value; fill some in or leave a column out."
                )
    weights, counts = vectors.get("weights"), vectors.get("freq_weights")
    offset = _offset(vectors.get("offset"), vectors.get("exposure"))
    beside = {"weights": weights, "offset": offset, "counts": counts}
    columns = {"exog": exog, "endog": endog, **{name: column for name, column in beside.items() if column is not None}}
    design = Design(Schema(container, endog_name, names, hasconst, terms), Held(columns, origin))
    check_weights(weights)
    check_counts(counts)
    check_finite(design)
    check_size(design.nobs, design.width)
    return design


def read_columns(
    values: Any, label: str, device: Device, dtype: torch.dtype | None, names: Sequence[str] | None = None
) -> Columns:
    """Read one object: a tensor, anything NumPy understands, or a series or dataframe of any library.

    Parameters
    ----------
    values : object
        (n,) or (n, k).
    label : str
        What to call it in a sentence.
    device, dtype
        As in `read_design`.
    names : sequence of str, optional
        The columns that are wanted: a dataframe that has them all, in whatever order, gives these alone.

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
        read = _read_frame(values, label, device, dtype, names)
    if read.values.ndim not in (1, 2):
        raise DataError(f"{label} has {read.values.ndim} dimensions; pass one column, or rows by columns.")
    return read


def read_weights(
    weights: Any, exog: Tensor, device: Device, dtype: torch.dtype | None, label: str = "weights"
) -> Columns | None:
    """Read weights: None, one number for every row, or one for each."""
    if weights is None:
        return None
    if isinstance(weights, str):
        refuse_name(weights, label)
    if isinstance(weights, Real) or (isinstance(weights, Tensor | np.ndarray) and weights.ndim == 0):
        if not is_number(number := weights.item() if isinstance(weights, Tensor | np.ndarray) else weights):
            raise DataError(f"{label} is {shown(weights)}; pass a number, or one for each row.")
        return Columns(torch.full((exog.shape[0],), float(number), dtype=torch.float64, device=exog.device))
    read = _single(read_columns(weights, label, device, dtype), label)
    return read if read.is_tensor else replace(read, values=read.values.to(exog.device))


def refuse_name(name: str, label: str) -> NoReturn:
    """Say that a model without a formula knows no columns by name.

    Raises
    ------
    DataError
        Always.
    """
    raise DataError(
        f"{label} is {shown(name)}, a name, and there is no dataframe to look it up in; pass the numbers themselves, or "
        f"use a formula, such as bh.{'wls' if label == 'weights' else 'poisson'}('y ~ x', data, {label}={shown(name)})."
    )


def to_pandas(data: Any, text: str | None) -> pd.DataFrame:
    """Turn any dataframe, or a dict of columns, into pandas; a category keeps its order.

    Parameters
    ----------
    data : dataframe or mapping
        pandas, polars, pyarrow, or whatever else narwhals reads eagerly.
    text : str or None
        A formula; the columns whose names occur in it are taken. None takes all.

    Returns
    -------
    pandas.DataFrame
        NaN and null are both missing.
    """
    if isinstance(data, np.ndarray | Tensor | list):
        raise _nameless(data)
    if isinstance(data, Mapping):
        check_together([(f"column {name!r} of the data", value) for name, value in data.items()])
        data = _frame_of_columns(data)
    if isinstance(data, pd.Series):
        by_name = all(isinstance(label, str) for label in data.index)
        data = data.to_frame().T.infer_objects() if by_name else data.to_frame()
    if isinstance(data, pd.DataFrame):
        named = named_by_words(data, "data")
        return named if text is None else _formula_columns(named, text)
    frame = _narwhals(data, "data")
    if isinstance(frame, np.ndarray):
        raise _nameless(data)
    if isinstance(frame, nw.Series):
        frame = frame.to_frame()
    chosen = [name for name in frame.columns if text is None or name in text]
    columns = {name: _pandas_column(frame[name]) for name in chosen}
    return pd.DataFrame(columns, index=pd.RangeIndex(len(frame)), copy=False)


def _nameless(data: Any) -> DataError:
    return DataError(
        f"A formula needs its variables by name, and data of type {type(data).__name__} came; pass a dataframe or a "
        "dict of columns, or to a prediction the regressors themselves with transform=False."
    )


def _frame_of_columns(data: Mapping[Any, Any]) -> pd.DataFrame:
    """Put a dict of columns together, single values being columns of one row."""
    columns = {name: _column(name, value) for name, value in data.items()}
    lengths = {len(column) for column in columns.values()}
    if len(lengths) > 1:
        told = ", ".join(f"{name!r} ({len(column)})" for name, column in list(columns.items())[:8])
        raise DataError(f"The columns of the data have different lengths: {told}; pass as many values in each.")
    return pd.DataFrame(columns)


def _column(name: Any, value: Any) -> Any:
    if isinstance(value, Tensor):
        check_held(value, f"column {name!r} of the data")
        value = value.detach().cpu()
        value = value.double().numpy() if value.is_floating_point() else value.numpy()
    try:
        dimensions = np.ndim(value)
    except ValueError as error:
        raise DataError(
            f"column {shown(name)} of the data has rows of different lengths; pass one value for each row."
        ) from error
    if dimensions > 1:
        raise DataError(f"column {shown(name)} of the data has {dimensions} dimensions; pass one value for each row.")
    return [value] if dimensions == 0 else value


def _formula_columns(data: pd.DataFrame, text: str) -> pd.DataFrame:
    """Return a frame with those of Arrow's dictionaries that occur in a formula as categories; no column is copied."""
    arrow = (
        [name for name in data.columns if name in text and str(data.dtypes[name]).startswith("dictionary<")]
        if any(isinstance(kind, pd.ArrowDtype) for kind in data.dtypes)
        else []
    )
    made = {name: _pandas_column(nw.from_native(data[name], series_only=True)) for name in arrow}
    return data.assign(**made) if made else data


# What is surely neither a dataframe nor a column of one, so that narwhals need not look at all the libraries that it knows.
_NO_FRAMES = (Tensor, np.ndarray, str, list, tuple)


def is_frame(data: Any) -> bool:
    """Tell whether an object is a dataframe that can be read."""
    return not isinstance(data, _NO_FRAMES) and isinstance(
        nw.from_native(data, eager_only=True, pass_through=True), nw.DataFrame
    )


def is_series(data: Any) -> bool:
    """Tell whether an object is one column of a dataframe that can be read."""
    read = nw.from_native(data, eager_only=True, allow_series=True, pass_through=True)
    return isinstance(read, nw.Series)


def columns_of(data: Any) -> Mapping[str, Any]:
    """Return a dataframe's columns by their names: series of pandas, or of narwhals where the frame is another library's."""
    frame = nw.from_native(data, eager_only=True, pass_through=True)
    if isinstance(frame, nw.DataFrame) and not isinstance(data, pd.DataFrame):
        return {series.name: series for series in frame.iter_columns()}
    return {str(name): column for name, column in to_pandas(data, None).items()}


def column_of(data: Any, name: str) -> Any:
    """Return a dataframe's column, as `columns_of` has it; Arrow's dictionaries in pandas become categories."""
    return to_pandas(data, name)[name] if isinstance(data, pd.DataFrame | pd.Series) else columns_of(data)[name]


def is_column(values: Any) -> bool:
    """Tell whether a vector is a column of another library than pandas, Arrow's arrays included."""
    if isinstance(values, _NO_FRAMES):
        return False
    if isinstance(values, nw.Series) or _is_arrow(values):
        return True
    read = nw.from_native(values, eager_only=True, allow_series=True, pass_through=True)
    return isinstance(read, nw.Series) and not isinstance(values, pd.Series) and not read.dtype.is_nested()


def column_codes(values: Any) -> np.ndarray | None:
    """Return (n,) numbers that differ where a column's labels do; None of what is a number itself, or cannot be read without Python's objects."""
    series = _series(values)
    native: Any = series.to_native()
    if series.dtype.is_numeric():
        return None
    if series.implementation.is_polars():
        if series.dtype == nw.Binary:
            series = nw.from_native(native.bin.encode("hex"), series_only=True)
        if series.dtype == nw.String:
            native = series.cast(nw.Categorical).to_native()
        codes: np.ndarray = native.to_physical().to_numpy()
        return codes if codes.dtype.kind in "iufb" and codes.ndim == 1 else None
    if not series.implementation.is_pyarrow():
        return None
    if not _arrow().types.is_dictionary(native.type):
        try:
            native = native.dictionary_encode()
        except (NotImplementedError, ValueError):  # views, and lists
            return None
    joined = native.unify_dictionaries().combine_chunks()
    found: np.ndarray = joined.indices.cast("int64").fill_null(-1).to_numpy(zero_copy_only=False)
    return found


def column_rows(values: Any, places: np.ndarray | None) -> pd.Series:
    """Return some rows of a column, or all: a frame's as pandas has them, a vector's as NumPy has."""
    taken = _series(values) if places is None else _series(values)[places.tolist()]
    if isinstance(values, nw.Series):
        return pd.DataFrame({"labels": _pandas_column(taken)})["labels"]
    native: Any = taken.to_native()
    if _arrow() is not None and isinstance(native, _arrow().ChunkedArray) and _arrow().types.is_dictionary(native.type):
        native = native.cast(native.type.value_type)  # NumPy would be handed another label for a missing one
    return pd.Series(np.asarray(native).reshape(-1))


def _series(values: Any) -> Any:
    given = _arrow().chunked_array([values]) if _is_arrow(values) else values
    series: Any = nw.from_native(given, series_only=True)
    native: Any = series.to_native()
    if series.implementation.is_pyarrow() and _arrow().types.is_string_view(
        native.type
    ):  # whose rows Arrow cannot take
        return nw.from_native(native.cast(_arrow().large_string()), series_only=True)
    return series


def _arrow() -> Any:
    """Return pyarrow where it is there: pandas imports it."""
    return sys.modules.get("pyarrow")


def _is_arrow(values: Any) -> bool:
    return _arrow() is not None and isinstance(values, _arrow().Array)


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
    check_flag("prepend", prepend)
    if not is_one_of(has_constant, ("skip", "add", "raise")):
        raise OptionError(f"has_constant is {shown(has_constant)}; use 'skip', 'add' or 'raise'.")
    columns = read_columns(data, "data", None, None)
    check_held(columns.values, "data")
    values = columns.values if columns.values.ndim == 2 else columns.values[:, None]
    if not len(values):
        raise DataError("data is empty: it has no row; pass at least one.")
    if has_constant != "add":
        fixed = (values == values[0]).all(0) & (values[0] != 0)
        if bool(fixed.any()):
            if has_constant == "raise":
                where = [columns.names[i] if columns.names else i for i in fixed.nonzero().flatten().tolist()]
                raise DataError(
                    f"data has a constant already, in column {listed(where)}; pass has_constant='skip' or 'add'."
                )
            return data
    if columns.index is not None:
        if columns.names is not None and "const" in columns.names:
            raise DataError("data has a column called 'const' that is not to be taken for the constant; rename it.")
        return _with_ones(data, prepend)
    ones = torch.ones(len(values), 1, dtype=values.dtype, device=values.device)
    out = torch.cat([ones, values] if prepend else [values, ones], 1)
    return out if columns.is_tensor else out.numpy()


def check_options(missing: str, device: Device, dtype: torch.dtype | None, hasconst: bool | None) -> None:
    """Refuse a word that `missing` does not know, a device that is not there, a dtype that is no float."""
    check_flag("hasconst", hasconst, none=True)
    if not is_one_of(missing, get_args(Missing)):
        raise OptionError(f"missing is {shown(missing)}; use 'none' (missing values are an error), 'drop' or 'raise'.")
    if not is_one_of(dtype, (None, torch.float32, torch.float64)):
        raise OptionError(f"dtype is {dtype}; the data are kept in torch.float64 or torch.float32.")
    if device is None:
        return
    try:
        if torch.device(device).type == "meta":
            raise RuntimeError("its tensors hold no numbers")
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError, TypeError, ValueError) as error:
        reason = str(error).splitlines()[0]
        raise OptionError(
            f"device {shown(device)} cannot be used ({reason}); pass 'cpu', or 'cuda' where there is one."
        ) from error


def _tensor(values: Tensor, label: str, device: Device, dtype: torch.dtype | None) -> Tensor:
    check_dense(values, label)
    values = settled(values)
    if values.is_complex():
        raise DataError(
            f"{label} is complex; betahat needs real numbers: pass its real part, or real and imaginary parts as two columns."
        )
    if device is not None:
        check_held(values, label)
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
        hint = "" if label.startswith("weights") else ", or name categories in a formula: bh.ols('y ~ C(group)', data)"
        raise DataError(
            f"{label} is an array of {'strings' if kind in 'US' else array.dtype.name + ' values'}, not of numbers; "
            f"convert it with .astype(float){hint}."
        )
    if array.dtype not in (np.float32, np.float64):
        array = array.astype(np.float64)
    if not array.dtype.isnative or any(stride < 0 for stride in array.strides) or not array.flags.writeable:
        array = np.array(array, dtype=array.dtype.newbyteorder("="))
    tensor = torch.from_numpy(array)
    target = torch.get_default_device() if device is None else device
    return tensor.to(device=target, dtype=dtype or tensor.dtype)


def _read_frame(
    data: Any, label: str, device: Device, dtype: torch.dtype | None, wanted: Sequence[str] | None
) -> Columns:
    if isinstance(data, pd.DataFrame):
        data = named_by_words(data, label)
        data = data[list(wanted)] if wanted is not None and set(wanted) <= set(data.columns) else data
    frame = _narwhals(data, label)
    if isinstance(frame, np.ndarray):
        return Columns(_array(frame, label, device, dtype))
    is_series = isinstance(frame, nw.Series)
    if not is_series and wanted is not None and set(wanted) <= set(frame.columns):
        frame = frame.select(*wanted)
    index = nw.maybe_get_index(frame)
    names: tuple[str, ...] | None
    if is_series:
        names = (word_of(frame.name),) if frame.name not in (None, "") else None
        schema = {label if names is None else names[0]: frame.dtype}
    else:
        names = tuple(str(name) for name in frame.columns)
        schema = dict(frame.schema)
    bad = [name for name, kind in schema.items() if not (kind.is_numeric() or kind == nw.Boolean)]
    if bad:
        raise DataError(
            f"{label} has columns that are not numbers: {listed(bad)}; convert them, classes to 0, 1, ... by pd.factorize say, or name them in a formula: "
            "bh.ols('y ~ C(column)', data) makes the dummies."
        )
    if is_series:
        array = _numeric(frame)
    elif isinstance(data, pd.DataFrame) and all(kind == np.dtype(float) for kind in data.dtypes):
        array = frame.to_numpy()
    else:
        array = np.empty((len(frame.columns), len(frame))).T
        for i, name in enumerate(frame.columns):
            array[:, i] = _numeric(frame[name])
    rows = pd.RangeIndex(len(array)) if index is None else index
    return Columns(_array(array, label, device, dtype), names, rows)


def named_by_words(data: pd.DataFrame, label: str) -> pd.DataFrame:
    """Give the columns of a frame of pandas names that are words; numbers, dates and levels become words.

    Raises
    ------
    DataError
        Two columns share a name.
    """
    words = (
        data.columns if all(isinstance(name, str) for name in data.columns) else pd.Index(map(word_of, data.columns))
    )
    if not words.is_unique:
        twice = sorted(set(words[words.duplicated()]))
        raise DataError(
            f"Columns of {label} share a name: {listed(twice)}; rename them, so that tests and tables can tell them apart."
        )
    return data if words is data.columns else data.set_axis(words, axis=1)


def word_of(label: Any) -> str:
    """Write a column's label as statsmodels does: levels are joined by _, and empty ones left out."""
    return "_".join(str(level) for level in label if str(level)) if isinstance(label, tuple) else str(label)


def _narwhals(data: Any, label: str) -> Any:
    try:
        return nw.from_native(data, eager_only=True, allow_series=True)
    except TypeError as error:
        if getattr(data, "__array__", None) is not None:
            return np.asarray(data)
        raise DataError(
            f"{label} is {described(data)}, which betahat cannot read; pass a tensor, an array, "
            "or an eager dataframe of pandas, polars or pyarrow (a lazy one after .collect())."
        ) from error


def _numeric(series: Any) -> np.ndarray:
    if series.dtype == nw.Float64 and not series.implementation.is_pyarrow():
        return np.asarray(series.to_numpy(), dtype=float)
    return np.asarray(series.cast(nw.Float64).to_numpy(), dtype=float)


def _pandas_column(series: Any) -> Any:
    kind = series.dtype
    if kind.is_integer():
        missing = series.is_null().to_numpy()
        return pd.arrays.IntegerArray(series.fill_null(0).to_numpy(), missing) if missing.any() else series.to_numpy()
    if kind.is_numeric():
        return _numeric(series)
    if kind in (nw.Categorical, nw.Enum):
        text = series.cast(nw.String)
        return pd.Categorical(text.to_list(), categories=_categories(series, text))
    return series.to_list()


def _categories(series: Any, text: Any) -> list[str]:
    """Return a category's levels in their own order; polars' Categorical has that of appearance."""
    if series.dtype == nw.Enum:
        return list(series.dtype.categories)
    native = series.to_native()
    arrow: Any = native.array if isinstance(native, pd.Series) else native
    if series.implementation.is_pyarrow() or str(native.dtype).startswith("dictionary<"):
        whole = arrow.__arrow_array__() if isinstance(native, pd.Series) else arrow
        return list(whole.unify_dictionaries().chunk(0).dictionary.to_pylist())
    return list(text.drop_nulls().unique(maintain_order=True).to_list())


def _single(columns: Columns, label: str) -> Columns:
    values = columns.values
    if values.ndim == 2 and values.shape[1] == 1:
        return replace(columns, values=values[:, 0])
    if values.ndim == 2:
        raise DataError(f"{label} has {values.shape[1]} columns; pass one.")
    return columns


def _container(y: Columns, x: Columns) -> Container:
    index = x.index if x.index is not None else y.index
    if index is not None:
        return Frames(index)
    return Tensors() if y.is_tensor or x.is_tensor else Arrays()


def check_index(label: str, index: pd.Index | None, exog: pd.Index | None, beside: str = "exog") -> None:
    """Refuse rows whose labels differ from those of the regressors."""
    if index is None or exog is None or index is exog or index.equals(exog):
        return
    raise DataError(
        f"The indices of {label} and {beside} differ, so their rows may not belong together; align them first, "
        f"with {label}.loc[{beside}.index] say, or pass arrays."
    )


def check_together(columns: Sequence[tuple[str, Any]]) -> None:
    """Refuse series of pandas whose indices differ; what has no index, an array or a number, goes by position."""
    labelled = [(label, values.index) for label, values in columns if isinstance(values, pd.Series | pd.DataFrame)]
    for label, index in labelled[1:]:
        if not index.equals(labelled[0][1]):
            raise DataError(
                f"The indices of {label} and {labelled[0][0]} differ, so their rows may not belong together; align them first, or pass arrays."
            )


def _offset(offset: Tensor | None, exposure: Tensor | None) -> Tensor | None:
    """Return offset + log(exposure)."""
    if exposure is None:
        return offset
    check_numbers("exposure", exposure)
    bad = int((exposure <= 0).sum())
    if bad:
        raise DataError(
            f"exposure has {counted(bad, 'value')} of zero or less, and its logarithm is taken; pass positive numbers, or "
            "the logarithms themselves as offset."
        )
    logarithm = exposure.to(torch.float64).log()
    return logarithm if offset is None else offset + logarithm


def _complete_rows(*columns: Tensor) -> Tensor | None:
    if not any(bool(torch.isnan(found)) for found in column_sums(columns)):
        return None
    return gather(numbered(columns), _is_complete).nonzero().flatten()


def _is_complete(block: Block) -> Tensor:
    parts = [~torch.isnan(column.reshape(len(column), -1)).any(1) for column in block.columns.values()]
    return torch.stack(parts).all(0)


def _with_ones(data: Any, prepend: bool) -> Any:
    if isinstance(data, pd.Series | pd.DataFrame):
        frame = data.to_frame() if isinstance(data, pd.Series) else data.copy()
        label = ("const", *[""] * (frame.columns.nlevels - 1)) if frame.columns.nlevels > 1 else "const"
        frame.insert(0 if prepend else frame.shape[1], label, 1.0)
        return frame
    read = _narwhals(data, "data")
    native = read.to_frame() if isinstance(read, nw.Series) else read
    ones = nw.new_series("const", np.ones(len(native)), backend=native.implementation)
    columns = [native[name] for name in native.columns]
    return native.select(*([ones, *columns] if prepend else [*columns, ones])).to_native()
