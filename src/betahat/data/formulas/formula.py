"""A formula and a dataframe become a `Design`.

formulaic does the algebra of terms; expressions are parsed and evaluated here (grammar.py, expressions.py, reading.py, matrix.py). patsy, a
dependency of statsmodels, spells expressions and reads linear restrictions. Outside this folder, nothing depends on the two packages.
"""

from __future__ import annotations

import builtins
import difflib
import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from importlib import import_module
from inspect import ismodule
from typing import Any

import numpy as np
import pandas as pd
import torch
from formulaic.errors import FormulaicError
from formulaic.model_spec import ModelSpec
from formulaic.parser.types import Factor
from torch import Tensor

from betahat.data.absorbed import read_effects
from betahat.data.arrays import Device, read_weights
from betahat.data.container import Arrays, Frames
from betahat.data.design import Design
from betahat.data.door import Missing, RowVectors, SecondEquation, assemble, check_options
from betahat.data.effects import EffectTerm, Levels
from betahat.data.formulas.expressions import ReasonError, bare, names_in
from betahat.data.formulas.levels import UnseenError
from betahat.data.formulas.matrix import Materializer, OtherKindError, Table
from betahat.data.formulas.parts import read_parts
from betahat.data.formulas.sides import joined, terms_of_sides
from betahat.data.formulas.transforms import KNOWN
from betahat.data.formulas.vectors import check_vector, vector_of
from betahat.data.formulas.words_of_r import remedy_of_r
from betahat.data.frame import check_index, to_pandas, word_of
from betahat.data.schema import Schema
from betahat.data.scored import INSTRUMENTS
from betahat.data.source import Held
from betahat.data.trials import read_trials
from betahat.data.user_data import UserData
from betahat.errors import BetahatError, DataError, FormulaError, counted, listed, shown


@dataclass(frozen=True)
class _Module:
    name: str


