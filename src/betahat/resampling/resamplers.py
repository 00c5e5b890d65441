"""The three ways to resample a fit: rows with other weights, other values of y, and scores times random numbers."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from betahat.calculus.problem import Penalty, Problem
from betahat.calculus.rows import Bread, Point, Rows, counted_influence
from betahat.data.progress import progress
from betahat.data.row_codes import HeldCodes
from betahat.data.sample import Sample
from betahat.errors import EstimationError
from betahat.fits.fit import Fit
from betahat.resampling.refits import BYTES, FEW_BYTES, Replicates, in_batches, target_refits, weighted_refits
from betahat.resampling.targets import Targets, scaled_scores, sign_targets
from betahat.resampling.weights import Blocks, Multinomial, RowWeights, Subsample
from betahat.solvers.memory import check_numbers_fit


class Resampler(ABC):
    """Draws replicates 0 to reps - 1 of a fit."""

    @abstractmethod
    def refits(self) -> Replicates:
        """Return the steps from the estimate to those of the replicates."""

    @abstractmethod
    def variances(self, found: Replicates) -> Tensor:
        """Return (R + 1, r, r) the covariances of the sample and of each replicate, in Z's coordinates; an error if replicates are not samples."""

    @abstractmethod
    def influence(self) -> Tensor:
        """Return (units, r) what each unit adds to the estimate, to first order, in Z's coordinates."""


@dataclass(frozen=True, eq=False)
class Weighted(Resampler):
    """Rows, or clusters, with other weights, which are counts of copies or positive random numbers."""

    fit: Fit
    weights: RowWeights
    seed: int
    reps: int
    counts: bool  # whether weights count copies, so that a replicate is a sample

    def refits(self) -> Replicates:
        """Refit."""
        return weighted_refits(self.fit, self.weights, self.seed, self.reps)

    def variances(self, found: Replicates) -> Tensor:
        """Return the sandwich by rows or clusters, in which each copy is a row or cluster of its own."""
        if not self.counts or self.fit.instruments is not None:
            raise EstimationError(_NO_SAMPLES if self.fit.instruments is None else _NO_STAGES)
        fit, weights, rows = self.fit, self.weights, self.fit.sample.rows
        if fit.objective.moments is not None and fit.objective.moments.count > fit.rank:
            raise EstimationError(_OWN_WEIGHTS)
        once = torch.ones(weights.scheme.units, dtype=torch.float64, device=fit.params.device)

        def samples() -> Iterator[tuple[Sample, Tensor]]:
            yield fit.sample, once
            for some in _batches(found, rows):
                units = weights.scheme(self.seed, some)
                for of_rows, of_units in zip(weights.rows(units, rows), units, strict=True):
                    yield fit.sample.counted(of_rows.to(torch.float64)), of_units

        return _each_core(self.fit, found, (_sandwich(sample, weights.codes, often) for sample, often in samples()))

    def influence(self) -> Tensor:
        """Return the sums of scores by unit; undefined for blocks, and for samples of another size."""
        scheme = self.weights.scheme
        fewer = isinstance(scheme, Multinomial) and scheme.draws != scheme.units
        if fewer or isinstance(scheme, Blocks | Subsample):
            raise EstimationError(_NO_UNITS)
        return unit_scores(self.fit, self.weights)


@dataclass(frozen=True, eq=False)
class Redrawn(Resampler):
    """Other values of y."""

    fit: Fit
    targets: Targets  # (R,) replicates -> (R, n)
    reps: int

    def refits(self) -> Replicates:
        """Refit."""
        return target_refits(self.fit, self.targets, self.reps)

    def variances(self, found: Replicates) -> Tensor:
        """Return the classical covariance."""
        if self.fit.objective.checks:
            raise EstimationError(_NO_SAMPLES)
        return _each_core(self.fit, found, (_classical(s) for s in _with_targets(self.fit, self.targets, found)))

    def influence(self) -> Tensor:
        """Refuse: if the model draws y, there are no units that could be left out."""
        raise EstimationError(_NO_UNITS)


