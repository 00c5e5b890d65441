"""What an objective is: the loss of one row, its derivatives, and what its sum claims to be."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from enum import Enum
from typing import Any, ClassVar, NoReturn

import numpy as np
import torch
from torch import Tensor

from betahat.errors import OptionError


class Claim(Enum):
    """What the summed loss is, and with it the rule for the dispersion.

    LEAST_SQUARES is half a sum of squares: the dispersion is s^2 = RSS / (n - k), and the log-likelihood is the
    Gaussian one with its variance at the maximum. LIKELIHOOD is minus a log-likelihood: the dispersion is 1.
    NONE is neither, so that only a sandwich is a covariance.
    """

    LEAST_SQUARES = "least squares"
    LIKELIHOOD = "maximum likelihood"
    NONE = "M-estimation"


class Objective(ABC):
    """A loss that is summed over rows."""

    @property
    @abstractmethod
    def claim(self) -> Claim:
        """What the sum is."""


class OutputLoss(Objective):
    """A loss l(eta, y) of a model's output eta, which is all that it knows of the parameters.

    Attributes
    ----------
    elementwise : bool
        Whether the loss of a row with several outputs is the sum of each output's own, so that each is an equation.
    """

    elementwise: ClassVar[bool]

    @abstractmethod
    def losses(self, output: Tensor, target: Tensor) -> Tensor:
        """Return (b,) the loss of each row, from (b, ...) outputs and targets, differentiable by torch."""

    @abstractmethod
    def constant(self, target: Tensor) -> Tensor | None:
        """Return (b,) what minus the log-likelihood has beyond the loss; None is nothing."""

    @abstractmethod
    def expected_curvature(self, output: Tensor) -> Tensor:
        """Return Fisher's information of the output: E(l'') over y given eta.

        (b, ...) as the output where its elements are independent, (b, m, m) where they are not.
        """

    @abstractmethod
    def mean(self, output: Tensor) -> Tensor:
        """Return E(y) given the output."""


class LinearIndex(OutputLoss):
    """A loss l(eta, y) of one number, which meets the parameters through a linear index eta = x'b + offset.

    With it go scores -l' x, information sum of l'' x x' and leverage l'' x'A^-1 x, so that a subclass
    states l, -l' and l'' and nothing else.
    """

    elementwise = True

    @abstractmethod
    def residual(self, index: Tensor, target: Tensor) -> Tensor:
        """Return (n,) -dl/deta, the generalized residual (Gourieroux, Monfort, Renault and Trognon 1987)."""

    @abstractmethod
    def curvature(self, index: Tensor, target: Tensor) -> Tensor | None:
        """Return (n,) d2l/deta2; None means one, for every row."""

    @abstractmethod
    def start(self, target: Tensor, mean: Tensor) -> Tensor:
        """Return (n,) where a solver looks first: the index of a mean half way from () that of all rows to each target."""

    @abstractmethod
    def variance(self, index: Tensor) -> Tensor | None:
        """Return (n,) Var(y) given eta, up to a factor; None means the same for every row."""

    @abstractmethod
    def distribution(self, mean: np.ndarray, scale: float) -> Any:
        """Return scipy's frozen distribution of y with (n,) means, and an error's variance where there is one."""


def dispersion(claim: Claim, loss: Tensor, df_resid: float) -> Tensor:
    """Return () the factor of the classical covariance: s^2 = RSS / (n - k) for least squares, else 1."""
    return 2.0 * loss / df_resid if claim is Claim.LEAST_SQUARES else torch.ones_like(loss)


def log_likelihood(claim: Claim, loss: Tensor, nobs: float, weights: Tensor | None) -> Tensor:
    """Return () the log-likelihood.

    For least squares -n/2 (log(2 pi RSS / n) + 1) + sum(log w) / 2, as in statsmodels and R's `logLik`;
    otherwise minus the loss.
    """
    if claim is not Claim.LEAST_SQUARES:
        return -loss
    jacobian = 0.0 if weights is None else 0.5 * torch.log(weights.to(torch.float64)).sum()
    return -0.5 * nobs * (torch.log(2.0 * math.pi * 2.0 * loss / nobs) + 1.0) + jacobian


def row_sums(values: Tensor) -> Tensor:
    """Return (b,) the sums of (b, ...) values over everything but the rows."""
    return values if values.ndim == 1 else values.flatten(1).sum(1)


def unknown_distribution() -> NoReturn:
    """Refuse Fisher's information of a loss that is no distribution's."""
    raise OptionError(
        "bread='expected' needs a loss whose distribution is known (nn.MSELoss, nn.BCEWithLogitsLoss, ...); "
        "pass bread='observed', 'gauss-newton' or 'opg'."
    )
