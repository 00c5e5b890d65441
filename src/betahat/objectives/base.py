"""What an objective is: the loss of one row, its derivatives, and its rule for the dispersion."""

from __future__ import annotations

from abc import ABC, abstractmethod

import torch
from torch import Tensor


class LinearIndex(ABC):
    """A loss l(eta, y) that meets the parameters only through the linear index eta = x'b.

    With it go scores -l' x, information sum of l'' x x' and leverage l'' x'A^-1 x, so that a subclass
    states l, -l' and l'', its dispersion and its likelihood, and nothing else.
    """

    @abstractmethod
    def loss(self, index: Tensor, target: Tensor, weights: Tensor | None) -> Tensor:
        """Return () the sum of w l(eta, y); without weights w is one."""

    @abstractmethod
    def residual(self, index: Tensor, target: Tensor) -> Tensor:
        """Return (n,) -dl/deta, the generalized residual (Gourieroux, Monfort, Renault and Trognon 1987)."""

    @abstractmethod
    def curvature(self, index: Tensor, target: Tensor) -> Tensor | None:
        """Return (n,) d2l/deta2; None means one, for every row."""

    @abstractmethod
    def dispersion(self, loss: Tensor, df_resid: float) -> Tensor:
        """Return the factor of the classical covariance, from the sum of the losses."""

    @abstractmethod
    def log_likelihood(self, loss: Tensor, nobs: int, weights: Tensor | None) -> Tensor:
        """Return the log-likelihood at the optimum, from the sum of the losses."""


def log_weights(weights: Tensor | None) -> Tensor | float:
    """Return sum(log w) / 2, the Jacobian of weighting; 0 without weights."""
    return 0.0 if weights is None else 0.5 * torch.log(weights.to(torch.float64)).sum()
