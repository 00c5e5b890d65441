"""Cluster-robust covariance, CR0 to CR3 and the jackknife, for one or several ways of clustering."""

from __future__ import annotations

import itertools
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, get_args

import torch
from torch import Tensor

from betahat.covariance.base import Covariance, Estimator, clusterings, keep_given, of_core, penalised
from betahat.covariance.defined import score_sizes
from betahat.covariance.fixed import warn_of_fixed
from betahat.covariance.leverage import full, half
from betahat.covariance.satterthwaite import Adjusted
from betahat.covariance.small_samples import (
    KINDS,
    PACKAGES,
    Convention,
    Correction,
    Kind,
    between,
    counts_of,
    factor,
)
from betahat.data.groups import Groups, intersection, read_groups
from betahat.data.products import gram
from betahat.data.times import check_order
from betahat.errors import ClusterWarning, EstimationError, OptionError, counted, is_one_of, listed, shown, user_level
from betahat.fits.fit import Fit
from betahat.fits.influence_sums import influence_sums
from betahat.fits.remembered import of_fit
from betahat.solvers.least_squares import RowSum, row_residuals

# Below this many clusters the normal distribution, and t with G - 1, reject far too often.
_FEW = 10
# Rounding of the sums leaves an eigenvalue below this share of the largest.
_NEGATIVE = 1e-12
# Variances that differ by more than this leave the smaller no digit in the larger's eigenvectors.
_SPREAD = 1e-12
# A repaired covariance has directions without variance to rounding.
_SINGULAR = 1e-10
# Sums of scores that cancel do so to rounding, and to the optimum's tolerance, of the largest.
_STILL = 1e-8


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
                f"correction={shown(self.correction)} replaces the factor of CR1S; pass no kind beside it, and not {shown(self.kind)}."
            )
        keep_given(self, "groups")

    def __call__(self, fit: Fit) -> Covariance:
        """Add the covariances of the ways and of their intersections."""
        ways = groups_of(fit, self.groups, "groups")
        kind, convention = self._convention(fit)
        warn_of_clusters(ways, kind)
        counts, smallest = counts_of(fit), min(way.count for way in ways)
        core, adjusted = torch.zeros(fit.rank, fit.rank).to(fit.root), None
        if len(ways) > 1:
            _sum_finest(fit, ways)
        for size in range(1, len(ways) + 1):
            for chosen in itertools.combinations(ways, size):
                groups = _joint(fit, chosen)
                meat, adjusted = _meat(fit, groups, kind, self.target)
                if adjusted.fixed if adjusted is not None else size == 1:
                    warn_of_fixed(fit, groups, known=adjusted is not None)
                part = factor(counts, convention, smallest if convention.smallest else groups.count) * meat
                core = core + part if size % 2 else core - part
        note = f"Standard Errors are robust to cluster correlation ({_NOTES.get(kind, kind)})"
        tests = between(way.count for way in ways) if self.df_correction else None
        label = _LABELS.get(kind, kind)
        found = of_core(fit, core, label, note + penalised(fit), df_tests=tests, clusters=clusterings(ways))
        if len(ways) > 1:
            return _repaired(fit, found, ways) if self.psd == "repair" else found
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
        linear = fit.objective.dispersion.squares and fit.outputs == 1  # sandwich takes HC0 of an mlm
        kind = package.linear if linear else package.other
        return kind, replace(KINDS[kind], levels=package.levels, smallest=package.smallest)


def groups_of(fit: Fit, given: Any, option: str) -> tuple[Groups, ...]:
    """Read groups; what was computed for the same partition before serves again."""
    ways = tuple(_known(fit, _counting(fit, way)) for way in read_groups(fit.sample, given, option))
    for way in ways:
        if way.count < 2:
            raise EstimationError(
                f"{way.name} has one cluster only, so nothing varies between clusters; pass labels of two or more."
            )
    return ways


