"""Standard errors and intervals, and the factor through which linear functions of b keep their digits."""

from __future__ import annotations

import torch
from torch import Tensor

from betahat.data.container import to_tensor
from betahat.errors import EstimationError
from betahat.inference.distribution import Df, quantile

# Rounding leaves eigenvalues of either sign below 1e-13 of the largest, for the sizes that are fitted.
_ROUNDING = 1e-13


def square_root(matrix: Tensor) -> Tensor:
    """Return F, (k, k), with F F' the matrix; it is scaled to a unit diagonal first.

    Raises
    ------
    EstimationError
        The matrix is not positive semi-definite, and so no covariance.
    """
    scale = matrix.diagonal().clamp_min(0.0).sqrt()
    safe = torch.where(scale > 0, scale, torch.ones_like(scale))
    spectrum, vectors = torch.linalg.eigh(matrix / safe / safe[:, None])
    floor = _ROUNDING * len(matrix) * spectrum[-1].abs()
    if bool(spectrum[0] < -floor):
        raise EstimationError(
            f"The covariance is not positive semi-definite (an eigenvalue of its correlations is {float(spectrum[0]):.3g}), "
            "so tests on it are not defined; use another covariance."
        )
    held = torch.where(spectrum > floor, spectrum, torch.zeros_like(spectrum))
    factor: Tensor = safe[:, None] * vectors * held.sqrt()
    return factor


def covariance_factor(root: Tensor, core: Tensor | None, matrix: Tensor) -> Tensor:
    """Return F with F F' the covariance: Z C^(1/2) where its core C is known, else from the matrix."""
    if core is None:
        return square_root(matrix)
    return root * core.sqrt() if core.ndim == 0 else root @ square_root(core)


def standard_errors(covariance: Tensor) -> Tensor:
    """Return (k,) the square roots of a covariance's diagonal."""
    return covariance.diagonal().sqrt()


def interval(estimate: Tensor, error: Tensor, alpha: float, df: Df) -> Tensor:
    """Return (m, 2) estimate -/+ quantile * error.

    Parameters
    ----------
    estimate, error : Tensor
        (m,).
    alpha : float
        The interval covers with probability 1 - alpha.
    df : float, Tensor or None
        Degrees of freedom; None is the normal distribution.
    """
    margin = to_tensor(quantile(alpha, df), estimate) * error
    return torch.stack([estimate - margin, estimate + margin], 1)
