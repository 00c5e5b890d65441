"""Anderson and Rubin's test of the coefficients of endogenous regressors, which weak instruments do not mislead, and the sets that it accepts.

If y = W b + X g + e, the instruments explain nothing of y - W b beyond X. The test of b regresses that on X and Z and asks whether Z has any
coefficients. Those are d(b) = d_y - b d_w, and for one endogenous regressor any covariance that is quadratic in the residuals is
V(b) = V_0 - b V_1 + b^2 V_2: classical, HC0 to HC5, clusters, HAC with given lags, Conley, and resampling with given draws. So the set of all b with
d(b)'V(b)^-1 d(b) <= c is where det(V(b) - d(b) d(b)'/c), a polynomial of degree 2q, is not negative, and its ends are roots of it.

References
----------
Anderson and Rubin (1949), Annals of Mathematical Statistics 20(1). Dufour and Taamouti (2005), Econometrica 73(4). Andrews, Stock and Sun (2019),
Annual Review of Economics 11.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from betahat.data.container import to_numpy
from betahat.errors import EstimationError
from betahat.inference.quadratic_form import check_regular, quadratic_form
from betahat.lazy import lazily

if TYPE_CHECKING:
    from scipy import linalg, optimize
else:
    linalg = lazily("scipy.linalg")
    optimize = lazily("scipy.optimize")

Interval = tuple[float, float]

# Roots of a polynomial that has double ones keep half their digits: closer ones bound no interval.
_TOGETHER = 1e-12
# Variances of a first stage that is exact are rounding errors.
_NOTHING = 1e-18
# A quadratic form obeys the parallelogram law to rounding.
_QUADRATIC = 1e-9


@dataclass(frozen=True)
class ConfidenceSet:
    """All values of one coefficient that a test does not reject.

    Attributes
    ----------
    name : str
        The test.
    alpha : float
        Its size; the set has coverage 1 - alpha.
    set : list of (float, float)
        Intervals from left to right: none, one or several. One infinite end makes a ray, two make the whole line.
    """

    name: str
    alpha: float
    set: list[Interval]

    @property
    def shape(self) -> str:
        """What it looks like: "empty", "bounded", "ray", "two rays", "line", or "several intervals"."""
        if not self.set:
            return "empty"
        left, right = math.isinf(self.set[0][0]), math.isinf(self.set[-1][1])
        if len(self.set) == 1:
            return "line" if left and right else "ray" if left or right else "bounded"
        return "two rays" if left and right and len(self.set) == 2 else "several intervals"

    def __contains__(self, value: float) -> bool:
        """Tell whether a value is in the set."""
        return any(low <= value <= high for low, high in self.set)

    def __str__(self) -> str:
        """Return the intervals as they are written."""
        parts = " and ".join(f"[{low:.6g}, {high:.6g}]" for low, high in self.set)
        return f"{self.name} {100 * (1 - self.alpha):g}% confidence set ({self.shape}): {parts or 'no value'}"

    __repr__ = __str__


@dataclass(frozen=True, eq=False)
class Pencil:
    """The instruments' coefficients in the regression of y - w b, and their variance, for every b.

    Attributes
    ----------
    outcome, first : Tensor
        (q,) d_y and d_w, with d(b) = d_y - b d_w.
    own, cross, square : Tensor
        (q, q) V(b) = own - b cross + b^2 square.
    unit : float
        The length of y over that of w.
    """

    outcome: Tensor
    first: Tensor
    own: Tensor
    cross: Tensor
    square: Tensor
    unit: float = 1.0

    def statistic(self, value: float) -> float:
        """Return d(b)'V(b)^-1 d(b)."""
        gap = self.outcome - value * self.first
        return quadratic_form(gap, self.own - value * self.cross + value**2 * self.square)

    @property
    def limit(self) -> float:
        """The statistic where b is infinite: that of the first stage, infinite where the instruments explain all of it."""
        if float(self.square.abs().max()) <= _NOTHING * float(self.own.abs().max()):
            return math.inf
        return quadratic_form(self.first, self.square)

    def turned(self, whole: Tensor) -> Pencil:
        """Return the same in coordinates where a (q, q) covariance is the identity; statistics are the same."""
        check_regular(whole)
        lower = torch.linalg.cholesky(whole)

        def both(matrix: Tensor) -> Tensor:
            half = torch.linalg.solve_triangular(lower, matrix, upper=False)
            turned: Tensor = torch.linalg.solve_triangular(lower, half.mT, upper=False)
            return turned

        gaps = torch.linalg.solve_triangular(lower, torch.stack([self.outcome, self.first], 1), upper=False)
        return Pencil(gaps[:, 0], gaps[:, 1], both(self.own), both(self.cross), both(self.square))

    def moved(self, shift: float, scale: float) -> Pencil:
        """Return the pencil of t, b = shift + scale t."""
        return Pencil(
            self.outcome - shift * self.first,
            scale * self.first,
            self.own - shift * self.cross + shift**2 * self.square,
            scale * (self.cross - 2.0 * shift * self.square),
            scale**2 * self.square,
        )

    def over(self, unit: float) -> Pencil:
        """Return the pencil of y and w in another unit, which has the same statistics."""
        square = unit**2
        return Pencil(
            self.outcome / unit, self.first / unit, self.own / square, self.cross / square, self.square / square
        )


