"""`Subject`: what margins are of, the mean of a model as a function of its variables."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from betahat.data.container import to_numpy
from betahat.data.engine import column_of_rows
from betahat.data.formulas.expressions import names_in
from betahat.data.formulas.stored import StoredFormula
from betahat.data.frame import columns_of
from betahat.data.streamed import Streamed
from betahat.data.threads import remembered
from betahat.errors import DataError, OptionError, listed, shown
from betahat.inference.margins import Response
from betahat.lazy import lazily

if TYPE_CHECKING:
    import pandas as pd

    from betahat.data.formulas.formula import Formula
else:
    pd = lazily("pandas")


# How many rows show which columns a variable moves.
_TRIED = 16


class Kind(Enum):
    """What the values of a variable are."""

    NUMBER = "number"
    BINARY = "0 and 1"
    TRUTH = "true and false"
    CATEGORY = "category"


@dataclass(frozen=True, eq=False)
class Instead:
    """What is known of variables where the rows of the fit are not in memory.

    Attributes
    ----------
    frame : pandas.DataFrame
        Rows with all the values of categories.
    spreads : dict of str to tuple of float
        The smallest and the largest value, and the standard deviation, of numbers.
    constants : tuple of str
        Regressors that do not vary.
    stream : Streamed or None
        Where the rows are read from.
    levels : dict of str to list
        Of variables that a formula takes as they are, its levels.
    """

    frame: pd.DataFrame
    spreads: dict[str, tuple[float, float, float]] = field(default_factory=dict)
    constants: tuple[str, ...] = ()
    stream: Streamed | None = None
    levels: dict[str, list[Any]] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class Subject:
    """The mean of a model and the variables that its regressors are made of.

    Attributes
    ----------
    results : Results
        The fit and its covariance.
    response : Response
        The mean as a function of parameters and regressors, and the rows of the fit.
    read : callable
        A dataframe of the variables -> (m, p) regressors of the response.
    change : callable
        (such a dataframe, other values of variables by name: one or (m,)) -> by their places the regressors that change, (m,) or (1,) for all rows.
    source : Formula, StoredFormula or None
        The formula; without one the regressors are the variables.
    instead : Instead or None
        What is known of the variables where the rows of the fit are not in memory.
    logarithmic : bool
        Whether exp of a difference of the mean is a ratio: that of the index of a logit, or of a logarithmic link.
    """

    results: Any
    response: Response
    read: Callable[[Any], Tensor]
    change: Callable[[Any, dict[str, Any]], dict[int, Tensor]]
    source: Formula | StoredFormula | None
    instead: Instead | None = None
    logarithmic: bool = False

    @remembered
    def frame(self) -> pd.DataFrame:
        """(n, ...) the rows in use: the user's own columns of a formula's data, otherwise the regressors."""
        response = self.response
        if self.instead is not None:
            return self.instead.frame
        if self.source is None:
            frame = pd.DataFrame(to_numpy(response.exog.to(torch.float64)), columns=list(response.names))
            return frame.astype(dict.fromkeys(response.categories, int))
        user_data = self.results.fit.given.user_data
        frame = pd.DataFrame({str(name): _native(column) for name, column in columns_of(user_data.data).items()})
        chosen = frame if user_data.in_use is None else frame.iloc[to_numpy(user_data.in_use)]
        return chosen.reset_index(drop=True)

    def spread(self, name: str) -> tuple[float, float, float]:
        """Return the smallest and the largest value of a number in the data of the fit, and its standard deviation."""
        if self.instead is not None and name in self.instead.spreads:
            return self.instead.spreads[name]
        known = self.frame[name].to_numpy(float)
        return known.min(), known.max(), known.std()

    @remembered
    def often(self) -> np.ndarray | None:
        """(n,) how many rows each is by its frequency weight; None for one."""
        if self.instead is not None:
            return None
        rows = self.response.rows
        if "counts" not in rows.shapes:
            return None
        counts = to_numpy(column_of_rows(rows, "counts"))
        return counts.astype(int) if np.array_equal(counts, np.floor(counts)) else None

    def check_held(self, name: str) -> None:
        """Refuse what needs all values of a variable at once, of rows that are read in parts."""
        if self.instead is not None and self.instead.stream is not None:
            raise OptionError(
                f"This needs all values of {name!r} at once, and the rows are read from {self.instead.stream.dataset.name}; pass numbers, such as variables={{{name!r}: [1, 2]}}."
            )

    def column(self, name: str, rows: Any = slice(None)) -> pd.Series:
        """Return (N,) the values of a variable in rows of the fit, each as often as its frequency weight says."""
        self.check_held(name)
        column: pd.Series = self.frame[name].iloc[rows]
        return column if self.often is None else column.repeat(self.often[rows])

    def with_constants(self, frame: pd.DataFrame) -> pd.DataFrame:
        """Return a dataframe with the regressors that do not vary, where regressors are what is read."""
        if self.source is not None or set(self.response.names) <= set(frame.columns):
            return frame
        if self.instead is not None:
            absent = [name for name in self.response.names if name not in frame.columns]
            raise DataError(
                f"newdata lacks {listed(absent)}, whose value is not known as the results were kept without their data; pass a column for it."
            )
        first = dict(zip(self.response.names, self.response.exog[0].tolist(), strict=True))
        return frame.assign(**{name: value for name, value in first.items() if name not in frame.columns})

    @remembered
    def variables(self) -> tuple[str, ...]:
        """The variables that the regressors are made of, in order of appearance."""
        if self.source is not None:
            there = [
                name for name in self.source.variables if name in self.frame.columns and name not in self._absorbed
            ]
            return tuple(name for name in there if name not in self._left_out)
        names = self.response.names
        if self.instead is not None:
            return tuple(name for name in names if name in self.frame.columns and name not in self.instead.constants)
        exog = self.response.exog
        varies = (exog != exog[:1]).any(0).tolist()
        return tuple(name for name, moves in zip(names, varies, strict=True) if moves)

    @remembered
    def _left_out(self) -> set[str]:
        """The variables of a formula all of whose columns were left out as collinear."""
        fit = self.results.fit
        if self.source is None or fit.sample.width == fit.given.width:
            return set()
        rows = self.frame.head(_TRIED)
        before = self.read(rows)
        found = set()
        for name in self.source.variables:
            if name in rows:
                others = (
                    self.levels(name)
                    if self.kind(name) is Kind.CATEGORY
                    else [~rows[name] if self.kind(name) is Kind.TRUTH else rows[name] + 1]
                )
                if all(torch.equal(self.read(rows.assign(**{name: value})), before) for value in others):
                    found.add(name)
        return found

    @property
    def _absorbed(self) -> set[str]:
        """The columns of absorbed effects."""
        effects = self.results.fit.given.schema.effects
        return {name for effect in effects for name in (*effect.columns, *effect.variables)}

    def check_variables(self, names: Sequence[str]) -> None:
        """Refuse names that are no variables of the model."""
        absorbed = [name for name in names if name in self._absorbed]
        if absorbed:
            raise OptionError(
                f"{shown(absorbed[0])} is part of an absorbed effect, which has no standard errors; write it as a regressor, C({absorbed[0]})."
            )
        idle = [name for name in names if name in self._left_out]
        if idle:
            raise OptionError(
                f"{shown(idle[0])} moves columns alone that were left out as collinear; the variables are {listed(self.variables)}."
            )
        unknown = [name for name in names if name not in self.variables]
        if unknown:
            raise OptionError(
                f"The model has no variable {shown(unknown[0])}; its variables are {listed(self.variables)}."
            )

    def kind(self, name: str) -> Kind:
        """Return what the values of a variable are, in the data of the fit."""
        column = self.frame[name]
        if column.dtype == bool or str(column.dtype) == "boolean":
            return Kind.TRUTH
        treated = self.response.categories if self.source is None else self.source.categorical_variables
        is_number = pd.api.types.is_numeric_dtype(column.dtype)
        if not is_number or (name in treated and not self.jumps(name)):
            return Kind.CATEGORY
        numbers = column.to_numpy()
        return Kind.BINARY if bool(((numbers == 0) | (numbers == 1)).all()) else Kind.NUMBER

    def jumps(self, name: str) -> tuple[str, ...]:
        """Return the categories that ranges of a number are made into, such as ``x > 10`` or ``pd.cut(x, 3)``: they have fewer levels than it has values."""
        if self.source is None or self.instead is not None or not pd.api.types.is_numeric_dtype(self.frame[name].dtype):
            return ()
        inside = {
            expression: levels for expression, levels in self.source.levels.items() if name in names_in(expression)
        }
        if not inside or max(map(len, inside.values())) >= self.frame[name].nunique():
            return ()
        return tuple(inside)

    def levels(self, name: str) -> list[Any]:
        """Return the values of a category in the data of the fit, in their order."""
        column = self.frame[name]
        if self.instead is not None and name in self.instead.levels:
            return self.instead.levels[name]
        if isinstance(column.dtype, pd.CategoricalDtype):
            codes, known = column.cat.codes.to_numpy(), column.cat.categories
            return list(known[np.bincount(codes[codes >= 0], minlength=len(known)) > 0])
        return sorted(column.dropna().unique())


def columns_named(response: Response, device: torch.device, frame: pd.DataFrame) -> Tensor:
    """Return (m, p) the regressors of a dataframe that has them by name; columns that do not vary in the data of the fit may be missing."""
    names = response.names
    if not set(names) <= set(frame.columns):
        first = dict(zip(names, response.rows.read(("exog",), 0, 1)[0][0].tolist(), strict=True))
        frame = frame.assign(**{name: value for name, value in first.items() if name not in frame.columns})
    return torch.tensor(np.ascontiguousarray(frame[list(names)].to_numpy(float))).to(device)


def columns_moved(
    response: Response, device: torch.device, frame: pd.DataFrame, values: dict[str, Any]
) -> dict[int, Tensor]:
    """Return by their places the (m,) or (1,) regressors that are given other values."""
    return {
        response.names.index(name): torch.tensor(np.atleast_1d(np.asarray(value, float))).to(device)
        for name, value in values.items()
    }


def _native(column: Any) -> Any:
    """Return a column of any library as pandas has it."""
    return column if isinstance(column, pd.Series) else column.to_pandas()
