"""The jackknife over rows or clusters: exact for least squares by downdating, one step or refitted for other models."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor

from betahat.calculus.rows import Rows, root_of_counts
from betahat.covariance.base import Clustering, Covariance, Estimator, clusterings, keep_given
from betahat.covariance.cr2_cr3 import steps_to_fits_without
from betahat.covariance.partitions import group_of, warn_of_clusters
from betahat.covariance.sandwich import of_core, penalised
from betahat.covariance.small_samples import KINDS, between, factor
from betahat.data.groups import Groups
from betahat.data.products import gram
from betahat.data.progress import progress
from betahat.errors import EstimationError, OptionError, check_flag, is_one_of, shown
from betahat.fits.fit import Fit
from betahat.fits.instrument_refits import steps_without_groups, steps_without_rows
from betahat.fits.refits import refit_without


@dataclass(frozen=True, eq=False)
class Jackknife(Estimator):
    """(G - 1) / G times the sum of (b(-g) - c)(b(-g) - c)', b(-g) the estimate without row or cluster g, c their centre.

    Attributes
    ----------
    clusters : str, vector or None
        What is left out together; None leaves out one row at a time.
    center : {"mean", "estimate"}
        c: the mean of the b(-g), or b.
    refit : bool
        Whether models other than least squares are fitted again without each g, from b; otherwise b(-g) is one Newton step
        from b, b - (A - A_g)^-1 s_g, A_g the clusters' shares that leverage takes. Of least squares this step is exact, and with
        instruments both stages are always estimated again.
    correction : bool
        Whether to multiply by (G - 1) / G.
    df_correction : bool
        Whether tests by t and F take G - 1 degrees of freedom or n - k.

    Raises
    ------
    DataError, OptionError, EstimationError
        A fit without some g has no estimate; there is one cluster only.

    Examples
    --------
    >>> import betahat as bh
    >>> x = bh.add_constant([1.0, 2.0, 3.0, 4.0, 5.0])
    >>> res = bh.OLS([1.0, 2.0, 4.0, 5.0, 5.0], x).fit()
    >>> res.with_cov(bh.Jackknife()).bse.round(4)
    array([0.6886, 0.2905])

    References
    ----------
    Efron and Stein (1981), Ann. Stat. 9(3). MacKinnon, Nielsen and Webb (2023), J. Appl. Econometrics 38(5). One step:
    Pregibon (1981), Ann. Stat. 9(4).
    """

    clusters: Any = None
    center: Literal["mean", "estimate"] = "mean"
    refit: bool = False
    correction: bool = True
    df_correction: bool = True

    def __post_init__(self) -> None:
        """Refuse unknown options."""
        if not is_one_of(self.center, ("mean", "estimate")):
            raise OptionError(f"center is {shown(self.center)}; use 'mean' or 'estimate'.")
        check_flag("refit", self.refit)
        check_flag("correction", self.correction)
        check_flag("df_correction", self.df_correction)
        keep_given(self, "clusters")

    def __call__(self, fit: Fit) -> Covariance:
        """Sum the squares of the steps to the fits without each group."""
        if fit.objective.checks:
            raise EstimationError(
                "The jackknife leaves out rows one by one, which moves a quantile by the distance to the next row or not at all: its variance is "
                "not consistent, however many rows there are. Use HC0, Cluster(kind='CR1'), or a bootstrap."
            )
        if self.clusters is None:
            count, what = float(fit.nobs), "rows"
            ways: tuple[Clustering, ...] = ()
            sums = _row_sums(fit, self.refit)
            mean = torch.outer(sums.total, sums.total) / count
            products = sums.products - mean if self.center == "mean" else sums.products
        else:
            groups = group_of(fit, self.clusters, "clusters")
            warn_of_clusters((groups,), "jackknife")
            count, what = float(groups.count), "clusters"
            ways = clusterings((groups,))
            steps = _cluster_steps(fit, groups, self.refit)
            products = gram(steps - steps.mean(0) if self.center == "mean" else steps)
        squares = products * (factor(fit.counts, KINDS["jackknife"], count) if self.correction else 1.0)
        if fit.objective.least_squares or fit.instruments is not None:
            how = ""
        else:
            how = ", by refits" if self.refit else ", by one Newton step from the estimate"
        label, note = self._named(f"{what}{how}")
        df_tests = between([count]) if self.df_correction else None
        note += penalised(fit)
        if self.refit and not _exact(fit):
            return Covariance(squares, label, note, df_tests=df_tests, clusters=ways)
        return of_core(fit, squares, label, note, df_tests=df_tests, clusters=ways)

    def _named(self, how: str) -> tuple[str, str]:
        """Return a label and a sentence; statsmodels' own for what it has."""
        if self.clusters is None:
            return "jackknife", f"Standard Errors are by the jackknife over {how}"
        if how != "clusters":
            return "cluster-jk", f"Standard Errors are robust to cluster correlation, by the jackknife over {how}"
        if self.center == "estimate":
            return "cluster-crv3", "Standard Errors are robust to cluster correlation (CRV3)"
        return "cluster-jk", "Standard Errors are robust to cluster correlation"


