"""Statistics of columns of data, and how two groups differ in them."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from betahat.data.handed_out import outside
from betahat.errors import OptionError, is_one_of, listed
from betahat.errors import shown as in_words
from betahat.inference.distribution import two_sided
from betahat.lazy import lazily
from betahat.tables.tex import text_of_label

if TYPE_CHECKING:
    import pandas as pd
else:
    pd = lazily("pandas")

Compute = Callable[[np.ndarray], float]


def variance(values: np.ndarray) -> float:
    """Return the variance with n - 1 in the denominator; NaN of fewer than two values."""
    return float(values.var(ddof=1)) if len(values) > 1 else math.nan


# By pandas' names in `describe`, and their heads.
_KNOWN: dict[str, tuple[str, Compute]] = {
    "count": ("N", len),
    "mean": ("Mean", lambda values: float(values.mean())),
    "std": ("Std. dev.", lambda values: math.sqrt(variance(values))),
    "var": ("Variance", variance),
    "min": ("Min", lambda values: float(values.min())),
    "median": ("Median", lambda values: float(np.median(values))),
    "max": ("Max", lambda values: float(values.max())),
    "sum": ("Sum", lambda values: float(values.sum())),
}
# What is counted, also where there is no value.
_COUNTS = ("count", "missing")
# What is shown of a level of a category: how many rows, their share, and its deviation.
_OF_LEVELS = ("count", "mean", "std", "var")
_PERCENT = re.compile(r"(\d+(?:\.\d+)?)%|[pP](\d+(?:\.\d+)?)")

DIFFERENCES = {
    "diff": "Difference",
    "se": "Std. error",
    "t": "t",
    "p": "p",
    "norm": "Normalised",
    "logratio": "Log ratio of std. dev.",
}


@dataclass(frozen=True)
class Statistic:
    """A statistic of a column.

    Attributes
    ----------
    key : str
        Its name in the frame of the table.
    label : str
        Its head.
    compute : callable
        Of a Series of the values that are there, or of an array where `own` is False.
    own : bool
        Whether it is the user's function.
    """

    key: str
    label: str
    compute: Callable[[Any], Any]
    own: bool = False

    def of(self, column: pd.Series, level: bool) -> Any:
        """Return the statistic of a column, in which values are missing; None of what says nothing of a level of a category."""
        if self.key == "missing":
            return None if level else int(column.isna().sum())
        there = column.dropna()
        if level:
            if self.own or self.key not in _OF_LEVELS:
                return None
            if self.key == "count":
                return int(there.sum())
        if self.own:
            return outside(self.compute, there)
        values = there.to_numpy(dtype=float)
        if not len(values) and self.key not in _COUNTS:
            return math.nan
        with np.errstate(all="ignore"):
            return self.compute(values)


def read_statistics(stats: Any) -> list[Statistic]:
    """Read the option `stats`: names, or labels of names and functions."""
    if isinstance(stats, str) or not isinstance(stats, Mapping | Sequence) or not len(stats):
        raise OptionError(f"stats is {in_words(stats)}; pass a list of names, such as ['count', 'mean', 'std'].")
    if isinstance(stats, Mapping):
        return [_statistic(entry, text_of_label(label)) for label, entry in stats.items()]
    return [_statistic(entry, None) for entry in stats]


def _statistic(entry: Any, label: str | None) -> Statistic:
    if callable(entry):
        name = label or str(getattr(entry, "__name__", "function"))
        return Statistic(name, name, entry, own=True)
    if is_one_of(entry, _KNOWN):
        head, compute = _KNOWN[entry]
        return Statistic(entry, label or head, compute)
    if is_one_of(entry, ("missing",)):
        return Statistic("missing", label or "Missing", len)
    share = _PERCENT.fullmatch(entry) if isinstance(entry, str) else None
    percent = math.inf if share is None else float(share[1] or share[2])
    if percent > 100:
        raise OptionError(
            f"stats has {in_words(entry)}; pass some of {listed([*_KNOWN, 'missing'], limit=30)}, quantiles such as '25%', or functions of a Series."
        )
    return Statistic(entry, label or f"{percent:g}%", lambda values: float(np.quantile(values, percent / 100)))


def read_differences(option: Any, grouped: bool) -> tuple[str, ...]:
    """Return which differences between groups are shown."""
    if is_one_of(option, (True, False, None)):
        return ("diff", "se", "norm") if option and grouped else ()
    chosen = tuple(option) if isinstance(option, Sequence) and not isinstance(option, str) else (option,)
    if not all(is_one_of(entry, DIFFERENCES) for entry in chosen) or len(set(chosen)) < len(chosen):
        raise OptionError(
            f"differences is {in_words(option)}; pass some of {listed(DIFFERENCES)}, each once, or True or False."
        )
    if not grouped and chosen:
        raise OptionError("differences are between groups; name the column that tells them apart, as in by='treated'.")
    return chosen


def differences_of(values: np.ndarray, others: np.ndarray) -> dict[str, float]:
    """Return how the mean of a group differs from that of others: Welch's t test, and scale-free differences.

    The normalised difference is that of the means over the root of the average of both variances, and the log ratio is of the standard
    deviations. Imbens and Rubin (2015), Causal Inference, section 14.2.
    """
    if not len(values) or not len(others):
        return dict.fromkeys(DIFFERENCES, math.nan)
    with np.errstate(all="ignore"):
        difference = np.float64(values.mean() - others.mean())
        first, second = np.float64(variance(values)), np.float64(variance(others))
        parts = first / len(values), second / len(others)
        error = np.sqrt(sum(parts))
        df = error**4 / (parts[0] ** 2 / np.float64(len(values) - 1) + parts[1] ** 2 / np.float64(len(others) - 1))
        statistic = difference / error if error > 0 else np.float64(math.nan)
        return {
            "diff": float(difference),
            "se": float(error),
            "t": float(statistic),
            "p": float(two_sided(torch.tensor(float(statistic), dtype=torch.float64), float(df))),
            "norm": float(difference / np.sqrt((first + second) / 2)) if first + second > 0 else math.nan,
            "logratio": float((np.log(first) - np.log(second)) / 2),
        }
