"""Absorbed effects of rows that are read: their coefficients, for every column at once, from sums over levels.

With D the dummies and W the weights, the coefficients P of columns X solve D'WD P = D'WX. D'WX is a sum over rows of each level, and D'WD one over rows
of each combination of levels, so that nothing is as long as the rows. X - D P is made as rows are read. What its own sums over levels are not zero by is
taken off once more.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from betahat.data.design import Design
from betahat.data.effects import CODES, Effect
from betahat.data.engine import Block, fold
from betahat.data.products import gram, level_sums_of_block
from betahat.data.scored import INSTRUMENTS
from betahat.data.source import Source
from betahat.data.streamed_effects import Cells, Explained, LessEffects, cells_of, row_weights
from betahat.errors import EstimationError
from betahat.solvers.projections import AIM, ORTHOGONAL, REPEATS, SHORT, equations_of, terms_of

# Blocks have four times as many rows as there are levels, so that sums over levels are a fifth of what is added, but no more than this.
_ROWS = 2**18
_TINY = torch.finfo(torch.float64).tiny


@dataclass(frozen=True, eq=False)
class TakenOff:
    """The columns of a design without what its effects explain.

    Attributes
    ----------
    source : LessEffects
        Of the regressors, the instruments, and the dependent variable; the others are as they were.
    explained : Explained
        What was taken off.
    lengths : Tensor
        (k,) those of what is left of the regressors.
    products : Tensor
        (k + q + 1, k + q + 1) `Design.products` of what is left.
    route : str
        As in `Projection`.
    iterations : int
    orthogonality : float
    """

    source: LessEffects
    explained: Explained
    lengths: Tensor
    products: Tensor
    route: str
    iterations: int
    orthogonality: float


def take_off(design: Design) -> TakenOff:
    """Take the effects of a stream off its columns, in two passes of one effect, and three of two.

    The second pass also has the products of what is left. Its sums over levels, which are taken off after it, are 1e-10 of the columns at most, and so the
    products are as they were to 1e-20.
    """
    base, levels = design.source, design.schema.effects
    names = tuple(name for name in ("exog", INSTRUMENTS, "endog") if name in base.shapes)
    function = _Sums(names, tuple(effect.count for effect in levels))
    sums = _summed(base, function, design)
    lengths = {name: parts[0][0] for name, parts in _by_name(base, names, [sums.plain[None].sqrt()]).items()}
    if len(levels) == 1:
        own = Effect(levels[0].name, torch.arange(levels[0].count, device=design.device), levels[0].count)
        cells = Cells((own,), sums.mass)
    else:
        cells = cells_of(design)
    terms = terms_of(cells.effects, cells.weights)
    equations = equations_of(terms, cells.weights, by_rows=False)
    places = tuple(next(iter(term.places)) for term in terms)
    roots = [term.columns[0].root[:, None] for term in terms]
    nothing = sums.squares.new_zeros(0, len(sums.squares))
    scaled = [root * sums.levels[place] for root, place in zip(roots, places, strict=True)]
    least = SHORT**2 * sums.squares
    left = (sums.squares - scaled[0].square().sum(0)).clamp_min(0.0)
    step = equations.solve(scaled, nothing, AIM * torch.maximum(left, least).sqrt())
    found = [root * u for root, u in zip(roots, step, strict=True)]
    for _ in range(REPEATS):
        explained = Explained(cells, places, _by_name(base, names, found), lengths)
        sums = _summed(LessEffects(base, explained), _WithProducts(function), design)
        scaled = [root * sums.levels[place] for root, place in zip(roots, places, strict=True)]
        against = torch.maximum(sums.squares, least).sqrt().clamp_min(_TINY)
        cosine = float(torch.stack([(part.abs() / against).amax() for part in scaled]).amax())
        step = equations.solve(scaled, nothing, AIM * against)
        found = [u + root * more for u, root, more in zip(found, roots, step, strict=True)]
        if cosine <= ORTHOGONAL:
            explained = replace(explained, fitted=_by_name(base, names, found))
            source, own_lengths = LessEffects(base, explained), sums.plain[: design.width].sqrt()
            return TakenOff(source, explained, own_lengths, sums.products, equations.name, equations.iterations, cosine)
    raise EstimationError(
        f"What the absorbed effects leave of the columns is not orthogonal to them, by {cosine:.1e} of their lengths; use fewer effects."
    )


@dataclass(frozen=True, eq=False)
class _SumsOfColumns:
    """Sums over rows of m columns.

    Attributes
    ----------
    levels : tuple of Tensor
        For each effect (G, m) weighted sums over the rows of each level.
    mass : Tensor
        (G,) the weights' of the first effect.
    squares, plain : Tensor
        (m,) sums of squares, weighted and not.
    products : Tensor
        (m, m) weighted sums of products, where they were asked for.
    """

    levels: tuple[Tensor, ...]
    mass: Tensor
    squares: Tensor
    plain: Tensor
    products: Tensor


@dataclass(frozen=True, eq=False)
class _Sums:
    """The sums of a block: one tensor for each effect, the weights' behind the columns', then squares, and no products."""

    names: tuple[str, ...]
    counts: tuple[int, ...]

    def __call__(self, block: Block) -> tuple[Tensor, ...]:
        x = self.columns(block)
        return *self.of(x, block), x.new_zeros(0, 0)

    def columns(self, block: Block) -> Tensor:
        """Return (b, m) all columns."""
        return torch.cat([block[name].reshape(len(block), -1) for name in self.names], 1)

    def of(self, x: Tensor, block: Block) -> tuple[Tensor, ...]:
        """Return those of the block's columns."""
        weights, levels = row_weights(block), block[CODES].mT.contiguous()
        wide = torch.cat([x, torch.ones_like(x[:, :1])], 1)
        sums = [level_sums_of_block(wide, weights, codes, n) for codes, n in zip(levels, self.counts, strict=True)]
        squares = x.square()
        return *sums, torch.stack([weights @ squares, squares.sum(0)])


@dataclass(frozen=True, eq=False)
class _WithProducts:
    """The same, and products.

    Attributes
    ----------
    sums : _Sums
    """

    sums: _Sums

    @property
    def names(self) -> tuple[str, ...]:
        """The columns."""
        return self.sums.names

    @property
    def counts(self) -> tuple[int, ...]:
        """The numbers of levels."""
        return self.sums.counts

    def __call__(self, block: Block) -> tuple[Tensor, ...]:
        x, plain = self.sums.columns(block), "weights" not in block.columns and "counts" not in block.columns
        return *self.sums.of(x, block), gram(x, None if plain else row_weights(block).sqrt())


def _summed(source: Source, function: _Sums | _WithProducts, design: Design) -> _SumsOfColumns:
    rows = source.only(*function.names, CODES, "weights", "counts")
    *levels, squares, products = fold(rows, function, design.engine, min(4 * max(function.counts), _ROWS))
    plain = tuple(part[:, :-1] for part in levels)
    return _SumsOfColumns(plain, levels[0][:, -1], squares[0], squares[1], products)


def _by_name(source: Source, names: tuple[str, ...], found: list[Tensor]) -> dict[str, tuple[Tensor, ...]]:
    """Cut coefficients of all columns into those of each."""
    widths = [source.shapes[name][0] if source.shapes[name] else 1 for name in names]
    cut = [torch.split(part, widths, 1) for part in found]
    return {
        name: tuple((part[i] if source.shapes[name] else part[i][:, 0]).contiguous() for part in cut)
        for i, name in enumerate(names)
    }
