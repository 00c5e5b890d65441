"""Absorbed effects of rows that are read: their combinations of levels are counted in a pass, and what they explain is taken off as rows are read."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any
from weakref import WeakKeyDictionary

import torch
from torch import Tensor

from betahat.data.absorbed import check_effects, none_left, not_alone, numbered
from betahat.data.design import Design
from betahat.data.effects import CODES, Effect, Levels, joint_codes
from betahat.data.engine import Block, Engine, in_force, scan
from betahat.data.learnt_labels import LabelCodes
from betahat.data.sample import COUNTS
from betahat.data.source import Derived, Source
from betahat.data.streamed import Builder, Built, Streamed
from betahat.data.threads import remembered
from betahat.errors import EstimationError, counted, listed

# Sums over combinations are put together once there are so many more of them.
_MERGED = 2**20
_LARGEST = 2**62
_IN_MEMORY = "fit rows in memory"


@dataclass(frozen=True, eq=False)
class Combinations:
    """The combinations of several columns of codes that rows have.

    Attributes
    ----------
    codes : Tensor
        (C, c) int64, in lexical order.
    sums : Tensor
        (C, s) sums of numbers of their rows.
    """

    codes: Tensor
    sums: Tensor


@dataclass(frozen=True, eq=False)
class Cells:
    """Absorbed effects with a row for each combination of levels: products of dummies are the same sums over these as over all rows.

    Attributes
    ----------
    effects : tuple of Effect
        Of C combinations, in lexical order.
    weights : Tensor
        (C,) the sums of the rows' weights.
    """

    effects: tuple[Effect, ...]
    weights: Tensor

    @remembered
    def _keys(self) -> Tensor:
        return joint_codes([effect.codes for effect in self.effects], [effect.count for effect in self.effects])

    def of_rows(self, levels: Tensor) -> Tensor:
        """Return (b,) the combination of each of (b, E) levels."""
        joint = joint_codes(levels.unbind(1), [effect.count for effect in self.effects])
        return torch.searchsorted(self._keys, joint)


@dataclass(frozen=True, eq=False)
class Explained:
    """What absorbed effects explain of columns.

    Attributes
    ----------
    cells : Cells
    places : tuple of int
        The positions of the effects that have coefficients; those of others are zero, as they are nested in these.
    fitted : dict of str to tuple of Tensor
        For each column, of each of these effects, (G,) or (G, k) coefficients.
    lengths : dict of str to Tensor
        The lengths that columns had, () or (k,).
    """

    cells: Cells
    places: tuple[int, ...]
    fitted: dict[str, tuple[Tensor, ...]]
    lengths: dict[str, Tensor]


@dataclass(frozen=True, eq=False)
class LessEffects(Derived):
    """A source whose columns are read without what absorbed effects explain of them.

    Attributes
    ----------
    base : Source
        With (n, E) levels.
    explained : Explained
    """

    explained: Explained

    @property
    def shapes(self) -> Mapping[str, tuple[int, ...]]:
        """Each column's sizes beyond n."""
        return self.base.shapes

    def read(self, names: Sequence[str], start: int, stop: int) -> tuple[Tensor, ...]:
        """Read the base, and take the fitted values off."""
        asked = self._asked(names)
        return self._less(names, dict(zip(asked, self.base.read(asked, start, stop), strict=True)))

    def take(self, names: Sequence[str], places: Tensor) -> tuple[Tensor, ...]:
        """Take rows of the base, and the fitted values off."""
        asked = self._asked(names)
        return self._less(names, dict(zip(asked, self.base.take(asked, places), strict=True)))

    def _asked(self, names: Sequence[str]) -> tuple[str, ...]:
        return tuple(dict.fromkeys((*names, CODES)))

    def _less(self, names: Sequence[str], parts: dict[str, Tensor]) -> tuple[Tensor, ...]:
        levels = [parts[CODES][:, place].contiguous() for place in self.explained.places]
        found = []
        for name in names:
            part = parts[name]
            for codes, fitted in zip(levels, self.explained.fitted.get(name, ()), strict=False):
                part = part.to(torch.float64) - fitted.index_select(0, codes)
            found.append(part)
        return tuple(found)


