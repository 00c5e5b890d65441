"""What losses of an error y - eta share that are no distribution's, as those of robust regression."""

from __future__ import annotations

from abc import ABC
from typing import Any

import numpy as np
import torch
from torch import Tensor

from betahat.objectives.base import LinearIndex, unknown_distribution
from betahat.objectives.support import Reals


class ErrorLoss(LinearIndex, ABC):
    """A loss of an error y - eta alone, which says where y lies and not how it is distributed."""

    support = Reals()

    def constant(self, target: Tensor, precision: Tensor | None) -> None:
        """Return None."""
        return

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
