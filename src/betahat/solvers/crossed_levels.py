"""Products of the columns of absorbed effects, Q'WQ, as sparse matrices.

Q has the effects' columns, those of the largest effect first. Those of one effect are orthonormal, so that only products of two effects' columns
are made: at most one number for each row and pair of columns, and far fewer where the same levels meet often.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate, pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from betahat.data.threads import remembered
from betahat.lazy import lazily
from betahat.solvers.level_columns import Column, on_cpu, row_factor

if TYPE_CHECKING:
    from scipy import sparse
else:
    sparse = lazily("scipy.sparse")

# A multiplication of sparse matrices takes as long as eighty of dense ones; so many rows of a sparse matrix are written out at a time.
_DENSER, _SOME = 80, 1024
# A part of S is written out if it has so many numbers for each row of the data at most, as a sample of so many of its rows tells.
_LONG, _SAMPLE = 1, 64
# That takes so many multiplications for each of its numbers at most, as long as a few products with the parts do.
_PRODUCTS = 8


@dataclass(frozen=True, eq=False)
class Pattern:
    """Where the products of two columns stand in a sparse matrix, whatever the weights are.

    Attributes
    ----------
    order : numpy.ndarray
        (n,) the rows, in the order of the matrix's numbers.
    starts, indices, ends : numpy.ndarray
        Where each number's rows begin in that order, its column, and where the numbers of each of the matrix's rows end, from zero on.
    """

    order: np.ndarray
    starts: np.ndarray
    indices: np.ndarray
    ends: np.ndarray


# By the places of two columns.
Patterns = dict[tuple[int, int], Pattern]


@dataclass(eq=False)
class Crossed:
    """With Q = [Q1 Q2], Q1 of the largest effect: A' = Q1'WQ2, and Q2'WQ2 = I + R.

    A matrix is one of SciPy's on the CPU, where `times` takes it, and one of torch's elsewhere.

    Attributes
    ----------
    columns : tuple of Column
        Those of the largest effect first.
    sizes : tuple of int
        How many columns each effect has.
    weights : Tensor or None
        (n,)
    patterns : dict or None
        What is known of the matrices' patterns, which those of other weights share; None where there are none.
    """

    columns: tuple[Column, ...]
    sizes: tuple[int, ...]
    weights: Tensor | None
    patterns: Patterns | None = None

    @remembered
    def down(self) -> Any:
        """(q1, q2) A'."""
        first, every = self.sizes[0], range(len(self.columns))
        return _joined([[self._product(i, j) for j in every[first:]] for i in every[:first]])

    @remembered
    def across(self) -> Any:
        """(q2, q1) A."""
        return _transposed(self.down)

    @remembered
    def rest(self) -> Any | None:
        """(q2, q2) R; None where there are but two effects."""
        if len(self.sizes) < 3:
            return None
        first = self.sizes[0]
        columns = self.columns[first:]
        effect = [i for i, size in enumerate(self.sizes[1:]) for _ in range(size)]
        blocks: list[list[Any]] = [[None] * len(columns) for _ in columns]
        for i in range(len(columns)):
            for j in range(i + 1, len(columns)):
                if effect[j] > effect[i]:
                    blocks[i][j] = self._product(first + i, first + j)
                    blocks[j][i] = _transposed(blocks[i][j])
        return _joined(blocks)

    @remembered
    def diagonal(self) -> Tensor:
        """(q2,) ones, and 0 for levels whose column is zero: the diagonal of Q2'WQ2."""
        return torch.cat([(column.root > 0).to(torch.float64) for column in self.columns[self.sizes[0] :]])

    @remembered
    def left(self) -> Tensor:
        """(q2,) the diagonal of S = Q2'WQ2 - A A'."""
        return self.diagonal - _column_squares(self.down)

    @remembered
    def complement(self) -> Any | None:
        """(q2, q2) S as a sparse matrix, where it is no longer than what it is made of; None elsewhere."""
        if isinstance(self.down, Tensor):
            return None
        made = _less_square(self.down, self.across, 2 * self.down.nnz)
        return made if made is None or self.rest is None else made + self.rest

    def block(self, position: int) -> Any | None:
        """Return (q, q) the part of S of the effect at a position after the first, as a sparse matrix; None where it has too many numbers."""
        if isinstance(self.down, Tensor):
            return None
        own = self.places[position]
        down = self.down[:, own]
        return _less_square(down, down.T, _LONG * len(self.columns[0].codes))

    @property
    def places(self) -> list[slice]:
        """Where the coefficients of each effect are, among those of all but the first."""
        first = self.sizes[0]
        counts = [column.count for column in self.columns[first:]]
        ends = [0, *accumulate(counts)]
        edges = [ends[at - first] for at in accumulate(self.sizes)]
        return [slice(0, 0), *(slice(low, high) for low, high in pairwise(edges))]

    def _product(self, i: int, j: int) -> Any:
        """Return (G, H) the sums of rows' products of two columns, times both roots."""
        one, other = self.columns[i], self.columns[j]
        if self.patterns is None or not on_cpu(one.codes):
            return _product(one, other, self.weights)
        if (i, j) not in self.patterns:
            self.patterns[i, j] = _pattern(one, other)
        return _patterned(one, other, self.weights, self.patterns[i, j])

    def apply(self, u: Tensor) -> Tensor:
        """Return (q2, m) S u of (q2, m) u, which is zero where the diagonal is."""
        if self.complement is not None:
            return times(self.complement, u)
        moved = u - times(self.across, times(self.down, u))
        return moved if self.rest is None else moved.add_(times(self.rest, u))

    @property
    def work(self) -> int:
        """How many multiplications it takes to make S."""
        return _work(self.down)

    def dense(self) -> Tensor:
        """Return (q2, q2) S, on the CPU."""
        made = torch.diag(self.diagonal.cpu())
        height, width = self.down.shape
        if isinstance(self.down, Tensor):
            for some in torch.split(torch.arange(width, device=self.down.device), _SOME):
                made[:, some.cpu()] -= times(self.across, self.down.index_select(1, some).to_dense()).cpu()
        elif _DENSER * self.work < height * width**2:
            made -= torch.from_numpy((self.across @ self.down).toarray())
        else:
            for start in range(0, height, _SOME):
                rows = torch.from_numpy(self.down[start : start + _SOME].toarray())
                made.addmm_(rows.mT, rows, alpha=-1.0)
        if self.rest is not None:
            made += (
                self.rest.to_dense().cpu() if isinstance(self.rest, Tensor) else torch.from_numpy(self.rest.toarray())
            )
        return made


