"""n - k: how many rows and coefficients are counted, here and nowhere else."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from enum import Enum


class Levels(Enum):
    """Which absorbed effects count as coefficients: fixest's K.fixef. Without clusters none is nested."""

    ALL = "full"
    NOT_NESTED = "nested"
    NONE = "none"


@dataclass(frozen=True)
class EffectSize:
    """The coefficients of an absorbed effect.

    Attributes
    ----------
    levels : int
        How many there are: the levels that have a row with weight, times the dummy and the slopes of each.
    redundant : int
        How many of them are collinear with the constant and the effects counted before it: one, or more where two effects fall into unconnected parts.
    """

    levels: int
    redundant: int = 1


@dataclass(frozen=True)
class Counts:
    """The numbers of rows and coefficients that corrections depend on.

    Attributes
    ----------
    nobs : float
        n, the rows.
    rank : int
        r, the independent coefficients, without absorbed ones.
    outputs : float
        m, the equations among which they are divided.
    absorbed : tuple of EffectSize
        The absorbed effects.
    """

    nobs: float
    rank: int
    outputs: float = 1.0
    absorbed: tuple[EffectSize, ...] = ()

    def coefficients(self, levels: Levels = Levels.ALL, nested: Collection[int] = (), exact: bool = True) -> float:
        """Return k, the coefficients of one equation; `nested` are the positions of the effects that are nested in a cluster.

        Where it is not to be `exact`, at most one coefficient of each effect is redundant, whatever parts they fall into.
        """
        if not self.absorbed or levels is Levels.NONE:
            return self.rank / self.outputs
        free = nested if levels is Levels.NOT_NESTED else ()
        counted = [effect for i, effect in enumerate(self.absorbed) if i not in free]
        own = sum(e.levels - (e.redundant if exact else min(e.redundant, 1)) for e in counted)
        return (self.rank + 1 + own) / self.outputs

    @property
    def free(self) -> float:
        """The residual degrees of freedom, n - k, with all coefficients counted."""
        return self.nobs - self.coefficients()
