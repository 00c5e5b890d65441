"""The row-block engine: everything large is a sum over rows, and only this file loops over rows.

Three verbs do it: `fold` sums what a function gives of each block, `scan` yields it block after block for what carries a state along,
and `gather` concatenates it. A block is small enough for a CPU's cache and large on a GPU. Blocks depend on the data's shape alone, each is
computed by one thread, and their sums are added in row order, so a result is the same bit for bit on every run, with any number of
threads or processes. `workers.py` has the engines of executors, dask and ray.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from functools import partial
from itertools import islice
from typing import TypeVar

import torch
from torch import Tensor

from betahat.data.datasets.base import Dataset, Partition
from betahat.data.memory import check_rows_fit
from betahat.data.progress import progress
from betahat.data.source import Held, Source, Span
from betahat.data.threads import in_order, with_all_threads
from betahat.errors import DataError, FormulaError

T = TypeVar("T")
Sums = tuple[Tensor, ...]

# Measured (2 cores, k = 20): 8 to 32 thousand rows are equally fast, 1,024 is the best chunk of a
# batched product, and from 128 to 4,096 nothing changes by more than a tenth.
CHUNK = 1024
_CPU_BLOCK = 2**18
_GPU_BLOCK = 2**25
# Handing a block to another thread costs 0.05 ms.
_SHARED = 4


@dataclass(frozen=True, slots=True, eq=False)
class Block:
    """Consecutive rows of a source, numbers with a point in float64.

    Attributes
    ----------
    start : int
        The position of the block's first row.
    columns : dict of str to Tensor
        (b, ...) each, contiguous.
    """

    start: int
    columns: dict[str, Tensor]

    def __len__(self) -> int:
        """Return b."""
        return len(next(iter(self.columns.values())))

    def __getitem__(self, name: str) -> Tensor:
        """Return (b, ...) a column."""
        return self.columns[name]

    def get(self, name: str) -> Tensor | None:
        """Return (b, ...) a column; None where there is none of the name."""
        return self.columns.get(name)


class Engine(ABC):
    """How a pass over rows is cut into blocks, and who computes them."""

    @abstractmethod
    def block_rows(self, source: Source) -> int:
        """Return how many rows make a block."""

    @abstractmethod
    def pieces(self, block: Block, rows: int) -> Iterable[Block]:
        """Cut a block into smaller ones, for products that are wider than its rows."""

    @abstractmethod
    def each(self, function: Callable[[Block], T], source: Source, step: int) -> Iterator[T]:
        """Yield `function(block)` of one block of at most `step` rows after the other; it may not change what other blocks read."""

    def sums(self, function: Callable[[Block], Sums], source: Source, step: int) -> Iterator[Sums]:
        """Yield the sum of `function(block)` over the blocks of one span after the other, of those that have rows."""
        values, spans = self.each(function, source, step), spans_of(source)
        if len(spans) == 1:
            yield summed(values)
            return
        for span in spans:
            yield summed(islice(values, -(-(span.stop - span.start) // step)))

    def over(
        self, function: Callable[[Partition], T], dataset: Dataset, columns: Sequence[str] | None = None
    ) -> Iterator[T]:
        """Yield `function(partition)` of one partition of a dataset after the other; it reads some of the columns, or any."""
        return in_force(self).partitions(function, dataset, dataset.columns if columns is None else columns)

    def partitions(self, function: Callable[[Partition], T], dataset: Dataset, columns: Sequence[str]) -> Iterator[T]:
        """Yield the same, whatever block the caller is in."""
        return in_order(partial(named, function), progress(dataset.partitions, "partitions"))

    def in_block(self, other: Engine) -> Engine:
        """Return who takes passes in the place of this engine, in a block that lets another one do so."""
        return self


@dataclass(frozen=True)
class Threads(Engine):
    """Blocks that fit a CPU's cache, shared among as many threads as the user gave torch where there are several."""

    def block_rows(self, source: Source) -> int:
        """Return the rows of a quarter of a million numbers, a multiple of 1,024."""
        return rows_of_width(source.width, source.device)

    def pieces(self, block: Block, rows: int) -> Iterable[Block]:
        """Cut a block into smaller ones."""
        if len(block) <= rows:
            return [block]
        return (
            Block(block.start + start, {name: part[start : start + rows] for name, part in block.columns.items()})
            for start in range(0, len(block), rows)
        )

    def each(self, function: Callable[[Block], T], source: Source, step: int) -> Iterator[T]:
        """Yield `function(block)` in row order."""
        if source.rows <= step and not source.in_turn:
            return iter((function(block_of(source, 0, source.rows)),))
        bounds = bounds_of(source, step)
        if len(bounds) < _SHARED or source.device.type != "cpu":
            return (function(block_of(source, *rows)) for rows in progress(bounds, "rows"))
        if source.in_turn:  # by the calling thread, while others compute
            return in_order(function, (block_of(source, *rows) for rows in progress(bounds, "rows")))
        return in_order(lambda rows: function(block_of(source, *rows)), progress(bounds, "rows"))

    def sums(self, function: Callable[[Block], Sums], source: Source, step: int) -> Iterator[Sums]:
        """Yield the sums over spans, each of which one thread reads."""
        if source.rows <= step and not source.in_turn:
            return iter((function(block_of(source, 0, source.rows)),))
        spans = spans_of(source)
        if len(spans) < 2 or source.device.type != "cpu":
            return Engine.sums(self, function, source, step)
        return in_order(partial(sum_of_span, function, source, step), progress(spans, "partitions"))

    def in_block(self, other: Engine) -> Engine:
        """Return the block's engine."""
        return other

    def __reduce__(self) -> str:
        """Pickle, and copy, as the one that there is."""
        return "THREADS"


