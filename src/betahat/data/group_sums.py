"""Sums over groups whose numbers are made as rows are read, and which groups several ways of grouping have together."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from betahat.data.engine import Block, Engine, fold, scan
from betahat.data.groups import Groups, intersection, names_together
from betahat.data.row_codes import GROUP, ReadCodes, RowCodes
from betahat.data.sample import COUNTS, Sample
from betahat.data.source import Source
from betahat.data.streamed import Beside
from betahat.lazy import lazily

if TYPE_CHECKING:
    import pandas as pd
else:
    pd = lazily("pandas")

# Groups of several ways are put together so many at a time.
_PENDING = 2**18
_LARGEST = 2**62


def sums_by_group(
    source: Source, codes: RowCodes, count: int, function: Callable[[Block], Tensor], engine: Engine
) -> Tensor:
    """Return (count, ...) the sums of `function(block)`, (b, ...), over groups of rows.

    Numbers in memory are looked up where blocks are added. Of others, up to as many groups as a block has rows, each block sums all groups, and sums are added where the rows are read; of more groups, it
    sums those that it has.
    """
    if codes.held is not None:
        return _sums_by_held(source, codes.held, count, function, engine)
    joined = codes.beside(source)
    if count <= engine.block_rows(joined):
        (sums,) = fold(joined, _AllGroups(function, count), engine)
        return sums
    found: Tensor | None = None
    for groups, part in scan(joined, _OwnGroups(function), engine):
        found = part.new_zeros(count, *part.shape[1:]) if found is None else found
        found.index_add_(0, groups, part)
    assert found is not None
    return found


def _sums_by_held(
    source: Source, held: Tensor, count: int, function: Callable[[Block], Tensor], engine: Engine
) -> Tensor:
    """Return the sums over groups of (n,) numbers in memory."""
    start, sums = 0, None
    for values in scan(source, function, engine):
        sums = values.new_zeros(count, *values.shape[1:]) if sums is None else sums
        sums.index_add_(0, held[start : start + len(values)], values)
        start += len(values)
    assert sums is not None
    return sums


@dataclass(frozen=True, eq=False)
class _AllGroups:
    """The sums of a block over all groups."""

    function: Callable[[Block], Tensor]
    count: int

    def __call__(self, block: Block) -> tuple[Tensor]:
        values = self.function(_bare(block))
        return (values.new_zeros(self.count, *values.shape[1:]).index_add_(0, block[GROUP], values),)


@dataclass(frozen=True, eq=False)
class _OwnGroups:
    """The groups of a block, and the sums over them."""

    function: Callable[[Block], Tensor]

    def __call__(self, block: Block) -> tuple[Tensor, Tensor]:
        groups, places = torch.unique(block[GROUP], return_inverse=True)
        values = self.function(_bare(block))
        return groups, values.new_zeros(len(groups), *values.shape[1:]).index_add_(0, places, values)


@dataclass(frozen=True, eq=False)
class WithGroups:
    """What a function gives of a block, and the groups of its rows."""

    function: Callable[[Block], Tensor]

    def __call__(self, block: Block) -> tuple[Tensor, Tensor]:
        """Return both."""
        return self.function(_bare(block)), block[GROUP]


def _bare(block: Block) -> Block:
    """Return a block without the groups, for a module that is called with all columns."""
    return Block(block.start, {name: part for name, part in block.columns.items() if name != GROUP})


def that_count(sample: Sample, groups: Groups) -> Tensor:
    """Return (count,) which groups have rows whose frequency weights are above zero."""
    return sums_by_group(sample.source.only(COUNTS), groups.of_rows, groups.count, _often, sample.engine) > 0


def _often(block: Block) -> Tensor:
    return block[COUNTS].to(torch.float64)


# several ways


@dataclass(frozen=True, eq=False)
class Joint(Beside):
    """The number of a row's groups of several ways among those that there are together.

    Attributes
    ----------
    parts : tuple of Beside
        The numbers of each way.
    counts : tuple of int
        How many groups each way has.
    joint : Tensor
        (m,) int64 the ways' groups written as one number, sorted.
    """

    parts: tuple[Beside, ...]
    counts: tuple[int, ...]
    joint: Tensor

    @property
    def needs(self) -> tuple[str, ...]:
        """Those of the ways."""
        return tuple(dict.fromkeys(name for part in self.parts for name in part.needs))

    @property
    def shape(self) -> tuple[int, ...]:
        """A number for each row."""
        return ()

    def values(self, chunk: Any) -> Tensor:
        """Find them; rows that do not count have any."""
        written = as_one([part.values(chunk) for part in self.parts], self.counts)
        return torch.searchsorted(self.joint, written).clamp_max(len(self.joint) - 1)

    def of_ways(self) -> list[Tensor]:
        """Return (m,) the group of each way, way by way."""
        found, rest = [], self.joint
        for count in reversed(self.counts):
            found.append(rest % count)
            rest = rest.div(count, rounding_mode="floor")
        return found[::-1]


def as_one(codes: Sequence[Tensor], counts: Sequence[int]) -> Tensor:
    """Write (n,) numbers of several ways as one."""
    written = codes[0]
    for other, count in zip(codes[1:], counts[1:], strict=True):
        written = written * count + other
    return written


def together(sample: Sample, ways: Sequence[Groups]) -> Groups:
    """Return the intersection of ways, found by a pass where all are numbered as rows are read."""
    read = [way.of_rows for way in ways if isinstance(way.of_rows, ReadCodes)]
    counts = tuple(way.count for way in ways)
    if len(read) < len(ways) or math.prod(counts) >= _LARGEST:
        return intersection(ways)
    source, names = sample.source.only(COUNTS), [f"{GROUP} {i}" for i in range(len(ways))]
    for name, codes in zip(names, read, strict=True):
        source = codes.beside(source, name)
    joint, sizes = _distinct(scan(source, _Distinct(tuple(names), counts), sample.engine))
    made = Joint(tuple(codes.made for codes in read), counts, joint.cpu())
    return _of_joint(read[0], made, names_together(ways), sizes)


def coarser(finest: Groups, made: Joint, ways: Sequence[Groups], chosen: Sequence[int]) -> tuple[Groups, Tensor]:
    """Return the intersection of some of the ways, by their positions, and (m,) the one of them that each of the finest lies in."""
    own = [made.of_ways()[i] for i in chosen]
    if len(chosen) == 1:
        return ways[chosen[0]], own[0].to(finest.sizes.device)
    counts = tuple(made.counts[i] for i in chosen)
    joint, places = torch.unique(as_one(own, counts), return_inverse=True)
    places = places.to(finest.sizes.device)
    sizes = finest.sizes.new_zeros(len(joint)).index_add_(0, places, finest.sizes)
    assert isinstance(finest.of_rows, ReadCodes)
    part = Joint(tuple(made.parts[i] for i in chosen), counts, joint)
    return _of_joint(finest.of_rows, part, names_together([ways[i] for i in chosen]), sizes), places


def _of_joint(codes: ReadCodes, made: Joint, name: str, sizes: Tensor) -> Groups:
    count = len(made.joint)
    return Groups(ReadCodes(codes.stream, made), count, name, "", pd.RangeIndex(count), None, sizes)


@dataclass(frozen=True)
class _Distinct:
    """The groups of several ways that a block's rows have together, of the rows that count, and how many rows have each."""

    names: tuple[str, ...]
    counts: tuple[int, ...]

    def __call__(self, block: Block) -> tuple[Tensor, Tensor]:
        written, often = as_one([block[name] for name in self.names], self.counts), block.get(COUNTS)
        distinct, sizes = torch.unique(written if often is None else written[often > 0], return_counts=True)
        return distinct, sizes


def _distinct(parts: Iterable[tuple[Tensor, Tensor]]) -> tuple[Tensor, Tensor]:
    """Put distinct numbers and how often they occur together, some parts at a time."""
    pending: list[tuple[Tensor, Tensor]] = []
    waiting = known = 0
    for part in parts:
        pending.append(part)
        waiting += len(part[0])
        if waiting > known + max(_PENDING, known):
            pending = [_merged(pending)]
            waiting = known = len(pending[0][0])
    return _merged(pending)


def _merged(parts: Sequence[tuple[Tensor, Tensor]]) -> tuple[Tensor, Tensor]:
    values, sizes = (torch.cat(part) for part in zip(*parts, strict=True))
    found, places = torch.unique(values, return_inverse=True)
    return found, sizes.new_zeros(len(found)).index_add_(0, places, sizes)
