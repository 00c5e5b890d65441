"""`lag`, `lead` and `diff`: values of other periods of the same unit, found by time; gaps are missing."""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterable, Mapping, MutableMapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from formulaic.materializers.types import FactorValues
from formulaic.parser.types import Factor
from pandas.api.types import is_bool_dtype, is_integer_dtype, is_numeric_dtype

from betahat.data.formulas.expressions import ReasonError, Scope, given, key_of, parsed, unquoted, value_of
from betahat.data.formulas.order import Order
from betahat.data.formulas.reading import label
from betahat.data.times import Clock, clock
from betahat.errors import FormulaError, described, of_data, shown

_OTHER_PERIODS = ("lag", "lead", "diff")


def ordered_calls(expressions: Iterable[str], context: Mapping[str, Any]) -> list[str]:
    """Return the calls of lag, lead and diff in expressions, by the keys of what they learn, unless these are functions of the caller's."""
    found = []
    for expression in expressions:
        plain, aliases = unquoted(expression)
        for node in ast.walk(parsed(plain)):
            match node:
                case ast.Call(func=ast.Name(id=name)) if name in _OTHER_PERIODS and not callable(context.get(name)):
                    found.append(key_of(node, aliases))
    return found


def calls_in(factors: Iterable[Factor], context: Mapping[str, Any]) -> list[str]:
    """Return the calls of lag, lead and diff in factors."""
    code = [factor.expr for factor in factors if factor.eval_method is Factor.EvalMethod.PYTHON]
    return ordered_calls(code, context)


def seeds(factors: Iterable[Factor], order: Order, context: Mapping[str, Any], text: str) -> dict[str, dict[str, Any]]:
    """Return what calls know before they learn: what tells which rows follow each other."""
    calls = calls_in(factors, context)
    if calls and order.time is None:
        raise _unknown_order(f"{calls[0]} in {shown(text)}")
    return {call: {"panel": order.panel, "time": order.time} for call in calls}


@given("_spelled", "_state", "_scope")
def lag(x: Any, k: Any = 1, *, _spelled: Sequence[str], _state: MutableMapping[str, Any], _scope: Scope) -> Any:
    """Return x of `k` periods before, in the same unit; several k give several columns."""
    moves = _Moves(_state, _scope, f"lag({_spelled[0]})")
    return _each("lag", _column(x, moves.name), k, _spelled[0], moves.lagged)


@given("_spelled", "_state", "_scope")
def lead(x: Any, k: Any = 1, *, _spelled: Sequence[str], _state: MutableMapping[str, Any], _scope: Scope) -> Any:
    """Return x of `k` periods after, in the same unit; several k give several columns."""
    moves = _Moves(_state, _scope, f"lead({_spelled[0]})")
    return _each("lead", _column(x, moves.name), k, _spelled[0], lambda values, k: moves.lagged(values, -k))


@given("_spelled", "_state", "_scope")
def diff(x: Any, k: Any = 1, *, _spelled: Sequence[str], _state: MutableMapping[str, Any], _scope: Scope) -> Any:
    """Return x less that of `k` periods before, in the same unit; several k give several columns."""
    moves = _Moves(_state, _scope, f"diff({_spelled[0]})")
    values = _column(x, moves.name)
    if not is_numeric_dtype(values.dtype):
        raise ReasonError(f"{moves.name} is of {described(x)}", "differences are of numbers")
    numbers = pd.Series(values.to_numpy(dtype=float, na_value=np.nan), values.index)
    return _each("diff", numbers, k, _spelled[0], lambda values, k: values - moves.lagged(values, k))


def _each(name: str, values: pd.Series, k: Any, of: str, shifted: Callable[[pd.Series, int], pd.Series]) -> Any:
    """Return shifted values, or a column for each of several k."""
    if not isinstance(k, list | tuple | range | np.ndarray):
        return shifted(values, _periods(k, name))
    if not len(k):
        raise ReasonError(f"k in {name}({of}, k) is empty")
    if not is_numeric_dtype(values.dtype):
        raise ReasonError(f"{name}({of}, {list(k)}) has several k, and is no number", "write a term for each")
    numbers = pd.Series(values.to_numpy(dtype=float, na_value=np.nan), values.index)
    columns = {(f"{name}({of}, {each})",): shifted(numbers, _periods(each, name)) for each in k}
    return FactorValues(columns, kind="numerical", format="{field[0]}")


def _periods(k: Any, name: str) -> int:
    if isinstance(k, bool) or not isinstance(k, int | np.integer):
        raise ReasonError(f"k in {name}(x, k) is {shown(k)}", "pass a whole number of periods, or a list of them")
    return int(k)


