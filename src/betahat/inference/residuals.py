"""Fitted values and residuals of a linear fit, one for each row."""

from __future__ import annotations

import torch
from torch import Tensor

from betahat.fit import Fit


def whitened_residuals(fit: Fit) -> Tensor:
    """Return (n,) sqrt(w) (y - x'b)."""
    return fit.map_rows(lambda rows: _whiten(rows.y - rows.index, rows.weights))


def plain_residuals(fit: Fit) -> Tensor:
    """Return (n,) y - x'b."""
    return fit.map_rows(lambda rows: rows.y - rows.index)


def fitted_values(fit: Fit) -> Tensor:
    """Return (n,) x'b."""
    return fit.map_rows(lambda rows: rows.index)


def _whiten(values: Tensor, weights: Tensor | None) -> Tensor:
    return values if weights is None else values * torch.sqrt(weights)
