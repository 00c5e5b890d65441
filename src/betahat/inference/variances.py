"""Variances of linear functions of the coefficients, under a covariance that may be indefinite or singular."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from betahat.solvers.lengths import lengths, sizes_of
from betahat.solvers.roots import square_root

# A matrix of doubles loses variances below 1e-16 of the terms that cancel in them, and their square roots below 1e-8.
_CANCELLED = 1e-8


@dataclass(frozen=True, eq=False)
class Variances:
    """The variances R V R' of linear functions R b, with V = Z C Z'."""

    root: Tensor  # (k, r) Z
    core: Tensor | None  # (r, r) C, or () a multiple of the identity; None if unknown
    matrix: Tensor  # (k, k) V
    rounding: Tensor | None = None  # (r, r) B: functions with t'C t below t'B t, where t = Z'R', have no variance

    @cached_property
    def factor(self) -> Tensor | None:
        """(k, q) F with F F' = V, with which collinear coefficients keep their digits; None if V is indefinite."""
        if self.core is None:
            return square_root(self.matrix)
        if self.core.ndim == 0:
            return self.root * self.core.sqrt()
        half = square_root(self.core, self.rounding)
        return None if half is None else self.root @ half

    @cached_property
    def errors_of_coefficients(self) -> Tensor:
        """(k,) the standard errors of the coefficients, NaN for those without a variance."""
        found = self.matrix.diagonal()
        if self.rounding is not None:
            floor = ((self.root @ self.rounding) * self.root).sum(1).clamp_min(0.0)
            found = torch.where(found < floor, torch.nan, found)
        return found.sqrt()

    def errors(self, rows: Tensor) -> Tensor:
        """Return (J,) the standard errors of (J, k) functions, NaN for those without a variance."""
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
        """Return (J, q) H with H H' = R V R', or None if that is indefinite."""
        if self.factor is not None:
            return rows @ self.factor
        return square_root(self._product(rows, rows @ self.root), self.noise(rows))

    def noise(self, rows: Tensor) -> Tensor:
        """Return (J, J) the rounding error in R V R'."""
        if self.rounding is not None:
            turned = rows @ self.root
            return turned @ self.rounding @ turned.mT
        return torch.diag(self._floor(rows))

    def _plain(self, rows: Tensor) -> Tensor:
        """Return (J,) variances without a factor; negative ones have no root."""
        turned = rows @ self.root
        return ((rows @ self.matrix) * rows).sum(1) if self.core is None else ((turned @ self.core) * turned).sum(1)

    def _product(self, rows: Tensor, turned: Tensor) -> Tensor:
        return rows @ self.matrix @ rows.mT if self.core is None else turned @ self.core @ turned.mT

    def _floor(self, rows: Tensor) -> Tensor:
        """Return (J,) the rounding errors in the variances of functions."""
        if self.rounding is not None:
            turned = rows @ self.root
            return ((turned @ self.rounding) * turned).sum(1)
        if self.core is not None:
            return rows.new_zeros(len(rows))
        return (_CANCELLED * rows.abs() @ self.matrix.diagonal().clamp_min(0.0).sqrt()).square()


def over(gaps: Tensor, errors: Tensor) -> Tensor:
    """Return gaps over their standard errors, NaN where the error is zero: without a variance there is no statistic."""
    return torch.where(errors > 0, gaps / errors, torch.nan)
