"""What intervals and tests ask of a bootstrap's replicates."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import cached_property

import torch
from torch import Tensor

from betahat.covariance.base import Covariance, Resampling
from betahat.data.source import refuse_rows
from betahat.errors import EstimationError
from betahat.fits.fit import Fit
from betahat.resampling.refits import Replicates
from betahat.resampling.resamplers import Resampler
from betahat.resampling.weights import Scheme
from betahat.resampling.wild import Statistics, WildClusters, wild_statistics
from betahat.solvers.lengths import lengths


@dataclass(frozen=True, eq=False)
class WildTest:
    """Tests of single restrictions R b = q by the wild cluster bootstrap, and intervals by inverting them.

    Attributes
    ----------
    fit : Fit
    sample : WildClusters
    signs : Scheme
    seed, reps : int
    known : dict
        What was computed for a restriction, by its row.
    """

    fit: Fit
    sample: WildClusters
    signs: Scheme
    seed: int
    reps: int
    known: dict[tuple[float, ...], Statistics] = field(default_factory=dict, repr=False, metadata={"stored": False})

    def pvalues(self, matrix: Tensor, values: Tensor) -> Tensor:
        """Return (J,) the shares of draws whose t statistic is larger in size, for the rows of (J, k) R and (J,) q."""
        found = []
        for row, value in zip(matrix, values, strict=True):
            statistics, length = self._statistics(row)
            found.append(statistics.pvalue((row @ self.fit.params - value) / length))
        return torch.stack(found)

    def interval(self, matrix: Tensor, alpha: float) -> Tensor:
        """Return (J, 2) the q whose p-value is above alpha; without end where all of one side are."""
        bounds = []
        for row in matrix:
            statistics, length = self._statistics(row)
            ends = [row @ self.fit.params - length * statistics.bound(alpha, sign) for sign in (1.0, -1.0)]
            bounds.append(torch.stack(ends))
        return torch.stack(bounds)

    def statistics(self, matrix: Tensor) -> tuple[Tensor, Tensor]:
        """Return (J,) t statistics of R b = 0 for the rows of (J, k) R, and (R, J) those of the draws, 0 where a draw has none."""
        sample, drawn = [], []
        for row in matrix:
            statistics, length = self._statistics(row)
            tau = (row @ self.fit.params) / length
            sample.append(tau / statistics.error)
            drawn.append(torch.nan_to_num(statistics.draws(tau), nan=0.0, posinf=torch.inf, neginf=-torch.inf))
        return torch.stack(sample), torch.stack(drawn, 1)

    def _statistics(self, row: Tensor) -> tuple[Statistics, Tensor]:
        turned = self.fit.root.mT @ row
        length = lengths(turned[None])[0]
        if not bool(length > 0):
            raise EstimationError("The restriction is on no coefficient that is estimated; test one that is.")
        key = tuple(row.tolist())
        if key not in self.known:
            beside = self.sample.scores.shape[1] - len(turned)  # the coordinates of dummies that were absorbed
            direction = torch.nn.functional.pad(turned / length, (beside, 0))
            self.known[key] = wild_statistics(self.sample, direction, self.signs, self.seed, self.reps)
        return self.known[key], length


@dataclass(frozen=True, eq=False)
class Resampled(Resampling):
    """The replicates of a fit.

    Attributes
    ----------
    kind, seed, reps, failed, exhaustive
        As in `Resampling`.
    fit : Fit
    resampler : Resampler
        What drew them.
    found : Replicates
    share : float
        What their own variances are multiplied by: m / n of subsamples.
    test : WildTest or None
        The kind's own test.
    """

    kind: str
    seed: int
    reps: int
    failed: int
    fit: Fit
    resampler: Resampler
    found: Replicates
    share: float
    exhaustive: bool
    test: WildTest | None

    @cached_property
    def _cores(self) -> Tensor:
        return self.resampler.variances(self.found)

    @cached_property
    def _influence(self) -> Tensor:
        return self.resampler.influence()

    def variances(self, jacobian: Tensor, jacobians: Tensor) -> tuple[Tensor, Tensor]:
        """Return (m,) the variance of g(b) that the sample has by itself, and (R, m) those of the replicates."""
        ours, drawn = jacobian @ self.fit.root, (jacobians @ self.fit.root).expand(len(self._cores) - 1, -1, -1)
        own = torch.einsum("mr,rq,mq->m", ours, self._cores[0], ours)
        return own, self.share * torch.einsum("bmr,brq,bmq->bm", drawn, self._cores[1:], drawn)

    def acceleration(self, jacobian: Tensor) -> Tensor:
        """Return (m,) the acceleration of g(b), from the influence of the units."""
        lines = self._influence @ (jacobian @ self.fit.root).mT
        lines = lines / lines.abs().amax(0)  # whose cubes need be held
        return lines.pow(3).sum(0) / (6.0 * lines.square().sum(0).pow(1.5))

    def pvalues(self, matrix: Tensor, values: Tensor) -> Tensor | None:
        """Return (J,) those of the kind's own tests of R b = q; None where it has none."""
        return None if self.test is None else self.test.pvalues(matrix, values)

    def interval(self, matrix: Tensor, alpha: float) -> Tensor | None:
        """Return (J, 2) the intervals of the kind's own tests."""
        return None if self.test is None else self.test.interval(matrix, alpha)


@dataclass(frozen=True)
class RowsGone(Resampler):
    """A resampler whose rows are gone: its replicates were drawn, and no others can be."""

    def refits(self) -> Replicates:
        """Refuse: there are no rows."""
        refuse_rows()

    def variances(self, found: Replicates) -> Tensor:
        """Refuse: there are no rows."""
        refuse_rows()

    def influence(self) -> Tensor:
        """Refuse: there are no rows."""
        refuse_rows()


def without_rows(covariance: Covariance, fit: Fit) -> Covariance:
    """Return a covariance that holds no rows; `fit` is the fit without them."""
    drawn, covariance = covariance.resampling, replace(covariance, estimator=None)
    if not isinstance(drawn, Resampled):
        return covariance
    test = None if drawn.test is None else replace(drawn.test, fit=fit, known={})
    found = Replicates(drawn.found.steps[:0], drawn.found.found[:0])
    return replace(covariance, resampling=replace(drawn, fit=fit, resampler=RowsGone(), found=found, test=test))
