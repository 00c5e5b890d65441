"""Averages over rows of the mean of one linear index x'b: all quantities in one pass, by what changes of x alone."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from betahat.data.engine import Block, Engine, fold
from betahat.data.source import Held
from betahat.margins.quantities import Groups, Point, Quantity, counts_of, of_averages, sums_over

# (b,) indices -> (b,) means.
OfIndex = Callable[[Tensor], Tensor]

# So many numbers that change are held at once: 512 MB.
_MOST_NUMBERS = 2**26
# Of fewer rows calling torch would take longer than what it computes.
_FEWEST_ROWS = 2**13


@dataclass(frozen=True, eq=False)
class _AtPoint:
    """A point and what changes there.

    Attributes
    ----------
    point : Point
    places : tuple of int
        (c,) the regressors that change.
    constants : mapping
        By place the () values that are the same in all rows.
    """

    point: Point
    places: tuple[int, ...]
    constants: dict[int, Tensor]


def averages(
    quantities: Sequence[Quantity], groups: Groups, of_index: OfIndex, params: Tensor, engine: Engine
) -> tuple[Tensor, Tensor] | None:
    """Return (q, G, 1) averages in groups and (q, G, 1, k) their derivatives; None for quantities that need each row's regressors, or too many of them."""
    points = list(dict.fromkeys(point for quantity in quantities for point in quantity.points))
    if not all(quantity.points for quantity in quantities):
        return None
    grid = quantities[0].grid
    changed = [point.columns(grid) for point in points]
    if sum(column.numel() for columns in changed for column in columns.values()) > _MOST_NUMBERS:
        return None
    exog = grid.exog
    rows = {f"x:{place}": exog[:, place] for place in range(exog.shape[1])} | {"codes": groups.codes}
    rows |= {
        name: column for name, column in (("offset", grid.offset), ("weights", groups.weights)) if column is not None
    }
    several: list[_AtPoint] = []
    for i, (point, columns) in enumerate(zip(points, changed, strict=True)):
        same = {place: column.reshape(()) for place, column in columns.items() if len(column) == 1 < len(grid)}
        rows |= {f"{i}:{place}": column for place, column in columns.items() if place not in same}
        if point.by_values:
            rows[f"{i}:values"] = point.values(grid)
        several.append(_AtPoint(point, tuple(columns), same))

    def sums(block: Block) -> tuple[Tensor, ...]:
        x = torch.stack([block[f"x:{place}"] for place in range(exog.shape[1])])  # (p, b)
        return _of_block(several, x, block, of_index, params, groups.count)

    total, slopes, size = fold(Held(rows), sums, engine, _FEWEST_ROWS)
    means, derived = total / size, slopes / size[:, None]
    place = {point: i for i, point in enumerate(points)}
    results = []
    for quantity in quantities:
        at = [place[point] for point in quantity.points]
        value, weight = of_averages(quantity, means[at].mT[..., None])  # (G, parts, 1)
        results.append((value, (weight[..., None] * derived[at].transpose(0, 1)[:, :, None]).sum(1)))
    return torch.stack([value for value, _ in results]), torch.stack([slope for _, slope in results])


def _of_block(
    several: Sequence[_AtPoint], x: Tensor, block: Block, of_index: OfIndex, params: Tensor, count: int
) -> tuple[Tensor, ...]:
    """Return a block's (P, G) sums of values in groups, (P, G, k) of their derivatives, and (G,) of weights, given (p, b) regressors."""
    codes, weights = block["codes"], block.get("weights")
    index = params @ x
    index = index + block["offset"] if "offset" in block.columns else index
    ends, moves = [], []
    for i, at in enumerate(several):
        new = [block[f"{i}:{place}"] if place not in at.constants else at.constants[place] for place in at.places]
        if at.point.slope is not None:
            moves.append(new)
            continue
        own = [column - x[place] for column, place in zip(new, at.places, strict=True)]
        end = index
        for move, place in zip(own, at.places, strict=True):
            end = torch.addcmul(end, move, params[place])
        moves.append(own)
        ends.append(end)
    values, outer, inner = _values(several, ends, moves, index, block, of_index, params)
    often = counts_of(block, params)
    if weights is not None:
        values, outer, inner = values * often, outer * often, inner * often
    if count == 1:
        totals, slopes = values.sum(1, keepdim=True), (outer @ x.mT)[:, None]
    else:
        totals = values.new_zeros(len(values), count).index_add(1, codes, values)
        slopes = torch.stack([sums_over((x * each).mT, codes, count) for each in outer])
    for i, (at, own) in enumerate(zip(several, moves, strict=True)):
        for move, place in zip(own, at.places, strict=True):
            slopes[i, :, place] += sums_over(move * inner[i], codes, count)
    return totals, slopes, sums_over(often, codes, count)


def _values(
    several: Sequence[_AtPoint],
    ends: Sequence[Tensor],
    moves: Sequence[Sequence[Tensor]],
    index: Tensor,
    block: Block,
    of_index: OfIndex,
    params: Tensor,
) -> tuple[Tensor, Tensor, Tensor]:
    """Return (P, b) values at points, and in their derivatives the weights of the regressors and of those that change."""
    shape = (len(ends), len(index))
    at_ends = _with_slope(of_index, torch.cat(list(ends))) if ends else (index[:0], index[:0])
    means, firsts = (part.reshape(shape) for part in at_ends)
    if len(ends) == len(several):
        return means, firsts, firsts
    mean, first, second = _with_slopes(of_index, index)
    found, known = [], iter(zip(means, firsts, strict=True))
    for i, (at, own) in enumerate(zip(several, moves, strict=True)):
        if at.point.slope is None:
            value, slope = next(known)
            found.append((value, slope, slope))
            continue
        along = torch.zeros_like(index)
        for move, place in zip(own, at.places, strict=True):
            along = along + move * params[place]
        each = (first * along, second * along, first)
        if at.point.slope in ("eyex", "eydx"):
            each = (each[0] / mean, each[1] / mean - each[0] * first / mean**2, each[2] / mean)
        factor = block[f"{i}:values"] if at.point.by_values else None
        found.append(each if factor is None else (each[0] * factor, each[1] * factor, each[2] * factor))
    values, outer, inner = (torch.stack(part) for part in zip(*found, strict=True))
    return values, outer, inner


def _with_slope(of_index: OfIndex, index: Tensor) -> tuple[Tensor, Tensor]:
    """Return (b,) means and their derivatives in the index."""
    with torch.enable_grad():
        leaf = index.detach().requires_grad_(True)
        mean = of_index(leaf)
        (first,) = torch.autograd.grad(mean.sum(), leaf)
    return mean.detach(), first


def _with_slopes(of_index: OfIndex, index: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return (b,) means and their first and second derivatives in the index."""
    with torch.enable_grad():
        leaf = index.detach().requires_grad_(True)
        mean = of_index(leaf)
        (first,) = torch.autograd.grad(mean.sum(), leaf, create_graph=True)
        second = torch.zeros_like(leaf)
        if first.requires_grad:
            found = torch.autograd.grad(first.sum(), leaf, allow_unused=True)[0]
            second = second if found is None else found
    return mean.detach(), first.detach(), second.detach()