@dataclass(frozen=True)
class OneAtATime(Engine):
    """Blocks of a given size, of which one is computed at a time, with all of torch's threads but for few rows.

    A module's or a loss's code may not be called by two threads at once, since ``functional_call`` writes into the module while it runs.

    Attributes
    ----------
    rows : int
        The rows in a block; n where the rows cannot be told apart.
    """

    rows: int

    def block_rows(self, source: Source) -> int:
        """Return the rows in a block."""
        return max(self.rows, 1)

    def pieces(self, block: Block, rows: int) -> Iterable[Block]:
        """Return the block itself: code of the user's is called for as many rows as it is made for."""
        return [block]

    def each(self, function: Callable[[Block], T], source: Source, step: int) -> Iterator[T]:
        """Yield `function(block)` in row order."""
        few = source.rows < step
        for rows in progress(bounds_of(source, step), "rows"):
            block = block_of(source, *rows)
            yield function(block) if few else with_all_threads(function, block)


@dataclass(frozen=True)
class AllAtOnce(Engine):
    """All rows as one block, computed by the calling thread, for losses of rows that depend on other rows."""

    def block_rows(self, source: Source) -> int:
        """Return n."""
        return max(source.rows, 1)

    def pieces(self, block: Block, rows: int) -> Iterable[Block]:
        """Return the block itself."""
        return [block]

    def each(self, function: Callable[[Block], T], source: Source, step: int) -> Iterator[T]:
        """Yield `function(block)` of the only block."""
        yield function(block_of(source, 0, source.rows))

    def sums(self, function: Callable[[Block], Sums], source: Source, step: int) -> Iterator[Sums]:
        """Yield the same."""
        return self.each(function, source, step)


THREADS = Threads()

_IN_FORCE: ContextVar[Engine | None] = ContextVar("_IN_FORCE", default=None)


@contextmanager
def using(engine: Engine) -> Iterator[None]:
    """Let an engine take all passes, in this thread, while the block lasts."""
    token = _IN_FORCE.set(engine)
    try:
        yield
    finally:
        _IN_FORCE.reset(token)


def in_force(engine: Engine) -> Engine:
    """Return the engine of the block that the caller is in, cut as this one is; the engine itself where there is no block."""
    other = _IN_FORCE.get()
    return engine if other is None else engine.in_block(other)


def fold(
    source: Source, function: Callable[[Block], tuple[Tensor, ...]], engine: Engine = THREADS, fewest: int = 1
) -> tuple[Tensor, ...]:
    """Sum `function(block)`, tensors whose shapes do not depend on the block, over the row blocks, in row order.

    Blocks that an engine cuts by width have at least `fewest` rows.

    Examples
    --------
    >>> import torch
    >>> from betahat.data.source import Held
    >>> fold(Held({"x": torch.ones(5000, 2)}), lambda block: (block["x"].sum(0),))
    (tensor([5000., 5000.], dtype=torch.float64),)
    """
    engine = in_force(engine)
    return summed(engine.sums(function, source, max(engine.block_rows(source), fewest)))


def scan(source: Source, function: Callable[[Block], T], engine: Engine = THREADS, fewest: int = 1) -> Iterator[T]:
    """Yield `function(block)` of one row block after the other, in row order; blocks that an engine cuts by width have at least `fewest` rows.

    Who takes what it yields may carry a state from block to block, as the last rows of a block are for lags.
    """
    engine = in_force(engine)
    return engine.each(function, source, max(engine.block_rows(source), fewest))


