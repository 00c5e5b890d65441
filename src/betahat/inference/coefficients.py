"""Intervals of estimates."""

from __future__ import annotations

import torch
from torch import Tensor

from betahat.data.container import to_tensor
from betahat.inference.distribution import Df, quantile


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
