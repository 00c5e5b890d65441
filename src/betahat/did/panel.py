"""The rows of a panel in which units are treated at different times: who is treated when, and which rows an estimator can use."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from betahat.data.datasets.open import dataset_of
from betahat.data.frame import to_pandas
from betahat.errors import BetahatWarning, DataError, OptionError, counted, listed, shown, user_level
from betahat.lazy import lazily

if TYPE_CHECKING:
    import pandas as pd
else:
    pd = lazily("pandas")

_REMEDY = "make it whole numbers such as years, or periods with .dt.to_period('M') in pandas"


@dataclass(frozen=True, eq=False)
class Panel:
    """Rows of units over time, and the period in which each unit is first treated.

    Attributes
    ----------
    frame : pandas.DataFrame
        (n, ...) the user's columns.
    unit : str or None
        The column of the units; None where the rows are repeated cross-sections.
    time, cohort : str
        The columns of the periods, and of the periods of first treatment.
    times : ndarray
        (n,) float64 periods.
    cohorts : ndarray
        (n,) float64 periods of first treatment, infinite for the never treated.
    units, groups : ndarray
        (n,) int64 a number for each unit, and for each cohort as the user has them; units are cohorts where there are none.
    used : ndarray
        (n,) bool, the rows that an estimator uses.
    words : dict of float to str
        What a period is called.
    """

    frame: pd.DataFrame
    unit: str | None
    time: str
    cohort: str
    times: np.ndarray
    cohorts: np.ndarray
    units: np.ndarray
    groups: np.ndarray
    used: np.ndarray
    words: dict[float, str]

    @property
    def events(self) -> np.ndarray:
        """(n,) float64 periods since the first treatment, negative before; minus infinity for the never treated."""
        found: np.ndarray = self.times - self.cohorts
        return found

    @property
    def treated(self) -> np.ndarray:
        """(n,) bool, whether a row is one under treatment."""
        found: np.ndarray = self.times >= self.cohorts
        return found

    @property
    def own_effect(self) -> str:
        """The column whose levels have an effect of their own beside the periods."""
        return self.cohort if self.unit is None else self.unit

    def called(self, period: float) -> str:
        """Return what a period is called."""
        return period_word(period, self.words)


def read_panel(data: Any, unit: str | None, time: str, cohort: str, never: Any) -> Panel:
    """Read the columns of a frame; cohorts of missing, infinite and `never` values are those that are never treated."""
    if dataset_of(data) is not None:
        raise DataError(
            "An event study compares units over time, which takes all rows at once, and these lie elsewhere; read the columns that it needs into a dataframe."
        )
    frame = to_pandas(data, None)
    if not len(frame):
        raise DataError("The data are empty; pass at least one row.")
    for option, name in (("unit", unit), ("time", time), ("cohort", cohort)):
        if option == "unit" and name is None:
            continue
        if not isinstance(name, str) or name not in frame.columns:
            raise DataError(
                f"{option} is {shown(name)}, which is no column of the data; the columns are {listed(frame.columns)}."
            )
    periods, calendar = _periods(frame[time], "time", time)
    words = dict(zip(periods.tolist(), frame[time].astype(str), strict=True)) if calendar else {}
    if not np.isfinite(periods).all():
        raise DataError(f"time column {time!r} has missing or infinite values; leave those rows out of the data.")
    cohorts = _cohorts(frame[cohort], cohort, calendar, periods, never)
    groups = pd.factorize(cohorts)[0].astype(np.int64)
    units = groups if unit is None else _units(frame[unit], unit, cohorts)
    # A unit whose treatment begins after the last period is never treated in these rows.
    cohorts = np.where(cohorts > periods.max(), np.inf, cohorts)
    return Panel(frame, unit, time, cohort, periods, cohorts, units, groups, np.ones(len(frame), bool), words)


def comparable(panel: Panel) -> Panel:
    """Leave out rows that have no untreated row to be compared with: units treated throughout, and periods when everybody is.

    Without a never-treated unit, the last to be treated are the comparison until they are.
    """
    always = panel.cohorts <= panel.times.min()
    if always.all():
        raise DataError("Every unit is treated in every period, so nothing is known of outcomes without treatment.")
    if always.any():
        _warn(
            f"{counted(_count(panel, always), _noun(panel))} {_are(panel, always)} treated in every period, so that nothing is known of them without treatment; "
            "they are left out."
        )
    used = panel.used & ~always
    cohorts = panel.cohorts
    if not np.isinf(cohorts[used]).any():
        last = cohorts[used].max()
        late = used & (panel.times >= last)
        _warn(
            f"No unit is never treated. Those that are treated last, in {panel.called(last)}, are compared with until then; {counted(int(late.sum()), 'row')} from "
            f"{panel.called(last)} on, when all are treated, {'is' if late.sum() == 1 else 'are'} left out."
        )
        used &= ~late
        cohorts = np.where(cohorts == last, np.inf, cohorts)
    if not (panel.times >= cohorts)[used].any():
        raise DataError(
            f"No row is left that is treated and can be compared with others; check that cohort column {panel.cohort!r} has the period of the first treatment."
        )
    return replace(panel, used=used, cohorts=cohorts)


def number_word(value: float) -> str:
    """Write a period, whole numbers without a point.

    >>> number_word(-2.0), number_word(0.5)
    ('-2', '0.5')
    """
    return str(int(value)) if float(value).is_integer() else f"{value:g}"


def label_word(label: Any) -> str:
    """Write a unit, whole numbers without a point.

    >>> label_word(3.0), label_word("a")
    ('3', 'a')
    """
    return number_word(float(label)) if isinstance(label, float | np.floating) else str(label)


def period_word(period: float, words: Mapping[float, str]) -> str:
    """Return what a period is called, where words has names for some."""
    return words.get(period) or number_word(period)


def quoted(name: str) -> str:
    """Return a column's name as a formula has it.

    >>> quoted("log wage")
    '`log wage`'
    """
    return f"`{name}`"


def outcome_text(panel: Panel, y: str) -> str:
    """Return the left side of a formula: a column, or else an expression."""
    return quoted(y) if y in panel.frame else y


def read_reference(ref: Any) -> tuple[float, ...]:
    """Read the event times that effects are measured from."""
    values = list(ref) if isinstance(ref, Sequence) and not isinstance(ref, str) else [ref]
    for value in values:
        if isinstance(value, bool) or not isinstance(value, int | float | np.integer | np.floating) or not value < 0:
            raise OptionError(f"ref has {shown(value)}; pass periods before the treatment, such as -1 or [-1, -5].")
    if not values:
        raise OptionError("ref is empty; pass at least one period before the treatment, such as -1.")
    return tuple(map(float, values))


def _periods(column: pd.Series, option: str, name: str) -> tuple[np.ndarray, bool]:
    """Return (n,) float64 periods, NaN where missing, and whether they are those of a calendar."""
    kind = column.dtype
    if isinstance(kind, pd.PeriodDtype):
        places = column.array.asi8.astype(float)
        places[column.isna().to_numpy()] = np.nan
        return places, True
    if pd.api.types.is_numeric_dtype(kind) and not pd.api.types.is_bool_dtype(kind):
        return column.to_numpy(dtype=float, na_value=np.nan), False
    if pd.api.types.is_object_dtype(kind) and column.isna().all():
        return np.full(len(column), np.nan), False
    raise DataError(
        f"{option} column {name!r} holds {kind} values, between which no periods can be counted; {_REMEDY}."
    )


def _cohorts(column: pd.Series, name: str, calendar: bool, periods: np.ndarray, never: Any) -> np.ndarray:
    """Return (n,) float64 periods of first treatment, infinite for the never treated."""
    given = (
        [] if never is None else list(never) if isinstance(never, Sequence) and not isinstance(never, str) else [never]
    )
    marked = column.isin(given).to_numpy() if given else np.zeros(len(column), bool)
    values, of_calendar = _periods(column.mask(marked) if calendar else column, "cohort", name)
    if of_calendar != calendar and not np.isnan(values).all():
        raise DataError(
            f"cohort column {name!r} and the periods are not of one kind, so that no periods can be counted between them; {_REMEDY}."
        )
    missing = np.isnan(values) | (values == np.inf)
    if never is None and not calendar:
        zero = values == 0.0
        if zero.any() and missing.any():
            raise DataError(
                f"cohort column {name!r} has both 0 and missing or infinite values, and which of them are the never treated is not clear; pass never=0 if 0 is as "
                "well, or never=float('inf') if it is a period."
            )
        if zero.any() and periods.min() <= 0.0:
            raise DataError(
                f"cohort column {name!r} has 0, which may be a period, as the first is {number_word(float(periods.min()))}, or stand for the never treated; pass "
                "never=0 or never=float('inf')."
            )
        marked = zero
    return np.where(missing | marked, np.inf, values)


def _units(labels: pd.Series, name: str, cohorts: np.ndarray) -> np.ndarray:
    """Return (n,) a number for each unit, whose cohort must not change."""
    codes, names = pd.factorize(labels)
    if (codes < 0).any():
        raise DataError(f"unit column {name!r} has missing values; leave those rows out of the data.")
    first = np.empty(len(names))
    first[codes[::-1]] = cohorts[::-1]
    changed = first[codes] != cohorts
    if changed.any():
        which = label_word(names[codes[changed.argmax()]])
        raise DataError(
            f"The cohort of {name} {which!r} changes from row to row; pass the period in which a unit is first treated in each of its rows."
        )
    return codes.astype(np.int64)


def _count(panel: Panel, rows: np.ndarray) -> int:
    return len(np.unique(panel.units[rows])) if panel.unit is not None else int(rows.sum())


def _noun(panel: Panel) -> str:
    return "row" if panel.unit is None else "unit"


def _are(panel: Panel, rows: np.ndarray) -> str:
    return "is" if _count(panel, rows) == 1 else "are"


def _warn(sentence: str) -> None:
    warnings.warn(sentence, BetahatWarning, stacklevel=user_level())