def times(matrix: Any, x: Tensor) -> Tensor:
    """Return a sparse matrix times (q, m)."""
    return torch.sparse.mm(matrix, x) if isinstance(matrix, Tensor) else torch.from_numpy(matrix @ x.numpy())


def _product(one: Column, other: Column, weights: Tensor | None) -> Any:
    """Return (G, H) the sums of rows' products, times both roots."""
    shape = (one.count, other.count)
    numbers = row_factor(one, slice(None), weights)
    if other.values is not None:
        numbers = other.values if numbers is None else numbers * other.values
    if not on_cpu(one.codes):
        numbers = one.root.new_ones(len(one.codes)) if numbers is None else numbers
        places = torch.stack([one.codes, other.codes]).long()
        return _of_torch(places, numbers * one.root[places[0]] * other.root[places[1]], shape)
    given = np.ones(len(one.codes)) if numbers is None else numbers.numpy()
    tall = one.count >= other.count  # rows with few numbers are sorted faster
    rows, columns = (one, other) if tall else (other, one)
    summed = sparse.coo_array(
        (given, (rows.codes.numpy(), columns.codes.numpy())), shape=shape if tall else shape[::-1]
    ).tocsr()
    summed.data *= columns.root.numpy()[summed.indices]
    summed.data *= np.repeat(rows.root.numpy(), np.diff(summed.indptr))
    return summed if tall else summed.T.tocsr()


