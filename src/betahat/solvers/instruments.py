"""Estimates by instruments, as functions of one triangle: the R of the whitened columns [X1, Z, Y, y].

With X1 the exogenous regressors, Z the instruments, Y the endogenous regressors and X = [X1, Y], the first rows of R, those of [X1, Z], have the
columns P of X projected on the instruments, X'P_z X = P'P, and the rows below them N what the instruments leave, X'M_z X = N'N. So two-stage least
squares, the k-class, and moments under any weights are small least squares problems, of one sample or of many replicates at a time, which lose
the digits of R, and not their squares.

References
----------
Davidson and MacKinnon (1993), Estimation and Inference in Econometrics, section 18.5. Fuller (1977), Econometrica 45(4). Hansen (1982),
Econometrica 50(4).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from betahat.solvers.triangles import triangle_of

# Below this share of their length, columns that the instruments leave are rounding error.
_NOTHING = 1e-9


@dataclass(frozen=True, eq=False)
class InstrumentTriangle:
    """The R of [X1, Z, Y, y], of one sample or of several.

    Attributes
    ----------
    triangle : Tensor
        (..., p, p), p = exogenous + instruments + endogenous + 1.
    exogenous, instruments, endogenous : int
        The numbers of columns of X1, Z and Y.
    """

    triangle: Tensor
    exogenous: int
    instruments: int
    endogenous: int

    @property
    def known(self) -> int:
        """L, the columns of [X1, Z]."""
        return self.exogenous + self.instruments

    @property
    def width(self) -> int:
        """k, the columns of X = [X1, Y]."""
        return self.exogenous + self.endogenous

    @property
    def of_instruments(self) -> Tensor:
        """(..., L, L) the R of [X1, Z]."""
        return self.triangle[..., : self.known, : self.known]

    @property
    def columns(self) -> Tensor:
        """(..., p, k) the columns of X."""
        return torch.cat([self.triangle[..., : self.exogenous], self.triangle[..., self.known : -1]], -1)

    @property
    def regressors(self) -> Tensor:
        """(..., L, k) P with P'P = X'P_z X."""
        return self.columns[..., : self.known, :]

    @property
    def target(self) -> Tensor:
        """(..., L) with P'target = X'P_z y."""
        return self.triangle[..., : self.known, -1]

    @property
    def moved(self) -> Tensor:
        """(..., q, m + 1) S with S'S = [Y, y]'(P_z - P_1)[Y, y], P_1 the projection on X1."""
        return self.triangle[..., self.exogenous : self.known, self.known :]

    @property
    def left(self) -> Tensor:
        """(..., m + 1, m + 1) N with N'N = [Y, y]'M_z [Y, y]."""
        return self.triangle[..., self.known :, self.known :]

    @property
    def first_stage(self) -> Tensor:
        """(..., L, k) the coefficients of X on [X1, Z]."""
        found: Tensor = torch.linalg.solve_triangular(self.of_instruments, self.regressors, upper=True)
        return found


@dataclass(frozen=True, eq=False)
class Estimated:
    """Estimates.

    Attributes
    ----------
    params : Tensor
        (..., k).
    triangle : Tensor
        (..., k, k) R with R'R = A, whose inverse is the bread.
    found : Tensor
        (...) whether there is an estimate: A is positive definite.
    """

    params: Tensor
    triangle: Tensor
    found: Tensor


def k_class(factor: InstrumentTriangle, excess: Tensor | float) -> Estimated:
    """Solve X'(I - kappa M_z)(y - Xb) = 0, kappa = 1 + `excess`, (...) or a number; 0 is two-stage least squares.

    With P = QT, A = T'(I - excess V'V)T, V = N T^-1.
    """
    base, triangle = torch.linalg.qr(factor.regressors)
    moments = (base.mT @ factor.target[..., None])[..., 0]
    eye = torch.eye(factor.width).to(triangle)
    found = triangle.diagonal(dim1=-2, dim2=-1).abs().amin(-1) > 0
    over = torch.as_tensor(excess).to(triangle)
    if bool((over != 0).any()):
        safe = torch.where(found[..., None, None], triangle, eye)
        below = torch.nn.functional.pad(factor.left[..., :-1], (factor.exogenous, 0))
        apart = torch.linalg.solve_triangular(safe, below, upper=True, left=False)
        inner, failed = torch.linalg.cholesky_ex(eye - over[..., None, None] * (apart.mT @ apart))
        found = found & (failed == 0)
        inner = torch.where(found[..., None, None], inner, eye)
        moments = moments - over[..., None] * (apart.mT @ factor.left[..., -1:])[..., 0]
        moments = torch.cholesky_solve(moments[..., None], inner)[..., 0]
        whole = inner.mT @ triangle
    else:
        whole = triangle
    safe = torch.where(found[..., None, None], triangle, eye)
    params = torch.linalg.solve_triangular(safe, moments[..., None], upper=True)[..., 0]
    return Estimated(params, whole, found & torch.isfinite(params).all(-1))


def liml_excess(factor: InstrumentTriangle) -> Tensor:
    """Return (...) kappa - 1 of limited information maximum likelihood: the smallest eigenvalue of (N'N)^-1 S'S, 0 if just identified."""
    if factor.instruments == factor.endogenous:
        return torch.zeros_like(factor.triangle[..., 0, 0])
    moved, left = factor.moved, factor.left
    sizes = torch.linalg.vector_norm(factor.triangle[..., factor.exogenous :, factor.known :], dim=-2)
    if bool((left.diagonal(dim1=-2, dim2=-1).abs() > _NOTHING * sizes).all()):
        apart = torch.linalg.solve_triangular(left, moved, upper=True, left=False)
        smallest: Tensor = torch.linalg.svdvals(apart)[..., -1]
        return smallest.square()
    whole = triangle_of(torch.cat([moved, left], -2))  # an endogenous variable is made of the instruments
    share: Tensor = torch.linalg.svdvals(torch.linalg.solve_triangular(whole, left, upper=True, left=False))[
        ..., 0
    ].square()
    return (1.0 - share).clamp_min(0.0) / share


def weighted_moments(factor: InstrumentTriangle, half: Tensor) -> Estimated:
    """Minimise |Hg|^2, g the sum of u e with u the rows of [X1, Z] R^-1, and H (L, L) `half`."""
    sides = half @ torch.cat([factor.regressors, factor.target[..., None]], -1)
    base, triangle = torch.linalg.qr(sides[..., :-1])
    moments = base.mT @ sides[..., -1:]
    return Estimated(
        torch.linalg.solve_triangular(triangle, moments, upper=True)[..., 0],
        triangle,
        triangle.diagonal(dim1=-2, dim2=-1).abs().amin(-1) > 0,
    )


def k_class_columns(factor: InstrumentTriangle, excess: float) -> Tensor:
    """Return (k + q, k) M with X - kappa M_z X = [X1, Y, Z] M, what scores are residuals times."""
    columns, first = factor.first_stage.new_zeros(factor.width + factor.instruments, factor.width), factor.first_stage
    exogenous, width, kappa = factor.exogenous, factor.width, 1.0 + excess
    columns[:exogenous, :exogenous] = torch.eye(exogenous).to(columns)
    columns[:exogenous, exogenous:] = kappa * first[:exogenous, exogenous:]
    columns[width:, exogenous:] = kappa * first[exogenous:, exogenous:]
    columns[exogenous:width, exogenous:] = -excess * torch.eye(factor.endogenous).to(columns)
    return columns


def moment_columns(factor: InstrumentTriangle, half: Tensor) -> Tensor:
    """Return (k + q, k) M with [X1, Z] W Z'X = [X1, Y, Z] M, W the weight R^-1 H'H R^-T of the moments."""
    turned = half.mT @ (half @ factor.regressors)
    solved = torch.linalg.solve_triangular(factor.of_instruments, turned, upper=True)
    exogenous = factor.exogenous
    idle = solved.new_zeros(factor.endogenous, factor.width)
    return torch.cat([solved[:exogenous], idle, solved[exogenous:]])


def moment_sums(factor: InstrumentTriangle, params: Tensor) -> Tensor:
    """Return (L,) g, the sums of u e at (k,) parameters, u the rows of [X1, Z] R^-1."""
    return factor.target - factor.regressors @ params
