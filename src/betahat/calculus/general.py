"""Rows of any differentiable loss: of a model's output, or of parameters and data."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from betahat.calculus.autodiff import (
    Columns,
    hessian_matrix,
    output_derivatives,
    row_jacobian,
    stacked_gradients,
    value_and_gradient,
)
from betahat.calculus.rows import Bread, Point, Rows, no_hat_rows, root_of_counts, rows_of, that_count, times
from betahat.data.engine import Block
from betahat.data.products import gram
from betahat.data.sample import in_order_of_call
from betahat.data.threads import remembered
from betahat.errors import EstimationError, OptionError
from betahat.objectives.own import ModelLoss, RowLoss

# Rounding leaves eigenvalues of either sign below this share of the largest.
_ROUNDING = 1e-12


@dataclass(frozen=True, eq=False)
class LossRows(Rows):
    """Rows of a loss of parameters and data, l(theta, z), by autodiff.

    Attributes
    ----------
    objective : RowLoss
        The loss.
    start, at, counts
        As in `Rows`.
    columns : tuple of Tensor
        (b, ...) the data.
    weights : Tensor or None
        (b,) what losses are multiplied by; None is one.
    """

    objective: RowLoss
    start: int
    at: Point
    columns: Columns
    counts: Tensor | None = None
    weights: Tensor | None = None

    def __len__(self) -> int:
        """Return b."""
        return len(self.columns[0])

    def _total(self, params: Tensor) -> Tensor:
        return times(self.objective.losses(params, self.columns), self.weights, self.counts).sum()

    def resampled_scores(self, steps: Tensor, weights: Tensor | None, targets: Tensor | None) -> Tensor:
        """Return (R, r), by gradients of all replicates at once; there are no targets to draw."""
        return _resampled_scores(self, self.objective.losses, steps, weights, targets)

    @property
    def losses(self) -> Tensor:
        """(b,) the losses."""
        with torch.no_grad():
            return times(self.objective.losses(self.at.params, self.columns), self.weights)

    def constant(self, phi: Tensor) -> None:
        """Return None: the loss is what it is."""
        return

    def gradient(self) -> Tensor:
        """Return (k,) the sum of dl/dtheta, by one backward pass."""
        return value_and_gradient(self._total, self.at.params)[1]

    @remembered
    def _scores(self) -> Tensor:
        slopes = row_jacobian(
            lambda params, columns: self.objective.losses(params, columns)[:, None],
            self.at.params,
            self.columns,
            self.objective.route,
        )
        return times(-slopes[:, 0], self.weights)

    def scores(self, factor: Tensor | None = None) -> Tensor:
        """Return (b, k) s = -dl/dtheta, each row times its `factor`."""
        return self._scores if factor is None else self._scores * factor[:, None]

    @property
    def leverage(self) -> Tensor:
        """(b,) of a loss that is read as half a squared residual: h = J A^-1 J'; otherwise an error."""
        return self.hat_rows.square().sum((1, 2))

    @property
    def hat_rows(self) -> Tensor:
        """(b, 1, r) J Z of the residuals that the losses are halves of squares of."""
        if self.at.bread is not Bread.GAUSS_NEWTON:
            raise EstimationError(
                "Leverage needs fitted values, which a row loss does not have; use a covariance without leverage, such as HC1 or "
                "CR1, pass bread='gauss-newton' if the loss is a squared residual, or use TorchModel."
            )
        return that_count((self._jacobian @ self.at.root)[:, None], self.counts)

    def curvatures(self) -> Tensor:
        """Return zero: they are not known."""
        return self.at.params.new_zeros(())

    def information(self, bread: Bread) -> Tensor:
        """Return (k, k) the Hessian of the summed loss, J'J of residuals sqrt(2 l), or the sum of s s'."""
        rows = self.whitened(bread)
        return hessian_matrix(self._total, self.at.params) if rows is None else gram(rows)

    def whitened(self, bread: Bread) -> Tensor | None:
        """Return (b, k) the scores, or the Jacobian of the residuals sqrt(2 l); the Hessian has no such rows."""
        if bread is Bread.OBSERVED:
            return None
        assert bread is not Bread.EXPECTED, "a row loss shows no distribution; MEstimator.fit refuses it"
        return times(self._scores if bread is Bread.OPG else self._jacobian, root_of_counts(self.counts))

    @remembered
    def _jacobian(self) -> Tensor:
        """(b, k) of the residuals sqrt(2 l), up to their signs."""
        jacobian = self._scores / self._size[:, None]
        for i in (self.losses == 0).nonzero().flatten().tolist():
            exact = self._exact_row(tuple(column[i : i + 1] for column in self.columns))
            jacobian[i] = exact if self.weights is None else exact * self.weights[i].sqrt()
        return jacobian

    def _exact_row(self, row: Columns) -> Tensor:
        """Return (k,) J of a residual of zero, where the score is zero and the Hessian of its square is J'J."""
        hessian = hessian_matrix(lambda params: self.objective.losses(params, row).sum(), self.at.params)
        largest = hessian.diagonal().argmax()
        return hessian[largest] / hessian[largest, largest].clamp_min(torch.finfo(hessian.dtype).tiny).sqrt()

    @remembered
    def _size(self) -> Tensor:
        """(b,) -sqrt(2 l), so that a score is minus the residual times its Jacobian."""
        losses = self.losses
        if bool((losses < 0).any()):
            raise OptionError(
                "bread='gauss-newton' reads each row's loss as half a squared residual, and some are negative; pass "
                "bread='observed'."
            )
        return -torch.where(losses > 0, (2.0 * losses).sqrt(), torch.ones_like(losses))

    def residuals(self) -> Tensor:
        """Return (b,) sqrt(2 l), each row as often as it counts."""
        return times((2.0 * self.losses).sqrt(), root_of_counts(self.counts))


