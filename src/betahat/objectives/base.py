"""What an objective is: the loss of one row, its derivatives, and all that depends on the distribution of y.

Each member is abstract: an objective that has no answer says so in a sentence, and never gives another's.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from enum import Enum
from typing import TYPE_CHECKING, Any, ClassVar, NoReturn

import numpy as np
from torch import Tensor

from betahat.errors import OptionError
from betahat.objectives.dispersion import Dispersion
from betahat.objectives.equation import Equation
from betahat.objectives.support import Support

if TYPE_CHECKING:
    from betahat.objectives.check import Check
    from betahat.objectives.indices import LinearIndices
    from betahat.objectives.moment_conditions import MomentConditions


class Objective(ABC):
    """A loss that is summed over rows.

    Attributes
    ----------
    equations : tuple of Equation
        The linear indices, if there are several.
    separable : bool
        Whether the loss of a row depends on that row alone, so that rows may be read block by block.
    separation : str
        What it means that the sum falls forever in some direction, and what to do.
    """

    equations: tuple[Equation, ...] = ()
    separable: ClassVar[bool] = True
    separation: ClassVar[str] = (
        "the data are separated, that is, some rows are predicted perfectly. Leave such columns out, or merge categories."
    )

    @property
    @abstractmethod
    def dispersion(self) -> Dispersion:
        """What its sum is up to a factor."""

    @property
    @abstractmethod
    def autodiff(self) -> Autodiff | None:
        """Itself, if its derivatives are taken by autodiff; None if they are closed forms of linear indices."""

    @property
    def one_index(self) -> LinearIndex | None:
        """Itself, if it meets the parameters through one linear index; None otherwise."""
        return None

    @property
    def indices(self) -> LinearIndices | None:
        """Itself, if it meets the parameters through several linear indices; None otherwise."""
        return None

    @property
    def moments(self) -> MomentConditions | None:
        """Itself, if it is no loss but equations whose sum is to be zero; None otherwise."""
        return None

    @property
    def checks(self) -> tuple[Check, ...]:
        """The losses of quantiles, one for each quantile regression in it; none in most."""
        return ()

    @property
    def responses(self) -> int:
        """How many regressions of their own it sums, each with all rows: degrees of freedom are theirs."""
        return 1

    @property
    def least_squares(self) -> bool:
        """Whether it is least squares of a linear model, for which one Newton step is the refit."""
        return self.one_index is not None and self.dispersion.squares and not self.dispersion.instrumented

    @property
    def nonlinear(self) -> bool:
        """Whether it is the loss of outputs that are not affine functions of the parameters."""
        return not self.closed_form and not self.affine and self.output_loss is not None

    @property
    def closed_form(self) -> bool:
        """Whether derivatives are closed forms, so that a Hessian costs little more than the loss."""
        return self.autodiff is None

    @abstractmethod
    def derivatives(self, bread: str) -> str:
        """Say how scores, and the information that the bread is the inverse of, are computed."""

    @property
    @abstractmethod
    def affine(self) -> bool:
        """Whether it meets the parameters through outputs that are affine functions of them."""

    def places(self, width: int) -> tuple[tuple[int, ...], ...]:
        """Return the columns that each equation has, of `width` of them, in the order of the parameters; one without columns is a constant."""
        return (tuple(range(width)),)

    def columns_of_parameters(self, width: int) -> tuple[int | None, ...]:
        """Return the column of each parameter, of `width` columns; None where the parameter is an equation by itself."""
        alone = (None,) if self.equations else ()  # a model may have no regressor beside absorbed effects
        return tuple(column for place in self.places(width) for column in place or alone)

    def parameter_names(self, columns: tuple[str, ...]) -> tuple[str, ...]:
        """Return the parameters' names, given those of the columns."""
        return columns

    def along(self, params: Tensor, step: Tensor, length: float) -> Tensor:
        """Return (k,) parameters on a line from (k,) `params`, in coordinates in which the loss is convex, if there are any."""
        return params + length * step

    @property
    @abstractmethod
    def output_loss(self) -> OutputLoss | None:
        """The loss of a model's output, where it is one."""


class Autodiff(Objective):
    """A loss of the parameters and the rows that torch differentiates.

    Attributes
    ----------
    route : Route
        How single rows are differentiated.
    """

    route: Route

    @property
    def autodiff(self) -> Autodiff:
        """The loss itself."""
        return self

    @abstractmethod
    def losses(self, params: Tensor, columns: tuple[Tensor, ...]) -> Tensor:
        """Return (b,) the losses at (k,) parameters, of the columns of b rows."""


