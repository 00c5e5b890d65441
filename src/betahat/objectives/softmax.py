"""Categorical losses: one of several classes, by its logits or by its log-probabilities."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from betahat.objectives.base import OutputLoss, row_sums
from betahat.objectives.dispersion import Unity


@dataclass(frozen=True)
class Softmax(OutputLoss):
    """The loss log(sum of e^eta) - eta_y of (b, J) logits: multinomial logit, ``nn.CrossEntropyLoss``.

    Targets are (b,) classes 0, 1, ..., or (b, J) probabilities.
    """

    dispersion = Unity()
    support = None
    elementwise = False

    def losses(self, output: Tensor, target: Tensor) -> Tensor:
        """Return (b,) the losses."""
        return torch.logsumexp(output, 1) - (shares(output, target) * output).sum(1)

    def constant(self, target: Tensor, precision: Tensor | None) -> None:
        """Return None."""
        return

    def draw(self, index: Tensor, spread: Tensor, uniform: Tensor) -> Tensor:
        """Return (R, n) classes, of (n, J) logits and (R, n) uniform numbers."""
        bounds = torch.softmax(index, 1).cumsum(1)[:, :-1]
        classes: Tensor = (uniform[:, :, None] > bounds).sum(2)
        return classes

    def residual(self, output: Tensor, target: Tensor) -> Tensor:
        """Return (b, J) indicators less probabilities."""
        return shares(output, target) - torch.softmax(output, 1)

    def expected_curvature(self, output: Tensor) -> Tensor:
        """Return (b, J, J) diag(p) - p p'."""
        mean = torch.softmax(output, 1)
        return torch.diag_embed(mean) - mean[:, :, None] * mean[:, None, :]

    def mean(self, output: Tensor) -> Tensor:
        """Return (b, J) probabilities."""
        return torch.softmax(output, 1)


@dataclass(frozen=True)
class LogProbabilities(OutputLoss):
    """The loss -eta_y of (b, J) log-probabilities, that of ``nn.NLLLoss``."""

    dispersion = Unity()
    support = None
    elementwise = False

    def losses(self, output: Tensor, target: Tensor) -> Tensor:
        """Return (b,) the losses."""
        return row_sums(-shares(output, target) * output)

    def constant(self, target: Tensor, precision: Tensor | None) -> None:
        """Return None."""
        return

    def expected_curvature(self, output: Tensor) -> Tensor:
        """Return (b, J) probabilities: E(s s') by Bartlett's identity, since the loss itself is linear."""
        return torch.exp(output)

    def mean(self, output: Tensor) -> Tensor:
        """Return (b, J) probabilities."""
        return torch.exp(output)


def shares(output: Tensor, target: Tensor) -> Tensor:
    """Return (b, J) indicators of classes, or the probabilities that were given."""
    if target.ndim == output.ndim:
        return target
    classes = torch.arange(output.shape[1], device=output.device)  # one_hot looks at values, which vmap forbids
    return (target.long()[:, None] == classes).to(output.dtype)
