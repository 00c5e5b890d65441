"""Huber's loss, the robust regression of M-estimation."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from betahat.objectives.base import LinearIndex, row_sums, unknown_distribution
from betahat.objectives.dispersion import Undefined
from betahat.objectives.support import Reals


@dataclass(frozen=True)
class Huber(LinearIndex):
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
    support = Reals()

    def losses(self, output: Tensor, target: Tensor) -> Tensor:
        """Return (b,) the losses."""
        size = (target - output).abs()
        return row_sums(torch.where(size <= self.delta, 0.5 * size.square(), self.delta * (size - 0.5 * self.delta)))

    def constant(self, target: Tensor, precision: Tensor | None) -> None:
        """Return None."""
        return

    def residual(self, index: Tensor, target: Tensor) -> Tensor:
        """Return (n,) the error, held to -delta and delta."""
        return (target - index).clamp(-self.delta, self.delta)

    def curvature(self, index: Tensor, target: Tensor) -> Tensor:
        """Return (n,) 1 up to delta, 0 beyond."""
        return ((target - index).abs() <= self.delta).to(index.dtype)

    def start(self, target: Tensor, mean: Tensor) -> Tensor:
        """Return y."""
        return target

    def variance(self, index: Tensor) -> None:
        """Return None: it is the same for every row."""
        return

    def expected_curvature(self, output: Tensor) -> Tensor:
        """Refuse: the distribution of y is not known."""
        unknown_distribution()

    def mean(self, output: Tensor) -> Tensor:
        """Return the output, the centre of y."""
        return output

    def anscombe(self, value: Tensor) -> Tensor:
        """Refuse: the loss is no distribution's."""
        unknown_distribution()

    def saturated(self, target: Tensor) -> Tensor:
        """Return zeros."""
        return torch.zeros_like(target)

    def draw(self, index: Tensor, spread: Tensor, uniform: Tensor) -> Tensor:
        """Refuse: the loss is no distribution's."""
        unknown_distribution()

    def distribution(self, mean: np.ndarray, scale: float) -> Any:
        """Refuse: the loss is no distribution's."""
        unknown_distribution()
