"""What of absorbed effects is collinear: connected parts of two effects, effects within others."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from betahat.calculus.counts import EffectSize
from betahat.data.effects import Effect
from betahat.lazy import lazily
from betahat.solvers.level_columns import Column, columns_of, level_mass

if TYPE_CHECKING:
    from scipy import sparse
    from scipy.sparse import csgraph
else:
    sparse = lazily("scipy.sparse")
    csgraph = lazily("scipy.sparse.csgraph")


# Ranks are computed of so many levels beside the largest effect's, of so many codes, and of so many products with the largest.
_RANKED, _ROWS, _TABLE = 400, 2**21, 2**24
# Squared distances of columns of unit length from others that they depend on are rounding errors of sums.
_DEPENDENT = 1e-11


def sizes_of(effects: Sequence[Effect], weights: Tensor | None, first: Collection[int] = ()) -> tuple[EffectSize, ...]:
    """Return how many coefficients effects have, and how many of them are redundant, whatever order the effects come in.

    Those at the places `first` are counted before the others, and of each the larger ones. Where there are slopes, or three effects, and few levels beside the
    largest effect, ranks are computed. Otherwise dummies lose one for each connected part that they form with an effect before them, of
    which the largest number counts: exact for two effects, a lower bound for more, as reghdfe takes it; and slopes one for each level in which the
    variable depends on the dummy, if there is one, and the variables before it. The first effect with dummies loses one, the constant's.
    """
    used = [level_mass(effect.codes, effect.count, weights) > 0 for effect in effects]
    totals = [int(there.sum()) * effect.width for there, effect in zip(used, effects, strict=True)]
    order = sorted(range(len(effects)), key=lambda i: (i not in first, -totals[i], effects[i].name))
    ordered = [effects[i] for i in order]
    several = len(effects) > 2 or (len(effects) > 1 and any(effect.variables is not None for effect in effects))
    ranks = _rank_steps(ordered, weights) if several else None
    lost = (
        _by_parts(ordered, [used[i] for i in order])
        if ranks is None
        else [totals[i] - r for i, r in zip(order, ranks, strict=True)]
    )
    with_constant = next((i for i, effect in enumerate(ordered) if effect.constant), None)
    if with_constant is not None:
        lost[with_constant] += 1
    return tuple(EffectSize(totals[i], lost[order.index(i)]) for i in range(len(effects)))


def _by_parts(effects: Sequence[Effect], used: Sequence[Tensor]) -> list[int]:
    """Return how many coefficients of each effect depend on effects before it, level by level and by connected parts."""
    lost: list[int] = []
    before: list[Effect] = []
    for effect, there in zip(effects, used, strict=True):
        number = sum(int((there & (column.root == 0)).sum()) for column in columns_of(effect, None))
        if effect.constant:
            number += max((components(effect, other)[0] for other in before), default=0)
            before.append(effect)
        lost.append(number)
    return lost


def _rank_steps(effects: Sequence[Effect], weights: Tensor | None) -> list[int] | None:
    """Return by how much each effect raises the rank, from the products of all columns that the first effect leaves; None where they are many."""
    columns = [columns_of(effect, weights) for effect in effects]
    eliminated, others = columns[0], [column for own in columns[1:] for column in own]
    width = sum(column.count for column in others)
    if (
        width > _RANKED
        or len(effects[0].codes) * len(effects) > _ROWS
        or sum(c.count for c in eliminated) * width > _TABLE
    ):
        return None
    across = torch.cat([torch.cat([_products(one, other, weights) for other in others], 1) for one in eliminated])
    among = torch.cat([torch.cat([_products(one, other, weights) for other in others], 1) for one in others])
    left = among - across.mT @ across
    steps, last, stop = [sum(int((column.root > 0).sum()) for column in eliminated)], 0, 0
    for own in columns[1:]:
        stop += sum(column.count for column in own)
        rank = int((torch.linalg.eigvalsh(left[:stop, :stop]) > _DEPENDENT).sum())
        steps.append(rank - last)
        last = rank
    return steps


def _products(one: Column, other: Column, weights: Tensor | None) -> Tensor:
    """Return (G, H) the weighted products of two effects' columns of unit length."""
    codes, others = one.codes.long(), other.codes.long()
    values = one.root[codes] * other.root[others]
    for factor in (one.values, other.values, weights):
        values = values if factor is None else values * factor
    return torch.bincount(codes * other.count + others, values, minlength=one.count * other.count).reshape(
        one.count, other.count
    )


def components(one: Effect, other: Effect) -> tuple[int, Tensor, Tensor]:
    """Return how many connected parts two effects form, levels without a row not counted, and (G,) and (H,) each level's part, -1 of such ones."""
    first, second = one.codes.cpu(), other.codes.cpu()
    rows, nodes = len(first), one.count + other.count
    steps = np.arange(rows + 1, dtype=np.int32)
    by_level = sparse.csr_array(
        (np.ones(rows, bool), first.to(torch.int32).numpy(), steps), shape=(rows, one.count)
    ).tocsc()
    ends = np.concatenate([by_level.indptr, np.full(other.count, rows, dtype=by_level.indptr.dtype)])
    to = second.to(torch.int32).numpy()[by_level.indices] + np.int32(one.count)
    edges = sparse.csr_array((np.ones(rows), to, ends), shape=(nodes, nodes))
    _, labels = csgraph.connected_components(edges, directed=False)
    part = torch.from_numpy(labels).to(torch.int64)
    used = torch.zeros(len(part), dtype=torch.bool)
    used[first], used[second + one.count] = True, True
    numbers = torch.full((len(part),), -1, dtype=torch.int64)
    if bool(used.any()):
        numbers[used] = torch.unique(part[used], return_inverse=True)[1]
    numbers = numbers.to(one.codes.device)
    return int(numbers.max()) + 1 if len(numbers) else 0, numbers[: one.count], numbers[one.count :]
