"""Instruments: a design whose last regressors are endogenous, and how it is estimated, to a `Fit`."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from betahat.calculus.index import index_rows
from betahat.calculus.problem import Problem
from betahat.calculus.rows import Rows, times
from betahat.data.design import Design
from betahat.data.engine import Block, scan
from betahat.data.scored import INSTRUMENTS, scored
from betahat.errors import EstimationError, counted, listed
from betahat.fits.fit import Fit
from betahat.fits.instrumented import Estimating, Instruments, KClass, Weighting
from betahat.fits.moment_weights import weighed
from betahat.objectives.gaussian import Gaussian
from betahat.objectives.instrumented import (
    BestWeights,
    Instrumented,
    KClassVariance,
    OtherWeights,
    TwoStageVariance,
)
from betahat.solvers.instruments import Estimated, InstrumentTriangle, k_class, k_class_columns, moment_columns
from betahat.solvers.least_squares import RowSum, check_scale, independent_columns, plain_sizes, row_residuals
from betahat.solvers.triangles import certified, inverse_triangle, joined_triangle, triangle_of

# Of what exogenous regressors leave of an endogenous one, instruments must move more than this share: rounding is 1e-15 of its length.
_UNMOVED = 1e-10
# An endogenous regressor within this share of its length of the exogenous ones is a combination of them.
_SAME = 1e-12
# The products of all columns determine what the instruments leave of them to ten digits where it is at least a thousandth of their length.
_LEFT = 1e-6
# A step that would move fitted values by less than 1e-13 of the residuals is not taken.
_STATIONARY = 1e-26
# Joining the R's of blocks is a third of the work where they have four times as many rows as columns.
_TALL = 4


@dataclass(frozen=True, eq=False)
class InUse:
    """The columns that are used, and their triangle.

    Attributes
    ----------
    design : Design
        With the regressors that are used.
    exogenous, instruments : tuple of int
        Which exogenous regressors and which instruments they are, among the given ones.
    factor : InstrumentTriangle
        R of [X1, Z, Y, y].
    sound : bool
        Whether sums of products of the columns themselves keep their digits.
    """

    design: Design
    exogenous: tuple[int, ...]
    instruments: tuple[int, ...]
    factor: InstrumentTriangle
    sound: bool


def fit_instruments(design: Design, how: Estimating, also: tuple[RowSum, ...] = (), free: float | None = None) -> Fit:
    """Fit a linear model by instruments.

    `also` are sums over rows that will be needed next and can be computed in the last pass; `free` is the number of rows, less what was absorbed.
    """
    rows = float(design.nobs) if free is None else free
    used = columns_in_use(design, rows)
    fit = _fitted(design, used, how, rows)
    if used.sound and not certified(_products(fit.triangle)):
        fit = _fitted(design, replace(used, factor=_of_blocks(design), sound=False), how, rows)
    return _with_sums(fit, tuple(term for term in also if term is not row_residuals))


def columns_in_use(design: Design, rows: float) -> InUse:
    """Find the exogenous regressors and instruments that do not depend on those before them, and check what `rows` of them say of the endogenous ones."""
    factor = None if design.small else _of_products(design)
    sound = factor is not None
    factor = _of_blocks(design) if factor is None else factor
    exogenous, known = factor.exogenous, factor.known
    kept = tuple(range(known)) if sound else independent_columns(factor.of_instruments)
    first, second = [i for i in kept if i < exogenous], tuple(i - exogenous for i in kept if i >= exogenous)
    if len(kept) < known:
        columns = [*kept, *range(known, factor.triangle.shape[1])]
        triangle = triangle_of(factor.triangle[:, columns])
        factor = InstrumentTriangle(triangle, len(first), len(second), factor.endogenous)
    used = design
    if len(first) < exogenous:
        used = design.select([*first, *range(exogenous, design.width)])
    _check_moved(used, factor, rows)
    return InUse(used, tuple(first), second, factor, sound)


def _of_products(design: Design) -> InstrumentTriangle | None:
    """Return the triangle by Cholesky's method, where the products of the columns keep the digits."""
    order, sizes = _order(design)
    products = design.products[order][:, order]
    scale = products.diagonal().sqrt()
    scaled = products / scale / scale[:, None]
    lower, failed = torch.linalg.cholesky_ex(scaled)
    factor = InstrumentTriangle(lower.mT * scale, *sizes)
    if bool(failed) or not plain_sizes(scale) or not float(lower.diagonal().square().min()) > _LEFT:
        return None
    return factor if certified(scaled[: factor.known, : factor.known]) else None


