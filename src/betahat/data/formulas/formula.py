"""A formula and a dataframe become a `Design`.

formulaic has the algebra of terms, and each expression is ours (grammar.py, expressions.py, reading.py, matrix.py); patsy, which
statsmodels brings along, reads linear restrictions. No other room knows the two packages.
"""

from __future__ import annotations

import builtins
import difflib
import re
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import lru_cache
from importlib import import_module
from inspect import ismodule
from typing import Any

import formulaic
import numpy as np
import pandas as pd
import patsy
import torch
from formulaic.errors import FormulaicError
from formulaic.model_spec import ModelSpec
from formulaic.parser.types import Factor
from torch import Tensor

from betahat.data.container import Frames, to_tensor
from betahat.data.design import Design
from betahat.data.formulas.expressions import ReasonError, bare, names_in
from betahat.data.formulas.grammar import Parser
from betahat.data.formulas.levels import UnseenError
from betahat.data.formulas.matrix import Materializer, OtherKindError, Table, term_names
from betahat.data.formulas.transforms import KNOWN
from betahat.data.formulas.vectors import check_vector, vector_of
from betahat.data.frame import (
    Beside,
    Device,
    Missing,
    assemble,
    check_index,
    check_options,
    read_weights,
    to_pandas,
    word_of,
)
from betahat.data.source import Origin
from betahat.errors import BetahatError, DataError, FormulaError, counted, described, listed, shown

_NUMBER = re.compile(r"-?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?")


@dataclass(frozen=True)
class _Module:
    name: str


@dataclass(frozen=True, eq=False)
class Formula:
    """A formula whose categories, knots and centres are fixed by the data of the fit.

    Attributes
    ----------
    text : str
        What the user wrote.
    spec : formulaic.ModelSpec
        The right-hand side with its state.
    context : mapping
        The names, outside the data, that the formula may use.
    """

    text: str
    spec: Any
    context: Mapping[str, Any]

    def __getstate__(self) -> dict[str, Any]:
        """Keep modules by name, which pickle cannot hold."""
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
        """The names on the right-hand side, columns or the caller's, in the order in which they occur."""
        right = self.text.partition("~")[2]
        return sorted(map(str, self.spec.variables_by_source.get("data", ())), key=right.find)

    @property
    def categorical_variables(self) -> set[str]:
        """The names in factors that are categories."""
        kinds = {expression: kind for expression, (kind, _) in self.spec.encoder_state.items()}
        return {
            str(name)
            for factor in self.spec.factors
            if kinds.get(factor.expr) is Factor.Kind.CATEGORICAL
            for name in names_of([factor])
            if name not in KNOWN and name not in vars(builtins)
        }

    def regressors(self, data: Any) -> pd.DataFrame:
        """Build the regressors of new data from the stored state.

        Parameters
        ----------
        data : dataframe or mapping
            Whatever holds the variables of the right-hand side.

        Returns
        -------
        pandas.DataFrame
            (m, k); a row with a missing value is NaN throughout.

        Raises
        ------
        FormulaError, DataError
            A variable is missing, or a category was not there when the model was fitted.
        """
        frame = to_pandas(data, self.text)
        return rebuilt(self.text, self.spec, self.context, frame)

    def vector(self, text: str, data: Any, option: str) -> Any:
        """Return (m,) a column of new data by its name, or the value of an expression of columns."""
        return new_vector(text, data, self.context, option)


def rebuilt(text: str, spec: Any, context: Mapping[str, Any], data: pd.DataFrame) -> pd.DataFrame:
    """Return (m, k) the regressors of new data; a row with a missing value is NaN throughout."""
    frame = data.reset_index(drop=True)
    _check_variables(spec.factors, frame, context, text)
    (built,) = _evaluate([spec], frame, context, text)
    if built.used is None:
        return pd.DataFrame(built.values, data.index, built.names, copy=False)
    whole = np.full((len(frame), len(built.names)), np.nan, order="F")
    whole[built.used] = built.values
    return pd.DataFrame(whole, data.index, built.names, copy=False)


