"""Intervals, bands and p-values from replicates of an estimate."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, get_args

import torch
from torch import Tensor

from betahat.data.container import hands_out_copies
from betahat.errors import BootstrapWarning, EstimationError, OptionError, is_one_of, listed, shown, user_level
from betahat.inference.coefficients import interval
from betahat.inference.distribution import Df, quantile

Method = Literal["normal", "percentile", "basic", "studentized", "bca", "sup-t"]
Tail = Literal["symmetric", "equal"]


@hands_out_copies
@dataclass(frozen=True, eq=False)
class Replicated:
    """An estimate of m numbers and its replicates.

    Attributes
    ----------
    estimates, errors : Tensor
        (m,) g(b) and its standard errors, the standard deviations of the replicates.
    draws : Tensor
        (R, m) g(b*).
    variances : callable
        () -> (m,) the variance of g(b) that the sample has by itself, and (R, m) those of the replicates.
    acceleration : callable
        () -> (m,).
    df : float, Tensor or None
        Degrees of freedom of "normal"; None is the normal distribution.
    """

    estimates: Tensor
    errors: Tensor
    draws: Tensor
    variances: Callable[[], tuple[Tensor, Tensor]]
    acceleration: Callable[[], Tensor]
    df: Df = None

    def interval(self, method: Method, alpha: float) -> Tensor:
        """Return (m, 2) intervals of coverage 1 - alpha, those of "sup-t" all at once; letter case does not matter.

        Raises
        ------
        OptionError, EstimationError
            An unknown method, or one that these replicates have not.

        References
        ----------
        Davison and Hinkley (1997), Bootstrap Methods and their Application, chapter 5; R: ``boot::boot.ci``. BCa: Efron (1987), JASA 82.
        sup-t: Montiel Olea and Plagborg-Møller (2019), J. Appl. Econometrics 34(1).
        """
        known = str(method).lower().replace("studentised", "studentized")
        if not is_one_of(known, _INTERVALS):
            raise OptionError(f"method is {shown(method)}; use one of {listed(_INTERVALS)}.")
        quantile(alpha, None)  # which checks alpha
        return _INTERVALS[known](self, alpha)

    def pvalues(self, values: Tensor, tail: Tail = "symmetric") -> Tensor:
        """Return (m,) p-values of g = q: the share, the sample among them, of replicates as far from g(b) as q is.

        "symmetric" counts distances of either sign; "equal" is twice the smaller of the two tails.

        References
        ----------
        Davison and Hinkley (1997), section 4.4.
        """
        if not is_one_of(tail, get_args(Tail)):
            raise OptionError(f"tail is {shown(tail)}; use one of {listed(get_args(Tail))}.")
        moved, distance = self.draws - self.estimates, self.estimates - values
        count = len(self.draws) + 1.0
        if tail == "symmetric":
            return (_count(moved.abs() >= distance.abs()) + 1.0) / count
        above, below = _count(moved >= distance) + 1.0, _count(moved <= distance) + 1.0
        return (2.0 * torch.minimum(above, below) / count).clamp_max(1.0)


def no_replicates(what: str) -> str:
    """Return the sentence for what only a bootstrap has."""
    return f"{what} needs replicates, and this covariance has none; take a bootstrap first, res.with_cov(bh.Bootstrap(999, seed=1))."


def quantiles(draws: Tensor, shares: Tensor) -> Tensor:
    """Return (m,) quantiles of (R, m) draws at (m,) shares p: the order statistic (R + 1) p, between two on the normal scale.

    References
    ----------
    Davison and Hinkley (1997), equation 5.8; R: ``boot:::norm.inter``.
    """
    ordered, reps = draws.sort(0).values, len(draws)
    place = (reps + 1.0) * shares
    if bool(((place < 1.0 - _WHOLE) | (place > reps + _WHOLE)).any()):
        warnings.warn(
            f"An interval ends beyond the last of {reps} replicates, and is cut off there; take more reps, or a larger alpha.",
            BootstrapWarning,
            stacklevel=user_level(),
        )
    whole = (place + _WHOLE).floor()
    below = whole.clamp(1, reps)
    above = (whole + 1.0).clamp(1, reps)
    low, high = (ordered.gather(0, at.long()[None] - 1)[0] for at in (below, above))
    ends = torch.special.ndtri(torch.stack([below, above, place]) / (reps + 1.0))
    inner = (ends[2] - ends[0]) / (ends[1] - ends[0])
    between = (place - whole).abs() > _WHOLE
    return torch.where(between & (above > below), low + inner * (high - low), low)


# (R + 1) p is a whole number but for rounding.
_WHOLE = 1e-9


def _count(true: Tensor) -> Tensor:
    return true.sum(0).to(torch.float64)


def _normal(of: Replicated, alpha: float) -> Tensor:
    return interval(of.estimates, of.errors, alpha, of.df)


def _around(of: Replicated, critical: Tensor) -> Tensor:
    return torch.stack([of.estimates - critical * of.errors, of.estimates + critical * of.errors], 1)


def _ends(draws: Tensor, low: Tensor, high: Tensor) -> tuple[Tensor, Tensor]:
    return quantiles(draws, low), quantiles(draws, high)


def _shares(of: Replicated, alpha: float) -> tuple[Tensor, Tensor]:
    outside = torch.full_like(of.estimates, 0.5 * alpha)
    return outside, 1.0 - outside


def _percentile(of: Replicated, alpha: float) -> Tensor:
    return torch.stack(_ends(of.draws, *_shares(of, alpha)), 1)


def _basic(of: Replicated, alpha: float) -> Tensor:
    low, high = _ends(of.draws, *_shares(of, alpha))
    return torch.stack([2.0 * of.estimates - high, 2.0 * of.estimates - low], 1)


def _studentized(of: Replicated, alpha: float) -> Tensor:
    own, each = of.variances()
    low, high = _ends((of.draws - of.estimates) / each.sqrt(), *_shares(of, alpha))
    return torch.stack([of.estimates - own.sqrt() * high, of.estimates - own.sqrt() * low], 1)


def _bca(of: Replicated, alpha: float) -> Tensor:
    below = (of.draws < of.estimates).to(torch.float64).mean(0)
    if bool(((below == 0) | (below == 1)).any()):
        raise EstimationError(
            "All replicates lie on one side of the estimate, so that the bias correction of method='bca' is not finite; use 'basic' or "
            "'studentized', or more reps."
        )
    bias, acceleration = torch.special.ndtri(below), of.acceleration()
    moved = [bias + torch.special.ndtri(share) for share in _shares(of, alpha)]
    levels = [torch.special.ndtr(bias + shift / (1.0 - acceleration * shift)) for shift in moved]
    return torch.stack(_ends(of.draws, *levels), 1)


def _sup_t(of: Replicated, alpha: float) -> Tensor:
    largest = ((of.draws - of.estimates).abs() / of.errors).amax(1)
    rank = min(math.ceil((len(largest) + 1) * (1.0 - alpha)), len(largest))
    critical = largest.sort().values[rank - 1]
    band, within = _around(of, critical), of.draws[largest <= critical]
    # The draw at the edge defines the band, and b + c s may be rounded to either side of it.
    return torch.stack([torch.minimum(band[:, 0], within.amin(0)), torch.maximum(band[:, 1], within.amax(0))], 1)


_INTERVALS: dict[str, Callable[[Replicated, float], Tensor]] = {
    "normal": _normal,
    "percentile": _percentile,
    "basic": _basic,
    "studentized": _studentized,
    "bca": _bca,
    "sup-t": _sup_t,
}
