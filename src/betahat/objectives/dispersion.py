"""What a summed loss is up to a factor, the dispersion phi: its value, its degrees of freedom, and the likelihood that goes with it.

Minus the log-likelihood is loss / phi + c(y, phi). The classical covariance is phi A^-1, A the Hessian of the loss.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from betahat.errors import EstimationError

# Nothing is divided by less.
_LEAST = 1e-300


@dataclass(frozen=True, eq=False)
class Misfit:
    """Two measures of how far the rows are from their means, each a pass over the data.

    Attributes
    ----------
    pearson : callable
        Returns () Pearson's statistic, the sum of w (y - mu)^2 / V(mu).
    deviance : callable
        Returns () the deviance, twice the loss beyond that of perfect fits.
    """

    pearson: Callable[[], Tensor]
    deviance: Callable[[], Tensor]


class Dispersion(ABC):
    """The factor phi of a loss.

    Attributes
    ----------
    method : str
        What the estimation is called.
    likelihood : bool
        Whether the loss over phi is minus a log-likelihood, up to a constant.
    squares : bool
        Whether the loss is half a squared error, so that its sum is half of RSS.
    estimated : bool
        Whether phi is a number that the data tell, an error's variance.
    drawn : bool
        Whether the distribution of y has this phi, so that it can be drawn from.
    concentrated : bool
        Whether the log-likelihood at any parameters has the phi that maximises it there.
    of_errors : bool
        Whether the loss is of an error over its scale, which every covariance takes as given: that of robust regression.
    instrumented : bool
        Whether the estimate makes moments of instruments zero, or nearly, so that a refit is one of all its stages.
    projects : bool
        Whether scores are residuals times a projection of the columns, so that clusters have hat matrices.
    unknown : str
        Why there is no classical covariance, where there is none.
    assumption : str
        What the classical covariance takes for granted.
    other_covariance, other_criterion : str
        What to do where there is no likelihood, and so no classical covariance and no information criterion.
    """

    method: ClassVar[str]
    likelihood: ClassVar[bool]
    squares: ClassVar[bool]
    estimated: ClassVar[bool]
    drawn: ClassVar[bool] = True
    concentrated: ClassVar[bool] = False
    of_errors: ClassVar[bool] = False
    instrumented: ClassVar[bool] = False
    projects: ClassVar[bool] = True
    unknown: ClassVar[str] = "The loss is not known to be a likelihood"
    assumption: ClassVar[str] = "the covariance matrix of the errors is correctly specified"
    other_covariance: ClassVar[str] = (
        "use 'HC0' or another sandwich, or pass likelihood=True to the model if the loss is minus a log-density"
    )
    other_criterion: ClassVar[str] = "pass likelihood=True to the model if it is minus a log-density"

    @property
    def classical(self) -> bool:
        """Whether phi A^-1 is a covariance: that of a likelihood, or of moments that have their best weights."""
        return self.likelihood

    @abstractmethod
    def value(self, loss: Tensor, df: float, misfit: Misfit) -> Tensor:
        """Return () phi, of the () summed loss and residual degrees of freedom."""

    @abstractmethod
    def noise(self, loss: Tensor, nobs: float, width: int, misfit: Misfit) -> float:
        """Return what a squared distance from the optimum is measured in: about phi, of n numbers and k parameters."""

    def within(self, loss: Tensor, nobs: float, df: float, misfit: Misfit) -> Tensor:
        """Return () the phi at which the log-likelihood is taken, and its derivatives."""
        return self.value(loss, df, misfit)

    def within_other(self, loss: Tensor, nobs: float, df: float, misfit: Misfit) -> Tensor:
        """Return () the phi at which the log-likelihood is taken at other parameters than the optimum, or of a constant alone."""
        return self.within(loss, nobs, df, misfit)

    def log_likelihood(
        self, loss: Tensor, phi: Tensor, nobs: float, constant: Callable[[], Tensor], log_weights: Callable[[], Tensor]
    ) -> Tensor:
        """Return () the log-likelihood at phi, `constant` being the () sum of c(y, phi / w) and `log_weights` that of log w."""
        return -(loss / phi + constant())

    def test_df(self, df_resid: float) -> float | None:
        """Return the degrees of freedom of classical t tests; None for the normal distribution."""
        return None


@dataclass(frozen=True)
class ResidualVariance(Dispersion):
    """s^2 = RSS / (n - k) of least squares; the log-likelihood is Gaussian, with its variance at the maximum, RSS / n."""

    method = "least squares"
    likelihood = True
    squares = True
    estimated = True
    concentrated = True

    def value(self, loss: Tensor, df: float, misfit: Misfit) -> Tensor:
        """Return () 2 loss / df."""
        return 2.0 * loss / df

    def noise(self, loss: Tensor, nobs: float, width: int, misfit: Misfit) -> float:
        """Return s^2."""
        return max(float(2.0 * loss / max(nobs - width, 1.0)), _LEAST)

    def within(self, loss: Tensor, nobs: float, df: float, misfit: Misfit) -> Tensor:
        """Return () RSS / n."""
        return 2.0 * loss / nobs

    def log_likelihood(
        self, loss: Tensor, phi: Tensor, nobs: float, constant: Callable[[], Tensor], log_weights: Callable[[], Tensor]
    ) -> Tensor:
        """Return () -n/2 log(2 pi phi) - RSS / (2 phi) + sum(log w) / 2, as in statsmodels and R's `logLik`."""
        return -0.5 * nobs * torch.log(2.0 * math.pi * phi) - loss / phi + 0.5 * log_weights()

    def test_df(self, df_resid: float) -> float:
        """Return n - k."""
        return df_resid


