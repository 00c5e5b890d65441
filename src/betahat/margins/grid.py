"""`Grid`: the rows at which margins are taken, and what moving variables does to their regressors."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from betahat.data.arrays import read_weights
from betahat.data.container import to_numpy
from betahat.data.engine import column_of_rows
from betahat.data.frame import is_frame, to_pandas
from betahat.data.streamed import Streamed
from betahat.data.threads import remembered
from betahat.errors import DataError, OptionError, counted, listed, shown
from betahat.lazy import lazily
from betahat.margins.changes import Change
from betahat.margins.data_grid import DataGrid, frame_of, typical
from betahat.margins.directions import derivative
from betahat.margins.subject import Subject

if TYPE_CHECKING:
    import pandas as pd
else:
    pd = lazily("pandas")


@dataclass(frozen=True, eq=False)
class Grid:
    """The rows at which margins are taken.

    Attributes
    ----------
    subject : Subject
        The model.
    frame : pandas.DataFrame
        (m, ...) the variables, and columns to group by.
    offset : Tensor or None
        (m,).
    weights : Tensor or None
        (m,) how much each row counts in averages.
    of_fit : bool
        Whether these are the rows of the fit.
    stream : Streamed or None
        The rows of the fit where they are read in parts; those here stand for them.
    said : tuple of str
        The columns whose values the user chose, by which rows are called if these differ.
    """

    subject: Subject
    frame: pd.DataFrame
    offset: Tensor | None
    weights: Tensor | None
    of_fit: bool = False
    stream: Streamed | None = None
    said: tuple[str, ...] = ()

    def __len__(self) -> int:
        """Return m."""
        return len(self.frame)

    @remembered
    def exog(self) -> Tensor:
        """(m, p) the regressors."""
        return self.subject.response.exog.to(torch.float64) if self.of_fit else self.subject.read(self.frame)

    @property
    def values_said(self) -> pd.DataFrame | None:
        """(m, ...) the values that the user chose, where they tell rows apart."""
        chosen = self.frame[list(self.said)]
        return None if chosen.empty or bool(chosen.duplicated().any()) else chosen

    @property
    def columns(self) -> dict[str, Tensor]:
        """(m, ...) the regressors and the offset."""
        return {"exog": self.exog} | ({} if self.offset is None else {"offset": self.offset})

    def changed(self, changes: Mapping[str, Change]) -> dict[int, Tensor]:
        """Return by their places the (m,) regressors that are others where variables change; (1,) if the same in all rows."""
        return self._changed(self.frame, {name: change.values(self.frame[name]) for name, change in changes.items()})

    def _changed(self, frame: pd.DataFrame, values: dict[str, Any]) -> dict[int, Tensor]:
        source = self.subject.source
        for call in () if source is None else source.calls_of_order(values):
            raise OptionError(
                f"{call} stands in another row than its variable, so that a row has no effect of {listed(values)}; compute it before and use its column, or name "
                "other variables."
            )
        return self.subject.change(frame, values)

    def direction(self, name: str) -> dict[int, Tensor]:
        """Return by their places the (m,) derivatives of the regressors in a variable, or (1,).

        A column that is the variable, or a product with it, is a straight line in it; inside of functions differences are taken.
        """
        source = self.subject.source
        if source is None or name in source.linear_variables:
            one, zero = (self._changed(self.frame, {name: value}) for value in (1.0, 0.0))
            return {place: one[place] - zero[place] for place in one}
        values = self.frame[name].to_numpy(float)
        places: list[int] = []

        def columns(moved: np.ndarray, rows: np.ndarray) -> np.ndarray:
            frame = self.frame if len(rows) == len(values) else self.frame.iloc[rows].reset_index(drop=True)
            found = self._changed(frame, {name: moved})
            places[:] = found
            return np.stack([np.broadcast_to(to_numpy(column), (len(rows),)) for column in found.values()], 1)

        found = derivative(columns, values, *self.subject.spread(name))
        slopes = torch.from_numpy(found).to(self.exog)
        return {place: slopes[:, i] for i, place in enumerate(places)}


def grid_of(subject: Subject, newdata: Any, wts: Any, by: Any) -> Grid:
    """Return the rows at which margins are taken: those of the fit, typical ones, or new ones."""
    stream = None if subject.instead is None else subject.instead.stream
    if stream is not None and newdata is None:
        return Grid(subject, subject.frame, None, None, stream=stream)
    if stream is not None and isinstance(newdata, str | DataGrid):
        raise OptionError(
            f"The rows are read from {stream.dataset.name}, and typical rows need all of them at once; pass newdata as a dataframe."
        )
    response = subject.response
    if newdata is None:
        counts = column_of_rows(response.rows, "counts") if "counts" in response.rows.shapes else None
        grid = Grid(subject, subject.frame, response.offset, counts, True)
    elif isinstance(newdata, str):
        names = [by] if isinstance(by, str) else by if isinstance(by, list | tuple) else []
        grid = Grid(subject, subject.with_constants(typical(subject, newdata, names)), None, None)
    elif isinstance(newdata, DataGrid):
        said = tuple(dict.fromkeys([*newdata.by, *newdata.values]))
        grid = Grid(subject, subject.with_constants(frame_of(newdata, subject)), None, None, said=said)
    elif is_frame(newdata) or isinstance(newdata, Mapping):
        frame = to_pandas(newdata, None).reset_index(drop=True)
        if not len(frame):
            raise DataError(
                "newdata has no rows; pass a dataframe with at least one, or omit it for the data of the fit."
            )
        absent = [name for name in subject.variables if name not in frame.columns]
        if absent:
            raise DataError(
                f"newdata lacks {listed(absent)}; pass a dataframe with a column for each variable of the model."
            )
        grid = Grid(subject, subject.with_constants(frame), None, None)
    else:
        raise OptionError(
            f"newdata is {shown(newdata)}; pass a dataframe, bh.datagrid(...), 'mean', 'median' or 'balanced', or omit it for the data of the fit."
        )
    return grid if wts is None else weighted(grid, wts)


def weighted(grid: Grid, wts: Any) -> Grid:
    """Return a grid with weights of its rows: a column's name, or a vector."""
    return replace(grid, weights=_weights(grid, wts))


def _weights(grid: Grid, wts: Any) -> Tensor:
    """Read (m,) weights of rows: a column's name, or a vector."""
    if isinstance(wts, str):
        if wts not in grid.frame.columns:
            raise OptionError(
                f"wts is {shown(wts)}, which is not a column of the data; the columns are {listed(grid.frame.columns, limit=12)}."
            )
        wts = grid.frame[wts].to_numpy(float)
    device = grid.exog.device
    read = read_weights(wts, torch.empty(len(grid), 0, device=device), device, None, "wts")
    assert read is not None
    weights = read.values.to(torch.float64)
    if len(weights) != len(grid):
        raise DataError(
            f"wts has {counted(len(weights), 'weight')} for {counted(len(grid), 'row')}; pass one for each row."
        )
    if not bool(torch.isfinite(weights).all()) or bool((weights < 0).any()) or not bool(weights.sum() > 0):
        raise DataError("wts has negative, missing or infinite weights, or none but zeros; pass a number for each row.")
    return weights
