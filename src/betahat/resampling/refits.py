"""The estimates of many replicates at once: Newton's chord, with each replicate's own information at the estimate."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from betahat.calculus.autodiff import hessian_matrix, stacked_gradients
from betahat.calculus.problem import Local
from betahat.calculus.rows import Bread, Point, Rows, root_of_counts, times
from betahat.data.blocks import blocks, gram, product
from betahat.data.design import Design
from betahat.data.progress import progress
from betahat.errors import EstimationError
from betahat.fit import Fit, refit_on
from betahat.objectives.base import LinearIndex
from betahat.objectives.gaussian import Gaussian
from betahat.objectives.own import ModelLoss
from betahat.objectives.softmax import Softmax
from betahat.resampling.weights import RowWeights
from betahat.solvers.newton import noise

# Weights of rows and replicates that are held, in bytes: more where the rows' products are made anew for each batch.
_FEW_BYTES, BYTES = 2**22, 2**27
# A GPU has its speed from large products.
_GPU_TIMES = 16
# Products of a unit's row with itself are held where they are fewer.
_TABLE = 2**24
# Up to so many parameters the products of a row with itself are a table; beyond, they are taken anew for each replicate.
_WIDE = 64
# A pivot of I + noise below this is a direction that a replicate has lost.
_LOST = 1e-6
# The distance from the limit, in standard errors, of steps that go on to fall as the last one fell.
_CONVERGED = 1e-12
# Rounding of a sum over rows leaves steps of some 1e-13; a sequence that falls no more below this has converged.
_ROUNDING = 1e-11
_ITERATIONS = 40
# A step that is more than so much of the last is no sign of an end: Newton's method itself is then sure, and as fast.
_FALLS = 0.8
# Numbers of a block of products, which stay in a CPU's cache.
_PIECE = 2**18


@dataclass(frozen=True, eq=False)
class Replicates:
    """What the estimates of some replicates are.

    Attributes
    ----------
    steps : Tensor
        (R, r) d with b + Z d the estimates.
    found : Tensor
        (R,) whether there is one: no lost rank, and converged.
    """

    steps: Tensor
    found: Tensor


@dataclass(frozen=True, eq=False)
class Resample:
    """The data of some replicates.

    Attributes
    ----------
    weights : Tensor or None
        (R, n) how often rows count, of any dtype; None is as in the sample.
    targets : Tensor or None
        (R, n) what was drawn instead of y.
    """

    weights: Tensor | None = None
    targets: Tensor | None = None


def in_batches(
    reps: int, width: int, device: torch.device, function: Callable[[Tensor], Replicates], budget: int = BYTES
) -> Replicates:
    """Take replicates 0 to reps - 1, as many at a time as have `budget` bytes, `width` for each."""
    budget *= 1 if device.type == "cpu" else _GPU_TIMES
    numbers = torch.arange(reps, device=device)
    parts = [function(some) for some in progress(torch.split(numbers, max(budget // max(width, 1), 1)), "bootstrap")]
    return Replicates(torch.cat([part.steps for part in parts]), torch.cat([part.found for part in parts]))


def weighted_refits(fit: Fit, weights: RowWeights, seed: int, reps: int) -> Replicates:
    """Refit with weights of rows, or of clusters.

    Parameters
    ----------
    fit : Fit
        The estimates of the sample.
    weights : RowWeights
        Of a row in a replicate.
    seed, reps : int
        Replicates 0 to reps - 1 of a seed.

    Returns
    -------
    Replicates

    Notes
    -----
    With M_r the sum of w h u u' and g_r that of the scores w s, in Z's coordinates, both one product of the weights with a table, the first step
    is M_r^-1 g_r: exact for least squares. Other models go on with the scores at b + Z d, the factor of M_r being kept: the steps fall by a
    factor of the distance from the estimate. What does not fall fast is refitted by Newton's method alone.
    """
    rows, table = len(fit.sample.columns[0]), _unit_table(fit, weights)
    by_units = table is not None and weights.codes is not None and _exact(fit) and _packed(fit)
    known = _Known(_rest(fit), _penalty(fit), _score_factor(fit))

    def refit(replicates: Tensor) -> Replicates:
        if table is not None and weights.codes is not None:
            units = weights.scheme(seed, replicates).to(torch.float64)
            moments = _unpacked(fit, units @ table)
            if by_units:
                return _solved(moments, known).replicates
            drawn = weights.rows(units, rows)
        else:
            drawn = weights(seed, replicates, rows)
            moments = _unpacked(fit, _streamed(fit, drawn) if table is None else drawn.to(torch.float64) @ table)
        if _closed(fit) and not _packed(fit):
            moments = replace(moments, information=_grams(fit, drawn))
        if known.rest is not None or known.penalty is not None:
            moments = replace(moments, often=_often(fit, drawn))
        return _refined(fit, Resample(weights=drawn), _solved(moments, known))

    squares = 24 * fit.rank**2 if _closed(fit) or _packed(fit) else 0
    width = max(weights.bytes(0 if by_units else rows), squares)
    return in_batches(
        reps, width, fit.params.device, refit, BYTES if table is None or squares > width // 2 else _FEW_BYTES
    )


def target_refits(fit: Fit, targets: Callable[[Tensor], Tensor], reps: int) -> Replicates:
    """Refit with other values of y.

    Parameters
    ----------
    fit : Fit
        The estimates of the sample.
    targets : callable
        (R,) replicates -> (R, n) values.
    reps : int
        How many replicates.
    """
    known = _Known(_plain_information(fit), _penalty(fit), None)

    def refit(replicates: Tensor) -> Replicates:
        drawn = Resample(targets=targets(replicates))
        scores = _scores_at(fit, drawn, fit.params.new_zeros(len(replicates), fit.rank))
        moments = Moments(None, scores, often=torch.ones_like(scores[:, 0]))
        return _refined(fit, drawn, _solved(moments, known))

    return in_batches(reps, 8 * len(fit.sample.columns[0]), fit.params.device, refit)


@dataclass(frozen=True, eq=False)
class Moments:
    """What replicates are at the estimate.

    Attributes
    ----------
    information : Tensor or None
        (R, r, r) in Z's coordinates, where it is known.
    scores : Tensor
        (R, r) in Z's coordinates.
    squares : Tensor or None
        (R, k) the sums of squares of the scores, where a column that is lost does not show in the information.
    products : Tensor or None
        (R, r, r) the sums of products of the scores, which show a combination that is lost.
    often : Tensor or None
        (R,) the sum of the weights over the number of rows; None is one.
    """

    information: Tensor | None
    scores: Tensor
    squares: Tensor | None = None
    products: Tensor | None = None
    often: Tensor | None = None


@dataclass(frozen=True, eq=False)
class _Known:
    """What all replicates share.

    Attributes
    ----------
    rest : Tensor or None
        (r, r) what the rows' shares leave of the sample's information, in Z's coordinates; None is nothing.
    penalty : Penalty or None
    factor : Tensor or None
        (r, r) F with F'F the inverse of the sum of products of the sample's scores, where that is one.
    """

    rest: Tensor | None
    penalty: Penalty | None
    factor: Tensor | None


@dataclass(frozen=True, eq=False)
class Penalty:
    """The share of a penalty: (r, r) its curvature and (r,) its slope at the estimate, in Z's coordinates."""

    information: Tensor
    slope: Tensor


