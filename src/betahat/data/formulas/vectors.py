"""Weights, offsets and exposures by name: columns of the data, or expressions of columns."""

from __future__ import annotations

import builtins
import difflib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from pandas.api.types import infer_dtype

from betahat.data.formulas.expressions import Pending, ReasonError, Scope, names_in
from betahat.data.formulas.periods import ordered_calls
from betahat.data.formulas.reading import evaluated, number
from betahat.data.formulas.transforms import KNOWN
from betahat.errors import BetahatError, DataError, FormulaError, listed, shown


def vector_of(
    text: str,
    frame: pd.DataFrame,
    context: Mapping[str, Any],
    option: str,
    state: dict[str, Any] | None = None,
    instead: Any = None,
) -> Any:
    """Return (n,) the column of this name, or the value of an expression such as ``np.log(e)``, which may be a single number.

    `state` is what calls have learnt, and `instead` stands in for those that learn, as in `Scope`.
    """
    if text in frame.columns:
        return _numbers(number(frame[text]).to_numpy(), text, option)
    scope = Scope({str(name): column for name, column in frame.items()}, context, KNOWN, instead)
    try:
        value, _ = evaluated(text, scope, {} if state is None else state, None, lambda value: False)
        return _numbers(np.asarray(value), text, option)
    except (BetahatError, Pending):
        raise
    except Exception as error:  # whatever the user's functions raise
        raise FormulaError(
            f"{option}={shown(text)} cannot be evaluated ({type(error).__name__}: {error}); pass the name of a column, or the numbers."
        ) from error


def check_vector(text: str, columns: Sequence[str], context: Mapping[str, Any], option: str) -> None:
    """Refuse anything but a column or an expression of known names, before it is evaluated."""
    if text in columns:
        return
    try:
        absent = names_in(text) - {*columns} - context.keys() - KNOWN.keys() - vars(builtins).keys()
    except ReasonError as error:
        raise FormulaError(
            f"{option}={shown(text)} is neither a column of the data nor an expression; the columns are {listed(columns, limit=12)}."
        ) from error
    if ordered_calls([text], context):
        raise FormulaError(
            f"{option}={shown(text)} is of another period, as only the terms of a formula may be; compute it before, and pass the name of its column."
        )
    if absent:
        close = [match for name in sorted(absent) for match in difflib.get_close_matches(name, columns, n=1)]
        hint = f"did you mean {listed(close)}?" if close else f"the columns are {listed(columns, limit=12)}."
        raise FormulaError(
            f"{option}={shown(text)} refers to {listed(sorted(absent))}, found neither in the data nor among the caller's variables; {hint}"
        )


def _numbers(values: np.ndarray, text: str, option: str) -> np.ndarray:
    """Return the values of a column or an expression; refuse text, dates and other objects."""
    if values.dtype.kind not in "OUSMmV":
        return values
    kinds = {"string": "text", "datetime64": "dates", "timedelta64": "spans of time"}
    kind = kinds.get(infer_dtype(values, skipna=True), "objects")
    example = f"{text if text.isidentifier() else 'w'}.astype(float)"
    raise DataError(
        f"{option}={shown(text)} has {kind}, not numbers; pass a column of numbers, or an expression that makes some, such as "
        f"{option}={shown(example)}."
    )