class Route(Enum):
    """How the derivatives of single rows are taken."""

    VMAP = "vmap(grad)"
    FORWARD = "forward mode"
    BACKWARD = "one backward pass for each row"


class OutputLoss(Objective):
    """A loss l(eta, y) of a model's output eta, which is all that it knows of the parameters.

    Attributes
    ----------
    elementwise : bool
        Whether the loss of a row with several outputs is the sum of each output's own, so that each is an equation.
    trials : bool
        Whether analytic weights are numbers of trials, and the target the share of successes in them.
    canonical : bool
        Whether the second derivative of a row does not depend on y, so that Fisher's information is the Hessian.
    convex : bool
        Whether it is convex in the output for every y, so that any start leads to the optimum.
    positions : bool
        Whether what an output has beyond (b, J) are positions of a row, as words of a sentence, which need not be independent.
    """

    elementwise: ClassVar[bool]
    positions: ClassVar[bool] = False
    trials: ClassVar[bool] = False
    canonical: ClassVar[bool] = False
    convex: ClassVar[bool] = True

    autodiff = None
    affine = False

    @property
    def output_loss(self) -> OutputLoss:
        """The loss itself."""
        return self

    def derivatives(self, bread: str) -> str:
        """Return what an index has."""
        return "closed form of a linear index"

    @property
    @abstractmethod
    def support(self) -> Support | None:
        """The values that y may have; None where the loss does not say."""

    @abstractmethod
    def losses(self, output: Tensor, target: Tensor) -> Tensor:
        """Return (b,) the loss of each row, from (b, ...) outputs and targets, differentiable by torch."""

    @abstractmethod
    def constant(self, target: Tensor, precision: Tensor | None) -> Tensor | None:
        """Return (b,) c(y, phi / w), what minus the log-likelihood has beyond loss / phi.

        `precision` is (b,) or () w / phi, and None one; None returned is zero.
        """

    @abstractmethod
    def expected_curvature(self, output: Tensor) -> Tensor:
        """Return Fisher's information of the output: E(l'') over y given eta.

        (b, ...) as the output where its elements are independent, (b, m, m) where they are not.
        """

    def taken(self, target: Tensor) -> Tensor | None:
        """Return which numbers of the output the (b, ...) target is compared with, of a shape that broadcasts to the output's; None is all."""
        return None

    @abstractmethod
    def mean(self, output: Tensor) -> Tensor:
        """Return E(y) given the output."""


class LinearIndex(OutputLoss):
    """A loss l(eta, y) of one number, which meets the parameters through a linear index eta = x'b + offset.

    With it go scores -l' x, information sum of l'' x x' and leverage l'' x'A^-1 x, so that a subclass
    states l, -l' and l'' and nothing else.
    """

    elementwise = True
    affine = True

    @property
    def one_index(self) -> LinearIndex:
        """The loss itself."""
        return self

    @property
    @abstractmethod
    def support(self) -> Support:
        """The values that y may have."""

    @property
    def domain(self) -> str | None:
        """What the index must be for there to be a mean: "above 0"; None if it may be any number."""
        return None

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
    def anscombe(self, value: Tensor) -> Tensor:
        """Return (n,) the integral of V(t)^(-1/3) up to (n,) values of y or of its mean, which brings y near to a normal distribution.

        References
        ----------
        McCullagh and Nelder (1989), Generalized Linear Models, section 2.4.2.
        """

    @abstractmethod
    def saturated(self, target: Tensor) -> Tensor:
        """Return (n,) the loss of a perfect fit, the least that it can be given y."""

    @abstractmethod
    def draw(self, index: Tensor, spread: Tensor, uniform: Tensor) -> Tensor:
        """Return (R, n) values of y, the inverse of its distribution function at (R, n) uniform numbers.

        `spread` is (n,) or () the root of phi / w.
        """

    @abstractmethod
    def distribution(self, mean: np.ndarray, scale: float) -> Any:
        """Return scipy's frozen distribution of y with (n,) means and the dispersion `scale`."""


def row_sums(values: Tensor) -> Tensor:
    """Return (b,) the sums of (b, ...) values over everything but the rows."""
    return values if values.ndim == 1 else values.flatten(1).sum(1)


def unknown_distribution() -> NoReturn:
    """Refuse Fisher's information of a loss that is no distribution's."""
    raise OptionError(
        "bread='expected' needs a loss whose distribution is known (nn.MSELoss, nn.BCEWithLogitsLoss, ...); "
        "pass bread='observed', 'gauss-newton' or 'opg'."
    )