@dataclass(frozen=True, eq=False)
class Solved:
    """The first steps, and what they were found by.

    Attributes
    ----------
    replicates : Replicates
    factors : Tensor
        (R, r, r), or (1, r, r) of all replicates, the lower factors of the information.
    often : Tensor or None
        (R,) by which the information of all is multiplied.
    """

    replicates: Replicates
    factors: Tensor
    often: Tensor | None

    def step(self, scores: Tensor, which: Tensor | None = None) -> Tensor:
        """Return (R, r) the information's inverse times scores, of all replicates or of some."""
        shared = len(self.factors) == 1
        if shared:
            solved: Tensor = torch.cholesky_solve(scores.mT, self.factors[0]).mT
        else:
            factors = self.factors if which is None else self.factors[which]
            solved = torch.cholesky_solve(scores[:, :, None], factors)[:, :, 0]
        if not shared or self.often is None:
            return solved
        return solved / (self.often if which is None else self.often[which])[:, None]


def _exact(fit: Fit) -> bool:
    """Tell whether one step is the refit."""
    return isinstance(fit.objective, Gaussian) and fit.problem.penalty is None


def _point(fit: Fit) -> Point:
    """Return where rows are looked at: with second derivatives, whatever the bread is made of."""
    return replace(fit.point, bread=Bread.OBSERVED) if _closed(fit) and fit.bread_kind is Bread.OPG else fit.point


