"""A loss of the user's own, of a model's output or of its parameters."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from betahat.data.source import refuse_rows
from betahat.objectives.base import Autodiff, Objective, OutputLoss, Route, row_sums, unknown_distribution
from betahat.objectives.dispersion import Dispersion

_INFORMATION = {
    "observed": "Hessian by double backward",
    "expected": "Fisher's information from the outputs' Jacobian",
    "gauss-newton": "Gauss-Newton from the outputs' Jacobian",
    "opg": "outer products of the scores",
}


@dataclass(frozen=True)
class OwnLoss(OutputLoss):
    """Any loss of an output and a target.

    Attributes
    ----------
    function : callable
        (output, target) of a batch -> loss.
    declared : Dispersion
        What the user says of it.
    by_row : bool
        Whether `function` returns the loss of each row; otherwise it is called row by row.
    """

    function: Callable[[Tensor, Tensor], Tensor]
    declared: Dispersion
    by_row: bool

    elementwise = False
    support = None

    @property
    def dispersion(self) -> Dispersion:
        """What the user says of it."""
        return self.declared

    def losses(self, output: Tensor, target: Tensor) -> Tensor:
        """Return (b,) the losses."""
        if self.by_row:
            return row_sums(self.function(output, target))
        return torch.vmap(lambda out, of: row_sums(self.function(out[None], of[None]).reshape(1, -1))[0])(
            output, target
        )

    def constant(self, target: Tensor, precision: Tensor | None) -> None:
        """Return None: it is what it is."""
        return

    def expected_curvature(self, output: Tensor) -> Tensor:
        """Refuse: the distribution of y is not known."""
        unknown_distribution()

    def mean(self, output: Tensor) -> Tensor:
        """Return the output."""
        return output


@dataclass(frozen=True)
class Unstored(Objective):
    """A loss of the user's own of which only the dispersion was kept.

    Attributes
    ----------
    declared : Dispersion
        What its sum is.
    """

    declared: Dispersion

    autodiff = None
    affine = False
    output_loss = None

    @property
    def dispersion(self) -> Dispersion:
        """What its sum is."""
        return self.declared

    def derivatives(self, bread: str) -> str:
        """Refuse: it is gone with the data."""
        refuse_rows()


@dataclass(frozen=True)
class UnstoredPenalty:
    """A penalty of which only is known that there was one."""

    def __call__(self, params: Tensor) -> Tensor:
        """Refuse: it is gone with the data."""
        refuse_rows()


@dataclass(frozen=True, eq=False)
class RowLoss(Autodiff):
    """Any loss of the parameters and the data.

    Attributes
    ----------
    function : callable
        ((k,) parameters, row columns) -> (b,) losses.
    declared : Dispersion
        What the user says of it.
    route : Route
        How single rows are differentiated.
    """

    function: Callable[[Tensor, tuple[Tensor, ...]], Tensor]
    declared: Dispersion
    route: Route

    affine = False
    output_loss = None

    def losses(self, params: Tensor, columns: tuple[Tensor, ...]) -> Tensor:
        """Return (b,) the losses."""
        return self.function(params, columns)

    def derivatives(self, bread: str) -> str:
        """Return how scores and the Hessian are taken."""
        return f"scores by {self.route.value}, {_INFORMATION[bread]}"

    @property
    def dispersion(self) -> Dispersion:
        """What the user says of it."""
        return self.declared


@dataclass(frozen=True, eq=False)
class ModelLoss(Autodiff):
    """The loss of the output of any differentiable model.

    Attributes
    ----------
    outputs : callable
        ((k,) parameters, row columns, the target last) -> (b, ...) outputs.
    loss : OutputLoss
        Of the output and the target.
    linear : bool
        Whether the outputs are an affine function of the parameters.
    route : Route
        How single rows are differentiated.
    """

    outputs: Callable[[Tensor, tuple[Tensor, ...]], Tensor]
    loss: OutputLoss
    linear: bool
    route: Route

    @property
    def affine(self) -> bool:
        """Whether the outputs are an affine function of the parameters."""
        return self.linear

    def derivatives(self, bread: str) -> str:
        """Return how scores and the information are taken."""
        information = (
            "Hessian J' l'' J of outputs that are linear in the parameters" if self.affine else _INFORMATION[bread]
        )
        return f"scores by {self.route.value}, {information}"

    @property
    def output_loss(self) -> OutputLoss:
        """The loss of the output."""
        return self.loss

    @property
    def dispersion(self) -> Dispersion:
        """That of the loss."""
        return self.loss.dispersion

    def losses(self, params: Tensor, columns: tuple[Tensor, ...]) -> Tensor:
        """Return (b,) the loss of each row."""
        return self.loss.losses(self.outputs(params, columns), columns[-1])
