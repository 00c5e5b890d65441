"""Engines of other people's: executors of `concurrent.futures`, dask, ray.

A pass is a few large tasks, each of whole partitions, reduced inside; what they give is added in partition order, never in order of arrival. Of
tensors in memory a task has a few blocks, whose sums are added here, block after block, as one thread does it.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import partial
from itertools import chain, islice
from typing import Any, TypeVar

from betahat.data.datasets.base import Dataset, Partition
from betahat.data.engine import (
    THREADS,
    Block,
    Engine,
    OneAtATime,
    Sums,
    block_of,
    bounds_of,
    in_force,
    named,
    spans_of,
    sum_of_span,
    using,
)
from betahat.data.pools import Pool, pool_of
from betahat.data.progress import progress
from betahat.data.source import Source, Span

S = TypeVar("S")
T = TypeVar("T")
Bounds = list[tuple[int, int]]

# Tasks for each worker in a pass, so that none waits long for the last; and partitions in one, so that little is lost with a worker.
_TASKS, _MOST = 4, 16
# Tasks for each worker that are under way at once.
_AHEAD = 2
# Of fewer blocks in memory, sending costs more than computing.
_FEW = 4


@dataclass(frozen=True, eq=False)
class _Rows:
    """What a task reads: some spans of a source, or some blocks by their bounds."""

    source: Source
    spans: Sequence[Span]
    bounds: Bounds


@dataclass(frozen=True)
class Workers(Engine):
    """The blocks of `Threads`, computed by the workers of a pool.

    Attributes
    ----------
    pool : Pool
    cut : Engine
        How rows are cut into blocks, and who computes them where they are few.
    """

    pool: Pool
    cut: Engine = THREADS

    def block_rows(self, source: Source) -> int:
        """Return the rows in a block."""
        return self.cut.block_rows(source)

    def pieces(self, block: Block, rows: int) -> Iterable[Block]:
        """Cut a block into smaller ones."""
        return self.cut.pieces(block, rows)

    def each(self, function: Callable[[Block], T], source: Source, step: int) -> Iterator[T]:
        """Yield `function(block)` in row order, whichever worker is first."""
        bounds = bounds_of(source, step)
        if source.device.type != "cpu" or (not source.in_turn and len(bounds) < _FEW):
            return self.cut.each(function, source, step)
        if source.in_turn:
            tasks = [bounds_of(source, step, span) for span in spans_of(source)]
        else:
            tasks = list(_parts(bounds, -(-len(bounds) // (self.pool.workers * _TASKS))))
        items = (_Rows(self._sent(source, some[0][0], some[-1][1]), [], some) for some in tasks)
        found = self._in_order(partial(_blocks, function), items, source.within(0, 0))
        return _one_by_one(found, bounds, "rows")

    def sums(self, function: Callable[[Block], Sums], source: Source, step: int) -> Iterator[Sums]:
        """Yield the sums over spans, of which a task has several, unless their rows lie with different workers."""
        spans = spans_of(source)
        if source.device.type != "cpu" or len(spans) < 2:
            return Engine.sums(self, function, source, step)
        size = min(max(len(spans) // (self.pool.workers * _TASKS), 1), _MOST)
        tasks = _parts(spans, 1 if any(span.apart for span in spans) else size)
        items = (_Rows(self._sent(source, some[0].start, some[-1].stop), some, []) for some in tasks)
        found = self._in_order(partial(_sums, function, step), items, source.within(0, 0))
        return _one_by_one(found, spans, "partitions")

    def partitions(self, function: Callable[[Partition], T], dataset: Dataset, columns: Sequence[str]) -> Iterator[T]:
        """Yield `function(partition)` in order, whichever worker is first."""
        columns = tuple(dict.fromkeys(columns))
        items = (([part.ready(columns)] if self.pool.sends else [part]) for part in dataset.partitions)
        return _one_by_one(self._in_order(partial(_over, function), items, None), dataset.partitions, "partitions")

    def in_block(self, other: Engine) -> Engine:
        """Return the block's engine, which cuts rows as this one does."""
        return _cut_as(self.cut, other)

    def __reduce__(self) -> Any:
        """Pickle as the engine of whoever reads it: workers are there as long as their pool is."""
        return _own, (self.cut,)

    def __deepcopy__(self, memo: object) -> Workers:
        """Copy as what it is: there is one pool."""
        return self

    def _sent(self, source: Source, start: int, stop: int) -> Source:
        return source.within(start, stop) if self.pool.sends else source

    def _in_order(self, function: Callable[[S], T], items: Iterator[S], skeleton: Source | None) -> Iterator[T]:
        """Yield what a function gives of one item after the other; what items have in common, the skeleton of one has."""
        take = self.pool.taking(function, skeleton)
        ahead: deque[Any] = deque()
        room = max(self.pool.workers * _AHEAD, 1)
        try:
            while True:
                for item in islice(items, room - len(ahead)):
                    ahead.append(take(item))
                if not ahead:
                    return
                found = self.pool.result(ahead[0])
                ahead.popleft()
                yield found
        finally:  # after an error or an interrupt, or where nobody asks for the rest
            if ahead:
                self.pool.cancel(tuple(ahead))


