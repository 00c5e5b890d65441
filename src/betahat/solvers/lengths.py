"""Lengths of rows of any size, whose squares would overflow above 1e154 and underflow below 1e-162."""

from __future__ import annotations

import torch
from torch import Tensor

# Outside these bounds, squares lose digits.
_SMALL, _LARGE = 1e-140, 1e140


def lengths(rows: Tensor) -> Tensor:
    """Return (m,) the lengths of (m, r) rows."""
    plain: Tensor = torch.linalg.vector_norm(rows, dim=1)
    if bool(((plain > _SMALL) & (plain < _LARGE)).all()):
        return plain
    scale = sizes_of(rows)
    scaled: Tensor = torch.linalg.vector_norm(rows / scale[:, None], dim=1) * scale
    return scaled


def unit_rows(rows: Tensor) -> Tensor:
    """Return (m, r) rows scaled to a size near one by powers of two, which change no digit."""
    return rows / sizes_of(rows)[:, None]


def sizes_of(rows: Tensor) -> Tensor:
    """Return (m,) powers of two near the largest number of each row, or one for a row of zeros."""
    largest = rows.abs().amax(1) if rows.shape[1] else rows.new_zeros(len(rows))
    usual = (largest > 0) & torch.isfinite(largest)
    powers: Tensor = torch.where(usual, largest / torch.frexp(largest).mantissa, 1.0)
    return powers