def new_vector(text: str, data: Any, context: Mapping[str, Any], option: str) -> Any:
    """Return (m,) a column of new data by its name, or the value of an expression of columns."""
    frame = to_pandas(data, text)
    check_vector(text, _columns(data, frame), context, option)
    return vector_of(text, frame.reset_index(drop=True), context, option)


def read_formula(
    text: str,
    data: Any,
    beside: Beside | None = None,
    *,
    context: Mapping[str, Any],
    hasconst: bool | None = None,
    missing: Missing = "drop",
    device: Device = None,
    dtype: torch.dtype | None = None,
) -> tuple[Design, Formula]:
    """Evaluate a formula on a dataframe.

    Parameters
    ----------
    text : str
        Such as ``np.log(wage) ~ educ + C(region)``, in formulaic's grammar.
    data : dataframe or mapping
        pandas, polars, pyarrow or a dict of columns.
    beside : Beside, optional
        Weights, offset and exposure: a column's name, an expression of columns, or as many numbers as `data` has rows.
    context : mapping
        The names, outside the data, that the formula may use: the caller's variables.
    hasconst, missing, device, dtype
        As in `read_design`; rows are dropped jointly, for every variable that the formula or the
        weights use.

    Returns
    -------
    design : Design
        Its columns stand in the order in which statsmodels puts them.
    formula : Formula
        What `predict` needs to build new data.

    Raises
    ------
    FormulaError, DataError, OptionError
    """
    check_options(missing, device, dtype, hasconst)
    parsed = _parse(text)
    factors = [factor for side in (parsed.lhs, parsed.rhs) for term in side for factor in term.factors]
    given = dict((beside or Beside()).items())
    columns = {name: value for name, value in given.items() if isinstance(value, str)}
    frame = to_pandas(data, " ".join([text, *columns.values()]))
    _check_variables(factors, frame, context, text, data)
    for option, expression in columns.items():
        check_vector(expression, _columns(data, frame), context, option)
    labels = frame.index
    context = _beside_columns(context, frame)
    frame = frame.reset_index(drop=True)
    if not len(frame):
        raise DataError("The data are empty: there is no row; pass at least one.")
    left, right = _evaluate([ModelSpec(parsed.lhs), ModelSpec(parsed.rhs)], frame, context, text)
    _check_sides(left, right, text)
    kept = len(right.values)
    _check_rows(frame, kept, factors, text, missing)
    target = torch.get_default_device() if device is None else torch.device(device)
    positions = None if right.used is None else torch.from_numpy(np.flatnonzero(right.used)).to(target)
    exog, endog = _to_device(right.values, target, dtype), _to_device(left.values[:, 0], target, dtype)
    vectors = {}
    for name, value in given.items():
        column = columns.get(name)
        label = name if column is None else f"{name} column {column!r}"
        values = value if column is None else vector_of(column, frame, context, name)
        read = _read_beside(values, label, labels, target)
        if read is not None:
            vectors[name] = read if positions is None else read[positions]
    design = assemble(
        endog,
        exog,
        vectors,
        container=Frames(labels if right.used is None else labels[right.used]),
        endog_name=left.names[0],
        names=tuple(right.names),
        hasconst=hasconst,
        drop=missing == "drop",
        origin=replace(Origin.of(data, len(frame)), kept=positions),
        terms=_terms(right.spec),
    )
    return design, Formula(text, right.spec, context)


