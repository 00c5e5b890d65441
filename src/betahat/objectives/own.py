"""A loss of the user's own, of a model's output or of its parameters."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum

import torch
from torch import Tensor

from betahat.data.sample import refuse_rows
from betahat.objectives.base import Claim, Objective, OutputLoss, row_sums, unknown_distribution


class Route(Enum):
    """How the derivatives of single rows are taken."""

    VMAP = "vmap(grad)"
    FORWARD = "forward mode"
    BACKWARD = "one backward pass for each row"


@dataclass(frozen=True)
class OwnLoss(OutputLoss):
    """Any loss of an output and a target.

    Attributes
    ----------
    function : callable
        (output, target) of a batch -> loss.
    declared : Claim
        What the user says of it.
    by_row : bool
        Whether `function` returns the loss of each row; otherwise it is called row by row.
    """

    function: Callable[[Tensor, Tensor], Tensor]
    declared: Claim
    by_row: bool

    elementwise = False

    @property
    def claim(self) -> Claim:
        """What the user says of it."""
        return self.declared

    def losses(self, output: Tensor, target: Tensor) -> Tensor:
        """Return (b,) the losses."""
        if self.by_row:
            return row_sums(self.function(output, target))
        return torch.vmap(lambda out, of: row_sums(self.function(out[None], of[None]).reshape(1, -1))[0])(
            output, target
        )

    def constant(self, target: Tensor) -> None:
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
    """A loss of the user's own of which only the claim was kept.

    Attributes
    ----------
    declared : Claim
        What its sum is.
    """

    declared: Claim

    @property
    def claim(self) -> Claim:
        """What its sum is."""
        return self.declared


@dataclass(frozen=True)
class UnstoredPenalty:
    """A penalty of which only is known that there was one."""

    def __call__(self, params: Tensor) -> Tensor:
        """Refuse: it is gone with the data."""
        refuse_rows()


@dataclass(frozen=True, eq=False)
class RowLoss(Objective):
    """Any loss of the parameters and the data.

    Attributes
    ----------
    losses : callable
        ((k,) parameters, row columns) -> (b,) losses.
    declared : Claim
        What the user says of it.
    route : Route
        How single rows are differentiated.
    """

    losses: Callable[[Tensor, tuple[Tensor, ...]], Tensor]
    declared: Claim
    route: Route

    @property
    def claim(self) -> Claim:
        """What the user says of it."""
        return self.declared


@dataclass(frozen=True, eq=False)
class ModelLoss(Objective):
    """The loss of the output of any differentiable model.

    Attributes
    ----------
    outputs : callable
        ((k,) parameters, row columns, the target last) -> (b, ...) outputs.
    loss : OutputLoss
        Of the output and the target.
    affine : bool
        Whether the outputs are an affine function of the parameters.
    route : Route
        How single rows are differentiated.
    """

    outputs: Callable[[Tensor, tuple[Tensor, ...]], Tensor]
    loss: OutputLoss
    affine: bool
    route: Route

    @property
    def claim(self) -> Claim:
        """That of the loss."""
        return self.loss.claim

    def losses(self, params: Tensor, columns: tuple[Tensor, ...]) -> Tensor:
        """Return (b,) the loss of each row."""
        return self.loss.losses(self.outputs(params, columns), columns[-1])
