"""The levels of a category: a value that is none of them is an error, which formulaic only warns of."""

from __future__ import annotations

from collections.abc import MutableMapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from formulaic.materializers.types import FactorValues
from pandas.api.types import is_integer_dtype


class UnseenError(Exception):
    """Values are none of a category's levels; they are its argument."""


def coded(
    values: Any, levels: Sequence[Any] | None, drop_rows: Sequence[int], state: MutableMapping[str, Any]
) -> pd.Series:
    """Return the values in use as a category.

    Parameters
    ----------
    values : vector
        (n,) of any kind.
    levels : sequence or None
        The levels in their order; None where the state has them, or else the values.
    drop_rows : sequence of int
        The positions of rows that are not in use.
    state : mapping
        What is known of the category, its levels under "categories"; they are added where they are not there yet.

    Raises
    ------
    UnseenError
    """
    series = pd.Series(values.__wrapped__ if isinstance(values, FactorValues) else values)
    if drop_rows:
        series = series[~np.isin(np.arange(len(series)), drop_rows)]
    levels = state.get("categories") if levels is None else levels
    if levels is None:
        # None is missing any more, and pandas' own integers would be shown as np.int64(7).
        whole = is_integer_dtype(series.dtype) and not isinstance(series.dtype, np.dtype)
        plain = pd.Series(series.to_numpy(dtype=series.dtype.type), series.index) if whole else series
        found = plain.astype(pd.CategoricalDtype())
        state["categories"] = list(found.cat.categories)
        return found
    place = {level: i for i, level in enumerate(levels)}
    codes, unique = pd.factorize(series)
    places = np.array([*(place.get(value, -1) for value in unique), -1])  # the last is of missing values
    unseen = [value for value, i in zip(unique, places[:-1], strict=True) if i < 0]
    if unseen:
        raise UnseenError(unseen)
    return pd.Series(pd.Categorical.from_codes(places[codes], categories=pd.Index(list(levels))), index=series.index)
