"""Scores, information and leverage of a block of rows: generic functions of the objective.

A linear index has closed forms. Rows carry what several of them share, so that each is computed once.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from betahat.data.blocks import Block, gram, product
from betahat.objectives.base import LinearIndex


@dataclass(frozen=True, eq=False)
class Rows:
    """A block of rows at a parameter vector.

    Attributes
    ----------
    objective : LinearIndex
        The loss.
    params : Tensor
        (k,).
    root : Tensor
        (k, r) Z with Z Z' the bread.
    start : int
        The position of the first row.
    x, y : Tensor
        (b, k) and (b,), float64.
    weights : Tensor or None
        (b,).
    well_conditioned : bool
        Whether sums of products of the columns themselves keep their digits.
    """

    objective: LinearIndex
    params: Tensor
    root: Tensor
    start: int
    x: Tensor
    y: Tensor
    weights: Tensor | None
    well_conditioned: bool

    @cached_property
    def index(self) -> Tensor:
        """(b,) eta = x'b."""
        return self.x @ self.params

    @property
    def loss(self) -> Tensor:
        """() the sum of w l(eta, y)."""
        return self.objective.loss(self.index, self.y, self.weights)

    @cached_property
    def residual(self) -> Tensor:
        """(b,) -w dl/deta, the weighted generalized residual."""
        return self._weighted(self.objective.residual(self.index, self.y))

    @cached_property
    def curvature(self) -> Tensor | None:
        """(b,) w d2l/deta2; None means one."""
        plain = self.objective.curvature(self.index, self.y)
        return self.weights if plain is None else self._weighted(plain)

    def _weighted(self, values: Tensor) -> Tensor:
        return values if self.weights is None else self.weights * values

    @cached_property
    def rotated(self) -> Tensor:
        """(b, r) xZ: for least squares these are orthonormal columns."""
        return product(self.x, self.root)

    @cached_property
    def leverage(self) -> Tensor:
        """(b,) h = w l'' x'A^-1 x, the diagonal of the hat matrix, in [0, 1]."""
        rotated = product(self.x, self.root) if self.well_conditioned else self.rotated  # kept only for the meat
        squares: Tensor = torch.linalg.vector_norm(rotated, dim=1).square_()
        return squares if self.curvature is None else self.curvature * squares

    def meat(self, factor: Tensor | None = None) -> Tensor:
        """Return the sum of s s' factor^2: (k, k), or (r, r) of Z's where the columns are collinear.

        Z's has columns of like size and direction, so that what follows loses digits in proportion to the
        condition of the columns, and not to its fourth power.
        """
        residual = self.residual if factor is None else self.residual * factor
        return gram(self.x if self.well_conditioned else self.rotated, residual)

    def scores(self, factor: Tensor | None = None) -> Tensor:
        """Return (b, k) s = -w dl/deta x, each row times its `factor`."""
        residual = self.residual if factor is None else self.residual * factor
        return self.x * residual[:, None]

    def information(self) -> Tensor:
        """Return (k, k) the sum of w l'' x x'."""
        return gram(self.x, None if self.curvature is None else self.curvature.sqrt())


def rows_of(block: Block, objective: LinearIndex, params: Tensor, root: Tensor, well_conditioned: bool) -> Rows:
    """Make `Rows` of a block of (exog, endog, weights)."""
    x, y, *weights = block.columns
    return Rows(objective, params, root, block.start, x, y, weights[0] if weights else None, well_conditioned)
