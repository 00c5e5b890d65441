"""`i(f)`, `i(f, x)` and `i(f, g)`, as fixest has them: a column for each level, times x, or for each pair of levels that there is, but for references."""

from __future__ import annotations

import ast
from collections.abc import Hashable, Mapping, MutableMapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from formulaic.materializers.types import FactorValues
from pandas.api.types import is_numeric_dtype

from betahat.data.formulas.expressions import ReasonError, given, parsed, unquoted
from betahat.data.formulas.levels import UnseenError, coded
from betahat.errors import DataError, FormulaError, of_data, shown

# The parts of a value: the levels of the first variable, those of a second, or the numbers that multiply.
FIRST, SECOND, TIMES = "first", "second", "times"


@dataclass(frozen=True)
class _Choice:
    """Which levels of a variable have columns: `ref` are left out, `keep` are the only ones, and `bin` puts levels together."""

    ref: Any = None
    keep: Any = None
    bin: Any = None

    @property
    def is_made(self) -> bool:
        """Whether anything was chosen."""
        return not (self.ref is None and self.keep is None and self.bin is None)


@dataclass(frozen=True)
class _Call:
    """A call: what its variables are called, which of their levels have columns, and whether the second multiplies."""

    name: str
    other: str | None
    choices: tuple[_Choice, _Choice]
    multiplies: bool

    def column(self, levels: Sequence[Hashable]) -> str:
        """Return fixest's name of the column of a level, or of a pair of them."""
        first, *second = levels
        behind = "" if self.other is None else f":{self.other}"
        return f"{self.name}::{_word(first)}{behind}" + "".join(f"::{_word(level)}" for level in second)


@dataclass(frozen=True, eq=False)
class _Side:
    """A variable: its levels in order, binned, (m,) the place of each row's, and (levels,) which of them may have columns."""

    levels: list[Hashable]
    places: np.ndarray
    chosen: np.ndarray


@given("_spelled")
def interacted(
    factor: Any,
    var: Any = None,
    /,
    ref: Any = None,
    keep: Any = None,
    bin: Any = None,  # noqa: A002  # fixest's name
    ref2: Any = None,
    keep2: Any = None,
    bin2: Any = None,
    *,
    _spelled: Sequence[str],
) -> FactorValues:
    """Return the levels of a variable, times another, or in pairs with those of another; arguments are fixest's, in its order.

    A second variable of text, a category or ``C(year)`` has levels, as any has with a `ref2`, `keep2` or `bin2`; other numbers and booleans multiply. ``True``
    as a reference is the first column, and a value in the place of the second variable is a reference. `_spelled` is how the arguments are written.
    """
    name, choices = _spelled[0], (_Choice(ref, keep, bin), _Choice(ref2, keep2, bin2))
    first = _column(factor, name)
    if var is not None and (isinstance(var, list | tuple) or np.ndim(_plain(var)) == 0):
        var, choices = None, (_Choice(var if ref is None else ref, keep, bin), choices[1])
    if var is None and choices[1].is_made:
        raise ReasonError(f"i({name}, ...) has ref2, keep2 or bin2, and no second variable", "they are of its levels")
    if var is None:
        return _values(first, _Call(name, None, choices, multiplies=False))
    second = _column(var, _spelled[1])
    multiplies = is_numeric_dtype(second.dtype) and not (isinstance(var, FactorValues) or choices[1].is_made)
    parts = {FIRST: first, TIMES if multiplies else SECOND: second}
    return _values(parts, _Call(name, _spelled[1], choices, multiplies))


@given("_spelled")
def sun_and_abraham(cohort: Any, period: Any, /, ref: Any = -1, *, _spelled: Sequence[str]) -> FactorValues:
    """Return `i(period - cohort, cohort, ref=ref)`, as fixest's `sunab` has it before it takes averages; the never treated have no column.

    They are those whose cohort is missing, infinite or zero.
    """
    names = (_spelled[1], _spelled[0])
    since, first = (_numbers(values, name) for values, name in zip((period, cohort), names, strict=True))
    never = ~np.isfinite(first) | (first == 0.0)
    refs = list(ref) if isinstance(ref, list | tuple) else [ref]
    if not refs or not all(isinstance(one, int | float) and not isinstance(one, bool) for one in refs):
        raise ReasonError(
            f"ref in sunab(...) is {shown(ref)}", "pass a time since the treatment such as -1, or a list of them"
        )
    index = period.index if isinstance(period, pd.Series) else None
    events = pd.Series(np.where(never, float(refs[0]), since - np.where(never, 0.0, first)), index)
    cohorts = pd.Series(np.where(never, 0.0, first), index)
    pair = FactorValues(cohorts, kind="categorical", spans_intercept=True)
    return interacted(events, pair, ref=refs, _spelled=names)


