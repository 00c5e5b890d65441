"""Least squares: the Gaussian log-likelihood with its variance concentrated out."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from betahat.objectives.base import LinearIndex, log_weights


@dataclass(frozen=True)
class Gaussian(LinearIndex):
    """The loss (y - eta)^2 / 2.

    The dispersion is s^2 = RSS / (n - k), RSS being twice the summed loss. The log-likelihood has its
    variance at the maximum, RSS / n, as in statsmodels and R's `logLik`.
    """

    def loss(self, index: Tensor, target: Tensor, weights: Tensor | None) -> Tensor:
        """Return () the sum of w (y - eta)^2 / 2."""
        residual = target - index
        return 0.5 * (residual @ (residual if weights is None else weights * residual))

    def residual(self, index: Tensor, target: Tensor) -> Tensor:
        """Return (n,) y - eta."""
        return target - index

    def curvature(self, index: Tensor, target: Tensor) -> None:
        """Return None: the curvature is one."""
        return

    def dispersion(self, loss: Tensor, df_resid: float) -> Tensor:
        """Return s^2 = RSS / (n - k)."""
        return 2.0 * loss / df_resid

    def log_likelihood(self, loss: Tensor, nobs: int, weights: Tensor | None) -> Tensor:
        """Return -n/2 (log(2 pi RSS / n) + 1) + sum(log w) / 2."""
        return -0.5 * nobs * (torch.log(2.0 * math.pi * 2.0 * loss / nobs) + 1.0) + log_weights(weights)
