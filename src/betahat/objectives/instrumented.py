"""The dispersion of estimates by instruments: a squared error, of which moments with instruments, and not its own slope, are zero."""

from __future__ import annotations

from abc import ABC
from dataclasses import dataclass

import torch
from torch import Tensor

from betahat.objectives.dispersion import Misfit, NoLikelihood, ResidualVariance


class Instrumented(NoLikelihood, ABC):
    """What estimates by instruments share: residuals are those of least squares, and there is no likelihood."""

    method = "instruments"
    squares = True
    instrumented = True
    other_criterion = "test coefficients by wald_test, or overidentifying restrictions by sargan() or hansen_j()"

    def noise(self, loss: Tensor, nobs: float, width: int, misfit: Misfit) -> float:
        """Return s^2."""
        return ResidualVariance().noise(loss, nobs, width, misfit)


@dataclass(frozen=True)
class TwoStageVariance(Instrumented):
    """s^2 = e'e / (n - k) of two-stage least squares, whose scores are residuals times a projection of the regressors."""

    estimated = True
    classical = True

    def value(self, loss: Tensor, df: float, misfit: Misfit) -> Tensor:
        """Return () 2 loss / df."""
        return 2.0 * loss / df

    def test_df(self, df_resid: float) -> float:
        """Return n - k."""
        return df_resid


@dataclass(frozen=True)
class KClassVariance(Instrumented):
    """s^2 = e'e / (n - k) of the k-class, LIML among it."""

    estimated = True
    classical = True
    projects = False

    def value(self, loss: Tensor, df: float, misfit: Misfit) -> Tensor:
        """Return () 2 loss / df."""
        return 2.0 * loss / df

    def test_df(self, df_resid: float) -> float:
        """Return n - k."""
        return df_resid


@dataclass(frozen=True)
class BestWeights(Instrumented):
    """One: the weights are the inverse of the moments' covariance, so that the bread is that of the estimate."""

    estimated = False
    classical = True
    projects = False

    def value(self, loss: Tensor, df: float, misfit: Misfit) -> Tensor:
        """Return () one."""
        return torch.ones_like(loss)


@dataclass(frozen=True)
class OtherWeights(Instrumented):
    """None: the weights of the moments are not the inverse of their covariance."""

    estimated = False
    projects = False
    unknown = "The moments are not weighted by the inverse of their covariance"
    other_covariance = "use 'HC0' or another sandwich, or fit with weights='two-step'"

    def value(self, loss: Tensor, df: float, misfit: Misfit) -> Tensor:
        """Return () one."""
        return torch.ones_like(loss)