def multipliers(expression: str, state: Mapping[str, Any]) -> set[str]:
    """Return the names in a call of `i` that only multiply its indicators; `state` is what it has learnt."""
    plain, aliases = unquoted(expression)
    match parsed(plain).body:
        case ast.Call(func=ast.Name(id="i"), args=[first, second, *_]) if state.get(TIMES):
            inside, others = (
                {aliases.get(node.id, node.id) for node in ast.walk(part) if isinstance(node, ast.Name)}
                for part in (second, first)
            )
            return inside - others
    return set()


def labels_alone(values: Mapping[str, Any], used: np.ndarray) -> pd.DataFrame:
    """Return the levels that the rows in use have together, each combination once, in order of appearance."""
    frame = pd.DataFrame({part: pd.Series(values[part]) for part in (FIRST, SECOND) if part in values})
    return frame[used].drop_duplicates().reset_index(drop=True)


def _values(values: Any, call: _Call) -> FactorValues:
    """Return values that know how they are encoded."""

    def encoder(
        values: Any, reduced_rank: bool, drop_rows: Sequence[int], encoder_state: dict[str, Any], model_spec: Any
    ) -> FactorValues:
        plain = _plain(values)
        parts = {FIRST: plain} if isinstance(plain, pd.Series) else dict(plain.items())
        used = {part: _used(column, drop_rows) for part, column in parts.items()}
        return _encoded(call, used, reduced_rank, encoder_state)

    chosen = any(choice.ref is not None or choice.keep is not None for choice in call.choices)
    return FactorValues(values, kind="categorical", spans_intercept=not (call.multiplies or chosen), encoder=encoder)


def _encoded(call: _Call, parts: dict[str, pd.Series], reduced: bool, state: MutableMapping[str, Any]) -> FactorValues:
    """Return the columns of the rows in use; `state` keeps the levels, which of them occur together, and which have columns."""
    learns = "categories" not in state
    if not learns and state[TIMES] != call.multiplies:
        if not call.multiplies:
            raise DataError(
                f"{shown(call.other)} was numbers in the fit, which multiplied the levels of {call.name}, and is none in the new data; convert it."
            )
        parts = {FIRST: parts[FIRST], SECOND: parts[TIMES]}
    names = {FIRST: call.name, SECOND: str(call.other)}
    sides = [
        _side(parts[part], choice, names[part], state.setdefault(part, {}))
        for part, choice in zip((FIRST, SECOND), call.choices, strict=True)
        if part in parts
    ]
    pairs = _Pairs(sides)
    if learns:
        there = np.unique(pairs.places)
        first = int(call.choices[0].ref is True and not _is_truth(sides[0].levels))
        state["there"], state[TIMES] = there.tolist(), call.multiplies
        state["categories"] = [place for place in there[first:].tolist() if pairs.chosen(place)]
    elif bool((new := pairs.chosen(pairs.places) & ~np.isin(pairs.places, state["there"])).any()):
        raise UnseenError([pairs.levels(place) for place in np.unique(pairs.places[new])])
    if not state["categories"]:
        raise FormulaError(
            f"No level of i({call.name}, ...) has a column: all are references, or none is kept; leave out fewer, or keep more."
        )
    times = parts[TIMES].to_numpy(dtype=float) if TIMES in parts else None
    made = {
        (call.column(pairs.levels(place)),): pairs.places == place
        if times is None
        else np.where(pairs.places == place, times, 0.0)
        for place in state["categories"][int(reduced) :]
    }
    return FactorValues(
        made,
        kind="categorical",
        column_names=tuple(name for (name,) in made),
        spans_intercept=False,
        format="{field[0]}",  # fields that are strings would be hidden where they begin with two underscores
        encoded=True,
    )


