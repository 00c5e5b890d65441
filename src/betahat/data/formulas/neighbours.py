"""Made-up rows beside real ones: others, larger and smaller ones, gaps; what depends on its row alone does not notice them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pandas as pd
from pandas.api.types import infer_dtype, is_bool_dtype, is_datetime64_any_dtype, is_numeric_dtype

# How far the made-up numbers lie from real ones, downwards and upwards: near, and very far.
_NEAR = (1, -1, 2, -3, 5, -8, 13)
_FAR = tuple(sign * 10**power for power in range(13) for sign in (1, -1))
_WORDS = ("", "0", "Z", "a~", "~~~")
# Days that stay within what times in nanoseconds can be.
_DAYS = 9_999


def beside_rows(rows: pd.DataFrame, numbers: Sequence[Any], words: Sequence[str]) -> Iterator[pd.DataFrame]:
    """Yield the rows; with gaps; with each column sorted; and joined with rows of these numbers and words, of near and of far values."""
    yield rows
    count = np.arange(len(rows))
    for gaps in (count % 3 == 0, count < len(rows) / 3):
        yield rows.mask(np.broadcast_to(gaps[:, None], rows.shape))
    yield _of({name: _sorted(rows[name]) for name in rows}, rows)
    if numbers or words:
        yield _joined(rows, {name: _named(rows[name], numbers, words) for name in rows})
    yield from joined_rows(rows)


def joined_rows(rows: pd.DataFrame) -> Iterator[pd.DataFrame]:
    """Yield the rows joined with others, of near and of far values."""
    yield _joined(rows, {name: _moved(rows[name], _NEAR, 0) for name in rows})
    yield _joined(rows, {name: _moved(rows[name], _FAR, place) for place, name in enumerate(rows)})


def _of(columns: dict[Any, pd.Series], rows: pd.DataFrame) -> pd.DataFrame:
    return pd.DataFrame(columns, columns=rows.columns)


def _joined(rows: pd.DataFrame, columns: dict[Any, pd.Series]) -> pd.DataFrame:
    """Return rows with as many made-up ones behind them, whose columns have the same types."""
    return _of({name: pd.concat([rows[name], made], ignore_index=True) for name, made in columns.items()}, rows)


def _sorted(column: pd.Series) -> pd.Series:
    try:
        return column.sort_values(ignore_index=True)
    except TypeError:  # values without an order
        return column


def _named(column: pd.Series, numbers: Sequence[Any], words: Sequence[str]) -> pd.Series:
    """Return as many values, those that are given where the type is theirs."""
    if _is_text(column) and words:
        return _typed([words[place % len(words)] for place in range(len(column))], column)
    if numbers and is_numeric_dtype(column.dtype) and not is_bool_dtype(column.dtype):
        wider = [*numbers, *(value + step for value in numbers for step in (-1, 1))]
        return _typed([wider[place % len(wider)] for place in range(len(column))], column)
    return _moved(column, _NEAR, 0)


def _moved(column: pd.Series, steps: Sequence[int], place: int) -> pd.Series:
    """Return as many values, the column's own with steps between; of words, others; of categories, all."""
    kind, turns = column.dtype, [place + turn for turn in range(len(column))]
    if isinstance(kind, pd.CategoricalDtype):
        known = kind.categories
        return _typed([known[turn % len(known)] for turn in turns], column) if len(known) else column
    if is_bool_dtype(kind):
        return _typed([turn % 3 == 0 for turn in turns], column)
    if _is_text(column):
        return _typed([_WORDS[turn % len(_WORDS)] for turn in turns], column)
    own = [steps[turn % len(steps)] for turn in turns]
    if is_datetime64_any_dtype(kind):
        days = [pd.Timedelta(days=max(min(step, _DAYS), -_DAYS)) for step in own]
        return _typed([value + step for value, step in zip(column, days, strict=True)], column)
    if is_numeric_dtype(kind):
        pairs = zip(column, own, strict=True)
        return _typed([value if pd.isna(value) else value + step for value, step in pairs], column)
    return column


def _typed(values: Sequence[Any], column: pd.Series) -> pd.Series:
    """Return values as a column of the same type; the column itself where that has no such values."""
    kind = getattr(column.dtype, "numpy_dtype", column.dtype)
    try:
        if isinstance(kind, np.dtype) and kind.kind in "iu":
            low, high = int(np.iinfo(kind).min), int(np.iinfo(kind).max)
            values = [value if pd.isna(value) else min(max(int(value), low), high) for value in values]
        return pd.Series(values, dtype=column.dtype)
    except (TypeError, ValueError, ArithmeticError):
        return column.reset_index(drop=True)


def _is_text(column: pd.Series) -> bool:
    """Tell whether a column has words, of whichever type."""
    return not isinstance(column.dtype, pd.CategoricalDtype) and infer_dtype(column, skipna=True) == "string"