class engine(AbstractContextManager[None]):  # noqa: N801  # it is called as a function is
    """Let other workers compute all passes over rows inside a ``with`` block.

    This holds for models that were given an `engine` of their own, too, and for their results: those whose executor was shut down, or
    whose Client was closed, can be used in a block with another one, or with None. Passes are cut into blocks, and sums are added in the order of the rows, whoever computes
    them, so that every number is the same to the last bit on any engine with any number of workers. Tensors in memory are sent to other
    processes in each pass, which pays where much is computed for each row; partitions of a dataset are read by the workers themselves.

    Parameters
    ----------
    workers : Executor, dask Client, module ray or None
        An executor of ``concurrent.futures``: threads, processes, loky's, dask's by ``get_executor()``, MPI's; a dask ``Client``; the module ``ray``; or
        None, threads of betahat's own, as many as torch has. Functions go to other processes by cloudpickle (``pip install 'betahat[workers]'``).

    Raises
    ------
    OptionError
        `workers` is something else.
    WorkerError
        Later, in a pass: workers died, or have other versions of betahat, torch or Python.

    Examples
    --------
    >>> from concurrent.futures import ThreadPoolExecutor
    >>> import betahat as bh
    >>> data = {"y": [1.0, 2.0, 4.0, 5.0], "x": [1.0, 2.0, 3.0, 4.0]}
    >>> with ThreadPoolExecutor(2) as threads, bh.engine(threads):
    ...     res = bh.ols("y ~ x", data).fit("HC1")
    >>> res.bse
    Intercept    0.264575
    x            0.084853
    dtype: float64
    """

    def __init__(self, workers: Any) -> None:
        """Take the workers."""
        self._engine = read_engine(workers)

    def __enter__(self) -> None:
        """Begin."""
        self._block = using(self._engine)
        self._block.__enter__()

    def __exit__(self, *raised: Any) -> None:
        """End, whatever was raised."""
        self._block.__exit__(*raised)


def read_engine(engine: Any) -> Engine:
    """Return who takes passes, of what a user may give as `engine`."""
    return THREADS if engine is None else Workers(pool_of(engine))


def one_at_a_time(rows: int, engine: Engine) -> Engine:
    """Return who computes blocks of so many rows by code of the user's, of which a process may run one at a time: several processes, or this thread."""
    return _cut_as(OneAtATime(rows), in_force(engine))


def _cut_as(cut: Engine, engine: Engine) -> Engine:
    """Return an engine that cuts rows in some way: code of the user's is computed by several processes, or by this thread."""
    if isinstance(engine, Workers) and (cut is THREADS or engine.pool.sends):
        return Workers(engine.pool, cut)
    return engine if cut is THREADS else cut


def _own(cut: Engine) -> Engine:
    return cut


def _parts(items: Sequence[S], size: int) -> Iterator[list[S]]:
    return (list(items[first : first + size]) for first in range(0, len(items), size))


def _one_by_one(found: Iterator[list[T]], parts: Sequence[object], label: str) -> Iterator[T]:
    """Yield what tasks gave, each of several parts, while a bar counts these."""
    following = chain.from_iterable(found)
    for _ in progress(parts, label):
        yield next(following)


def _blocks(function: Callable[[Block], T], rows: _Rows) -> list[T]:
    return [function(block_of(rows.source, *some)) for some in rows.bounds]


def _sums(function: Callable[[Block], Sums], step: int, rows: _Rows) -> list[Sums]:
    return [sum_of_span(function, rows.source, step, span) for span in rows.spans]


def _over(function: Callable[[Partition], T], partitions: Sequence[Partition]) -> list[T]:
    return [named(function, partition) for partition in partitions]
