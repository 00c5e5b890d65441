"""How columns enter an expression of a formula: as numbers in double precision, or as labels, in which whole numbers stay whole."""

from __future__ import annotations

from collections.abc import Callable, MutableMapping
from decimal import Decimal
from typing import Any

import numpy as np
import pandas as pd
from formulaic.materializers.types import FactorValues
from pandas.api.types import is_bool_dtype, is_complex_dtype, is_integer_dtype, is_numeric_dtype

from betahat.data.formulas.expressions import Scope, value_of


def evaluated(
    code: str, scope: Scope, state: MutableMapping[str, Any], spec: Any, is_category: Callable[[Any], bool]
) -> tuple[Any, set[str]]:
    """Evaluate an expression on double precision numbers, as `value_of` does; `is_category` tells whether a value is a category.

    If the value is a category, or needs whole numbers (bit operations, positions), whole numbers enter as 64-bit integers instead.
    """
    narrow = False

    def read(value: Any) -> Any:
        nonlocal narrow
        narrow |= _is_narrow(value)
        return number(value)

    try:
        value, columns = value_of(code, scope, state, spec, read)
        if not (narrow and is_category(value)):
            return value, columns
    except Exception:
        if not narrow:
            raise
    value, columns = value_of(code, scope, state, spec, label)
    return value if is_category(value) else number(value), columns


def number(values: Any) -> Any:
    """Return numbers in double precision, with NaN for missing values; anything else is returned as it is."""
    if not _is_narrow(values):
        return _truth(values)
    if isinstance(values, pd.DataFrame):
        return pd.concat([number(values.iloc[:, i]) for i in range(values.shape[1])], axis=1)
    if isinstance(values, np.ndarray):
        return values.astype(float)
    double = values.to_numpy(dtype=float, na_value=np.nan)
    return pd.Series(double, values.index, name=values.name) if isinstance(values, pd.Series) else pd.Index(double)


def label(values: Any) -> Any:
    """Return whole numbers with 64 bits, and half precision, of which pandas cannot make levels, in double; anything else as it is."""
    if _is_vector(values) and values.dtype == np.float16:
        return number(values)
    if not (_is_vector(values) and is_integer_dtype(values.dtype)) or values.dtype in (np.int64, np.uint64):
        return _truth(values)
    if isinstance(values.dtype, np.dtype):
        return values.astype(np.int64)
    wide = "UInt64" if "uint64" in str(values.dtype).lower() else "Int64"
    return values.astype(wide if values.isna().any() else wide.lower())


def _truth(values: Any) -> Any:
    """Return Arrow booleans as pandas booleans, which can be multiplied; anything else as it is."""
    if _is_vector(values) and isinstance(values.dtype, pd.ArrowDtype) and is_bool_dtype(values.dtype):
        return values.astype("boolean")
    return values


def _is_narrow(values: Any) -> bool:
    """Tell whether there are real numbers of a type other than double precision."""
    if isinstance(values, pd.DataFrame) and not isinstance(values, FactorValues):
        return any(_is_narrow(values.iloc[:, i]) for i in range(values.shape[1]))
    if not _is_vector(values) or values.dtype == np.float64 or is_bool_dtype(values.dtype):
        return False
    return _holds_decimals(values) or (is_numeric_dtype(values.dtype) and not is_complex_dtype(values.dtype))


def _is_vector(values: Any) -> bool:
    return isinstance(values, pd.Series | pd.Index | np.ndarray) and not isinstance(values, FactorValues)


def _holds_decimals(values: Any) -> bool:
    """Tell whether a vector of objects holds decimal numbers, judging by its first value that is not missing."""
    if values.dtype != object:
        return False
    return isinstance(next((value for value in values if not (value is None or value is pd.NA)), None), Decimal)
