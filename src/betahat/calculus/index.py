"""Closed forms for a linear index: scores -l' x, information X' diag(l'') X, leverage l'' x'A^-1 x."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from betahat.calculus.rows import Bread, Point, Rows, no_hat_rows, root_of_counts, rows_of, that_count, times
from betahat.data.effects import CODES
from betahat.data.engine import Block
from betahat.data.products import cross, gram, product, products, weighted_gram
from betahat.data.threads import remembered
from betahat.errors import EstimationError
from betahat.objectives.base import LinearIndex


@dataclass(frozen=True, eq=False)
class IndexRows(Rows):
    """Rows of a design under a loss of a linear index. What several answers share is computed once.

    With instruments scores have columns of their own, X̂: moments X̂'e = 0 of the residuals of X, and A = X̂'X.

    Attributes
    ----------
    objective : LinearIndex
        The loss.
    start, at
        As in `Rows`.
    x, y : Tensor
        (b, k) and (b,), float64.
    weights, offset, counts : Tensor or None
        (b,).
    scored : Tensor or None
        (b, k) X̂, what a score is its residual times; None is x itself.
    levels : Tensor or None
        (b, E) levels of absorbed effects, of rows that are read.
    """

    objective: LinearIndex
    start: int
    at: Point
    x: Tensor
    y: Tensor
    weights: Tensor | None
    offset: Tensor | None
    counts: Tensor | None
    scored: Tensor | None = None
    levels: Tensor | None = None

    def __len__(self) -> int:
        """Return b."""
        return len(self.y)

    @remembered
    def index(self) -> Tensor:
        """(b,) eta = x'b + offset."""
        index = self.x @ self.at.params
        return index if self.offset is None else index + self.offset

    @property
    def columns(self) -> Tensor:
        """(b, k) what a score is its residual times: X̂ with instruments, else x."""
        return self.x if self.scored is None else self.scored

    @property
    def losses(self) -> Tensor:
        """(b,) w l(eta, y)."""
        return times(self.objective.losses(self.index, self.y), self.weights)

    def constant(self, phi: Tensor) -> Tensor | None:
        """Return (b,) c(y, phi / w)."""
        return self.objective.constant(self.y, phi.reciprocal() if self.weights is None else self.weights / phi)

    @remembered
    def residual(self) -> Tensor:
        """(b,) -w dl/deta, the weighted generalized residual."""
        return times(self.objective.residual(self.index, self.y), self.weights)

    @remembered
    def curvature(self) -> Tensor | None:
        """(b,) w d2l/deta2 of the bread in use; None means one."""
        return self._curvature(self.at.bread)

    def gradient(self) -> Tensor:
        """Return (k,) minus the sum of the scores."""
        return -cross(self.columns, times(self.residual, self.counts))

    @remembered
    def rotated(self) -> Tensor:
        """(b, r) xZ: for least squares these are orthonormal columns; with instruments X̂Z."""
        return product(self.columns, self.at.root)

    @remembered
    def leverage(self) -> Tensor:
        """(b,) h = w l'' x'A^-1 x, and that of absorbed dummies: the diagonal of the hat matrix, in [0, 1]; with instruments w x'A^-1 x̂, which may be outside."""
        if self.at.bread is Bread.KERNEL:
            raise EstimationError(no_hat_rows(self.at.bread))
        if self.at.bread is Bread.OPG:
            raise EstimationError(
                "Leverage is a share of the Hessian or of Fisher's information, but the bread is 'opg'; fit with "
                "bread='observed' or 'expected' for HC2 and HC3, or use HC0 or HC1."
            )
        rotated = (
            product(self.columns, self.at.root) if self.at.well_conditioned else self.rotated
        )  # kept only for the meat
        if self.scored is None:
            squares: Tensor = torch.linalg.vector_norm(rotated, dim=1).square_()
        else:
            squares = (rotated * product(self.x, self.at.root)).sum(1)
        own = squares if self.curvature is None else self.curvature * squares
        if self.at.beside is not None:
            own = own + self.at.beside.of_block(self.start, self.levels, self.curvature, len(self))
        return that_count(own, self.counts)

    @property
    def hat_rows(self) -> Tensor:
        """(b, 1, r) the root of w l'' times xZ; of two-stage least squares X̂Z."""
        if not self.objective.dispersion.projects:
            raise EstimationError(
                "CR2 and CR3 need a hat matrix that is a projection, as least squares and two-stage least squares have; use IV2SLS, "
                "Cluster(kind='CR1S'), the jackknife, or a bootstrap."
            )
        if self.at.bread in (Bread.OPG, Bread.KERNEL) or (
            self.curvature is not None and bool((self.curvature < 0).any())
        ):
            raise EstimationError(no_hat_rows(self.at.bread))
        return times(self.rotated, None if self.curvature is None else self.curvature.sqrt())[:, None]

    def meat(self, factor: Tensor | None = None) -> Tensor:
        """Return the sum of s s' factor^2, or of u u' factor^2, without making scores."""
        residual = times(self.residual, factor, root_of_counts(self.counts))
        return gram(self.columns if self.at.well_conditioned else self.rotated, residual)

    def scores(self, factor: Tensor | None = None) -> Tensor:
        """Return (b, k) s = -w dl/deta x, each row times its `factor`."""
        return times(self.columns, times(self.residual, factor))

    def influence(self, factor: Tensor | None = None) -> Tensor:
        """Return (b, r) u = Zᵀs, the residual times xZ, each row times its `factor`."""
        return times(self.rotated, times(self.residual, factor))

    def shares(self, upper: Tensor) -> Tensor:
        """Return (b, t) w l'' times products of xZ; a row's may curve downward."""
        return times(self.rotated[:, upper[0]] * self.rotated[:, upper[1]], self.curvature)

    def resampled_scores(self, steps: Tensor, weights: Tensor | None, targets: Tensor | None) -> Tensor:
        """Return (R, r); targets may lie between those of the data, where the loss is linear in them."""
        index = self.index + steps @ self.rotated.mT
        if targets is None:
            residual = self.objective.residual(index, self.y)
        else:  # such losses are linear in y
            zero = self.objective.residual(index, torch.zeros_like(self.y))
            residual = zero + (self.objective.residual(index, torch.ones_like(self.y)) - zero) * targets
        for factor in (self.weights, weights):
            if factor is not None:
                residual = residual.mul_(factor)
        return residual @ self.rotated

    def curvatures(self) -> Tensor:
        """Return () the sum of w l''."""
        curvature = self._counted_curvature(self.at.bread)
        return self.at.params.new_tensor(float(len(self))) if curvature is None else curvature.sum()

    def first_step(self, mean: Tensor, share: float, bread: Bread) -> tuple[Tensor, Tensor]:
        """Return (k, k) the information and (k,) X'W(eta + r / l'' - offset) at the objective's start, r the residual there.

        Targets are `share` of the way from their mean to what they are; l'' is what they say of it, or Fisher's, which is positive.
        """
        target = self.y if share == 1.0 else torch.lerp(mean, self.y, share)
        index = self.objective.start(target, mean)
        expected = bread is Bread.EXPECTED
        curvature = self.objective.expected_curvature(index) if expected else self.objective.curvature(index, target)
        step = self.objective.residual(index, target) + times(index - self.index, curvature)
        scale = times(torch.ones_like(index), curvature, self.weights, self.counts)
        return weighted_gram(self.x, scale), cross(self.x, times(step, self.weights, self.counts))

    def information(self, bread: Bread) -> Tensor:
        """Return (k, k) the sum of w l'' x x', of w E(l'') x x', or of s s'."""
        if bread is Bread.OPG:
            return gram(self.columns, times(self.residual, root_of_counts(self.counts)))
        if self.scored is not None:
            return products(times(self.scored, self._counted_curvature(bread)), self.x)
        return weighted_gram(self.x, self._counted_curvature(bread))

    def whitened(self, bread: Bread) -> Tensor | None:
        """Return (b, k) the root of w l'' times x, where the curvature is not negative."""
        if bread is Bread.OPG:
            return times(self.columns, times(self.residual, root_of_counts(self.counts)))
        if self.scored is not None:
            return None
        curvature = self._counted_curvature(bread)
        if curvature is None:
            return self.x
        return None if bool((curvature < 0).any()) else times(self.x, curvature.sqrt())

    def _counted_curvature(self, bread: Bread) -> Tensor | None:
        curvature = self._curvature(bread)
        return self.counts if curvature is None else times(curvature, self.counts)

    def _curvature(self, bread: Bread) -> Tensor | None:
        plain = self.objective.expected_curvature(self.index) if bread is Bread.EXPECTED else self._observed
        return self.weights if plain is None else times(plain, self.weights)

    @remembered
    def _observed(self) -> Tensor | None:
        """(b,) d2l/deta2; None means one."""
        return self.objective.curvature(self.index, self.y)


