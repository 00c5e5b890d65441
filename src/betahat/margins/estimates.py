"""`MarginResults`: margins with a covariance, which tables, pictures and tests take as they take results."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import torch
from torch import Tensor

from betahat.covariance.names import CovType
from betahat.data.container import Container, to_numpy
from betahat.data.handed_out import hands_out_copies
from betahat.data.threads import remembered
from betahat.errors import CollinearityWarning, OptionError, listed, user_level
from betahat.inference.coefficients import interval
from betahat.inference.delta import replicated_function
from betahat.inference.distribution import Df, two_sided
from betahat.inference.identified import identified
from betahat.inference.joint import Joint
from betahat.inference.pair import Pair
from betahat.inference.resampled import Method, Replicated, no_replicates
from betahat.inference.variances import over
from betahat.lazy import lazily
from betahat.margins.grid import Grid
from betahat.margins.quantities import Groups, Quantity, averaged, rowwise
from betahat.margins.subject import Subject
from betahat.tables.adjusted import Adjustment, joint_of
from betahat.tables.estimates import About, about
from betahat.tables.tidied import tidied

if TYPE_CHECKING:
    import pandas as pd
else:
    pd = lazily("pandas")


@hands_out_copies
@dataclass(frozen=True, eq=False, repr=False)
class MarginResults:
    """Predictions, comparisons or slopes, with what follows from the covariance of the coefficients.

    Attributes
    ----------
    of : Results
        The results that they are computed from.
    labels : pandas.DataFrame
        (m, ...) what each number is: "group" (the outcome, where there are several), "term", "contrast", and the columns of `by`.
    estimates : Tensor
        (m,) the numbers.
    jacobian : Tensor
        (m, k) their derivatives in the parameters.
    function : callable
        (k,) parameters -> (m,) numbers.
    """

    of: Any
    labels: pd.DataFrame
    estimates: Tensor
    jacobian: Tensor
    function: Callable[[Tensor], Tensor]

    # names

    @remembered
    def equation_terms(self) -> tuple[tuple[str, str], ...]:
        """(m,) the outcome of each number, or nothing where there is one only, and its name."""
        return named(self.labels)

    @property
    def names(self) -> tuple[str, ...]:
        """(m,) the names of the numbers."""
        return tuple(f"{group}:{name}" if group else name for group, name in self.equation_terms)

    @property
    def endog_name(self) -> str:
        """The dependent variable's name."""
        found: str = self.of.endog_name
        return found

    @property
    def cov_type(self) -> str:
        """What the covariance is called."""
        found: str = self.of.cov_type
        return found

    @property
    def nobs(self) -> float:
        """n, the number of rows of the fit."""
        found: float = self.of.nobs
        return found

    @property
    def use_t(self) -> bool:
        """Whether tests take the t distribution."""
        return self._pair.use_t

    @property
    def goodness(self) -> tuple[str, float]:
        """What a table says of the fit, and its name there."""
        found: tuple[str, float] = self.of.goodness
        return found

    # covariances

    def with_cov(
        self, cov_type: CovType | None = None, cov_kwds: Mapping[str, Any] | None = None, use_t: bool | None = None
    ) -> Self:
        """Return the same numbers under another covariance of the coefficients; nothing is fitted again.

        Parameters
        ----------
        cov_type, cov_kwds, use_t
            As in `Results.with_cov`.

        Returns
        -------
        MarginResults
        """
        return replace(self, of=self.of.with_cov(cov_type, cov_kwds, use_t))

    def with_use_t(self, use_t: bool | None) -> Self:
        """Return the same numbers with tests by t, or by the normal distribution.

        Parameters
        ----------
        use_t : bool or None
            None takes the covariance's own.

        Returns
        -------
        MarginResults
        """
        return replace(self, of=self.of.with_use_t(use_t))

    # numbers

    @property
    def params(self) -> Any:
        """(m,) the numbers."""
        return self._hand_out(self.estimates)

    @property
    def bse(self) -> Any:
        """(m,) standard errors, sqrt(diag(J V J')); of a bootstrap the deviations of the replicates."""
        return self._hand_out(self._errors)

    @property
    def tvalues(self) -> Any:
        """(m,) the numbers over their standard errors."""
        return self._hand_out(self._statistics)

    @property
    def pvalues(self) -> Any:
        """(m,) two-sided p-values of numbers of zero."""
        return self._hand_out(two_sided(self._statistics, self._df))

    def cov_params(self) -> Any:
        """Return the covariance of the numbers.

        Returns
        -------
        array
            (m, m) J V J', or the covariance of a bootstrap's replicates.
        """
        if self._replicated is not None:
            return self._container.present(
                torch.cov(self._replicated.draws.mT).reshape(2 * (len(self.estimates),)), lambda: self.names
            )
        return self._container.present(self._pair.variances.covariance(self.jacobian), lambda: self.names)

    def conf_int(self, alpha: float = 0.05, method: Method | None = None) -> Any:
        """Return (m, 2) intervals, each of coverage 1 - alpha.

        Parameters
        ----------
        alpha, method
            As in `Results.conf_int`.

        Returns
        -------
        array
            (m, 2).
        """
        return self._container.present(self._bounds(alpha, method), lambda: self.names, [0, 1])

    # tables

    def coefficient_table(self) -> np.ndarray:
        """Return (m, 4) number, standard error, statistic and p-value, in NumPy.

        Returns
        -------
        numpy.ndarray
            (m, 4).
        """
        columns = [self.estimates, self._errors, self._statistics, two_sided(self._statistics, self._df)]
        return to_numpy(torch.stack(columns, 1))

    def interval_table(self, alpha: float = 0.05, method: Method | None = None) -> np.ndarray:
        """Return the intervals of `conf_int`, in NumPy.

        Parameters
        ----------
        alpha, method : float, str
            As in `conf_int`.

        Returns
        -------
        (m, 2) numpy.ndarray
        """
        return to_numpy(self._bounds(alpha, method))

    def tidy(self, conf_level: float = 0.95, adjust: Adjustment = None) -> pd.DataFrame:
        """Return a row for each number: its labels, and its statistics under broom's column names.

        Parameters
        ----------
        conf_level : float
            The share that the intervals cover, between 0 and 1.
        adjust : str or Adjust, optional
            How p-values and intervals are adjusted for the number of hypotheses, as in `Adjust`.

        Returns
        -------
        pandas.DataFrame
            (m, ...).
        """
        found = tidied(self, conf_level, False, adjust).drop(columns="term")
        return pd.concat([self.labels.reset_index(drop=True), found], axis=1)

    def __repr__(self) -> str:
        """Return the table as text."""
        return self.tidy().to_string(index=False)

    # private

    @remembered
    def _pair(self) -> Pair:
        return Pair(self.of.fit, self.of.cov)

    @property
    def _container(self) -> Container:
        container: Container = self.of.fit.sample.container
        return container

    @remembered
    def _df(self) -> Df:
        return self._pair.df_of(self.jacobian)

    @remembered
    def _known(self) -> Tensor:
        """(m,) whether the data identify each number."""
        return identified(self.of.fit.unidentified, self.jacobian)

    @remembered
    def _replicated(self) -> Replicated | None:
        cov = self._pair.cov
        if cov.draws is None:
            return None
        return replicated_function(cov, self.function, self.estimates, self.jacobian)

    @remembered
    def _errors(self) -> Tensor:
        errors = self._pair.variances.errors(self.jacobian) if self._replicated is None else self._replicated.errors
        return torch.where(self._known, errors, torch.nan)

    @remembered
    def _statistics(self) -> Tensor:
        return over(self.estimates, self._errors)

    def _bounds(self, alpha: float, method: Method | None) -> Tensor:
        if method is None:
            return interval(self.estimates, self._errors, alpha, self._df)
        if self._replicated is None:
            raise OptionError(no_replicates(f"method={method!r}"))
        return self._replicated.interval(method, alpha)

    def _hand_out(self, values: Tensor) -> Any:
        return self._container.present(values, lambda: self.names)


