"""The leverage of absorbed dummies, which rows add to that of their regressors."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from betahat.calculus.rows import LeverageBeside
from betahat.data.effects import Effect
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

    def taken(self, places: Tensor) -> LeverageBeside:
        """Return that of the rows at (m,) places."""
        return LeverageTaken(self, places)


@dataclass(frozen=True, eq=False)
class LeverageTaken(LeverageBeside):
    """That of some rows.

    Attributes
    ----------
    base : LeverageBeside
    places : Tensor
        (m,) their positions.
    """

    base: LeverageBeside
    places: Tensor

    @property
    def of_rows(self) -> Tensor:
        """(m,)."""
        return self.base.of_rows[self.places]

    def taken(self, places: Tensor) -> LeverageBeside:
        """Return that of the rows at (m,) places."""
        return LeverageTaken(self.base, self.places[places])