def _cluster_steps(fit: Fit, groups: Groups, refit: bool) -> Tensor:
    """Return (G, k) b(-g) - b by refits, or (G, r) in the coordinates of Z, up to the sign."""
    if fit.instruments is not None:
        found_again = steps_without_groups(fit, groups)
        if not bool(found_again.found.all()):
            raise EstimationError(
                f"Without one of the clusters of {groups.name} a coefficient cannot be estimated, such as its own dummy, or one that the other "
                "instruments do not move, so the jackknife is not defined; leave that column out, or use Cluster(kind='CR1S')."
            )
        return found_again.steps
    if refit and not _exact(fit):
        rows = torch.arange(len(groups.codes), device=groups.codes.device)
        numbers = progress(range(groups.count), "jackknife")
        return torch.stack([refit_without(fit, rows[groups.codes == g]) - fit.params for g in numbers])
    found = steps_to_fits_without(fit, groups)
    if found.fixed:
        raise EstimationError(
            f"Without one of the clusters of {groups.name} a coefficient cannot be estimated, such as its own dummy, so the jackknife is not "
            "defined; leave that column out, or use Cluster(kind='CR3'), which is valid for the other coefficients."
        )
    return found.steps


@dataclass(frozen=True, eq=False)
class _StepSums:
    """Sums over the steps d to the fits without each row: (k, k) of d d' and (k,) of d by refits, or (r, r) and (r,) in the coordinates of Z."""

    products: Tensor
    total: Tensor


def _row_sums(fit: Fit, refit: bool) -> _StepSums:
    """Sum over the rows, up to the sign of a step."""
    sample = fit.sample
    if fit.instruments is not None:
        found = steps_without_rows(fit)
        often = torch.ones_like(found.steps[:, 0]) if sample.counts is None else sample.counts.to(found.steps)
        if not bool(found.found[often > 0].all()):
            raise EstimationError(_NO_ROWS)
        return _StepSums(gram(found.steps, often.sqrt()), often @ found.steps)
    if refit and not _exact(fit):
        if sample.counts is not None:
            raise EstimationError(
                "Refits of rows with freq_weights are not defined; pass the rows themselves, or refit=False."
            )
        products, total = torch.zeros_like(fit.bread), torch.zeros_like(fit.params)
        for i in progress(range(sample.rows), "jackknife"):
            step = refit_without(fit, torch.tensor([i], device=fit.params.device)) - fit.params
            products, total = products + torch.outer(step, step), total + step
        return _StepSums(products, total)
    joint = fit.sum_rows(_products)
    return _StepSums(joint[:-1, :-1], joint[:-1, -1])


def _products(rows: Rows) -> Tensor:
    """Return (r + 1, r + 1) the products of the steps and a one."""
    hats, scores, often = rows.hat_rows, rows.influence(), root_of_counts(rows.counts)
    single = hats.shape[1] == 1
    inner = 1.0 - rows.leverage[:, None, None] if single else torch.eye(hats.shape[1]).to(hats) - hats @ hats.mT
    if bool(((inner[:, :, 0] if single else torch.linalg.eigvalsh(inner)[:, :1]) < _FULL).any()):
        raise EstimationError(_NO_ROWS)
    if single:  # whose score is a multiple of its hat
        steps = scores / inner[:, :, 0]
    else:
        inside: Tensor = torch.linalg.solve(inner, hats @ scores[:, :, None])
        steps = scores + (hats.mT @ inside)[:, :, 0]
    return gram(steps, often, scores.new_ones(len(scores)) if often is None else often)


_NO_ROWS = (
    "Without one of the rows, a coefficient cannot be estimated, so the jackknife is not defined; leave such rows out with their dummies, or use HC0 "
    "or HC1."
)
# Where I - H is within 1e-10 of singular, a row alone fixes a direction.
_FULL = 1e-10


def _exact(fit: Fit) -> bool:
    """Tell whether steps are in the coordinates of Z: one step is the refit, or both stages are estimated again."""
    return fit.objective.least_squares or fit.instruments is not None
