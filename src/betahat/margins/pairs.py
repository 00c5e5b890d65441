"""Margins and their covariance as a `Pair`, so that what is tested of coefficients is tested of them in the same way."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from betahat.covariance.base import Resampling, SmallSample
from betahat.inference.delta import replicated_covariance
from betahat.inference.pair import Pair


@dataclass(frozen=True, eq=False)
class Numbers:
    """Numbers that are functions of a fit's parameters, as `Pair` needs them.

    Attributes
    ----------
    params : Tensor
        (m,) the numbers.
    root : Tensor
        (m, r) J Z.
    unidentified : Tensor
        (m, d) J N.
    df_resid : float
        The degrees of freedom of the fit.
    """

    params: Tensor
    root: Tensor
    unidentified: Tensor
    df_resid: float


@dataclass(frozen=True, eq=False)
class ThroughJacobian(SmallSample):
    """Degrees of freedom of functions of margins, which are functions of the parameters."""

    of: SmallSample
    jacobian: Tensor  # (m, k)

    def t_df(self, matrix: Tensor) -> Tensor:
        """Return (J,) those of the t tests of the rows of (J, m) R."""
        return self.of.t_df(matrix @ self.jacobian)

    def f_df(self, matrix: Tensor) -> float:
        """Return those of the joint test of (J, m) R."""
        return self.of.f_df(matrix @ self.jacobian)


@dataclass(frozen=True, eq=False)
class ResampledMargins(Resampling):
    """What is known of replicates of margins.

    Attributes
    ----------
    kind, seed, reps, failed, exhaustive
        As in `Resampling`.
    of : Resampling
        The replicates of the parameters.
    jacobian : Tensor
        (m, k) J.
    jacobians : callable
        () -> (R, m, k) J at each replicate.
    shift : Tensor or None
        (m,) J b - m(b) of margins m that are linear; None of others, for which a kind's own tests are not made.
    """

    kind: str
    seed: int
    reps: int
    failed: int
    exhaustive: bool
    of: Resampling
    jacobian: Tensor
    jacobians: Callable[[], Tensor]
    shift: Tensor | None

    def variances(self, jacobian: Tensor, jacobians: Tensor) -> tuple[Tensor, Tensor]:
        """Return (h,) the variance of (h, m) functions that the sample has by itself, and (R, h) those of the replicates."""
        return self.of.variances(jacobian @ self.jacobian, jacobians @ self.jacobians())

    def acceleration(self, jacobian: Tensor) -> Tensor:
        """Return (h,) the acceleration of (h, m) functions."""
        return self.of.acceleration(jacobian @ self.jacobian)

    def pvalues(self, matrix: Tensor, values: Tensor) -> Tensor | None:
        """Return (J,) p-values of R m = q by the kind's own test, NaN of restrictions that depend on no parameter; None where it has none."""
        if self.shift is None:
            return None
        rows = matrix @ self.jacobian
        moved = values + matrix @ self.shift
        return _where_any(rows, lambda some: self.of.pvalues(rows[some], moved[some]))

    def interval(self, matrix: Tensor, alpha: float) -> Tensor | None:
        """Return (J, 2) intervals of R m by inverting that test."""
        if self.shift is None:
            return None
        rows = matrix @ self.jacobian
        found = _where_any(rows, lambda some: self.of.interval(rows[some], alpha))
        return None if found is None else found - (matrix @ self.shift)[:, None]


def _where_any(rows: Tensor, function: Callable[[Tensor], Tensor | None]) -> Tensor | None:
    """Return a function of those rows that are not zero, with NaN for the others."""
    some = (rows != 0).any(1)
    found = function(some)
    if found is None:
        return None
    return found.new_full((len(rows), *found.shape[1:]), torch.nan).masked_scatter(
        some.reshape(-1, *[1] * (found.ndim - 1)).expand(len(rows), *found.shape[1:]), found
    )


def pair_of(
    pair: Pair,
    estimates: Tensor,
    jacobian: Tensor,
    draws: Tensor | None,
    jacobians: Callable[[], Tensor],
    shift: Tensor | None,
) -> Pair:
    """Return (m,) margins of the parameters of a pair, with (m, k) Jacobian and of a bootstrap (R, m) replicates, as a pair of their own."""
    cov, fit = pair.cov, pair.fit
    numbers = Numbers(estimates, jacobian @ fit.root, jacobian @ fit.unidentified, fit.df_resid)
    small = None if cov.small_sample is None else ThroughJacobian(cov.small_sample, jacobian)
    own = replace(cov, df=pair.df_of(jacobian), small_sample=small, estimator=None)
    if draws is None:
        return Pair(numbers, replace(own, matrix=jacobian @ cov.matrix @ jacobian.mT))
    known = cov.resampling
    resampling = None
    if known is not None:
        plain = (known.kind, known.seed, known.reps, known.failed, known.exhaustive)
        resampling = ResampledMargins(*plain, known, jacobian, jacobians, shift)
    matrix = replicated_covariance(cov, draws)
    return Pair(numbers, replace(own, matrix=matrix, core=None, rounding=None, draws=draws, resampling=resampling))
