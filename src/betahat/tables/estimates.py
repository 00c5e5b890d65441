"""`Estimates`: what a table needs from a result, and the statistics that it can print."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import singledispatch
from typing import Any, Protocol, runtime_checkable

import numpy as np

from betahat.covariance.base import Covariance
from betahat.covariance.names import CovType
from betahat.data.handed_out import outside
from betahat.errors import EstimationError, OptionError, listed
from betahat.errors import shown as in_words
from betahat.fits.fit import Fit
from betahat.inference.resampled import Method
from betahat.tables.cells import Cell, Number, is_whole

# An attribute of the results, or a function of them; the keys of a mapping name the rows.
Statistic = str | Callable[[Any], Any]
Statistics = Sequence[str] | Mapping[str, Statistic]


@runtime_checkable
class Estimates(Protocol):
    """What a table needs from a result."""

    @property
    def fit(self) -> Fit: ...  # noqa: D102
    @property
    def cov(self) -> Covariance: ...  # noqa: D102
    @property
    def names(self) -> tuple[str, ...]: ...  # noqa: D102
    @property
    def endog_name(self) -> str: ...  # noqa: D102
    @property
    def cov_type(self) -> str: ...  # noqa: D102
    @property
    def nobs(self) -> float: ...  # noqa: D102
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


@singledispatch
def shown_of(result: Estimates) -> Coefficients:
    """Return what a table of models shows of a result: its coefficients, unless a kind of results is registered with another form of them."""
    return result


def unidentified_note(results: Sequence[Estimates]) -> list[str]:
    """Return the sentence that names the coefficients which collinear columns leave unidentified."""
    names = dict.fromkeys(
        name
        for result in results
        for (_, name), moves in zip(result.equation_terms, result.fit.unidentified.any(1).tolist(), strict=False)
        if moves
    )
    return [f"Not identified, as columns are collinear: {', '.join(names)} (minimum norm)."] if names else []


def statistic_rows(
    results: Sequence[Estimates], kinds: Sequence[str], wanted: Statistics, shown: Number
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
        elif statistic != "clusters" or any(result.cov.clusters for result in results):
            rows.append((str(label), tuple(value_cell(value, shown) for value in _values(results, kinds, statistic))))
    return rows


def _statistic(wanted: Any) -> Any:
    """Refuse anything but the name of a statistic or a function of a result."""
    if not isinstance(wanted, str) and not callable(wanted):
        raise OptionError(f"stats has {in_words(wanted)}; pass names of statistics, or functions of a result.")
    return wanted


def value_cell(value: Any, shown: Number) -> Cell:
    """Return a cell for a number, a string or None."""
    if value is None or isinstance(value, str | bool | np.bool_):
        return Cell("" if value is None else str(value))
    if is_whole(value):
        return Cell(f"{value:,}")
    try:
        return Cell(shown(float(value)), decimal=True)
    except (TypeError, ValueError):
        return Cell(str(value))


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


def _values(results: Sequence[Estimates], kinds: Sequence[str], statistic: Statistic) -> list[Any]:
    if not isinstance(statistic, str):
        return [outside(statistic, result) for result in results]
    if statistic == "cov_type":
        return list(kinds)
    known = {"nobs": _nobs, "clusters": _clusters}
    if statistic in known:
        return [known[statistic](result) for result in results]
    values = [_variance(result) if statistic == "scale" else _attribute(result, statistic) for result in results]
    if all(value is None for value in values):
        raise OptionError(
            f"stats has {in_words(statistic)}, which none of these results has; pass one of {listed(_LABELS, limit=30)}, another attribute that is "
            "a number or a string, or a function of a result."
        )
    return values


def _attribute(result: Estimates, name: str) -> Any:
    """Return a number or a string of a result, or None if it has none, such as the log-likelihood of an M-estimator."""
    try:
        value = getattr(result, name, None)
    except EstimationError:
        return None
    return value if isinstance(value, str) or np.isscalar(value) else None


def _variance(result: Estimates) -> Any:
    """Return the scale of a result, or None where the loss has no factor that the data tell."""
    return _attribute(result, "scale") if result.fit.objective.dispersion.estimated else None


def _nobs(result: Estimates) -> int:
    return round(result.nobs)


def _clusters(result: Estimates) -> str:
    ways = [f"{way.column} ({way.count:,})" if way.column else f"{way.count:,}" for way in result.cov.clusters]
    return ", ".join(ways)


def _goodness_rows(results: Sequence[Estimates], shown: Number) -> list[tuple[str, tuple[Cell, ...]]]:
    """Return a row for each measure of fit (R², pseudo R² or loss), filled in the columns that have it."""
    measures = [result.goodness for result in results]
    return [
        (name, tuple(value_cell(value if own == name else None, shown) for own, value in measures))
        for name in dict.fromkeys(own for own, _ in measures)
    ]