def group_of(fit: Fit, given: Any, option: str) -> Groups:
    """Read one partition of the rows, as `groups_of`."""
    ways = groups_of(fit, given, option)
    if len(ways) != 1:
        raise OptionError(f"{option} has {len(ways)} columns; pass one.")
    return ways[0]


def time_of(fit: Fit, given: Any) -> Groups:
    """Read the periods of the rows, as `groups_of`, in the order of time."""
    times = group_of(fit, given, "time")
    check_order(times)
    return times


def _counting(fit: Fit, groups: Groups) -> Groups:
    """Leave out groups whose rows all have a frequency of zero: they count for nothing, and go with the first that does."""
    counts = fit.sample.counts
    if counts is None or bool(counts.all()):
        return groups
    there = torch.zeros(groups.count, dtype=torch.bool, device=counts.device).index_fill_(
        0, groups.codes[counts > 0], True
    )
    codes = (there.cumsum(0) - 1).clamp_min(0)[groups.codes]
    return replace(groups, codes=codes, count=int(there.sum()), labels=groups.labels[there.cpu().numpy()])


def _known(fit: Fit, groups: Groups) -> Groups:
    """Return the first groups of this partition that the fit has met."""
    met = _met(fit)
    for other in met:
        same = other.count == groups.count and other.name == groups.name and other.labels.equals(groups.labels)
        if same and torch.equal(other.codes, groups.codes):
            return other
    met.append(groups)
    return groups


@of_fit
def _met(fit: Fit) -> list[Groups]:
    """Return the partitions that the fit has met, to which others are added."""
    return []


def _sum_finest(fit: Fit, ways: tuple[Groups, ...]) -> None:
    """Take the sums over several ways and some of their intersections from those over the finest one."""
    finest = _joint(fit, ways)
    sums = influence_sums(fit, finest)
    for size in range(1, len(ways)):
        for chosen in itertools.combinations(ways, size):
            groups = _joint(fit, chosen)
            codes = torch.empty(finest.count, dtype=torch.int64, device=finest.codes.device)
            codes[finest.codes] = groups.codes
            coarser = sums.new_zeros(groups.count, sums.shape[1]).index_add_(0, codes, sums)
            influence_sums.learn(coarser, fit, groups)


def warn_of_clusters(ways: Sequence[Groups], kind: str) -> None:
    """Warn of clusters that are too few for the normal distribution, or single rows."""
    for way in ways:
        single = int((way.sizes == 1).sum())
        if (kind not in ("CR2", "CR3") or len(ways) > 1) and way.count < _FEW:
            warnings.warn(
                f"{way.name} has {way.count} clusters, so few that these tests reject too often; use kind='CR2' in one way, whose degrees "
                "of freedom know it, or use_t=True.",
                ClusterWarning,
                stacklevel=user_level(),
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
                stacklevel=user_level(),
            )


@of_fit
def _joint(fit: Fit, chosen: tuple[Groups, ...]) -> Groups:
    """Return the intersection of some ways."""
    return chosen[0] if len(chosen) == 1 else intersection(chosen)


_LABELS = {"CR1S": "cluster", "jackknife": "cluster-crv3"}
_NOTES = {"CR1S": "CRV1", "jackknife": "CRV3"}


def _meat(fit: Fit, groups: Groups, kind: Kind, target: str) -> tuple[Tensor, Adjusted | None]:
    """Return (r, r) the clusters' meat in Z's coordinates, adjusted where the kind says so, and the adjustment."""
    if kind in ("CR3", "jackknife"):
        adjusted = full(fit, groups, target)
    elif kind == "CR2":
        adjusted = half(fit, groups, target)
    else:
        return gram(influence_sums(fit, groups)), None
    return gram(adjusted.scores), adjusted


