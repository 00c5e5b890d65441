"""`Inferred`: margins in tensors, with the errors, tests and intervals that follow from the covariance of the parameters."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial

import torch
from torch import Tensor

from betahat.covariance.replicates import Resampled
from betahat.data.threads import remembered
from betahat.errors import EstimationError, OptionError
from betahat.fits.fit import Fit
from betahat.inference.coefficients import interval
from betahat.inference.delta import replicated, replicated_covariance
from betahat.inference.distribution import Df, two_sided
from betahat.inference.identified import identified
from betahat.inference.joint import Joint
from betahat.inference.pair import Pair
from betahat.inference.resampled import Method, Replicated, Tail, no_replicates
from betahat.inference.variances import over
from betahat.margins.functions import Function
from betahat.margins.pairs import pair_of

# The covariance of more numbers than these has 200 MB.
MOST = 5000
# A function of the parameters is a straight line where it moves by its derivative, to this share of the move.
_STRAIGHT = 1e-9


@dataclass(frozen=True, eq=False)
class Kept:
    """What a file has in the place of the function of the parameters.

    Attributes
    ----------
    draws : Tensor or None
        (R, m) the numbers in the replicates of a bootstrap.
    linear : bool
        Whether the function is linear.
    """

    draws: Tensor | None
    linear: bool


@dataclass(frozen=True, eq=False)
class Inferred:
    """Functions of the parameters under a covariance.

    Attributes
    ----------
    of : Pair
        The parameters and their covariance.
    estimates : Tensor
        (m,) the numbers.
    jacobian : Tensor
        (m, k) their derivatives in the parameters.
    function : Function or None
        The numbers at other parameters.
    kept : Kept or None
        What is known in its place.
    null : float
        What the numbers are in the null hypothesis.
    """

    of: Pair
    estimates: Tensor
    jacobian: Tensor
    function: Function | None
    kept: Kept | None
    null: float = 0.0

    @remembered
    def df(self) -> Df:
        """Degrees of freedom of each number."""
        return self.of.df_of(self.jacobian)

    @remembered
    def known(self) -> Tensor:
        """(m,) whether the data identify each number."""
        return identified(self.of.fit.unidentified, self.jacobian)

    @remembered
    def errors(self) -> Tensor:
        """(m,) standard errors."""
        plain = self.of.variances.errors(self.jacobian)
        return self._masked(
            plain if self.replicated is None else torch.where(plain.isnan(), plain, self.replicated.errors)
        )

    @remembered
    def statistics(self) -> Tensor:
        """(m,) numbers less the null over standard errors."""
        return over(self.estimates - self.null, self.errors)

    @remembered
    def pvalues(self) -> Tensor:
        """(m,) two-sided p-values of the null."""
        own = self.pair.own_pvalues(self.pair.identity, self._nulls) if self._has_tests else None
        return two_sided(self.statistics, self.df) if own is None else self._masked(own)

    def table(self) -> Tensor:
        """Return (m, 4) numbers, standard errors, statistics and p-values."""
        return torch.stack([self.estimates, self.errors, self.statistics, self.pvalues], 1)

    def bounds(self, alpha: float, method: Method | None = None) -> Tensor:
        """Return (m, 2) intervals."""
        if method is not None:
            return self._masked(self._replicates(f"method={method!r}").interval(method, alpha))
        plain = interval(self.estimates, self.errors, alpha, self.df)
        own = self.pair.own_interval(self.pair.identity, alpha) if self._has_tests else None
        return plain if own is None else self._masked(own)

    def covariance(self) -> Tensor:
        """Return (m, m) J V J', or the covariance of a bootstrap's replicates."""
        self._check_few("The covariance")
        found = self.of.variances.covariance(self.jacobian)
        if self.replicated is not None:
            found = torch.where(found.isnan(), found, replicated_covariance(self.of.cov, self.replicated.draws))
        return torch.where(self.known & self.known[:, None], found, torch.nan)

    def bootstrap_pvalues(self, tail: Tail) -> Tensor:
        """Return (m,) p-values of the null by the replicates."""
        found = self._replicates("bootstrap_pvalues")
        plain = found.pvalues(self._nulls, tail) if self.null else self.pair.bootstrap_pvalues(tail)
        return self._masked(plain)

    @remembered
    def pair(self) -> Pair:
        """The numbers and their covariance, to be tested as coefficients are."""
        self._check_few("A test")
        draws = None if self.replicated is None else self.replicated.draws
        shift = self.jacobian @ self.of.fit.params - self.estimates if draws is not None and self.linear else None
        return pair_of(self.of, self.estimates, self.jacobian, draws, self._jacobians, shift)

    @remembered
    def replicated(self) -> Replicated | None:
        """The numbers in the replicates of a bootstrap."""
        cov = self.of.cov
        if cov.draws is None:
            return None
        if self.kept is not None and self.kept.draws is not None:
            draws = self.kept.draws
        else:
            assert self.function is not None  # without it, with_cov refuses bootstraps
            draws = self.function.values(cov.draws)
        return replicated(cov, self.estimates, draws, self.jacobian, self._jacobians)

    @remembered
    def linear(self) -> bool:
        """Whether the numbers are linear in the parameters, as they are at a point a standard error away."""
        if self.function is None:
            return self.kept is not None and self.kept.linear
        step = torch.where(torch.isfinite(self.of.errors), self.of.errors, 0.0)
        moved = self.function.values((self.of.fit.params + step)[None])[0] - self.estimates
        size = self.jacobian.abs() @ step + self.estimates.abs()
        return bool(((moved - self.jacobian @ step).abs() <= _STRAIGHT * size).all())

    def joint(self, fit: Fit) -> Joint:
        """Return what is known of the numbers jointly, for simultaneous inference; the fit says which draws a bootstrap has."""
        if self.null:
            raise OptionError(
                f"adjust by a joint distribution tests that numbers are zero, and the null of these is {self.null:g}; use a method that goes by p-values, such as "
                "'holm'."
            )
        cov, replicated, linear = self.of.cov, self.replicated, self.linear
        drawn, own = cov.resampling, None
        if linear and replicated is not None and drawn is not None:  # whose derivatives are the same in each replicate
            replicated = replace(replicated, variances=partial(drawn.variances, self.jacobian, self.jacobian[None]))
            test = drawn.test if isinstance(drawn, Resampled) else None
            own = None if test is None else lambda matrix: test.statistics(matrix @ self.jacobian)
        return Joint(self.estimates, self.errors, self.covariance(), self.df, fit, cov, replicated, own, linear)

    def to_keep(self) -> Kept | None:
        """Return what a file has in the place of the function."""
        return None if self.replicated is None else Kept(self.replicated.draws, self.linear)

    @property
    def _nulls(self) -> Tensor:
        return torch.full_like(self.estimates, self.null)

    @property
    def _has_tests(self) -> bool:
        """Whether the covariance has tests of its own, of so few numbers."""
        drawn = self.of.cov.resampling
        return isinstance(drawn, Resampled) and drawn.test is not None and len(self.estimates) <= MOST

    def _replicates(self, what: str) -> Replicated:
        if self.replicated is None:
            raise OptionError(no_replicates(what))
        return self.replicated

    def _jacobians(self) -> Tensor:
        """Return (R, m, k) the derivatives at each replicate of a bootstrap."""
        draws, function = self.of.cov.draws, self.function
        if function is None:
            raise EstimationError(
                "A file holds margins without their derivatives in each replicate, which method='studentized' needs; take the margins of the results again, "
                "which are margins.of."
            )
        assert draws is not None
        return function.jacobians(draws)

    def _masked(self, values: Tensor) -> Tensor:
        """Put NaN where the data do not identify a number."""
        return torch.where(self.known if values.ndim == 1 else self.known[:, None], values, torch.nan)

    def _check_few(self, what: str) -> None:
        if len(self.estimates) > MOST:
            raise EstimationError(
                f"{what} of {len(self.estimates):,} numbers needs a matrix with a row and a column for each; take averages (by=), or fewer rows "
                "(newdata=)."
            )


def draws_through(function: Callable[[Tensor], Tensor], kept: Kept | None) -> Kept | None:
    """Return what is kept of a function of numbers whose own function is gone."""
    if kept is None or kept.draws is None:
        return None
    return Kept(torch.stack([function(draw) for draw in kept.draws]).detach(), False)
