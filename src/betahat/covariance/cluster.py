"""Cluster-robust covariance, CR0 to CR3 and the jackknife, for one or several ways of clustering."""

from __future__ import annotations

import itertools
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Literal, get_args

import torch
from torch import Tensor

from betahat.calculus.index import index_rows
from betahat.calculus.rows import Rows, root_of_counts, rotated_scores, times
from betahat.covariance.base import Covariance, Estimator, penalised
from betahat.covariance.satterthwaite import Adjusted, ClusterHats, fully_adjusted, half_adjusted
from betahat.data.groups import Groups, intersection, read_groups
from betahat.errors import ClusterWarning, EstimationError, OptionError, counted, listed
from betahat.fit import Fit
from betahat.objectives.base import Claim
from betahat.objectives.gaussian import Gaussian
from betahat.solvers.memory import check_numbers_fit

Kind = Literal["CR0", "CR1", "CR1p", "CR1S", "CR2", "CR3", "jackknife"]
Correction = Literal["stata", "fixest", "sandwich"]

# Below this many clusters the normal distribution, and t with G - 1, reject far too often.
_FEW = 10
# Rounding of the sums leaves an eigenvalue below this share of the largest.
_NEGATIVE = 1e-12


@dataclass(frozen=True, eq=False)
class Cluster(Estimator):
    """A^-1 (sum over clusters of s_g s_g') A^-1, s_g the sum of a cluster's scores, with a small-sample factor.

    Of several ways of clustering, the covariances of all their intersections are added with alternating signs.

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
        What CR2 takes the covariance of the errors to be, of least squares with weights; other models have one.
    correction : {"stata", "fixest", "sandwich"} or None
        The factor of another package instead of that of `kind` CR1S.
    psd : {"repair"} or None
        What becomes of several ways whose sum is not positive semi-definite: negative eigenvalues are set to zero, and
        the note says so; None is an error.
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
            if getattr(self, option) not in values:
                raise OptionError(f"{option} is {getattr(self, option)!r}; use one of {listed(values)}.")
        if self.correction is not None and self.kind != "CR1S":
            raise OptionError(
                f"correction={self.correction!r} replaces the factor of CR1S; pass no kind beside it, and not {self.kind!r}."
            )

    def __call__(self, fit: Fit) -> Covariance:
        """Add the covariances of the ways and of their intersections."""
        ways = groups_of(fit, self.groups, "groups")
        kind, shared = self._factors(fit)
        warn_of_clusters(fit, ways, kind)
        smallest = min(way.count for way in ways)
        core, adjusted = torch.zeros(fit.rank, fit.rank).to(fit.root), None
        for size in range(1, len(ways) + 1):
            for chosen in itertools.combinations(ways, size):
                groups = fit.once(chosen, partial(_joint, chosen))
                scores, adjusted = _scores(fit, groups, kind, self.target)
                part = _factor(kind, smallest if shared else groups.count, fit) * (scores.mT @ scores)
                core = core + part if size % 2 else core - part
        matrix = fit.root @ core @ fit.root.mT
        note = f"Standard Errors are robust to cluster correlation ({_NOTES.get(kind, kind)})"
        tests = float(smallest - 1) if self.df_correction else None
        found = Covariance(matrix, _LABELS.get(kind, kind), note + penalised(fit), core=core, df_tests=tests)
        if len(ways) > 1:
            return _of_several(found, self.psd)
        if adjusted is None or kind == "jackknife":
            return found
        identity = torch.eye(len(matrix)).to(matrix)
        return replace(found, df=adjusted.t_df(identity), small_sample=adjusted)

    def _factors(self, fit: Fit) -> tuple[Kind, bool]:
        """Return the kind whose factor is meant, and whether all ways share the smallest number of clusters."""
        if self.correction is None:
            return self.kind, self.multiway == "min"
        linear = fit.objective.claim is Claim.LEAST_SQUARES
        return "CR1S" if linear or self.correction == "fixest" else "CR1", self.correction != "sandwich"


def groups_of(fit: Fit, given: Any, option: str) -> tuple[Groups, ...]:
    """Read groups once for all estimators that name the same columns, or hold the same vector."""
    named = isinstance(given, str) or (isinstance(given, list | tuple) and all(isinstance(part, str) for part in given))
    key = (option, tuple(given) if named and not isinstance(given, str) else given if named else id(given))
    found: tuple[Any, tuple[Groups, ...]] = fit.once(key, lambda: (given, read_groups(fit.sample, given, option)))
    ways = found[1]
    for way in ways:
        if way.count < 2:
            raise EstimationError(
                f"{way.name} has one cluster only, so nothing varies between clusters; pass labels of two or more."
            )
    return ways


def score_sums(fit: Fit, groups: Groups) -> Tensor:
    """Return (G, r) the sums of scores over groups, in Z's coordinates."""

    def compute() -> Tensor:
        if not fit.well_conditioned:
            return fit.sum_groups(groups.codes, groups.count, rotated_scores)
        plain = fit.sum_groups(groups.codes, groups.count, lambda rows: times(rows.scores(), rows.counts))
        return plain @ fit.root

    return fit.once(("scores", groups), compute)