@about.register
def _(result: MarginResults) -> About:
    known = about(result.of)
    return About(source=result.of, fit=known.fit, clusters=known.clusters, options=known.options, asked_t=known.asked_t)


@joint_of.register
def _(result: MarginResults) -> Joint:
    pair, drawn = result._pair, result._replicated
    matrix = pair.variances.covariance(result.jacobian)
    return Joint(result.estimates, result._errors, matrix, result._df, pair.fit, pair.cov, drawn, linear=False)


def estimated(
    subject: Subject,
    grid: Grid,
    quantities: Sequence[Quantity],
    groups: tuple[Groups, pd.DataFrame] | None,
    by: Any,
) -> MarginResults:
    """Evaluate quantities at the estimates: outcome by outcome, and in each quantity by quantity, group by group or row by row."""
    mean, params = subject.response.mean, subject.results.fit.params

    def at(theta: Tensor) -> list[tuple[Tensor, Tensor]]:
        if groups is None:
            return [rowwise(quantity, mean, theta) for quantity in quantities]
        return [averaged(quantity, groups[0], mean, theta) for quantity in quantities]

    def function(theta: Tensor) -> Tensor:
        return torch.stack([value for value, _ in at(theta)]).movedim(2, 0).flatten()

    found = at(params)
    values = torch.stack([value for value, _ in found])  # (q, rows, J)
    slopes = torch.stack([slope for _, slope in found])
    frame = pd.DataFrame({"rowid": np.arange(values.shape[1])}) if groups is None else groups[1]
    labels = _labels(subject, quantities, frame, values.shape[2])
    jacobian = slopes.movedim(2, 0).reshape(-1, len(params))
    made = MarginResults(subject.results, labels, values.movedim(2, 0).flatten(), jacobian, function)
    known = made._known
    if not bool(known.all()):
        lost = [name for name, sure in zip(made.names, known.tolist(), strict=True) if not sure]
        warnings.warn(
            f"The data do not identify {listed(lost)}: columns are collinear, so that they depend on how the coefficients were chosen, and have no "
            "standard errors.",
            CollinearityWarning,
            stacklevel=user_level(),
        )
    return made