def gather(source: Source, function: Callable[[Block], Tensor], engine: Engine = THREADS) -> Tensor:
    """Concatenate `function(block)` over the row blocks: one row out for each row in."""
    parts: list[Tensor] = []
    for part in scan(source, function, engine):
        if not parts and source.in_turn:
            check_rows_fit(part, source.rows)
        parts.append(part)
    return parts[0] if len(parts) == 1 else torch.cat(parts)


def gather_spread(columns: Sequence[Tensor], function: Callable[..., Tensor], rows: int) -> Tensor:
    """Concatenate `function(*columns)` like `gather`, of at least two blocks with every so many-th row: no row has its neighbours or its place."""
    nobs = len(columns[0])
    step = min(max(2, -(-nobs // max(rows, 1))), max(nobs, 1))
    parts = [
        function(*(_float64(column[start::step]) for column in columns)) for start in progress(range(step), "rows")
    ]
    found = parts[0].new_empty(nobs, *parts[0].shape[1:])
    for start, part in enumerate(parts):
        found[start::step] = part
    return found


def summed(terms: Iterable[tuple[Tensor, ...]]) -> tuple[Tensor, ...]:
    """Add tuples of tensors up, in their order."""
    following = iter(terms)
    sums = next(following)
    for i, others in enumerate(following):
        if not i:  # what the first block gave may be what it was given
            sums = tuple(map(torch.clone, sums))
        for running, term in zip(sums, others, strict=True):
            running.add_(term)
    return sums


def column_of_rows(source: Source, name: str) -> Tensor:
    """Return (n, ...) a whole column: the tensor where it is held, else all that is read, in float64."""
    held = source.held(name)
    return gather(source.only(name), partial(_column, name)) if held is None else held


def rows_of_width(width: int, device: torch.device) -> int:
    """Return how many rows of `width` numbers make a block on `device`: a multiple of 1,024."""
    budget = _CPU_BLOCK if device.type == "cpu" else _GPU_BLOCK
    return max(1, budget // max(width, 1) // CHUNK) * CHUNK


def more_than_a_block(x: Tensor) -> bool:
    """Tell whether a tensor on the CPU has more numbers than a block."""
    return x.numel() > _CPU_BLOCK


def numbered(columns: Sequence[Tensor]) -> Held:
    """Return (n, ...) tensors as a source, called by their numbers."""
    return Held({str(i): column for i, column in enumerate(columns)})


def spans_of(source: Source) -> list[Span]:
    """Return the spans that have rows, or an empty one where none has."""
    return [span for span in source.spans if span.start < span.stop] or [Span(0, 0)]


def bounds_of(source: Source, step: int, *spans: Span) -> list[tuple[int, int]]:
    """Return the first row of each block and one past its last: spans, all or some, are cut into blocks of `step` rows."""
    return [
        (start, min(start + step, span.stop))
        for span in spans or spans_of(source)
        for start in range(span.start, max(span.stop, 1), step)
    ]


def sum_of_span(function: Callable[[Block], Sums], source: Source, step: int, span: Span) -> Sums:
    """Sum a function over the blocks of one span; an error names the span."""
    starts = range(span.start, max(span.stop, 1), step)
    try:
        return summed(function(block_of(source, start, min(start + step, span.stop))) for start in starts)
    except Exception as error:
        tell_where(error, span.name)
        raise


def named(function: Callable[[Partition], T], partition: Partition) -> T:
    """Take a function of a partition; an error names it."""
    try:
        return function(partition)
    except Exception as error:
        tell_where(error, partition.name)
        raise


def tell_where(error: Exception, name: str) -> None:
    """Say in an error which partition it comes from, unless it does already: in the sentence where it is of data, else in a note."""
    file = name.rpartition(" (")[0] or name  # without its row groups
    if not name or file in str(error):
        return
    if isinstance(error, DataError | FormulaError):
        error.args = (f"{name}: {error}",)
    else:
        error.add_note(f"It came up in {name}.")


def block_of(source: Source, start: int, stop: int) -> Block:
    """Read a block of all columns."""
    names = tuple(source.shapes)
    parts = source.read(names, start, stop)
    return Block(start, {name: _float64(part) for name, part in zip(names, parts, strict=True)})


def _column(name: str, block: Block) -> Tensor:
    return block[name]


def _float64(part: Tensor) -> Tensor:
    return (part.to(torch.float64) if part.is_floating_point() else part).contiguous()
