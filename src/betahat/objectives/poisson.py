"""Poisson losses: counts, by the logarithm of their mean or by the mean itself."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from betahat.lazy import lazily
from betahat.objectives.base import LinearIndex, OutputLoss, row_sums
from betahat.objectives.dispersion import UNITY, Dispersion, Unity
from betahat.objectives.indices import LinearIndices
from betahat.objectives.quantiles import least_count
from betahat.objectives.support import Counts, NonNegative

if TYPE_CHECKING:
    from scipy import stats
else:
    stats = lazily("scipy.stats")


@dataclass(frozen=True)
class PoissonLog(LinearIndex):
    """The loss e^eta - y eta: minus the log-likelihood of counts with mean e^eta, less log y!.

    Attributes
    ----------
    dispersion : Dispersion
        What the loss is up to a factor.
    """

    dispersion: Dispersion = UNITY

    support = NonNegative()
    canonical = True

    def losses(self, output: Tensor, target: Tensor) -> Tensor:
        """Return (b,) e^eta - y eta."""
        return row_sums(torch.exp(output) - target * output)

    def constant(self, target: Tensor, precision: Tensor | None) -> Tensor:
        """Return (b,) w log y!."""
        constant = row_sums(torch.lgamma(target + 1.0))
        return constant if precision is None else precision * constant

    def residual(self, index: Tensor, target: Tensor) -> Tensor:
        """Return (n,) y - e^eta."""
        return target - torch.exp(index)

    def curvature(self, index: Tensor, target: Tensor) -> Tensor:
        """Return (n,) e^eta."""
        return torch.exp(index)

    def start(self, target: Tensor, mean: Tensor) -> Tensor:
        """Return log((y + mean) / 2)."""
        return torch.log(0.5 * target + 0.5 * mean)

    def expected_curvature(self, output: Tensor) -> Tensor:
        """Return e^eta: the link is canonical."""
        return torch.exp(output)

    def variance(self, index: Tensor) -> Tensor:
        """Return e^eta."""
        return torch.exp(index)

    def mean(self, output: Tensor) -> Tensor:
        """Return e^eta."""
        return torch.exp(output)

    def anscombe(self, value: Tensor) -> Tensor:
        """Return 3/2 y^(2/3)."""
        return 1.5 * value ** (2.0 / 3.0)

    def saturated(self, target: Tensor) -> Tensor:
        """Return (n,) y - y log y."""
        perfect: Tensor = target - torch.special.xlogy(target, target)
        return perfect

    def draw(self, index: Tensor, spread: Tensor, uniform: Tensor) -> Tensor:
        """Return (R, n) counts: Q(k + 1, mean) = P(y <= k)."""
        mean = self.mean(index)
        return least_count(lambda k: torch.special.gammaincc(k + 1.0, mean.expand_as(uniform)), mean, uniform)

    def distribution(self, mean: np.ndarray, scale: float) -> Any:
        """Return Poisson's distribution."""
        return stats.poisson(mean)


@dataclass(frozen=True)
class PoissonIndices(LinearIndices):
    """The loss of `PoissonLog` as one of several indices, for models that put it together with others."""

    dispersion = Unity()
    support = Counts()

    def losses(self, output: Tensor, target: Tensor) -> Tensor:
        """Return (...,) e^eta - y eta."""
        return torch.exp(output[..., 0]) - target * output[..., 0]

    def constant(self, target: Tensor, precision: Tensor | None) -> Tensor:
        """Return (b,) w log y!."""
        return PoissonLog().constant(target, precision)

    def residual(self, index: Tensor, target: Tensor, mean: Tensor) -> Tensor:
        """Return (..., 1) y - e^eta."""
        return (target - mean)[..., None]

    def curvature(self, index: Tensor, target: Tensor, mean: Tensor) -> Tensor:
        """Return (..., 1, 1) e^eta."""
        return mean[..., None, None]

    def expected_curvature(self, output: Tensor) -> Tensor:
        """Return (..., 1, 1) e^eta."""
        return torch.exp(output)[..., None]

    def mean(self, output: Tensor) -> Tensor:
        """Return (...,) e^eta."""
        return torch.exp(output[..., 0])

    def variance(self, output: Tensor) -> Tensor:
        """Return (...,) e^eta."""
        return torch.exp(output[..., 0])

    def draw(self, index: Tensor, spread: Tensor, uniform: Tensor) -> Tensor:
        """Return (R, n) counts."""
        return PoissonLog().draw(index[..., 0], spread, uniform)


@dataclass(frozen=True)
class PoissonMean(OutputLoss):
    """The loss mu - y log(mu + eps), that of ``nn.PoissonNLLLoss(log_input=False)``.

    Attributes
    ----------
    floor : float
        `eps` in torch.
    """

    floor: float = 1e-8

    dispersion = Unity()
    support = NonNegative()
    elementwise = True

    def losses(self, output: Tensor, target: Tensor) -> Tensor:
        """Return (b,) mu - y log(mu + eps)."""
        return row_sums(output - target * torch.log(output + self.floor))

    def constant(self, target: Tensor, precision: Tensor | None) -> Tensor:
        """Return (b,) w log y!."""
        constant = row_sums(torch.lgamma(target + 1.0))
        return constant if precision is None else precision * constant

    def expected_curvature(self, output: Tensor) -> Tensor:
        """Return mu / (mu + eps)^2."""
        return output / (output + self.floor).square()

    def mean(self, output: Tensor) -> Tensor:
        """Return mu."""
        return output