@dataclass(frozen=True, eq=False)
class Multiplied(Resampler):
    """Scores of rows, or of clusters, times random numbers of mean 0 and variance 1: no refit, only one product."""

    fit: Fit
    weights: RowWeights  # the multipliers
    seed: int
    reps: int
    power: float = 0.0  # scores of rows are divided by (1 - leverage)^power
    scores: Tensor | None = (
        None  # (G, r) the scores of clusters where they are not those of the fit: those of the fits without them
    )
    residuals: bool = False  # whether a replicate is a sample, of residuals times the numbers: least squares

    def refits(self) -> Replicates:
        """Multiply."""
        fit, weights, rows = self.fit, self.weights, self.fit.sample.rows
        table: Tensor | None = None
        if weights.codes is not None:
            table = unit_scores(fit, weights)
            table = table if fit.problem.penalty is None else table - table.mean(0)
            table = table if self.scores is None else self.scores
        elif rows * fit.rank <= _TABLE:
            table = fit.map_rows(lambda rows: scaled_scores(rows, self.power))
        # the slope of a penalty, to which the scores sum
        slope = 0.0 if fit.problem.penalty is None else fit.sum_rows(_summed_scores) / float(fit.nobs)

        def multiply(replicates: Tensor) -> Replicates:
            if weights.codes is not None:
                drawn = weights.scheme(self.seed, replicates)
            else:
                drawn = weights(self.seed, replicates, rows)
            if table is not None:
                steps = drawn @ table
            else:
                (steps,) = fit.problem.total(partial(_weighted_scores, drawn, self.power), fit.point)
            if weights.codes is None and fit.problem.penalty is not None:
                steps -= drawn.sum(1, keepdim=True) * slope
            return Replicates(steps, torch.isfinite(steps).all(1))

        width = weights.bytes(0 if weights.codes is not None else rows)
        return in_batches(self.reps, width, fit.params.device, multiply, BYTES if table is None else FEW_BYTES)

    def variances(self, found: Replicates) -> Tensor:
        """Return HC0, for least squares whose residuals are multiplied row by row."""
        if not self.residuals or self.weights.codes is not None:
            raise EstimationError(_NO_SAMPLES)
        targets = sign_targets(self.fit, self.weights.scheme, self.seed, self.power)
        return _each_core(self.fit, found, (_sandwich(s, None, None) for s in _with_targets(self.fit, targets, found)))

    def influence(self) -> Tensor:
        """Refuse: multipliers of mean zero are not weights of units."""
        raise EstimationError(_NO_UNITS)


_NO_SAMPLES = (
    "method='studentized' needs the standard error of each replicate, which is only defined if replicates are samples: for kind 'pairs', "
    "'m-out-of-n', 'subsample', 'residual', 'parametric', and 'wild' by rows (by clusters, its intervals invert a test anyway); use "
    "'percentile' or 'basic'."
)
_OWN_WEIGHTS = (
    "method='studentized' needs the standard error of each replicate, and those of more moments than parameters have a weight of their own each; use "
    "'percentile' or 'basic'."
)
_NO_STAGES = (
    "method='studentized' needs the standard error of each replicate, which is not computed with instruments, whose first stage differs from one to the "
    "next; use 'percentile', 'basic' or 'bca'."
)
_NO_UNITS = (
    "method='bca' needs the influence of the units that are drawn, so it is only defined for kind 'pairs', 'bayesian' and 'poisson'; use "
    "'percentile', 'basic' or 'studentized'."
)

# The scores of rows are kept while replicates are drawn if they are at most this many numbers.
_TABLE = 2**22

Core = Callable[[Fit, Point], Tensor]