def read_restrictions(
    restrictions: Any, names: Sequence[str], like: Tensor, others: Sequence[str] = ()
) -> tuple[Tensor, Tensor]:
    """Read linear restrictions R b = q.

    Parameters
    ----------
    restrictions : str, list of str, dict, array_like or tuple
        ``"educ = 2*exper, tenure = 0"``; a matrix R (J, k), or one row of it, with q = 0; a tuple (R, q).
    names : sequence of str
        (k,) the parameters' names.
    like : Tensor
        Gives the device.
    others : sequence of str
        (k,) other names of the same parameters, or none; a text is read by those that it can be read by.

    Returns
    -------
    matrix : Tensor
        (J, k) R.
    values : Tensor
        (J,) q.

    Raises
    ------
    FormulaError
        The text cannot be read, or the matrix has another number of columns than there are parameters.
    """
    if isinstance(restrictions, tuple) and len(restrictions) == 2 and not isinstance(restrictions[0], str):
        matrix = _as_rows(to_tensor(restrictions[0], like))
        values = to_tensor(restrictions[1], like).reshape(-1)
    elif isinstance(restrictions, str | Mapping) or _all_strings(restrictions):
        wanted = restrictions if isinstance(restrictions, str | Mapping) else list(restrictions)
        try:
            known, wanted = _told_from_numbers(restrictions, names)
            read = patsy.DesignInfo(known).linear_constraint(wanted)
        except (patsy.PatsyError, ValueError, TypeError, KeyError, IndexError) as error:
            with suppress(FormulaError):
                if others:
                    return read_restrictions(restrictions, others, like)
            raise FormulaError(
                f"The restriction {shown(restrictions)} cannot be read ({_reason(error)}); the parameters are {listed(names, limit=30)}."
            ) from error
        matrix, values = to_tensor(read.coefs, like), to_tensor(read.constants[:, 0], like)
    else:
        matrix = _as_rows(_restriction_matrix(restrictions, like))
        values = torch.zeros(matrix.shape[0], dtype=torch.float64, device=like.device)
    if matrix.ndim != 2 or matrix.shape[1] != len(names):
        raise FormulaError(
            f"The restrictions have {matrix.shape[-1]} columns for {len(names)} parameters; pass one column for each parameter."
        )
    if values.shape != matrix.shape[:1]:
        raise FormulaError(
            f"There are {matrix.shape[0]} restrictions and {values.numel()} right-hand sides; pass one for each."
        )
    if not bool(torch.isfinite(matrix).all() and torch.isfinite(values).all()):
        raise FormulaError("The restrictions have missing or infinite values; pass a number for each parameter.")
    return matrix, values


def _told_from_numbers(restrictions: Any, names: Sequence[str]) -> tuple[list[str], Any]:
    """Put names that are numbers into backticks, and their places in restrictions; what stands alone after = is a number."""
    numbers = [name for name in names if _NUMBER.fullmatch(name) and f"`{name}`" not in names]
    if not numbers:
        return list(names), restrictions if isinstance(restrictions, str | Mapping) else list(restrictions)
    words = sorted(set(names) - set(numbers), key=len, reverse=True)
    pattern = re.compile("|".join([*map(re.escape, words), rf"(?<![\w.`]){_NUMBER.pattern}(?![\w.`])"]))

    def write(text: str) -> str:
        def name_of(found: re.Match[str]) -> str:
            before, after = text[: found.start()].rstrip(), text[found.end() :].lstrip()
            alone = before.endswith("=") and after[:1] in ("", ",")
            return found[0] if alone or found[0] not in numbers else f"`{found[0]}`"

        return pattern.sub(name_of, text)

    known = [f"`{name}`" if name in numbers else name for name in names]
    if isinstance(restrictions, Mapping):
        return known, {write(str(name)): value for name, value in restrictions.items()}
    return known, write(restrictions) if isinstance(restrictions, str) else [write(part) for part in restrictions]


def _restriction_matrix(given: Any, like: Tensor) -> Tensor:
    try:
        matrix = to_tensor(given, like)
    except (TypeError, ValueError):
        matrix = None
    if matrix is None or matrix.ndim == 0:
        raise FormulaError(
            f"The restrictions are {shown(given)}; pass a string such as 'x1 = x2', a matrix, or a tuple (R, q)."
        )
    return matrix


