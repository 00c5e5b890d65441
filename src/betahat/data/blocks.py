"""The row-block engine: everything large is a sum over rows, and only this file loops over rows.

A block is small enough for a CPU's cache and large on a GPU. Blocks depend on the data's shape alone, each is computed by one
thread, and their sums are added in row order, so a result is the same bit for bit on every run, with any number of threads.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, NamedTuple, TypeVar

import numpy as np
import torch
from torch import Tensor

from betahat.data.progress import progress
from betahat.data.threads import in_order, with_all_threads
from betahat.lazy import lazily

if TYPE_CHECKING:
    from scipy import sparse
else:
    sparse = lazily("scipy.sparse")

T = TypeVar("T")

# Measured (2 cores, k = 20): 8 to 32 thousand rows are equally fast, 1,024 is the best chunk of a
# batched product, and from 128 to 4,096 nothing changes by more than a tenth.
_CHUNK = 1024
_LINE = 8  # doubles in a cache line
_PIECE = 32
# Where columns are many, what lies below the diagonal is not computed, a panel of 128 columns at a time: two thirds of the time.
_WIDE, _PANEL = 256, 128
_CPU_BLOCK = 2**18
_GPU_BLOCK = 2**25
# A piece of so many rows has its own sums of groups.
_ADDED = 2**18
# Handing a block to another thread costs 0.05 ms.
_SHARED = 4


class Block(NamedTuple):
    """Consecutive rows of some columns, in float64.

    Attributes
    ----------
    start : int
        The position of the block's first row.
    columns : tuple of Tensor
        One tensor for each input, (b, ...) float64, contiguous.
    """

    start: int
    columns: tuple[Tensor, ...]


def block_rows(width: int, device: torch.device) -> int:
    """Return how many rows of `width` numbers make a block on `device`: a multiple of 1,024."""
    budget = _CPU_BLOCK if device.type == "cpu" else _GPU_BLOCK
    return max(1, budget // max(width, 1) // _CHUNK) * _CHUNK


def blocks(*columns: Tensor, rows: int | None = None) -> Iterator[Block]:
    """Cut columns of equal length into blocks of rows, each contiguous, numbers with a point in float64.

    Where there are many, and it takes longer than two seconds, a progress bar shows on a terminal.

    Parameters
    ----------
    *columns : Tensor
        (n, ...) tensors on one device.
    rows : int, optional
        The rows in a block; None takes `block_rows` of the columns' width.

    Yields
    ------
    Block
    """
    cut, starts = _cut(columns, rows)
    return map(cut, progress(starts, "rows"))


def each(function: Callable[[Block], T], *columns: Tensor, rows: int | None = None, fewest: int = 1) -> Iterator[T]:
    """Yield `function(block)` of one row block after the other.

    Several threads compute where the columns' width decides about the blocks. Blocks of a size that is given are a module's, or a loss's,
    whose code may not be called by two threads at a time: it has torch's threads to itself, but for few rows.

    Parameters
    ----------
    function : callable
        Maps a `Block` to anything; it may not change what other blocks read.
    *columns, rows
        As in `blocks`.
    fewest : int
        The fewest rows of a block whose size is not given.

    Yields
    ------
    What `function` returns, in row order.
    """
    cut, starts = _cut(columns, rows, fewest)
    if rows is not None:
        few = len(columns[0]) < rows
        return (function(cut(i)) if few else with_all_threads(function, cut(i)) for i in progress(starts, "rows"))
    if len(starts) < _SHARED or columns[0].device.type != "cpu":
        return (function(cut(i)) for i in progress(starts, "rows"))
    return in_order(lambda start: function(cut(start)), progress(starts, "rows"))


def _cut(columns: tuple[Tensor, ...], rows: int | None, fewest: int = 1) -> tuple[Callable[[int], Block], range]:
    """Return what makes the block that starts at a row, and where blocks start."""
    nobs = columns[0].shape[0]
    width = sum(column.numel() for column in columns) // max(nobs, 1)
    step = max(block_rows(width, columns[0].device), fewest) if rows is None else max(rows, 1)

    def cut(start: int) -> Block:
        parts = columns if nobs <= step else [column[start : start + step] for column in columns]
        return Block(start, tuple(map(_float64, parts)))

    return cut, range(0, max(nobs, 1), step)


def total(
    function: Callable[[Block], tuple[Tensor, ...]], *columns: Tensor, rows: int | None = None
) -> tuple[Tensor, ...]:
    """Sum `function(block)` over the row blocks, in row order.

    Parameters
    ----------
    function : callable
        Maps a `Block` to a tuple of tensors whose shapes do not depend on the block.
    *columns, rows
        As in `blocks`.

    Returns
    -------
    tuple of Tensor

    Examples
    --------
    >>> import torch
    >>> total(lambda block: (block.columns[0].sum(0),), torch.ones(5000, 2))
    (tensor([5000., 5000.], dtype=torch.float64),)
    """
    terms = each(function, *columns, rows=rows)
    sums = next(terms)
    for i, others in enumerate(terms):
        if not i:  # what the first block gave may be what it was given
            sums = tuple(map(torch.clone, sums))
        for running, term in zip(sums, others, strict=True):
            running.add_(term)
    return sums


def gather(function: Callable[[Block], Tensor], *columns: Tensor, rows: int | None = None) -> Tensor:
    """Concatenate `function(block)` over the row blocks: one row out for each row in."""
    parts = list(each(function, *columns, rows=rows))
    return parts[0] if len(parts) == 1 else torch.cat(parts)


def gather_spread(function: Callable[[Block], Tensor], *columns: Tensor, rows: int) -> Tensor:
    """Concatenate like `gather`, of at least two blocks with every so many-th row: no row has its neighbours or its place."""
    nobs = columns[0].shape[0]
    step = min(max(2, -(-nobs // max(rows, 1))), max(nobs, 1))
    parts = [
        function(Block(start, tuple(_float64(column[start::step]) for column in columns)))
        for start in progress(range(step), "rows")
    ]
    found = parts[0].new_empty(nobs, *parts[0].shape[1:])
    for start, part in enumerate(parts):
        found[start::step] = part
    return found


def gram(x: Tensor, scale: Tensor | None = None, beside: Tensor | None = None) -> Tensor:
    """Return Z'Z of Z = [x * scale | beside] by batched products.

    torch's own `x.T @ x` is one matrix product; summing `bmm` over chunks of 1,024 rows takes a sixth of its
    time on a CPU, and a fifth less again where the rows of Z are whole cache lines, so that they are padded.

    Parameters
    ----------
    x : Tensor
        (b, k) float64.
    scale, beside : Tensor, optional
        (b,) factors of the rows, and (b,) one more column.

    Returns
    -------
    Tensor
        (k, k), or (k + 1, k + 1) with `beside`.
    """
    rows, width = x.shape
    columns = width + (beside is not None)
    if rows < _CHUNK:
        z = x if scale is None else x * scale[:, None]
        z = z if beside is None else torch.cat([z, beside[:, None]], 1)
        return _square(z)
    z = x.new_empty(rows, columns + -columns % _LINE)
    z[:, columns:] = 0.0
    if scale is None:
        z[:, :width] = x
    else:
        torch.mul(x, scale[:, None], out=z[:, :width])
    if beside is not None:
        z[:, width] = beside
    if columns >= _WIDE:
        return _square(z)[:columns, :columns]
    whole = rows - rows % _CHUNK
    chunks = z[:whole].view(-1, _CHUNK, z.shape[1])
    product = torch.bmm(chunks.mT, chunks).sum(0)
    if whole < rows:
        product += z[whole:].mT @ z[whole:]
    return product[:columns, :columns]


def _square(z: Tensor) -> Tensor:
    """Return Z'Z, (k, k), of one matrix product, or of one for each panel of columns and those to its right."""
    width = z.shape[1]
    if width < _WIDE or z.device.type != "cpu":
        return z.mT @ z
    square = z.new_empty(width, width)
    for start in range(0, width, _PANEL):
        stop = min(start + _PANEL, width)
        torch.mm(z[:, start:stop].mT, z[:, start:], out=square[start:stop, start:])
        square[stop:, start:stop] = square[start:stop, stop:].mT
    return square


