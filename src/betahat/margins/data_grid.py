"""Grids of typical and of chosen values: `datagrid`, "mean", "median" and "balanced"."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from betahat.errors import DataError, OptionError, is_one_of, listed, shown
from betahat.lazy import lazily
from betahat.margins.subject import Kind, Subject

if TYPE_CHECKING:
    import pandas as pd
else:
    pd = lazily("pandas")

_TYPES = ("mean_or_mode", "balanced", "counterfactual")
_TYPICAL = ("mean", "median", "balanced")
# Rows beyond which a grid is surely a mistake.
_MOST_ROWS = 10**8


@dataclass(frozen=True, eq=False)
class DataGrid:
    """Rows for `newdata=`, described without a model: chosen values of some variables, crossed, and typical ones of the others.

    Attributes
    ----------
    values : mapping
        By variable: a value, several, or a function of its column that returns them.
    grid_type : str
        How the others are filled in.
    by : tuple of str
        Columns: each of their values has a grid of its own.
    """

    values: Mapping[str, Any]
    grid_type: str
    by: tuple[str, ...]


def datagrid(*, grid_type: str = "mean_or_mode", by: str | Sequence[str] | None = None, **values: Any) -> DataGrid:
    """Describe rows for `newdata=`: every combination of the given values, with the other variables at typical ones.

    Parameters
    ----------
    grid_type : {"mean_or_mode", "balanced", "counterfactual"}
        The other variables: numbers at their mean, 0/1 variables and categories at their most frequent value; the same with every level of these;
        or all rows of the data, once for each combination.
    by : str or list of str, optional
        Columns: each combination of their values has a grid of its own, with the means of its rows.
    **values
        By variable: a value, several, or a function of its column, such as ``numpy.median`` or ``lambda x: x.quantile([0.25, 0.75])``.

    Returns
    -------
    DataGrid
        For `newdata=` of any model, whose data it reads only then.

    Raises
    ------
    OptionError
        The type is unknown, or there are no values for counterfactuals.

    Examples
    --------
    >>> import betahat as bh
    >>> data = {"y": [1.0, 2.0, 4.0, 5.0, 7.0], "x": [1.0, 2.0, 3.0, 4.0, 5.0]}
    >>> data["old"] = [0, 0, 1, 1, 1]
    >>> res = bh.ols("y ~ x + old", data).fit()
    >>> res.predictions(newdata=bh.datagrid(x=[2, 4])).params.round(3).tolist()
    [2.533, 5.333]
    """
    if not is_one_of(grid_type, _TYPES):
        raise OptionError(f"grid_type is {shown(grid_type)}; use one of {listed(_TYPES)}.")
    names = [] if by is None else [by] if isinstance(by, str) else by
    if not isinstance(names, list | tuple) or not all(isinstance(name, str) for name in names):
        raise OptionError(f"by is {shown(by)}; pass the name of a column, or a list of names.")
    if grid_type == "counterfactual" and not values:
        raise OptionError("A counterfactual grid needs values of some variable, such as datagrid(x=[0, 1], ...).")
    return DataGrid(values, grid_type, tuple(names))


def frame_of(grid: DataGrid, subject: Subject) -> pd.DataFrame:
    """Return the rows that a description means for a model."""
    data = subject.frame
    unknown = [name for name in (*grid.by, *grid.values) if name not in data.columns]
    if unknown:
        raise OptionError(
            f"datagrid has values of {listed(unknown)}, but the data have no such column; the columns are {listed(data.columns, limit=12)}."
        )
    if not grid.by:
        return _part(grid, subject, np.arange(len(data)), {})
    parts: list[pd.DataFrame] = []
    for key, rows in data.groupby(list(grid.by), observed=True, sort=True).indices.items():
        values = key if isinstance(key, tuple) else (key,)
        parts.append(_part(grid, subject, np.asarray(rows), dict(zip(grid.by, values, strict=True))))
    return pd.concat(parts, ignore_index=True)


def _part(grid: DataGrid, subject: Subject, rows: np.ndarray, fixed: Mapping[str, Any]) -> pd.DataFrame:
    """Return the grid of some rows of the fit, in which some columns are fixed."""
    chosen = {name: _chosen(name, value, subject.column(name, rows)) for name, value in grid.values.items()}
    if grid.grid_type == "counterfactual":
        return crossed(subject.frame.iloc[rows], chosen)
    others = [name for name in subject.variables if name not in chosen and name not in fixed]
    filled = {name: _filled(subject, name, rows, grid.grid_type) for name in others}
    alone = {name: [value] for name, value in fixed.items() if name not in chosen}
    return product({**filled, **chosen, **alone}, subject)


def typical(subject: Subject, how: str, by: Sequence[str]) -> pd.DataFrame:
    """Return typical rows: numbers at their mean or median and the rest at its most frequent value, or all its values; one for each value of `by`."""
    if not is_one_of(how, _TYPICAL):
        raise OptionError(f"newdata is {shown(how)}; pass 'mean', 'median' or 'balanced', or a dataframe.")
    data, filled = subject.frame, {}
    for name in dict.fromkeys([*subject.variables, *(name for name in by if name in data.columns)]):
        if name in by:
            filled[name] = sorted_values(data[name])
        else:
            filled[name] = _filled(subject, name, slice(None), how)
    return product(filled, subject)


def product(values: Mapping[str, Sequence[Any]], subject: Subject) -> pd.DataFrame:
    """Return a row for each combination of values; the last varies fastest."""
    rows = math.prod(len(each) for each in values.values())
    if rows > _MOST_ROWS:
        raise DataError(f"The grid has {rows:,} rows; give values of fewer variables, or fewer of each.")
    data, repeated, made = subject.frame, rows, {}
    for name, each in values.items():
        column = _like(each, data[name])
        repeated //= max(len(column), 1)
        times = rows // max(len(column) * repeated, 1)
        made[name] = pd.concat([column.repeat(repeated)] * times, ignore_index=True) if rows else column[:0]
    return pd.DataFrame(made)


def crossed(data: pd.DataFrame, values: Mapping[str, Sequence[Any]]) -> pd.DataFrame:
    """Return all rows once for each combination of values of some columns."""
    count = math.prod(len(each) for each in values.values())
    if count * len(data) > _MOST_ROWS:
        raise DataError(f"{count:,} combinations of values times {len(data):,} rows are too many; give fewer values.")
    combinations: list[dict[str, Any]] = [{}]
    for name, each in values.items():
        combinations = [{**known, name: value} for known in combinations for value in each]
    parts = [
        data.assign(**{name: _like([value], data[name]).repeat(len(data)).to_numpy() for name, value in one.items()})
        for one in combinations
    ]
    found = pd.concat(parts, ignore_index=True)
    kinds = {name: data[name].dtype for name in values if isinstance(data[name].dtype, pd.CategoricalDtype)}
    return found.astype(kinds) if kinds else found


def sorted_values(column: pd.Series) -> list[Any]:
    """Return the values of a column, without missing ones, in their order."""
    if isinstance(column.dtype, pd.CategoricalDtype):
        return list(column.cat.remove_unused_categories().cat.categories)
    return sorted(column.dropna().unique())


def _like(values: Sequence[Any], column: pd.Series) -> pd.Series:
    """Return values as a column of the type of another, if it is that of a category."""
    if isinstance(column.dtype, pd.CategoricalDtype) and set(values) <= set(column.cat.categories):
        return pd.Series(pd.Categorical(values, dtype=column.dtype))
    return pd.Series(list(values))


def _chosen(name: str, value: Any, column: pd.Series) -> list[Any]:
    """Return the values that are chosen of a variable."""
    if isinstance(value, Callable):  # type: ignore[arg-type]
        value = value(column)
    if isinstance(value, str) or np.ndim(value) == 0:
        return [value]
    values = list(value)
    if not values:
        raise OptionError(f"datagrid has no value of {name!r}; pass at least one.")
    return values


def _filled(subject: Subject, name: str, rows: Any, how: str) -> list[Any]:
    """Return typical values of a variable that is not chosen."""
    column = subject.column(name, rows)
    if subject.kind(name) is Kind.NUMBER:
        return [column.median() if how == "median" else column.mean()]
    return sorted_values(column) if how == "balanced" else [column.mode().iloc[0]]