def _of_blocks(design: Design) -> InstrumentTriangle:
    """Return the triangle by TSQR."""
    order, sizes = _order(design)
    parts = scan(design.source, _triangle, design.engine, fewest=_TALL * len(order))
    triangle = joined_triangle(list(parts))[:, order]
    triangle = triangle_of(triangle) if order != sorted(order) else triangle
    names = (*design.names, *design.schema.instruments, design.endog_name)
    check_scale(design, triangle, [names[i] for i in order])
    short = len(order) - len(triangle)
    return InstrumentTriangle(torch.nn.functional.pad(triangle, (0, 0, 0, short)), *sizes)


def _order(design: Design) -> tuple[list[int], tuple[int, int, int]]:
    """Return where [X1, Z, Y, y] lie in [X1, Y, Z, y], and how many columns X1, Z and Y have."""
    width, endogenous, instruments = design.width, design.schema.endogenous, design.source.shapes[INSTRUMENTS][0]
    exogenous = width - endogenous
    order = [*range(exogenous), *range(width, width + instruments), *range(exogenous, width), width + instruments]
    return order, (exogenous, instruments, endogenous)


def _triangle(block: Block) -> Tensor:
    """Return R of a block's whitened [X1, Y, Z, y]."""
    joint = torch.cat([block["exog"], block[INSTRUMENTS], block["endog"][:, None]], 1)
    often = times(torch.ones_like(block["endog"]), block.get("weights"), block.get("counts"))
    return triangle_of(joint * often.sqrt()[:, None])


def _check_moved(design: Design, factor: InstrumentTriangle, rows: float) -> None:
    """Refuse endogenous regressors that the instruments do not tell apart from each other and from the exogenous ones."""
    endogenous, known = factor.endogenous, factor.known
    if factor.instruments < endogenous:
        raise EstimationError(
            f"{counted(factor.instruments, 'instrument')} {'is' if factor.instruments == 1 else 'are'} left beside the exogenous regressors for "
            f"{counted(endogenous, 'endogenous regressor')}; pass at least one for each that is no combination of the others."
        )
    if rows <= known:
        raise EstimationError(
            f"With {counted(int(design.nobs), 'row')} for {counted(known, 'instrument')} and exogenous regressors the first stage fits exactly; use fewer "
            "instruments."
        )
    names, exogenous = design.names[-endogenous:], factor.exogenous
    own = factor.triangle[exogenous:, known:-1]
    sizes = torch.linalg.vector_norm(factor.triangle[:, known:-1], dim=0)
    apart = triangle_of(own).diagonal().abs()
    same = [
        name for name, part, size in zip(names, apart.tolist(), sizes.tolist(), strict=True) if not part > _SAME * size
    ]
    if same:
        raise EstimationError(
            f"{listed(same)} {'is' if len(same) == 1 else 'are'} a combination of the regressors before, so no instrument tells them apart; leave out "
            "what is there twice."
        )
    moved = triangle_of(factor.moved[:, :-1]).diagonal().abs() > _UNMOVED * torch.linalg.vector_norm(own, dim=0)
    still = [name for name, moves in zip(names, moved.tolist(), strict=True) if not moves]
    if still:
        apart_from = "" if len(names) == 1 else ", apart from the other endogenous regressors"
        raise EstimationError(
            f"The instruments do not move {listed(still)}{apart_from}, so {'its coefficient is' if len(still) == 1 else 'their coefficients are'} not "
            "identified; pass instruments that are correlated with it beyond the exogenous regressors."
        )


