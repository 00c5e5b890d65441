"""Whether the value of an expression depends on its row alone, so that a dataset's rows can be read in parts: it is tried.

It is tried on a few rows, on made-up rows beside them, since a part may have one year alone, and in each part as it is read.
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from inspect import ismodule
from typing import Any

import numpy as np
import pandas as pd
from formulaic.materializers.types import FactorValues
from formulaic.parser.types import Factor

from betahat.data.formulas.expressions import bare, parsed, unquoted
from betahat.data.formulas.matrix import Materializer
from betahat.data.formulas.neighbours import beside_rows, joined_rows
from betahat.errors import FormulaError, shown

Values = Callable[[pd.DataFrame], Any]

# Rows of a chunk that are tried alone.
FEW = 48
# Values of equal rows may be rounded differently in vectors of other lengths.
_ROUNDING = 1e-12
# Calls that learn of all rows in passes of their own, or map each value to one.
_BY_ROW = ("I", "C", "Q", "i", "sunab", "center", "scale", "standardize", "bs", "cr", "cc", "cs", "poly")
_NODES = (
    ast.Expression,
    ast.Name,
    ast.Load,
    ast.Constant,
    ast.BinOp,
    ast.UnaryOp,
    ast.operator,
    ast.unaryop,
    ast.cmpop,
    ast.keyword,
)
# What lists of levels consist of.
_WRITTEN = (ast.List, ast.Tuple, ast.Dict, ast.Load, ast.Constant, ast.UnaryOp, ast.unaryop)


def why_in_parts(name: str) -> str:
    """Return why rows of a dataset of this name must have values of their own, and what to do."""
    return (
        f"the rows of {name} are read in parts; compute it before, and use its column, or let center, scale, standardize, poly or bs learn of all "
        "rows."
    )


def doubtful(factors: Sequence[Factor], columns: Collection[str], context: Mapping[str, Any]) -> tuple[Factor, ...]:
    """Return the factors that are more than columns, arithmetic, and functions known to map each value to one."""
    return tuple(
        factor
        for factor in factors
        if (factor.eval_method is Factor.EvalMethod.PYTHON and not _is_by_row(factor.expr, columns, context))
        or (factor.eval_method is Factor.EvalMethod.LOOKUP and bare(factor.expr) not in columns and "." in factor.expr)
    )


def _is_by_row(code: str, columns: Collection[str], context: Mapping[str, Any]) -> bool:
    """Tell whether an expression consists of columns, numbers, arithmetic, NumPy's elementwise functions and calls that learn in passes."""
    plain, aliases = unquoted(code)
    heads = set()
    for node in ast.walk(parsed(plain)):
        match node:
            case ast.Call(func=ast.Name(id=name) as head) if name in _BY_ROW and name not in context:
                heads.add(id(head))
            case ast.Call(func=ast.Attribute(value=ast.Name(id=name) as head, attr=attribute)):
                if not (ismodule(context.get(name)) and isinstance(getattr(context[name], attribute, None), np.ufunc)):
                    return False
                heads.add(id(head))
            case ast.Attribute(value=ast.Name() as head) if id(head) in heads:
                pass
            case ast.Compare(ops=[_]):
                pass
            case ast.List() | ast.Tuple() | ast.Dict() if all(isinstance(part, _WRITTEN) for part in ast.walk(node)):
                pass
            case ast.Call():
                return False
            case ast.Name(id=name) if id(node) not in heads and aliases.get(name, name) not in columns:
                return False
            case _ if not isinstance(node, _NODES):
                return False
    return True


def check_rows_alone(
    factors: Sequence[Factor], rows: pd.DataFrame, context: Mapping[str, Any], state: dict[str, Any], why: str
) -> None:
    """Refuse factors with other values where some of the rows are read alone; `why` that matters, and what to do, ends the sentence."""
    for factor in doubtful(factors, rows.columns, context):
        check_row_by_row(values_of(factor, context, state), rows, factor.expr, shown(factor.expr), why)


