"""Confidence intervals of estimates."""

from __future__ import annotations

import torch
from torch import Tensor

from betahat.data.container import to_tensor
from betahat.inference.distribution import Df, quantile


def interval(estimate: Tensor, error: Tensor, alpha: float, df: Df) -> Tensor:
    """Return (m, 2) intervals of coverage 1 - alpha around (m,) estimates with (m,) standard errors; a df of None is the normal distribution."""
    margin = to_tensor(quantile(alpha, df), estimate) * error
    return torch.stack([estimate - margin, estimate + margin], 1)