def _fitted(given: Design, used: InUse, how: Estimating, rows: float) -> Fit:
    """Return the fit without its sums over rows."""
    design, factor = used.design, used.factor
    path = None
    if isinstance(how, KClass):
        excess = how.excess(factor, rows)
        estimated, found = k_class(factor, excess), Instruments(how, factor, used.instruments, float(excess))
        matrix = k_class_columns(factor, found.excess)
    else:
        assert isinstance(how, Weighting)
        result = weighed(how, _moments_of(given, used), factor)
        estimated, path = result.estimated, result.path
        found = Instruments(how, factor, used.instruments, half=result.half)
        matrix = moment_columns(factor, result.half)
    _check_estimated(estimated)
    same = 0 if isinstance(how, Weighting) else factor.exogenous
    sample = replace(design, source=scored(design.source, _for_all(matrix, used), same))
    return Fit(
        problem=Problem(Gaussian(_dispersion(found)), sample),
        params=estimated.params,
        root=inverse_triangle(estimated.triangle),
        triangle=estimated.triangle,
        loss=estimated.params.new_zeros(()),
        route="gram" if used.sound else "tsqr",
        well_conditioned=used.sound,
        given=given,
        kept=(*used.exogenous, *range(given.width - factor.endogenous, given.width)),
        path=path,
        instruments=found,
    )


def _dispersion(found: Instruments) -> Instrumented:
    """Return what the squared residuals are up to a factor."""
    if isinstance(found.how, Weighting):
        return BestWeights() if found.how.efficient else OtherWeights()
    return KClassVariance() if found.excess else TwoStageVariance()


def _moments_of(given: Design, used: InUse) -> Fit:
    """Return a fit at zero whose scores are the moments, (n, L), residuals times [X1, Z], in the coordinates of their own R."""
    factor, design = used.factor, used.design
    columns = factor.triangle.new_zeros(factor.width + factor.instruments, factor.known)
    columns[: factor.exogenous, : factor.exogenous] = torch.eye(factor.exogenous).to(columns)
    columns[factor.width :, factor.exogenous :] = torch.eye(factor.instruments).to(columns)
    triangle = factor.of_instruments
    sample = replace(design, source=scored(design.source, _for_all(columns, used)))
    return Fit(
        problem=Problem(Gaussian(OtherWeights()), sample),
        params=columns.new_zeros(factor.width),
        root=inverse_triangle(triangle),
        triangle=triangle,
        loss=columns.new_zeros(()),
        route="moments",
        well_conditioned=used.sound,
        given=given,
        kept=used.exogenous,
    )


def _for_all(matrix: Tensor, used: InUse) -> Tensor:
    """Return (k + q, r) M for all instruments, with zeros for those that are not used."""
    width, every = used.factor.width, used.design.source.shapes[INSTRUMENTS][0]
    if every == used.factor.instruments:
        return matrix
    whole = matrix.new_zeros(width + every, matrix.shape[1])
    whole[:width] = matrix[:width]
    whole[[width + i for i in used.instruments]] = matrix[width:]
    return whole


def _check_estimated(found: Estimated) -> None:
    """Refuse what is no estimate."""
    if not bool(found.found):
        raise EstimationError(
            "kappa is so large that X'(I - kappa M)X is not positive definite, M the projection off the instruments, so there is no estimate; pass a "
            "smaller kappa, 1 for two-stage least squares, or none for LIML."
        )


def _products(triangle: Tensor) -> Tensor:
    """Return (k, k) R'R with columns of unit length."""
    scaled: Tensor = triangle / torch.linalg.vector_norm(triangle, dim=0)
    return scaled.mT @ scaled


def _with_sums(fit: Fit, terms: tuple[RowSum, ...]) -> Fit:
    """Add the loss and other sums over rows, in one pass, and correct the estimates where rounding moves them."""
    loss, gradient, *sums = fit.problem.total(_LastPass(terms), fit.point)
    assert fit.instruments is not None
    step = fit.root @ (fit.root.mT @ -gradient)
    gain = -gradient @ step
    solves = fit.instruments.excess == 0.0 and fit.instruments.half is None
    if not solves or bool(gain <= _STATIONARY * loss):
        return replace(fit, loss=loss, sums=dict(zip(terms, sums, strict=True)))
    moved = replace(fit, params=fit.params + step)
    loss, *_ = moved.problem.total(_LastPass(()), moved.point)
    return replace(moved, loss=loss)


@dataclass(frozen=True)
class _LastPass:
    """Half the squares of the residuals, the gradient and other sums of a block."""

    terms: tuple[RowSum, ...]

    def __call__(self, rows: Rows) -> tuple[Tensor, ...]:
        read = index_rows(rows)
        loss = 0.5 * (times(read.residual, read.counts) @ (read.y - read.index))
        return loss, read.gradient(), *(term(rows) for term in self.terms)
