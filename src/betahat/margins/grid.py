"""`Grid`: the rows at which margins are taken, and what moving a variable does to their regressors."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from betahat.data.engine import column_of_rows
from betahat.data.frame import is_frame, to_pandas
from betahat.data.threads import remembered
from betahat.errors import DataError, OptionError, listed, shown
from betahat.lazy import lazily
from betahat.margins.subject import Kind, Subject

if TYPE_CHECKING:
    import pandas as pd
else:
    pd = lazily("pandas")

# Differences of fourth order: an error of step^4 and a rounding error of 1e-16 / step.
_STEP = 1e-3
_CENTRAL = ((-2.0, 1 / 12), (-1.0, -8 / 12), (1.0, 8 / 12), (2.0, -1 / 12))
_FORWARD = ((0.0, -25 / 12), (1.0, 48 / 12), (2.0, -36 / 12), (3.0, 16 / 12), (4.0, -3 / 12))


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
    """

    subject: Subject
    frame: pd.DataFrame
    offset: Tensor | None
    weights: Tensor | None
    of_fit: bool

    @remembered
    def exog(self) -> Tensor:
        """(m, p) the regressors."""
        return self.subject.response.exog.to(torch.float64) if self.of_fit else self.subject.read(self.frame)

    def at(self, values: dict[str, Any]) -> Tensor:
        """Return (m, p) the regressors with other values of some variables."""
        source = self.subject.source
        for call in () if source is None else source.calls_of_order:
            raise OptionError(
                f"{call} stands in another row than its variable, so that a row has no effect of its own; compute it before, and use its column."
            )
        return self.subject.read(self.frame.assign(**values))

    def direction(self, name: str) -> Tensor:
        """Return (m, p) the derivatives of the regressors in a variable.

        A column that is the variable, or a product with it, is a straight line in it; inside of functions differences of fourth order
        are taken, which stay within the range of the data of the fit.
        """
        source = self.subject.source
        if source is None or name in source.linear_variables:
            return self.at({name: 1.0}) - self.at({name: 0.0})
        values = self.frame[name].to_numpy(float)
        known = self.subject.frame[name].to_numpy(float)
        low, high = known.min(), known.max()
        step = _STEP * np.minimum(np.maximum(np.abs(values), _STEP * known.std()), high - low)
        sides = np.where(values - 2.0 * step < low, 1.0, np.where(values + 2.0 * step > high, -1.0, 0.0))
        total = torch.zeros_like(self.exog)
        for place in range(5):
            shift, share = (
                np.select([sides == 0], [_at(_CENTRAL, place, part)], _at(_FORWARD, place, part)) for part in (0, 1)
            )
            turned = np.where(sides == 0, 1.0, sides)
            moved = self.at({name: values + turned * shift * step})
            total += moved * torch.from_numpy(turned * share / step).to(total)[:, None]
        return total


def _at(stencil: tuple[tuple[float, float], ...], place: int, part: int) -> float:
    """Return a shift or a share of a stencil, zero beyond its end."""
    return stencil[place][part] if place < len(stencil) else 0.0


def grid_of(subject: Subject, newdata: Any, wts: Any) -> Grid:
    """Return the rows at which margins are taken: those of the fit, a typical one, or new ones."""
    response = subject.response
    if newdata is None:
        counts = column_of_rows(response.rows, "counts") if "counts" in response.rows.shapes else None
        grid = Grid(subject, subject.frame, response.offset, counts, True)
    elif isinstance(newdata, str):
        grid = Grid(subject, typical(subject, newdata), None, None, False)
    elif is_frame(newdata) or isinstance(newdata, dict):
        frame = to_pandas(newdata, None).reset_index(drop=True)
        absent = [name for name in subject.variables if name not in frame.columns]
        if absent:
            raise DataError(
                f"newdata lacks {listed(absent)}; pass a dataframe with a column for each variable of the model."
            )
        grid = Grid(subject, frame, None, None, False)
    else:
        raise OptionError(
            f"newdata is {shown(newdata)}; pass a dataframe, 'mean' or 'median', or omit it for the data of the fit."
        )
    if wts is None:
        return grid
    if not isinstance(wts, str) or wts not in grid.frame.columns:
        raise OptionError(
            f"wts is {shown(wts)}, which is not a column of the data; the columns are {listed(grid.frame.columns, limit=12)}."
        )
    weights = torch.tensor(grid.frame[wts].to_numpy(float)).to(response.exog.device)
    return Grid(subject, grid.frame, grid.offset, weights, grid.of_fit)


def typical(subject: Subject, how: str) -> pd.DataFrame:
    """Return one row: numbers at their mean or median, categories at their most frequent value."""
    if how not in ("mean", "median"):
        raise OptionError(f"newdata is {shown(how)}; pass 'mean' or 'median', or a dataframe.")
    row = {}
    for name in subject.variables:
        column = subject.frame[name]
        row[name] = getattr(column, how)() if subject.kind(name) is Kind.NUMBER else column.mode().iloc[0]
    return pd.DataFrame({name: [value] for name, value in row.items()})
