"""Several linear indices of one design: scores, information and leverage from derivatives in the indices."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import accumulate

import torch
from torch import Tensor

from betahat.calculus.rows import Bread, Point, Rows, no_hat_rows, root_of_counts, rows_of, times
from betahat.data.engine import Block
from betahat.data.products import gram, products, weighted_gram
from betahat.data.threads import remembered
from betahat.errors import EstimationError
from betahat.objectives.indices import LinearIndices, upper_root


@dataclass(frozen=True, eq=False)
class IndicesRows(Rows):
    """Rows of a design under a loss of q linear indices; the parameters stand equation by equation.

    Attributes
    ----------
    objective : LinearIndices
        The loss.
    start, at
        As in `Rows`.
    x, y : Tensor
        (b, k), and (b,).
    weights, offset, counts : Tensor or None
        (b,); the offset is the first index's.
    """

    objective: LinearIndices
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
    def columns(self) -> tuple[Tensor, ...]:
        """(q,) the regressors of each index, (b, k_j)."""
        return columns_of(self.objective, self.x)

    @remembered
    def index(self) -> Tensor:
        """(b, q) the indices."""
        return self._indices(self.at.params)

    @remembered
    def mean(self) -> Tensor:
        """(b, ...) E(y)."""
        return self.objective.mean(self.index)

    @property
    def losses(self) -> Tensor:
        """(b,) w l."""
        return times(self.objective.losses(self.index, self.y), self.weights)

    def constant(self, phi: Tensor) -> Tensor | None:
        """Return (b,) c(y, phi / w)."""
        return self.objective.constant(self.y, phi.reciprocal() if self.weights is None else self.weights / phi)

    @remembered
    def residual(self) -> Tensor:
        """(b, q) -w dl/deta."""
        return times(self.objective.residual(self.index, self.y, self.mean), self.weights)

    @remembered
    def _observed(self) -> Tensor:
        """(b, q, q) d2l/deta deta'."""
        return self.objective.curvature(self.index, self.y, self.mean)

    def gradient(self) -> Tensor:
        """Return (k,) minus the sum of the scores."""
        residual = times(self.residual, self.counts)
        if self.objective.shared:
            return -(residual.mT @ self.x).flatten()
        return -torch.cat([x.mT @ part for x, part in zip(self.columns, residual.unbind(1), strict=True)])

    def scores(self, factor: Tensor | None = None) -> Tensor:
        """Return (b, k) residual times x, equation by equation."""
        residual = times(self.residual, factor)
        if self.objective.shared:
            return (residual[:, :, None] * self.x[:, None, :]).flatten(1)
        return torch.cat([x * part[:, None] for x, part in zip(self.columns, residual.unbind(1), strict=True)], 1)

    @property
    def leverage(self) -> Tensor:
        """Refuse: a row has as many fitted values as equations."""
        if self.at.bread is Bread.KERNEL:
            raise EstimationError(no_hat_rows(self.at.bread))
        raise EstimationError(
            "HC2 and HC3 divide by one minus the leverage, and HC4, HC4m and HC5 by powers of it, which is a single number only for a model with one "
            "index; this one has several indices: use HC0 or HC1."
        )

    @property
    def hat_rows(self) -> Tensor:
        """(b, q, r) the root of a row's information on the indices times x, an equation's at its own parameters, times Z."""
        root = None
        if self.at.bread is Bread.OBSERVED:
            root = self.objective.root(self.index, self.y, self.mean)
        elif self.at.bread is Bread.EXPECTED:
            root = upper_root(self.objective.expected_curvature(self.index))
        if root is None:
            raise EstimationError(no_hat_rows(self.at.bread))
        return times(root @ self._rotated, None if self.weights is None else self.weights.sqrt())

    def shares(self, upper: Tensor) -> Tensor:
        """Return (b, t) shares of the information, which may curve downward in a row."""
        curved = times(self._curvature(self.at.bread), self.weights) @ self._rotated
        first, *others = zip(curved.unbind(1), self._rotated.unbind(1), strict=True)
        products = first[0][:, upper[0]] * first[1][:, upper[1]]
        for left, right in others:
            products += left[:, upper[0]] * right[:, upper[1]]
        return products

    @remembered
    def _rotated(self) -> Tensor:
        """(b, q, r) each index's regressors times Z."""
        parts = self._split(self.at.root)
        return torch.stack([x @ part for x, part in zip(self.columns, parts, strict=True)], 1)

    def resampled_scores(self, steps: Tensor, weights: Tensor | None, targets: Tensor | None) -> Tensor:
        """Return (R, r)."""
        moved = self.at.params + steps @ self.at.root.mT
        index = self._indices(moved)
        y = self.y.expand(index.shape[:-1]) if targets is None else targets
        residual = self.objective.residual(index, y, self.objective.mean(index))
        for factor in (self.weights, weights):
            residual = residual if factor is None else residual * factor[..., None]
        if self.objective.shared:
            return (residual.mT @ self.x).flatten(1) @ self.at.root
        return torch.cat([part @ x for x, part in zip(self.columns, residual.unbind(2), strict=True)], 1) @ self.at.root

    def curvatures(self) -> Tensor:
        """Return () the sum of the mean of w d2l/deta2 over the indices."""
        count = len(self.objective.equations)
        total = sum(self._observed.diagonal(dim1=1, dim2=2).unbind(1), start=self.y.new_zeros((), dtype=torch.float64))
        return times(total / count, self.weights, self.counts).sum()

    def information(self, bread: Bread) -> Tensor:
        """Return the sum of w d2l/deta_i deta_j x_i x_j', block by block, or of s s'."""
        if bread is Bread.OPG:
            return gram(self.scores(), root_of_counts(self.counts))
        curvature = times(self._curvature(bread), self.weights, self.counts)
        if self.objective.shared:
            return self._shared_information(curvature)
        count = len(self.objective.equations)
        blocks: list[list[Tensor]] = [[] for _ in range(count)]
        for i in range(count):
            blocks[i] += [blocks[j][i].mT for j in range(i)]
            blocks[i] += [self._block(i, j, curvature[:, i, j]) for j in range(i, count)]
        return torch.cat([torch.cat(row, 1) for row in blocks])

    def _block(self, i: int, j: int, curvature: Tensor) -> Tensor:
        """(k_i, k_j) the sum of curvature times x_i x_j', where x is one for a single parameter."""
        left, right = self.columns[i], self.columns[j]
        if self.objective.equations[i].constant:
            return (curvature @ right)[None]
        if self.objective.equations[j].constant:
            return (curvature @ left)[:, None]
        return weighted_gram(left, curvature) if i == j else products(left * curvature[:, None], right)

    def _shared_information(self, curvature: Tensor) -> Tensor:
        """(k, k) of (b, q, q) curvatures, of indices that have all columns: one product for all pairs of them."""
        count, width = len(self.objective.equations), self.x.shape[1]
        upper = torch.triu_indices(count, count, device=self.x.device)
        scaled = (curvature[:, upper[0], upper[1], None] * self.x[:, None, :]).flatten(1)
        parts = products(self.x, scaled).view(width, -1, width).transpose(0, 1)
        information = self.x.new_empty(count, width, count, width)
        information[upper[0], :, upper[1]] = parts
        information[upper[1], :, upper[0]] = parts.mT
        return information.view(count * width, count * width)

    def whitened(self, bread: Bread) -> Tensor | None:
        """Return None: a row's information is no single square."""
        return None

    def _curvature(self, bread: Bread) -> Tensor:
        """(b, q, q) of the bread: observed or expected."""
        return self.objective.expected_curvature(self.index) if bread is Bread.EXPECTED else self._observed

    def _indices(self, params: Tensor) -> Tensor:
        """(..., b, q) the indices at (..., k) parameters."""
        return indices_at(self.objective, self.columns, params, self.offset)

    def _split(self, values: Tensor) -> tuple[Tensor, ...]:
        """Cut (k, ...) numbers into those of each equation."""
        return split(values, self.columns)


