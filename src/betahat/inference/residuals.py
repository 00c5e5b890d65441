"""Fitted values and residuals of a linear fit, one for each row."""

from __future__ import annotations

import torch
from torch import Tensor

from betahat.calculus.index import index_rows
from betahat.calculus.rows import Rows
from betahat.fits.fit import Fit
from betahat.fits.remembered import of_fit


@of_fit
def whitened_residuals(fit: Fit) -> Tensor:
    """Return (n,) sqrt(w) (y - x'b)."""
    return fit.map_rows(whitened)


@of_fit
def plain_residuals(fit: Fit) -> Tensor:
    """Return (n,) y - x'b."""
    return fit.map_rows(lambda rows: index_rows(rows).y - index_rows(rows).index)


@of_fit
def fitted_values(fit: Fit) -> Tensor:
    """Return (n,) x'b."""
    return fit.map_rows(lambda rows: index_rows(rows).index)


def whitened(rows: Rows) -> Tensor:
    """Return (b,) sqrt(w) (y - x'b) of a block."""
    index = index_rows(rows)
    error = index.y - index.index
    return error if index.weights is None else error * torch.sqrt(index.weights)
