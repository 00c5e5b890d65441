"""`Partialled`: all that homoskedastic statistics of instruments depend on, a few numbers for any number of rows.

The rows of [Z, W, y] are made free of the exogenous regressors, the constant and absorbed effects, and turned so that the instruments'
columns are the first q axes: Q'Z~ = [R; 0], and what is left of W and y needs m + 1 more axes. Lengths and angles are those of the data, so that
every projection, sum of squares and k-class estimator of the data is that of q + m + 1 turned rows.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from betahat.solvers.triangles import inverse_triangle, triangle_of


@dataclass(frozen=True, eq=False)
class Partialled:
    """Instruments, endogenous regressors and dependent variable, free of the exogenous regressors, in turned rows.

    Attributes
    ----------
    instruments : Tensor
        (q, q) upper triangular R with R'R = Z~'WZ~, of independent columns.
    explained : Tensor
        (q, m + 1) [W, y] along the instruments' axes, R Pi.
    unexplained : Tensor
        (m + 1, m + 1) upper triangular: [W, y] beyond them, with U'U the products of the reduced form's residuals.
    nobs : float
        n.
    df_resid : float
        n less the exogenous regressors, absorbed effects and instruments.
    """

    instruments: Tensor
    explained: Tensor
    unexplained: Tensor
    nobs: float
    df_resid: float

    @property
    def excluded(self) -> int:
        """The number of excluded instruments, q."""
        return int(self.instruments.shape[0])

    @property
    def endogenous(self) -> int:
        """The number of endogenous regressors, m."""
        return int(self.explained.shape[1]) - 1

    @property
    def rows(self) -> Tensor:
        """(q + m + 1, m + 1) the turned rows of [W, y]."""
        return torch.cat([self.explained, self.unexplained])

    @property
    def products(self) -> Tensor:
        """(q, q) Z~'WZ~."""
        return self.instruments.mT @ self.instruments

    @property
    def reduced_form(self) -> Tensor:
        """(q, m + 1) the coefficients of the instruments in the regressions of W and of y."""
        coefficients: Tensor = torch.linalg.solve_triangular(self.instruments, self.explained, upper=True)
        return coefficients

    def combined(self, weights: Tensor) -> Tensor:
        """Return (q,) the instruments' coefficients in the regression of [W, y] c, (m + 1,) c."""
        return self.reduced_form @ weights


def partialled(triangle: Tensor, exogenous: int, excluded: int, nobs: float, df_resid: float) -> Partialled:
    """Read the blocks of the (k + q + m + 1)-square R of [X, Z, W, y], of which the first k + q columns are independent."""
    end = exogenous + excluded
    return Partialled(
        instruments=triangle[exogenous:end, exogenous:end],
        explained=triangle[exogenous:end, end:],
        unexplained=triangle[end:, end:],
        nobs=nobs,
        df_resid=df_resid,
    )


def k_class(part: Partialled, kappa: float) -> Tensor:
    """Return (m,) the k-class estimate: 2SLS with kappa = 1, OLS with 0."""
    w, y = part.rows[:, :-1], part.rows[:, -1]
    own, rest = part.unexplained[:, :-1], part.unexplained[:, -1]
    if kappa == 1.0:
        basis, triangle = torch.linalg.qr(part.explained[:, :-1])
        right = basis.mT @ part.explained[:, -1:]
        params: Tensor = torch.linalg.solve_triangular(triangle, right, upper=True)[:, 0]
    else:
        params = torch.linalg.solve(w.mT @ w - kappa * own.mT @ own, w.mT @ y - kappa * own.mT @ rest)
    return params


def partial_rsquared(part: Partialled) -> Tensor:
    """Return (m,) the share of each endogenous regressor that the instruments explain, both free of the exogenous regressors."""
    explained = part.explained[:, :-1].square().sum(0)
    return explained / (explained + part.unexplained[:, :-1].square().sum(0))


def shea_rsquared(part: Partialled) -> Tensor:
    """Return (m,) Shea's partial R2: the same of what the other endogenous regressors do not explain.

    It is the variance of the coefficient by OLS over that by 2SLS, for errors of one variance: (X'X)^-1_jj / (Xhat'Xhat)^-1_jj.
    """
    whole = inverse_triangle(triangle_of(part.rows[:, :-1])).square().sum(1)
    fitted = inverse_triangle(triangle_of(part.explained[:, :-1])).square().sum(1)
    return whole / fitted
