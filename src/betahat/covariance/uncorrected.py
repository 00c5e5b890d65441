"""An estimator without its small-sample factor, which statistics of Lagrange multipliers do without."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from betahat.covariance.base import Estimator
from betahat.covariance.bootstrap import Bootstrap
from betahat.covariance.cluster import Cluster
from betahat.covariance.conley import Conley
from betahat.covariance.driscoll_kraay import DriscollKraay
from betahat.covariance.given import Given
from betahat.covariance.hac import HAC
from betahat.covariance.hc import HC0, HC1
from betahat.covariance.jackknife import Jackknife
from betahat.covariance.panel_newey_west import PanelNeweyWest
from betahat.covariance.small_samples import Kind

_FACTORS: tuple[Kind, ...] = ("CR1", "CR1p", "CR1S")


def _cluster(estimator: Cluster) -> Cluster:
    return replace(estimator, kind="CR0", correction=None) if estimator.kind in _FACTORS else estimator


_WITHOUT: Mapping[type[Estimator], Callable[[Any], Estimator]] = {
    HC1: lambda estimator: HC0(),
    Cluster: _cluster,
    HAC: lambda estimator: replace(estimator, correction=False),
    Conley: lambda estimator: replace(estimator, correction=False),
    DriscollKraay: lambda estimator: replace(estimator, correction=None),
    PanelNeweyWest: lambda estimator: replace(estimator, correction=None),
}
# Which of them refit, and so have no answer at parameters that are no estimate; and which know one fit only.
REFITTING: tuple[type[Estimator], ...] = (Bootstrap, Jackknife)
OF_ONE_FIT: tuple[type[Estimator], ...] = (Given,)


def uncorrected(estimator: Estimator) -> Estimator:
    """Return the estimator with a factor of one where it has a small-sample factor; those that change residuals themselves stay."""
    change = _WITHOUT.get(type(estimator))
    return estimator if change is None else change(estimator)
