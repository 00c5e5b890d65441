"""Tests of the instruments' exogeneity, which need more instruments than endogenous regressors, and of the regressors' exogeneity.

References
----------
Sargan (1958), Econometrica 26(3). Basmann (1960), JASA 55. Hansen (1982), Econometrica 50(4). Durbin (1954). Wu (1973), Econometrica 41(4). Hausman
(1978), Econometrica 46(6). Wooldridge (1995), Score diagnostics for linear models estimated by two stage least squares. Hayashi (2000),
Econometrics, section 3.6, for the C statistic.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from betahat.inference.hypothesis import HypothesisTest, chi2_test, f_test
from betahat.inference.partialled import Partialled, k_class
from betahat.inference.quadratic_form import check_regular
from betahat.solvers.triangles import triangle_of

VALID = "the instruments are not correlated with the errors (overidentifying restrictions hold)."


def explained_share(part: Partialled, params: Tensor) -> tuple[float, float]:
    """Return the sum of squares of y - W b, free of the exogenous regressors, that the instruments explain, and the whole of it, (m,) b."""
    weights = torch.cat([-params, params.new_ones(1)])
    explained = float((part.explained @ weights).square().sum())
    return explained, explained + float((part.unexplained @ weights).square().sum())


def sargan(part: Partialled, params: Tensor) -> HypothesisTest:
    """Test by n R2 of the residuals on the instruments, chi-squared(q - m): e'P e / (e'e / n)."""
    explained, whole = explained_share(part, params)
    return chi2_test("Sargan", VALID, part.nobs * explained / whole, part.excluded - part.endogenous)


def basmann(part: Partialled, params: Tensor) -> HypothesisTest:
    """Test by (n - k) e'P e / e'M e, chi-squared(q - m), k the exogenous regressors, effects and instruments."""
    explained, whole = explained_share(part, params)
    statistic = part.df_resid * explained / (whole - explained)
    return chi2_test("Basmann", VALID, statistic, part.excluded - part.endogenous)


def basmann_f(part: Partialled, kappa: float) -> HypothesisTest:
    """Test by (kappa - 1) (n - k) / (q - m), kappa that of LIML, by F(q - m, n - k)."""
    free = part.excluded - part.endogenous
    return f_test("Basmann F", VALID, (kappa - 1.0) * part.df_resid / free, free, part.df_resid)


def exogenous(names: Sequence[str]) -> str:
    """Return the hypothesis of exogeneity in words."""
    return f"{', '.join(names)} {'is' if len(names) == 1 else 'are'} exogenous."


def durbin(part: Partialled, tested: Sequence[int], names: Sequence[str]) -> HypothesisTest:
    """Test that some endogenous regressors are exogenous, by the difference of two sums of squares over that of the efficient fit, chi-squared."""
    difference, whole = _difference(part, tested)
    return chi2_test("Durbin", exogenous(names), part.nobs * difference / whole, len(tested))


def wu_hausman(part: Partialled, tested: Sequence[int], names: Sequence[str]) -> HypothesisTest:
    """Test the same by F, which for all endogenous regressors is that of their first stage's residuals beside them in the regression."""
    difference, whole = _difference(part, tested)
    free = len(tested)
    left = part.df_resid + part.excluded - part.endogenous - free
    return f_test("Wu-Hausman", exogenous(names), difference / free / ((whole - difference) / left), free, left)


def _difference(part: Partialled, tested: Sequence[int]) -> tuple[float, float]:
    """Return e0'P0 e0 - e1'P1 e1 and e0'e0: 0 takes the tested regressors for exogenous, and so for instruments, and 1 does not."""
    rows, count = part.rows, part.excluded
    weights = torch.cat([-k_class(part, 1.0), rows.new_ones(1)])
    behind = float((part.explained @ weights).square().sum())
    # with the tested regressors as instruments, of which the others and y are then made free
    one = torch.eye(len(rows)).to(rows)[:, :count]
    taken = rows[:, list(tested)]
    others = [i for i in range(part.endogenous) if i not in tested]
    space = torch.linalg.qr(torch.cat([one, taken], 1)).Q
    fitted = space @ (space.mT @ rows[:, others])
    basis, triangle = torch.linalg.qr(torch.cat([taken, fitted], 1))
    regressors = torch.cat([taken, rows[:, others]], 1)
    params = torch.linalg.solve_triangular(triangle, basis.mT @ rows[:, -1:], upper=True)
    residual = rows[:, -1:] - regressors @ params
    explained = float((space.mT @ residual).square().sum())
    return explained - behind, float(residual.square().sum())


def moments_test(name: str, moments: Tensor, jacobian: Tensor, variance: Tensor, null: str = VALID) -> HypothesisTest:
    """Return the least (g - G b)'S^-1 (g - G b) over b as chi-squared(q - m): Hansen's J with the weight S^-1.

    Parameters
    ----------
    moments, jacobian : Tensor
        (q,) the instruments' products with y and (q, m) with the endogenous regressors, all free of the exogenous ones.
    variance : Tensor
        (q, q) S, the variance of the sum of moments.
    """
    return chi2_test(name, null, _least(moments, jacobian, variance), len(moments) - jacobian.shape[1])


def c_statistic(
    moments: Tensor, jacobian: Tensor, variance: Tensor, tested: Sequence[int], names: Sequence[str]
) -> HypothesisTest:
    """Test some instruments by how much smaller J is without them, both by the weight of all, so that the difference is not negative."""
    kept = [i for i in range(len(moments)) if i not in tested]
    less = _least(moments[kept], jacobian[kept], variance[kept][:, kept])
    whole = _least(moments, jacobian, variance)
    return chi2_test(
        "C", f"{', '.join(names)} {'is' if len(names) == 1 else 'are'} exogenous.", whole - less, len(tested)
    )


def _least(moments: Tensor, jacobian: Tensor, variance: Tensor) -> float:
    scale, spectrum, vectors = check_regular(variance)
    turned = vectors.mT @ (torch.cat([jacobian, moments[:, None]], 1) / scale[:, None]) / spectrum.sqrt()[:, None]
    triangle = triangle_of(turned)
    width = jacobian.shape[1]
    return float(triangle[width:, width:].square().sum())