@dataclass(frozen=True)
class Unity(Dispersion):
    """One: the loss is minus a log-likelihood."""

    method = "maximum likelihood"
    likelihood = True
    squares = False
    estimated = False

    def value(self, loss: Tensor, df: float, misfit: Misfit) -> Tensor:
        """Return () one."""
        return torch.ones_like(loss)

    def noise(self, loss: Tensor, nobs: float, width: int, misfit: Misfit) -> float:
        """Return one."""
        return 1.0


class FamilyVariance(Dispersion, ABC):
    """phi of an exponential family; where the optimum is does not depend on how it is found, so that distances are measured by Pearson's."""

    method = "maximum likelihood"
    likelihood = True
    squares = False
    estimated = True

    def noise(self, loss: Tensor, nobs: float, width: int, misfit: Misfit) -> float:
        """Return phi by Pearson's statistic."""
        return max(float(misfit.pearson()) / max(nobs - width, 1.0), _LEAST)


@dataclass(frozen=True)
class PearsonVariance(FamilyVariance):
    """Pearson's estimate, the sum of w (y - mu)^2 / V(mu) over n - k, of an exponential family; tests are normal, as in statsmodels' GLM.

    References
    ----------
    McCullagh and Nelder (1989), Generalized Linear Models, section 8.3.6.
    """

    def value(self, loss: Tensor, df: float, misfit: Misfit) -> Tensor:
        """Return () Pearson's statistic over df."""
        return misfit.pearson() / df


@dataclass(frozen=True)
class DevianceVariance(FamilyVariance):
    """The deviance over n - k: statsmodels' GLM under scale="dev". Pearson's estimate is the more robust one to small y."""

    def value(self, loss: Tensor, df: float, misfit: Misfit) -> Tensor:
        """Return () the deviance over df."""
        return misfit.deviance() / df


@dataclass(frozen=True)
class KnownVariance(FamilyVariance):
    """A number that is given.

    Attributes
    ----------
    scale : float
        phi.
    """

    scale: float

    def value(self, loss: Tensor, df: float, misfit: Misfit) -> Tensor:
        """Return () the number."""
        return torch.full_like(loss, self.scale)


@dataclass(frozen=True)
class Quasi(Dispersion):
    """A factor of the variance of distributions that have none: R's `quasipoisson`. The log-likelihood is divided by it, as in statsmodels.

    Attributes
    ----------
    of : Dispersion
        How phi is found.
    """

    of: Dispersion

    method = "maximum likelihood"
    likelihood = True
    squares = False
    estimated = True
    drawn = False

    def value(self, loss: Tensor, df: float, misfit: Misfit) -> Tensor:
        """Return () phi."""
        return self.of.value(loss, df, misfit)

    def noise(self, loss: Tensor, nobs: float, width: int, misfit: Misfit) -> float:
        """Return phi by Pearson's statistic."""
        return self.of.noise(loss, nobs, width, misfit)


@dataclass(frozen=True)
class QuasiBinomial(Dispersion):
    """R's `quasibinomial`: the log-likelihood is the binomial distribution's own, as in statsmodels.

    Attributes
    ----------
    of : Dispersion
        How phi is found.
    """

    of: Dispersion

    method = "maximum likelihood"
    likelihood = True
    squares = False
    estimated = True
    drawn = False

    def value(self, loss: Tensor, df: float, misfit: Misfit) -> Tensor:
        """Return () phi."""
        return self.of.value(loss, df, misfit)

    def within(self, loss: Tensor, nobs: float, df: float, misfit: Misfit) -> Tensor:
        """Return () one."""
        return torch.ones_like(loss)

    def noise(self, loss: Tensor, nobs: float, width: int, misfit: Misfit) -> float:
        """Return one."""
        return 1.0


