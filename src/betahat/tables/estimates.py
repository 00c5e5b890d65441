"""`Estimates`: what a table needs from a result, and the statistics that it can print."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import singledispatch
from typing import Any, Protocol, runtime_checkable

import numpy as np

from betahat.covariance.base import Clustering
from betahat.covariance.names import CovType
from betahat.covariance.option_words import OptionWords
from betahat.data.handed_out import outside
from betahat.errors import EstimationError, OptionError, listed
from betahat.errors import shown as in_words
from betahat.inference.resampled import Method
from betahat.tables.cells import Cell
from betahat.tables.numbers import Numbers, is_whole
from betahat.tables.tex import text_of_label

# An attribute of the results, or a function of them; the keys of a mapping name the rows.
Statistic = str | Callable[[Any], Any]
Statistics = Sequence[str] | Mapping[str, Statistic]


@runtime_checkable
class Estimates(Protocol):
    """What a table needs from a result; what else it asks is answered by `about`."""

    @property
    def names(self) -> tuple[str, ...]: ...  # noqa: D102
    @property
    def endog_name(self) -> str: ...  # noqa: D102
    @property
    def cov_type(self) -> str: ...  # noqa: D102
    @property
    def nobs(self) -> float | None: ...  # noqa: D102
    @property
    def use_t(self) -> bool: ...  # noqa: D102
    @property
    def goodness(self) -> tuple[str, float]: ...  # noqa: D102
    @property
    def equation_terms(self) -> tuple[tuple[str, str], ...]:
        """The equation ("" for a model with only one) and the term of each coefficient."""
        ...

    def with_cov(self, cov_type: CovType) -> Estimates:
        """Return the same fit under another covariance."""
        ...

    def with_use_t(self, use_t: bool | None) -> Estimates:
        """Return the same results with tests based on the t distribution, or on the normal."""
        ...

    def coefficient_table(self) -> np.ndarray:
        """Return (k, 4): coefficient, standard error, statistic and p-value."""
        ...

    def interval_table(self, alpha: float, method: Method | None = None) -> np.ndarray:
        """Return the (k, 2) confidence intervals."""
        ...


class Coefficients(Protocol):
    """What a table of models shows of one."""

    @property
    def equation_terms(self) -> tuple[tuple[str, str], ...]:
        """The title of a group, or "", and the name of each number."""
        ...

    def coefficient_table(self) -> np.ndarray:
        """Return (k, 4): number, standard error, statistic and p-value."""
        ...

    def interval_table(self, alpha: float) -> np.ndarray:
        """Return the (k, 2) confidence intervals."""
        ...


@dataclass(frozen=True, eq=False)
class About:
    """What a table says of a result beside its numbers.

    Attributes
    ----------
    source : object
        The result whose attributes `stats` names.
    fit : object
        What results under several covariances share.
    effects : tuple of str
        The absorbed fixed effects.
    unidentified : tuple of str
        Coefficients that collinear columns leave unidentified.
    clusters : tuple of Clustering
        The ways of clustering.
    options : tuple of (str, str)
        Options of the covariance in words.
    asked_t : bool or None
        What the user asked of t tests.
    single : frozenset of str
        Parameters that are no coefficients, such as the dispersion of negative binomial counts.
    no_logarithms : frozenset of str
        Numbers that are no logarithms of ratios, such as slopes of a mean.
    null : str
        What numbers are tested against, in words, where a reader might not expect it.
    statistics : mapping
        Statistics that `source` has under another name, or does not have (None).
    """

    source: Any = None
    fit: Any = None
    effects: tuple[str, ...] = ()
    unidentified: tuple[str, ...] = ()
    clusters: tuple[Clustering, ...] = ()
    options: OptionWords = ()
    asked_t: bool | None = None
    single: frozenset[str] = frozenset()
    no_logarithms: frozenset[str] = frozenset()
    null: str = ""
    statistics: Mapping[str, Any] = field(default_factory=dict)

    @property
    def no_ratios(self) -> frozenset[str]:
        """What is not exponentiated."""
        return self.single | self.no_logarithms


@singledispatch
def about(result: Any) -> About:
    """Return what a table says of a result of betahat; other kinds are registered."""
    fit, cov = result.fit, result.cov
    moved = fit.unidentified.any(1).tolist()
    return About(
        source=result,
        fit=fit,
        effects=() if fit.absorbed is None else fit.absorbed.names,
        unidentified=tuple(name for (_, name), moves in zip(result.equation_terms, moved, strict=False) if moves),
        clusters=cov.clusters,
        options=cov.options,
        asked_t=cov.asked_t,
        single=frozenset(equation.name for equation in fit.equations if equation.constant),
        # the loss may have no factor that the data tell
        statistics={} if fit.objective.dispersion.estimated else {"scale": None},
    )


@singledispatch
def shown_of(result: Estimates) -> Coefficients:
    """Return what a table of models shows of a result: its coefficients, unless a kind of results is registered with another form of them."""
    return result


def unidentified_note(results: Sequence[Estimates]) -> list[str]:
    """Return the sentence that names the coefficients which collinear columns leave unidentified."""
    names = dict.fromkeys(name for result in results for name in about(result).unidentified)
    return [f"Not identified, as columns are collinear: {', '.join(names)} (minimum norm)."] if names else []


def statistic_rows(
    results: Sequence[Estimates], kinds: Sequence[str], wanted: Statistics, shown: Numbers
) -> list[tuple[str, tuple[Cell, ...]]]:
    """Return a label and cells for each statistic (see `stats` of `regtable`), cells empty in the columns without it; `kinds` names the covariances."""
    if isinstance(wanted, str) or not isinstance(wanted, Mapping | Sequence):
        raise OptionError(f"stats is {in_words(wanted)}; pass a list of names, such as ['nobs', 'rsquared'].")
    named: Mapping[str, Statistic] = (
        wanted if isinstance(wanted, Mapping) else {_LABELS.get(name, name): name for name in map(_statistic, wanted)}
    )
    rows: list[tuple[str, tuple[Cell, ...]]] = []
    for label, statistic in named.items():
        _statistic(statistic)
        if statistic == "goodness":
            rows += _goodness_rows(results, shown)
        elif statistic != "clusters" or any(about(result).clusters for result in results):
            rows.append(
                (
                    text_of_label(label),
                    tuple(value_cell(value, shown) for value in _values(results, kinds, statistic, shown)),
                )
            )
    return rows


def _statistic(wanted: Any) -> Any:
    """Refuse anything but the name of a statistic or a function of a result."""
    if not isinstance(wanted, str) and not callable(wanted):
        raise OptionError(f"stats has {in_words(wanted)}; pass names of statistics, or functions of a result.")
    return wanted


def value_cell(value: Any, shown: Numbers) -> Cell:
    """Return a cell for a number, a string or None."""
    if value is None or isinstance(value, str | bool | np.bool_):
        return Cell("" if value is None else text_of_label(value))
    if is_whole(value):
        return Cell(shown.count(value))
    try:
        return Cell(shown(float(value)), decimal=True)
    except (TypeError, ValueError):
        return Cell(text_of_label(value))


def full_name(key: tuple[str, str]) -> str:
    """Return the name of a coefficient, preceded by its equation if it has one."""
    equation, name = key
    return f"{equation}:{name}" if equation else name


DEFAULT = ("cov_type", "clusters", "nobs", "goodness")
_LABELS = {
    "cov_type": "Std. errors",
    "clusters": "Clusters",
    "nobs": "N",
    "rsquared": "R²",
    "rsquared_adj": "Adjusted R²",
    "prsquared": "Pseudo R²",
    "llf": "Log-Likelihood",
    "aic": "AIC",
    "bic": "BIC",
    "fvalue": "F",
    "f_pvalue": "p (F)",
    "llr": "LR chi²",
    "llr_pvalue": "p (LR)",
    "df_model": "Model df",
    "df_resid": "Residual df",
    "scale": "Residual variance",
    "ssr": "Residual sum of squares",
}


def _values(results: Sequence[Estimates], kinds: Sequence[str], statistic: Statistic, shown: Numbers) -> list[Any]:
    if not isinstance(statistic, str):
        return [outside(statistic, about(result).source) for result in results]
    if statistic == "cov_type":
        return list(kinds)
    if statistic == "nobs":
        return [None if result.nobs is None else round(result.nobs) for result in results]
    if statistic == "clusters":
        return [_clusters(about(result), shown) for result in results]
    values = [_attribute(about(result), statistic) for result in results]
    if all(value is None for value in values):
        raise OptionError(
            f"stats has {in_words(statistic)}, which none of these results has; pass one of {listed(_LABELS, limit=30)}, another attribute that is "
            "a number or a string, or a function of a result."
        )
    return values


def _attribute(known: About, name: str) -> Any:
    """Return a number or a string of a result, or None if it has none, such as the log-likelihood of an M-estimator."""
    try:
        value = known.statistics[name] if name in known.statistics else getattr(known.source, name, None)
    except (EstimationError, NotImplementedError):
        return None
    return value if isinstance(value, str) or np.isscalar(value) else None


def _clusters(known: About, shown: Numbers) -> str:
    counts = [(way.column, shown.count(way.count)) for way in known.clusters]
    return ", ".join(f"{column} ({count})" if column else count for column, count in counts)


def _goodness_rows(results: Sequence[Estimates], shown: Numbers) -> list[tuple[str, tuple[Cell, ...]]]:
    """Return a row for each measure of fit (R², pseudo R² or loss), filled in the columns that have it."""
    measures = [result.goodness for result in results]
    return [
        (name, tuple(value_cell(value if own == name else None, shown) for own, value in measures))
        for name in dict.fromkeys(own for own, _ in measures if own)
    ]
