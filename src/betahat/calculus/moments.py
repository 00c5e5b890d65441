"""Rows of estimating equations: moments by the user's function, their sum and its Jacobian by autodiff."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import NoReturn

import torch
from torch import Tensor

from betahat.calculus.autodiff import Columns, hessian_matrix, summed_jacobian
from betahat.calculus.rows import Bread, Point, Rows, root_of_counts, rows_of, times
from betahat.data.engine import Block, fold
from betahat.data.products import gram, product
from betahat.data.sample import Sample, in_order_of_call
from betahat.data.threads import remembered
from betahat.errors import EstimationError
from betahat.objectives.moment_conditions import MomentConditions

_NO_LEVERAGE = (
    "Leverage is a row's share of the Hessian of a loss, and estimating equations have none; use HC0, HC1, Cluster(kind='CR0' or 'CR1'), "
    "bh.Jackknife(refit=True), or a bootstrap."
)


@dataclass(frozen=True, eq=False)
class MomentRows(Rows):
    """Rows of estimating equations, weighed at the estimate: u = m N in the coordinates of Z, and s = -G'W m.

    Attributes
    ----------
    objective : MomentConditions
        The equations, with N and -W G.
    start, at, counts
        As in `Rows`.
    columns : tuple of Tensor
        (b, ...) the data.
    """

    objective: MomentConditions
    start: int
    at: Point
    columns: Columns
    counts: Tensor | None = None

    def __len__(self) -> int:
        """Return b."""
        return len(self.columns[0])

    @remembered
    def moments(self) -> Tensor:
        """(b, q) m; frequency weights are not applied."""
        with torch.no_grad():
            return self.objective.function(self.at.params, self.columns).detach()

    @property
    def losses(self) -> Tensor:
        """Refuse: equations have none."""
        raise EstimationError("Estimating equations have no loss of a row; their sum is what is made small.")

    def constant(self, phi: Tensor) -> None:
        """Return None: there is no likelihood."""
        return

    def gradient(self) -> Tensor:
        """Return (k,) the sum of G'W m."""
        return -self.scores(self.counts).sum(0)

    def scores(self, factor: Tensor | None = None) -> Tensor:
        """Return (b, k) s = -G'W m, each row times its `factor`."""
        assert self.objective.loading is not None, "the equations of a fit know their weight"
        return times(product(self.moments, self.objective.loading), factor)

    def influence(self, factor: Tensor | None = None) -> Tensor:
        """Return (b, r) u = m N, each row times its `factor`."""
        assert self.objective.turn is not None, "the equations of a fit know their weight"
        return times(product(self.moments, self.objective.turn), factor)

    @property
    def leverage(self) -> Tensor:
        """Refuse: there are no fitted values."""
        _no_leverage()

    @property
    def hat_rows(self) -> Tensor:
        """Refuse: there are no fitted values."""
        _no_leverage()

    def curvatures(self) -> Tensor:
        """Return zero: they are not known."""
        return self.at.params.new_zeros(())

    def information(self, bread: Bread) -> Tensor:
        """Return (k, k) G'W times the Jacobian of the rows' moments, which is symmetric in sum at the estimate alone."""
        assert self.objective.loading is not None, "the equations of a fit know their weight"
        jacobian = summed_jacobian(
            _total(self.objective, self.columns, self.counts), self.at.params, self.objective.route
        )
        return -self.objective.loading.mT @ jacobian

    def whitened(self, bread: Bread) -> None:
        """Return None: a row's share is no square."""
        return

    def resampled_scores(self, steps: Tensor, weights: Tensor | None, targets: Tensor | None) -> Tensor:
        """Return (R, r) the sums of u at theta + Z d; there are no targets to draw."""
        assert targets is None, (
            "the residual and the parametric bootstrap refuse equations that tell no distribution of y"
        )
        parts = []
        for i, params in enumerate(self.at.params + steps @ self.at.root.mT):
            rows = MomentRows(self.objective, self.start, Point(params, self.at.root), self.columns)
            parts.append(rows.influence(self.counts if weights is None else weights[i]).sum(0))
        return torch.stack(parts)


