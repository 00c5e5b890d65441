"""Directions in which parameters move and no fitted value does."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from betahat.objectives.equation import Equation

# Null directions of a Hessian by loops have entries of rounding below this share of the largest.
_FAINT = 1e-7


def unidentified(root: Tensor, triangle: Tensor, idle: Tensor | None, equations: Sequence[Equation]) -> Tensor:
    """Return (k, k - r) the directions that (k, r) Z leaves out; `idle` has those of one equation's coefficients where they are known."""
    width, rank = root.shape
    if width == rank:
        return root.new_zeros(width, 0)
    if idle is not None:
        return by_equation(idle, equations, idle.new_zeros(1, 0))
    return complement(root, torch.linalg.vector_norm(triangle, dim=0))


def complement(root: Tensor, sizes: Tensor) -> Tensor:
    """Return (k, k - r) N with Z'N = 0, found in parameters that are measured by the `sizes` of their columns."""
    sizes = torch.where(sizes > 0, sizes, torch.ones_like(sizes))
    scaled = root / sizes[:, None]
    left = torch.linalg.svd(scaled / torch.linalg.vector_norm(scaled, dim=0), full_matrices=True)[0]
    idle = left[:, root.shape[1] :]
    idle = torch.where(idle.abs() > _FAINT * idle.abs().amax(0), idle, torch.zeros_like(idle))
    return idle / sizes[:, None]


def by_equation(matrix: Tensor, equations: Sequence[Equation], single: Tensor) -> Tensor:
    """Return a block for each equation, `single` for a single parameter; the matrix itself where there are no equations."""
    blocks = [single if equation.constant else matrix for equation in equations] or [matrix]
    blocks_of: Tensor = torch.block_diag(*blocks)  # type: ignore[no-untyped-call]
    return blocks_of