@dataclass(frozen=True, eq=False)
class Numbering(Builder):
    """Makes levels of labels, and leaves out rows of other levels, and those that occur no times.

    Attributes
    ----------
    builder : Builder
        Makes (b, c) places of labels.
    levels : tuple of Levels
        Whose `members` are those that are in use.
    """

    builder: Builder
    levels: tuple[Levels, ...]

    @property
    def needs(self) -> tuple[str, ...]:
        """The columns of the dataset that it reads."""
        return self.builder.needs

    @property
    def shapes(self) -> Mapping[str, tuple[int, ...]]:
        """Each column's sizes beyond n."""
        return {**self.builder.shapes, CODES: (len(self.levels),)}

    @remembered
    def _known(self) -> tuple[Tensor, ...]:
        """For each effect (G,) its levels as single numbers, in order."""
        return tuple(
            joint_codes(levels.members.cpu().mT.contiguous().unbind(0), _sizes(levels)) for levels in self.levels
        )

    def build(self, chunk: Any) -> Built:
        """Return the columns of a chunk, of the rows whose levels are all in use."""
        built = self.builder.build(chunk)
        labels = built.columns[CODES].to(torch.int64).mT.contiguous().unbind(0)
        codes, there, first = [], None, 0
        for levels, known in zip(self.levels, self._known, strict=True):
            own = joint_codes(labels[first : first + len(levels.labels)], _sizes(levels))
            first += len(levels.labels)
            place = torch.searchsorted(known, own).clamp_max_(len(known) - 1)
            codes.append(place)
            there = known[place] == own if there is None else there & (known[place] == own)
        assert there is not None
        if COUNTS in built.columns:
            there = there & (built.columns[COUNTS] > 0)
        columns = {**built.columns, CODES: torch.stack(codes, 1)}
        if bool(there.all()):
            return Built(columns, built.used)
        used = there
        if built.used is not None:
            used = built.used.clone()
            used[built.used] = there
        return Built({name: column[there] for name, column in columns.items()}, used)


@dataclass(frozen=True, eq=False)
class LabelsAlone(Builder):
    """Makes the places of labels of all rows, and no other column.

    Attributes
    ----------
    parts : tuple of LabelCodes
        Number the labels, column by column.
    """

    parts: tuple[LabelCodes, ...]

    @property
    def needs(self) -> tuple[str, ...]:
        """The columns of the dataset that it reads."""
        return tuple(dict.fromkeys(name for part in self.parts for name in part.needs))

    @property
    def shapes(self) -> Mapping[str, tuple[int, ...]]:
        """Each column's sizes beyond n."""
        return {CODES: (len(self.parts),)}

    def build(self, chunk: Any) -> Built:
        """Return the places of a chunk's labels."""
        return Built({CODES: torch.stack([part.values(chunk) for part in self.parts], 1)})


def with_streamed_levels(design: Design, source: Streamed, labels: Streamed | None = None) -> Design:
    """Give numbers to the levels of absorbed effects of a stream of (n, c) places of labels, and leave out the rows that are alone in one, as in memory.

    A row is left out if one of its levels has no other that stays, so that it goes with a whole level. `labels` is a stream of the same rows that has
    their labels alone, where that is known.
    """
    levels = design.schema.effects
    _check_streamed(levels)
    check_effects(levels, source.rows)
    rows = source.only(CODES, COUNTS) if labels is None else labels
    found = combinations(rows, [size for effect in levels for size in _sizes(effect)], _occurrences, design.engine)
    often, there, broken = found.sums.unbind(1)
    whole = not bool(broken.any())
    cells = numbered(levels, found.codes)
    held = not_alone(cells.codes, often if whole else there)
    if not bool(held.any()):
        raise none_left(levels)
    alone = int(there[~held].sum())
    stay = numbered(levels, found.codes[held])
    schema = replace(design.schema, effects=stay.levels, dropped=design.schema.dropped + alone)
    numbering = Numbering(source.builder, stay.levels)
    if alone or COUNTS in source.shapes:
        counting = _Staying(Numbering(_Given(rows.shapes), stay.levels))
        kept = _each_span(rows, counting, design.engine)
    else:
        kept = source.kept
    made = replace(source, builder=numbering, kept=kept)
    if COUNTS not in source.shapes and "weights" not in source.shapes:
        _CELLS[made] = _cells(stay.levels, stay.codes, often[held])
    return replace(design, schema=schema, source=made)


def combinations(
    source: Source, sizes: Sequence[int], numbers: Callable[[Block], Tensor], engine: Engine
) -> Combinations:
    """Return the combinations of a source's codes, (n, c) below `sizes`, with sums of numbers of rows, in a pass."""
    if math.prod(sizes) >= _LARGEST:
        raise EstimationError(
            f"The absorbed effects have {math.prod(sizes):.1e} combinations of labels, more than can be numbered; absorb fewer or coarser effects."
        )
    keys: list[Tensor] = []
    sums: list[Tensor] = []
    more = 0
    for own, values in scan(source, _OfBlock(tuple(sizes), numbers), engine):
        keys.append(own)
        sums.append(values)
        more += len(own)
        if more > max(_MERGED, len(keys[0])):
            keys, sums = [[part] for part in _merged(torch.cat(keys), torch.cat(sums))]
            more = 0
    joint, values = _merged(torch.cat(keys), torch.cat(sums))
    return Combinations(_apart(joint, sizes), values)


