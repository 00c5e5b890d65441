"""d'V^-1 d, where V may be singular."""

from __future__ import annotations

import torch
from torch import Tensor

from betahat.errors import EstimationError, counted

# Of a covariance that is scaled to a unit diagonal, rounding leaves eigenvalues below this share of the largest.
_SINGULAR = 1e-12


def quadratic_form(gap: Tensor, variance: Tensor) -> float:
    """Return d'V^-1 d of (q,) d and (q, q) V; a sentence where V is singular."""
    scale, spectrum, vectors = check_regular(variance)
    turned = vectors.mT @ (gap / scale)
    return float((turned.square() / spectrum).sum())


def check_regular(variance: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Refuse a singular (q, q) V; return its (q,) standard errors, and the (q,) eigenvalues and (q, q) eigenvectors of the correlations."""
    scale = variance.diagonal().clamp_min(0.0).sqrt()
    safe = torch.where(scale > 0, scale, torch.ones_like(scale))
    spectrum, vectors = torch.linalg.eigh(variance / safe / safe[:, None])
    rank = int((spectrum > _SINGULAR * spectrum[-1].abs()).sum())
    if rank < len(scale):
        raise EstimationError(
            f"The covariance of {counted(len(scale), 'coefficient')} only has rank {rank}, so no joint test of them is defined; G clusters allow "
            "G - 1: use fewer instruments, or a covariance of more clusters."
        )
    return safe, spectrum, vectors