@dataclass(frozen=True, eq=False)
class Formula:
    """A formula whose categories, knots and centres are fixed by the data of the fit."""

    text: str  # as the user wrote it
    spec: Any  # formulaic's ModelSpec of the right-hand side, with its state
    context: Mapping[str, Any]  # the names outside the data that the formula may use

    def __getstate__(self) -> dict[str, Any]:
        """Store modules by name, as pickle cannot hold them."""
        context = {name: _Module(value.__name__) if ismodule(value) else value for name, value in self.context.items()}
        return {"text": self.text, "spec": self.spec, "context": context}

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Import the modules again."""
        context = {
            name: import_module(value.name) if isinstance(value, _Module) else value
            for name, value in state["context"].items()
        }
        self.__dict__.update(state, context=context)

    @property
    def variables(self) -> list[str]:
        """The names on the right-hand side, columns or variables of the caller, in order of appearance."""
        right = self.text.partition("~")[2]
        return sorted(map(str, self.spec.variables_by_source.get("data", ())), key=right.find)

    @property
    def categorical_variables(self) -> set[str]:
        """The names in categorical factors."""
        kinds = {expression: kind for expression, (kind, _) in self.spec.encoder_state.items()}
        return {
            str(name)
            for factor in self.spec.factors
            if kinds.get(factor.expr) is Factor.Kind.CATEGORICAL
            for name in names_of([factor])
            if name not in KNOWN and name not in vars(builtins)
        }

    def regressors(self, data: Any) -> pd.DataFrame:
        """Build the (m, k) regressors of new data from the stored state; a row with a missing value is NaN throughout."""
        frame = to_pandas(data, self.text)
        return rebuilt(self.text, self.spec, self.context, frame)

    def vector(self, text: str, data: Any, option: str) -> Any:
        """Return (m,) the column of new data of this name, or the value of an expression of columns."""
        return new_vector(text, data, self.context, option)


def rebuilt(text: str, spec: Any, context: Mapping[str, Any], data: pd.DataFrame) -> pd.DataFrame:
    """Return the (m, k) regressors of new data; a row with a missing value is NaN throughout."""
    frame = data.reset_index(drop=True)
    _check_variables(spec.factors, frame, context, text)
    (built,) = _evaluate([spec], frame, context, text)
    if built.used is None:
        return pd.DataFrame(built.values, data.index, built.names, copy=False)
    whole = np.full((len(frame), len(built.names)), np.nan, order="F")
    whole[built.used] = built.values
    return pd.DataFrame(whole, data.index, built.names, copy=False)


def new_vector(text: str, data: Any, context: Mapping[str, Any], option: str) -> Any:
    """Return (m,) the column of new data of this name, or the value of an expression of columns."""
    frame = to_pandas(data, text)
    check_vector(text, _columns(data, frame), context, option)
    return vector_of(text, frame.reset_index(drop=True), context, option)


def read_formula(
    text: str,
    data: Any,
    beside: RowVectors | None = None,
    *,
    context: Mapping[str, Any],
    second: SecondEquation | None = None,
    hasconst: bool | None = None,
    missing: Missing = "drop",
    device: Device = None,
    dtype: torch.dtype | None = None,
    trials: bool = False,
    constant: bool = True,
    bars: Collection[str] = (),
) -> tuple[Design, Formula]:
    """Evaluate a formula on a dataframe, with columns in statsmodels' order; rows with missing values are dropped for all variables jointly.

    `context` holds the variables of the caller, and the regressors of a `second` equation stand behind the formula's own; the other options are
    those of `read_design`: with `trials` two terms on the left are successes and failures. Without `constant` that of the formula is left out, for
    models whose other parameters take its place, after categories were coded beside it. `bars` are the parts that may follow the regressors:
    "effects", "instruments".
    """
    check_options(missing, device, dtype, hasconst)
    parts = read_parts(text, None if second is None else second.option, bars)
    sides = terms_of_sides(text, parts, second, trials)
    factors = [factor for side in sides for term in side for factor in term.factors]
    given = dict((beside or RowVectors()).items())
    columns = {name: value for name, value in given.items() if isinstance(value, str)}
    both = text if second is None else f"{text}, {second.regressors}"
    frame = to_pandas(data, " ".join([both, *columns.values()]))
    _check_variables(factors, frame, context, both, data)
    _check_effects(parts.effects, _columns(data, frame))
    for option, expression in columns.items():
        check_vector(expression, _columns(data, frame), context, option)
    labels = frame.index
    context = _beside_columns(context, frame)
    frame = frame.reset_index(drop=True)
    if not len(frame):
        raise DataError("The data are empty; pass at least one row.")
    tables = _evaluate([ModelSpec(side) for side in sides], frame, context, both)
    counts = trials and len(tables[0].names) == len(sides[0]) == 2
    made = joined(tables, text, parts, second, counts=counts, constant=constant)
    left, right = made.left, made.right
    kept = len(right.values)
    _check_rows(frame, kept, factors, both, missing)
    target = torch.get_default_device() if device is None else torch.device(device)
    positions = None if right.used is None else torch.from_numpy(np.flatnonzero(right.used)).to(target)
    exog = _to_device(right.values, target, dtype)
    vectors = {}
    for name, value in given.items():
        column = columns.get(name)
        label = name if column is None else f"{name} column {column!r}"
        values = value if column is None else vector_of(column, frame, context, name)
        read = _read_beside(values, label, labels, target)
        if read is not None:
            vectors[name] = read if positions is None else read[positions]
    levels: tuple[Levels, ...] = ()
    if parts.effects:
        held = Held({"exog": torch.empty(len(frame), 0)}, UserData.of(frame, len(frame)))
        absorbed = read_effects(Design(Schema(Arrays()), held), parts.effects)
        found = {name: vector.to(target) for name, vector in absorbed.vectors.items()}
        vectors |= found if positions is None else {name: vector[positions] for name, vector in found.items()}
        levels = absorbed.levels
    if made.instruments is not None:
        vectors[INSTRUMENTS] = _to_device(made.instruments.values, target, dtype)
    if counts:
        read_counts = read_trials(_to_device(left.values, target, dtype), tuple(left.names), "var_weights" in vectors)
        endog, endog_name, vectors["weights"] = read_counts.shares, read_counts.name, read_counts.trials
    else:
        endog, endog_name = _to_device(left.values[:, 0], target, dtype), left.names[0]
    design = assemble(
        endog,
        exog,
        vectors,
        container=Frames(labels if right.used is None else labels[right.used]),
        endog_name=endog_name,
        names=tuple(right.names),
        hasconst=hasconst,
        drop=missing == "drop",
        user_data=replace(UserData.of(data, len(frame)), in_use=positions),
        terms=made.terms,
        effects=levels,
        instruments=() if made.instruments is None else tuple(made.instruments.names),
        endogenous=made.endogenous,
    )
    return design, Formula(text, right.spec, context)


def names_of(factors: Iterable[Factor]) -> set[str]:
    """Return the names that factors look up, of columns or others."""
    names: set[str] = set()
    for factor in factors:
        if factor.eval_method is Factor.EvalMethod.PYTHON:
            names |= names_in(factor.expr)
        elif factor.eval_method is Factor.EvalMethod.LOOKUP:
            names.add(bare(factor.expr))
    return names


def _check_variables(
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
    columns = _columns(data, frame)
    close = [match for name in sorted(absent) for match in difflib.get_close_matches(name, columns, n=1)]
    hint = f"did you mean {listed(close)}?" if close else f"the columns are {listed(columns, limit=12)}."
    remedy = remedy_of_r(text, absent)
    hint = hint if remedy is None else f"{remedy}."
    raise FormulaError(
        f"The formula {shown(text)} refers to {listed(sorted(absent))}, found neither in the data nor among the caller's variables; {hint}"
    )


def _check_effects(effects: Sequence[EffectTerm], columns: Sequence[str]) -> None:
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


def _beside_columns(context: Mapping[str, Any], frame: pd.DataFrame) -> dict[str, Any]:
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


def _columns(data: Any, frame: pd.DataFrame) -> list[str]:
    if isinstance(data, Mapping):
        return [str(name) for name in data]
    columns: Any = getattr(data, "column_names", None) or getattr(data, "columns", frame.columns)
    return [word_of(name) for name in columns]


def _evaluate(specs: Sequence[ModelSpec], frame: pd.DataFrame, context: Mapping[str, Any], text: str) -> list[Table]:
    try:
        return Materializer(frame, context).tables(specs)
    except UnseenError as error:
        unknown = (
            f"did not occur in the fit of {text!r}" if specs[0].structure else f"are not among the levels in {text!r}"
        )
        raise DataError(
            f"The data have categories that {unknown}: {_values(error.args[0])}; leave those rows out, or fit with data that have them."
        ) from error
    except OtherKindError as error:
        raise DataError(
            f"{error.args[0]!r} is of another type in the new data than in the fit, such as strings instead of numbers; convert it."
        ) from error
    except FormulaicError as error:
        cause = error.__cause__
        reason = _plain(cause if isinstance(cause, BetahatError | ReasonError) else error)
        raise FormulaError(
            f"The formula {shown(text)} cannot be evaluated: {reason}; check its names and functions against the data."
        ) from error
    except BetahatError:
        raise
    except (ReasonError, TypeError, ValueError, LookupError, AttributeError) as error:
        raise FormulaError(
            f"The formula {shown(text)} cannot be evaluated: {_plain(error)}; use real numbers, such as days, or categories, C(...)."
        ) from error


def _values(values: Sequence[Any]) -> str:
    """Return values for a sentence, strings in quotation marks."""
    shown = ", ".join(repr(value.item() if isinstance(value, np.generic) else value) for value in values[:8])
    return shown if len(values) <= 8 else f"{shown} and {len(values) - 8} more"


def _check_rows(frame: pd.DataFrame, kept: int, factors: Iterable[Factor], text: str, missing: Missing) -> None:
    if kept < len(frame) and missing != "drop":
        _refuse_missing(frame, len(frame) - kept, names_of(factors))
    if not kept:
        raise DataError(
            f"No rows are left: each has a missing value in a variable of {shown(text)}; fill some in, or leave a variable out."
        )


def _refuse_missing(frame: pd.DataFrame, rows: int, variables: Any) -> None:
    counts = {str(name): int(frame[str(name)].isna().sum()) for name in sorted(variables) if str(name) in frame}
    columns = ", ".join(f"{name} ({count})" for name, count in counts.items() if count)
    where = (
        f", by column: {columns}"
        if columns
        else ", produced by the formula itself, such as the logarithm of a negative number"
    )
    raise DataError(
        f"Missing values in {rows} of {len(frame)} rows{where}; pass missing='drop' to leave those rows out, or fill them in."
    )


def _read_beside(values: Any, label: str, labels: pd.Index, device: torch.device) -> Tensor | None:
    nobs = len(labels)
    read = read_weights(values, torch.empty(nobs, 0, dtype=torch.float64, device=device), device, None, label)
    if read is None:
        return None
    check_index(label, read.index, labels)
    if len(read.values) != nobs:
        raise DataError(
            f"{label} has {counted(len(read.values), 'row')}, but the data have {nobs}; pass one value for each row."
        )
    return read.values.to(device)


def _to_device(values: np.ndarray, device: torch.device, dtype: torch.dtype | None) -> Tensor:
    return torch.from_numpy(values).to(device, dtype or torch.float64)


def _plain(error: Exception) -> str:
    text = re.sub(r"\x1b\[[0-9;]*m|[⧛⧚]", "", str(error))
    return " ".join(text.split()).rstrip(".")