def _pattern(one: Column, other: Column) -> Pattern:
    """Return where the products of two columns stand."""
    joint, order = (one.codes.long() * other.count + other.codes).sort()
    first = torch.cat([joint.new_ones(1, dtype=torch.bool), joint[1:] != joint[:-1]])
    starts = first.nonzero().flatten()
    cells = joint[starts]
    held = torch.bincount(cells // other.count, minlength=one.count).cumsum(0)
    ends = torch.cat([held.new_zeros(1), held])
    return Pattern(
        order.numpy(), starts.numpy(), (cells % other.count).to(torch.int32).numpy(), ends.to(torch.int32).numpy()
    )


def _patterned(one: Column, other: Column, weights: Tensor | None, pattern: Pattern) -> Any:
    """Return the same as `_product` from what is known of its pattern."""
    numbers = row_factor(one, slice(None), weights)
    if other.values is not None:
        numbers = other.values if numbers is None else numbers * other.values
    given = np.ones(len(one.codes)) if numbers is None else numbers.numpy()
    data = np.add.reduceat(given[pattern.order], pattern.starts)
    data *= other.root.numpy()[pattern.indices]
    data *= np.repeat(one.root.numpy(), np.diff(pattern.ends))
    return sparse.csr_array((data, pattern.indices, pattern.ends), shape=(one.count, other.count))


def _joined(blocks: Sequence[Sequence[Any]]) -> Any:
    """Put blocks together."""
    if not any(isinstance(part, Tensor) for part in blocks[0]):
        return blocks[0][0] if len(blocks) == len(blocks[0]) == 1 else sparse.block_array(blocks, format="csr")
    heights = [next(part.shape[0] for part in row if part is not None) for row in blocks]
    widths = [next(part.shape[1] for part in column if part is not None) for column in zip(*blocks, strict=True)]
    starts, places, numbers = [[0, *accumulate(sizes)] for sizes in (heights, widths)], [], []
    for i, row in enumerate(blocks):
        for j, part in enumerate(row):
            if part is not None:
                places.append(part.indices() + part.indices().new_tensor([[starts[0][i]], [starts[1][j]]]))
                numbers.append(part.values())
    return _of_torch(torch.cat(places, 1), torch.cat(numbers), (sum(heights), sum(widths)))


def _of_torch(places: Tensor, numbers: Tensor, shape: tuple[int, int]) -> Tensor:
    """Return a sparse matrix of torch's, the numbers of a place summed."""
    return torch.sparse_coo_tensor(places, numbers, shape, check_invariants=False).coalesce()


def _work(down: Any) -> int:
    """Return how many multiplications A A' takes, from A'."""
    lengths = torch.bincount(down.indices()[0]).numpy(force=True) if isinstance(down, Tensor) else np.diff(down.indptr)
    return int(np.square(lengths.astype(np.float64)).sum())


def _less_square(down: Any, across: Any, most: int) -> Any | None:
    """Return sparse I - A A', from A' and A, where it has not many more numbers than `most` and is made soon."""
    levels = down.shape[1]
    if _work(down) > _PRODUCTS * most:
        return None
    some = across.tocsr()[:: max(1, levels // _SAMPLE)] if levels > _SAMPLE else across
    if (some @ down).nnz * levels > most * some.shape[0]:
        return None
    return sparse.diags_array(np.ones(levels), format="csr") - across @ down


def _transposed(matrix: Any) -> Any:
    return matrix.t().coalesce() if isinstance(matrix, Tensor) else matrix.T


def _column_squares(matrix: Any) -> Tensor:
    """Return (q,) the sums of squares of a sparse matrix's columns."""
    if isinstance(matrix, Tensor):
        return matrix.values().new_zeros(matrix.shape[1]).index_add_(0, matrix.indices()[1], matrix.values().square())
    return torch.from_numpy(np.bincount(matrix.indices, np.square(matrix.data), matrix.shape[1]))
