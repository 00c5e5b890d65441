"""Small-sample corrections: which coefficients are counted, and what a variance is multiplied by.

n - k itself is `Counts.free` (`calculus/counts.py`), which nobody else writes. Packages differ in four choices, a `Convention`, which are those of fixest's ``ssc``. With absorbed effects
k is the number of the model's own coefficients, plus one for the constant, which all effects share, plus each effect's levels less the
redundant ones. Effects that are nested in a cluster are not counted: each cluster is demeaned by itself, which its sum of scores already reflects.

References
----------
Cameron and Miller (2015), J. Human Resources 50(2), section III.B. Correia (2015), "Singletons, cluster-robust standard errors and fixed
effects", on nested effects. R: ``fixest::ssc``, ``sandwich::vcovCL``. Stata: ``regress, vce(cluster)``, ``reghdfe``.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Literal

from torch import Tensor

from betahat.calculus.counts import Counts, Levels
from betahat.errors import EstimationError


class ByClusters(Enum):
    """The factor by the number of clusters G; without clusters each row is one."""

    NOTHING = "1"
    LESS_ONE = "G / (G - 1)"
    LESS_COEFFICIENTS = "G / (G - k)"
    LEFT_OUT = "(G - 1) / G"


@dataclass(frozen=True)
class Convention:
    """What a variance is multiplied by.

    Attributes
    ----------
    coefficients : bool
        (n - 1) / (n - k): fixest's K.adj.
    clusters : ByClusters
        The factor by the number of clusters: fixest's G.adj.
    levels : Levels
        Which absorbed effects are part of k: fixest's K.fixef.
    smallest : bool
        Whether all parts of several ways of clustering take the smallest G, or each its own: fixest's G.df.
    exact : bool
        Whether absorbed coefficients are counted by the connected parts of effects, or each effect's levels less one: fixest's K.exact.
    """

    coefficients: bool = True
    clusters: ByClusters = ByClusters.LESS_ONE
    levels: Levels = Levels.NOT_NESTED
    smallest: bool = False
    exact: bool = True


# n / (n - k) of rows, G / (G - 1) (n - 1) / (n - k) of clusters.
FULL = Convention()

Kind = Literal["CR0", "CR1", "CR1p", "CR1S", "CR2", "CR3", "jackknife"]
Correction = Literal["stata", "fixest", "reghdfe", "sandwich", "none"]

# By clubSandwich's names; CR2 and CR3 correct the scores themselves.
KINDS: Mapping[Kind, Convention] = {
    "CR0": Convention(False, ByClusters.NOTHING),
    "CR1": Convention(False, ByClusters.LESS_ONE),
    "CR1p": Convention(False, ByClusters.LESS_COEFFICIENTS),
    "CR1S": FULL,
    "CR2": Convention(False, ByClusters.NOTHING),
    "CR3": Convention(False, ByClusters.NOTHING),
    "jackknife": Convention(False, ByClusters.LEFT_OUT),
}


@dataclass(frozen=True)
class Package:
    """What a package does with clusters by default: its kind in least squares and in other models, and as in `Convention`."""

    linear: Kind
    other: Kind
    levels: Levels
    smallest: bool
    exact: bool = True


PACKAGES: Mapping[Correction, Package] = {
    "stata": Package("CR1S", "CR1", Levels.NOT_NESTED, smallest=True),
    "fixest": Package("CR1S", "CR1S", Levels.NOT_NESTED, smallest=True, exact=False),
    "reghdfe": Package("CR1S", "CR1", Levels.NOT_NESTED, smallest=True),
    "sandwich": Package("CR1S", "CR1", Levels.ALL, smallest=False),
    "none": Package("CR1S", "CR1S", Levels.NONE, smallest=False),
}


def factor(
    counts: Counts, convention: Convention, clusters: float | None = None, nested: Collection[int] = ()
) -> float:
    """Return what a variance is multiplied by.

    Parameters
    ----------
    counts : Counts
        n, r, the outputs and the absorbed effects.
    convention : Convention
        Which correction.
    clusters : float, optional
        G; None if rows are not clustered.
    nested : collection of int
        The positions of absorbed effects that are nested in one of the ways of clustering.

    Examples
    --------
    >>> from betahat.calculus.counts import Counts, EffectSize
    >>> counts = Counts(nobs=10, rank=1, absorbed=(EffectSize(3), EffectSize(5)))
    >>> factor(counts, FULL) == 10 / (10 - (1 + 3 + 5 - 1))
    True
    >>> factor(counts, FULL, clusters=3, nested={0}) == 3 / 2 * 9 / (10 - (1 + 5))
    True
    """
    groups = counts.nobs if clusters is None else clusters
    k = counts.coefficients(convention.levels, () if clusters is None else nested, convention.exact)
    if convention.clusters is ByClusters.LESS_COEFFICIENTS and groups <= k:
        raise EstimationError(
            f"CR1p divides by G - k, but there are {groups:g} clusters for {k:g} coefficients; use CR1 or CR2."
        )
    above, below = {
        ByClusters.NOTHING: (1.0, 1.0),
        ByClusters.LESS_ONE: (groups, groups - 1.0),
        ByClusters.LESS_COEFFICIENTS: (groups, groups - k),
        ByClusters.LEFT_OUT: (groups - 1.0, groups),
    }[convention.clusters]
    if convention.coefficients:
        above, below = above * (counts.nobs - 1.0), below * (counts.nobs - k)
    return above / below


def between(groups: Iterable[float]) -> float:
    """Return G - 1, the degrees of freedom of tests between clusters: of several ways the smallest G."""
    return float(min(groups)) - 1.0


def mean_leverage(counts: Counts) -> float:
    """Return k / n."""
    return counts.coefficients() / counts.nobs


def free_by_output(counts: Counts, leverages: Tensor) -> Tensor:
    """Return (m,) n - k_j of several outputs, k_j an output's share of the coefficients by its (m,) sum of leverages."""
    return counts.nobs - leverages * (counts.coefficients() * counts.outputs / leverages.sum())
