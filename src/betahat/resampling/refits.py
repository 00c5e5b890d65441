"""The estimates of many replicates at once, by Newton steps with a fixed matrix: each replicate's information at the sample's estimate."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from betahat.calculus.problem import Local
from betahat.calculus.rows import Rows
from betahat.data.groups import Groups
from betahat.data.handed_out import hands_out_copies
from betahat.data.progress import progress
from betahat.data.row_codes import HeldCodes
from betahat.data.sample import Sample
from betahat.data.threads import in_order
from betahat.errors import EstimationError
from betahat.fits.fit import Fit
from betahat.fits.instrument_refits import (
    by_products,
    check_order,
    group_products,
    of_products,
    products_width,
    refit_instruments,
    weighted_products,
)
from betahat.fits.inverse_root import inverse_root
from betahat.fits.moment_refits import refit_all
from betahat.fits.nested import all_nested
from betahat.fits.quantile_refits import refit_quantiles
from betahat.fits.refits import refit_on
from betahat.lazy import lazily
from betahat.resampling.moments import (
    Moments,
    SharedMoments,
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

if TYPE_CHECKING:
    import pandas as pd
else:
    pd = lazily("pandas")

# The memory for a batch of weights, in bytes: more if the products of the rows are computed again for each batch.
FEW_BYTES, BYTES = 2**20, 2**27
# A GPU is fast only on large products.
_GPU_TIMES = 16
# The distance from the limit, in standard errors, if steps continue to shrink at the rate of the last one.
_CONVERGED = 1e-12
# The rounding error of a sum over rows leaves steps of about 1e-13; steps below this that no longer shrink have converged.
_ROUNDING = 1e-11
_ITERATIONS = 40
# If a step is longer than this share of the previous one, convergence is too slow: Newton's method is then safe, and as fast.
_FALLS = 0.8
# The size of a block of products, in numbers, which fits into the cache of a CPU.
_PIECE = 2**18


@hands_out_copies
@dataclass(frozen=True, eq=False)
class Replicates:
    """The estimates of some replicates."""

    steps: Tensor  # (R, r) d, where the estimates are b + Z d
    found: Tensor  # (R,) whether there is an estimate: no rank was lost, and the steps converged


class Drawing(ABC):
    """The data of some replicates."""

    @abstractmethod
    def some(self, which: Tensor) -> Drawing:
        """Select replicates."""

    @abstractmethod
    def scores_at(self, fit: Fit, steps: Tensor) -> Tensor:
        """Return (R, r) the sums of scores at b + Z d, less the slope of a penalty."""

    @abstractmethod
    def sample(self, fit: Fit, which: int) -> Sample:
        """Return the data of a single replicate."""


@dataclass(frozen=True, eq=False)
class Resample(Drawing):
    """Other weights, or other values of y, in memory."""

    weights: Tensor | None = None  # (R, n) of any dtype; None is as in the sample
    targets: Tensor | None = None  # (R, n) values in place of y

    def some(self, which: Tensor) -> Resample:
        """Select rows of the tensors."""
        rows = self.targets if self.weights is None else self.weights
        if rows is None or len(which) == len(rows):
            return self
        return Resample(*(None if of is None else of[which] for of in (self.weights, self.targets)))

    def scores_at(self, fit: Fit, steps: Tensor) -> Tensor:
        """Sum over blocks."""
        return _scores_at(fit, self, steps)

    def sample(self, fit: Fit, which: int) -> Sample:
        """Put the replicate's weights or targets in the place of the sample's."""
        base = fit.sample if fit.absorbed is None else fit.raw
        if self.weights is None:
            assert self.targets is not None
            return base.replaced({"endog": self.targets[which]})
        often = self.weights[which].to(torch.float64)
        if fit.objective.separable:  # so that a penalty is as large; Efron's ties count copies
            often = often * (float(fit.nobs) / often.sum())
        return base.counted(often)


def in_batches(
    reps: int, width: int, device: torch.device, function: Callable[[Tensor], Replicates], budget: int = BYTES
) -> Replicates:
    """Apply a function to replicates 0 to reps - 1, in batches of `budget` bytes at `width` bytes each; small batches run in several threads."""
    small = budget < BYTES and device.type == "cpu"
    budget *= 1 if device.type == "cpu" else _GPU_TIMES
    numbers = torch.arange(reps, device=device)
    batches = progress(torch.split(numbers, max(budget // max(width, 1), 1)), "bootstrap")
    parts = list(in_order(function, batches) if small else map(function, batches))
    return Replicates(torch.cat([part.steps for part in parts]), torch.cat([part.found for part in parts]))


def weighted_refits(fit: Fit, weights: RowWeights, seed: int, reps: int) -> Replicates:
    """Refit replicates 0 to reps - 1 with other weights of rows or of clusters.

    With M_r the sum of w h u u' and g_r that of the scores w s, in Z's coordinates, each a product of the weights and a table, the first step is
    M_r^-1 g_r, which is exact for least squares. Other models continue with the scores at b + Z d and the same factor of M_r: the steps shrink
    by a factor proportional to the distance from the estimate. Replicates that converge slowly are refitted one by one, by Newton's method.
    """
    rows = fit.sample.rows
    if fit.objective.checks:
        return in_batches(
            reps,
            8 * rows,
            fit.params.device,
            lambda some: _of_quantiles(fit, Resample(weights=weights(seed, some, rows))),
        )
    if fit.instruments is not None:
        return instrument_refits(fit, weights, seed, reps)
    if fit.absorbed is not None and not _unmoved(fit, weights):
        return in_batches(
            reps,
            8 * rows,
            fit.params.device,
            lambda some: _with_effects(fit, Resample(weights=weights(seed, some, rows))),
        )
    if fit.objective.moments is not None:
        return in_batches(reps, 8 * rows, fit.params.device, lambda some: _of_moments(fit, weights(seed, some, rows)))
    table = unit_table(fit, weights)
    by_units = table is not None and weights.codes is not None and exact(fit) and packed(fit)
    shared_moments = SharedMoments(unshared_information(fit), penalty_of(fit), score_factor(fit))

    def refit(replicates: Tensor) -> Replicates:
        if table is not None and weights.codes is not None:
            units = weights.scheme(seed, replicates).to(torch.float64)
            moments = unpacked(fit, units @ table)
            if by_units:
                return solved(moments, shared_moments).replicates
            drawn = weights.rows(units, rows)
        else:
            drawn = weights(seed, replicates, rows)
            moments = unpacked(fit, streamed(fit, drawn) if table is None else drawn.to(torch.float64) @ table)
        if closed(fit) and not packed(fit):
            moments = replace(moments, information=information_grams(fit, drawn))
        if shared_moments.rest is not None or shared_moments.penalty is not None:
            moments = replace(moments, often=often_of(fit, drawn))
        return refined(fit, Resample(weights=drawn), solved(moments, shared_moments))

    squares = 24 * fit.rank**2 if closed(fit) or packed(fit) else 0
    width = max(weights.bytes(0 if by_units else rows), squares)
    few = closed(fit) and table is not None and squares <= width // 2
    return in_batches(reps, width, fit.params.device, refit, FEW_BYTES if few else BYTES)


def instrument_refits(fit: Fit, weights: RowWeights, seed: int, reps: int) -> Replicates:
    """Refit replicates 0 to reps - 1 of an estimate by instruments, both stages: from sums of products, or one by one."""
    check_order(fit)
    rows, device = fit.sample.rows, fit.params.device
    if not by_products(fit) or not (fit.absorbed is None or _nested(fit, weights)):

        def one_by_one(replicates: Tensor) -> Replicates:
            again = [
                refit_instruments(fit, fit.given.counted(w.to(torch.float64))) for w in weights(seed, replicates, rows)
            ]
            nothing = fit.params.new_zeros(fit.rank)
            steps = torch.stack([nothing if step is None else step for step in again])
            return Replicates(steps, torch.tensor([step is not None for step in again], device=device))

        return in_batches(reps, 8 * rows, device, one_by_one)
    codes = weights.codes
    table = None if codes is None else group_products(fit, codes, weights.scheme.units)

    def refit(replicates: Tensor) -> Replicates:
        if table is not None:
            drawn = weights.scheme(seed, replicates).to(torch.float64)
            sums, often = drawn @ table, often_of(fit, weights.rows(weights.scheme(seed, replicates), rows))
        else:
            drawn = weights(seed, replicates, rows)
            sums, often = weighted_products(fit, drawn), often_of(fit, drawn)
        found = of_products(fit, sums, often)
        return Replicates(found.steps, found.found)

    return in_batches(reps, max(weights.bytes(rows), 24 * products_width(fit)), device, refit)


def target_refits(fit: Fit, targets: Callable[[Tensor], Tensor], reps: int) -> Replicates:
    """Refit replicates 0 to reps - 1 with other values of y, (R, n) from `targets`."""
    if fit.objective.checks:
        return in_batches(
            reps,
            8 * fit.sample.rows,
            fit.params.device,
            lambda some: _of_quantiles(fit, Resample(targets=targets(some))),
        )
    if fit.absorbed is not None and not exact(fit):
        width = 8 * fit.sample.rows
        return in_batches(
            reps, width, fit.params.device, lambda some: _with_effects(fit, Resample(targets=targets(some)))
        )
    shared_moments = SharedMoments(plain_information(fit), penalty_of(fit), None)

    def refit(replicates: Tensor) -> Replicates:
        drawn = Resample(targets=targets(replicates))
        scores = _scores_at(fit, drawn, fit.params.new_zeros(len(replicates), fit.rank))
        moments = Moments(None, scores, often=torch.ones_like(scores[:, 0]))
        return refined(fit, drawn, solved(moments, shared_moments))

    return in_batches(reps, 8 * fit.sample.rows, fit.params.device, refit)


def _unmoved(fit: Fit, weights: RowWeights) -> bool:
    """Tell whether weights are those of clusters in which all absorbed effects are nested, which project as equal ones do: of least squares."""
    return exact(fit) and _nested(fit, weights)


def _nested(fit: Fit, weights: RowWeights) -> bool:
    """Tell whether weights are those of clusters in which all absorbed effects are nested."""
    if weights.codes is None:
        return False
    count = weights.scheme.units
    return all_nested(fit, Groups(HeldCodes(weights.codes), count, "clusters", "", pd.RangeIndex(count)))


def _with_effects(fit: Fit, drawn: Resample) -> Replicates:
    """Refit replicates one by one, with the effects projected away anew."""
    rows = drawn.targets if drawn.weights is None else drawn.weights
    assert rows is not None
    alone = [_alone(fit, drawn, i) for i in range(len(rows))]
    nothing = fit.params.new_zeros(fit.rank)
    steps = torch.stack([nothing if step is None else step for step in alone])
    return Replicates(steps, torch.tensor([step is not None for step in alone], device=steps.device))


def _of_quantiles(fit: Fit, drawn: Resample) -> Replicates:
    """Refit quantile regressions, each to its vertex."""
    steps = refit_quantiles(fit, drawn.weights, drawn.targets)
    return Replicates(steps, torch.isfinite(steps).all(1))


def _of_moments(fit: Fit, weights: Tensor) -> Replicates:
    """Solve estimating equations under (R, n) weights."""
    steps = refit_all(fit, weights)
    return Replicates(steps, torch.isfinite(steps).all(1))


@dataclass(frozen=True, eq=False)
class Solved:
    """The first steps, and the factors with which they were computed."""

    replicates: Replicates
    factors: Tensor  # (R, r, r), or (1, r, r) for all replicates: the lower Cholesky factors of the information
    often: Tensor | None  # (R,) by which a shared information is multiplied

    def step(self, scores: Tensor, which: Tensor | None = None) -> Tensor:
        """Return (R, r) the inverse of the information times scores, for all replicates or for some."""
        shared = len(self.factors) == 1
        if shared:
            solved: Tensor = torch.cholesky_solve(scores.mT, self.factors[0]).mT
        else:
            factors = self.factors if which is None else self.factors[which]
            solved = torch.cholesky_solve(scores[:, :, None], factors)[:, :, 0]
        if not shared or self.often is None:
            return solved
        return solved / (self.often if which is None else self.often[which])[:, None]


def solved(moments: Moments, shared_moments: SharedMoments) -> Solved:
    """Take the first step, and find the replicates that have lost a direction; a penalty is scaled by the mean weight, as the loss is."""
    scores, often, penalty = moments.scores, moments.often, shared_moments.penalty
    shared = [
        part for part in (shared_moments.rest, None if penalty is None else penalty.information) if part is not None
    ]
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
    if moments.products is not None and shared_moments.factor is not None and penalty is None:
        lower, lost = torch.linalg.cholesky_ex(shared_moments.factor @ moments.products @ shared_moments.factor.mT)
        found &= (lost == 0) & regular(lower)
    if moments.squares is not None and penalty is None:  # a penalty holds what the rows have lost
        found &= (moments.squares > 0).all(1)
    if len(factors) == len(found) and not bool(found.all()):
        factors = torch.where(found[:, None, None], factors, torch.eye(factors.shape[1]).to(factors))
    first = Solved(Replicates(scores, found), factors, often if moments.information is None else None)
    return replace(first, replicates=Replicates(first.step(scores), found))


def _scores_at(fit: Fit, drawn: Resample, steps: Tensor) -> Tensor:
    """Return (R, r) the sums of scores at b + Z d, less the slope of a penalty."""

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


def refined(fit: Fit, drawn: Drawing, first: Solved) -> Replicates:
    """Iterate from the first steps until they are as small as rounding, and refit slow replicates one by one."""
    if exact(fit):
        return first.replicates
    steps, found = first.replicates.steps.clone(), first.replicates.found.clone()
    unit = fit.problem.noise(_local(fit)) ** 0.5
    active = found.nonzero().flatten()
    slow = [active[:0]]
    last = torch.linalg.vector_norm(steps[active], dim=1) / unit
    held, part = drawn, drawn.some(active)
    for _ in range(_ITERATIONS):
        if not len(active):
            break
        further = first.step(part.scores_at(fit, steps[active]), active)
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
            part = part.some(keep.nonzero().flatten())
        last = size
    for i in torch.cat([*slow, active]).tolist():
        alone = _alone(fit, held, i)
        found[i] = alone is not None
        if alone is not None:
            steps[i] = alone
    return Replicates(steps, found)


def _alone(fit: Fit, drawn: Drawing, which: int) -> Tensor | None:
    """Return (r,) the step of a single replicate, by damped Newton steps, or None if it has no estimate."""
    try:
        moved = refit_on(fit, drawn.sample(fit, which)) - fit.params
    except EstimationError:
        return None
    step = inverse_root(fit) @ moved
    return step if bool(torch.isfinite(step).all()) else None


def _local(fit: Fit) -> Local:
    none = fit.params.new_empty(0)
    return Local(fit.params, fit.loss, none, none)