def _labels(subject: Subject, quantities: Sequence[Quantity], frame: pd.DataFrame, outcomes: int) -> pd.DataFrame:
    """Return a row for each number: outcome, term, contrast, and the values of its group."""
    names = subject.response.outcomes
    groups = [name.removeprefix(f"{subject.response.endog_name}=") for name in names]
    rows, parts = len(frame), len(quantities)
    made: dict[str, Any] = {}
    if outcomes > 1:
        made["group"] = np.repeat(groups, parts * rows)
    if any(quantity.term for quantity in quantities):
        made["term"] = np.tile(np.repeat([quantity.term for quantity in quantities], rows), outcomes)
        made["contrast"] = np.tile(np.repeat([quantity.contrast for quantity in quantities], rows), outcomes)
    repeated = pd.concat([frame] * (parts * outcomes), ignore_index=True)
    return pd.DataFrame(made, index=repeated.index).join(repeated) if made else repeated


def named(labels: pd.DataFrame) -> tuple[tuple[str, str], ...]:
    """Return the outcome and the name of each row of labels: its term, its contrast where a term has several, and its group."""
    count = len(labels)
    columns = {name: labels[name].tolist() for name in labels.columns}
    groups = [str(group) for group in columns.pop("group", [""] * count)]
    terms, contrasts = columns.pop("term", [""] * count), columns.pop("contrast", [""] * count)
    several = {term for term in set(terms) if len({c for t, c in zip(terms, contrasts, strict=True) if t == term}) > 1}
    where = [", ".join(f"{name}={values[i]}" for name, values in columns.items()) for i in range(count)]
    names = []
    for term, contrast, place in zip(terms, contrasts, where, strict=True):
        own = f"{term}: {contrast}" if term in several else term
        names.append(", ".join(filter(None, (own, place))) or "Prediction")
    return tuple(zip(groups, names, strict=True))
