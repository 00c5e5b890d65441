"""Averages over rows of the mean of one linear index x'b: all quantities in one pass, by what changes of x alone."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from betahat.data.engine import Block, Engine, fold
from betahat.data.source import Held
from betahat.margins.quantities import Groups, Point, Quantity, of_averages, sums_over

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
    number : int
        Under which its columns are found.
    point : Point
    places : tuple of int
        (c,) the regressors that change.
    constants : mapping
        By place the values that are the same in all rows.
    """

    number: int
    point: Point
    places: tuple[int, ...]
    constants: dict[int, float]

    def news(self, block: Block) -> list[tuple[int, Tensor | float]]:
        """Return by their places the (b,) values, or derivatives, of the regressors that change, or one number for all rows."""
        return [
            (place, self.constants[place] if place in self.constants else block[f"{self.number}:{place}"])
            for place in self.places
        ]


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
    rows = {f"x:{place}": grid.exog[:, place] for place in range(len(params))} | {"codes": groups.codes}
    rows |= {
        name: column for name, column in (("offset", grid.offset), ("weights", groups.weights)) if column is not None
    }
    several: list[_AtPoint] = []
    for i, (point, columns) in enumerate(zip(points, changed, strict=True)):
        same = {place: float(column) for place, column in columns.items() if len(column) == 1 < len(grid)}
        rows |= {f"{i}:{place}": column for place, column in columns.items() if place not in same}
        if point.by_values:
            rows[f"{i}:values"] = point.values(grid)
        several.append(_AtPoint(i, point, tuple(columns), same))
    several.sort(key=lambda at: at.point.slope is not None)

    def sums(block: Block) -> tuple[Tensor, ...]:
        return _of_block(several, block, of_index, params, groups.count)

    total, slopes, size = fold(Held(rows), sums, engine, _FEWEST_ROWS)
    means, derived = total / size, slopes / size[:, None]
    place = {at.point: i for i, at in enumerate(several)}
    results = []
    for quantity in quantities:
        at = [place[point] for point in quantity.points]
        value, weight = of_averages(quantity, means[at].mT[..., None])  # (G, parts, 1)
        results.append((value, (weight[..., None] * derived[at].transpose(0, 1)[:, :, None]).sum(1)))
    return torch.stack([value for value, _ in results]), torch.stack([slope for _, slope in results])


def _of_block(
    several: Sequence[_AtPoint], block: Block, of_index: OfIndex, params: Tensor, count: int
) -> tuple[Tensor, ...]:
    """Return a block's (P, G) sums of values in groups, (P, G, k) of their derivatives, and (G,) of weights; slopes come last."""
    x = torch.stack([block[f"x:{place}"] for place in range(len(params))])  # (k, b), each column in one piece
    index = params @ x
    index = index + block["offset"] if "offset" in block.columns else index
    over = _Sums(block["codes"], block.get("weights"), count, params)
    ends = [at for at in several if at.point.slope is None]
    parts = [_of_ends(ends, x, index, block, of_index, params, over)] if ends else []
    if len(ends) < len(several):
        parts.append(_of_slopes(several[len(ends) :], x, index, block, of_index, params, over))
    return *(torch.cat(part) for part in zip(*parts, strict=True)), over.size


class _Sums:
    """Sums of a block's rows in groups, each row as often as it counts."""

    def __init__(self, codes: Tensor, weights: Tensor | None, count: int, like: Tensor) -> None:
        """Take (b,) groups, and (b,) weights or None."""
        self.codes, self.count = codes, count
        self.often = None if weights is None else weights.to(like)
        ones = torch.ones(len(codes), dtype=like.dtype, device=like.device) if self.often is None else self.often
        self.size = sums_over(ones, codes, count)

    def counted(self, values: Tensor) -> Tensor:
        """Return (..., b) values times how often rows count."""
        return values if self.often is None else values * self.often

    def of(self, values: Tensor) -> Tensor:
        """Return (q, G) of (q, b)."""
        if self.count == 1:
            return values.sum(1, keepdim=True)
        return values.new_zeros(len(values), self.count).index_add(1, self.codes, values)

    def of_product(self, values: Tensor, other: Tensor | float) -> Tensor:
        """Return (G,) of the product of (b,) values with other ones, or with a number."""
        if not isinstance(other, Tensor):  # a tensor that repeats one number in place is none that BLAS takes
            return other * sums_over(values, self.codes, self.count)
        if self.count == 1:
            return torch.dot(values, other)[None]
        return sums_over(values * other, self.codes, self.count)

    def of_regressors(self, weights: Tensor, x: Tensor) -> Tensor:
        """Return (q, G, k) of (k, b) regressors, each row times (q, b) weights."""
        if self.count == 1:
            return (weights @ x.mT)[:, None]
        return torch.stack([sums_over((x * each).mT, self.codes, self.count) for each in weights])


def _of_ends(
    several: Sequence[_AtPoint],
    x: Tensor,
    index: Tensor,
    block: Block,
    of_index: OfIndex,
    params: Tensor,
    over: _Sums,
) -> tuple[Tensor, Tensor]:
    """Return (P, G) sums of means where some regressors are others, and (P, G, k) of their derivatives."""
    ends = index.new_empty(len(several), len(index))
    known = params.tolist()
    for end, at in zip(ends, several, strict=True):
        end.copy_(index)
        for place, new in at.news(block):
            end.sub_(x[place], alpha=known[place]).add_(new, alpha=known[place])
    means, firsts = (over.counted(part) for part in _with_slope(of_index, ends))
    slopes = over.of_regressors(firsts, x)
    for slope, at, first in zip(slopes, several, firsts, strict=True):
        for place, new in at.news(block):
            slope[:, place] = over.of_product(first, new)
    return over.of(means), slopes


def _of_slopes(
    several: Sequence[_AtPoint],
    x: Tensor,
    index: Tensor,
    block: Block,
    of_index: OfIndex,
    params: Tensor,
    over: _Sums,
) -> tuple[Tensor, Tensor]:
    """Return (P, G) sums of slopes or elasticities, and (P, G, k) of their derivatives."""
    mean, first, second = _with_slopes(of_index, index)
    levels = over.counted(first), over.counted(second)
    shares = levels
    if any(at.point.slope in ("eyex", "eydx") for at in several):
        shares = over.counted(first / mean), over.counted(second / mean - (first / mean) ** 2)
    outer, totals, inner = index.new_empty(len(several), len(index)), [], []
    known = params.tolist()
    for row, at in zip(outer, several, strict=True):
        news = at.news(block)
        by, turned = shares if at.point.slope in ("eyex", "eydx") else levels
        if at.point.by_values:
            values = block[f"{at.number}:values"]
            by, turned = by * values, turned * values
        along = sum(new * known[place] for place, new in news)
        torch.mul(turned, along, out=row)
        totals.append(over.of_product(by, along))
        inner.append([(place, over.of_product(by, new)) for place, new in news])
    slopes = over.of_regressors(outer, x)
    for slope, found in zip(slopes, inner, strict=True):
        for place, part in found:
            slope[:, place] += part
    return torch.stack(totals), slopes


def _with_slope(of_index: OfIndex, index: Tensor) -> tuple[Tensor, Tensor]:
    """Return means and their derivatives in the index, all of the shape of the index."""
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