def pencil_of(outcome: Tensor, first: Tensor, variance: Callable[[float, float], Tensor], unit: float) -> Pencil:
    """Return the pencil by polarisation.

    Parameters
    ----------
    outcome, first : Tensor
        (q,) d_y and d_w.
    variance : callable
        (a, b) to the (q, q) variance of the coefficients of a y + b w, a quadratic form in (a, b).
    unit : float
        The length of y over that of w, by which no digits are lost.
    """
    own, square = variance(1.0, 0.0), variance(0.0, 1.0)
    plus, minus = variance(1.0, unit), variance(1.0, -unit)
    both = 2.0 * (own + unit**2 * square)
    if bool((plus + minus - both).abs().max() > _QUADRATIC * both.abs().max()):
        raise EstimationError(
            "The covariance with these options is no quadratic form in the residuals, as where data choose a bandwidth or a filter, so the set of all "
            "coefficients cannot be solved for; test single values, or give the number of lags."
        )
    return Pencil(outcome, first, own, (plus - minus) / (2.0 * unit), square, unit)


def set_below(pencil: Pencil, critical: float, inside: Sequence[float] = ()) -> list[Interval]:
    """Return all b whose statistic is at most `critical`, as intervals; `inside` are values where it is small, such as an estimate.

    The roots of det(V(b) - d(b) d(b)'/c) are eigenvalues of a quadratic matrix polynomial. The real parts of all of them, complex ones as well, cut the
    line into pieces on each of which the statistic stays on one side of c, which a value in the middle tells; a root that rounding has moved off the
    line still is a cut. The ends are then found on the statistic itself.
    """
    plain = pencil.turned(pencil.own + pencil.unit**2 * pencil.square)
    count, strength = len(plain.first), float(plain.first @ plain.first)
    shift = float(plain.outcome @ plain.first) / strength if strength > 0.0 else 0.0
    spread = float(plain.moved(shift, 1.0).own.diagonal().mean())
    slope = max(float(plain.square.diagonal().mean()), strength / count)
    scale = math.sqrt(spread / slope) if spread > 0.0 and slope > 0.0 else 1.0
    moved = plain.moved(shift, scale).over(math.sqrt(spread) if spread > 0.0 else 1.0)

    def excess(value: float) -> float:
        return moved.statistic(value) - critical

    cuts = sorted({*_roots(moved, critical), *((value - shift) / scale for value in inside)})
    far_inside = moved.limit <= critical
    ends = _ends(cuts, excess, far_inside)
    bounds = [shift + scale * end for end in ends]
    if far_inside:
        bounds = [-math.inf, *bounds, math.inf]
    return list(zip(bounds[::2], bounds[1::2], strict=True))


def _roots(pencil: Pencil, critical: float) -> list[float]:
    """Return the real parts of the (2q,) roots of det(A_0 - A_1 t + A_2 t^2), A = V - d d'/c."""
    constant = pencil.own - torch.outer(pencil.outcome, pencil.outcome) / critical
    mixed = torch.outer(pencil.outcome, pencil.first)
    linear = -pencil.cross + (mixed + mixed.mT) / critical
    square = pencil.square - torch.outer(pencil.first, pencil.first) / critical
    zero, one = torch.zeros_like(square), torch.eye(len(square)).to(square)
    left = torch.cat([torch.cat([zero, one], 1), torch.cat([-constant, -linear], 1)])
    right = torch.cat([torch.cat([one, zero], 1), torch.cat([zero, square], 1)])
    values = linalg.eigvals(to_numpy(left), to_numpy(right))
    return [float(value.real) for value in values if math.isfinite(abs(value))]


def _ends(cuts: list[float], excess: Callable[[float], float], far_inside: bool) -> list[float]:
    """Return the places where the sign of the excess changes, which has one sign between neighbouring cuts and beyond them."""
    kept: list[float] = []
    for cut in cuts:
        if not kept or cut - kept[-1] > _TOGETHER * max(1.0, abs(cut), abs(kept[-1])):
            kept.append(cut)
    if not kept:
        return []
    beyond = max(1.0, kept[-1] - kept[0])
    middles = [0.5 * (a + b) for a, b in itertools.pairwise(kept)]
    places = [kept[0] - beyond, *middles, kept[-1] + beyond]
    below = [far_inside, *(excess(place) <= 0.0 for place in middles), far_inside]
    ends = []
    for i, cut in enumerate(kept):
        if below[i] == below[i + 1]:
            continue
        low, high = places[i], places[i + 1]
        changes = excess(low) * excess(high) < 0.0
        ends.append(float(optimize.brentq(excess, low, high, xtol=1e-14, rtol=1e-14)) if changes else cut)
    return ends


def below_quadratic(square: float, linear: float, constant: float) -> list[Interval]:
    """Return all b with square b^2 + linear b + constant <= 0, as intervals."""
    inf = math.inf
    if square == 0.0:
        if linear == 0.0:
            return [(-inf, inf)] if constant <= 0.0 else []
        end = -constant / linear
        return [(-inf, end)] if linear > 0.0 else [(end, inf)]
    root = linear * linear - 4.0 * square * constant
    if root < 0.0:
        return [] if square > 0.0 else [(-inf, inf)]
    # the root whose terms do not cancel, and the other by their product
    sure = -0.5 * (linear + math.copysign(math.sqrt(root), linear))
    ends = sorted((sure / square, constant / sure if sure != 0.0 else 0.0))
    return [(ends[0], ends[1])] if square > 0.0 else [(-inf, ends[0]), (ends[1], inf)]
