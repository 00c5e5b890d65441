"""`Shown`: the coefficients of a fit under a covariance as tables and pictures, under betahat's names."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from betahat.data.container import to_numpy
from betahat.data.modes import in_ordinary_mode
from betahat.inference.resampled import Method
from betahat.lazy import lazily
from betahat.plots.coefficients import coefplot
from betahat.plots.rows import plot_diagnostics
from betahat.results.core import Core
from betahat.tables.adjusted import Adjustment
from betahat.tables.tidied import tidied

if TYPE_CHECKING:
    import pandas as pd
else:
    pd = lazily("pandas")


@in_ordinary_mode
@dataclass(frozen=True, eq=False, repr=False)
class Shown(Core, ABC):
    """A fit under one covariance, as tables and pictures show it."""

    def coefficient_table(self) -> np.ndarray:
        """Return (k, 4) coefficient, standard error, statistic and p-value, in NumPy.

        Returns
        -------
        numpy.ndarray
            (k, 4).
        """
        return to_numpy(self._layout.expand(self._pair.table()))

    def interval_table(self, alpha: float = 0.05, method: Method | None = None) -> np.ndarray:
        """Return the intervals of `conf_int`, in NumPy.

        Parameters
        ----------
        alpha, method : float, str
            As in `conf_int`.

        Returns
        -------
        (k, 2) numpy.ndarray
        """
        return to_numpy(self._layout.expand(self._pair.bounds(alpha, method)))

    def tidy(self, conf_level: float = 0.95, exponentiate: bool = False, adjust: Adjustment = None) -> pd.DataFrame:
        """Return a row for each coefficient, under broom's column names.

        Parameters
        ----------
        conf_level : float
            The share that the intervals cover, between 0 and 1.
        exponentiate : bool
            Whether coefficients are exp(b), as in `regtable`: standard errors by the delta method, transformed intervals.
        adjust : str or Adjust, optional
            How p-values and intervals are adjusted for the number of coefficients: "holm", "bh", "sup-t", ..., as in `Adjust`.

        Returns
        -------
        pandas.DataFrame
            (k, 7): term, estimate, std.error, statistic, p.value, conf.low, conf.high.

        Raises
        ------
        OptionError
            A level that is not between 0 and 1, or an unknown value of another option.
        """
        return tidied(self, conf_level, exponentiate, adjust)

    @abstractmethod
    def glance(self) -> pd.DataFrame:
        """Return one row of statistics of the model, under broom's column names.

        Returns
        -------
        pandas.DataFrame
            (1, ...).
        """

    def plot(self, **options: Any) -> Any:
        """Draw the coefficients with their intervals.

        Parameters
        ----------
        **options
            Those of `betahat.coefplot`.

        Returns
        -------
        matplotlib.axes.Axes
        """
        return coefplot(self, **options)

    def plot_diagnostics(self, axes: Any = None, mark: int = 3) -> Any:
        """Draw residuals, their quantiles, their scale and the leverage of each row.

        Parameters
        ----------
        axes, mark : (4,) Axes, int
            As in `betahat.plot_diagnostics`.

        Returns
        -------
        (4,) matplotlib.axes.Axes
        """
        return plot_diagnostics(self, axes, mark=mark)