@dataclass(frozen=True)
class _Moves:
    """Finds the rows of other periods.

    Attributes
    ----------
    state : dict
        The expressions of units and periods, and how periods are counted, once that is learnt.
    scope : Scope
        Where the expressions' names are found.
    name : str
        What is called, for sentences.
    """

    state: MutableMapping[str, Any]
    scope: Scope
    name: str

    def lagged(self, values: pd.Series, k: int) -> pd.Series:
        """Return (n,) the values of k periods before."""
        rows = self._rows(k)
        gaps = rows < 0
        if bool(gaps.any()) and isinstance(values.dtype, np.dtype):
            integer, truth = is_integer_dtype(values.dtype), is_bool_dtype(values.dtype)
            values = values.astype("Int64") if integer else values.astype("boolean") if truth else values
        return values.take(np.where(gaps, 0, rows)).set_axis(values.index).mask(gaps)

    def _rows(self, k: int) -> np.ndarray:
        """Return (n,) the row of each row's unit k periods before, or -1."""
        panel, time = self.state.get("panel"), self.state.get("time")
        if time is None:
            raise _unknown_order(self.name)
        periods, labels = _factorized(self._labels(time))
        units = np.zeros_like(periods) if panel is None else _factorized(self._labels(panel))[0]
        places, own = np.unique(self._places(labels, time), return_inverse=True)
        count = max(len(places), 1)
        known = np.flatnonzero((periods >= 0) & (units >= 0))
        periods = own[periods] if len(own) else periods
        keys = units.astype(np.int64) * count + periods
        known = known[np.argsort(keys[known], kind="stable")]
        there = keys[known]
        twice = np.flatnonzero(there[1:] == there[:-1])
        if len(twice):
            row = known[twice[0]]
            unit = "" if panel is None else f"{panel} {_plain(self._labels(panel).iloc[row])} in "
            raise ReasonError(
                f"there are several rows for {unit}{time} {_plain(self._labels(time).iloc[row])}, so that {self.name} is not one value",
                "pass panel='...', the column of units" if panel is None else "leave one row for each unit and period",
            )
        wanted = places - k * self.state["step"]
        found = np.searchsorted(places, wanted).clip(max=count - 1)
        other = np.where(places[found] == wanted, found, -1) if len(places) else found
        target = np.where(other[periods[known]] >= 0, there - periods[known] + other[periods[known]], -1)
        place = np.searchsorted(there, target).clip(max=max(len(there) - 1, 0))
        rows = np.full(len(keys), -1)
        rows[known] = np.where(there[place] == target, known[place], -1) if len(known) else -1
        return rows

    def _labels(self, text: str) -> pd.Series:
        """Return (n,) the labels of an expression."""
        columns = self.scope.columns
        values = label(columns[text]) if text in columns else value_of(text, self.scope, {}, None, label)[0]
        if np.ndim(values) != 1:
            raise ReasonError(f"{shown(text)} is {described(values)}", "pass a column")
        return values if isinstance(values, pd.Series) else pd.Series(values)

    def _places(self, labels: pd.Index, time: str) -> np.ndarray:
        """Return (T,) int64 the places of labels, counted as in the fit."""
        if "unit" not in self.state and len(labels):
            made = clock(labels)
            if made is None:
                raise ReasonError(
                    f"time={shown(time)} has labels whose distances are not known, such as {_plain(_odd(labels))!r}",
                    "make them whole numbers, dates or periods",
                )
            self.state.update(numbers=made.numbers, unit=made.unit, step=made.step)
        if not len(labels):
            return np.zeros(0, dtype=np.int64)
        places = Clock(self.state["numbers"], self.state["unit"], self.state["step"]).places(labels)
        if places is None:
            raise ReasonError(
                f"time={shown(time)} has labels of another kind than in the fit, such as {_plain(labels[0])!r}",
                "convert them",
            )
        return places


def _factorized(labels: pd.Series) -> tuple[np.ndarray, pd.Index]:
    """Return (n,) the place of each label among the different ones, -1 where it is missing, and these, sorted where they can be."""
    if isinstance(labels.dtype, pd.CategoricalDtype):
        labels = labels.astype(labels.cat.categories.dtype)
    if isinstance(labels.dtype, pd.ArrowDtype):
        labels = pd.Series(labels.array.to_numpy())
    try:
        codes, there = pd.factorize(labels, sort=True)
    except TypeError:  # labels of several types
        codes, there = pd.factorize(labels)
    return codes, pd.Index(there)


def _column(values: Any, name: str) -> pd.Series:
    """Return the values that are shifted, one for each row."""
    if isinstance(values, FactorValues):
        raise ReasonError(f"{name} is of a category", "shift its column first, such as C(lag(group, 1))")
    if np.ndim(values) != 1:
        raise ReasonError(f"{name} is of {described(values)}", "pass a column")
    return values if isinstance(values, pd.Series) else pd.Series(values)


def _plain(value: Any) -> Any:
    """Return a label as a value of Python's, dates without a time as text."""
    if isinstance(value, pd.Timestamp):
        return str(value.date() if value == value.normalize() else value)
    return str(value) if isinstance(value, pd.Period) else of_data(value)


def _odd(labels: pd.Index) -> Any:
    """Return the first label that is no whole number, or else the first."""
    return next((value for value in labels if not isinstance(of_data(value), int)), labels[0])


def _unknown_order(name: str) -> FormulaError:
    return FormulaError(
        f"{name} is of another period, and it is not known which rows follow each other; pass time='...' beside the formula, and panel='...' where there are "
        "several units."
    )