@dataclass(frozen=True)
class GaussianVariance(Dispersion):
    """The variance of least squares as statsmodels' GLM has it: normal tests, and a log-likelihood at RSS / n, whatever the scale.

    Attributes
    ----------
    of : Dispersion
        How phi is found.
    """

    of: Dispersion

    method = "least squares"
    likelihood = True
    squares = True
    estimated = True

    def value(self, loss: Tensor, df: float, misfit: Misfit) -> Tensor:
        """Return () phi."""
        return self.of.value(loss, df, misfit)

    def noise(self, loss: Tensor, nobs: float, width: int, misfit: Misfit) -> float:
        """Return s^2."""
        return ResidualVariance().noise(loss, nobs, width, misfit)

    def within(self, loss: Tensor, nobs: float, df: float, misfit: Misfit) -> Tensor:
        """Return () RSS / n."""
        return 2.0 * loss / nobs

    def within_other(self, loss: Tensor, nobs: float, df: float, misfit: Misfit) -> Tensor:
        """Return () phi."""
        return self.value(loss, df, misfit)

    def log_likelihood(
        self, loss: Tensor, phi: Tensor, nobs: float, constant: Callable[[], Tensor], log_weights: Callable[[], Tensor]
    ) -> Tensor:
        """Return () what least squares has."""
        return ResidualVariance().log_likelihood(loss, phi, nobs, constant, log_weights)


class NoLikelihood(Dispersion, ABC):
    """The factor of a loss that is not known to be a likelihood, so that only a sandwich is a covariance."""

    method = "M-estimation"
    likelihood = False
    squares = False

    def within(self, loss: Tensor, nobs: float, df: float, misfit: Misfit) -> Tensor:
        """Refuse: there is no likelihood."""
        raise no_likelihood(self)

    def log_likelihood(
        self, loss: Tensor, phi: Tensor, nobs: float, constant: Callable[[], Tensor], log_weights: Callable[[], Tensor]
    ) -> Tensor:
        """Refuse: there is no likelihood."""
        raise no_likelihood(self)


@dataclass(frozen=True)
class Undefined(NoLikelihood):
    """None: nothing is known of the loss."""

    estimated = False

    def value(self, loss: Tensor, df: float, misfit: Misfit) -> Tensor:
        """Return () one."""
        return torch.ones_like(loss)

    def noise(self, loss: Tensor, nobs: float, width: int, misfit: Misfit) -> float:
        """Return the size of a row's loss."""
        return max(abs(float(loss)), _LEAST) / nobs


class OfMoments(NoLikelihood, ABC):
    """None: moments are weighed by a matrix, and have the units that they have."""

    method = "GMM"
    estimated = False
    unknown = "Moments are no likelihood"
    other_criterion = "test overidentifying restrictions by j_test, or coefficients by wald_test"

    def value(self, loss: Tensor, df: float, misfit: Misfit) -> Tensor:
        """Return () one."""
        return torch.ones_like(loss)

    def noise(self, loss: Tensor, nobs: float, width: int, misfit: Misfit) -> float:
        """Return one: distances are in standard errors."""
        return 1.0


@dataclass(frozen=True)
class WeightedMoments(OfMoments):
    """With any weight, so that only a sandwich is a covariance."""

    other_covariance = "use 'HC0' or another sandwich, or weigh the moments by weights='two-step'"


@dataclass(frozen=True)
class EfficientMoments(OfMoments):
    """With the inverse of the covariance of the moments, of which the bread is the covariance of the estimate."""

    assumption = "the weight is the inverse of the covariance of the moments, and that rows are independent"
    other_covariance = "use 'nonrobust', 'HC0' or another sandwich"

    @property
    def classical(self) -> bool:
        """Yes: the bread is the covariance."""
        return True


@dataclass(frozen=True)
class AtQuantile(NoLikelihood):
    """None: the loss of a quantile says nothing of a density."""

    estimated = False
    other_covariance = "use 'iid', 'kernel', 'nid' or 'powell', or a sandwich such as 'HC0'"
    other_criterion = "compare models by prsquared, or test coefficients by wald_test"

    def value(self, loss: Tensor, df: float, misfit: Misfit) -> Tensor:
        """Return () one."""
        return torch.ones_like(loss)

    def noise(self, loss: Tensor, nobs: float, width: int, misfit: Misfit) -> float:
        """Return the size of a row's loss."""
        return max(float(loss), _LEAST) / nobs


@dataclass(frozen=True)
class ErrorScale(NoLikelihood):
    """The square of the scale of an error, found beside the coefficients.

    Attributes
    ----------
    scale : float
        s, in units of y.
    """

    scale: float

    estimated = True
    of_errors = True
    other_covariance = "use 'H1', 'H2', 'H3', or a sandwich such as 'HC0'"
    other_criterion = "test coefficients by wald_test, or compare models by their scale"

    def value(self, loss: Tensor, df: float, misfit: Misfit) -> Tensor:
        """Return () s^2."""
        return torch.full_like(loss, self.scale**2)

    def noise(self, loss: Tensor, nobs: float, width: int, misfit: Misfit) -> float:
        """Return s^2."""
        return max(self.scale**2, _LEAST)


# What losses have unless another is asked for.
RESIDUAL, UNITY, PEARSON = ResidualVariance(), Unity(), PearsonVariance()


def no_likelihood(dispersion: Dispersion) -> EstimationError:
    """Return the error of a log-likelihood that does not exist."""
    return EstimationError(
        f"{dispersion.unknown}, so there is no log-likelihood and no information criterion; {dispersion.other_criterion}."
    )
