"""Losses of several linear indices, each with columns of its own, and derivatives in the indices by autodiff."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import ClassVar, Self

import torch
from torch import Tensor

from betahat.data.design import Design
from betahat.objectives.base import LinearIndex, OutputLoss
from betahat.objectives.equation import Equation


@dataclass(frozen=True)
class LinearIndices(OutputLoss, ABC):
    """A loss l(eta, y) of q numbers, each of which meets the parameters through a linear index.

    A subclass states the loss. Derivatives in the indices are taken by autodiff, unless it has closed forms of them.

    Attributes
    ----------
    equations : tuple of Equation
        (q,) the indices, in the order of their parameters.
    main : int
        The index that an offset is added to.
    joint : str
        What stands between an equation's name and a column's.
    """

    equations: tuple[Equation, ...] = field(kw_only=True)

    allowed: ClassVar[str] = ""
    """What parameters the loss is finite at, behind "pass other parameters"."""

    main: ClassVar[int] = 0
    joint: ClassVar[str] = ":"

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

    @property
    def uniform(self) -> bool:
        """Whether each index has all columns, or is a single parameter."""
        return all(equation.columns is None or equation.constant for equation in self.equations)

    def places(self, width: int) -> tuple[tuple[int, ...], ...]:
        """Return the columns of each index, of `width` of them."""
        every = tuple(range(width))
        return tuple(every if equation.columns is None else equation.columns for equation in self.equations)

    def parameter_names(self, columns: tuple[str, ...]) -> tuple[str, ...]:
        """Return each equation's name and its columns', `joint` between them; those of single parameters are their equations'."""
        pairs = zip(self.equations, self.places(len(columns)), strict=True)
        return tuple(name for equation, place in pairs for name in self._names(equation, [columns[i] for i in place]))

    def _names(self, equation: Equation, columns: list[str]) -> list[str]:
        """Return the names of an equation's parameters."""
        if equation.constant:
            return [equation.name]
        return [f"{equation.name}{self.joint}{column}" for column in columns] if equation.name else columns

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

    def root(self, index: Tensor, target: Tensor, mean: Tensor) -> Tensor | None:
        """Return (..., q, q) W with W'W a row's share of the observed information: the curvature, or what sums to the same at the optimum.

        None where a row's share is negative.
        """
        return upper_root(self.curvature(index, target, mean))

    def first(self, design: Design, fit: Callable[[LinearIndex | LinearIndices, Design], Tensor]) -> Tensor:
        """Return (k,) where a solver looks first, zeros; `fit` returns the estimates of a simpler model on a design, if those help."""
        width = len(self.columns_of_parameters(design.width))
        return torch.zeros(width, dtype=torch.float64, device=design.device)

    def stalled(self, params: Tensor) -> str | None:
        """Say why a solver has not come nearer to an optimum than (k,) parameters, and what to do; None where nothing is known."""
        return None

    @property
    def boundary(self) -> tuple[LinearIndices, ...]:
        """The losses of models that this one comes to where some of its parameters leave their range, best first."""
        return ()

    def shown(self, index: Tensor) -> Tensor:
        """Return what a prediction of (m, q) indices shows: the main one, (m,)."""
        return index[..., self.main]

    @abstractmethod
    def draw(self, index: Tensor, spread: Tensor, uniform: Tensor) -> Tensor:
        """Return (R, n) values of y, the inverse of its distribution function at (R, n) uniform numbers, of (n, q) indices."""


def side_by_side(parts: Sequence[Tensor]) -> Tensor:
    """Return (..., q) of q tensors (...,), each in one piece of memory."""
    return torch.stack(tuple(parts)).movedim(0, -1)


def square(parts: Sequence[Sequence[Tensor]]) -> Tensor:
    """Return (..., q, q) of q rows of q tensors (...,), each in one piece of memory."""
    return torch.stack([torch.stack(tuple(row)) for row in parts]).movedim((0, 1), (-2, -1))


def upper_root(squares: Tensor) -> Tensor | None:
    """Return (..., q, q) W with W'W the positive definite matrices, and None where one is not."""
    lower, failed = torch.linalg.cholesky_ex(squares)
    return None if bool(failed.any()) else lower.mT
