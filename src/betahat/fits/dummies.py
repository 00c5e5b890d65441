"""The leverage of absorbed dummies, which rows add to that of their regressors."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from betahat.calculus.rows import LeverageBeside
from betahat.data.effects import Effect
from betahat.data.threads import remembered


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


def effects_leverage(effects: tuple[Effect, ...], weights: Tensor | None) -> Tensor:
    """Temporary: dense."""
    parts = []
    for e in effects:
        d = torch.nn.functional.one_hot(e.codes, e.count).to(torch.float64)
        if e.constant:
            parts.append(d)
        if e.variables is not None:
            parts += [d * v[:, None] for v in e.variables.unbind(1)]
    d = torch.cat(parts, 1)
    if weights is not None:
        d = d * weights.sqrt()[:, None]
    u, sv, _ = torch.linalg.svd(d, full_matrices=False)
    u = u[:, sv > 1e-9 * sv[0]]
    found: Tensor = u.square().sum(1)
    return found
