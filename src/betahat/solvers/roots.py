"""The symmetric root of a covariance, whatever the units of its rows."""

from __future__ import annotations

import torch
from torch import Tensor

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
