"""Standard errors and intervals, and the factor through which linear functions of b keep their digits."""

from __future__ import annotations

import torch
from torch import Tensor

from betahat.data.container import to_tensor
from betahat.inference.distribution import Df, quantile

# Rounding leaves eigenvalues of either sign below 1e-13 of the largest, for the sizes that are fitted.
_ROUNDING = 1e-13


def square_root(matrix: Tensor, rounding: Tensor | None = None) -> Tensor | None:
    """Return F, (k, k), with F F' the matrix, `rounding`, (k, k), being nothing in it; None where it is not positive semi-definite.

    It is scaled to a unit diagonal first.
    """
    scale = matrix.diagonal().clamp_min(0.0)
    scale = (scale if rounding is None else torch.maximum(scale, rounding.diagonal())).sqrt()
    safe = torch.where(scale > 0, scale, torch.ones_like(scale))
    spectrum, vectors = torch.linalg.eigh(matrix / safe / safe[:, None])
    floor = _ROUNDING * len(matrix) * spectrum[-1].abs()
    if rounding is not None:
        floor = torch.maximum(floor, ((vectors.mT @ (rounding / safe / safe[:, None])) * vectors.mT).sum(1))
    if bool((spectrum < -floor).any()):
        return None
    held = torch.where(spectrum > floor, spectrum, torch.zeros_like(spectrum))
    factor: Tensor = safe[:, None] * vectors * held.sqrt()
    return factor


def covariance_factor(
    root: Tensor, core: Tensor | None, matrix: Tensor, rounding: Tensor | None = None
) -> Tensor | None:
    """Return F with F F' the covariance, Z C^(1/2) where its core C is known, else from the matrix; None of an indefinite one."""
    if core is None:
        return square_root(matrix)
    if core.ndim == 0:
        return root * core.sqrt()
    half = square_root(core, rounding)
    return None if half is None else root @ half


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
