"""Moreira's conditional likelihood ratio test of the coefficient of one endogenous regressor, for errors of one variance.

The likelihood ratio is L - T(b), L the larger eigenvalue of Omega^-1 Y'PY, whatever b, and T(b) the part of it that is sufficient for the first stage;
given T = t, its distribution depends on t and q alone. Since t plus the conditional critical value grows with t (Mikusheva 2010), b is accepted
where T(b) is at least some t*, which one equation determines: a quadratic inequality in b.

References
----------
Moreira (2003), Econometrica 71(4). Andrews, Moreira and Stock (2007), J. Econometrics 139(1), for the p-value by one integral. Mikusheva (2010),
J. Econometrics 157(2).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from betahat.inference.anderson_rubin import Interval, below_quadratic
from betahat.inference.partialled import Partialled
from betahat.lazy import lazily
from betahat.solvers.triangles import triangle_of

if TYPE_CHECKING:
    from scipy import integrate, optimize, special
else:
    integrate = lazily("scipy.integrate")
    optimize = lazily("scipy.optimize")
    special = lazily("scipy.special")

_EXACT = 1e-13


@dataclass(frozen=True, eq=False)
class LikelihoodRatio:
    """What the test depends on.

    Attributes
    ----------
    explained : Tensor
        (q, 2) [w, y] along the instruments, in units where the reduced form's residuals have the identity as covariance.
    turn : Tensor
        (2, 2) upper triangular U with U'U that covariance.
    """

    explained: Tensor
    turn: Tensor

    @property
    def roots(self) -> tuple[float, float]:
        """The larger and the smaller eigenvalue of Omega^-1 Y'PY."""
        values = torch.linalg.svdvals(self.explained).square().tolist()
        return values[0], values[1] if len(values) > 1 else 0.0

    def sufficient(self, value: float) -> float:
        """Return T(b), of the (2,) direction that is orthogonal to that of y - w b."""
        # y - w b = [w, y] (-b, 1)' has the residual U (-b, 1)'
        error = self.turn @ self.turn.new_tensor([-value, 1.0])
        across = torch.stack([-error[1], error[0]])
        along = self.explained @ (across / torch.linalg.vector_norm(error))
        return float(along @ along)

    def statistic(self, value: float) -> float:
        """Return the likelihood ratio."""
        return max(self.roots[0] - self.sufficient(value), 0.0)

    def pvalue(self, value: float) -> float:
        """Return its conditional p-value."""
        return tail(self.statistic(value), self.sufficient(value), len(self.explained))

    def accepted(self, alpha: float) -> list[Interval]:
        """Return all b whose p-value is at least alpha, as intervals."""
        largest, least = self.roots
        count = len(self.explained)

        def gap(known: float) -> float:
            return tail(largest - known, known, count) - alpha

        if gap(least) >= 0.0:
            return [(-math.inf, math.inf)]
        needed = optimize.brentq(gap, least, largest, xtol=1e-14 * max(1.0, largest), rtol=1e-14)
        # T(b) = |E J U (-b, 1)'|^2 / |U (-b, 1)'|^2 >= t*, J the quarter turn
        quarter = self.turn.new_tensor([[0.0, -1.0], [1.0, 0.0]])
        above = self.explained @ quarter @ self.turn
        form = needed * self.turn.mT @ self.turn - above.mT @ above
        return below_quadratic(float(form[0, 0]), -2.0 * float(form[0, 1]), float(form[1, 1]))


def likelihood_ratio(part: Partialled) -> LikelihoodRatio:
    """Prepare the test of the one endogenous regressor; Omega is that of the residuals by n - k."""
    turn = triangle_of(part.unexplained) / math.sqrt(part.df_resid)
    return LikelihoodRatio(torch.linalg.solve_triangular(turn.mT, part.explained.mT, upper=False).mT, turn)


def tail(statistic: float, known: float, count: int) -> float:
    """Return P(LR > m | T = t) for q instruments.

    It is 1 - 2 K integral from 0 to pi / 2 of P(chi2(q) < (t + m) / (1 + t sin(u)^2 / m)) cos(u)^(q - 2) du,
    K = Gamma(q / 2) / (sqrt(pi) Gamma((q - 1) / 2)); chi-squared(1) for one instrument.
    """
    if statistic <= 0.0:
        return 1.0
    if count == 1:
        return float(special.chdtrc(1.0, statistic))
    scale = 2.0 * math.exp(math.lgamma(0.5 * count) - math.lgamma(0.5 * (count - 1))) / math.sqrt(math.pi)

    def above(angle: float) -> float:
        bound = (known + statistic) / (1.0 + known * math.sin(angle) ** 2 / statistic)
        return float(special.chdtrc(count, bound)) * math.cos(angle) ** (count - 2)

    turning = math.atan(math.sqrt(statistic / known)) if known > 0.0 else 0.5
    value, _ = integrate.quad(above, 0.0, 0.5 * math.pi, points=(turning,), epsabs=_EXACT, epsrel=_EXACT, limit=200)
    return min(1.0, scale * float(value))