def cells_of(design: Design) -> Cells:
    """Return the combinations of levels of a stream, with the sums of the rows' weights: in a pass where these are not their numbers."""
    levels, stream = design.schema.effects, design.source.stream
    if stream is design.source and stream in _CELLS:
        return _CELLS[stream]
    rows = design.source.only(CODES, "weights", COUNTS)
    found = combinations(rows, [effect.count for effect in levels], _weights, design.engine)
    return _cells(levels, found.codes, found.sums[:, 0])


# The combinations that were counted as levels were numbered.
_CELLS: WeakKeyDictionary[Source, Cells] = WeakKeyDictionary()


def _cells(levels: Sequence[Levels], codes: Tensor, weights: Tensor) -> Cells:
    pairs = zip(levels, codes.unbind(1), strict=True)
    return Cells(tuple(Effect(own.name, codes.contiguous(), own.count) for own, codes in pairs), weights)


def _occurrences(block: Block) -> Tensor:
    """Return (b, 3) how often rows occur, whether they do, and whether that is no whole number."""
    counts = block.get(COUNTS)
    if counts is None:
        ones = torch.ones(len(block), dtype=torch.float64, device=block[CODES].device)
        return torch.stack([ones, ones, torch.zeros_like(ones)], 1)
    counts = counts.to(torch.float64)
    return torch.stack([counts, (counts > 0).to(counts), (counts != counts.round()).to(counts)], 1)


def _weights(block: Block) -> Tensor:
    return row_weights(block)[:, None]


def row_weights(block: Block) -> Tensor:
    """Return (b,) analytic weights times frequency weights."""
    total = torch.ones(len(block), dtype=torch.float64, device=block[CODES].device)
    for name in ("weights", COUNTS):
        factor = block.get(name)
        total = total if factor is None else total * factor
    return total


@dataclass(frozen=True, eq=False)
class _OfBlock:
    """The combinations of a block, and the sums of its rows' numbers."""

    sizes: tuple[int, ...]
    numbers: Callable[[Block], Tensor]

    def __call__(self, block: Block) -> tuple[Tensor, Tensor]:
        return _merged(joint_codes(block[CODES].to(torch.int64).unbind(1), self.sizes), self.numbers(block))


@dataclass(frozen=True, eq=False)
class _Given(Builder):
    """Columns as they are."""

    sizes: Mapping[str, tuple[int, ...]]

    @property
    def needs(self) -> tuple[str, ...]:
        return tuple(self.sizes)

    @property
    def shapes(self) -> Mapping[str, tuple[int, ...]]:
        return self.sizes

    def build(self, chunk: Any) -> Built:
        return Built(chunk)


@dataclass(frozen=True, eq=False)
class _Staying:
    """How many rows of a block stay."""

    numbering: Numbering

    def __call__(self, block: Block) -> tuple[Tensor]:
        used = self.numbering.build({name: part.cpu() for name, part in block.columns.items()}).used
        return (torch.tensor(len(block) if used is None else int(used.sum())),)


def _each_span(source: Source, function: Any, engine: Engine) -> tuple[int, ...]:
    """Return the sum of a count over each span, those without rows included."""
    engine = in_force(engine)
    found = iter(engine.sums(function, source, max(engine.block_rows(source), 1)))
    return tuple(int(next(found)[0]) if span.start < span.stop else 0 for span in source.spans)


def _merged(keys: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
    """Return (C,) the keys in order, and (C, s) the sums of their values."""
    own, places = torch.unique(keys, return_inverse=True)
    return own, values.new_zeros(len(own), values.shape[1]).index_add_(0, places, values)


def _sizes(levels: Levels) -> list[int]:
    return [len(labels) for labels in levels.labels]


def _apart(joint: Tensor, sizes: Sequence[int]) -> Tensor:
    """Return (m, c) the codes of numbers of combinations."""
    codes = []
    for size in reversed(sizes):
        codes.append(joint % size)
        joint = joint // size
    return torch.stack(codes[::-1], 1)


def _check_streamed(levels: Sequence[Levels]) -> None:
    """Refuse effects that need the rows in memory."""
    slopes = [effect.name for effect in levels if effect.variables]
    if slopes:
        raise EstimationError(
            f"Rows that are read from files or frames have no slopes of their own for each level, as {listed(slopes)} would be; absorb the levels alone, or {_IN_MEMORY}."
        )
    if len(levels) > 2:
        raise EstimationError(
            f"Of rows that are read from files or frames two effects can be absorbed, not {counted(len(levels), 'effect')}; put the smallest among the regressors as C(), or "
            f"{_IN_MEMORY}."
        )
