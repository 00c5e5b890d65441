"""Variances of linear functions of the coefficients under one covariance, which need not be positive semi-definite nor of full rank."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from betahat.solvers.lengths import lengths, sizes_of
from betahat.solvers.roots import square_root

# What a matrix of doubles says of a variance is lost below 1e-16 of the terms that cancel in it, and of its root below 1e-8.
_CANCELLED = 1e-8


@dataclass(frozen=True, eq=False)
class Variances:
    """R V R' of linear functions R b, V = Z C Z'.

    Attributes
    ----------
    root : Tensor
        (k, r) Z.
    core : Tensor or None
        (r, r) C, or () a multiple of the identity; None where it is not known.
    matrix : Tensor
        (k, k) V.
    rounding : Tensor or None
        (r, r) B: a function whose variance t'C t is below t'B t, t = Z'R, has none.
    """

    root: Tensor
    core: Tensor | None
    matrix: Tensor
    rounding: Tensor | None = None

    @cached_property
    def factor(self) -> Tensor | None:
        """(k, q) F with F F' = V, through which collinear coefficients keep their digits; None of an indefinite V."""
        if self.core is None:
            return square_root(self.matrix)
        if self.core.ndim == 0:
            return self.root * self.core.sqrt()
        half = square_root(self.core, self.rounding)
        return None if half is None else self.root @ half

    @cached_property
    def errors_of_coefficients(self) -> Tensor:
        """(k,) the standard errors of the coefficients; NaN of those that have none."""
        found = self.matrix.diagonal()
        if self.rounding is not None:
            floor = ((self.root @ self.rounding) * self.root).sum(1).clamp_min(0.0)
            found = torch.where(found < floor, torch.nan, found)
        return found.sqrt()

    def errors(self, rows: Tensor) -> Tensor:
        """Return (J,) standard errors of (J, k) functions; NaN of those that have none."""
        if self.factor is not None and self.core is not None and self.rounding is None:
            return lengths(rows @ self.factor)
        sizes = sizes_of(rows)
        rows = rows / sizes[:, None]
        found = self._plain(rows).sqrt() if self.factor is None else lengths(rows @ self.factor)
        return torch.where(found < self._floor(rows).sqrt(), torch.nan, found * sizes)

    def covariance(self, rows: Tensor) -> Tensor:
        """Return (J, J) R V R', with NaN in the rows and columns of functions without a variance."""
        half = self.half(rows)
        turned = rows @ self.root
        found = self._product(rows, turned) if half is None else half @ half.mT
        none = torch.isnan(self.errors(rows))
        return torch.where(none | none[:, None], torch.nan, found)

    def half(self, rows: Tensor) -> Tensor | None:
        """Return (J, q) H with H H' = R V R'; None where that is indefinite."""
        if self.factor is not None:
            return rows @ self.factor
        return square_root(self._product(rows, rows @ self.root), self.noise(rows))

    def noise(self, rows: Tensor) -> Tensor:
        """Return (J, J) what is rounding in R V R'."""
        if self.rounding is not None:
            turned = rows @ self.root
            return turned @ self.rounding @ turned.mT
        return torch.diag(self._floor(rows))

    def _plain(self, rows: Tensor) -> Tensor:
        """(J,) variances without a factor; negative ones have no root."""
        turned = rows @ self.root
        return ((rows @ self.matrix) * rows).sum(1) if self.core is None else ((turned @ self.core) * turned).sum(1)

    def _product(self, rows: Tensor, turned: Tensor) -> Tensor:
        return rows @ self.matrix @ rows.mT if self.core is None else turned @ self.core @ turned.mT

    def _floor(self, rows: Tensor) -> Tensor:
        """(J,) what is rounding in the variances of functions."""
        if self.rounding is not None:
            turned = rows @ self.root
            return ((turned @ self.rounding) * turned).sum(1)
        if self.core is not None:
            return rows.new_zeros(len(rows))
        return (_CANCELLED * rows.abs() @ self.matrix.diagonal().clamp_min(0.0).sqrt()).square()


def over(gaps: Tensor, errors: Tensor) -> Tensor:
    """Return gaps over their standard errors; NaN where the error is zero: what has no variance has no statistic."""
    return torch.where(errors > 0, gaps / errors, torch.nan)