def leave_out(fit: Fit, groups: Groups, target: str = "inverse_weights") -> Adjusted:
    """Return the clusters adjusted by (I - M_g)^-1: in Z's coordinates the steps to the fits without each cluster."""

    def compute() -> Adjusted:
        hats, rank = _hats(fit, groups, target), fit.rank
        return fully_adjusted(hats, hats.grams[:, :rank, -rank:])

    return fit.once(("leave out", target, groups), compute)


def warn_of_clusters(fit: Fit, ways: Sequence[Groups], kind: str) -> None:
    """Warn of clusters that are too few for the normal distribution, or single rows."""
    for way in ways:
        single = int((way.sizes == 1).sum())
        if kind not in ("CR2", "CR3") and way.count < _FEW:
            warnings.warn(
                f"{way.name} has {way.count} clusters, so few that these tests reject too often; use kind='CR2', whose degrees of freedom "
                "know it, or a wild cluster bootstrap.",
                ClusterWarning,
                stacklevel=5,
            )
        if single:
            every = (
                "each of them, so that this is a covariance of single rows, HC0 say"
                if single == way.count
                else str(single)
            )
            warnings.warn(
                f"{way.name} has {way.count} clusters, and a single row in {every}; see whether the labels are those that you meant.",
                ClusterWarning,
                stacklevel=5,
            )


def _joint(chosen: tuple[Groups, ...]) -> Groups:
    return chosen[0] if len(chosen) == 1 else intersection(chosen)


_LABELS = {"CR1S": "cluster", "jackknife": "cluster-crv3"}
_NOTES = {"CR1S": "CRV1", "jackknife": "CRV3"}


def _scores(fit: Fit, groups: Groups, kind: Kind, target: str) -> tuple[Tensor, Adjusted | None]:
    """Return (G, r) the scores of clusters in Z's coordinates, adjusted where the kind says so, and the adjustment."""
    if kind in ("CR3", "jackknife"):
        adjusted = leave_out(fit, groups, target)
    elif kind == "CR2":
        adjusted = fit.once((target, groups), lambda: half_adjusted(_hats(fit, groups, target)))
    else:
        return score_sums(fit, groups), None
    if adjusted.fixed:
        warnings.warn(
            f"{counted(adjusted.fixed, 'cluster')} of {groups.name} alone fix a coefficient, such as a dummy of their own, whose standard "
            "error says nothing; those of the others are right.",
            ClusterWarning,
            stacklevel=6,
        )
    return adjusted.scores, adjusted


