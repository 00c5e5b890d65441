"""The check loss of a quantile, and those of several quantiles of the same variable."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NoReturn

import numpy as np
import torch
from torch import Tensor

from betahat.errors import EstimationError
from betahat.objectives.base import LinearIndex
from betahat.objectives.density import Density
from betahat.objectives.dispersion import AtQuantile
from betahat.objectives.equation import Equation
from betahat.objectives.indices import LinearIndices
from betahat.objectives.support import Reals


@dataclass(frozen=True)
class Check(LinearIndex):
    """The loss rho(e) = e (q - 1{e < 0}) of an error e = y - eta, which is least at the quantile q of y.

    It has no second derivative; its expected loss has one, the density of y at the quantile, of which a row's share in a kernel estimate stands
    in its place.

    Attributes
    ----------
    q : float
        The quantile, between 0 and 1.
    density : Density or None
        The kernel estimate; None before there is a fit.
    rounding : float
        An error of this size or less is zero: one of the rows that the solution goes through. Like those below the quantile they count as
        not above it, as in statsmodels.

    References
    ----------
    Koenker and Bassett (1978), Econometrica 46(1). Powell (1991), Estimation of monotonic regression models under quantile restrictions.
    """

    q: float = 0.5
    density: Density | None = None
    rounding: float = 0.0

    dispersion = AtQuantile()
    support = Reals()

    @property
    def checks(self) -> tuple[Check, ...]:
        """Itself."""
        return (self,)

    def derivatives(self, bread: str) -> str:
        """Say how the information is found."""
        return "kernel estimate of the density at the quantile"

    def losses(self, output: Tensor, target: Tensor) -> Tensor:
        """Return (n,) the losses."""
        error = target - output
        return torch.maximum(self.q * error, (self.q - 1.0) * error)

    def constant(self, target: Tensor, precision: Tensor | None) -> None:
        """Return None."""
        return

    def residual(self, index: Tensor, target: Tensor) -> Tensor:
        """Return (n,) q above the quantile, q - 1 at it and below."""
        return self.q - (target - index <= self.rounding).to(index.dtype)

    def curvature(self, index: Tensor, target: Tensor) -> Tensor:
        """Return (n,) each row's share in the estimate of the density at the quantile."""
        if self.density is None:
            raise EstimationError(
                "The loss of a quantile has no curvature, and a kernel estimate of it needs the residuals of a fit; use QuantReg(...).fit(q)."
            )
        return self.density.shares(target - index)

    def start(self, target: Tensor, mean: Tensor) -> Tensor:
        """Return y."""
        return target

    def variance(self, index: Tensor) -> None:
        """Return None: nothing is said of it."""
        return

    def expected_curvature(self, output: Tensor) -> Tensor:
        """Refuse: the distribution of y is not known."""
        _no_distribution()

    def mean(self, output: Tensor) -> Tensor:
        """Return the output, the quantile of y."""
        return output

    def anscombe(self, value: Tensor) -> Tensor:
        """Refuse: nothing is said of the variance."""
        _no_distribution()

    def saturated(self, target: Tensor) -> Tensor:
        """Return zeros."""
        return torch.zeros_like(target)

    def draw(self, index: Tensor, spread: Tensor, uniform: Tensor) -> Tensor:
        """Refuse: the distribution of y is not known."""
        _no_distribution()

    def distribution(self, mean: np.ndarray, scale: float) -> Any:
        """Refuse: the distribution of y is not known."""
        _no_distribution()


@dataclass(frozen=True)
class Checks(LinearIndices):
    """The losses of several quantiles, each with an index of its own: the sum of what each is alone.

    Attributes
    ----------
    checks : tuple of Check
        (q,) the losses.
    """

    checks: tuple[Check, ...] = ()

    dispersion = AtQuantile()
    support = Reals()

    @property
    def responses(self) -> int:
        """How many quantiles there are."""
        return len(self.checks)

    def derivatives(self, bread: str) -> str:
        """Say how the information is found."""
        return "kernel estimate of the density at each quantile"

    def losses(self, output: Tensor, target: Tensor) -> Tensor:
        """Return (...,) the sums of the losses at (..., q) indices."""
        parts = [check.losses(index, target) for check, index in zip(self.checks, output.unbind(-1), strict=True)]
        return torch.stack(parts).sum(0)

    def constant(self, target: Tensor, precision: Tensor | None) -> None:
        """Return None."""
        return

    def residual(self, index: Tensor, target: Tensor, mean: Tensor) -> Tensor:
        """Return (..., q) each loss's residual."""
        pairs = zip(self.checks, index.unbind(-1), strict=True)
        return torch.stack([check.residual(own, target) for check, own in pairs], -1)

    def curvature(self, index: Tensor, target: Tensor, mean: Tensor) -> Tensor:
        """Return (..., q, q) each loss's curvature on the diagonal."""
        pairs = zip(self.checks, index.unbind(-1), strict=True)
        return torch.diag_embed(torch.stack([check.curvature(own, target) for check, own in pairs], -1))

    def expected_curvature(self, output: Tensor) -> Tensor:
        """Refuse: the distribution of y is not known."""
        _no_distribution()

    def mean(self, output: Tensor) -> Tensor:
        """Return (..., q) the quantiles."""
        return output

    def draw(self, index: Tensor, spread: Tensor, uniform: Tensor) -> Tensor:
        """Refuse: the distribution of y is not known."""
        _no_distribution()


def checks_of(checks: tuple[Check, ...]) -> Checks:
    """Return the losses of several quantiles, with names for their equations."""
    return Checks(equations=tuple(Equation(f"q={check.q:.10g}") for check in checks), checks=checks)


def _no_distribution() -> NoReturn:
    raise EstimationError(
        "A quantile regression says where one quantile of y is, and nothing else of its distribution; use fit(q=[0.1, 0.5, 0.9]) for several, or "
        "OLS or GLM for a model of the whole."
    )
