"""Products of a block's rows, in the shapes that a CPU's caches and LAPACK like: X'X, X'v, X R, and sums over groups."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from betahat.data.engine import CHUNK, more_than_a_block
from betahat.data.threads import in_order
from betahat.lazy import lazily

if TYPE_CHECKING:
    from scipy import sparse
else:
    sparse = lazily("scipy.sparse")

_LINE = 8  # doubles in a cache line
_FEW, _HALF_LINE = (
    12,
    4,
)  # up to so many columns, whole lines are more work than they save: ten columns as twelve take a third of the time as sixteen
_PIECE = 32
# Where columns are many, what lies below the diagonal is not computed, a panel of 128 columns at a time: two thirds of the time.
_WIDE, _PANEL = 256, 128
# A piece of so many rows has its own sums of groups.
_ADDED = 2**18


def gram(x: Tensor, scale: Tensor | None = None, beside: Tensor | None = None) -> Tensor:
    """Return Z'Z of Z = [x * scale | beside] by batched products, for (b, k) x, (b,) scale and (b,) or (b, m) beside.

    torch's own `x.T @ x` is one matrix product; summing `bmm` over chunks of 1,024 rows takes a sixth of its
    time on a CPU, and a fifth less again where the rows of Z are whole cache lines, so that they are padded.
    """
    rows, width = x.shape
    beside = None if beside is None else beside.reshape(rows, -1)
    columns = width + (0 if beside is None else beside.shape[1])
    if rows < CHUNK:
        z = x if scale is None else x * scale[:, None]
        z = z if beside is None else torch.cat([z, beside], 1)
        return _square(z)
    z = x.new_empty(rows, columns + -columns % (_LINE if columns > _FEW else _HALF_LINE))
    z[:, columns:] = 0.0
    if scale is None:
        z[:, :width] = x
    else:
        torch.mul(x, scale[:, None], out=z[:, :width])
    if beside is not None:
        z[:, width:columns] = beside
    if columns >= _WIDE:
        return _square(z)[:columns, :columns]
    whole = rows - rows % CHUNK
    chunks = z[:whole].view(-1, CHUNK, z.shape[1])
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
    if len(x) < CHUNK:
        return x @ right
    return (x @ torch.nn.functional.pad(right, (0, -width % _LINE)))[:, :width]


def cross(x: Tensor, v: Tensor) -> Tensor:
    """Return X'v, (k,), of a contiguous (b, k) block and a (b,) vector by batched products."""
    rows, width = x.shape
    whole = rows - rows % CHUNK
    if not whole:
        return torch.mv(x.mT, v)
    product = torch.bmm(v[:whole].view(-1, 1, CHUNK), x[:whole].view(-1, CHUNK, width)).sum((0, 1))
    return product if whole == rows else product + v[whole:] @ x[whole:]


def group_grams(x: Tensor, codes: Tensor, into: Tensor) -> None:
    """Add each group's x'x to (G, k, k) sums, for (b, k) rows, those of a group together, and their (b,) groups.

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
    return plain and more_than_a_block(x)


def group_sums(x: Tensor, factor: Tensor, codes: Tensor, count: int) -> Tensor:
    """Return (G, k) each group's sum of x times its (n,) factor, x being one for which `sums_at_once` holds.

    A product of a sparse matrix with a number in each column adds rows, in their order, to what they belong to, in a third of the time that
    scaling and `index_add_` take.
    """

    def piece(start: int) -> Tensor:
        rows = slice(start, start + step)
        return torch.from_numpy(_adding(factor[rows], codes[rows], count) @ x[rows].numpy())

    step = max(_ADDED, 4 * count)  # so that all sums of pieces are at most a quarter of x
    first, *others = in_order(piece, range(0, len(x), step))
    for other in others:
        first += other
    return first


def level_sums_of_block(x: Tensor, factor: Tensor, codes: Tensor, count: int) -> Tensor:
    """Return (G, m) each level's sum of (b, m) x times its (b,) factor."""
    if x.device.type != "cpu":
        return x.new_zeros(count, x.shape[1]).index_add_(0, codes, x * factor[:, None])
    return torch.from_numpy(_adding(factor, codes, count) @ x.numpy())


def _adding(factor: Tensor, codes: Tensor, count: int) -> sparse.csc_array:
    """Return the (G, b) sparse matrix that adds rows times their factors to their groups."""
    rank = codes.to(torch.int32 if count < 2**31 else torch.int64).numpy()
    return sparse.csc_array(
        (factor.numpy(), rank, np.arange(len(rank) + 1, dtype=rank.dtype)), shape=(count, len(rank))
    )


def side_by_side(x: Tensor, z: Tensor) -> Tensor:
    """Return (n, k + m) x and z beside each other, copied by several threads where they are large."""
    if not more_than_a_block(x):
        return torch.cat([x, z], 1)
    width = x.shape[1]
    joint = x.new_empty(len(x), width + z.shape[1], dtype=torch.promote_types(x.dtype, z.dtype))

    def copy(start: int) -> None:
        joint[start : start + _ADDED, :width] = x[start : start + _ADDED]
        joint[start : start + _ADDED, width:] = z[start : start + _ADDED]

    list(in_order(copy, range(0, len(x), _ADDED)))
    return joint


def weighted_gram(x: Tensor, weights: Tensor | None) -> Tensor:
    """Return X' diag(w) X, (k, k), for weights of either sign."""
    if weights is None or float(weights.min()) >= 0:
        return gram(x, None if weights is None else weights.sqrt())
    return gram(x, weights.clamp_min(0.0).sqrt()) - gram(x, weights.clamp_max(0.0).neg().sqrt())


def products(x: Tensor, z: Tensor) -> Tensor:
    """Return X'Z, (k, m), of contiguous (b, k) and (b, m) blocks, by batched products."""
    whole = len(x) - len(x) % CHUNK
    if not whole:
        return x.mT @ z
    joint = torch.bmm(x[:whole].view(-1, CHUNK, x.shape[1]).mT, z[:whole].view(-1, CHUNK, z.shape[1])).sum(0)
    return joint if whole == len(x) else joint + x[whole:].mT @ z[whole:]
