"""How far lags go and what they weigh: the options of HAC and of panels, checked."""

from __future__ import annotations

from dataclasses import dataclass, replace
from numbers import Integral
from typing import Any

from torch import Tensor

from betahat.covariance.base import Covariance
from betahat.covariance.kernels import KernelName, weights_of_bandwidth, weights_of_lags
from betahat.covariance.option_words import option_in_words
from betahat.errors import OptionError, is_number, shown


@dataclass(frozen=True, eq=False)
class Lags:
    """How lags are weighed.

    Attributes
    ----------
    weights : Tensor
        (L + 1,) of the lags 0 to L.
    words : str
        What a note says of them.
    """

    weights: Tensor
    words: str


def check_lags(maxlags: Any, bandwidth: Any) -> None:
    """Refuse values that are neither a number of lags nor a bandwidth."""
    if maxlags is not None and bandwidth is not None:
        raise OptionError("maxlags and bandwidth cannot be combined, as each determines the lags; pass one.")
    whole = isinstance(maxlags, Integral) and is_number(maxlags) and int(maxlags) >= 0
    if not whole and maxlags is not None and not (isinstance(maxlags, str) and maxlags == "newey-west"):
        raise OptionError(f"maxlags is {shown(maxlags)}; pass a whole number of lags, 0 or more, or 'newey-west'.")
    if isinstance(bandwidth, str) and bandwidth not in ("newey-west", "andrews"):
        raise OptionError(f"bandwidth is {shown(bandwidth)}; pass a number, 'newey-west' or 'andrews'.")
    number = is_number(bandwidth) and bandwidth >= 0.0
    if bandwidth is not None and not isinstance(bandwidth, str) and not number:
        raise OptionError(f"bandwidth is {shown(bandwidth)}; pass a number of zero or more, 'newey-west' or 'andrews'.")


def lags_of(kernel: KernelName, maxlags: Any, bandwidth: Any, count: int) -> Lags:
    """Return the lags below `count`, of a checked maxlags or bandwidth."""
    if bandwidth is not None:
        name = "" if kernel == "bartlett" else f"the {kernel} kernel with "
        return Lags(weights_of_bandwidth(kernel, float(bandwidth), count), f"{name}bandwidth {float(bandwidth):.4g}")
    lags = default_lags(count) if maxlags is None else int(maxlags)
    if lags >= count:
        raise OptionError(f"maxlags is {lags}, and there are {count} periods; pass fewer lags than that.")
    return Lags(weights_of_lags(kernel, lags), f"{lags} lags")


def default_lags(count: int) -> int:
    """Return the whole part of 4 (n / 100)^(2/9)."""
    return min(int(4.0 * (count / 100.0) ** (2.0 / 9.0)), count - 1)


def with_lags(covariance: Covariance, estimator: Any, lags: Lags) -> Covariance:
    """Add the number of lags to the options in words, where the estimator's own options do not say it."""
    if estimator.bandwidth is not None or isinstance(estimator.maxlags, Integral):
        return covariance
    return replace(covariance, options=(("maxlags", option_in_words("maxlags", len(lags.weights) - 1)),))
