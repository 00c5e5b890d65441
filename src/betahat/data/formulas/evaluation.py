"""The sides of a formula are evaluated, once its names are known to be those of columns or variables; what goes wrong is told in a sentence."""

from __future__ import annotations

import builtins
import difflib
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from inspect import ismodule
from typing import Any, NoReturn

import pandas as pd
from formulaic.errors import FormulaicError
from formulaic.model_spec import ModelSpec
from formulaic.parser.types import Factor

from betahat.data.effects import EffectTerm
from betahat.data.formulas.expressions import Pending, ReasonError, bare, names_in
from betahat.data.formulas.levels import UnseenError
from betahat.data.formulas.matrix import Materializer, OtherKindError, Table
from betahat.data.formulas.transforms import KNOWN
from betahat.data.formulas.words_of_r import remedy_of_r
from betahat.data.frame import check_index, word_of
from betahat.errors import BetahatError, DataError, FormulaError, listed, of_data, shown


def names_of(factors: Iterable[Factor]) -> set[str]:
    """Return the names that factors look up, of columns or others."""
    names: set[str] = set()
    for factor in factors:
        if factor.eval_method is Factor.EvalMethod.PYTHON:
            names |= names_in(factor.expr)
        elif factor.eval_method is Factor.EvalMethod.LOOKUP:
            names.add(bare(factor.expr))
    return names


def check_variables(
    factors: Iterable[Factor],
    frame: pd.DataFrame,
    context: Mapping[str, Any],
    text: str,
    data: Any = None,
) -> None:
    """Refuse unknown names before anything is evaluated."""
    looked_up = {bare(factor.expr) for factor in factors if factor.eval_method is Factor.EvalMethod.LOOKUP}
    known = {*map(str, frame.columns), *context}
    absent = {name for name in looked_up if name not in known and _root(name) not in known}
    absent |= names_of(factors) - looked_up - known - KNOWN.keys() - vars(builtins).keys()
    if not absent:
        return
    columns = words_of_columns(data, frame)
    close = [match for name in sorted(absent) for match in difflib.get_close_matches(name, columns, n=1)]
    hint = f"did you mean {listed(close)}?" if close else f"the columns are {listed(columns, limit=12)}."
    remedy = remedy_of_r(text, absent)
    hint = hint if remedy is None else f"{remedy}."
    raise FormulaError(
        f"The formula {shown(text)} refers to {listed(sorted(absent))}, found neither in the data nor among the caller's variables; {hint}"
    )


def check_effects(effects: Sequence[EffectTerm], columns: Sequence[str]) -> None:
    """Refuse absorbed effects that are no columns, before anything is evaluated."""
    for effect in effects:
        for name in (*effect.columns, *effect.variables):
            if name not in columns:
                close = difflib.get_close_matches(name, columns, n=1)
                hint = f"did you mean {close[0]!r}?" if close else f"the columns are {listed(columns, limit=12)}."
                needs = "" if name == effect.name else f"needs {shown(name)}, which "
                raise FormulaError(
                    f"The absorbed effect {shown(effect.name)} {needs}is not a column of the data; {hint}"
                )


def _root(name: str) -> str:
    """Return what precedes the first dot of a name, such as day in day.dt.month."""
    return name.partition(".")[0]


def beside_columns(context: Mapping[str, Any], frame: pd.DataFrame) -> dict[str, Any]:
    """Return the caller's variables that a formula may refer to; one with the name of a column must be a module or callable."""
    columns = set(map(str, frame.columns))
    visible = {
        name: value for name, value in context.items() if name not in columns or callable(value) or ismodule(value)
    }
    for name, value in visible.items():
        if isinstance(value, pd.Series | pd.DataFrame) and len(value) == len(frame):
            check_index(name, value.index, frame.index, "data")
            visible[name] = value.reset_index(drop=True)
    return visible


def words_of_columns(data: Any, frame: pd.DataFrame) -> list[str]:
    """Return the names of the columns of a user's data, of which `frame` has those of the formula."""
    if isinstance(data, Mapping):
        return [str(name) for name in data]
    columns: Any = getattr(data, "column_names", None) or getattr(data, "columns", frame.columns)
    return [word_of(name) for name in columns]


def evaluate(specs: Sequence[ModelSpec], frame: pd.DataFrame, context: Mapping[str, Any], text: str) -> list[Table]:
    """Build the matrices of the sides of a formula; what goes wrong is told in a sentence."""
    with telling(text, fitted=bool(specs[0].structure)):
        return Materializer(frame, context).tables(specs)


@contextmanager
def telling(text: str, *, fitted: bool) -> Iterator[None]:
    """Tell what goes wrong while a formula is evaluated in a sentence about the formula; `fitted` is whether it has been before."""
    try:
        yield
    except UnseenError as error:
        unknown = f"did not occur in the fit of {text!r}" if fitted else f"are not among the levels in {text!r}"
        raise DataError(
            f"The data have categories that {unknown}: {_values(error.args[0])}; leave those rows out, or fit with data that have them."
        ) from error
    except OtherKindError as error:
        raise DataError(
            f"{error.args[0]!r} is of another type in the new data than in the fit, such as strings instead of numbers; convert it."
        ) from error
    except FormulaicError as error:
        cause = error.__cause__
        if isinstance(cause, Pending):
            raise cause from None
        reason = _plain(cause if isinstance(cause, BetahatError | ReasonError) else error)
        remedy = cause.remedy if isinstance(cause, ReasonError) else ""
        raise FormulaError(
            f"The formula {shown(text)} cannot be evaluated: {reason}; {remedy or 'check its names and functions against the data'}."
        ) from error
    except BetahatError:
        raise
    except (ReasonError, TypeError, ValueError, LookupError, AttributeError) as error:
        if isinstance(error, TypeError) and "unhashable" in str(error):
            raise FormulaError(
                f"The formula {shown(text)} uses a column whose values are lists or the like, which are neither numbers nor categories; make columns of "
                "their parts first."
            ) from error
        raise FormulaError(
            f"The formula {shown(text)} cannot be evaluated: {_plain(error)}; use real numbers, such as days, or categories, C(...)."
        ) from error


def refuse_missing(counts: Mapping[str, int], rows: int, of: int) -> NoReturn:
    """Say how many rows have missing values, and how many each column has."""
    columns = ", ".join(f"{name} ({count})" for name, count in counts.items() if count)
    where = (
        f", by column: {columns}"
        if columns
        else ", produced by the formula itself, such as the logarithm of a negative number"
    )
    raise DataError(
        f"Missing values in {rows} of {of} rows{where}; pass missing='drop' to leave those rows out, or fill them in."
    )


def refuse_incomplete(text: str) -> NoReturn:
    """Say that no row is complete."""
    raise DataError(
        f"No rows are left: each has a missing value in a variable of {shown(text)}; fill some in, or leave a variable out."
    )


def _values(values: Sequence[Any]) -> str:
    """Return values for a sentence, strings in quotation marks."""
    shown = ", ".join(repr(of_data(value)) for value in values[:8])
    return shown if len(values) <= 8 else f"{shown} and {len(values) - 8} more"


def _plain(error: Exception) -> str:
    text = re.sub(r"\x1b\[[0-9;]*m|[⧛⧚]", "", str(error))
    return " ".join(text.split()).rstrip(".")