def product(x: Tensor, right: Tensor) -> Tensor:
    """Return x @ right, (b, r), of a (b, k) block: a third faster where the rows of the result are cache lines."""
    width = right.shape[1]
    if len(x) < _CHUNK:
        return x @ right
    return (x @ torch.nn.functional.pad(right, (0, -width % _LINE)))[:, :width]


def cross(x: Tensor, v: Tensor) -> Tensor:
    """Return X'v, (k,), of a contiguous (b, k) block and a (b,) vector by batched products."""
    rows, width = x.shape
    whole = rows - rows % _CHUNK
    if not whole:
        return torch.mv(x.mT, v)
    product = torch.bmm(v[:whole].view(-1, 1, _CHUNK), x[:whole].view(-1, _CHUNK, width)).sum((0, 1))
    return product if whole == rows else product + v[whole:] @ x[whole:]


def group_grams(x: Tensor, codes: Tensor, into: Tensor) -> None:
    """Add each group's x'x to (G, k, k) sums.

    Parameters
    ----------
    x : Tensor
        (b, k) rows, those of a group together.
    codes : Tensor
        (b,) their groups.
    into : Tensor
        (G, k, k).

    Notes
    -----
    Groups are cut into pieces of at most 32 rows, padded with zeros, so that all their products are one batch.
    """
    groups, run, sizes = torch.unique_consecutive(codes, return_inverse=True, return_counts=True)
    pieces = -(-sizes // _PIECE)
    first, start = pieces.cumsum(0) - pieces, sizes.cumsum(0) - sizes
    rank = torch.arange(len(codes), device=codes.device) - start[run]
    padded = x.new_zeros(int(pieces.sum()) * _PIECE, x.shape[1])
    padded[first[run] * _PIECE + rank] = x
    parts = padded.view(-1, _PIECE, x.shape[1])
    into.index_add_(0, groups.repeat_interleave(pieces), torch.bmm(parts.mT, parts))


def sums_at_once(x: Tensor) -> bool:
    """Tell whether `group_sums` takes (n, k) x as it lies, and is worth its overhead."""
    plain = x.device.type == "cpu" and x.dtype == torch.float64 and x.is_contiguous()
    return plain and x.numel() > _CPU_BLOCK


def group_sums(x: Tensor, factor: Tensor, codes: Tensor, count: int) -> Tensor:
    """Return (G, k) each group's sum of x times its (n,) factor, x being one for which `sums_at_once` holds.

    A product of a sparse matrix with a number in each column adds rows, in their order, to what they belong to, in a third of the time that
    scaling and `index_add_` take.
    """

    def piece(start: int) -> Tensor:
        rows = slice(start, start + step)
        numbers, rank = factor[rows].numpy(), codes[rows].to(torch.int32 if count < 2**31 else torch.int64).numpy()
        added = sparse.csc_array((numbers, rank, np.arange(len(rank) + 1, dtype=rank.dtype)), shape=(count, len(rank)))
        return torch.from_numpy(added @ x[rows].numpy())

    step = max(_ADDED, 4 * count)  # so that all sums of pieces are at most a quarter of x
    first, *others = in_order(piece, range(0, len(x), step))
    for other in others:
        first += other
    return first


def weighted_gram(x: Tensor, weights: Tensor | None) -> Tensor:
    """Return X' diag(w) X, (k, k), for weights of either sign."""
    if weights is None or float(weights.min()) >= 0:
        return gram(x, None if weights is None else weights.sqrt())
    return gram(x, weights.clamp_min(0.0).sqrt()) - gram(x, weights.clamp_max(0.0).neg().sqrt())


def _float64(part: Tensor) -> Tensor:
    return (part.to(torch.float64) if part.is_floating_point() else part).contiguous()
