"""`Scored`: a source with the columns that scores have with instruments beside its own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from betahat.data.engine import Block, gather
from betahat.data.kept import SMALL
from betahat.data.source import Derived, Source
from betahat.data.threads import remembered
from betahat.data.turned import EXOG

INSTRUMENTS, SCORED = "instruments", "scored"


@dataclass(frozen=True, eq=False)
class Scored(Derived):
    """A source with [X, Z] M beside its columns, under the name `scored`, made block by block.

    Attributes
    ----------
    base : Source
        With X as `exog`, (n, k), and Z as `instruments`, (n, q).
    matrix : Tensor
        (k + q, r) M, float64.
    same : int
        How many of the first columns are those of X themselves.
    """

    matrix: Tensor
    same: int = 0

    @remembered
    def shapes(self) -> Mapping[str, tuple[int, ...]]:
        """Each column's sizes beyond n."""
        return {**self.base.shapes, SCORED: (self.matrix.shape[1],)}

    def read(self, names: Sequence[str], start: int, stop: int) -> tuple[Tensor, ...]:
        """Read the base, and multiply."""
        below = self._below(names)
        return self._made(names, below, self.base.read(below, start, stop))

    def take(self, names: Sequence[str], places: Tensor) -> tuple[Tensor, ...]:
        """Take rows of the base, and multiply."""
        below = self._below(names)
        return self._made(names, below, self.base.take(below, places))

    def _below(self, names: Sequence[str]) -> list[str]:
        """Return the columns of the base that are needed for some."""
        own = [name for name in names if name != SCORED]
        return own if SCORED not in names else list(dict.fromkeys([*own, EXOG, INSTRUMENTS]))

    def _made(self, names: Sequence[str], below: Sequence[str], parts: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        found = dict(zip(below, parts, strict=True))
        if SCORED in names:
            x, width, own = found[EXOG].to(torch.float64), found[EXOG].shape[1], self.matrix[:, self.same :]
            made = x @ own[:width] + found[INSTRUMENTS].to(torch.float64) @ own[width:]
            found[SCORED] = torch.cat([x[:, : self.same], made], 1) if self.same else made
        return tuple(found[name] for name in names)

    def held(self, name: str) -> Tensor | None:
        """Return the base's tensor, of any other column."""
        return None if name == SCORED else self.base.held(name)


def scored(source: Source, matrix: Tensor, same: int = 0) -> Source:
    """Return a source with [X, Z] M as its column `scored`, for (k + q, r) M; what is small and held is multiplied at once."""
    made, below = Scored(source, matrix, same), source.held(EXOG)
    if below is None or below.numel() > SMALL or source.held(INSTRUMENTS) is None:
        return made
    return source.replaced({SCORED: gather(made.only(SCORED), _scored)})


def _scored(block: Block) -> Tensor:
    return block[SCORED]
