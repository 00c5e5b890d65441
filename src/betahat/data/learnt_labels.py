"""Labels of a dataset's rows are learnt in one pass, whatever their type, and numbered as the rows are read again."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import chain
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

import numpy as np
import torch
from torch import Tensor

from betahat.data.datasets.base import Partition
from betahat.data.engine import Engine
from betahat.data.frame import column_of
from betahat.data.labels import first_places, labels_of, numbered, sorted_labels
from betahat.data.streamed import Beside, Builder, Streamed
from betahat.data.whole_numbers import check_told_apart
from betahat.errors import DataError
from betahat.lazy import lazily

if TYPE_CHECKING:
    import pandas as pd
else:
    pd = lazily("pandas")


@dataclass(frozen=True, eq=False)
class LearntLabels:
    """The labels of the rows in use.

    Attributes
    ----------
    codes : LabelCodes
        What numbers rows.
    sizes : Tensor
        (count,) int64 the rows in use of each label.
    missing : dict of str to int
        How many rows in use have no label, by the partition's name.
    declared : pandas.Index or None
        (count,) the labels in the order of an unordered category's levels.
    """

    codes: LabelCodes
    sizes: Tensor
    missing: dict[str, int]
    declared: pd.Index | None


@dataclass(frozen=True, eq=False)
class LabelCodes(Beside):
    """The number of a row's label among all, -1 where it is missing.

    Attributes
    ----------
    column : str
        The dataset's column.
    labels : pandas.Index
        (count,) sorted.
    name : str
        What to call it in a sentence.
    """

    column: str
    labels: pd.Index
    name: str

    def __post_init__(self) -> None:
        """Let pandas make its table before several threads look labels up at once."""
        self.labels.get_indexer(self.labels[:1])

    def __reduce__(self) -> tuple[type[LabelCodes], tuple[str, pd.Index, str]]:
        """Let whoever unpickles it do the same."""
        return LabelCodes, (self.column, self.labels, self.name)

    @property
    def needs(self) -> tuple[str, ...]:
        """The column."""
        return (self.column,)

    @property
    def shape(self) -> tuple[int, ...]:
        """A number for each row."""
        return ()

    def values(self, chunk: Any) -> Tensor:
        """Look each of a chunk's labels up once."""
        read = read_labels(chunk, self.column, self.name)
        found = pd.Index(read.labels)
        if found.dtype != self.labels.dtype and pd.api.types.is_numeric_dtype(self.labels.dtype):
            found = found.astype(self.labels.dtype)
        table = np.append(self.labels.get_indexer(found), -1)
        return torch.from_numpy(table[read.codes])


@dataclass(frozen=True, eq=False)
class ChunkLabels:
    """The labels of a chunk.

    Attributes
    ----------
    codes : ndarray
        (n,) int64 each row's place among the labels, -1 where it is missing.
    labels : Series
        Each once.
    levels : tuple of object
        An unordered category's.
    """

    codes: np.ndarray
    labels: pd.Series
    levels: tuple[Any, ...] = ()


@dataclass(frozen=True, eq=False)
class FoundLabels:
    """Labels that rows have, how many rows have each, how many none, how many rows there are, and the levels of an unordered category."""

    labels: pd.Series
    sizes: np.ndarray
    missing: int
    rows: int
    levels: tuple[Any, ...] = ()


_LEARNT: WeakKeyDictionary[Streamed, dict[str, LearntLabels]] = WeakKeyDictionary()
# So many labels are put together at once.
_PENDING = 2**16


def learn_labels(stream: Streamed, column: str, name: str, engine: Engine) -> LearntLabels:
    """Return the labels in a column; a stream's are learnt once."""
    known = _LEARNT.setdefault(stream, {})
    if column not in known:
        known[column] = _learnt(stream, column, name, engine)
    return known[column]


def _learnt(stream: Streamed, column: str, name: str, engine: Engine) -> LearntLabels:
    """Read the column alone; where some rows are left out, once more beside what says which."""
    for builder in (None, stream.builder):
        rows: list[int] = []
        missing: dict[str, int] = {}
        found = _joined(
            _noted(
                engine.over(
                    partial(_of_partition, column, name, builder),
                    stream.dataset,
                    (*(builder.needs if builder else ()), column),
                ),
                stream,
                rows,
                missing,
            ),
            name,
        )
        if rows == list(stream.kept):
            break
    return sorted_codes(found, column, name, missing)


def sorted_codes(found: FoundLabels, column: str, name: str, missing: dict[str, int]) -> LearntLabels:
    """Sort labels, and return what numbers them; `missing` is how many rows in use have none, by the partition's name."""
    order, labels = sorted_labels(found.labels, name)
    sizes = np.empty_like(found.sizes)
    sizes[order] = found.sizes
    declared = pd.Index([level for level in found.levels if level in set(labels)]) if found.levels else None
    return LearntLabels(LabelCodes(column, pd.Index(labels), name), torch.from_numpy(sizes), missing, declared)