def _reason(error: Exception) -> str:
    """Say why patsy cannot read a restriction; its word for an unknown name is a token."""
    origin = getattr(error, "origin", None)
    if isinstance(error, IndexError):
        return "it is empty"
    reason = str(error).partition("\n")[0].replace("a noun", "a name or a number")
    if origin is None or not reason.startswith("unrecognized token"):
        return reason
    # Of 'education' patsy has read 'educ', where this is a parameter.
    begun = re.search(r"[\w.]*$", origin.code[: origin.start])
    word = re.match(r"[\w.]+|.", origin.code[begun.start() if begun else origin.start :])
    return f"{word[0]!r} is neither a parameter nor a number" if word else reason


def _as_rows(matrix: Tensor) -> Tensor:
    return matrix[None] if matrix.ndim == 1 else matrix


def _parse(text: str) -> Any:
    if not isinstance(text, str):
        raise FormulaError(
            f"A formula is a string such as 'y ~ x', and {described(text)} came; for arrays use bh.OLS(endog, exog)."
        )
    return _parsed(text)


@lru_cache(maxsize=128)
def _parsed(text: str) -> Any:
    """Return the terms of both sides, which nobody changes: simulations read one formula a thousand times."""
    try:
        parser = Parser()
        tokens = parser.get_tokens(text)
        power = any(token.kind.value == "operator" and token.token in ("**", "^") for token in tokens)
        parsed = formulaic.Formula(text, _parser=parser, _ordering="degree" if power else "none")
    except (FormulaicError, ReasonError, RecursionError) as error:
        reason = str(error).splitlines()[0].partition(". ")[0].rstrip(".")
        raise FormulaError(
            f"The formula {shown(text)} cannot be read: {reason}; write it in the manner of 'y ~ x1 + C(group)'."
        ) from error
    if getattr(parsed, "lhs", None) is None:
        raise FormulaError(f"The formula {shown(text)} has no left-hand side; write 'y ~ ...'.")
    if isinstance(parsed.rhs, tuple):
        raise FormulaError(
            f"The formula {shown(text)} has several parts, split by |; write one, with fixed effects as C(group)."
        )
    _check_left(tokens, text)
    return parsed


def _check_left(tokens: Sequence[Any], text: str) -> None:
    """Refuse operators on the left-hand side, where patsy takes them for those of terms, and R for arithmetic."""
    end = next(i for i, token in enumerate(tokens) if token.token == "~")
    if any(token.kind.value == "operator" for token in tokens[:end]):
        left = text[: tokens[end].source_start].strip()
        raise FormulaError(
            f"The left-hand side {shown(left)} of {shown(text)} would be read as terms, as the right-hand side is, and not computed; "
            f"write I({left}) for the number that it is in R."
        )


def names_of(factors: Iterable[Factor]) -> set[str]:
    """Return the names that factors look up, of columns or of others."""
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
    """Refuse names that nobody has, before anything is evaluated."""
    looked_up = {bare(factor.expr) for factor in factors if factor.eval_method is Factor.EvalMethod.LOOKUP}
    known = {*map(str, frame.columns), *context}
    absent = {name for name in looked_up if name not in known and _root(name) not in known}
    absent |= names_of(factors) - looked_up - known - KNOWN.keys() - vars(builtins).keys()
    if not absent:
        return
    columns = _columns(data, frame)
    close = [match for name in sorted(absent) for match in difflib.get_close_matches(name, columns, n=1)]
    hint = f"did you mean {listed(close)}?" if close else f"the columns are {listed(columns, limit=12)}."
    raise FormulaError(
        f"The formula {shown(text)} names {listed(sorted(absent))}, which neither the data nor the caller have; {hint}"
    )


def _root(name: str) -> str:
    """Return what stands before the first dot of a name, such as day of day.dt.month."""
    return name.partition(".")[0]


