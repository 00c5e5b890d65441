"""What is known of variables where the rows of a fit are not in memory: that of new data, or what a pass over a dataset learns."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from betahat.data.container import to_numpy
from betahat.data.datasets.base import Partition
from betahat.data.engine import in_force
from betahat.data.formulas.stored import StoredFormula
from betahat.data.frame import is_frame, rows_of_frame, to_pandas
from betahat.data.sample import WithoutRows
from betahat.data.streamed import Builder, stream_below
from betahat.errors import DataError, listed
from betahat.fits.fit import Fit
from betahat.lazy import lazily
from betahat.margins.subject import Instead

if TYPE_CHECKING:
    import pandas as pd

    from betahat.data.formulas.formula import Formula
else:
    pd = lazily("pandas")


def instead_of_rows(
    fit: Fit, source: Formula | StoredFormula | None, names: Sequence[str], newdata: Any
) -> Instead | None:
    """Return what is known of variables without the rows of a fit; None where these are in memory."""
    if isinstance(fit.given, WithoutRows):
        given = _of_new_data(fit, names, newdata, "These results were kept without their data")
        return given if source is None else replace(given, levels=_levels(source))
    stream = stream_below(fit.given.source)
    if stream is None:
        return None
    if source is None:
        return _of_new_data(fit, names, newdata, "The inputs are read batch by batch")
    variables = [name for name in source.variables if name in stream.dataset.columns]
    learn = partial(_learnt, stream.builder, tuple(variables), frozenset(source.categorical_variables))
    parts = list(in_force(fit.given.engine).over(learn, stream.dataset, stream.builder.needs))
    found = {name: _joined([part[name] for part in parts if part]) for name in variables}
    rows = max(len(each.values) for each in found.values()) if found else 1
    frame = pd.DataFrame({name: each.column(rows) for name, each in found.items()}, index=range(rows))
    return Instead(
        frame, {name: each.spread for name, each in found.items() if each.count}, (), stream, _levels(source)
    )


def _levels(source: Formula | StoredFormula) -> dict[str, list[Any]]:
    """Return the levels of variables that are categories as they are, or in C()."""
    known = source.levels
    pairs = ((name, known.get(name, known.get(f"C({name})"))) for name in source.categorical_variables)
    return {name: levels for name, levels in pairs if levels is not None}


def _of_new_data(fit: Fit, names: Sequence[str], newdata: Any, why: str) -> Instead:
    """Take new data for the data of the fit."""
    if not (is_frame(newdata) or isinstance(newdata, Mapping)):
        raise DataError(f"{why}, so that margins need newdata, a dataframe with {listed(names)}.")
    constant = fit.fact("constant", lambda: None)
    place = None if constant is None else constant.index
    constants = () if place is None else (fit.given.names[place],)
    return Instead(to_pandas(newdata, None).reset_index(drop=True), {}, constants)


@dataclass(frozen=True, eq=False)
class _Seen:
    """What some rows tell of a variable.

    Attributes
    ----------
    values : pandas.Series
        Those of a category; of a number its smallest, its largest and one between, or its zeros and ones.
    count : int
        The rows of a number, 0 of categories.
    mean, squares, low, high : float
        Of a number: its mean, the squared distances from it, its range.
    """

    values: pd.Series
    count: int = 0
    mean: float = 0.0
    squares: float = 0.0
    low: float = math.inf
    high: float = -math.inf

    @property
    def spread(self) -> tuple[float, float, float]:
        """The range of a number and its standard deviation."""
        return self.low, self.high, math.sqrt(self.squares / self.count)

    def column(self, rows: int) -> pd.Series:
        """Return (rows,) values, each of them at least once."""
        return self.values.take(np.arange(rows) % len(self.values)).reset_index(drop=True)


def _learnt(
    builder: Builder, variables: tuple[str, ...], categories: Collection[str], partition: Partition
) -> dict[str, _Seen]:
    """Return what the rows in use of a partition tell of variables."""
    found: dict[str, list[_Seen]] = {name: [] for name in variables}
    for chunk in partition.chunks(builder.needs):
        rows = rows_of_frame(chunk)
        used = builder.build(chunk).places(rows) if rows else torch.zeros(0)
        if len(used):
            frame = to_pandas(chunk, None).iloc[to_numpy(used.cpu())]
            for name in variables:
                found[name].append(_seen(frame[name], name in categories))
    return {name: _joined(each) for name, each in found.items()} if variables and found[variables[0]] else {}


def _seen(column: pd.Series, category: bool) -> _Seen:
    """Return what (n,) values tell."""
    if category or column.dtype == bool or not pd.api.types.is_numeric_dtype(column.dtype):
        return _Seen(column.drop_duplicates())
    numbers = column.to_numpy(float)
    mean, low, high = float(numbers.mean()), float(numbers.min()), float(numbers.max())
    squares = float(np.square(numbers - mean).sum())
    return _Seen(_few(column.drop_duplicates(), low, high), len(numbers), mean, squares, low, high)


def _few(values: pd.Series, low: float, high: float) -> pd.Series:
    """Return zeros and ones as they are, and of other numbers three."""
    if set(values.unique()) <= {0, 1}:
        return values
    return pd.Series([low, high, low + 0.37 * (high - low)])


def _joined(parts: Sequence[_Seen]) -> _Seen:
    """Return what several parts tell together; Chan, Golub and LeVeque (1983), Am. Stat. 37(3), for the squares."""
    values = pd.concat([part.values for part in parts], ignore_index=True).drop_duplicates()
    if not parts[0].count:
        return _Seen(values)
    count = sum(part.count for part in parts)
    mean = sum(part.mean * part.count for part in parts) / count
    squares = sum(part.squares + part.count * (part.mean - mean) ** 2 for part in parts)
    low, high = min(part.low for part in parts), max(part.high for part in parts)
    return _Seen(_few(values, low, high), count, mean, squares, low, high)
