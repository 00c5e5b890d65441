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
# Beyond so many parameters a replicate has the estimate's information, and not its own: n k^2 / 2 products cost more than steps.
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
    rows, table, share = len(fit.sample.columns[0]), _unit_table(fit, weights), _penalty(fit)
    clusters, exact, rest = weights.codes is not None, _exact(fit), _rest(fit)

    def refit(replicates: Tensor) -> Replicates:
        if table is not None and clusters:
            units = weights.scheme(seed, replicates).to(torch.float64)
            moments = _unpacked(fit, units @ table)
            if exact:
                return _solved(moments, share).replicates
            drawn = weights.rows(units, rows)
        else:
            drawn = weights(seed, replicates, rows)
            moments = _unpacked(fit, _streamed(fit, drawn) if table is None else drawn.to(torch.float64) @ table)
        if rest is not None:
            often = (drawn.sum(1) / float(fit.nobs))[:, None, None]
            known = 0.0 if moments.information is None else moments.information
            moments = replace(moments, information=known + often * rest)
        return _refined(fit, Resample(weights=drawn), _solved(moments, share))

    by_units = table is not None and clusters and exact
    width, budget = weights.bytes(0 if by_units else rows), BYTES if table is None else _FEW_BYTES
    return in_batches(reps, width, fit.params.device, refit, budget)


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
    rows, share = len(fit.sample.columns[0]), _penalty(fit)

    def refit(replicates: Tensor) -> Replicates:
        drawn = Resample(targets=targets(replicates))
        information = _plain_information(fit).expand(len(replicates), -1, -1)
        scores = _scores_at(fit, drawn, fit.params.new_zeros(len(replicates), fit.rank))
        return _refined(fit, drawn, _solved(Moments(information, scores), share))

    return in_batches(reps, 8 * rows, fit.params.device, refit)


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
    """

    information: Tensor | None
    scores: Tensor
    squares: Tensor | None = None


@dataclass(frozen=True, eq=False)
class Penalty:
    """The share of a penalty: (r, r) its curvature and (r,) its slope at the estimate, in Z's coordinates."""

    information: Tensor
    slope: Tensor


@dataclass(frozen=True, eq=False)
class Solved:
    """The first steps, and (R, r, r) the factors of the information by which they were found."""

    replicates: Replicates
    factors: Tensor


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
    """Return how many numbers of a row's products are of the information, the scores, and their squares."""
    return [fit.rank * (fit.rank + 1) // 2 * _packed(fit), fit.rank, len(fit.params) * (not _closed(fit))]


def _width(fit: Fit) -> int:
    return sum(_widths(fit))


def _row_products(fit: Fit, rows: Rows) -> Tensor:
    """Return (b, p) what is summed over rows: the information's upper triangle, the scores, their squares; counts do not enter."""
    plain = rows.scores()
    scores = [product(plain, fit.root)] + ([] if _closed(fit) else [plain.square()])
    if not _packed(fit):
        return torch.cat(scores, 1)
    upper = torch.triu_indices(fit.rank, fit.rank, device=plain.device)
    first, *others = rows.hat_rows.unbind(1)
    products = first[:, upper[0]] * first[:, upper[1]]
    for hats in others:
        products += hats[:, upper[0]] * hats[:, upper[1]]
    return torch.cat([products, *scores], 1)


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
    triangle, scores, squares = torch.split(sums, _widths(fit), 1)
    moments = Moments(None, scores, None if _closed(fit) else squares)
    if not _packed(fit):
        return moments
    upper = torch.triu_indices(fit.rank, fit.rank, device=sums.device)
    information = sums.new_empty(len(sums), fit.rank, fit.rank)
    information[:, upper[0], upper[1]] = triangle
    information[:, upper[1], upper[0]] = triangle
    return replace(moments, information=information)


def _plain_information(fit: Fit) -> Tensor:
    """Return (r, r) Z'AZ of the sample's second derivatives A: the identity where Z is of these, and takes a penalty in."""
    eye = torch.eye(fit.rank).to(fit.root)
    if fit.bread_kind is Bread.OBSERVED or (fit.bread_kind is Bread.EXPECTED and _closed(fit)):
        share = _penalty(fit)
        return eye if share is None else eye - share.information
    return fit.once("information", lambda: _sample_information(fit))


def _rest(fit: Fit) -> Tensor | None:
    """Return (r, r) what the rows' shares leave of the sample's information; None where they are all of it."""
    if _closed(fit) and _packed(fit):
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


def _solved(moments: Moments, share: Penalty | None) -> Solved:
    """Take the first step, and say which replicates have lost a direction."""
    information, scores = moments.information, moments.scores
    assert information is not None
    if share is not None:
        information, scores = information + share.information, scores - share.slope
    factors, failed = torch.linalg.cholesky_ex(information)
    pivots = factors.diagonal(dim1=1, dim2=2)
    found = (failed == 0) & (pivots.amin(1) > _LOST * pivots.amax(1)) & torch.isfinite(scores).all(1)
    if moments.squares is not None and share is None:  # a penalty holds what the rows have lost
        found &= (moments.squares > 0).all(1)
    if not bool(found.all()):
        factors = torch.where(found[:, None, None], factors, torch.eye(factors.shape[1]).to(factors))
    return Solved(Replicates(torch.cholesky_solve(scores[:, :, None], factors)[:, :, 0], found), factors)


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
        sums -= _penalty_slopes(fit, fit.params + steps @ fit.root.mT)
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
        further = torch.cholesky_solve(_scores_at(fit, part, steps[active])[:, :, None], first.factors[active])[:, :, 0]
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


def _some(drawn: Resample, which: Tensor) -> Resample:
    """Keep some replicates."""
    rows = drawn.targets if drawn.weights is None else drawn.weights
    if rows is None or len(which) == len(rows):
        return drawn
    return Resample(*(None if of is None else of[which] for of in (drawn.weights, drawn.targets)))


def _alone(fit: Fit, drawn: Resample, which: int) -> Tensor | None:
    """Return (r,) the step of one replicate by damped Newton steps; None where it has no estimate."""
    if drawn.weights is not None:
        sample = fit.sample.counted(drawn.weights[which].to(torch.float64))
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
