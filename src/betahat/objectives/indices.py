"""Losses of several linear indices, each with columns of its own, and derivatives in the indices by autodiff."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, field, replace
from typing import Self

import torch
from torch import Tensor

from betahat.objectives.base import OutputLoss
from betahat.objectives.equation import Equation


@dataclass(frozen=True)
class LinearIndices(OutputLoss, ABC):
    """A loss l(eta, y) of q numbers, each of which meets the parameters through a linear index; an offset belongs to the first.

    A subclass states the loss. Derivatives in the indices are taken by autodiff, unless it has closed forms of them.

    Attributes
    ----------
    equations : tuple of Equation
        (q,) the indices, in the order of their parameters.
    """

    equations: tuple[Equation, ...] = field(kw_only=True)

    elementwise = False
    affine = True

    @property
    def indices(self) -> LinearIndices:
        """The loss itself."""
        return self

    @property
    def shared(self) -> bool:
        """Whether each index has all columns."""
        return all(equation.columns is None for equation in self.equations)

    def places(self, width: int) -> tuple[tuple[int, ...], ...]:
        """Return the columns of each index, of `width` of them."""
        every = tuple(range(width))
        return tuple(every if equation.columns is None else equation.columns for equation in self.equations)

    def parameter_names(self, columns: tuple[str, ...]) -> tuple[str, ...]:
        """Return each equation's name and its columns', with a colon between them."""
        pairs = zip(self.equations, self.places(len(columns)), strict=True)
        return tuple(f"{equation.name}:{columns[i]}" for equation, place in pairs for i in place)

    def relocated(self, columns: tuple[tuple[int, ...], ...]) -> Self:
        """Return the loss of indices of other columns."""
        pairs = zip(self.equations, columns, strict=True)
        return replace(self, equations=tuple(replace(equation, columns=place) for equation, place in pairs))

    def residual(self, index: Tensor, target: Tensor, mean: Tensor) -> Tensor:
        """Return (..., q) -dl/deta at (..., q) indices and (...,) targets, given what `mean` returns there."""
        with torch.enable_grad():
            leaf = index.detach().requires_grad_(True)
            (slope,) = torch.autograd.grad(self.losses(leaf, target).sum(), leaf)
        return -slope

    def curvature(self, index: Tensor, target: Tensor, mean: Tensor) -> Tensor:
        """Return (..., q, q) the second derivatives d2l/deta deta' at the same."""
        with torch.enable_grad():
            leaf = index.detach().requires_grad_(True)
            (slope,) = torch.autograd.grad(self.losses(leaf, target).sum(), leaf, create_graph=True)
            rows = [torch.autograd.grad(part.sum(), leaf, retain_graph=True)[0] for part in slope.unbind(-1)]
        return torch.stack(rows, -2)

    @abstractmethod
    def draw(self, index: Tensor, spread: Tensor, uniform: Tensor) -> Tensor:
        """Return (R, n) values of y, the inverse of its distribution function at (R, n) uniform numbers, of (n, q) indices."""
