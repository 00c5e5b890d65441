"""The estimates of many replicates at once: Newton's chord, with each replicate's own information at the estimate."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from betahat.calculus.problem import Local
from betahat.calculus.rows import Rows
from betahat.data.container import hands_out_copies
from betahat.data.progress import progress
from betahat.data.threads import in_order
from betahat.errors import EstimationError
from betahat.fits.fit import Fit
from betahat.fits.refits import refit_on
from betahat.resampling.moments import (
    Known,
    Moments,
    closed,
    exact,
    information_grams,
    often_of,
    packed,
    penalty_of,
    penalty_slopes,
    plain_information,
    point_of,
    regular,
    score_factor,
    streamed,
    unit_table,
    unpacked,
    unshared_information,
)
from betahat.resampling.weights import RowWeights

# Weights of rows and replicates that are held, in bytes: more where the rows' products are made anew for each batch.
FEW_BYTES, BYTES = 2**20, 2**27
# A GPU has its speed from large products.
_GPU_TIMES = 16
# The distance from the limit, in standard errors, of steps that go on to fall as the last one fell.
_CONVERGED = 1e-12
# Rounding of a sum over rows leaves steps of some 1e-13; a sequence that falls no more below this has converged.
_ROUNDING = 1e-11
_ITERATIONS = 40
# A step that is more than so much of the last is no sign of an end: Newton's method itself is then sure, and as fast.
_FALLS = 0.8
# Numbers of a block of products, which stay in a CPU's cache.
_PIECE = 2**18


@hands_out_copies
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
    """Take replicates 0 to reps - 1, as many at a time as have `budget` bytes, `width` for each; small batches by several threads."""
    small = budget < BYTES and device.type == "cpu"
    budget *= 1 if device.type == "cpu" else _GPU_TIMES
    numbers = torch.arange(reps, device=device)
    batches = progress(torch.split(numbers, max(budget // max(width, 1), 1)), "bootstrap")
    parts = list(in_order(function, batches) if small else map(function, batches))
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
    rows, table = fit.sample.rows, unit_table(fit, weights)
    by_units = table is not None and weights.codes is not None and exact(fit) and packed(fit)
    known = Known(unshared_information(fit), penalty_of(fit), score_factor(fit))

    def refit(replicates: Tensor) -> Replicates:
        if table is not None and weights.codes is not None:
            units = weights.scheme(seed, replicates).to(torch.float64)
            moments = unpacked(fit, units @ table)
            if by_units:
                return _solved(moments, known).replicates
            drawn = weights.rows(units, rows)
        else:
            drawn = weights(seed, replicates, rows)
            moments = unpacked(fit, streamed(fit, drawn) if table is None else drawn.to(torch.float64) @ table)
        if closed(fit) and not packed(fit):
            moments = replace(moments, information=information_grams(fit, drawn))
        if known.rest is not None or known.penalty is not None:
            moments = replace(moments, often=often_of(fit, drawn))
        return _refined(fit, Resample(weights=drawn), _solved(moments, known))

    squares = 24 * fit.rank**2 if closed(fit) or packed(fit) else 0
    width = max(weights.bytes(0 if by_units else rows), squares)
    few = closed(fit) and table is not None and squares <= width // 2
    return in_batches(reps, width, fit.params.device, refit, FEW_BYTES if few else BYTES)


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
    known = Known(plain_information(fit), penalty_of(fit), None)

    def refit(replicates: Tensor) -> Replicates:
        drawn = Resample(targets=targets(replicates))
        scores = _scores_at(fit, drawn, fit.params.new_zeros(len(replicates), fit.rank))
        moments = Moments(None, scores, often=torch.ones_like(scores[:, 0]))
        return _refined(fit, drawn, _solved(moments, known))

    return in_batches(reps, 8 * fit.sample.rows, fit.params.device, refit)


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


def _solved(moments: Moments, known: Known) -> Solved:
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
    found = (failed == 0) & regular(factors) & torch.isfinite(scores).all(1)
    if moments.products is not None and known.factor is not None and penalty is None:
        lower, lost = torch.linalg.cholesky_ex(known.factor @ moments.products @ known.factor.mT)
        found &= (lost == 0) & regular(lower)
    if moments.squares is not None and penalty is None:  # a penalty holds what the rows have lost
        found &= (moments.squares > 0).all(1)
    if len(factors) == len(found) and not bool(found.all()):
        factors = torch.where(found[:, None, None], factors, torch.eye(factors.shape[1]).to(factors))
    solved = Solved(Replicates(scores, found), factors, often if moments.information is None else None)
    return replace(solved, replicates=Replicates(solved.step(scores), found))


def _scores_at(fit: Fit, drawn: Resample, steps: Tensor) -> Tensor:
    """Return (R, r) the sums of scores at b + Z d, the slope of a penalty taken off."""

    def scores(rows: Rows) -> tuple[Tensor]:
        start, stop = rows.start, rows.start + len(rows)
        chunk = max(_PIECE // (stop - start), 1)
        parts = []
        for top in range(0, len(steps), chunk):
            some = slice(top, top + chunk)
            weights, targets = (
                None if of is None else of[some, start:stop].to(torch.float64) for of in (drawn.weights, drawn.targets)
            )
            parts.append(rows.resampled_scores(steps[some], weights, targets))
        return (torch.cat(parts),)

    (sums,) = fit.problem.total(scores, point_of(fit))
    if fit.problem.penalty is not None:
        often = 1.0 if drawn.weights is None else often_of(fit, drawn.weights)[:, None]
        sums -= often * penalty_slopes(fit, fit.params + steps @ fit.root.mT)
    return sums


def _refined(fit: Fit, drawn: Resample, first: Solved) -> Replicates:
    """Go on from the first steps until they are as small as rounding, and refit alone what does not fall fast."""
    if exact(fit):
        return first.replicates
    steps, found = first.replicates.steps.clone(), first.replicates.found.clone()
    unit = fit.problem.noise(_local(fit)) ** 0.5
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
        sample = fit.sample.replaced({"endog": drawn.targets[which]})
    try:
        moved = refit_on(fit, sample) - fit.params
    except EstimationError:
        return None
    step = fit.root.mT @ (fit.triangle.mT @ (fit.triangle @ moved))
    return step if bool(torch.isfinite(step).all()) else None


def _local(fit: Fit) -> Local:
    none = fit.params.new_empty(0)
    return Local(fit.params, fit.loss, none, none)
