"""Dataframes of any library: the only room that knows narwhals."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import narwhals as nw
import numpy as np
from torch import Tensor

from betahat.data.modes import check_held
from betahat.errors import DataError, described, listed, shown
from betahat.lazy import lazily

if TYPE_CHECKING:
    import pandas as pd
else:
    pd = lazily("pandas")

# What is surely neither a dataframe nor a column of one, so that narwhals need not look at all the libraries that it knows.
_NO_FRAMES = (Tensor, np.ndarray, str, list, tuple)
# What reads rows that lie in files or lazy frames, by what was passed.
_WITH_A_FORMULA = "; rows of files and lazy frames are read by a formula, such as bh.ols('y ~ x', 'rows.parquet')"
_ROWS_ELSEWHERE = {
    "exog": _WITH_A_FORMULA,
    "endog": _WITH_A_FORMULA,
    "inputs": "; rows of files are read by a DataLoader of (inputs, target), as TorchModel(module, loss, loader, stream=True)",
}


def to_pandas(data: Any, text: str | None) -> pd.DataFrame:
    """Turn any eager dataframe, or a dict of columns, into pandas; of a formula's `text` come the columns whose names occur in it."""
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
    frame = narwhals_of(data, "data")
    if isinstance(frame, np.ndarray):
        raise _nameless(data)
    if isinstance(frame, nw.Series):
        frame = frame.to_frame()
    chosen = [name for name in frame.columns if text is None or name in text]
    columns = {name: _pandas_column(frame[name]) for name in chosen}
    return pd.DataFrame(columns, index=pd.RangeIndex(len(frame)), copy=False)


def is_frame(data: Any) -> bool:
    """Tell whether an object is a dataframe that can be read."""
    return not isinstance(data, _NO_FRAMES) and isinstance(
        nw.from_native(data, eager_only=True, pass_through=True), nw.DataFrame
    )


def rows_of_frame(data: Any) -> int:
    """Return how many rows a dataframe has, or a dict of columns."""
    if isinstance(data, Mapping):
        return len(next(iter(data.values())))
    return len(nw.from_native(data, eager_only=True))


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


def named_by_words(data: pd.DataFrame, label: str) -> pd.DataFrame:
    """Give the columns of a pandas frame names that are strings; an error if two columns then share a name."""
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


def narwhals_of(data: Any, label: str) -> Any:
    """Return a dataframe or a column as narwhals reads it, or what is an array to NumPy as one."""
    try:
        return nw.from_native(data, eager_only=True, allow_series=True)
    except TypeError as error:
        if getattr(data, "__array__", None) is not None:
            return np.asarray(data)
        raise DataError(
            f"{label} is {described(data)}, which betahat cannot read; pass a tensor, an array, "
            f"or an eager dataframe of pandas, polars or pyarrow (a lazy one after .collect()){_ROWS_ELSEWHERE.get(label, '')}."
        ) from error


def numeric(series: Any) -> np.ndarray:
    """Return (n,) a column in double precision, NaN where a value is missing."""
    if series.dtype == nw.Float64 and not series.implementation.is_pyarrow():
        return np.asarray(series.to_numpy(), dtype=float)
    return np.asarray(series.cast(nw.Float64).to_numpy(), dtype=float)


def numbers_of(data: Any, names: Sequence[str]) -> dict[str, np.ndarray] | None:
    """Return (n,) float64 columns of a dataframe, NaN where a value is missing, which may share memory; None where some hold anything but numbers."""
    if isinstance(data, Mapping):
        return None
    frame = narwhals_of(data, "data")
    found = {}
    for name in names:
        series = frame[name]
        native: Any = series.to_native()
        if not (series.dtype.is_integer() or series.dtype.is_float()):
            return None
        if series.implementation.is_pyarrow():
            found[name] = np.asarray(native.to_numpy(), dtype=float)
        elif series.implementation.is_pandas() and not isinstance(native.dtype, np.dtype):
            return None
        else:
            found[name] = numeric(series)
    return found


def _nameless(data: Any) -> DataError:
    return DataError(
        f"A formula needs its variables by name, not data of type {type(data).__name__}; pass a dataframe or a "
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


def _series(values: Any) -> Any:
    given = _arrow().chunked_array([values]) if _is_arrow(values) else values
    series: Any = nw.from_native(given, series_only=True)
    native: Any = series.to_native()
    if series.implementation.is_pyarrow() and _is_view(native):  # whose rows Arrow cannot take
        return nw.from_native(native.cast(_arrow().large_string()), series_only=True)
    return series


def _arrow() -> Any:
    """Return pyarrow where it is there: pandas imports it."""
    return sys.modules.get("pyarrow")


def _is_arrow(values: Any) -> bool:
    return _arrow() is not None and isinstance(values, _arrow().Array)


def _pandas_column(series: Any) -> Any:
    kind = series.dtype
    if kind.is_integer():
        missing = series.is_null().to_numpy()
        return pd.arrays.IntegerArray(series.fill_null(0).to_numpy(), missing) if missing.any() else series.to_numpy()
    if kind.is_numeric():
        return numeric(series)
    if kind in (nw.Categorical, nw.Enum):
        text = series.cast(nw.String)
        ordered = series.implementation.is_pyarrow() and bool(series.to_native().type.ordered)
        return pd.Categorical(text.to_list(), categories=_categories(series, text), ordered=ordered)
    if kind == nw.String and series.implementation.is_pyarrow() and not _is_view(series.to_native()):
        return series.to_native().to_pandas()
    return series.to_list()


def _is_view(native: Any) -> bool:
    """Tell whether Arrow's text is a view, which not all of its functions know."""
    return bool(_arrow().types.is_string_view(native.type))


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


def ticks_of(values: Any) -> np.ndarray | None:
    """Return (n,) int64 whole numbers, or dates in microseconds; None of anything else, and where some are missing."""
    if isinstance(values, Tensor):
        values = values.cpu().numpy()
    if isinstance(values, np.ndarray):
        read = values
    else:
        series = _series(values)
        if series.is_null().any():
            return None
        zoned = isinstance(series.dtype, nw.Datetime) and series.dtype.time_zone is not None
        read = (series.dt.replace_time_zone(None) if zoned else series).to_numpy()
    if read.dtype.kind == "M":
        return None if np.isnat(read).any() else read.astype("datetime64[us]").astype(np.int64)
    if read.dtype.kind == "f" and bool((read == np.floor(read)).all()):
        return read.astype(np.int64)
    return read.astype(np.int64) if read.dtype.kind in "iu" else None


def check_columns(wanted: Sequence[str], came: Sequence[str]) -> None:
    """Refuse new data without some of a model's columns."""
    absent = [name for name in wanted if name not in came]
    if absent:
        raise DataError(
            f"The new data lack the columns {listed(absent)}; pass all of the model's: {listed(wanted, limit=30)}."
        )
