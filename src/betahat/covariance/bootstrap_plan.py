"""What a bootstrap of one fit draws: units, random numbers, blocks and the test of the wild cluster bootstrap."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from numbers import Integral, Real
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from betahat.calculus.rows import counted_influence
from betahat.covariance.cr2_cr3 import hat_grams
from betahat.covariance.partitions import group_of, time_of
from betahat.covariance.replicates import WildTest
from betahat.covariance.series import warn_of_order
from betahat.covariance.small_samples import KINDS, factor
from betahat.data.groups import Groups, among_labels
from betahat.data.sample import COUNTS
from betahat.errors import EstimationError, OptionError, shown
from betahat.fits.fit import Fit
from betahat.fits.influence_sums import influence_sums
from betahat.fits.nested import all_nested, beside_dummies, counts_among, nested_effects
from betahat.resampling.block_length import block_lengths
from betahat.resampling.in_turn import ClustersMultiplied, MultipliedInTurn, WeightedInTurn
from betahat.resampling.moments import exact
from betahat.resampling.resamplers import Multiplied, Resampler, Weighted, unit_scores
from betahat.resampling.weights import AllSigns, Independent, Multinomial, Multipliers, RowWeights, Scheme
from betahat.resampling.wild import WildClusters, jackknifed_scores

if TYPE_CHECKING:
    from betahat.covariance.bootstrap import Bootstrap

# Weights of so many rows that are read in turn are held in memory where they depend on each other.
_HELD = 2**22


@dataclass(frozen=True, eq=False)
class Plan:
    """A bootstrap of one fit: what is drawn, and the random numbers.

    Attributes
    ----------
    options : Bootstrap
    fit : Fit
    seed : int
    """

    options: Bootstrap
    fit: Fit
    seed: int

    @cached_property
    def groups(self) -> Groups | None:
        """The clusters."""
        if self.options.clusters is None:
            return None
        found = group_of(self.fit, self.options.clusters, "clusters")
        return found if self.options.among is None else among_labels(found, self.options.among)

    @cached_property
    def times(self) -> Groups | None:
        """The times."""
        return None if self.options.time is None else time_of(self.fit, self.options.time)

    @property
    def together(self) -> Groups | None:
        """What stays together: clusters, or rows of one time."""
        return self.groups if self.groups is not None else self.times

    @property
    def units(self) -> int:
        """How many units are drawn from."""
        if self.together is not None:
            return self.together.count
        return int(self.fit.nobs)

    @property
    def enumerated(self) -> bool:
        """Whether there are so few clusters that all signs are taken."""
        options = self.options
        signs = options.kind == "wild" and options.multiplier == "rademacher" and self.groups is not None
        return signs and self.units < 63 and 2**self.units < options.reps

    @property
    def reps(self) -> int:
        """How many replicates there are."""
        return 2**self.units if self.enumerated else int(self.options.reps)

    @property
    def size(self) -> int:
        """How many units a subsample has."""
        given = self.options.size
        size = round(self.units ** (2.0 / 3.0)) if given is None else whole_number(given)
        if self.groups is not None:
            least, more = 1, "two or more, and fewer than all"
        else:
            least, more = self.fit.rank, f"more than the {self.fit.rank} coefficients, and fewer than all"
        if size is None or not least < size < self.units:
            what = "rows" if self.groups is None else "clusters"
            raise OptionError(f"size is {shown(given)}; pass how many of the {self.units} {what} to draw: {more}.")
        return size

    @property
    def share(self) -> float:
        """The share of units that is drawn, 1 but for subsamples."""
        return self.size / self.units if self.options.kind in ("subsample", "m-out-of-n") else 1.0

    @property
    def scale(self) -> float:
        """What steps are multiplied by: the root of m / n, and of n / (n - m) without replacement."""
        if self.options.kind == "m-out-of-n":
            return math.sqrt(self.size / self.units)
        if self.options.kind == "subsample":
            return math.sqrt(self.size / (self.units - self.size))
        return 1.0

    @cached_property
    def length(self) -> float:
        """The length of blocks."""
        if self.together is None:
            warn_of_order(self.fit, "A bootstrap of blocks")
        given, stationary = self.options.block_length, self.options.kind == "stationary"
        if given is None:
            return self._own_length
        number = given if isinstance(given, Real) and not isinstance(given, bool) else 0.0
        if not 1 <= number < self.units or not (stationary or float(number).is_integer()):
            what = "a number" if stationary else "a whole number"
            raise OptionError(
                f"block_length is {shown(given)}; pass {what} of 1 or more, below the {self.units} times."
            )
        return float(given)

    @property
    def _own_length(self) -> float:
        if self.units < 10:
            raise EstimationError(f"No block length can be chosen from {self.units} times; pass block_length.")
        # the influence on each coefficient, which does not depend on the order of the columns
        if self.read and self.together is not None:
            scores = self.fit.sum_groups(self.together.of_rows, self.units, counted_influence)
        else:
            self.check_held()
            scores = unit_scores(self.fit, self.weights(Multinomial(self.units, self.units)))
        lengths = block_lengths(scores @ self.fit.root.mT)
        found = lengths.stationary if self.options.kind == "stationary" else lengths.circular
        longest = max(float(found[torch.isfinite(found)].max()), 1.0)
        return longest if self.options.kind == "stationary" else float(-int(-longest // 1))

    def weights(self, scheme: Scheme) -> RowWeights:
        """Return the rows' weights of a scheme of units."""
        counts, groups = self.fit.sample.counts, self.together
        if groups is not None:
            return RowWeights(scheme, codes=groups.codes, counts=counts)
        if counts is None:
            return RowWeights(scheme)
        rows = torch.arange(len(counts), device=counts.device)
        return RowWeights(scheme, owners=rows.repeat_interleave(counts.long()))

    def weighted(self, scheme: Scheme, *, counts: bool = True) -> Resampler:
        """Return the resampler by rows' weights, which are drawn as rows are read where that is possible."""
        if not self.read:
            return Weighted(self.fit, self.weights(scheme), self.seed, self.reps, counts)
        groups, fit = self.together, self.fit
        alone = isinstance(scheme, Independent) and COUNTS not in fit.sample.source.shapes
        if not self._refitted_in_turn or not (groups is not None or alone):
            self.check_held()
            return Weighted(fit, self.weights(scheme), self.seed, self.reps, counts)
        return WeightedInTurn(fit, scheme, None if groups is None else groups.of_rows, self.seed, self.reps)

    def multiplied(self, power: float = 0.0, scores: Tensor | None = None, *, residuals: bool = False) -> Resampler:
        """Return the resampler by multipliers of scores, those of the fit or others of the clusters."""
        fit, groups = self.fit, self.groups
        if not self.read or (groups is None and COUNTS in fit.sample.source.shapes):
            self.check_held()
            return Multiplied(fit, self.weights(self.signs), self.seed, self.reps, power, scores, residuals)
        if groups is None:
            return MultipliedInTurn(fit, self.signs, self.seed, self.reps, power)
        scores = influence_sums(fit, groups) if scores is None else scores
        return ClustersMultiplied(fit, self.signs, scores, self.seed, self.reps)

    @property
    def read(self) -> bool:
        """Whether the rows are read in turn."""
        return self.fit.sample.source.stream is not None

    @property
    def _refitted_in_turn(self) -> bool:
        """Whether refits take sums over rows alone: no quantiles, instruments or moments, nor effects that must be projected away anew."""
        fit, groups = self.fit, self.groups
        if fit.objective.checks or fit.instruments is not None or fit.objective.moments is not None:
            return False
        return fit.absorbed is None or (exact(fit) and groups is not None and all_nested(fit, groups))

    def check_held(self) -> None:
        """Refuse numbers of so many rows in memory that are read in turn."""
        rows = self.fit.sample.rows
        if self.read and rows > _HELD:
            raise EstimationError(
                f"This bootstrap holds a number for each row in memory, and {rows:,} rows that are read are too many; use kind='score' or clusters=, "
                "or, of a model without instruments and effects, kind='bayesian' or 'poisson', whose weights are drawn as rows are read."
            )

    @property
    def jackknifed(self) -> Tensor:
        """(G, r) the scores of residuals of the fits without each cluster."""
        assert self.groups is not None
        wide = beside_dummies(self.fit, self.groups, every=False)
        found = jackknifed_scores(hat_grams(wide, self.groups), influence_sums(wide, self.groups))
        return found[:, -self.fit.rank :]

    @property
    def signs(self) -> Scheme:
        """The scheme of multipliers."""
        return AllSigns(self.units) if self.enumerated else Multipliers(self.units, self.options.multiplier)

    @cached_property
    def test(self) -> WildTest | None:
        """The test of the wild cluster bootstrap."""
        if self.options.kind != "wild" or self.groups is None:
            return None
        fit, options = self.fit, self.options
        jackknifed, crv3 = options.variant[0] == "3", options.variant[1] == "3"
        nested = nested_effects(fit, (self.groups,))
        scale = factor(counts_among(fit, (self.groups,)), KINDS["jackknife" if crv3 else "CR1S"], self.units, nested)
        wide = beside_dummies(fit, self.groups, every=False)
        hats, sums = hat_grams(wide, self.groups), influence_sums(wide, self.groups)
        sample = WildClusters(hats, sums, jackknifed, crv3, options.null, scale)
        return WildTest(fit, sample, self.signs, self.seed, self.reps)


def whole_number(given: object) -> int | None:
    """Return an integer, of Python or of NumPy; None of anything else."""
    if isinstance(given, bool) or not isinstance(given, Integral):
        return None
    return int(given)
