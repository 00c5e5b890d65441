"""Memory of large tensors: NumPy asks the kernel for large pages, which cost a quarter of what torch's do when they are first written on."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

# So many numbers are four megabytes, from where on NumPy asks for large pages.
_LARGE = 2**19


def room_for(like: Tensor, rows: int, width: int) -> Tensor:
    """Return (rows, width) float64 numbers that are not set yet: of 168 MB, 18 ms for 68 until they are."""
    if like.device.type != "cpu" or rows * width < _LARGE:
        return torch.empty(rows, width, dtype=torch.float64, device=like.device)
    return torch.from_numpy(np.empty((rows, width)))


def copied(values: Tensor) -> Tensor:
    """Return a copy."""
    plain = values.device.type == "cpu" and values.dtype == torch.float64 and values.is_contiguous()
    if not plain or values.numel() < _LARGE:
        return values.clone()
    return torch.from_numpy(values.detach().numpy().copy())