def _packed(fit: Fit) -> bool:
    """Tell whether each replicate has its own information: a row has a share of it, of not too many numbers."""
    return fit.rank <= _WIDE and (_closed(fit) or fit.once("row shares", lambda: _has_shares(fit)))


def _closed(fit: Fit) -> bool:
    return isinstance(fit.objective, LinearIndex | Softmax)


def _has_shares(fit: Fit) -> bool:
    """Tell whether a row's share of the information, or its Gauss-Newton approximation, is a square."""
    if not isinstance(fit.objective, ModelLoss):
        return False
    try:
        for rows in fit.each(lambda rows: rows.hat_rows[:, :, 0]):
            if not bool(torch.isfinite(rows).all()):
                return False
    except EstimationError:
        return False
    return True


def _widths(fit: Fit) -> list[int]:
    """Return how many numbers of a row's products are of the information, the scores, their squares and their products."""
    triangle, own = fit.rank * (fit.rank + 1) // 2, not _closed(fit)
    return [triangle * _packed(fit), fit.rank, len(fit.params) * own, triangle * (own and fit.rank <= _WIDE)]


def _width(fit: Fit) -> int:
    return sum(_widths(fit))


def _row_products(fit: Fit, rows: Rows) -> Tensor:
    """Return (b, p) what is summed over rows: the information's upper triangle, the scores, their squares and products; counts do not enter."""
    plain = rows.scores()
    turned, upper = product(plain, fit.root), torch.triu_indices(fit.rank, fit.rank, device=plain.device)
    parts = [turned]
    if _packed(fit):
        first, *others = rows.hat_rows.unbind(1)
        products = first[:, upper[0]] * first[:, upper[1]]
        for hats in others:
            products += hats[:, upper[0]] * hats[:, upper[1]]
        parts = [products, turned]
    if not _closed(fit):
        parts.append(plain.square())
        if fit.rank <= _WIDE:
            parts.append(turned[:, upper[0]] * turned[:, upper[1]])
    return torch.cat(parts, 1)


def _unit_table(fit: Fit, weights: RowWeights) -> Tensor | None:
    """Return (units, p) the sums of products over clusters, or each row's, where they fit."""
    codes = weights.codes
    count = len(fit.sample.columns[0]) if codes is None else weights.scheme.units
    if count * _width(fit) > _TABLE:
        return None
    each = fit.problem.each(lambda rows: _row_products(fit, rows), _point(fit))
    if codes is None:
        return torch.cat(list(each))
    start, table = 0, fit.params.new_zeros(count, _width(fit))
    for values in each:
        stop = start + len(values)
        table.index_add_(0, codes[start:stop], times(values, _slice(weights.counts, start, stop)))
        start = stop
    return table


