"""`Joint`: estimates whose errors are known together, by the replicates of a bootstrap or by their covariance, for simultaneous inference."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from betahat.covariance.base import Covariance
from betahat.covariance.bootstrap import Bootstrap
from betahat.covariance.bootstrap_plan import Plan
from betahat.covariance.replicates import Resampled
from betahat.data.design import Design
from betahat.data.groups import Groups
from betahat.data.sample import Sample
from betahat.errors import EstimationError, OptionError
from betahat.fits.fit import Fit
from betahat.inference.coefficients import interval
from betahat.inference.delta import replicated_function
from betahat.inference.distribution import Df, quantile, two_sided
from betahat.inference.multiple import NullDraws
from betahat.inference.resampled import Replicated, no_replicates
from betahat.inference.variances import Variances, over
from betahat.lazy import lazily

if TYPE_CHECKING:
    from scipy import special
else:
    special = lazily("scipy.special")

# The points at which the distribution of the largest t statistic is taken: its quantiles are right to three digits.
_POINTS, _SEED = 2**16, 20050713
# Numbers in memory at once.
_HELD = 2**23


@dataclass(frozen=True, eq=False)
class Joint:
    """Estimates whose errors are known together.

    Attributes
    ----------
    estimates, errors : Tensor
        (k,) and their standard errors.
    matrix : Tensor
        (k, k) their covariance.
    df : float, Tensor or None
        Degrees of freedom of t tests.
    fit, cov : Fit, Covariance
        Where they come from, which says whether two have the same draws.
    replicated : Replicated or None
        Their replicates, where a bootstrap has some.
    own : callable or None
        (J, k) R -> (J,) t and (R, J) t* of R b = 0, where the bootstrap has tests of its own.
    linear : bool
        Whether they are linear functions of the coefficients, so that replicates have standard errors of their own where the coefficients' have.
    """

    estimates: Tensor
    errors: Tensor
    matrix: Tensor
    df: Df
    fit: Fit
    cov: Covariance
    replicated: Replicated | None = None
    own: Callable[[Tensor], tuple[Tensor, Tensor]] | None = None
    linear: bool = True

    @property
    def exhaustive(self) -> bool:
        """Whether the replicates are all there are."""
        return self.cov.resampling is not None and self.cov.resampling.exhaustive

    @property
    def held(self) -> Tensor | None:
        """(R,) which of the replicates have an estimate; None if all of them do."""
        drawn = self.cov.resampling
        if drawn is None or not drawn.failed:
            return None
        if not isinstance(drawn, Resampled) or len(drawn.found.found) != drawn.reps:
            raise EstimationError(
                "Some replicates of these results failed, and which ones went with the data (remove_data, or a file), so they cannot be put beside those of other "
                "results; fit again."
            )
        return drawn.found.found

    def plain(self, places: Sequence[int]) -> NullDraws:
        """Return the distances of replicates to the estimate in units of its standard error, for coefficients at some places."""
        if self.replicated is None:
            raise OptionError(no_replicates("adjust='romano-wolf', or 'sup-t' across models,"))
        chosen = list(places)
        moved = (self.replicated.draws[:, chosen] - self.estimates[chosen]) / self.errors[chosen]
        return NullDraws(over(self.estimates, self.errors)[chosen].abs(), moved.abs(), self.exhaustive)

    def studentised(self, places: Sequence[int]) -> NullDraws:
        """Return the same in units of each replicate's own standard error, where it has one; t statistics of the bootstrap's own tests, where it has some."""
        chosen = list(places)
        if self.own is not None:
            identity = torch.eye(len(self.estimates)).to(self.estimates)
            statistics, draws = self.own(identity[chosen])
            return NullDraws(statistics.abs(), draws.abs(), self.exhaustive)
        found = self.plain(places)
        assert self.replicated is not None
        own = _own_variances(self.replicated) if self.linear else None
        if own is None:
            return found
        sample, each = own
        moved = (self.replicated.draws - self.estimates).abs() / each.sqrt()
        statistics = (self.estimates.abs() / sample.sqrt())[chosen]
        return NullDraws(statistics, torch.nan_to_num(moved[:, chosen], nan=0.0), self.exhaustive)

    def normal(self, places: Sequence[int]) -> NullDraws:
        """Return draws from the joint normal or t distribution; coefficients with degrees of freedom of their own are joined by a normal copula."""
        chosen = list(places)
        matrix, errors = self.matrix[chosen][:, chosen], self.errors[chosen]
        correlation = matrix / errors / errors[:, None]
        statistics = over(self.estimates, self.errors)[chosen].abs()
        if isinstance(self.df, Tensor):
            tails = 0.5 * two_sided(statistics, self.df[chosen])
            statistics = -torch.special.ndtri(tails)
            return NullDraws(statistics, _drawn(correlation, None))
        return NullDraws(statistics, _drawn(correlation, self.df))

    def critical(self, draws: NullDraws, alpha: float) -> float:
        """Return how far simultaneous intervals reach: by points of a distribution as far as one by itself, at least."""
        found = draws.critical(alpha)
        if self.replicated is not None:
            return found
        return max(found, float(quantile(alpha, None if isinstance(self.df, Tensor) else self.df)))

    def bounds(self, places: Sequence[int], critical: float) -> Tensor:
        """Return (m, 2) intervals that end where |t| is the critical value."""
        chosen = list(places)
        estimates, errors = self.estimates[chosen], self.errors[chosen]
        if isinstance(self.df, Tensor) and self.replicated is None:
            return interval(estimates, errors, 2.0 * float(special.ndtr(-critical)), self.df[chosen])
        return torch.stack([estimates - critical * errors, estimates + critical * errors], 1)


def joint_of_fit(fit: Fit, cov: Covariance) -> Joint:
    """Return the coefficients of a fit under a covariance."""
    return joint_of_functions(fit, cov, torch.eye(len(fit.params)).to(fit.params), cov.df)


def joint_of_functions(fit: Fit, cov: Covariance, matrix: Tensor, df: Df) -> Joint:
    """Return (m,) linear functions R b of the coefficients, for (m, k) R, whose tests have `df` degrees of freedom."""
    variances = Variances(fit.root, cov.core, cov.matrix, cov.rounding)
    errors, estimates = variances.errors(matrix), matrix @ fit.params
    found = Joint(estimates, errors, variances.covariance(matrix), df, fit, cov)
    if cov.draws is None:
        return found
    replicated = replace(replicated_function(cov, lambda params: matrix @ params, estimates, matrix), errors=errors)
    drawn = cov.resampling
    if drawn is not None:  # whose derivatives need no autodiff
        replicated = replace(replicated, variances=partial(drawn.variances, matrix, matrix[None]))
    own = drawn.test.statistics if isinstance(drawn, Resampled) and drawn.test is not None else None
    return replace(found, replicated=replicated, own=None if own is None else lambda some: own(some @ matrix))


def check_same_draws(joints: Sequence[Joint]) -> Tensor | None:
    """Refuse results whose replicates are not of the same draws of the same units; return (R,) the replicates that all of them have, None for every one."""
    first, *others = joints
    for other in others:
        why = _difference(first, other)
        if why:
            raise OptionError(
                f"The replicates of these results cannot be put side by side, since {why}; fit the models on the same rows (without those where any of the variables is "
                "missing) and pass all of them one bootstrap with a seed, such as bh.Bootstrap(999, seed=1)."
            )
    masks = [joint.held for joint in joints]
    if all(mask is None for mask in masks):
        return None
    known = [mask for mask in masks if mask is not None]
    return torch.stack(known).all(0)


def aligned(draws: NullDraws, held: Tensor | None, common: Tensor | None) -> NullDraws:
    """Return the draws of the `common` replicates; `held` are those that the result has."""
    if common is None:
        return draws
    kept = draws.draws[common] if held is None else draws.draws[common[held]]
    return replace(draws, draws=kept)


def _difference(one: Joint, other: Joint) -> str:
    """Say in what the draws of two results differ; nothing if they are the same."""
    left, right = one.cov.resampling, other.cov.resampling
    if one.cov is other.cov:
        return ""
    if left is None or right is None:
        return "some are no bootstrap's of betahat"
    for name in ("kind", "seed", "reps", "exhaustive"):
        if getattr(left, name) != getattr(right, name):
            return f"their bootstraps differ in {name}"
    if one.fit is other.fit:
        return ""
    if one.cov.estimator is None or other.cov.estimator is None:
        return "some were kept without their data"
    return "" if _same_units(one, other) else "they do not have the same rows, or clusters"


def _same_units(one: Joint, other: Joint) -> bool:
    """Tell whether two results are drawn from the same units, which are clusters, times or rows."""
    ways = [_groups_drawn(joint) for joint in (one, other)]
    if ways[0] is not None and ways[1] is not None:
        return bool(ways[0].labels.equals(ways[1].labels))
    if ways[0] is not None or ways[1] is not None:
        return False
    return same_rows(rows_of_fit(one.fit), rows_of_fit(other.fit))


def rows_of_fit(fit: Fit) -> Sample:
    """Return the rows in use of a fit, before absorbed effects were taken off."""
    return fit.raw if isinstance(fit.given, Design) else fit.sample


def same_rows(one: Sample, other: Sample) -> bool:
    """Tell whether two samples have the same rows of the data, as far as labels, places and counts say."""
    if one.rows != other.rows or not _same(one.user_data.in_use, other.user_data.in_use):
        return False
    left, right = one.container.row_labels, other.container.row_labels
    same_labels = left is None or right is None or bool(left.equals(right))
    return same_labels and _same(one.counts, other.counts)


def _groups_drawn(joint: Joint) -> Groups | None:
    """Return the clusters or times that a bootstrap draws; None if it draws rows."""
    options = joint.cov.estimator
    assert isinstance(options, Bootstrap)
    return Plan(options, joint.fit, 0).together


def _same(one: Tensor | None, other: Tensor | None) -> bool:
    return one is other or (one is not None and other is not None and torch.equal(one, other))


def _own_variances(replicated: Replicated) -> tuple[Tensor, Tensor] | None:
    """Return (k,) and (R, k) the variances that the sample and each replicate have by themselves; None where replicates are no samples."""
    try:
        return replicated.variances()
    except (EstimationError, OptionError):
        return None


def _drawn(correlation: Tensor, df: float | None) -> Tensor:
    """Return (R, m) sizes of normal, or t, statistics with a correlation, at points of a scrambled Sobol sequence, which are the same in every call."""
    width = len(correlation)
    values, basis = torch.linalg.eigh(correlation)
    root = basis * values.clamp_min(0.0).sqrt()
    count = max(min(_POINTS, _HELD // max(width, 1)), 2**12)
    engine = torch.quasirandom.SobolEngine(width + (df is not None), scramble=True, seed=_SEED)  # type: ignore[no-untyped-call]
    uniform = engine.draw(count, dtype=torch.float64).clamp(2.0**-53, 1.0 - 2.0**-53).to(correlation)
    drawn: Tensor = (torch.special.ndtri(uniform[:, :width]) @ root.mT).abs()
    if df is None:
        return drawn
    chi = torch.as_tensor(np.asarray(special.chdtri(df, uniform[:, -1].cpu().numpy()))).to(drawn)
    return drawn * (df / chi.clamp_min(math.ulp(0.0))).sqrt()[:, None]
