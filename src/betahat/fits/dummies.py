"""The leverage of absorbed dummies, which rows add to that of their regressors."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from betahat.calculus.absorbed import Absorbed
from betahat.calculus.rows import LeverageBeside, times
from betahat.data.design import Design
from betahat.data.effects import Effect
from betahat.data.sample import Sample
from betahat.data.streamed_effects import Cells
from betahat.data.threads import remembered
from betahat.solvers.dummies_leverage import effects_leverage


@dataclass(frozen=True, eq=False)
class LeverageOfDummies(LeverageBeside):
    """The diagonal of the projection on absorbed dummies, of each of the times that a row occurs.

    Attributes
    ----------
    effects : tuple of Effect
    weights : Tensor or None
        (n,) of the projection, frequency weights included.
    counts : Tensor or None
        (n,) frequency weights.
    """

    effects: tuple[Effect, ...]
    weights: Tensor | None
    counts: Tensor | None

    @remembered
    def of_rows(self) -> Tensor:
        """(n,) w d'(D'WD)^-1 d."""
        found = effects_leverage(self.effects, self.weights)
        return found if self.counts is None else found / self.counts

    def of_block(self, start: int, levels: Tensor | None, weights: Tensor | None, rows: int) -> Tensor:
        """Return (b,) that of rows from `start` on."""
        return self.of_rows[start : start + rows]

    def taken(self, places: Tensor) -> LeverageBeside:
        """Return that of the rows at (m,) places."""
        return LeverageTaken(self, places)


@dataclass(frozen=True, eq=False)
class LeverageOfLevels(LeverageBeside):
    """The same of rows that are read: it depends on their levels and weights alone.

    Attributes
    ----------
    cells : Cells
        The combinations of levels that rows have.
    """

    cells: Cells

    @remembered
    def of_cells(self) -> Tensor:
        """(C,) d'(D'WD)^-1 d."""
        weights = self.cells.weights
        return torch.where(weights > 0, effects_leverage(self.cells.effects, weights) / weights, 0.0)

    def of_block(self, start: int, levels: Tensor | None, weights: Tensor | None, rows: int) -> Tensor:
        """Return (b,) that of rows with (b, E) levels."""
        assert levels is not None
        return times(self.of_cells[self.cells.of_rows(levels)], weights)

    def taken(self, places: Tensor) -> LeverageBeside:
        """Return that of other rows, which is the same function of their levels."""
        return self


@dataclass(frozen=True, eq=False)
class LeverageTaken(LeverageBeside):
    """That of some rows.

    Attributes
    ----------
    base : LeverageOfDummies
    places : Tensor
        (m,) their positions.
    """

    base: LeverageOfDummies
    places: Tensor

    def of_block(self, start: int, levels: Tensor | None, weights: Tensor | None, rows: int) -> Tensor:
        """Return (b,) that of rows from `start` on."""
        return self.base.of_rows[self.places[start : start + rows]]

    def taken(self, places: Tensor) -> LeverageBeside:
        """Return that of the rows at (m,) places."""
        return LeverageTaken(self.base, self.places[places])


def leverage_beside(absorbed: Absorbed | None, given: Sample) -> LeverageBeside | None:
    """Return what absorbed effects add to the leverage of rows; None where there are none, or no rows."""
    if absorbed is None or not isinstance(given, Design):
        return None
    if absorbed.explained is not None:
        return LeverageOfLevels(absorbed.explained.cells)
    return LeverageOfDummies(given.effects, absorbed.weights, given.counts)
