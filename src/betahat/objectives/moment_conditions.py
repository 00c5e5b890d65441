"""Estimating equations that are the user's code: the moments of a row, whose sum the estimate makes zero or small."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from enum import Enum
from typing import Self

from torch import Tensor

from betahat.objectives.base import Objective, Route
from betahat.objectives.dispersion import Dispersion, EfficientMoments, WeightedMoments


class Steps(Enum):
    """How the weight of the moments is found."""

    GIVEN = "matrix"
    ONE = "identity"
    TWO = "two-step"
    ITERATED = "iterated"
    CONTINUOUS = "continuously-updated"


@dataclass(frozen=True, eq=False)
class Weighting:
    """The weight W of q moments: a matrix, or the inverse of the covariance of their sum.

    Attributes
    ----------
    steps : Steps
        How it is found; with as many moments as parameters it has no bearing on the estimate.
    matrix : Tensor or None
        (q, q) the user's, where it is given.
    center : bool
        Whether the mean of the moments is taken off before their products are summed.
    """

    steps: Steps
    matrix: Tensor | None = None
    center: bool = False


@dataclass(frozen=True, eq=False)
class MomentConditions(Objective):
    """Moments m(theta, z) of a row, weighed by W: the estimate solves G'W sum(m) = 0, G the Jacobian of the sum.

    Attributes
    ----------
    function : callable
        ((k,) parameters, row columns) -> (b, q) moments.
    count : int
        q.
    route : Route
        How the sum of the moments is differentiated: by a pass for each parameter, or for each moment.
    route_of_rows : Route
        How those of single rows are.
    weighting : Weighting
        How W is found.
    turn : Tensor or None
        (q, r) N, where u = m N is a row's influence in the coordinates of Z; None before there is an estimate.
    loading : Tensor or None
        (q, k) minus W G, where s = m times it are a row's scores.
    efficient : bool
        Whether W is the inverse of the covariance of the moments, so that the bread is that of the estimate.
    """

    function: Callable[[Tensor, tuple[Tensor, ...]], Tensor]
    count: int
    route: Route
    route_of_rows: Route
    weighting: Weighting
    turn: Tensor | None = None
    loading: Tensor | None = None
    efficient: bool = False

    autodiff = None
    closed_form = False
    affine = False
    output_loss = None

    @property
    def moments(self) -> MomentConditions:
        """The equations themselves."""
        return self

    @property
    def dispersion(self) -> Dispersion:
        """None: moments are no likelihood."""
        return EfficientMoments() if self.efficient else WeightedMoments()

    def derivatives(self, bread: str) -> str:
        """Return how the Jacobian is taken."""
        each = "parameter" if self.route is Route.FORWARD else "moment"
        return f"Jacobian of the summed moments by a pass for each {each}"

    def at(self, turn: Tensor, loading: Tensor, *, efficient: bool) -> Self:
        """Return the equations at an estimate."""
        return replace(self, turn=turn, loading=loading, efficient=efficient)
