"""Triangular factors: the R of X = QR by blocks, its inverse, and when the matrix of products can be trusted instead."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

# u * kappa^2 = 1e-12 leaves eleven digits to R^-1 with a factor of ten to spare.
_GRAM_CONDITION = 1e4


def certified(scaled: Tensor) -> bool:
    """Tell whether the products of columns of unit length, (k, k), determine the inverse of R to eleven digits."""
    spectrum = torch.linalg.eigvalsh(scaled)
    return bool(spectrum[0] * _GRAM_CONDITION >= spectrum[-1])


def hopeless(lower: Tensor) -> bool:
    """Tell from the Cholesky factor, (k, k), that they cannot: the smallest eigenvalue is at most what is left of any column."""
    return bool(lower.diagonal().square().min() * _GRAM_CONDITION < 0.5)


def inverse_triangle(triangle: Tensor) -> Tensor:
    """Return the (k, k) inverse of an upper triangular matrix."""
    eye = torch.eye(len(triangle), dtype=triangle.dtype, device=triangle.device)
    inverse: Tensor = torch.linalg.solve_triangular(triangle, eye, upper=True)
    return inverse


def triangle_of(matrix: Tensor) -> Tensor:
    """Return the (min(m, k), k) R of an (m, k) matrix."""
    factor: Tensor = torch.linalg.qr(matrix, mode="r").R
    return factor


def joined_triangle(factors: Sequence[Tensor]) -> Tensor:
    """Return the R of all rows, given the R's of their blocks."""
    return factors[0] if len(factors) == 1 else triangle_of(torch.cat(list(factors)))