@dataclass(frozen=True, eq=False)
class _Pairs:
    """The levels of one or two variables together, numbered through."""

    sides: list[_Side]

    @property
    def places(self) -> np.ndarray:
        """(m,) the number of each row's."""
        first, *second = self.sides
        return first.places * len(second[0].levels) + second[0].places if second else first.places

    def parts(self, place: Any) -> list[Any]:
        """Return the places of the variables' own levels."""
        return list(np.divmod(place, len(self.sides[1].levels))) if len(self.sides) > 1 else [place]

    def levels(self, place: int) -> tuple[Hashable, ...]:
        """Return the levels of a number."""
        return tuple(side.levels[int(own)] for side, own in zip(self.sides, self.parts(place), strict=True))

    def chosen(self, place: Any) -> Any:
        """Tell whether numbers may have columns."""
        return np.logical_and.reduce(
            [side.chosen[own] for side, own in zip(self.sides, self.parts(place), strict=True)]
        )


def _side(values: pd.Series, choice: _Choice, name: str, state: MutableMapping[str, Any]) -> _Side:
    """Return a variable's levels, which `state` keeps, and which of them may have columns."""
    category = coded(values, None, [], state)
    levels = list(category.cat.categories)
    bins = _bins(choice.bin, levels, name)
    binned = [bins.get(level, level) for level in levels]
    places = {level: place for place, level in enumerate(dict.fromkeys(binned))}
    names = list(places)
    chosen = np.ones(len(names), dtype=bool) if choice.keep is None else np.zeros(len(names), dtype=bool)
    for level in _asked(choice.keep, names, name, "keep"):
        chosen[places[level]] = True
    for level in [] if choice.ref is True and not _is_truth(names) else _asked(choice.ref, names, name, "ref"):
        chosen[places[level]] = False
    table = np.array([places[level] for level in binned], dtype=np.int64)
    return _Side(names, table[category.cat.codes.to_numpy()], chosen)


def _bins(given: Any, levels: Sequence[Hashable], name: str) -> dict[Hashable, Hashable]:
    """Return the new level of each that is put together with others: {new: [old, ...]}."""
    if given is None:
        return {}
    if not isinstance(given, Mapping):
        raise FormulaError(
            f"bin in i({name}, ...) is {shown(given)}; write new levels and their old ones, such as {{-5: [-7, -6, -5]}}."
        )
    return {old: new for new, olds in given.items() for old in _asked(olds, levels, name, "bin")}


def _asked(given: Any, levels: Sequence[Hashable], name: str, option: str) -> list[Hashable]:
    """Return levels that are given, one or several."""
    if given is None:
        return []
    asked = list(given) if isinstance(given, list | tuple | set | range | np.ndarray) else [given]
    absent = [level for level in asked if level not in levels]
    if absent:
        there = ", ".join(repr(of_data(level)) for level in levels[:12]) + (", ..." if len(levels) > 12 else "")
        raise FormulaError(
            f"{option} in i({name}, ...) is {shown(given)}, and {shown(absent[0])} is not among the levels; choose from {there}."
        )
    return asked


def _used(values: pd.Series, drop_rows: Sequence[int]) -> pd.Series:
    """Return the rows in use, of a category with the levels in them alone."""
    used = values[~np.isin(np.arange(len(values)), drop_rows)] if len(drop_rows) else values
    return used.cat.remove_unused_categories() if isinstance(used.dtype, pd.CategoricalDtype) else used


def _column(values: Any, name: str) -> pd.Series:
    """Return the values of a variable, one for each row."""
    plain = _plain(values)
    if np.ndim(plain) != 1:
        raise ReasonError(f"{shown(name)} in i(...) is no column", "pass one, or an expression of columns")
    return plain if isinstance(plain, pd.Series) else pd.Series(plain)


def _numbers(values: Any, name: str) -> np.ndarray:
    """Return (n,) a column of numbers, NaN where it is missing."""
    column = _column(values, name)
    if not is_numeric_dtype(column.dtype):
        raise ReasonError(f"{shown(name)} in sunab(...) is no column of numbers", "pass whole numbers, such as years")
    found: np.ndarray = column.to_numpy(dtype=float, na_value=np.nan)
    return found


def _plain(values: Any) -> Any:
    return values.__wrapped__ if isinstance(values, FactorValues) else values


def _is_truth(levels: Sequence[Hashable]) -> bool:
    return all(isinstance(level, bool | np.bool_) for level in levels)


def _word(level: Any) -> str:
    """Return a level as fixest writes it: whole numbers without a decimal point, days without a time."""
    if isinstance(level, pd.Timestamp) and level == level.normalize():
        return str(level.date())
    return str(of_data(level))
