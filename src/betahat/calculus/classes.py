"""Closed forms for multinomial logit: J - 1 linear indices of the same regressors, the first class at zero."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from betahat.calculus.rows import Bread, Point, Rows, no_hat_rows, root_of_counts, rows_of, times
from betahat.data.engine import Block
from betahat.data.products import gram
from betahat.data.threads import remembered
from betahat.errors import EstimationError
from betahat.objectives.softmax import Softmax, shares


@dataclass(frozen=True, eq=False)
class ClassRows(Rows):
    """Rows of a design under softmax; the parameters stand equation by equation, k for each.

    Attributes
    ----------
    objective : Softmax
        The loss.
    start, at
        As in `Rows`.
    x, y : Tensor
        (b, k), and (b,) the classes 0, 1, ..., J - 1.
    weights, offset, counts : Tensor or None
        (b,); an offset does not occur.
    """

    objective: Softmax
    start: int
    at: Point
    x: Tensor
    y: Tensor
    weights: Tensor | None
    offset: Tensor | None
    counts: Tensor | None

    def __len__(self) -> int:
        """Return b."""
        return len(self.y)

    @remembered
    def index(self) -> Tensor:
        """(b, J) the indices, zeros first."""
        free = self.x @ self.at.params.view(-1, self.x.shape[1]).mT
        return torch.nn.functional.pad(free, (1, 0))

    @property
    def losses(self) -> Tensor:
        """(b,) w l."""
        return times(self.objective.losses(self.index, self.y), self.weights)

    def constant(self, phi: Tensor) -> None:
        """Return None: the loss is all of it."""
        return

    @remembered
    def shares(self) -> Tensor:
        """(b, J) probabilities."""
        return self.objective.mean(self.index)

    @remembered
    def residual(self) -> Tensor:
        """(b, J - 1) w (indicator - probability) of the classes after the first."""
        return times((shares(self.index, self.y) - self.shares)[:, 1:], self.weights)

    def gradient(self) -> Tensor:
        """Return (k,) minus the sum of the scores."""
        return -(times(self.residual, self.counts).mT @ self.x).flatten()

    def scores(self, factor: Tensor | None = None) -> Tensor:
        """Return (b, (J - 1) k) residual times x, equation by equation."""
        return (times(self.residual, factor)[:, :, None] * self.x[:, None, :]).flatten(1)

    @property
    def leverage(self) -> Tensor:
        """Refuse: a row has as many fitted values as equations."""
        raise EstimationError(
            "HC2 and HC3 divide by one less a leverage, which is one number for a model with one index; this one has an index "
            "for each class: use HC0 or HC1."
        )

    @property
    def hat_rows(self) -> Tensor:
        """(b, J - 1, r) the root of w (diag(p) - p p') times x, an equation's at its own parameters, times Z."""
        if self.at.bread is Bread.OPG:
            raise EstimationError(no_hat_rows(self.at.bread))
        mean = self.shares[:, 1:]
        half = torch.linalg.cholesky(torch.diag_embed(mean) - mean[:, :, None] * mean[:, None, :])
        root = self.at.root.view(mean.shape[1], self.x.shape[1], -1)
        indices = torch.einsum("bk,jkr->bjr", self.x, root)
        return times(half.mT @ indices, None if self.weights is None else self.weights.sqrt())

    def resampled_scores(self, steps: Tensor, weights: Tensor | None, targets: Tensor | None) -> Tensor:
        """Return (R, r); targets are classes."""
        width = self.x.shape[1]
        moved = (self.at.params + steps @ self.at.root.mT).view(len(steps), -1, width)
        share = torch.softmax(torch.nn.functional.pad(moved @ self.x.mT, (0, 0, 1, 0)), 1)[:, 1:]
        classes = torch.arange(1, share.shape[1] + 1, device=share.device)[:, None]
        residual = ((self.y if targets is None else targets[:, None]).long() == classes).to(share) - share
        for factor in (self.weights, None if weights is None else weights[:, None]):
            residual = residual if factor is None else residual * factor
        return (residual @ self.x).flatten(1) @ self.at.root

    def curvatures(self) -> Tensor:
        """Return () the sum of w p_j (1 - p_j), the mean over the classes after the first."""
        mean = self.shares[:, 1:]
        return times((mean * (1.0 - mean)).mean(1), self.weights, self.counts).sum()

    def information(self, bread: Bread) -> Tensor:
        """Return the sum of w (diag(p) - p p') (x) x x', or of s s'."""
        if bread is Bread.OPG:
            return gram(self.scores(), root_of_counts(self.counts))
        mean = self.shares[:, 1:]
        scale = times(torch.ones_like(mean[:, 0]), self.weights, self.counts)
        diagonal = [gram(self.x, (scale * share).sqrt()) for share in mean.unbind(1)]
        joint = gram((mean[:, :, None] * self.x[:, None, :]).flatten(1), scale.sqrt())
        information: Tensor = torch.block_diag(*diagonal) - joint  # type: ignore[no-untyped-call]
        return information

    def whitened(self, bread: Bread) -> Tensor | None:
        """Return None: a row's information is no single square."""
        return None


@rows_of.register
def _(objective: Softmax, block: Block, at: Point) -> Rows:
    weights, offset, counts = block.get("weights"), block.get("offset"), block.get("counts")
    return ClassRows(objective, block.start, at, block["exog"], block["endog"], weights, offset, counts)
