"""What a fit by instruments knows beside a fit: how it was estimated, and from which triangle."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from betahat.saving.records import plain_record
from betahat.solvers.instruments import Estimated, InstrumentTriangle, k_class, liml_excess


class Estimating(ABC):
    """How estimates follow from a sample."""

    @property
    @abstractmethod
    def method(self) -> str:
        """What it is called."""


class KClass(Estimating, ABC):
    """Estimates that are functions of one triangle."""

    @abstractmethod
    def excess(self, factor: InstrumentTriangle, nobs: float | Tensor) -> Tensor:
        """Return (...) kappa - 1 of (...) samples of n rows."""

    def solve(self, factor: InstrumentTriangle, nobs: float | Tensor) -> Estimated:
        """Return the estimates of (...) samples of n rows."""
        return k_class(factor, self.excess(factor, nobs))


@dataclass(frozen=True)
class TwoStages(KClass):
    """Two-stage least squares."""

    @property
    def method(self) -> str:
        """Its name."""
        return "Two-Stage Least Squares"

    def excess(self, factor: InstrumentTriangle, nobs: float | Tensor) -> Tensor:
        """Return zeros."""
        return torch.zeros_like(factor.triangle[..., 0, 0])


@dataclass(frozen=True)
class LimitedInformation(KClass):
    """Limited information maximum likelihood, or any other kappa.

    Attributes
    ----------
    fuller : float
        Fuller's alpha: kappa is less by alpha / (n - L), L instruments and exogenous regressors.
    kappa : float or None
        kappa itself.
    """

    fuller: float = 0.0
    kappa: float | None = None

    @property
    def method(self) -> str:
        """Its name."""
        if self.kappa is not None:
            return f"k-Class ({self.kappa:g})"
        return f"Fuller's LIML ({self.fuller:g})" if self.fuller else "LIML"

    def excess(self, factor: InstrumentTriangle, nobs: float | Tensor) -> Tensor:
        """Return kappa - 1."""
        if self.kappa is not None:
            return torch.full_like(factor.triangle[..., 0, 0], self.kappa - 1.0)
        return liml_excess(factor) - self.fuller / (nobs - factor.known)


@dataclass(frozen=True, eq=False)
class Weighting(Estimating):
    """The generalized method of moments.

    Attributes
    ----------
    weights : str or Tensor
        "two-step", "iterated", "continuously-updated", "identity", or (L, L) a matrix.
    spread : callable or None
        An estimator whose core, of a fit with the instruments as scores' columns, is the covariance of the moments; None takes s^2 [X1, Z]'[X1, Z].
    center : bool
        Whether moments are taken about their mean.
    words : str
        What the covariance of the moments is called.
    """

    weights: str | Tensor
    spread: Callable[[Any], Any] | None = field(default=None, metadata={"stored": plain_record})
    center: bool = False
    words: str = "robust"

    @property
    def method(self) -> str:
        """Its name."""
        name = self.weights.capitalize() if isinstance(self.weights, str) else "One-Step"
        return f"{name} GMM"

    @property
    def efficient(self) -> bool:
        """Whether the weight is the inverse of the moments' covariance."""
        return isinstance(self.weights, str) and self.weights != "identity"


@dataclass(frozen=True, eq=False)
class Instruments:
    """What a fit by instruments is made of.

    Attributes
    ----------
    how : Estimating
        How it was estimated.
    factor : InstrumentTriangle
        R of the whitened [X1, Z, Y, y], of the columns that are used.
    kept : tuple of int
        The instruments among the given ones that have a part which the exogenous regressors and the instruments before them have not.
    excess : float
        kappa - 1 of the k-class.
    half : Tensor or None
        (L, L) H of moments with the weights R^-1 H'H R^-T; None for the k-class.
    """

    how: Estimating
    factor: InstrumentTriangle
    kept: tuple[int, ...]
    excess: float = 0.0
    half: Tensor | None = None
