"""Bernoulli losses: a yes and no, or a share, by its logit, its probit or its probability."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import softplus

from betahat.lazy import lazily
from betahat.objectives.base import LinearIndex, OutputLoss, row_sums
from betahat.objectives.dispersion import UNITY, Dispersion, Unity
from betahat.objectives.support import UnitInterval, ZeroOrOne

if TYPE_CHECKING:
    from scipy import special, stats
else:
    special = lazily("scipy.special")
    stats = lazily("scipy.stats")

_SEPARATION = (
    "the data are separated, that is, some rows are predicted perfectly. Leave such columns out, merge categories, or penalise with "
    "bh.TorchModel(..., penalty=...)."
)


@dataclass(frozen=True)
class Logistic(LinearIndex):
    """The loss log(1 + e^eta) - y eta: minus the log-likelihood of P(y = 1) = 1 / (1 + e^-eta).

    Attributes
    ----------
    dispersion : Dispersion
        What the loss is up to a factor.
    """

    dispersion: Dispersion = UNITY

    separation = _SEPARATION
    support = UnitInterval()
    canonical = True

    def losses(self, output: Tensor, target: Tensor) -> Tensor:
        """Return (b,) log(1 + e^eta) - y eta."""
        # torch's softplus is linear from its threshold; from 40 on log(1 + e^-eta) is below the last digit.
        return row_sums(softplus(output, threshold=40.0) - target * output)

    def constant(self, target: Tensor, precision: Tensor | None) -> None:
        """Return None."""
        return

    def residual(self, index: Tensor, target: Tensor) -> Tensor:
        """Return (n,) y - p."""
        return target - torch.sigmoid(index)

    def curvature(self, index: Tensor, target: Tensor) -> Tensor:
        """Return (n,) p (1 - p)."""
        return self.expected_curvature(index)

    def expected_curvature(self, output: Tensor) -> Tensor:
        """Return p (1 - p): the link is canonical."""
        return torch.sigmoid(output) * torch.sigmoid(-output)  # 1 - p has no digit left where p rounds to 1

    def start(self, target: Tensor, mean: Tensor) -> Tensor:
        """Return the logit of (y + mean) / 2."""
        return torch.logit(0.5 * target + 0.5 * mean)

    def variance(self, index: Tensor) -> Tensor:
        """Return p (1 - p)."""
        return self.expected_curvature(index)

    def mean(self, output: Tensor) -> Tensor:
        """Return p."""
        return torch.sigmoid(output)

    def anscombe(self, value: Tensor) -> Tensor:
        """Return the incomplete beta function B(y; 2/3, 2/3)."""
        return incomplete_beta(value)

    def saturated(self, target: Tensor) -> Tensor:
        """Return (n,) the entropy of a share; zero of 0 and 1."""
        entropy: Tensor = torch.special.xlogy(target, target) + torch.special.xlog1py(1.0 - target, -target)
        return -entropy

    def draw(self, index: Tensor, spread: Tensor, uniform: Tensor) -> Tensor:
        """Return (R, n) ones where the uniform number is below P(y = 1)."""
        return (uniform < self.mean(index)).to(torch.float64)

    def distribution(self, mean: np.ndarray, scale: float) -> Any:
        """Return Bernoulli's distribution."""
        return stats.bernoulli(mean)


@dataclass(frozen=True)
class Normit(LinearIndex):
    """Minus the log-likelihood of P(y = 1) = Phi(eta), Phi the normal distribution: the probit.

    With q = 2y - 1 the loss is -log Phi(q eta), and the generalized residual q phi(eta) / Phi(q eta).

    Attributes
    ----------
    dispersion : Dispersion
        What the loss is up to a factor.
    """

    dispersion: Dispersion = UNITY

    separation = _SEPARATION
    support = ZeroOrOne()

    def losses(self, output: Tensor, target: Tensor) -> Tensor:
        """Return (b,) -log Phi(q eta)."""
        return row_sums(-torch.special.log_ndtr((2.0 * target - 1.0) * output))

    def constant(self, target: Tensor, precision: Tensor | None) -> None:
        """Return None."""
        return

    def residual(self, index: Tensor, target: Tensor) -> Tensor:
        """Return (n,) q phi(eta) / Phi(q eta)."""
        sign = 2.0 * target - 1.0
        return sign * _hazard(sign * index)

    def curvature(self, index: Tensor, target: Tensor) -> Tensor:
        """Return (n,) r (r + eta), r the generalized residual."""
        residual = self.residual(index, target)
        return residual * (residual + index)

    def expected_curvature(self, output: Tensor) -> Tensor:
        """Return phi(eta)^2 / (Phi(eta) Phi(-eta))."""
        return _hazard(output) * _hazard(-output)

    def start(self, target: Tensor, mean: Tensor) -> Tensor:
        """Return the probit of (y + mean) / 2."""
        probit: Tensor = torch.special.ndtri(0.5 * target + 0.5 * mean)
        return probit

    def variance(self, index: Tensor) -> Tensor:
        """Return Phi(eta) Phi(-eta)."""
        return self.mean(index) * self.mean(-index)

    def mean(self, output: Tensor) -> Tensor:
        """Return Phi(eta)."""
        return 0.5 * torch.erfc(-output / math.sqrt(2.0))  # torch.special.ndtr has no digit left at -8

    def anscombe(self, value: Tensor) -> Tensor:
        """Return the incomplete beta function B(y; 2/3, 2/3)."""
        return incomplete_beta(value)

    def saturated(self, target: Tensor) -> Tensor:
        """Return zeros."""
        return torch.zeros_like(target)

    def draw(self, index: Tensor, spread: Tensor, uniform: Tensor) -> Tensor:
        """Return (R, n) ones where the uniform number is below P(y = 1)."""
        return (uniform < self.mean(index)).to(torch.float64)

    def distribution(self, mean: np.ndarray, scale: float) -> Any:
        """Return Bernoulli's distribution."""
        return stats.bernoulli(mean)


@dataclass(frozen=True)
class Probability(OutputLoss):
    """The loss -y log p - (1 - y) log(1 - p) of a probability p, that of ``nn.BCELoss``."""

    dispersion = Unity()
    support = UnitInterval()
    elementwise = True

    def losses(self, output: Tensor, target: Tensor) -> Tensor:
        """Return (b,) the losses."""
        return row_sums(-torch.special.xlogy(target, output) - torch.special.xlog1py(1.0 - target, -output))

    def constant(self, target: Tensor, precision: Tensor | None) -> None:
        """Return None."""
        return

    def expected_curvature(self, output: Tensor) -> Tensor:
        """Return 1 / (p (1 - p))."""
        return (output * (1.0 - output)).reciprocal()

    def mean(self, output: Tensor) -> Tensor:
        """Return p."""
        return output


def _hazard(z: Tensor) -> Tensor:
    """Return phi(z) / Phi(z), by logarithms, so that neither vanishes before the other."""
    return torch.exp(-0.5 * z.square() - 0.5 * math.log(2.0 * math.pi) - torch.special.log_ndtr(z))


def incomplete_beta(value: Tensor) -> Tensor:
    """Return B(y; 2/3, 2/3), for which torch has no function."""
    third = 2.0 / 3.0
    found = special.betainc(third, third, value.detach().cpu().numpy()) * special.beta(third, third)
    return torch.as_tensor(found).to(value)