def _hats(fit: Fit, groups: Groups, target: str) -> ClusterHats:
    """Return what adjustments need, once for all kinds."""
    weighted = isinstance(fit.objective, Gaussian) and fit.design.weights is not None
    build = _unweighted_hats if weighted and target == "identity" else _whitened_hats
    width = (2 if build is _unweighted_hats else 1) * fit.rank
    check_numbers_fit(4 * groups.count * width**2, f"The leverages of {groups.count} clusters", fit.params.device)
    return fit.once((build, groups), lambda: build(fit, groups))


def _whitened_hats(fit: Fit, groups: Groups) -> ClusterHats:
    """Return what adjustments need, the errors' covariance being what the weights or the curvature say."""

    def products(rows: Rows) -> Tensor:
        hats = times(rows.hat_rows, root_of_counts(rows.counts))
        return hats.mT @ hats

    grams = fit.sum_groups(groups.codes, groups.count, products)
    eye = torch.eye(fit.rank).to(fit.root)
    return ClusterHats(grams, score_sums(fit, groups), -eye, eye, fit.root)


def _unweighted_hats(fit: Fit, groups: Groups) -> ClusterHats:
    """Return the same of weighted least squares whose errors are taken to be homoskedastic."""

    def columns(rows: Rows) -> tuple[Tensor, Tensor]:
        block = index_rows(rows)
        weights = block.weights
        assert weights is not None
        used = weights > 0
        pairs = torch.cat([times(block.rotated, used.to(weights)), times(block.rotated, weights)], 1)
        return pairs, torch.where(used, block.residual / weights, 0.0)

    def products(rows: Rows) -> Tensor:
        pairs, _ = columns(rows)
        return pairs[:, :, None] * pairs[:, None, :]

    def sums(rows: Rows) -> Tensor:
        pairs, errors = columns(rows)
        return times(pairs, errors)

    grams = fit.sum_groups(groups.codes, groups.count, products)
    half, eye = fit.rank, torch.eye(fit.rank).to(fit.root)
    squares = grams[:, half:, half:].sum(0)
    middle = torch.cat([torch.cat([squares, -eye], 1), torch.cat([-eye, torch.zeros_like(eye)], 1)])
    pick = torch.cat([torch.zeros_like(eye), eye])
    return ClusterHats(grams, fit.sum_groups(groups.codes, groups.count, sums), middle, pick, fit.root)


def _factor(kind: Kind, count: int, fit: Fit) -> float:
    """Return the factor of a kind, of `count` clusters."""
    nobs, width = float(fit.nobs), fit.rank
    if kind == "CR1p" and count <= width:
        raise EstimationError(
            f"CR1p divides by G - k, and there are {count} clusters for {width} coefficients; use CR1 or CR2."
        )
    return {
        "CR1": count / (count - 1.0),
        "CR1p": count / (count - width) if count > width else 1.0,
        "CR1S": count / (count - 1.0) * (nobs - 1.0) / (nobs - width),
        "jackknife": (count - 1.0) / count,
    }.get(kind, 1.0)


def _of_several(found: Covariance, psd: str | None) -> Covariance:
    """Repair, or name, a sum of several ways that is no covariance."""
    spectrum, vectors = torch.linalg.eigh(found.matrix)
    if bool(spectrum[0] >= -_NEGATIVE * spectrum[-1].abs()):
        return found
    if psd == "repair":
        note = f"{found.note}. Not positive semi-definite: {counted(int((spectrum < 0).sum()), 'negative eigenvalue')} set to zero"
        return replace(found, matrix=(vectors * spectrum.clamp_min(0.0)) @ vectors.mT, note=note, core=None)
    if bool((found.matrix.diagonal() <= 0).any()):
        raise EstimationError(
            "The sum over the ways of clustering is not positive semi-definite, and a variance is negative; pass psd='repair', which says so "
            "in the note, or cluster in one way."
        )
    warnings.warn(
        "The sum over the ways of clustering is not positive semi-definite, so that joint tests may not be defined; pass psd='repair'.",
        ClusterWarning,
        stacklevel=5,
    )
    return found
