"""`Margins`: the six questions about variables that results answer, with marginaleffects' names."""

from __future__ import annotations

from abc import ABC
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from betahat.data.formulas.stored import StoredFormula
from betahat.data.frame import is_frame
from betahat.data.modes import in_ordinary_mode
from betahat.inference.margins import Response, has_logarithmic_index
from betahat.margins import asked
from betahat.margins.data_grid import DataGrid
from betahat.margins.estimates import MarginResults
from betahat.margins.instead import instead_of_rows
from betahat.margins.subject import Subject, columns_moved, columns_named
from betahat.results.new_data import moved_regressors, plain_regressors
from betahat.results.restricted import Restricted

if TYPE_CHECKING:
    from betahat.data.formulas.formula import Formula


@in_ordinary_mode
@dataclass(frozen=True, eq=False, repr=False)
class WithMargins(Restricted, ABC):
    """Predictions of the mean, how they change with a variable, and their slopes, in rows and on average."""

    def avg_predictions(
        self,
        variables: Any = None,
        by: Any = None,
        newdata: Any = None,
        *,
        wts: Any = None,
        hypothesis: Any = None,
        which: str | None = None,
    ) -> MarginResults:
        """Return averages of the mean of the dependent variable.

        Parameters
        ----------
        variables : str, list or dict, optional
            Counterfactuals: the average of all rows with these variables at each of their values, or at those that a dict gives. Words stand for
            values of a number: "sd" for its mean less and plus half a deviation, "2sd" for its mean less and plus one, "iqr" for its quartiles, "minmax" for
            its range, "threenum" for "sd" and the mean between, "fivenum" for Tukey's five.
        by : str or list of str, or bool, optional
            Columns of the data as they were at the fit: an average for each of their values, a missing one among them. True is one average over all rows, and so is
            None; with `variables`, None is one for each of their values.
        newdata : dataframe, dict, `datagrid` or {"mean", "median", "balanced"}, optional
            The rows; None takes those of the fit, with their offset. New rows have no offset. A typical row has numbers at their mean or median and
            0/1 variables and categories at their most frequent value, or with "balanced" at each.
        wts : str or array_like, optional
            (m,) weights for the averages, or the column that has them; None takes the `freq_weights` of the fit.
        hypothesis : float, str, list of str, array_like or callable, optional
            Functions of the numbers to be returned in their place, or another null, as in `MarginResults.hypotheses`.
        which : str, optional
            What is predicted, where `predict` has a choice, such as "linear", or "expected" of Tobit; None is the default of `predict`, and of a torch
            module the mean.

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
        return asked.predictions(self._subject(which, newdata), variables, by, newdata, wts, hypothesis)

    def predictions(
        self,
        variables: Any = None,
        by: Any = False,
        newdata: Any = None,
        *,
        wts: Any = None,
        hypothesis: Any = None,
        which: str | None = None,
    ) -> MarginResults:
        """Return the mean of the dependent variable in each row.

        Parameters
        ----------
        variables, by, newdata, wts, hypothesis, which
            As in `avg_predictions`; by=False is a number for each row. A dataframe or a grid as the first argument is `newdata`.

        Returns
        -------
        MarginResults
        """
        variables, newdata = _first(variables, newdata)
        return asked.predictions(self._subject(which, newdata), variables, by, newdata, wts, hypothesis)

    def avg_comparisons(
        self,
        variables: Any = None,
        by: Any = None,
        newdata: Any = None,
        *,
        comparison: Any = "difference",
        wts: Any = None,
        hypothesis: Any = None,
        cross: bool = False,
        which: str | None = None,
    ) -> MarginResults:
        """Return average changes of the mean when a variable changes.

        Parameters
        ----------
        variables : str, list or dict, optional
            The variables, and in a dict what each is compared at; None takes all. Numbers: v for x - v/2 and x + v/2 (by default 1), [low, high], "sd",
            "2sd", "iqr", "minmax", or a function of the column that returns both. Categories: "reference" (the default), "revreference", "pairwise",
            "revpairwise", "sequential", "revsequential", "all", or [low, high]. Variables of 0 and 1, or true and false, are compared at both.
        by, newdata, wts, hypothesis, which
            As in `avg_predictions`.
        comparison : str or callable
            "difference", "ratio", "lnratio", "lift", "lnor" or "or" of the average means; a slope ("dydx", ...); or a function of
            (high, low) through torch, which of averages takes both average means.
        cross : bool
            Whether the variables change at the same time.

        Returns
        -------
        MarginResults

        Examples
        --------
        >>> import betahat as bh
        >>> data = {"y": [1.0, 2.0, 4.0, 5.0, 9.0], "x": [1.0, 2.0, 3.0, 4.0, 5.0]}
        >>> bh.ols("y ~ x + I(x**2)", data).fit().avg_comparisons({"x": [1, 3]}).params.round(6)
        x: 3 - 1    2.371429
        dtype: float64
        """
        return asked.comparisons(
            self._subject(which, newdata), variables, by, newdata, comparison, wts, hypothesis, cross
        )

    def comparisons(
        self,
        variables: Any = None,
        by: Any = False,
        newdata: Any = None,
        *,
        comparison: Any = "difference",
        wts: Any = None,
        hypothesis: Any = None,
        cross: bool = False,
        which: str | None = None,
    ) -> MarginResults:
        """Return changes of the mean in each row.

        Parameters
        ----------
        variables, by, newdata, comparison, wts, hypothesis, cross, which
            As in `avg_comparisons`; by=False is a number for each row. A dataframe or a grid as the first argument is `newdata`.

        Returns
        -------
        MarginResults
        """
        variables, newdata = _first(variables, newdata)
        return asked.comparisons(
            self._subject(which, newdata), variables, by, newdata, comparison, wts, hypothesis, cross
        )

    def avg_slopes(
        self,
        variables: Any = None,
        by: Any = None,
        newdata: Any = None,
        *,
        slope: str = "dydx",
        wts: Any = None,
        hypothesis: Any = None,
        which: str | None = None,
    ) -> MarginResults:
        """Return average derivatives of the mean with respect to variables, through powers, splines and interactions of the formula.

        Parameters
        ----------
        variables : str or list, optional
            The variables; None takes all. For variables of 0 and 1 and for categories, differences are taken, as in `avg_comparisons`.
        by, newdata, wts, hypothesis, which
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
        return asked.slopes(self._subject(which, newdata), variables, by, newdata, slope, wts, hypothesis)

    def slopes(
        self,
        variables: Any = None,
        by: Any = False,
        newdata: Any = None,
        *,
        slope: str = "dydx",
        wts: Any = None,
        hypothesis: Any = None,
        which: str | None = None,
    ) -> MarginResults:
        """Return derivatives of the mean in each row.

        Parameters
        ----------
        variables, by, newdata, slope, wts, hypothesis, which
            As in `avg_slopes`; by=False is a number for each row. A dataframe or a grid as the first argument is `newdata`.

        Returns
        -------
        MarginResults
        """
        variables, newdata = _first(variables, newdata)
        return asked.slopes(self._subject(which, newdata), variables, by, newdata, slope, wts, hypothesis)

    # private

    def _subject(self, which: Any, newdata: Any = None) -> Subject:
        """Return what margins are of: what `predict` calls `which`, in the variables of the formula, or in the regressors."""
        source = self._formula
        response = self._response(which) if source is None else self._response_through_formula(which)
        names = response.names if source is None else source.variables
        instead = instead_of_rows(self.fit, source, names, newdata)
        logarithmic = isinstance(which, str) and which == "linear" and has_logarithmic_index(self._response(None))
        if source is not None:
            read, change = partial(plain_regressors, self), partial(moved_regressors, self)
            return Subject(self, response, read, change, source, instead, logarithmic)
        device = self.fit.params.device
        rows, moved = partial(columns_named, response, device), partial(columns_moved, response, device)
        return Subject(self, response, rows, moved, None, instead, logarithmic)

    def _response_through_formula(self, which: Any) -> Response:
        """Return the same as `_response`, in all the columns that the formula makes of new data."""
        return self._response(which)

    @property
    def _formula(self) -> Formula | StoredFormula | None:
        """The formula of the regressors."""
        found: Formula | StoredFormula | None = self.model.source
        return found


def _first(variables: Any, newdata: Any) -> tuple[Any, Any]:
    """Return variables and new data, of which a dataframe or a grid may come first."""
    rows = isinstance(variables, DataGrid) or is_frame(variables)
    return (None, variables) if newdata is None and rows else (variables, newdata)