def _streamed(fit: Fit, drawn: Tensor) -> Tensor:
    """Return (R, p) the sums of products under (R, n) weights, of rows whose table is not held."""
    sums = fit.params.new_zeros(len(drawn), _width(fit))
    step = max(_PIECE // _width(fit), 1)
    point, sample = _point(fit), fit.sample
    for block in blocks(*sample.columns, rows=sample.block_rows or step):
        values = _row_products(fit, fit.problem.rows(block, point))
        sums.addmm_(drawn[:, block.start : block.start + len(values)].to(torch.float64), values)
    return sums


def _unpacked(fit: Fit, sums: Tensor) -> Moments:
    """Read (R, p) sums of `_row_products`."""
    triangle, scores, squares, products = torch.split(sums, _widths(fit), 1)
    return Moments(
        _square(triangle, fit.rank), scores, squares if squares.shape[1] else None, _square(products, fit.rank)
    )


def _square(triangle: Tensor, rank: int) -> Tensor | None:
    """Return (R, r, r) of upper triangles; None of none."""
    if not triangle.shape[1]:
        return None
    upper = torch.triu_indices(rank, rank, device=triangle.device)
    square = triangle.new_empty(len(triangle), rank, rank)
    square[:, upper[0], upper[1]] = triangle
    square[:, upper[1], upper[0]] = triangle
    return square


def _grams(fit: Fit, drawn: Tensor) -> Tensor:
    """Return (R, r, r) the information under (R, n) weights, of so many columns that their products are no table."""
    sums, start = fit.params.new_zeros(len(drawn), fit.rank, fit.rank), 0
    for hats in fit.problem.each(lambda rows: rows.hat_rows, _point(fit)):
        flat, stop = hats.flatten(0, 1), start + len(hats)
        for i, weights in enumerate(drawn[:, start:stop].to(torch.float64)):
            sums[i] += (hats * weights[:, None, None]).flatten(0, 1).mT @ flat
        start = stop
    return sums


def _score_factor(fit: Fit) -> Tensor | None:
    """Return (r, r) F by which the sample's scores have products that sum to the identity; None where they are collinear."""
    if _closed(fit) or fit.rank > _WIDE:
        return None
    products = fit.sum_rows(_sum_of_products)
    lower, failed = torch.linalg.cholesky_ex(products)
    pivots = lower.diagonal()
    if bool(failed) or bool(pivots.min() <= _LOST * pivots.max()):
        return None
    inverse: Tensor = torch.linalg.solve_triangular(lower, torch.eye(fit.rank).to(lower), upper=False)
    return inverse


def _sum_of_products(rows: Rows) -> Tensor:
    return gram(product(rows.scores(), rows.at.root), root_of_counts(rows.counts))


def _plain_information(fit: Fit) -> Tensor:
    """Return (r, r) Z'AZ of the sample's second derivatives A: the identity where Z is of these, and takes a penalty in."""
    eye = torch.eye(fit.rank).to(fit.root)
    if fit.bread_kind is Bread.OBSERVED or (fit.bread_kind is Bread.EXPECTED and _closed(fit)):
        share = _penalty(fit)
        return eye if share is None else eye - share.information
    return fit.once("information", lambda: _sample_information(fit))


def _rest(fit: Fit) -> Tensor | None:
    """Return (r, r) what the rows' shares leave of the sample's information; None where they are all of it."""
    if _closed(fit):
        return None
    if not _packed(fit):
        return _plain_information(fit)
    shares = fit.sum_rows(_sum_of_shares)
    return _plain_information(fit) - shares


def _sum_of_shares(rows: Rows) -> Tensor:
    hats = rows.hat_rows
    return gram(
        hats.flatten(0, 1),
        root_of_counts(None if rows.counts is None else rows.counts.repeat_interleave(hats.shape[1])),
    )


def _sample_information(fit: Fit) -> Tensor:
    return fit.root.mT @ replace(fit.problem, penalty=None).evaluate(fit.params, Bread.OBSERVED).information @ fit.root


def _penalty(fit: Fit) -> Penalty | None:
    function = fit.problem.penalty
    if function is None:
        return None
    curvature = fit.root.mT @ hessian_matrix(function, fit.params) @ fit.root
    return Penalty(curvature, _penalty_slopes(fit, fit.params[None])[0])


def _penalty_slopes(fit: Fit, params: Tensor) -> Tensor:
    """Return (R, r) the slopes of the penalty at (R, k) parameters, in Z's coordinates."""
    function = fit.problem.penalty
    assert function is not None
    return stacked_gradients(lambda theta, _: function(theta), params, params) @ fit.root


def _solved(moments: Moments, known: _Known) -> Solved:
    """Take the first step, and say which replicates have lost a direction. A penalty is one of the mean loss: as large as the weights are."""
    scores, often, penalty = moments.scores, moments.often, known.penalty
    shared = [part for part in (known.rest, None if penalty is None else penalty.information) if part is not None]
    constant = sum(shared[1:], shared[0]) if shared else None
    if penalty is not None:
        assert often is not None
        scores = scores - often[:, None] * penalty.slope
    if moments.information is None:
        assert constant is not None
        information = constant[None]
    else:
        information = moments.information
        if constant is not None and often is not None:
            information = information + often[:, None, None] * constant
    factors, failed = torch.linalg.cholesky_ex(information)
    found = (failed == 0) & _spread(factors) & torch.isfinite(scores).all(1)
    if moments.products is not None and known.factor is not None and penalty is None:
        lower, lost = torch.linalg.cholesky_ex(known.factor @ moments.products @ known.factor.mT)
        found &= (lost == 0) & _spread(lower)
    if moments.squares is not None and penalty is None:  # a penalty holds what the rows have lost
        found &= (moments.squares > 0).all(1)
    if len(factors) == len(found) and not bool(found.all()):
        factors = torch.where(found[:, None, None], factors, torch.eye(factors.shape[1]).to(factors))
    solved = Solved(Replicates(scores, found), factors, often if moments.information is None else None)
    return replace(solved, replicates=Replicates(solved.step(scores), found))


def _spread(factors: Tensor) -> Tensor:
    """Tell which triangular factors have pivots of like size."""
    pivots = factors.diagonal(dim1=1, dim2=2)
    return pivots.amin(1) > _LOST * pivots.amax(1)


def _scores_at(fit: Fit, drawn: Resample, steps: Tensor) -> Tensor:
    """Return (R, r) the sums of scores at b + Z d, the slope of a penalty taken off."""
    sums, sample, point = torch.zeros_like(steps), fit.sample, _point(fit)
    for block in blocks(*sample.columns, rows=sample.block_rows):
        rows = fit.problem.rows(block, point)
        start, stop = rows.start, rows.start + len(rows)
        chunk = max(_PIECE // (stop - start), 1)
        for top in range(0, len(steps), chunk):
            some = slice(top, top + chunk)
            weights, targets = (
                None if of is None else of[some, start:stop].to(torch.float64) for of in (drawn.weights, drawn.targets)
            )
            sums[some] += rows.resampled_scores(steps[some], weights, targets)
    if fit.problem.penalty is not None:
        often = 1.0 if drawn.weights is None else _often(fit, drawn.weights)[:, None]
        sums -= often * _penalty_slopes(fit, fit.params + steps @ fit.root.mT)
    return sums


def _refined(fit: Fit, drawn: Resample, first: Solved) -> Replicates:
    """Go on from the first steps until they are as small as rounding, and refit alone what does not fall fast."""
    if _exact(fit):
        return first.replicates
    steps, found = first.replicates.steps.clone(), first.replicates.found.clone()
    unit = noise(fit.problem, _local(fit)) ** 0.5
    active = found.nonzero().flatten()
    slow = [active[:0]]
    last = torch.linalg.vector_norm(steps[active], dim=1) / unit
    held, part = drawn, _some(drawn, active)
    for _ in range(_ITERATIONS):
        if not len(active):
            break
        further = first.step(_scores_at(fit, part, steps[active]), active)
        size = torch.linalg.vector_norm(further, dim=1) / unit
        steps[active] += further
        rate = size / last
        left = size * rate / (1.0 - rate).clamp_min(1.0 - _FALLS)
        done = (left <= _CONVERGED) | ((size < _ROUNDING) & (rate > 0.5))
        fails = ~done & ~(rate < _FALLS)
        slow.append(active[fails])
        keep = ~(done | fails)
        if not bool(keep.all()):
            active, size = active[keep], size[keep]
            part = _some(part, keep.nonzero().flatten())
        last = size
    for i in torch.cat([*slow, active]).tolist():
        alone = _alone(fit, held, i)
        found[i] = alone is not None
        if alone is not None:
            steps[i] = alone
    return Replicates(steps, found)


def _often(fit: Fit, drawn: Tensor) -> Tensor:
    """Return (R,) the sum of (R, n) weights over the number of rows."""
    return drawn.sum(1).to(torch.float64) / float(fit.nobs)


def _some(drawn: Resample, which: Tensor) -> Resample:
    """Keep some replicates."""
    rows = drawn.targets if drawn.weights is None else drawn.weights
    if rows is None or len(which) == len(rows):
        return drawn
    return Resample(*(None if of is None else of[which] for of in (drawn.weights, drawn.targets)))


def _alone(fit: Fit, drawn: Resample, which: int) -> Tensor | None:
    """Return (r,) the step of one replicate by damped Newton steps; None where it has no estimate."""
    if drawn.weights is not None:
        often = drawn.weights[which].to(torch.float64)
        sample = fit.sample.counted(often * (float(fit.nobs) / often.sum()))  # so that a penalty is as large
    else:
        assert drawn.targets is not None
        assert isinstance(fit.sample, Design)
        sample = replace(fit.sample, endog=drawn.targets[which])
    try:
        moved = refit_on(fit, sample) - fit.params
    except EstimationError:
        return None
    step = fit.root.mT @ (fit.triangle.mT @ (fit.triangle @ moved))
    return step if bool(torch.isfinite(step).all()) else None


def _local(fit: Fit) -> Local:
    none = fit.params.new_empty(0)
    return Local(fit.params, fit.loss, none, none)


def _slice(values: Tensor | None, start: int, stop: int) -> Tensor | None:
    return None if values is None else values[start:stop]
