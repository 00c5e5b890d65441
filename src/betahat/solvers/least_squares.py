"""Least squares by two routes: a certified Gram matrix where that is safe, TSQR everywhere else.

The Gram route forms X'X in float64, scales it to a unit diagonal, and computes its Cholesky factor. The
relative error of the results is about u * kappa^2, with u = 1.1e-16 and kappa the condition number of the
scaled columns, so this route is taken only if kappa^2 <= 1e4. The second pass over the rows, which is needed
for the sum of squared residuals anyway, refines the coefficients once.

TSQR (Demmel, Grigori, Hoemmen and Langou 2012) computes the R of [X | y] block by block, with the accuracy of
Householder's method on all rows at once, which does not depend on the scale of the columns. Standard errors
come from R^-1, never from an inverse of R'R.

If the columns are collinear enough to cost digits, R^-1 serves as a preconditioner: W = X R^-1 and
e = y - Xb are formed exactly and rounded once. W'W is nearly the identity, so what is computed from it,
A^-1 = R^-1 (W'W)^-1 R^-T and the step R^-1 (W'W)^-1 W'e, has all the digits that the data allow.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

import torch
from torch import Tensor

from betahat.calculus.index import index_rows
from betahat.calculus.rows import Bread, Point, Rows, root_of_counts, rows_of, times
from betahat.data.design import Design, whitened
from betahat.data.engine import Block, fold, scan, summed
from betahat.data.products import cross, gram
from betahat.data.source import Source
from betahat.errors import EstimationError, listed
from betahat.objectives.gaussian import Gaussian
from betahat.solvers.exact import exact_product
from betahat.solvers.lengths import unit_rows
from betahat.solvers.triangles import certified, hopeless, inverse_triangle, joined_triangle, triangle_of

Rank = Literal["pinv", "drop"]
RowSum = Callable[[Rows], Tensor]

_GAUSSIAN = Gaussian()

# A column whose distance from the span of those before it is below 1e-12 of its length depends on
# them. Rounding alone leaves distances up to 1e-14; Filip, the hardest of NIST's data sets, has 3e-10.
_DEPENDENT = 1e-12
# A step that would move the fitted values by less than 1e-13 of the residuals is not taken, so that the sums of
# that pass are at the estimate; after a longer step they are computed again when they are needed.
_STATIONARY = 1e-26
# Residuals below this share of y may be Householder's rounding error, which grows with the rows; another step leaves only that of y.
_NOISE = 1e-11
# Joining the R's of blocks with as many rows as columns takes as long as computing them; with four times as many rows, a third of that.
_TALL = 4
# The squares of columns, and their inverses, must neither overflow nor underflow.
_SMALLEST, _LARGEST = 1e-140, 1e140
# Householder's method loses log10(inflation) of its sixteen digits, where inflation is the largest square root of an
# (uncentered) variance inflation factor. Refinement costs 0.2 ms in one block, and ten times the fit in many.
_INFLATION_SMALL, _INFLATION_LARGE = 5.0, 1e6


@dataclass(frozen=True, eq=False)
class Solution:
    """A least squares solution."""

    params: Tensor  # (k,) coefficients; (r,) of the kept columns under `rank="drop"`
    root: Tensor  # (k, r) Z with Z Z' = (X'WX)^-1, or its pseudoinverse
    triangle: Tensor  # (k, k) upper triangular R with R'R = X'WX
    kept: tuple[int, ...]  # the columns with an independent part, left to right
    loss: Tensor  # () RSS / 2
    route: str  # "gram", "tsqr" or "tsqr, refined"
    well_conditioned: bool = (
        False  # whether sums of products of the columns keep their digits: certified by the Gram route
    )
    sums: dict[RowSum, Tensor] = field(default_factory=dict)  # sums over rows from the refinement pass
    idle: Tensor | None = None  # (k, d) the directions of coefficients that move no fitted value, if there are any


def least_squares(design: Design, rank: Rank, also: tuple[RowSum, ...] = ()) -> Solution:
    """Minimise sum_i w_i (y_i - x_i'b)^2 / 2, each row as often as it counts.

    With dependent columns, `rank` is "pinv" for the solution of minimum norm (statsmodels), or "drop" to omit every column that depends on
    those to its left (R). `also` are sums over rows that will be needed next and can be computed in the same pass.
    """
    solution = None if design.small else _by_gram(design, also)
    return solution or _by_tsqr(design, rank, _INFLATION_SMALL if design.small else _INFLATION_LARGE, also)


def row_residuals(rows: Rows) -> Tensor:
    """Return (b,) the weighted residuals; as one of the sums of `least_squares`, it keeps those of all n rows instead of summing."""
    return index_rows(rows).residual


def independent_columns(triangle: Tensor) -> tuple[int, ...]:
    """Return the columns of R, (m, k), that have a part independent of those to their left.

    The distance of column j of X from the span of the r independent columns before it is ||R[r:, j]||. From the first dependent column on,
    each column that is kept is reflected onto row r, and with it all columns to its right, whose entries lie in rows 0 to j.
    """
    norms = torch.linalg.vector_norm(triangle, dim=0)
    diagonal = triangle.diagonal().abs()
    apart = (diagonal > _DEPENDENT * norms[: len(diagonal)]).tolist()
    if all(apart) and len(apart) == len(norms):
        return tuple(range(len(norms)))
    first = apart.index(False) if False in apart else len(apart)
    kept = list(range(first))
    left = unit_rows(triangle.mT).mT[:, first:].cpu()
    nearest = (_DEPENDENT * torch.linalg.vector_norm(left, dim=0)).tolist()
    left = left[first:].clone()
    row = 0
    for column, near in enumerate(nearest):
        part = left[row : column + 1, column]
        distance = float(torch.linalg.vector_norm(part))
        if not distance > near:
            continue
        kept.append(first + column)
        if len(part) > 1:
            across = part.clone()
            across[0] += math.copysign(distance, float(across[0]))
            right = left[row : column + 1, column + 1 :]
            right.addr_(across, across @ right, alpha=-2.0 / float(across @ across))
        row += 1
    return tuple(kept)


def column_rank(design: Design) -> tuple[tuple[int, ...], Tensor | None]:
    """Return the independent columns of sqrt(W) X, of the rows that count, and R if some are dependent.

    Large data whose Gram matrix is certified have full rank; this costs only the pass that checks them for missing values.
    """
    if not design.small:
        products, _ = design.moments
        scale = products.diagonal().sqrt()
        if plain_sizes(scale) and certified(products / scale / scale[:, None]):
            return tuple(range(design.width)), None
    triangle = _tsqr(_exog, design.whitened, design)
    check_scale(design, triangle)
    kept = independent_columns(triangle)
    if not kept:
        raise EstimationError(
            "All regressors are zero in every row, so nothing can be estimated; pass columns that vary."
        )
    return kept, triangle


def has_implicit_constant(design: Design) -> bool:
    """Tell whether some combination of the columns is constant: [1 | X] has the rank of X."""
    triangle = _tsqr(_exog_and_one, design.source.only("exog", "endog", "counts"), design)
    return design.width not in independent_columns(triangle)


def _by_gram(design: Design, also: tuple[RowSum, ...]) -> Solution | None:
    products, moments = design.moments
    scale = products.diagonal().sqrt()
    scaled = products / scale / scale[:, None]
    lower, failed = torch.linalg.cholesky_ex(scaled)
    size = float((moments / scale).abs().max())  # at most the length of y, whose square must be representable as well
    representable = size == 0 or _SMALLEST < size * size < _LARGEST  # size**2 would raise an OverflowError
    if bool(failed) or not representable or not plain_sizes(scale) or hopeless(lower) or not certified(scaled):
        return None
    triangle = lower.mT * scale
    root = inverse_triangle(triangle)
    start = root @ (root.mT @ moments)
    at = Point(start, root, Bread.OBSERVED, well_conditioned=True)
    loss, gradient, sums = _second_pass(design, at, also)
    step = root @ (root.mT @ gradient)
    found = Solution(start, root, triangle, tuple(range(design.width)), loss, "gram", well_conditioned=True)
    gain = gradient @ step
    if bool(gain <= _STATIONARY * loss):
        return replace(found, sums=sums)
    return replace(found, params=start + step, loss=(loss - 0.5 * gain).clamp_min(0.0))


def plain_sizes(scale: Tensor) -> bool:
    """Tell whether the fourth powers of columns of these lengths, which a meat sums, neither overflow nor underflow."""
    squares = scale.square()
    return bool(((squares > _SMALLEST) & (squares < _LARGEST)).all())


def _second_pass(design: Design, at: Point, also: tuple[RowSum, ...]) -> tuple[Tensor, Tensor, dict[RowSum, Tensor]]:
    """Return RSS / 2, (), X'We, (k,), and the other sums, at a point."""
    terms = tuple(term for term in also if term is not row_residuals)
    if row_residuals not in also or design.source.stream is not None:
        loss, gradient, *others = fold(design.source, _SecondPass(at, terms), design.engine)
        return loss, gradient, dict(zip(terms, others, strict=True))
    kept = at.params.new_empty(design.rows)

    def sums() -> Iterator[tuple[Tensor, ...]]:
        for start, residual, found in scan(design.source, _SecondPass(at, terms).with_residuals, design.engine):
            kept[start : start + len(residual)] = residual
            yield found

    loss, gradient, *others = summed(sums())
    return loss, gradient, dict(zip(terms, others, strict=True)) | {row_residuals: kept}


def _by_tsqr(design: Design, rank: Rank, inflation: float, also: tuple[RowSum, ...]) -> Solution:
    width = design.width
    whole = _tsqr(_exog_and_endog, design.source, design)
    triangle = whole[:width, :width]
    sizes = check_scale(design, whole)
    surely = _DEPENDENT * width**0.5  # a column of R is at most the root of k times its largest number long
    if all(abs(part) > surely * size for part, size in zip(whole.diagonal().tolist(), sizes[:width], strict=False)):
        return _of_triangle(design, whole, inflation, also)
    kept = independent_columns(triangle)
    if not kept:
        raise EstimationError(
            "All regressors are zero in every row, so nothing can be estimated; pass columns that vary."
        )
    if len(kept) == width:
        return _of_triangle(design, whole, inflation, also)
    ordered = kept_first(whole, kept)
    relation = column_relation(ordered[:, :width], kept)
    right = ordered[: len(kept) + 1, [*range(len(kept)), width]]
    right[len(kept) :, -1] = torch.linalg.vector_norm(ordered[len(kept) :, -1])
    right[len(kept) :, :-1] = 0.0
    solution = _of_triangle(design.select(kept), right, inflation)
    reduced = replace(solution, kept=kept, idle=idle_directions(relation, kept))
    return reduced if rank == "drop" else _minimum_norm(reduced, triangle, relation)


def _of_triangle(design: Design, whole: Tensor, inflation: float, also: tuple[RowSum, ...] = ()) -> Solution:
    """Solve for independent columns, given the R of [X | y]."""
    width = design.width
    triangle, moments = whole[:width, :width], whole[:width, width]
    root = inverse_triangle(triangle)
    params = root @ moments
    norms = torch.linalg.vector_norm(triangle, dim=0)
    if float((norms * torch.linalg.vector_norm(root, dim=1)).max()) > inflation:
        return _refined(design, params, root, triangle, torch.linalg.vector_norm(whole, dim=0))
    # The last corner of R is the length of the residuals, too, but with half a digit less than the residuals themselves.
    loss, gradient, sums = _second_pass(design, Point(params, root), also)
    if not (2.0 * float(loss)) ** 0.5 <= _NOISE * float(torch.linalg.vector_norm(whole[:, width])):
        return Solution(params, root, triangle, tuple(range(width)), loss, "tsqr", sums=sums)
    params = params + root @ (root.mT @ gradient)
    loss, *_ = _second_pass(design, Point(params, root), ())
    return Solution(params, root, triangle, tuple(range(width)), loss, "tsqr")


def check_scale(design: Design, triangle: Tensor, names: Sequence[str] | None = None) -> list[float]:
    """Return the largest absolute values in the columns of R, (k, k) or with y; refuse those whose squares overflow or underflow."""
    sizes = triangle.abs().amax(0).tolist()
    places = [i for i, size in enumerate(sizes) if size != 0 and not _SMALLEST <= size <= _LARGEST]
    if not places:
        return sizes
    names = (*design.names, design.endog_name) if names is None else names
    bad = [names[i] for i in places]
    weights = "" if design.weights is None else ", or divide the weights by their mean"
    raise EstimationError(
        f"The values in {listed(bad)} are so large or so small that their squares overflow or underflow (above 1e140 or below "
        f"1e-140 in total{', times the weights' if weights else ''}); change the unit of measurement{weights}."
    )


def _minimum_norm(reduced: Solution, triangle: Tensor, relation: Tensor) -> Solution:
    """Spread the solution for the independent columns over all of them, with the least sum of squares.

    X = X_kept T, T = [I | R11^-1 R12], so that b = T+ b_kept with T+ = T'(TT')^-1. Row by row T+ keeps its digits, whatever the
    scales of the columns; the singular vectors of R do not.
    """
    spread = minimum_norm_map(relation)
    return replace(reduced, params=spread @ reduced.params, root=spread @ reduced.root, triangle=triangle)


def kept_first(triangle: Tensor, independent: tuple[int, ...]) -> Tensor:
    """Return the R of the same columns in another order: the independent ones, the dependent ones, then those to the right of both."""
    width = triangle.shape[1]
    return triangle_of(triangle[:, [*independent, *sorted({*range(width)} - {*independent})]])


def column_relation(ordered: Tensor, independent: tuple[int, ...]) -> Tensor:
    """Return (r, k) T with X = X_kept T, from the R of `kept_first`."""
    rank, width = len(independent), ordered.shape[1]
    others = sorted({*range(width)} - {*independent})
    shares = torch.linalg.solve_triangular(ordered[:rank, :rank], ordered[:rank, rank:], upper=True)
    sizes = shares.abs() * torch.linalg.vector_norm(ordered[:, :rank], dim=0)[:, None]
    shares[sizes <= _DEPENDENT * sizes.amax(0)] = 0.0  # rounding error of a column that is not part of the relation
    relation = ordered.new_zeros(rank, width)
    relation[:, list(independent)] = torch.eye(rank, dtype=ordered.dtype, device=ordered.device)
    relation[:, others] = shares
    return relation


def minimum_norm_map(relation: Tensor) -> Tensor:
    """Return (k, r) T+, which spreads the coefficients of the independent columns over all, with the least sum of squares."""
    spread: Tensor = torch.linalg.solve(relation @ relation.mT, relation).mT
    return spread


def idle_directions(relation: Tensor, independent: tuple[int, ...]) -> Tensor:
    """Return (k, k - r) N with X N = 0, one column for each dependent one: [-T; I]."""
    width = relation.shape[1]
    others = sorted({*range(width)} - {*independent})
    idle = torch.zeros(width, len(others)).to(relation)
    idle[list(independent)] = -relation[:, others]
    idle[others] = torch.eye(len(others)).to(relation)
    return idle


def _refined(design: Design, params: Tensor, root: Tensor, triangle: Tensor, norms: Tensor) -> Solution:
    """Correct R^-1 and b by exact products of the rows; `norms`, (k + 1,), are the lengths of the columns of [X | y]."""
    width = design.width
    scale = torch.ldexp(torch.ones_like(norms), torch.frexp(norms).exponent)

    def residual(at: Tensor) -> Tensor:
        return torch.cat([-at, torch.ones_like(at[:1])])[:, None]

    padded = torch.cat([root, torch.zeros_like(root[:1])])
    both = torch.cat([padded, residual(params)], 1)
    (joint,) = fold(design.source, _Exact(scale, both, gram), design.engine)
    preconditioned, gradient = joint[:width, :width], joint[:width, width]
    lower = torch.linalg.cholesky(preconditioned)
    root = root @ inverse_triangle(lower.mT)
    params = params + root @ torch.linalg.solve_triangular(lower, gradient[:, None], upper=False)[:, 0]
    (square,) = fold(design.source, _Exact(scale, residual(params), _sum_of_squares), design.engine)
    return Solution(params, root, lower.mT @ triangle, tuple(range(width)), 0.5 * square, "tsqr, refined")


def _tsqr(columns: Callable[[Tensor, Tensor], Tensor], source: Source, design: Design) -> Tensor:
    """Return R of what `columns` makes of whitened regressors and dependent variable, by rows of a source of the design's."""
    factors = scan(source, _Triangle(columns), design.engine, fewest=_TALL * (design.width + 1))
    return joined_triangle(list(factors))


@dataclass(frozen=True, eq=False)
class _SecondPass:
    """Half the squares of the residuals at a point, X'We, and other sums."""

    at: Point
    terms: tuple[RowSum, ...]

    def __call__(self, block: Block) -> tuple[Tensor, ...]:
        return self.with_residuals(block)[2]

    def with_residuals(self, block: Block) -> tuple[int, Tensor, tuple[Tensor, ...]]:
        """Return where the block starts, (b,) residuals, and the sums."""
        rows = index_rows(rows_of(_GAUSSIAN, block, self.at))
        error = rows.residual if rows.weights is None else rows.y - rows.index
        residual = times(rows.residual, rows.counts)
        sums = (0.5 * (residual @ error), cross(rows.x, residual), *(term(rows) for term in self.terms))
        return block.start, rows.residual, sums


@dataclass(frozen=True, eq=False)
class _Exact:
    """A function of [x | y] M, each row as often as it counts, and each entry exact: (k + 1,) powers of two to scale by, (k + 1, r) M, the function."""

    scale: Tensor
    right: Tensor
    function: Callable[[Tensor], Tensor]

    def __call__(self, block: Block) -> tuple[Tensor]:
        x, y = whitened(block)
        products = exact_product(torch.cat([x, y[:, None]], 1) / self.scale, self.right * self.scale[:, None])
        return (self.function(times(products, root_of_counts(block.get("counts")))),)


@dataclass(frozen=True)
class _Triangle:
    """R of a block's columns, each row as often as it counts."""

    columns: Callable[[Tensor, Tensor], Tensor]

    def __call__(self, block: Block) -> Tensor:
        return triangle_of(times(self.columns(*whitened(block)), root_of_counts(block.get("counts"))))


def _sum_of_squares(values: Tensor) -> Tensor:
    return values.square().sum()


def _exog(x: Tensor, y: Tensor) -> Tensor:
    return x


def _exog_and_endog(x: Tensor, y: Tensor) -> Tensor:
    return torch.cat([x, y[:, None]], 1)


def _exog_and_one(x: Tensor, y: Tensor) -> Tensor:
    return torch.cat([x, torch.ones_like(y)[:, None]], 1)
