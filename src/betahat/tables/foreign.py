"""`Foreign`: numbers with standard errors that another package estimated, or that are no parameters of a model, as a column of a table."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import singledispatch
from typing import Any

import numpy as np
import torch

from betahat.covariance.names import CovType
from betahat.data.container import to_numpy
from betahat.errors import OptionError, described, shown
from betahat.inference.distribution import quantile, two_sided
from betahat.inference.margins import Margins
from betahat.inference.resampled import Method
from betahat.tables.estimates import About, about, full_name


@dataclass(frozen=True, eq=False)
class Foreign:
    """Estimates as a table shows them: all numbers are those of whoever estimated them.

    Attributes
    ----------
    package : str
        Who estimated them, for error messages: "statsmodels".
    equation_terms : tuple of (str, str)
        (k,) the title of a group, or "", and the name of each number.
    table : ndarray
        (k, 4) number, standard error, statistic and p-value.
    bounds : callable
        alpha -> (k, 2) intervals.
    endog_name : str
        The dependent variable, or "".
    cov_type : str
        The kind of standard errors, or "" if that is not known.
    nobs : float or None
        The rows used, if known.
    use_t : bool
        Whether tests use the t distribution.
    df : float or None
        Its degrees of freedom, if known.
    goodness : tuple of (str, float)
        A measure of fit and its name, which is "" if there is none.
    known : About
        What else is known of them.
    """

    package: str
    equation_terms: tuple[tuple[str, str], ...]
    table: np.ndarray
    bounds: Callable[[float], np.ndarray]
    endog_name: str = ""
    cov_type: str = ""
    nobs: float | None = None
    use_t: bool = False
    df: float | None = None
    goodness: tuple[str, float] = ("", float("nan"))
    known: About = field(default_factory=About)

    @property
    def names(self) -> tuple[str, ...]:
        """(k,) the names of the numbers, with their equations."""
        return tuple(map(full_name, self.equation_terms))

    def with_cov(self, cov_type: CovType) -> Foreign:
        """Refuse another covariance, which only who estimated them can compute."""
        raise OptionError(
            f"cov is {shown(cov_type)} for results of {self.package}, which keep their own standard errors; use None for them, as in "
            "cov=['HC1', None]."
        )

    def with_use_t(self, use_t: bool | None) -> Foreign:
        """Return the same estimates with tests and intervals by the t distribution, or by the normal."""
        if use_t is None or use_t is self.use_t:
            return self
        if use_t and self.df is None:
            raise OptionError(
                f"use_t is True, but these results of {self.package} have no degrees of freedom; omit use_t, or pass False."
            )
        df = self.df if use_t else None
        estimates, errors = self.table[:, :2].T
        pvalues = to_numpy(two_sided(torch.from_numpy(np.ascontiguousarray(self.table[:, 2])), df))

        def bounds(alpha: float) -> np.ndarray:
            reach = quantile(alpha, df) * errors
            return np.column_stack([estimates - reach, estimates + reach])

        return replace(self, table=np.column_stack([self.table[:, :3], pvalues]), bounds=bounds, use_t=use_t)

    def coefficient_table(self) -> np.ndarray:
        """Return (k, 4): number, standard error, statistic and p-value."""
        return self.table

    def interval_table(self, alpha: float, method: Method | None = None) -> np.ndarray:
        """Return the (k, 2) intervals."""
        if method is not None:
            raise OptionError(
                f"method is {shown(method)}, but results of {self.package} have only their own intervals; omit it."
            )
        return self.bounds(alpha)


@about.register
def _(result: Foreign) -> About:
    return result.known


@singledispatch
def estimates_of(result: Any) -> Sequence[Any]:
    """Return what is shown of a result, in one column each; each package whose results are taken registers them (`neighbours/`)."""
    return (result,)


def read_foreign(result: Any, where: str) -> Sequence[Any]:
    """Return what is shown of a result of any package, or say that it cannot be read; `where` is the name of the caller."""
    try:
        return estimates_of(result)
    except (AttributeError, KeyError, IndexError, TypeError, NotImplementedError) as error:
        raise OptionError(
            f"{where} cannot read {described(result)} of {type(result).__module__.partition('.')[0]} ({type(error).__name__}: {error}); "
            "leave it out, or pass its numbers in rows of your own (extra)."
        ) from error


@estimates_of.register
def _(result: Margins) -> Sequence[Any]:
    frame = result.summary_frame()
    several = len(result.outcomes) > 1
    keys = [(outcome if several else "", name) for outcome in result.outcomes for name in result.names]
    cov = result.cov
    return (
        Foreign(
            "get_margeff",
            tuple(keys),
            frame.to_numpy()[:, :4],
            lambda alpha: result.summary_frame(alpha).to_numpy()[:, 4:],
            endog_name=result.response.endog_name,
            cov_type="" if cov is None else cov.label,
            nobs=result.nobs,
            known=About(source=result, no_logarithms=frozenset(result.names))
            if cov is None
            else About(
                source=result,
                clusters=cov.clusters,
                options=cov.options,
                asked_t=cov.asked_t,
                no_logarithms=frozenset(result.names),
            ),
        ),
    )
