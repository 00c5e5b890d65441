"""Whether the value of an expression depends on its row alone, so that a dataset's rows can be read in parts: it is tried on a few."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from formulaic.materializers.types import FactorValues
from formulaic.parser.types import Factor

from betahat.data.formulas.matrix import Materializer
from betahat.errors import FormulaError, shown

Values = Callable[[pd.DataFrame], Any]


def check_rows_alone(
    factors: Sequence[Factor], rows: pd.DataFrame, context: Mapping[str, Any], state: dict[str, Any], why: str
) -> None:
    """Refuse factors with other values where some of the rows are read alone; `why` that matters, and what to do, ends the sentence."""
    for factor in factors:
        if factor.eval_method is Factor.EvalMethod.PYTHON:
            check_row_by_row(_values_of(factor, context, state), rows, shown(factor.expr), why)


def check_row_by_row(values: Values, rows: pd.DataFrame, expression: str, why: str) -> None:
    """Refuse an expression whose values differ where every other row is read alone, in another order, or where some are missing."""
    for some in (rows, _with_gaps(rows)):
        whole = _tried(values, some)
        if whole is None:  # what cannot be evaluated is told of elsewhere, or is a matter of the gaps made here
            continue
        for first in (0, 1):
            places = np.arange(first, len(some), 2)[::-1]
            own = _tried(values, some.iloc[places].reset_index(drop=True))
            if len(places) and (own is None or not _same(whole, own, places, len(some))):
                raise FormulaError(f"{expression} depends on other rows than its own, and {why}")


def _values_of(factor: Factor, context: Mapping[str, Any], state: dict[str, Any]) -> Values:
    def values(rows: pd.DataFrame) -> Any:
        found, _ = Materializer(rows, context).values([factor], {**state}, {})
        return found[factor.expr]

    return values


def _tried(values: Values, rows: pd.DataFrame) -> Any:
    """Return the values of rows; None where they cannot be computed."""
    try:
        with np.errstate(all="ignore"):
            return values(rows)
    except Exception:  # whatever the user's functions raise
        return None


def _with_gaps(rows: pd.DataFrame) -> pd.DataFrame:
    """Return rows in which every third value is missing."""
    return rows.mask(np.broadcast_to(np.arange(len(rows))[:, None] % 3 == 0, rows.shape))


def _same(whole: Any, own: Any, places: np.ndarray, rows: int) -> bool:
    """Tell whether some rows have the values that they have among all."""
    if isinstance(whole, FactorValues):
        whole = whole.__wrapped__
    if isinstance(own, FactorValues):
        own = own.__wrapped__
    if isinstance(whole, Mapping):
        return all(_same(part, own[name], places, rows) for name, part in whole.items())
    if np.ndim(whole) == 0 or len(whole) != rows:
        return bool(pd.Series([whole]).equals(pd.Series([own])))
    if np.ndim(whole) == 2:
        return bool(np.array_equal(np.asarray(whole)[places], np.asarray(own), equal_nan=True))
    first, second = pd.Series(whole).iloc[places].astype(object), pd.Series(own).astype(object)
    both = first.reset_index(drop=True), second.reset_index(drop=True)
    return bool(((both[0] == both[1]) | (both[0].isna() & both[1].isna())).all())
