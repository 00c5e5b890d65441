"""The levels of a category, and their indicators: a value that is none of them is an error, which formulaic only warns of."""

from __future__ import annotations

from collections.abc import MutableMapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from formulaic.materializers.types import FactorValues
from formulaic.transforms.contrasts import ContrastsState, TreatmentContrasts
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


def indicators(
    values: pd.Series, contrast: TreatmentContrasts, reduced: bool, state: MutableMapping[str, Any]
) -> FactorValues:
    """Return the (n,) indicators of a category's levels by their names, without that of the base where its rank is reduced."""
    levels, codes = list(values.cat.categories), values.cat.codes.to_numpy()
    state.update(categories=levels, contrasts=ContrastsState(contrast, levels))
    alone = not levels or (len(levels) == 1 and reduced)
    base = None if alone or not reduced else contrast._find_base_index(levels)
    return FactorValues(
        {} if alone else {level: codes == i for i, level in enumerate(levels) if i != base},
        kind="categorical",
        column_names=() if alone else tuple(contrast.get_coding_column_names(levels, reduced_rank=reduced)),
        spans_intercept=not (alone or reduced),
        drop_field=None if alone else contrast.get_drop_field(levels, reduced_rank=reduced),
        format=contrast.get_factor_format(levels, reduced_rank=reduced),
        format_reduced=contrast.get_factor_format(levels, reduced_rank=True),
        encoded=True,
    )
