"""`Margins`: the six questions about variables that results answer, with marginaleffects' names."""

from __future__ import annotations

from abc import ABC
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from betahat.data.formulas.stored import StoredFormula
from betahat.data.frame import is_frame
from betahat.data.modes import in_ordinary_mode
from betahat.margins import asked
from betahat.margins.estimates import MarginResults
from betahat.margins.subject import Subject
from betahat.results.new_data import moved_regressors
from betahat.results.restricted import Restricted

if TYPE_CHECKING:
    from betahat.data.formulas.formula import Formula


@in_ordinary_mode
@dataclass(frozen=True, eq=False, repr=False)
class WithMargins(Restricted, ABC):
    """Predictions of the mean, how they change with a variable, and their slopes, in rows and on average."""

    def avg_predictions(
        self, variables: Any = None, by: Any = None, newdata: Any = None, *, wts: str | None = None
    ) -> MarginResults:
        """Return averages of the mean of the dependent variable.

        Parameters
        ----------
        variables : optional
            Not yet.
        by : str or list of str, optional
            Columns of the data: an average for each of their values; None is one over all rows.
        newdata : dataframe or {"mean", "median"}, optional
            The rows; None takes those of the fit, with their offset.
        wts : str, optional
            A column of weights for the averages; None takes the `freq_weights` of the fit.

        Returns
        -------
        MarginResults

        Examples
        --------
        >>> import betahat as bh
        >>> data = {"y": [1.0, 2.0, 4.0, 5.0], "x": [1.0, 2.0, 3.0, 4.0], "old": [0, 0, 1, 1]}
        >>> bh.ols("y ~ x", data).fit().avg_predictions(by="old").params
        old=0    1.6
        old=1    4.4
        dtype: float64
        """
        return asked.predictions(self._subject, variables, _every(by), newdata, wts)

    def predictions(
        self, variables: Any = None, by: Any = False, newdata: Any = None, *, wts: str | None = None
    ) -> MarginResults:
        """Return the mean of the dependent variable in each row.

        Parameters
        ----------
        variables, by, newdata, wts
            As in `avg_predictions`; by=False is a number for each row. A dataframe in the first place is `newdata`.

        Returns
        -------
        MarginResults
        """
        variables, newdata = _first(variables, newdata)
        return asked.predictions(self._subject, variables, by, newdata, wts)

    def avg_comparisons(
        self,
        variables: Any = None,
        by: Any = None,
        newdata: Any = None,
        *,
        comparison: Any = "difference",
        wts: str | None = None,
    ) -> MarginResults:
        """Return average changes of the mean when a variable changes.

        Parameters
        ----------
        variables : str, list or dict, optional
            The variables, and in a dict how far each is moved; None takes all. Numbers are moved from x - 1/2 to x + 1/2, variables of 0 and 1
            from 0 to 1, and categories from their first level to each other one.
        by, newdata, wts
            As in `avg_predictions`.
        comparison : str or callable
            "difference", "ratio", "lnratio", "lift", "lnor", "or": of the average means; or a function of (high, low).

        Returns
        -------
        MarginResults
        """
        return asked.comparisons(self._subject, variables, _every(by), newdata, comparison, wts)

    def comparisons(
        self,
        variables: Any = None,
        by: Any = False,
        newdata: Any = None,
        *,
        comparison: Any = "difference",
        wts: str | None = None,
    ) -> MarginResults:
        """Return changes of the mean in each row.

        Parameters
        ----------
        variables, by, newdata, comparison, wts
            As in `avg_comparisons`; by=False is a number for each row. A dataframe in the first place is `newdata`.

        Returns
        -------
        MarginResults
        """
        variables, newdata = _first(variables, newdata)
        return asked.comparisons(self._subject, variables, by, newdata, comparison, wts)

    def avg_slopes(
        self,
        variables: Any = None,
        by: Any = None,
        newdata: Any = None,
        *,
        slope: str = "dydx",
        wts: str | None = None,
    ) -> MarginResults:
        """Return average derivatives of the mean with respect to variables, through powers, splines and interactions of the formula.

        Parameters
        ----------
        variables : str or list, optional
            The variables; None takes all. Of variables of 0 and 1 and of categories differences are taken, as in `avg_comparisons`.
        by, newdata, wts
            As in `avg_predictions`.
        slope : {"dydx", "eyex", "eydx", "dyex"}
            Derivative, elasticity, or a semi-elasticity.

        Returns
        -------
        MarginResults

        Examples
        --------
        >>> import betahat as bh
        >>> data = {"y": [1.0, 2.0, 4.0, 5.0, 9.0], "x": [1.0, 2.0, 3.0, 4.0, 5.0]}
        >>> bh.ols("y ~ x + I(x**2)", data).fit().avg_slopes("x").params.round(6)
        x    1.9
        dtype: float64
        """
        return asked.slopes(self._subject, variables, _every(by), newdata, slope, wts)

    def slopes(
        self,
        variables: Any = None,
        by: Any = False,
        newdata: Any = None,
        *,
        slope: str = "dydx",
        wts: str | None = None,
    ) -> MarginResults:
        """Return derivatives of the mean in each row.

        Parameters
        ----------
        variables, by, newdata, slope, wts
            As in `avg_slopes`; by=False is a number for each row. A dataframe in the first place is `newdata`.

        Returns
        -------
        MarginResults
        """
        variables, newdata = _first(variables, newdata)
        return asked.slopes(self._subject, variables, by, newdata, slope, wts)

    # private

    @property
    def _subject(self) -> Subject:
        response, source = self.response, self._formula

        def read(frame: Any) -> Tensor:
            if source is not None:
                return moved_regressors(self, frame)
            return torch.tensor(frame[list(response.names)].to_numpy(float)).to(response.exog.device)

        return Subject(self, response, read, source)

    @property
    def _formula(self) -> Formula | StoredFormula | None:
        """The formula of the regressors."""
        found: Formula | StoredFormula | None = self.model.source
        return found


def _every(by: Any) -> Any:
    """Return over what is averaged; all rows unless told otherwise."""
    return True if by is None else by


def _first(variables: Any, newdata: Any) -> tuple[Any, Any]:
    """Return variables and new data, of which a dataframe may come first."""
    return (None, variables) if newdata is None and is_frame(variables) else (variables, newdata)
