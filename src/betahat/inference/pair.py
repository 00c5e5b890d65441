"""`Pair`: a fit and a covariance in tensors, with the standard errors, tests and intervals that follow from the two."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Protocol

import torch
from torch import Tensor

from betahat.covariance.base import Covariance
from betahat.data.threads import remembered
from betahat.errors import EstimationError, OptionError
from betahat.inference.coefficients import interval
from betahat.inference.delta import replicated_function
from betahat.inference.distribution import Df, two_sided
from betahat.inference.identified import identified_part, tested_part
from betahat.inference.resampled import Method, Replicated, Tail, no_replicates
from betahat.inference.variances import Variances, over
from betahat.inference.wald import WaldTest, approximate_hotelling, identity_rows, undefined, wald_test

_UNIDENTIFIED = "columns are collinear, so that the data do not identify it"


class Estimated(Protocol):
    """Numbers that are estimated: the parameters of a fit, or functions of them."""

    @property
    def params(self) -> Tensor:
        """(k,) the numbers."""
        ...

    @property
    def root(self) -> Tensor:
        """(k, r) Z, with Z Z' the bread."""
        ...

    @property
    def unidentified(self) -> Tensor:
        """(k, d) the directions in which the numbers may move without any change of the fit."""
        ...

    @property
    def df_resid(self) -> float:
        """The degrees of freedom of the fit."""
        ...


@dataclass(frozen=True, eq=False)
class Pair:
    """A fit and a covariance: tensors with an entry for each of the k estimated parameters, and tests of (J, k) restrictions.

    Attributes
    ----------
    fit : Estimated
        The estimates.
    cov : Covariance
        Their covariance.
    """

    fit: Estimated
    cov: Covariance

    @property
    def use_t(self) -> bool:
        """Whether tests take the t distribution."""
        return self.cov.df is not None

    # coefficients

    @remembered
    def variances(self) -> Variances:
        """The variances of linear functions of the parameters."""
        return Variances(self.fit.root, self.cov.core, self.cov.matrix, self.cov.rounding)

    @remembered
    def errors(self) -> Tensor:
        """(k,) standard errors."""
        return self.variances.errors_of_coefficients

    @remembered
    def statistics(self) -> Tensor:
        """(k,) estimates over standard errors."""
        return over(self.fit.params, self.errors)

    @remembered
    def pvalues(self) -> Tensor:
        """(k,) two-sided p-values of zero coefficients."""
        own = self.own_pvalues(self.identity, torch.zeros_like(self.fit.params))
        return two_sided(self.statistics, self.cov.df) if own is None else own

    def table(self) -> Tensor:
        """Return (k, 4) estimates, standard errors, statistics and p-values."""
        return torch.stack([self.fit.params, self.errors, self.statistics, self.pvalues], 1)

    def bounds(self, alpha: float, method: Method | None = None) -> Tensor:
        """Return (k, 2) intervals of the coefficients."""
        if method is not None:
            return self.replicated(f"method={method!r}").interval(method, alpha)
        plain = interval(self.fit.params, self.errors, alpha, self.cov.df)
        own = self.own_interval(self.identity, alpha)
        return plain if own is None else own

    @property
    def identity(self) -> Tensor:
        """(k, k) the restrictions that take one coefficient each."""
        return torch.eye(len(self.fit.params)).to(self.fit.params)

    # replicates

    def replicated(self, what: str) -> Replicated:
        """Return the replicates of the coefficients, for what is named in the sentence that says that there are none."""
        if self.cov.draws is None:
            raise OptionError(no_replicates(what))
        found = replicated_function(self.cov, lambda params: params, self.fit.params, self.identity)
        return replace(found, errors=self.errors)

    def bootstrap_pvalues(self, tail: Tail) -> Tensor:
        """Return (k,) p-values of zero coefficients by the replicates."""
        zeros = torch.zeros_like(self.fit.params)
        found = self.replicated("bootstrap_pvalues").pvalues(zeros, tail)
        own = self.own_pvalues(self.identity, zeros)
        if own is not None and tail != "symmetric":
            raise OptionError("The wild cluster bootstrap has tests of its own, which are symmetric; omit tail.")
        return found if own is None else own

    def own_pvalues(self, matrix: Tensor, values: Tensor) -> Tensor | None:
        """Return (J,) p-values of single restrictions, where the covariance has tests of its own; NaN of those without a variance."""
        own = None if self.cov.resampling is None else self.cov.resampling.pvalues(matrix, values)
        return None if own is None else torch.where(torch.isnan(self.variances.errors(matrix)), torch.nan, own)

    def own_interval(self, matrix: Tensor, alpha: float) -> Tensor | None:
        """Return (J, 2) intervals by inverting these tests."""
        own = None if self.cov.resampling is None else self.cov.resampling.interval(matrix, alpha)
        return None if own is None else torch.where(torch.isnan(self.variances.errors(matrix))[:, None], torch.nan, own)

    # degrees of freedom

    @property
    def df(self) -> float | None:
        """Degrees of freedom of a function of all the coefficients; None is the normal distribution."""
        if isinstance(self.cov.df, Tensor):
            raise EstimationError(
                f"{self.cov.label} has degrees of freedom for single coefficients only; test those, or pass use_t=False "
                "to with_cov for the normal distribution."
            )
        return self.cov.df

    @property
    def df_denom(self) -> float:
        """Denominator degrees of freedom of F tests."""
        known = self.cov.df if isinstance(self.cov.df, float | int) else self.cov.df_tests
        return self.fit.df_resid if known is None else known

    def df_of(self, matrix: Tensor) -> Df:
        """Return degrees of freedom of (J, k) restrictions: a single coefficient has its own, and some covariances know any."""
        if self.cov.small_sample is not None:
            return self.cov.small_sample.t_df(matrix.to(self.fit.params))
        if not isinstance(self.cov.df, Tensor) or bool(((matrix != 0).sum(1) != 1).any()):
            return self.df
        return self.cov.df[matrix.abs().argmax(1)]

    # joint tests

    def joint(self, matrix: Tensor, values: Tensor, use_f: bool, variances: Variances | None = None) -> WaldTest:
        """Test R b = q jointly, by the degrees of freedom that the covariance knows, or under other variances."""
        small = self.cov.small_sample if use_f else None
        under = self.variances if variances is None else variances
        test = wald_test(self.fit.params, under, self.df_denom, matrix, values, use_f)
        own = self.own_pvalues(matrix, values) if len(matrix) == 1 and variances is None and not test.reason else None
        if own is not None:
            return replace(test, pvalue=float(own))
        return test if small is None or test.reason else approximate_hotelling(test, small.f_df(matrix))

    def joint_where_identified(self, matrix: Tensor, values: Tensor) -> WaldTest:
        """Test R b = q jointly, NaN where the data do not identify it."""
        part = tested_part(self.fit.unidentified, matrix, values, self.fit.root)
        if part is None:
            return undefined(len(matrix), self.df_denom, self.use_t, _UNIDENTIFIED)
        return self.joint(*part, self.use_t)

    def all_zero(self, columns: Sequence[int]) -> WaldTest:
        """Test that coefficients are zero, of collinear columns the combinations of them that the data identify."""
        rows = identity_rows(columns, len(self.fit.params), self.fit.params)
        part = identified_part(self.fit.unidentified, rows)
        if not len(part):
            return undefined(0, self.df_denom, self.use_t, _UNIDENTIFIED)
        return self.joint(part @ rows, torch.zeros_like(part[:, 0]), self.use_t)