@rows_of.register
def _(objective: LinearIndex, block: Block, at: Point) -> Rows:
    weights, offset, counts = block.get("weights"), block.get("offset"), block.get("counts")
    scored, levels = block.get("scored"), block.get(CODES)
    return IndexRows(objective, block.start, at, block["exog"], block["endog"], weights, offset, counts, scored, levels)


def pearson(rows: Rows) -> Tensor:
    """Return () the sum of w (y - mu)^2 / V(mu) of a block."""
    read = index_rows(rows)
    variance = read.objective.variance(read.index)
    squares = (read.y - read.objective.mean(read.index)).square()
    return times(squares if variance is None else squares / variance, read.weights, read.counts).sum()


def deviance(rows: Rows) -> Tensor:
    """Return () twice the sum of w times the loss beyond that of a perfect fit, of a block."""
    read = index_rows(rows)
    return 2.0 * times(excess_loss(read.objective, read.index, read.y), read.weights, read.counts).sum()


def excess_loss(objective: LinearIndex, index: Tensor, y: Tensor) -> Tensor:
    """Return (b,) the loss beyond that of a perfect fit, of rows of weight one."""
    return (objective.losses(index, y) - objective.saturated(y)).clamp_min(0.0)


def index_rows(rows: Rows) -> IndexRows:
    """Return the rows of a model of one index, for what is defined for those alone."""
    if not isinstance(rows, IndexRows):
        raise EstimationError(
            "This needs one linear index x'b and a loss for each row by itself, as OLS, Logit, Poisson and GLM have; use one of those models, or "
            "another covariance, such as 'HC0' or 'cluster'."
        )
    return rows