def _beside_columns(context: Mapping[str, Any], frame: pd.DataFrame) -> dict[str, Any]:
    """Return the caller's variables that a formula may mean: where a column has the name, what is called or a module."""
    taken = set(map(str, frame.columns))
    meant = {name: value for name, value in context.items() if name not in taken or callable(value) or ismodule(value)}
    for name, value in meant.items():
        if isinstance(value, pd.Series | pd.DataFrame) and len(value) == len(frame):
            check_index(name, value.index, frame.index, "data")
            meant[name] = value.reset_index(drop=True)
    return meant


def _columns(data: Any, frame: pd.DataFrame) -> list[str]:
    if isinstance(data, Mapping):
        return [str(name) for name in data]
    columns: Any = getattr(data, "column_names", None) or getattr(data, "columns", frame.columns)
    return [word_of(name) for name in columns]


def _evaluate(specs: Sequence[ModelSpec], frame: pd.DataFrame, context: Mapping[str, Any], text: str) -> list[Table]:
    try:
        return Materializer(frame, context).tables(specs)
    except UnseenError as error:
        known = f"the fit of {text!r} did not see" if specs[0].structure else f"the levels in {text!r} lack"
        raise DataError(
            f"The data have categories that {known}: {_values(error.args[0])}; leave those rows out, or fit with data that have them."
        ) from error
    except OtherKindError as error:
        raise DataError(
            f"{error.args[0]!r} is of another kind in the new data than in the fit, text instead of numbers say; convert it."
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
            f"The formula {shown(text)} cannot be evaluated: {_plain(error)}; write real numbers, such as days, or categories, C(...)."
        ) from error


def _values(values: Sequence[Any]) -> str:
    """Show values for a sentence, words in quotation marks."""
    shown = ", ".join(repr(value.item() if isinstance(value, np.generic) else value) for value in values[:8])
    return shown if len(values) <= 8 else f"{shown} and {len(values) - 8} more"


def _check_sides(left: Table, right: Table, text: str) -> None:
    if len(left.names) != 1:
        raise FormulaError(
            f"The left-hand side of {shown(text)} makes {len(left.names)} columns ({listed(left.names)}); it must be one "
            "number for each row: write a category or a boolean as a number, such as I(married * 1)."
        )
    if not right.names:
        raise FormulaError(f"The formula {shown(text)} has no regressors; leave the 0 out for a constant, or name one.")


def _check_rows(frame: pd.DataFrame, kept: int, factors: Iterable[Factor], text: str, missing: Missing) -> None:
    if kept < len(frame) and missing != "drop":
        _refuse_missing(frame, len(frame) - kept, names_of(factors))
    if not kept:
        raise DataError(
            f"No row is left: every row has a missing value in a variable of {shown(text)}; fill some in or leave a variable out."
        )


def _refuse_missing(frame: pd.DataFrame, rows: int, variables: Any) -> None:
    counts = {str(name): int(frame[str(name)].isna().sum()) for name in sorted(variables) if str(name) in frame}
    told = ", ".join(f"{name} ({count})" for name, count in counts.items() if count)
    where = (
        f", in columns (and how many): {told}"
        if told
        else ", made by the formula itself, such as the logarithm of a negative number"
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
            f"{label} has {counted(len(read.values), 'row')} and the data have {nobs}; pass as many of one as of the other."
        )
    return read.values.to(device)


def _terms(spec: Any) -> dict[str, list[int]]:
    places = iter(range(len(spec.column_names)))
    names = term_names([part.term for part in spec.structure])
    return {name: [next(places) for _ in part.columns] for name, part in zip(names, spec.structure, strict=True)}


def _to_device(values: np.ndarray, device: torch.device, dtype: torch.dtype | None) -> Tensor:
    return torch.from_numpy(values).to(device, dtype or torch.float64)


def _all_strings(values: Any) -> bool:
    return isinstance(values, list | tuple) and bool(values) and all(isinstance(value, str) for value in values)


def _plain(error: Exception) -> str:
    text = re.sub(r"\x1b\[[0-9;]*m|[⧛⧚]", "", str(error))
    return " ".join(text.split()).rstrip(".")