def _noted(
    parts: Iterable[FoundLabels], stream: Streamed, rows: list[int], missing: dict[str, int]
) -> Iterator[FoundLabels]:
    """Yield what partitions have, and note their rows and which of them lack labels."""
    for part, partition in zip(parts, stream.dataset.partitions, strict=True):
        rows.append(part.rows)
        if part.missing:
            missing[partition.name] = part.missing
        yield part


def _of_partition(column: str, name: str, builder: Builder | None, partition: Partition) -> FoundLabels:
    """Return the labels of a partition's rows, of those that a builder uses or of all."""
    needs = () if builder is None else builder.needs
    chunks = partition.chunks(tuple(dict.fromkeys((*needs, column))))
    return _joined((_of_used(chunk, column, name, builder) for chunk in chunks), name)


def _of_used(chunk: Any, column: str, name: str, builder: Builder | None) -> FoundLabels:
    used = None if builder is None else builder.build(chunk).used
    return found_labels(read_labels(chunk, column, name), None if used is None else used.cpu().numpy())


def found_labels(read: ChunkLabels, used: np.ndarray | None = None) -> FoundLabels:
    """Return the labels of a chunk's rows, or of the (n,) rows in use."""
    codes = read.codes if used is None else read.codes[used]
    there = codes[codes >= 0]
    sizes = np.bincount(there, minlength=len(read.labels)).astype(np.int64)
    own = sizes > 0
    return FoundLabels(read.labels[own], sizes[own], len(codes) - len(there), len(codes), read.levels)


def _joined(parts: Iterable[FoundLabels], name: str) -> FoundLabels:
    """Put labels together, in the order in which they appear, a few parts at a time."""
    found = FoundLabels(pd.Series(dtype=object), np.zeros(0, dtype=np.int64), 0, 0)
    pending: list[FoundLabels] = []
    waiting = 0
    for part in parts:
        pending.append(part)
        waiting += len(part.labels)
        if waiting > max(_PENDING, len(found.labels)):
            found, pending, waiting = together([found, *pending], name), [], 0
    return together([found, *pending], name)


def together(parts: Sequence[FoundLabels], name: str) -> FoundLabels:
    """Put the labels of rows together, in the order in which they appear."""
    some = [part for part in parts if len(part.labels)]
    levels = tuple(dict.fromkeys(chain.from_iterable(part.levels for part in parts)))
    missing, rows = sum(part.missing for part in parts), sum(part.rows for part in parts)
    if not some:
        return FoundLabels(parts[0].labels, parts[0].sizes, missing, rows, levels)
    check_ordered_alike([part.labels.dtype for part in some], name)
    check_told_apart([part.labels for part in some], name)
    codes, labels = pd.factorize(pd.concat([part.labels for part in some], ignore_index=True))
    sizes = np.zeros(len(labels), dtype=np.int64)
    np.add.at(sizes, codes, np.concatenate([part.sizes for part in some]))
    return FoundLabels(pd.Series(labels), sizes, missing, rows, levels)


def check_ordered_alike(kinds: Iterable[Any], name: str) -> None:
    """Refuse columns of these types as one where some are ordered categories and not all have the same levels in the same order."""
    different = set(kinds)
    if len(different) > 1 and any(isinstance(kind, pd.CategoricalDtype) and kind.ordered for kind in different):
        raise DataError(
            f"{name} is an ordered category in which the levels differ between parts of the data, so that their order is not known; give all parts the "
            "same levels, in the same order."
        )


def read_labels(chunk: Any, column: str, name: str) -> ChunkLabels:
    """Return the labels in a column of a chunk, with numbers."""
    read = labels_of(chunk[column] if isinstance(chunk, Mapping) else column_of(chunk, column), name)
    if isinstance(read, Tensor):
        numbers, own = numbered(read.reshape(-1)) if read.numel() else (read.reshape(-1).long(), read.numpy())
        return ChunkLabels(numbers.numpy(), pd.Series(own))
    some, levels = read.take(first_places(read.codes)), ()
    there = some.notna().to_numpy()
    if isinstance(some.dtype, pd.CategoricalDtype) and not some.dtype.ordered:
        levels = tuple(some.dtype.categories)
        some = pd.Series(some.cat.categories.take(some.cat.codes.to_numpy()[there]))
    else:
        some = some[there]
    number = np.where(there, there.cumsum() - 1, -1)
    return ChunkLabels(number[read.codes], some, levels)
