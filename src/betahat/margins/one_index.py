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
_FEWEST_ROWS = 2**15


@dataclass(frozen=True, eq=False)
class _Sums:
    """Of one block and point: (G,) sums of values, (b,) the weight of each row's regressors in their derivatives, and (places, G) those of changed ones."""

    values: Tensor
    weights: Tensor
    places: tuple[int, ...]
    changed: Tensor


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
    rows = grid.columns | {"codes": groups.codes} | ({} if groups.weights is None else {"weights": groups.weights})
    for i, (point, columns) in enumerate(zip(points, changed, strict=True)):
        rows |= {f"{i}:{place}": column.expand(len(grid)) for place, column in columns.items()}
        if point.by_values:
            rows[f"{i}:values"] = point.values(grid)

    def sums(block: Block) -> tuple[Tensor, ...]:
        x, codes = block["exog"], block["codes"]
        often = block.get("weights")
        often = None if often is None else often.to(params)
        index = x @ params
        index = index if "offset" not in block.columns else index + block["offset"]
        base = _with_slopes(of_index, index) if any(point.slope is not None for point in points) else None
        found = [
            _of_point(point, i, tuple(changed[i]), block, index, base, of_index, params, often, groups.count)
            for i, point in enumerate(points)
        ]
        if groups.count == 1:
            slopes = (torch.stack([each.weights for each in found]) @ x)[:, None]
        else:
            slopes = torch.stack([sums_over(x * each.weights[:, None], codes, groups.count) for each in found])
        for i, each in enumerate(found):
            if each.places:
                slopes[i][:, list(each.places)] += each.changed.mT
        return (
            torch.stack([each.values for each in found]),
            slopes,
            sums_over(counts_of(block, params), codes, groups.count),
        )

    total, slopes, size = fold(Held(rows), sums, engine, _FEWEST_ROWS)
    means, derived = total / size, slopes / size[:, None]
    place = {point: i for i, point in enumerate(points)}
    results = []
    for quantity in quantities:
        at = [place[point] for point in quantity.points]
        value, weight = of_averages(quantity, means[at].mT[..., None])  # (G, parts, 1)
        results.append((value, (weight[..., None] * derived[at].transpose(0, 1)[:, :, None]).sum(1)))
    return torch.stack([value for value, _ in results]), torch.stack([slope for _, slope in results])


def _of_point(
    point: Point,
    number: int,
    places: tuple[int, ...],
    block: Block,
    index: Tensor,
    base: tuple[Tensor, Tensor, Tensor] | None,
    of_index: OfIndex,
    params: Tensor,
    often: Tensor | None,
    count: int,
) -> _Sums:
    """Return a block's sums at a point, given the indices and, for slopes, the means there and their derivatives in the index."""
    x, codes = block["exog"], block["codes"]
    columns = [block[f"{number}:{place}"] for place in places]
    if base is None or point.slope is None:
        moves = [column - x[:, place] for column, place in zip(columns, places, strict=True)]
        for move, place in zip(moves, places, strict=True):
            index = torch.add(index, move * params[place])
        value, first = _with_slope(of_index, index)
        weights = inner = first
    else:
        moves = columns
        along = torch.zeros_like(index)
        for move, place in zip(moves, places, strict=True):
            along = along + move * params[place]
        mean, first, second = base
        value, weights, inner = first * along, second * along, first
        if point.slope in ("eyex", "eydx"):
            value, weights, inner = value / mean, weights / mean - value * first / mean**2, inner / mean
        if point.by_values:
            value, weights, inner = (each * block[f"{number}:values"] for each in (value, weights, inner))
    if often is not None:
        value, weights, inner = (each * often for each in (value, weights, inner))
    if not places:
        changed = weights.new_zeros(0, count)
    elif count == 1:
        changed = torch.stack([move @ inner for move in moves])[:, None]
    else:
        changed = torch.stack([sums_over(move * inner, codes, count) for move in moves])
    return _Sums(sums_over(value, codes, count), weights, places, changed)


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
