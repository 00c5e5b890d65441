"""Estimates by instruments on other rows or with other weights: both stages again, for many samples at once where sums of products suffice."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from betahat.calculus.rows import times
from betahat.data.design import Design
from betahat.data.engine import Block, fold, gather
from betahat.data.groups import Groups
from betahat.data.sample import Sample
from betahat.data.scored import INSTRUMENTS
from betahat.data.source import Source
from betahat.errors import EstimationError
from betahat.fits.absorbed_instruments import fit_absorbed_instruments
from betahat.fits.fit import Fit
from betahat.fits.instrumented import KClass, Weighting
from betahat.fits.instruments import fit_instruments
from betahat.fits.inverse_root import inverse_root
from betahat.fits.moment_weights import check_estimator
from betahat.fits.nested import all_nested
from betahat.fits.remembered import of_fit
from betahat.solvers.instruments import InstrumentTriangle

# A pivot below this share of the largest is a direction that a sample has lost, as in other refits.
_LOST = 1e-6
# A column that is left with less than this share of its length by those before it is measured by its length.
_NOTHING = 1e-8
# So many numbers of products are made at a time.
_NUMBERS = 2**20


@dataclass(frozen=True, eq=False)
class Refitted:
    """The estimates of some samples.

    Attributes
    ----------
    steps : Tensor
        (R, r) d, where the estimates are b + Z d.
    found : Tensor
        (R,) whether there is an estimate.
    """

    steps: Tensor
    found: Tensor


def by_products(fit: Fit) -> bool:
    """Tell whether estimates follow from sums of products: of the k-class, as far as no absorbed effects are moved."""
    return fit.instruments is not None and isinstance(fit.instruments.how, KClass)


def products_width(fit: Fit) -> int:
    """Return p (p + 1) / 2, how many products a row has."""
    width = _unit(fit).shape[0]
    return width * (width + 1) // 2


def row_products(fit: Fit, block: Block) -> Tensor:
    """Return (b, p (p + 1) / 2) the products v v' of a block's rows, weights included and counts not: v are [X1, Z, Y, y], orthonormal in the sample."""
    turned = _turned(fit, block)
    upper = torch.triu_indices(turned.shape[1], turned.shape[1], device=turned.device)
    return turned[:, upper[0]] * turned[:, upper[1]]


def of_products(fit: Fit, sums: Tensor, often: Tensor) -> Refitted:
    """Return the estimates of samples with (R, p (p + 1) / 2) sums of `row_products`, of (R,) times n rows."""
    unit, instruments = _unit(fit), fit.instruments
    assert instruments is not None
    assert isinstance(instruments.how, KClass)
    known, width = instruments.factor.known, len(unit)
    upper = torch.triu_indices(width, width, device=sums.device)
    grams = sums.new_empty(len(sums), width, width)
    grams[:, upper[0], upper[1]] = grams[:, upper[1], upper[0]] = sums
    eye = torch.eye(width).to(sums)
    lower, failed = torch.linalg.cholesky_ex(grams[:, :known, :known])
    pivots = lower.diagonal(dim1=1, dim2=2)
    found = (failed == 0) & (pivots.amin(1) > _LOST * pivots.amax(1))
    lower = torch.where(found[:, None, None], lower, eye[:known, :known])
    across = torch.linalg.solve_triangular(lower, grams[:, :known, known:], upper=False)
    left = grams[:, known:, known:] - across.mT @ across
    inner = torch.linalg.cholesky_ex(left)[0].mT
    inner = torch.where(torch.isfinite(inner).all((1, 2))[:, None, None], inner, 0.0)
    below = torch.nn.functional.pad(inner, (known, 0))
    triangles = torch.cat([torch.cat([lower.mT, across], 2), below], 1) @ unit
    factor = instruments.factor
    sample = InstrumentTriangle(triangles, factor.exogenous, factor.instruments, factor.endogenous)
    solved = instruments.how.solve(sample, often * float(fit.nobs))
    moved = torch.linalg.qr(solved.triangle @ fit.root, mode="r").R.diagonal(dim1=1, dim2=2).abs()
    found = found & solved.found & (moved.amin(1) > _LOST * moved.amax(1))
    steps = (solved.params - fit.params) @ inverse_root(fit).mT
    return Refitted(torch.where(found[:, None], steps, 0.0), found)


def refit_instruments(fit: Fit, sample: Sample) -> Tensor | None:
    """Return (r,) the step to the estimate of other rows or counts of the given design; None where columns are lost."""
    instruments = fit.instruments
    assert instruments is not None
    assert isinstance(sample, Design)
    check_order(fit)
    try:
        again = (fit_absorbed_instruments if sample.effects else fit_instruments)(sample, instruments.how)
    except EstimationError:
        return None
    assert again.instruments is not None
    if again.kept != fit.kept or again.instruments.kept != instruments.kept:
        return None
    return inverse_root(fit) @ (again.params - fit.params)


def check_order(fit: Fit) -> None:
    """Refuse to weigh moments of drawn rows by a covariance that depends on which rows are near each other."""
    how = None if fit.instruments is None else fit.instruments.how
    if isinstance(how, Weighting):
        check_estimator(how)
    if isinstance(how, Weighting) and how.words in ("HAC", "DriscollKraay", "Conley", "PanelNeweyWest"):
        raise EstimationError(
            f"The moments are weighed by {how.words}, which goes by which rows are near each other, and a sample of other rows has not their neighbours; use a "
            "sandwich, or fit with weight_type='robust' or bh.Cluster(...)."
        )


def steps_without_rows(fit: Fit) -> Refitted:
    """Return the steps to the estimates without each row, or without one of its copies."""
    sample = fit.problem.sample
    if not by_products(fit) or fit.absorbed is not None:
        given = fit.given
        parts = [refit_instruments(fit, _without_row(given, i)) for i in range(given.rows)]
        return _joined(fit, parts)
    whole, step = _whole(fit), max(_NUMBERS // products_width(fit), 1)

    def without(block: Block) -> Tensor:
        parts = []
        for piece in sample.engine.pieces(block, step):
            left = whole - row_products(fit, piece)
            solved = of_products(fit, left, left.new_full((len(left),), 1.0 - 1.0 / float(fit.nobs)))
            parts.append(torch.cat([solved.steps, solved.found[:, None].to(left)], 1))
        return torch.cat(parts)

    joint = gather(_rows_of(fit), without, sample.engine)
    return Refitted(joint[:, :-1], joint[:, -1] > 0)


def steps_without_groups(fit: Fit, groups: Groups) -> Refitted:
    """Return the steps to the estimates without each of the groups of rows."""
    codes, count = groups.codes, groups.count
    if not by_products(fit) or not all_nested(fit, groups):
        given, places = fit.given, torch.arange(len(codes), device=codes.device)
        return _joined(fit, [refit_instruments(fit, given.take(places[codes != g])) for g in range(count)])
    sums = group_products(fit, codes, count)
    rows = torch.bincount(codes, weights=fit.sample.counts, minlength=count).to(torch.float64)
    return of_products(fit, _whole(fit) - sums, 1.0 - rows / float(fit.nobs))


def group_products(fit: Fit, codes: Tensor, count: int) -> Tensor:
    """Return (G, p (p + 1) / 2) the sums of `row_products` over groups, each row as often as it counts."""

    def products(block: Block) -> tuple[Tensor]:
        sums = fit.params.new_zeros(count, products_width(fit))
        values = times(row_products(fit, block), block.get("counts"))
        return (sums.index_add_(0, codes[block.start : block.start + len(block)], values),)

    (sums,) = fold(_rows_of(fit), products, fit.problem.engine)
    return sums


def weighted_products(fit: Fit, drawn: Tensor) -> Tensor:
    """Return (R, p (p + 1) / 2) the sums of `row_products` under (R, n) weights, counts included."""
    step, engine = max(_NUMBERS // products_width(fit), 1), fit.problem.engine

    def products(block: Block) -> tuple[Tensor]:
        sums = fit.params.new_zeros(len(drawn), products_width(fit))
        for piece in engine.pieces(block, step):
            values = row_products(fit, piece)
            sums.addmm_(drawn[:, piece.start : piece.start + len(values)].to(torch.float64), values)
        return (sums,)

    (sums,) = fold(_rows_of(fit), products, engine)
    return sums


@of_fit
def _whole(fit: Fit) -> Tensor:
    """Return (p (p + 1) / 2,) the sums of `row_products` over the sample."""
    (sums,) = fold(
        _rows_of(fit), lambda block: (times(row_products(fit, block), block.get("counts")).sum(0),), fit.problem.engine
    )
    return sums


@of_fit
def _unit(fit: Fit) -> Tensor:
    """Return (p, p) R of [X1, Z, Y, y], in which columns that those before them leave nothing of are measured by their length."""
    assert fit.instruments is not None
    triangle = fit.instruments.factor.triangle.clone()
    sizes, left = torch.linalg.vector_norm(triangle, dim=0), triangle.diagonal()
    nothing = left.abs() <= _NOTHING * sizes
    left[nothing] = torch.where(sizes > 0, sizes, 1.0)[nothing]
    return triangle


def _turned(fit: Fit, block: Block) -> Tensor:
    """Return (b, p) the whitened [X1, Z, Y, y], orthonormal in the sample, as far as they are independent."""
    instruments, unit = fit.instruments, _unit(fit)
    assert instruments is not None
    exogenous, x = instruments.factor.exogenous, block["exog"]
    parts = [x[:, :exogenous], block[INSTRUMENTS][:, list(instruments.kept)], x[:, exogenous:], block["endog"][:, None]]
    joint, weights = torch.cat(parts, 1), block.get("weights")
    joint = joint if weights is None else joint * weights.sqrt()[:, None]
    turned: Tensor = torch.linalg.solve_triangular(unit, joint, upper=True, left=False)
    return turned


def _rows_of(fit: Fit) -> Source:
    """Return the rows in use, without what their scores are made of."""
    return fit.sample.source.only("exog", INSTRUMENTS, "endog", "weights", "counts")


def _without_row(given: Sample, place: int) -> Sample:
    """Return the rows without one, or without one of its copies."""
    counts = given.counts
    if counts is None:
        places = torch.arange(given.rows, device=given.device)
        return given.take(places[places != place])
    fewer = counts.to(torch.float64).clone()
    fewer[place] -= 1.0
    return given.counted(fewer)


def _joined(fit: Fit, parts: list[Tensor | None]) -> Refitted:
    nothing = fit.params.new_zeros(fit.rank)
    steps = torch.stack([nothing if part is None else part for part in parts])
    return Refitted(steps, torch.tensor([part is not None for part in parts], device=steps.device))