def check_row_by_row(values: Values, rows: pd.DataFrame, code: str, name: str, why: str) -> None:
    """Refuse an expression whose values differ where some rows are read alone, in another order, or beside others; `name` is what it is called."""
    for place, some in enumerate(beside_rows(rows, *_constants(code))):
        whole = _tried(values, some)
        if whole is None:  # what cannot be evaluated is told of elsewhere, or is a matter of the rows made here
            continue
        for places in _parts(len(some)):
            own = _tried(values, some.iloc[places].reset_index(drop=True))
            differs = place == 0 if own is None else not _same(whole, own, places, len(some))
            if len(places) and differs:
                raise FormulaError(f"{name} depends on other rows than its own, and {why}")


def check_chunk(whole: Any, values: Values, chunk: pd.DataFrame, code: str, name: str, why: str) -> None:
    """Refuse an expression whose values in a chunk, `whole`, differ from those of a few of its rows alone, or beside made-up ones."""
    rows = len(chunk)
    places = np.unique(np.linspace(0, rows - 1, min(rows, FEW)).astype(int))
    few = chunk.iloc[places].reset_index(drop=True)
    for some in (few, *joined_rows(few)):
        more = len(some) - len(few)
        own = _tried(values, some)
        if own is None and more:
            continue
        found = own if own is None or not more else _first(own, len(few), len(some))
        if found is None or not _same(whole, found, places, rows):
            raise FormulaError(f"{name} depends on other rows than its own, and {why}")


def _parts(rows: int) -> Iterator[np.ndarray]:
    """Yield which rows are read alone: every other one, from the last on, the halves, and the last two."""
    for first in (0, 1):
        yield np.arange(first, rows, 2)[::-1]
    if rows > 3:
        yield np.arange(rows // 2)
        yield np.arange(rows // 2, rows)
        yield np.arange(rows - 2, rows)


def _constants(code: str) -> tuple[list[Any], list[str]]:
    """Return the numbers and the words in an expression, at which functions may change what they do."""
    found = [node.value for node in ast.walk(parsed(unquoted(code)[0])) if isinstance(node, ast.Constant)]
    numbers = [value for value in found if isinstance(value, int | float) and not isinstance(value, bool)]
    return numbers, [value for value in found if isinstance(value, str)]


def values_of(factor: Factor, context: Mapping[str, Any], state: dict[str, Any]) -> Values:
    """Return the function that gives the values of rows."""

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


def _first(values: Any, count: int, rows: int) -> Any:
    """Return the values of the first of some rows."""
    if isinstance(values, FactorValues):
        values = values.__wrapped__
    if isinstance(values, Mapping):
        return {name: _first(part, count, rows) for name, part in values.items()}
    return values if np.ndim(values) == 0 or len(values) != rows else values[:count]


def _same(whole: Any, own: Any, places: np.ndarray, rows: int) -> bool:
    """Tell whether some rows have the values that they have among all."""
    if isinstance(whole, FactorValues):
        whole = whole.__wrapped__
    if isinstance(own, FactorValues):
        own = own.__wrapped__
    if isinstance(whole, Mapping):
        return whole.keys() == own.keys() and all(_same(part, own[name], places, rows) for name, part in whole.items())
    if np.ndim(whole) == 0 or len(whole) != rows:
        return bool(pd.Series([whole]).equals(pd.Series([own])))
    if np.ndim(own) != np.ndim(whole) or len(own) != len(places):
        return False
    if np.ndim(whole) == 2:
        first, second = np.asarray(whole)[places], np.asarray(own)
        return first.shape == second.shape and _near(first, second)
    one, two = pd.Series(whole).iloc[places], pd.Series(own)
    if all(isinstance(kind, np.dtype) and kind.kind == "f" for kind in (one.dtype, two.dtype)):
        return _near(one.to_numpy(), two.to_numpy())
    both = [part.astype(object).reset_index(drop=True) for part in (one, two)]
    return bool(((both[0] == both[1]) | (both[0].isna() & both[1].isna())).all())


def _near(first: np.ndarray, second: np.ndarray) -> bool:
    """Tell whether numbers are the same but for their rounding."""
    return bool(np.isclose(first.astype(float), second.astype(float), rtol=_ROUNDING, atol=0, equal_nan=True).all())