@dataclass(frozen=True, eq=False)
class OutputRows(Rows):
    """Rows of a loss of a model's output, l(f(theta, z), y), by autodiff.

    Attributes
    ----------
    objective : ModelLoss
        The model and the loss.
    start, at, counts, columns, weights
        As in `LossRows`.
    """

    objective: ModelLoss
    start: int
    at: Point
    columns: Columns
    counts: Tensor | None = None
    weights: Tensor | None = None

    def __len__(self) -> int:
        """Return b."""
        return len(self.columns[0])

    def _total(self, params: Tensor) -> Tensor:
        return times(self.objective.losses(params, self.columns), self.weights, self.counts).sum()

    def resampled_scores(self, steps: Tensor, weights: Tensor | None, targets: Tensor | None) -> Tensor:
        """Return (R, r), by gradients of all replicates at once; there are no targets to draw."""
        return _resampled_scores(self, self.objective.losses, steps, weights, targets)

    def _flat(self, params: Tensor, columns: Columns) -> Tensor:
        output = self.objective.outputs(params, columns)
        return output.reshape(len(output), -1)

    @remembered
    def _output(self) -> Tensor:
        with torch.no_grad():
            return self.objective.outputs(self.at.params, self.columns).detach()

    @property
    def losses(self) -> Tensor:
        """(b,) the losses."""
        return times(self.objective.loss.losses(self._output, self.columns[-1]), self.weights)

    def constant(self, phi: Tensor) -> Tensor | None:
        """Return (b,) c(y, phi)."""
        return self.objective.loss.constant(self.columns[-1], self.weights)

    def gradient(self) -> Tensor:
        """Return (k,) the sum of dl/dtheta, by one backward pass."""
        return value_and_gradient(self._total, self.at.params)[1]

    @remembered
    def jacobian(self) -> Tensor:
        """(b, m, k) the derivatives of the outputs."""
        return row_jacobian(self._flat, self.at.params, self.columns, self.objective.route)

    @remembered
    def _slope_and_curvature(self) -> tuple[Tensor, Tensor]:
        shape, target = self._output.shape, self.columns[-1]
        flat = self._output.reshape(len(self._output), -1)
        slope, curvature = output_derivatives(
            lambda output: self.objective.loss.losses(output.reshape(shape), target), flat
        )
        return times(slope, self.weights), times(curvature, self.weights)

    @remembered
    def _scores(self) -> Tensor:
        if self.objective.affine:
            return -torch.einsum("bm,bmk->bk", self._slope_and_curvature[0], self.jacobian)
        losses = row_jacobian(
            lambda params, columns: self.objective.losses(params, columns)[:, None],
            self.at.params,
            self.columns,
            self.objective.route,
        )
        return times(-losses[:, 0], self.weights)

    def scores(self, factor: Tensor | None = None) -> Tensor:
        """Return (b, k) s = -dl/dtheta, each row times its `factor`."""
        return self._scores if factor is None else self._scores * factor[:, None]

    @property
    def leverage(self) -> Tensor:
        """(b,) h = l'' J A^-1 J', or E(l'') with the expected bread: the one-step leverage by the Gauss-Newton approximation, of a single output.

        St. Laurent and Cook (1992), JASA 87, call it the tangent plane leverage.
        """
        self._check_leverage()
        if self.jacobian.shape[1] != 1:
            raise EstimationError(
                "A row of several outputs has a matrix of leverages, not a number; use HC0 to HC5 or clusters, which account for it."
            )
        expected = self.at.bread is Bread.EXPECTED
        curvature = self._curvature(Bread.EXPECTED if expected else Bread.GAUSS_NEWTON)[:, 0, 0]
        return that_count(curvature * (self.jacobian[:, 0] @ self.at.root).square().sum(1), self.counts)

    def _check_leverage(self) -> None:
        if self.at.bread is Bread.OPG or not (self.jacobian.shape[1] == 1 or self.objective.loss.elementwise):
            raise EstimationError(
                "Leverage is defined for a model with one output, or whose loss adds up that of each output, and a bread of second "
                "derivatives; use HC0 or HC1."
            )

    @property
    def largest_leverage(self) -> Tensor:
        """(b,) the leverage, or the largest eigenvalue of H = P P', P the (m, r) hat rows."""
        self._check_leverage()
        return self.leverage if self.jacobian.shape[1] == 1 else self._hat_spectrum[0][:, -1]

    def adjusted_meat(self, adjust: Callable[[Tensor], Tensor]) -> Tensor:
        """Return the meat of scores whose residuals are multiplied by `adjust(h)`, of several outputs by `adjust(H)`.

        With the whitened residuals e a row's score in Z's coordinates is P'e, so that P' f(PP') e = f(P'P) P'e: what is added to it is
        P' (f - 1)/h (PP') P P'e.
        """
        self._check_leverage()
        if self.jacobian.shape[1] == 1:
            return self.meat(adjust(self.leverage))
        assert not self.at.well_conditioned, "products of a module's columns are never certified"
        (values, turned), scores = self._hat_spectrum, self.influence()
        there = values > _ROUNDING
        slope = torch.where(there, (adjust(values) - 1.0) / torch.where(there, values, 1.0), 0.0)
        added = torch.einsum("bmr,bm->br", turned, slope * torch.einsum("bmr,br->bm", turned, scores))
        return gram(scores + added, root_of_counts(self.counts))

    @remembered
    def _hat_spectrum(self) -> tuple[Tensor, Tensor]:
        """(b, m) the eigenvalues of H, ascending, and (b, m, r) the hat rows turned by the eigenvectors."""
        hats = self.hat_rows
        values, vectors = torch.linalg.eigh(hats @ hats.mT)
        return values, vectors.mT @ hats

    def errors(self) -> Tensor:
        """Return (b, m) the root of the weight times f - y."""
        errors = (self._output - self.columns[-1]).reshape(len(self), -1)
        return errors if self.weights is None else times(errors, self.weights.sqrt())

    @property
    def hat_rows(self) -> Tensor:
        """(b, m, r) the root of l'' times J Z, or of E(l'') with the expected bread: the Gauss-Newton approximation."""
        if self.at.bread is Bread.OPG:
            raise EstimationError(no_hat_rows(self.at.bread))
        curvature = self._curvature(Bread.EXPECTED if self.at.bread is Bread.EXPECTED else Bread.GAUSS_NEWTON)
        spectrum, vectors = torch.linalg.eigh(curvature)
        if bool((spectrum < -_ROUNDING * spectrum.abs().amax(1, keepdim=True)).any()):
            raise EstimationError(no_hat_rows(self.at.bread))
        half = spectrum.clamp_min(0.0).sqrt()[:, :, None] * vectors.mT
        return that_count(half @ (self.jacobian @ self.at.root), self.counts)

    def curvatures(self) -> Tensor:
        """Return zero: they are not known."""
        return self.at.params.new_zeros(())

    def information(self, bread: Bread) -> Tensor:
        """Return (k, k) the Hessian of the summed loss, the sum of J' l'''' J or J' E(l'') J, or of s s'."""
        if bread is Bread.OBSERVED and not self.objective.affine:
            return hessian_matrix(self._total, self.at.params)
        rows = self.whitened(bread)
        if rows is not None:
            return gram(rows)
        weighted = torch.einsum("bij,bjk->bik", times(self._curvature(bread), self.counts), self.jacobian)
        return torch.einsum("bik,bil->kl", self.jacobian, weighted)

    def whitened(self, bread: Bread) -> Tensor | None:
        """Return (m, k) the root of l'' times J, of a loss that has it: one output, and no negative curvature."""
        if bread is Bread.OPG:
            return times(self._scores, root_of_counts(self.counts))
        if bread is Bread.OBSERVED and not self.objective.affine:
            return None
        curvature = self._curvature(bread)
        diagonal = torch.diagonal(curvature, dim1=1, dim2=2)
        if bool((diagonal < 0).any()) or not torch.equal(torch.diag_embed(diagonal), curvature):
            return None
        return times(diagonal.sqrt()[:, :, None] * self.jacobian, root_of_counts(self.counts)).flatten(0, 1)

    def residuals(self) -> Tensor:
        """Return (b m,) errors, each row as often as it counts: with `whitened` the linearised least squares problem."""
        return times(self.errors(), root_of_counts(self.counts)).flatten()

    def _curvature(self, bread: Bread) -> Tensor:
        """Return (b, m, m) l'' or E(l'')."""
        if bread is not Bread.EXPECTED:
            return self._slope_and_curvature[1]
        curvature, count = self.objective.loss.expected_curvature(self._output), self._output[:1].numel()
        if curvature.shape[1:] != (count, count):
            curvature = torch.diag_embed(curvature.reshape(len(curvature), -1))
        taken = self.objective.loss.taken(self.columns[-1])
        if taken is not None:
            curvature = curvature * taken.expand_as(self._output).reshape(len(curvature), -1)[:, :, None]
        return times(curvature, self.weights)


def _resampled_scores(
    rows: LossRows | OutputRows,
    losses: Callable[[Tensor, Columns], Tensor],
    steps: Tensor,
    weights: Tensor | None,
    targets: Tensor | None,
) -> Tensor:
    assert targets is None, "the residual and the parametric bootstrap refuse a loss that tells no distribution of y"
    at, columns = rows.at, rows.columns
    moved = at.params + steps @ at.root.mT
    factors = steps.new_ones(len(steps), len(columns[0])) if weights is None else weights
    factors = factors if rows.weights is None else factors * rows.weights
    return -stacked_gradients(lambda theta, factor: losses(theta, columns) @ factor, moved, factors) @ at.root


@rows_of.register
def _(objective: RowLoss, block: Block, at: Point) -> Rows:
    return LossRows(objective, block.start, at, in_order_of_call(block), block.get("counts"), block.get("weights"))


@rows_of.register
def _(objective: ModelLoss, block: Block, at: Point) -> Rows:
    return OutputRows(objective, block.start, at, in_order_of_call(block), block.get("counts"), block.get("weights"))
