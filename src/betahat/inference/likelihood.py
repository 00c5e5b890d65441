"""Log-likelihood and information criteria."""

from __future__ import annotations

import math

from betahat.errors import OptionError
from betahat.fit import Fit

_CRITERIA = ("aic", "bic", "aicc", "hqic")


def log_likelihood(fit: Fit) -> float:
    """Return the log-likelihood at the optimum."""
    return float(fit.objective.log_likelihood(fit.loss, fit.nobs, fit.design.weights))


def information_criterion(criterion: str, llf: float, nobs: int, count: float) -> float:
    """Return -2 llf plus a penalty for `count` parameters.

    Parameters
    ----------
    criterion : {"aic", "bic", "aicc", "hqic"}
        Penalties 2k, k log n, 2k n / (n - k - 1) and 2k log log n.
    llf : float
        The log-likelihood.
    nobs : int
        n.
    count : float
        k.
    """
    if criterion not in _CRITERIA:
        raise OptionError(f"The criterion {criterion!r} is unknown; use one of {', '.join(map(repr, _CRITERIA))}.")
    penalty = {
        "aic": lambda: 2.0 * count,
        "bic": lambda: math.log(nobs) * count,
        "aicc": lambda: 2.0 * count * nobs / (nobs - count - 1.0) if nobs > count + 1.0 else math.inf,
        "hqic": lambda: 2.0 * math.log(math.log(nobs)) * count,
    }[criterion]()
    return -2.0 * llf + penalty
