"""Cluster-robust covariance, CR0 to CR3 and the jackknife, for one or several ways of clustering."""

from __future__ import annotations

import itertools
from dataclasses import dataclass, replace
from typing import Any, Literal, get_args

import torch
from torch import Tensor

from betahat.covariance.base import Covariance, Estimator, clusterings, keep_given
from betahat.covariance.cr2_cr3 import cr2, cr3
from betahat.covariance.fixed import warn_of_fixed
from betahat.covariance.partitions import groups_of, joint, sum_finest, warn_of_clusters
from betahat.covariance.repair import repaired
from betahat.covariance.sandwich import of_core, penalised
from betahat.covariance.satterthwaite import Adjusted
from betahat.covariance.small_samples import KINDS, PACKAGES, Convention, Correction, Kind, between, factor
from betahat.data.groups import Groups
from betahat.data.products import gram
from betahat.errors import OptionError, is_one_of, listed, shown
from betahat.fits.fit import Fit
from betahat.fits.influence_sums import influence_sums
from betahat.fits.nested import counts_among, nested_effects
from betahat.solvers.least_squares import RowSum, row_residuals


@dataclass(frozen=True, eq=False)
class Cluster(Estimator):
    """A^-1 (sum over clusters of s_g s_g') A^-1, s_g the sum of a cluster's scores, with a small-sample factor.

    With several ways of clustering, the covariances of all their intersections are added with alternating signs.

    Attributes
    ----------
    groups : str, vector, or several of them
        A column of the data, or a label for each of its rows; several for clustering in several ways.
    kind : {"CR1S", "CR0", "CR1", "CR1p", "CR2", "CR3", "jackknife"}
        The factor or the adjustment, by clubSandwich's names, G clusters, n rows, k coefficients: 1 for CR0, G / (G - 1)
        for CR1, G / (G - k) for CR1p, G (n - 1) / ((G - 1) (n - k)) for CR1S (Stata, statsmodels). CR2 multiplies a
        cluster's residuals by the inverse root of their covariance under the target; CR3 by (I - H_gg)^-1, which leaves
        the cluster out of the fit; "jackknife" is (G - 1) / G times CR3.
    multiway : {"each", "min"}
        Whether each intersection has its own G, or all of them the smallest of the ways' own.
    target : {"identity", "inverse_weights"}
        CR2's working covariance of the errors in weighted least squares; other models have only one.
    correction : {"stata", "fixest", "reghdfe", "sandwich", "none"} or None
        The factor of another package instead of that of `kind` CR1S. They differ in absorbed effects: CR1S, "stata" and "reghdfe" leave those out
        of k that are nested in a cluster, and count the others by their connected parts; "fixest" counts each but the first less one;
        "sandwich" counts all, as a regression with their dummies does; "none" counts none, as plm does.
    psd : {"repair"} or None
        What to do if the sum over several ways is not positive semi-definite: negative eigenvalues are set to zero, and
        the note says so. Dummies for all clusters of a way are set right apart from the other coefficients, which keep the numbers
        of the regression that has partialled them out. None warns: coefficients without a variance have the standard error NaN.
    df_correction : bool
        Whether tests by t and F take G - 1 degrees of freedom (statsmodels) or n - k.

    Raises
    ------
    DataError, OptionError, EstimationError
        Labels that are missing or do not fit, one cluster, unknown options.

    Warns
    -----
    ClusterWarning
        Few clusters; a cluster that alone fixes a coefficient.

    Examples
    --------
    >>> import numpy as np
    >>> import betahat as bh
    >>> x = np.arange(12.0) % 5
    >>> res = bh.OLS(np.sqrt(x) + np.sin(np.arange(12)), bh.add_constant(x)).fit()
    >>> res.with_cov(bh.Cluster(np.arange(12) // 2, kind="CR2")).bse.round(4)
    array([0.3402, 0.1176])

    References
    ----------
    Liang and Zeger (1986), Biometrika 73(1). Cameron, Gelbach and Miller (2011), JBES 29(2). Bell and McCaffrey (2002).
    Pustejovsky and Tipton (2018), JBES 36(4). MacKinnon, Nielsen and Webb (2023), J. Appl. Econometrics 38(5). R:
    ``sandwich::vcovCL``, ``clubSandwich::vcovCR``.
    """

    groups: Any
    kind: Kind = "CR1S"
    multiway: Literal["each", "min"] = "each"
    target: Literal["identity", "inverse_weights"] = "identity"
    correction: Correction | None = None
    psd: Literal["repair"] | None = None
    df_correction: bool = True

    def __post_init__(self) -> None:
        """Refuse unknown options."""
        known = {
            "kind": get_args(Kind),
            "multiway": ("each", "min"),
            "target": ("identity", "inverse_weights"),
            "correction": (*get_args(Correction), None),
            "psd": ("repair", None),
            "df_correction": (True, False),
        }
        for option, values in known.items():
            if not is_one_of(getattr(self, option), values):
                raise OptionError(f"{option} is {shown(getattr(self, option))}; use one of {listed(values)}.")
        if self.correction is not None and self.kind != "CR1S":
            raise OptionError(
                f"correction={shown(self.correction)} replaces the factor of CR1S; do not combine it with kind={shown(self.kind)}."
            )
        keep_given(self, "groups")

    def __call__(self, fit: Fit) -> Covariance:
        """Add the covariances of the ways and of their intersections."""
        ways = groups_of(fit, self.groups, "groups")
        kind, convention = self._convention(fit)
        warn_of_clusters(ways, kind)
        counts, nested = counts_among(fit, ways), nested_effects(fit, ways)
        smallest = min(way.count for way in ways)
        core, adjusted = torch.zeros(fit.rank, fit.rank).to(fit.root), None
        if len(ways) > 1:
            sum_finest(fit, ways)
        for size in range(1, len(ways) + 1):
            for chosen in itertools.combinations(ways, size):
                groups = joint(fit, chosen)
                meat, adjusted = _meat(fit, groups, kind, self.target)
                if adjusted.fixed if adjusted is not None else size == 1:
                    warn_of_fixed(fit, groups, known=adjusted is not None)
                part = factor(counts, convention, smallest if convention.smallest else groups.count, nested) * meat
                core = core + part if size % 2 else core - part
        note = f"Standard Errors are robust to cluster correlation ({_NOTES.get(kind, kind)})"
        tests = between(way.count for way in ways) if self.df_correction else None
        label = _LABELS.get(kind, kind)
        found = of_core(fit, core, label, note + penalised(fit), df_tests=tests, clusters=clusterings(ways))
        if len(ways) > 1:
            return repaired(fit, found, ways) if self.psd == "repair" else found
        if adjusted is None or kind == "jackknife":
            return found
        identity = torch.eye(len(fit.params)).to(fit.params)
        return replace(
            found,
            df=adjusted.t_df(identity),
            small_sample=adjusted,
            note=f"{found.note}, and tests take Satterthwaite's degrees of freedom",
        )

    @property
    def row_sums(self) -> tuple[RowSum, ...]:
        """The residuals, which the sums of scores are made of."""
        return () if self.kind in ("CR2", "CR3", "jackknife") else (row_residuals,)

    def _convention(self, fit: Fit) -> tuple[Kind, Convention]:
        """Return the kind that is meant, and its factor."""
        if self.correction is None:
            return self.kind, replace(KINDS[self.kind], smallest=self.multiway == "min")
        package = PACKAGES[self.correction]
        # sandwich takes HC0 of an mlm, and of a glm, also of a Gaussian one
        dispersion = fit.objective.dispersion
        linear = (dispersion.concentrated or dispersion.instrumented) and fit.outputs == 1
        kind = package.linear if linear else package.other
        smallest = package.smallest or self.multiway == "min"
        return kind, replace(KINDS[kind], levels=package.levels, smallest=smallest, exact=package.exact)


_LABELS = {"CR1S": "cluster", "jackknife": "cluster-crv3"}
_NOTES = {"CR1S": "CRV1", "jackknife": "CRV3"}


def _meat(fit: Fit, groups: Groups, kind: Kind, target: str) -> tuple[Tensor, Adjusted | None]:
    """Return (r, r) the clusters' meat in the coordinates of Z, adjusted where the kind says so, and the adjustment."""
    if kind in ("CR3", "jackknife"):
        adjusted = cr3(fit, groups, target)
    elif kind == "CR2":
        adjusted = cr2(fit, groups, target)
    else:
        return gram(influence_sums(fit, groups)), None
    return gram(adjusted.scores), adjusted