def _batches(found: Replicates, rows: int) -> Iterator[Tensor]:
    """Yield the replicates that have an estimate, in batches that fit into memory."""
    return iter(torch.split(found.found.nonzero().flatten(), max(BYTES // max(8 * rows, 1), 1)))


def _with_targets(fit: Fit, targets: Targets, found: Replicates) -> Iterator[Sample]:
    design = fit.design
    yield design
    for some in _batches(found, design.rows):
        for drawn in targets(some):
            yield design.replaced({"endog": drawn})


def _each_core(fit: Fit, found: Replicates, cores: Iterator[Core]) -> Tensor:
    """Return (R + 1, r, r): for the sample at its estimate, then for each replicate at its own."""
    steps = torch.cat([torch.zeros_like(found.steps[:1]), found.steps[found.found]])
    check_numbers_fit(len(steps) * fit.rank**2, "The covariances of all replicates", steps.device)
    bread = Bread.EXPECTED if fit.bread_kind is Bread.EXPECTED else Bread.OBSERVED
    points = [Point(fit.params + fit.root @ step, fit.root, bread) for step in steps]
    return torch.stack([core(fit, at) for core, at in zip(cores, progress(points, "standard errors"), strict=True)])


def _sandwich(sample: Sample, codes: Tensor | None, often: Tensor | None) -> Core:
    """Return A^-1 B A^-1 of a sample in Z's coordinates, B summed over rows, or over clusters, each as `often` as it was drawn."""

    def core(fit: Fit, at: Point) -> Tensor:
        problem = Problem(fit.objective, sample, _scaled(fit.problem.penalty, sample.nobs / fit.nobs))
        if codes is None:
            (meat,) = problem.total(lambda rows: (rows.meat(),), at)
        else:
            assert often is not None
            plain = Problem(fit.objective, fit.sample, fit.problem.penalty)
            sums, start = at.params.new_zeros(len(often), fit.rank), 0
            for values in plain.each(counted_influence, at):
                sums.index_add_(0, codes[start : start + len(values)], values)
                start += len(values)
            meat = sums.mT @ (sums * often[:, None])
        information = _information(problem, at)
        half = torch.linalg.solve(information, meat)
        both: Tensor = torch.linalg.solve(information, half.mT)
        return both

    return core


def _scaled(penalty: Penalty | None, factor: float) -> Penalty | None:
    """Return a penalty scaled to the size of a sample, as it is one on the mean loss."""
    return None if penalty is None else lambda params: factor * penalty(params)


def _classical(sample: Sample) -> Core:
    """Return s^2 A^-1 of a sample in Z's coordinates."""

    def core(fit: Fit, at: Point) -> Tensor:
        problem = Problem(fit.objective, sample, fit.problem.penalty)
        factor = problem.dispersion(at.params, problem.loss(at.params), fit.rank)
        inverse: Tensor = torch.linalg.solve(_information(problem, at), torch.eye(fit.rank).to(fit.root))
        return factor * inverse

    return core


def _information(problem: Problem, at: Point) -> Tensor:
    """Return (r, r) Z'AZ."""
    return at.root.mT @ problem.information(at.params, at.bread) @ at.root


def _weighted_scores(drawn: Tensor, power: float, rows: Rows) -> tuple[Tensor]:
    """Return (R, r) the sums of a block's scores times (R, n) numbers."""
    return (drawn[:, rows.start : rows.start + len(rows)] @ scaled_scores(rows, power),)


def _summed_scores(rows: Rows) -> Tensor:
    return counted_influence(rows).sum(0)


def unit_scores(fit: Fit, weights: RowWeights) -> Tensor:
    """Return (units, r) the sums of scores by unit, in Z's coordinates."""
    codes, owners = weights.codes, weights.owners
    if codes is not None:
        return fit.sum_groups(HeldCodes(codes), weights.scheme.units, counted_influence)
    scores = fit.map_rows(lambda rows: rows.influence())
    return scores if owners is None else scores[owners]