def _no_leverage() -> NoReturn:
    raise EstimationError(_NO_LEVERAGE)


@rows_of.register
def _(objective: MomentConditions, block: Block, at: Point) -> Rows:
    return MomentRows(objective, block.start, at, in_order_of_call(block), block.get("counts"))


@dataclass(frozen=True, eq=False)
class Sums:
    """Sums over the rows at one point.

    Attributes
    ----------
    moments : Tensor
        (q,) F, the sum of m.
    products : Tensor
        (q, q) S, the sum of m m'.
    """

    moments: Tensor
    products: Tensor


@dataclass(frozen=True, eq=False)
class Equations:
    """Estimating equations on a sample: what solvers ask of them, in passes over its rows.

    Attributes
    ----------
    objective : MomentConditions
        The moments.
    sample : Sample
        The rows, each as often as it counts.
    shift : Tensor or None
        (q,) what is taken off the moments of each row, as where they are centred at an estimate; None is nothing.
    """

    objective: MomentConditions
    sample: Sample
    shift: Tensor | None = None

    @property
    def count(self) -> int:
        """How many moments there are, q."""
        return self.objective.count

    def of(self, params: Tensor, columns: Columns) -> Tensor:
        """Return (b, q) the moments of some rows."""
        found = self.objective.function(params, columns)
        return found if self.shift is None else found - self.shift

    def sums(self, params: Tensor) -> Sums:
        """Return F and S."""

        def both(block: Block) -> tuple[Tensor, Tensor]:
            counts = block.get("counts")
            with torch.no_grad():
                moments = self.of(params, in_order_of_call(block)).detach()
            return times(moments, counts).sum(0), gram(moments, root_of_counts(counts))

        return Sums(*fold(self.sample.source, both, self.sample.engine))

    def jacobian(self, params: Tensor, tilt: Tensor | None = None) -> Tensor:
        """Return (q, k) G, the derivatives of F; with a (q,) `tilt` v of the sum of (1 - v'm) dm."""

        def of(block: Block) -> tuple[Tensor]:
            columns, counts = in_order_of_call(block), block.get("counts")
            factor = counts
            if tilt is not None:
                with torch.no_grad():
                    factor = times(1.0 - self.of(params, columns) @ tilt, counts)
            return (summed_jacobian(_total(self.objective, columns, factor), params, self.objective.route),)

        (found,) = fold(self.sample.source, of, self.sample.engine)
        return found

    def second(self, params: Tensor, along: Tensor, *, tilted: bool) -> Tensor:
        """Return (k, k) the second derivatives of v'F for a (q,) v; `tilted` of the sum of a - a^2 / 2 with a = v'm."""

        def of(block: Block) -> tuple[Tensor]:
            columns, counts = in_order_of_call(block), block.get("counts")

            def total(theta: Tensor) -> Tensor:
                values = self.of(theta, columns) @ along
                return times(values - 0.5 * values.square() if tilted else values, counts).sum()

            return (hessian_matrix(total, params),)

        (found,) = fold(self.sample.source, of, self.sample.engine)
        return found

    def tilted_jacobian(self, params: Tensor, along: Tensor) -> Tensor:
        """Return (q, k) the derivatives of the sum of (1 - v'm) m in theta, for a (q,) v."""

        def of(block: Block) -> tuple[Tensor]:
            columns, counts = in_order_of_call(block), block.get("counts")

            def total(theta: Tensor) -> Tensor:
                moments = self.of(theta, columns)
                return (times(1.0 - moments @ along, counts)[:, None] * moments).sum(0)

            return (summed_jacobian(total, params, self.objective.route),)

        (found,) = fold(self.sample.source, of, self.sample.engine)
        return found


def _total(objective: MomentConditions, columns: Columns, factor: Tensor | None) -> Callable[[Tensor], Tensor]:
    """Return theta -> (q,) the sum of the rows' moments, each times its `factor`."""
    return lambda theta: times(objective.function(theta, columns), factor).sum(0)
