"""Intervals, bands and p-values from bootstrap replicates of an estimate."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, get_args

import torch
from torch import Tensor

from betahat.data.handed_out import hands_out_copies
from betahat.errors import BootstrapWarning, EstimationError, OptionError, is_one_of, listed, shown, user_level
from betahat.inference.coefficients import interval
from betahat.inference.distribution import Df, quantile

Method = Literal["normal", "percentile", "basic", "studentized", "bca", "sup-t"]
Tail = Literal["symmetric", "equal"]


@hands_out_copies
@dataclass(frozen=True, eq=False)
class Replicated:
    """An estimate of m numbers and its bootstrap replicates."""

    estimates: Tensor  # (m,) g(b)
    errors: Tensor  # (m,) standard errors, the standard deviations of the replicates
    draws: Tensor  # (R, m) g(b*)
    variances: Callable[
        [], tuple[Tensor, Tensor]
    ]  # () -> (m,) the variance of g(b) in the sample, (R, m) in the replicates
    acceleration: Callable[[], Tensor]  # () -> (m,)
    df: Df = None  # of "normal"; None is the normal distribution

    def interval(self, method: Method, alpha: float) -> Tensor:
        """Return (m, 2) intervals of coverage 1 - alpha, which "sup-t" has jointly; the case of letters does not matter.

        Davison and Hinkley (1997), Bootstrap Methods and their Application, chapter 5; R: ``boot::boot.ci``. BCa: Efron (1987), JASA 82.
        sup-t: Montiel Olea and Plagborg-Møller (2019), J. Appl. Econometrics 34(1).
        """
        name = str(method).lower().replace("studentised", "studentized")
        if not is_one_of(name, _INTERVALS):
            raise OptionError(f"method is {shown(method)}; use one of {listed(_INTERVALS)}.")
        quantile(alpha, None)  # checks alpha
        return _INTERVALS[name](self, alpha)

    def pvalues(self, values: Tensor, tail: Tail = "symmetric") -> Tensor:
        """Return (m,) p-values of g = q: the share of replicates, counting the sample, that are as far from g(b) as q is.

        "symmetric" counts distances of either sign, "equal" is twice the smaller tail. Davison and Hinkley (1997), section 4.4.
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
    """Return the sentence for what only bootstraps have."""
    return f"{what} needs bootstrap replicates, but this covariance has none; use a bootstrap, res.with_cov(bh.Bootstrap(999, seed=1))."


def quantiles(draws: Tensor, shares: Tensor) -> Tensor:
    """Return (m,) quantiles of (R, m) draws at (m,) shares p: the order statistic (R + 1) p, interpolated on the normal scale.

    Davison and Hinkley (1997), equation 5.8; R: ``boot:::norm.inter``.
    """
    ordered, reps = draws.sort(0).values, len(draws)
    place = (reps + 1.0) * shares
    if bool(((place < 1.0 - _WHOLE) | (place > reps + _WHOLE)).any()):
        warnings.warn(
            f"An interval ends beyond the last of {reps} replicates and is cut off there; use more reps, or a larger alpha.",
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


# (R + 1) p counts as a whole number within rounding error.
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
            "All replicates are on the same side of the estimate, so the bias correction of method='bca' is not finite; use 'basic' or "
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
    # The draw at the edge defines the band, but b + c s may be rounded to either side of it.
    return torch.stack([torch.minimum(band[:, 0], within.amin(0)), torch.maximum(band[:, 1], within.amax(0))], 1)


_INTERVALS: dict[str, Callable[[Replicated, float], Tensor]] = {
    "normal": _normal,
    "percentile": _percentile,
    "basic": _basic,
    "studentized": _studentized,
    "bca": _bca,
    "sup-t": _sup_t,
}
