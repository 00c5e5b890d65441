"""The dummies of some effects of rows that are read as regressors beside the others, made as they are read."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from betahat.data.container import Tensors
from betahat.data.design import Design
from betahat.data.effects import CODES
from betahat.data.engine import Block
from betahat.data.schema import Schema
from betahat.data.source import Derived, Source
from betahat.data.streamed_effects import row_weights
from betahat.data.threads import remembered
from betahat.data.turned import EXOG, selected, turned
from betahat.fits.absorbed_streams import take_off
from betahat.solvers.least_squares import least_squares
from betahat.solvers.memory import check_numbers_fit

# What other effects leave of a dummy that they explain is rounding error.
_GONE = 1e-8


@dataclass(frozen=True, eq=False)
class DummiesBeside:
    """Regressors with orthonormal columns for dummies before them.

    Attributes
    ----------
    source : Source
    width : int
        How many there are.
    """

    source: Source
    width: int


def dummies_beside(raw: Design, sample: Source, nested: Collection[int], remedy: str) -> DummiesBeside:
    """Put the dummies of a design's effects that are not `nested` before the regressors of a source of the same rows, the nested ones taken off."""
    levels = raw.schema.effects
    others = tuple(i for i in range(len(levels)) if i not in nested)
    counts = tuple(levels[i].count for i in others)
    what = f"The {sum(counts)} dummies of {' and '.join(levels[i].name for i in others)}"
    check_numbers_fit(3 * sum(counts) ** 2, what, raw.device, remedy)
    weighted = not {"weights", "counts"}.isdisjoint(raw.source.shapes)
    rows = Dummies(raw.source.only(CODES, "weights", "counts"), others, counts, tuple(sorted(nested)), weighted)
    schema = Schema(Tensors(), effects=tuple(levels[i] for i in sorted(nested)))
    design = Design(schema, rows, raw.engine)
    if nested:
        off = take_off(design)
        apart = (off.lengths > _GONE * off.explained.lengths[EXOG]).nonzero().flatten().tolist()
        design = replace(design, source=selected(off.source, apart))
    if not design.width:
        return DummiesBeside(sample, 0)
    solution = least_squares(replace(design, schema=Schema(Tensors())), "drop")
    made = turned(selected(design.source, solution.kept), solution.root)
    return DummiesBeside(Before(sample, made), solution.root.shape[1])


@dataclass(frozen=True, eq=False)
class Dummies(Derived):
    """Dummies as regressors of nothing, with the levels of other effects and the whole weights.

    Attributes
    ----------
    base : Source
        With (n, E) levels, and weights of both kinds where there are some.
    places, counts : tuple of int
        The effects of the dummies, and how many levels each has.
    others : tuple of int
        Those whose levels are handed on.
    weighted : bool
        Whether there are weights.
    """

    places: tuple[int, ...]
    counts: tuple[int, ...]
    others: tuple[int, ...]
    weighted: bool

    @remembered
    def shapes(self) -> Mapping[str, tuple[int, ...]]:
        """Each column's sizes beyond n."""
        own: dict[str, tuple[int, ...]] = {EXOG: (sum(self.counts),), "endog": (), CODES: (len(self.others),)}
        return own | ({"weights": ()} if self.weighted else {})

    def read(self, names: Sequence[str], start: int, stop: int) -> tuple[Tensor, ...]:
        """Read levels and weights, and make the dummies."""
        below = tuple(self.base.shapes)
        return self._made(names, dict(zip(below, self.base.read(below, start, stop), strict=True)))

    def take(self, names: Sequence[str], places: Tensor) -> tuple[Tensor, ...]:
        """Take levels and weights, and make the dummies."""
        below = tuple(self.base.shapes)
        return self._made(names, dict(zip(below, self.base.take(below, places), strict=True)))

    def _made(self, names: Sequence[str], parts: dict[str, Tensor]) -> tuple[Tensor, ...]:
        codes = parts[CODES]
        made = {CODES: codes[:, list(self.others)]}
        if EXOG in names:
            pairs = zip(self.places, self.counts, strict=True)
            hot = [torch.nn.functional.one_hot(codes[:, place], count) for place, count in pairs]
            made[EXOG] = torch.cat(hot, 1).to(torch.float64)
        if "endog" in names:
            made["endog"] = torch.zeros(len(codes), dtype=torch.float64, device=codes.device)
        if "weights" in names:
            made["weights"] = row_weights(Block(0, parts))
        return tuple(made[name] for name in names)


@dataclass(frozen=True, eq=False)
class Before(Derived):
    """A source with other regressors before its own.

    Attributes
    ----------
    base : Source
    first : Source
        Of the same rows, with the other regressors.
    """

    first: Source

    @remembered
    def shapes(self) -> Mapping[str, tuple[int, ...]]:
        """Each column's sizes beyond n."""
        return {**self.base.shapes, EXOG: (self.first.shapes[EXOG][0] + self.base.shapes[EXOG][0],)}

    def read(self, names: Sequence[str], start: int, stop: int) -> tuple[Tensor, ...]:
        """Read both."""
        parts = self.base.read(names, start, stop)
        return self._joined(names, parts, self.first.read((EXOG,), start, stop) if EXOG in names else ())

    def take(self, names: Sequence[str], places: Tensor) -> tuple[Tensor, ...]:
        """Take rows of both."""
        parts = self.base.take(names, places)
        return self._joined(names, parts, self.first.take((EXOG,), places) if EXOG in names else ())

    def _joined(self, names: Sequence[str], parts: tuple[Tensor, ...], first: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        pairs = zip(names, parts, strict=True)
        return tuple(torch.cat([first[0], part.to(torch.float64)], 1) if name == EXOG else part for name, part in pairs)
