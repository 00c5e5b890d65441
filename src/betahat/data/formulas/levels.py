"""The levels of a category, and their indicators; formulaic only warns of a value that is not among the levels, here it is an error."""

from __future__ import annotations

from collections.abc import MutableMapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from formulaic.materializers.types import FactorValues
from formulaic.transforms.contrasts import ContrastsState, TreatmentContrasts
from pandas.api.types import is_integer_dtype


class UnseenError(Exception):
    """Values that are not among the levels of a category, which are its argument."""


def coded(
    values: Any, levels: Sequence[Any] | None, drop_rows: Sequence[int], state: MutableMapping[str, Any]
) -> pd.Series:
    """Return the values of the rows in use as a category, with the given levels, or else those in the state, or else those of the values.

    `values` is (n,), `drop_rows` are the positions of the rows that are not in use; levels found in the values are added to the state.
    """
    series = pd.Series(values.__wrapped__ if isinstance(values, FactorValues) else values)
    if drop_rows:
        series = series[~np.isin(np.arange(len(series)), drop_rows)]
    levels = state.get("categories") if levels is None else levels
    if levels is None:
        # No value is missing at this point, and pandas' nullable integers would be printed as np.int64(7).
        whole = is_integer_dtype(series.dtype) and not isinstance(series.dtype, np.dtype)
        plain = pd.Series(series.to_numpy(dtype=series.dtype.type), series.index) if whole else series
        category = plain.astype(pd.CategoricalDtype())
        state["categories"] = list(category.cat.categories)
        return category
    place = {level: i for i, level in enumerate(levels)}
    codes, unique = pd.factorize(series)
    places = np.array([*(place.get(value, -1) for value in unique), -1])  # the last is for missing values
    unseen = [value for value, i in zip(unique, places[:-1], strict=True) if i < 0]
    if unseen:
        raise UnseenError(unseen)
    return pd.Series(pd.Categorical.from_codes(places[codes], categories=pd.Index(list(levels))), index=series.index)


def indicators(
    values: pd.Series, contrast: TreatmentContrasts, reduced: bool, state: MutableMapping[str, Any]
) -> FactorValues:
    """Return the (n,) indicators of the levels of a category by name, without that of the base level if its rank is reduced."""
    levels, codes = list(values.cat.categories), values.cat.codes.to_numpy()
    state.update(categories=levels, contrasts=ContrastsState(contrast, levels))
    empty = not levels or (len(levels) == 1 and reduced)
    base = None if empty or not reduced else contrast._find_base_index(levels)
    return FactorValues(
        {} if empty else {level: codes == i for i, level in enumerate(levels) if i != base},
        kind="categorical",
        column_names=() if empty else tuple(contrast.get_coding_column_names(levels, reduced_rank=reduced)),
        spans_intercept=not (empty or reduced),
        drop_field=None if empty else contrast.get_drop_field(levels, reduced_rank=reduced),
        format=contrast.get_factor_format(levels, reduced_rank=reduced),
        format_reduced=contrast.get_factor_format(levels, reduced_rank=True),
        encoded=True,
    )
