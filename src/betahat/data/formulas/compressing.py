"""Formulas on rows that were counted: which columns a formula needs, and what it may not contain."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
import pandas as pd
from formulaic.parser.types import Factor

from betahat.data.datasets.base import Dataset
from betahat.data.datasets.compressed import Compression, counted_dataset, counted_frame, counted_lazily
from betahat.data.door import RowVectors
from betahat.data.effects import EffectTerm
from betahat.data.engine import THREADS, in_force
from betahat.data.formulas.evaluation import beside_columns, names_of
from betahat.data.formulas.expressions import names_in
from betahat.data.formulas.periods import calls_in
from betahat.data.formulas.row_by_row import check_row_by_row, check_rows_alone
from betahat.data.formulas.transforms import KNOWN
from betahat.data.formulas.vectors import vector_of
from betahat.data.frame import to_pandas
from betahat.errors import DataError, FormulaError, OptionError, listed, shown

# So many of them are tried.
_HEAD = 64
_ALIKE = "rows_alike"


@dataclass(frozen=True, eq=False)
class Counted:
    """Data whose rows were counted.

    Attributes
    ----------
    data : object
        A frame of the distinct rows, or the data as they were.
    beside : RowVectors
        With the counts as frequency weights.
    compression : Compression or None
        What was done; None where too few rows repeat, so that nothing was.
    """

    data: Any
    beside: RowVectors
    compression: Compression | None


def keep_columns(compress: Any) -> tuple[str, ...]:
    """Read the option: True, or the names of further columns to keep apart."""
    if compress is True:
        return ()
    if isinstance(compress, list | tuple) and all(isinstance(name, str) for name in compress):
        return tuple(compress)
    raise OptionError(
        f"compress is {shown(compress)}; pass True, or a list of further columns in which rows are to differ, such as those of clusters."
    )


def counted_rows(
    data: Any,
    dataset: Dataset | None,
    beside: RowVectors,
    factors: Sequence[Factor],
    effects: Sequence[EffectTerm],
    text: str,
    keep: Sequence[str],
    context: Mapping[str, Any],
) -> Counted:
    """Count the rows that are alike in all columns that a formula and what stands beside it need, and in those to `keep`."""
    given = dict(beside.items())
    vectors = [name for name, value in given.items() if np.ndim(value) and not isinstance(value, str)]
    if vectors:
        raise DataError(
            f"{listed(vectors)} has a value for each row, and compress counts rows by columns of the data; pass the name of one, {vectors[0]}='...'."
        )
    words = {name: value for name, value in given.items() if isinstance(value, str)}
    if dataset is None:
        data = to_pandas(data, " ".join([text, *words.values(), *keep]))
    there: tuple[str, ...] = tuple(data.columns) if dataset is None else dataset.columns
    absent = [name for name in keep if name not in there]
    if absent:
        raise OptionError(
            f"compress names {listed(absent)}, found among no columns of the data; they have {listed(list(there), limit=12)}."
        )
    columns = _needed(there, factors, effects, words.values(), keep)
    count = _ALIKE
    while count in there:
        count = f"{count}_"
    found = _counted(data, dataset, columns, count) if columns else None
    if found is None:
        return Counted(data, beside, None)
    frame = to_pandas(found, None)
    _check_rows_alone(frame.head(_HEAD), factors, words, context)
    rows = frame[count]
    often = _often(given["freq_weights"], count, columns)
    compression = Compression(int(rows.sum()), len(rows), tuple(columns))
    return Counted(found, replace(beside, freq_weights=often), compression)


def _counted(data: Any, dataset: Dataset | None, columns: Sequence[str], count: str) -> Any:
    """Return a frame of the distinct rows, None where too few are alike."""
    if dataset is None:
        return counted_frame(data[list(columns)].reset_index(drop=True), count)
    found = counted_lazily(data, columns, count)
    return counted_dataset(dataset, columns, count, in_force(THREADS)) if found is None else found


def _needed(
    there: Sequence[str],
    factors: Sequence[Factor],
    effects: Sequence[EffectTerm],
    words: Collection[str],
    keep: Sequence[str],
) -> list[str]:
    """Return the columns that are looked up, in the order of the data."""
    names = names_of(factors) | {*keep}
    names |= {name for effect in effects for name in (*effect.columns, *effect.variables)}
    for word in words:
        names |= {word} if word in there else names_in(word)
    names |= {name.partition(".")[0] for name in names}
    return [name for name in there if name in names]


def _often(given: Any, count: str, columns: Sequence[str]) -> str:
    """Return an expression of how often a row occurs: so many times what the user says."""
    if given is None:
        return count
    return f"Q({given!r}) * {count}" if given in columns else f"({given}) * {count}"


def _check_rows_alone(
    rows: pd.DataFrame, factors: Sequence[Factor], words: Mapping[str, str], context: Mapping[str, Any]
) -> None:
    """Refuse what depends on other rows, which are there once each, in a formula and beside it."""
    why = "rows that are alike are counted first; compute it before, and use its column, or leave compress out."
    context = beside_columns(context, rows)
    known = {**KNOWN, **context}
    for call in calls_in(factors, context):
        raise FormulaError(f"{call} depends on other rows than its own, and {why}")
    for factor in factors:
        used = sorted(names_of([factor]) - {"Q"}) if factor.eval_method is Factor.EvalMethod.PYTHON else []
        if any(getattr(known.get(name), "__is_stateful_transform__", False) for name in used):
            raise FormulaError(f"{shown(factor.expr)} learns of all rows, and {why}")
    check_rows_alone(factors, rows, context, {}, why)
    for option, word in words.items():
        if word not in rows:
            check_row_by_row(partial(_vector, word, context, option), rows, word, f"{option}={shown(word)}", why)


def _vector(word: str, context: Mapping[str, Any], option: str, rows: pd.DataFrame) -> Any:
    return vector_of(word, rows, context, option)
