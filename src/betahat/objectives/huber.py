"""Huber's loss, the robust regression of M-estimation."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from betahat.objectives.base import row_sums
from betahat.objectives.dispersion import Undefined
from betahat.objectives.errors_alone import ErrorLoss


@dataclass(frozen=True)
class Huber(ErrorLoss):
    """The loss e^2 / 2 of an error e = y - eta up to `delta`, and delta (|e| - delta / 2) beyond.

    ``nn.HuberLoss``; ``nn.SmoothL1Loss`` is the same divided by its `beta`, which no covariance feels.

    Attributes
    ----------
    delta : float
        In units of y.

    References
    ----------
    Huber (1964), Ann. Math. Stat. 35(1).
    """

    delta: float = 1.0

    dispersion = Undefined()

    def losses(self, output: Tensor, target: Tensor) -> Tensor:
        """Return (b,) the losses."""
        size = (target - output).abs()
        return row_sums(torch.where(size <= self.delta, 0.5 * size.square(), self.delta * (size - 0.5 * self.delta)))

    def residual(self, index: Tensor, target: Tensor) -> Tensor:
        """Return (n,) the error, held to -delta and delta."""
        return (target - index).clamp(-self.delta, self.delta)

    def curvature(self, index: Tensor, target: Tensor) -> Tensor:
        """Return (n,) 1 up to delta, 0 beyond."""
        return ((target - index).abs() <= self.delta).to(index.dtype)