def _repaired(fit: Fit, found: Covariance, ways: tuple[Groups, ...]) -> Covariance:
    """Set negative eigenvalues of V to zero, as Cameron, Gelbach and Miller (2011) and R's sandwich do, where there are any.

    Dummies that absorb a way are apart: of the other coefficients, f, V_ff is what the regression without the dummies' part has, and is
    repaired, or not, by itself; of the dummies, d, it is V_dd - K V_ff K', K = V_df V_ff^-1, that is.
    """
    core = found.core
    assert core is not None
    spectrum = torch.linalg.eigvalsh(core)  # in Z's coordinates, where units do not matter
    if bool(spectrum[0] >= -_NEGATIVE * spectrum[-1].abs()):
        return found
    matrix, absorbed = found.matrix, _absorbed(fit, ways)
    absorbed = torch.zeros_like(absorbed) if bool(absorbed.all()) else absorbed
    free, dummies = (~absorbed).nonzero().flatten(), absorbed.nonzero().flatten()
    block, count = _clipped(matrix[free][:, free])
    sizes = matrix.diagonal()[free].abs()
    if count and (bool((block.diagonal() <= 0).any()) or bool(sizes.min() < _SPREAD * sizes.max())):
        raise EstimationError(
            "The repair sets eigenvalues to zero, which depends on the regressors' units, and these differ so much that rounding would "
            "decide; bring them to similar sizes, or cluster in one way."
        )
    repaired = matrix.clone()
    repaired[free[:, None], free] = block
    if len(dummies):
        gain = matrix[dummies][:, free] @ _pseudo_inverse(block)
        cross = gain @ block
        rest, more = _clipped(matrix[dummies][:, dummies] - cross @ gain.mT)
        count += more
        repaired[dummies[:, None], dummies] = rest + cross @ gain.mT
        repaired[dummies[:, None], free] = cross
        repaired[free[:, None], dummies] = cross.mT
    note = f"{found.note}. Not positive semi-definite: {counted(count, 'negative eigenvalue')} set to zero"
    return replace(found, matrix=repaired, note=note, core=None)


def _clipped(matrix: Tensor) -> tuple[Tensor, int]:
    """Set negative eigenvalues to zero, and count them, where the matrix has any at a unit diagonal; else it stays what it is."""
    scale = matrix.diagonal().abs().sqrt()
    scale = torch.where(scale > 0, scale, torch.ones_like(scale))
    shape = torch.linalg.eigvalsh(matrix / scale / scale[:, None])
    if bool(shape[0] >= -_NEGATIVE * shape[-1].abs()):
        return matrix, 0
    spectrum, vectors = torch.linalg.eigh(matrix)
    return (vectors * spectrum.clamp_min(0.0)) @ vectors.mT, int((spectrum < 0).sum())


def _pseudo_inverse(matrix: Tensor) -> Tensor:
    """Return the inverse of a positive semi-definite matrix in the directions that it has, at a unit diagonal."""
    scale = matrix.diagonal().sqrt()
    spectrum, vectors = torch.linalg.eigh(matrix / scale / scale[:, None])
    held = spectrum > _SINGULAR * spectrum[-1]
    inverse: Tensor = (vectors[:, held] / spectrum[held]) @ vectors[:, held].mT / scale / scale[:, None]
    return inverse


def _absorbed(fit: Fit, ways: tuple[Groups, ...]) -> Tensor:
    """Return (k,) whether a coefficient belongs to dummies for all clusters of a way, the constant among them.

    The scores of such a column sum to zero in every cluster of that way, and as many columns have such sums as there are clusters, or
    one less where another way's dummies add up to the constant.
    """
    absorbed = torch.zeros(len(fit.params), dtype=torch.bool, device=fit.params.device)
    turn = fit.root.mT @ fit.triangle.mT @ fit.triangle  # Z's s to s
    plain = ((turn.mT @ score_sizes(fit)) * turn.mT).sum(1).sqrt()
    for way in ways:
        sums = (influence_sums(fit, way) @ turn).abs().amax(0)
        still = sums <= _STILL * plain
        if int(still.sum()) >= (way.count - 1) * max(len(fit.equations), 1):
            absorbed |= still
    return absorbed
