"""Categorical losses: one of several classes, by its logits or by its log-probabilities."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from betahat.objectives.base import OutputLoss, row_sums
from betahat.objectives.dispersion import Unity
from betahat.objectives.indices import LinearIndices


@dataclass(frozen=True)
class Softmax(OutputLoss):
    """The loss log(sum of e^eta) - eta_y of (b, J, ...) logits, summed over all positions of a row: multinomial logit, ``nn.CrossEntropyLoss``.

    Targets are (b, ...) classes 0, 1, ..., or (b, J, ...) probabilities.

    Attributes
    ----------
    ignored : int or None
        The class of positions that are left out; None is none.
    """

    ignored: int | None = None

    dispersion = Unity()
    support = None
    elementwise = False
    positions = True

    def losses(self, output: Tensor, target: Tensor) -> Tensor:
        """Return (b,) the losses."""
        losses = torch.logsumexp(output, 1) - (shares(output, target) * output).sum(1)
        return row_sums(losses if self.ignored is None else losses * (target != self.ignored))

    def constant(self, target: Tensor, precision: Tensor | None) -> None:
        """Return None."""
        return

    def expected_curvature(self, output: Tensor) -> Tensor:
        """Return (b, J, J) diag(p) - p p', and (b, J m, J m) blocks of it for m positions, in the order of the logits."""
        mean = torch.softmax(output, 1)
        if output.ndim == 2:
            return torch.diag_embed(mean) - mean[:, :, None] * mean[:, None, :]
        mean = mean.flatten(2)
        count = mean.shape[1] * mean.shape[2]
        apart = torch.eye(mean.shape[2]).to(mean)
        products = torch.einsum("bim,bjm,mn->bimjn", mean, mean, apart).reshape(-1, count, count)
        return torch.diag_embed(mean.flatten(1)) - products

    def taken(self, target: Tensor) -> Tensor | None:
        """Return (b, 1, ...) which positions are not left out."""
        return None if self.ignored is None else (target != self.ignored)[:, None]

    def mean(self, output: Tensor) -> Tensor:
        """Return (b, J, ...) probabilities."""
        return torch.softmax(output, 1)


@dataclass(frozen=True)
class MultinomialLogit(LinearIndices):
    """The loss log(1 + sum of e^eta) - eta_y of the indices of all classes but the first, whose index is zero: multinomial logit.

    Targets are classes 0, 1, ..., q.
    """

    dispersion = Unity()
    support = None

    def losses(self, output: Tensor, target: Tensor) -> Tensor:
        """Return (...,) the losses."""
        every = _with_first(output)
        return torch.logsumexp(every, -2) - torch.gather(every, -2, target.long()[..., None, :])[..., 0, :]

    def constant(self, target: Tensor, precision: Tensor | None) -> None:
        """Return None."""
        return

    def residual(self, index: Tensor, target: Tensor, mean: Tensor) -> Tensor:
        """Return (..., q) indicators less probabilities."""
        classes = torch.arange(1, index.shape[-1] + 1, device=index.device)[:, None]
        return (target.long()[..., None, :] == classes).to(index).mT - mean[..., 1:]

    def curvature(self, index: Tensor, target: Tensor, mean: Tensor) -> Tensor:
        """Return (..., q, q) diag(p) - p p', which does not depend on y."""
        free = mean[..., 1:]
        return torch.diag_embed(free) - free[..., :, None] * free[..., None, :]

    def expected_curvature(self, output: Tensor) -> Tensor:
        """Return (..., q, q) the same."""
        return self.curvature(output, output[..., 0], self.mean(output))

    def mean(self, output: Tensor) -> Tensor:
        """Return (..., q + 1) probabilities, those of the first class first."""
        return torch.softmax(_with_first(output), -2).mT

    def shown(self, index: Tensor) -> Tensor:
        """Return (m, q + 1) indices, zeros for the first class."""
        return torch.nn.functional.pad(index, (1, 0))

    def draw(self, index: Tensor, spread: Tensor, uniform: Tensor) -> Tensor:
        """Return (R, n) classes."""
        bounds = self.mean(index).cumsum(1)[:, :-1]
        classes: Tensor = (uniform[:, :, None] > bounds).sum(2)
        return classes


def _with_first(index: Tensor) -> Tensor:
    """Return (..., q + 1, n) the indices of (..., n, q), zero first; softmax along a last dimension of a few takes seven times as long."""
    return torch.nn.functional.pad(index.mT, (0, 0, 1, 0))


@dataclass(frozen=True)
class LogProbabilities(OutputLoss):
    """The loss -eta_y of (b, J, ...) log-probabilities, summed over all positions of a row, that of ``nn.NLLLoss``.

    Attributes
    ----------
    ignored : int or None
        As in `Softmax`.
    """

    ignored: int | None = None

    dispersion = Unity()
    support = None
    elementwise = False
    positions = True

    def losses(self, output: Tensor, target: Tensor) -> Tensor:
        """Return (b,) the losses."""
        return row_sums(-shares(output, target) * output)

    def constant(self, target: Tensor, precision: Tensor | None) -> None:
        """Return None."""
        return

    def expected_curvature(self, output: Tensor) -> Tensor:
        """Return (b, J, ...) probabilities: E(s s') by Bartlett's identity, since the loss itself is linear."""
        return torch.exp(output)

    def taken(self, target: Tensor) -> Tensor | None:
        """Return (b, 1, ...) which positions are not left out."""
        return None if self.ignored is None else (target != self.ignored)[:, None]

    def mean(self, output: Tensor) -> Tensor:
        """Return (b, J, ...) probabilities."""
        return torch.exp(output)


def shares(output: Tensor, target: Tensor) -> Tensor:
    """Return (b, J, ...) indicators of classes, or the probabilities that were given."""
    if target.ndim == output.ndim:
        return target
    classes = torch.arange(output.shape[1], device=output.device)  # one_hot looks at values, which vmap forbids
    return (target.long()[:, None] == classes.view(-1, *[1] * (target.ndim - 1))).to(output.dtype)