def columns_of(objective: LinearIndices, x: Tensor) -> tuple[Tensor, ...]:
    """Return (q,) the regressors of each index, (b, k_j), of (b, k): all of them, some, or ones."""
    if objective.shared:
        return (x,) * len(objective.equations)
    places = objective.places(x.shape[1])
    every = tuple(range(x.shape[1]))
    return tuple(x if place == every else x[:, list(place)] if place else x.new_ones(len(x), 1) for place in places)


def split(values: Tensor, columns: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    """Cut (k, ...) numbers into those of each of (q,) equations."""
    ends = list(accumulate(x.shape[1] for x in columns))
    return torch.tensor_split(values, ends[:-1])


def indices_at(objective: LinearIndices, columns: tuple[Tensor, ...], params: Tensor, offset: Tensor | None) -> Tensor:
    """Return (..., b, q) the indices at (..., k) parameters, of (q,) regressors; each index lies in one piece of memory."""
    if objective.shared:
        index = (params.view(*params.shape[:-1], -1, columns[0].shape[1]) @ columns[0].mT).mT
    else:
        parts = split(params.mT if params.ndim > 1 else params, columns)
        index = torch.stack(
            [(x @ part).mT if part.ndim > 1 else x @ part for x, part in zip(columns, parts, strict=True)], -2
        ).mT
    if offset is None:
        return index
    main = objective.main
    moved = index[..., main : main + 1] + offset[:, None]
    return torch.cat([index[..., :main], moved, index[..., main + 1 :]], -1)


@rows_of.register
def _(objective: LinearIndices, block: Block, at: Point) -> Rows:
    weights, offset, counts = block.get("weights"), block.get("offset"), block.get("counts")
    return IndicesRows(objective, block.start, at, block["exog"], block["endog"], weights, offset, counts)
