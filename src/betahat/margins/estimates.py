"""`MarginResults`: margins with a covariance, which tables, pictures, tests and files take as they take results."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, Self

import numpy as np
from torch import Tensor

from betahat.data.container import to_numpy
from betahat.data.modes import in_ordinary_mode
from betahat.errors import check_flag
from betahat.inference import restrictions as tests
from betahat.inference.delta import Delta, Parameters, View, delta_method
from betahat.inference.identified import check_identified
from betahat.inference.joint import Joint
from betahat.inference.resampled import Method
from betahat.inference.wald import TTest, WaldTest
from betahat.lazy import lazily
from betahat.margins.core import MarginCore
from betahat.margins.functions import Composed, chained
from betahat.margins.hypotheses import tested
from betahat.margins.inferred import draws_through
from betahat.margins.labels import ROW, after_row, places_of
from betahat.margins.summary import null_of, summary_of
from betahat.plots.coefficients import coefplot
from betahat.tables.adjusted import Adjustment, joint_of
from betahat.tables.estimates import About, about
from betahat.tables.table import Table
from betahat.tables.tidied import statistics

if TYPE_CHECKING:
    import pandas as pd

    from betahat.data.formulas import restrictions as formulas
    from betahat.saving import files
else:
    pd = lazily("pandas")
    formulas = lazily("betahat.data.formulas.restrictions")
    files = lazily("betahat.saving.files")


@in_ordinary_mode
@dataclass(frozen=True, eq=False, repr=False)
class MarginResults(MarginCore):
    """Predictions, comparisons or slopes, with what follows from the covariance of the coefficients.

    Tables, pictures and files take them as they take results. They never change, and what they hand out is a copy.

    Attributes
    ----------
    of : Results
        The results that they are computed from.
    labels : pandas.DataFrame
        (m, ...) what each number is: "group" (the outcome, where there are several), "term", "contrast", and the columns of `by`, or the
        position of the row.
    estimates : Tensor
        (m,) the numbers.
    jacobian : Tensor
        (m, k) their derivatives in the parameters.
    function : Function or None
        The numbers at other parameters; None if they come from a file.
    title : str
        What they are called.
    rows : pandas.DataFrame or None
        The variables of each row, where the numbers are those of single rows.
    kept : Kept or None
        What is known instead of the function.
    null : float
        The value of the numbers under the null hypothesis of the p-values.
    scale : {"log", "ratio", ""}
        Whether the numbers are logarithms of ratios, ratios, or anything else.
    """

    # tests

    def hypotheses(self, hypothesis: Any) -> MarginResults:
        """Return functions of the numbers as margins of their own: differences, ratios, equations, or what a function makes of them.

        Parameters
        ----------
        hypothesis : float, str, list of str, array_like or callable
            A number is another null for the same numbers. "pairwise", "revpairwise", "reference", "revreference", "sequential", "revsequential",
            "meandev" and "meanotherdev" are differences; "ratio ~ pairwise" are ratios, with null one, and "difference ~ pairwise | term" differences within
            the values of a label. "b0 = b1" and "2*b0 + b1 = 1" are equations in the numbers by their places or names. A matrix has a column of weights for each linear
            combination. A function takes the vector of numbers and returns one or several through torch.

        Returns
        -------
        MarginResults

        Examples
        --------
        >>> import betahat as bh
        >>> data = {"y": [1.0, 2.0, 4.0, 5.0, 9.0], "x": [1.0, 2.0, 3.0, 4.0, 5.0]}
        >>> data["z"] = [0, 1, 1, 0, 1]
        >>> slopes = bh.ols("y ~ x + z", data).fit().avg_slopes()
        >>> slopes.hypotheses("x = z").params.round(6)
        x=z    1.4
        dtype: float64
        """
        return tested(self, hypothesis)

    def against(self, null: float) -> MarginResults:
        """Return the same numbers with p-values for another null than zero.

        Parameters
        ----------
        null : float
            The value of each number under the null hypothesis.

        Returns
        -------
        MarginResults
        """
        return replace(self, null=null)

    def t_test(self, r_matrix: Any, use_t: bool | None = None) -> TTest:
        """Test restrictions on the numbers one by one.

        Parameters
        ----------
        r_matrix : str, list of str, array_like or tuple
            As in `Results.t_test`, with the names of the numbers, or b0, b1, ... by their places.
        use_t : bool, optional
            t or normal; None takes that of the results.

        Returns
        -------
        TTest

        Raises
        ------
        FormulaError
            Restrictions that cannot be read; the message lists the names.
        EstimationError
            A restriction that the data do not identify, or more than 5,000 numbers.

        Examples
        --------
        >>> import betahat as bh
        >>> data = {"y": [1.0, 2.0, 4.0, 5.0, 9.0], "x": [1.0, 2.0, 3.0, 4.0, 5.0]}
        >>> data["z"] = [0, 1, 1, 0, 1]
        >>> slopes = bh.ols("y ~ x + z", data).fit().avg_slopes()
        >>> round(float(slopes.t_test("x = z").pvalue), 4)
        0.3693
        """
        matrix, values = self._restrictions(r_matrix)
        return tests.single_tests(self._found.pair, matrix, values, self.names, self._container, use_t)

    def wald_test(self, r_matrix: Any, use_f: bool | None = None, *, scalar: bool = True) -> WaldTest:
        """Test restrictions on the numbers jointly; F where tests take t, chi-squared otherwise.

        Parameters
        ----------
        r_matrix
            As in `t_test`.
        use_f, scalar : bool
            As in `Results.wald_test`.

        Returns
        -------
        WaldTest

        Raises
        ------
        FormulaError, EstimationError
            As in `t_test`.
        """
        matrix, values = self._restrictions(r_matrix)
        return tests.joint_test(self._found.pair, matrix, values, self.names, use_f, scalar)

    def delta(self, function: Callable[[Parameters], Any]) -> Delta:
        """Return a function of the numbers with its standard error, by the delta method.

        Parameters
        ----------
        function : callable
            Takes the numbers, by name or by position, and returns a number or a vector through torch.

        Returns
        -------
        Delta

        Raises
        ------
        EstimationError
            As in `Results.delta`.

        Examples
        --------
        >>> import betahat as bh
        >>> data = {"y": [1.0, 2.0, 4.0, 5.0, 9.0], "x": [1.0, 2.0, 3.0, 4.0, 5.0]}
        >>> data["z"] = [0, 1, 1, 0, 1]
        >>> slopes = bh.ols("y ~ x + z", data).fit().avg_slopes()
        >>> round(slopes.delta(lambda p: p["x"] / p["z"]).estimate, 4)
        4.08
        """
        pair, of = self._found.pair, self._found.of
        view = View(self.names, tuple(range(len(self.estimates))), {})
        found = delta_method(
            function,
            self.estimates,
            pair.variances,
            lambda rows: of.df_of(rows @ self.jacobian),
            view,
            self._container,
            pair.cov,
        )
        check_identified(pair.fit.unidentified, found.jacobian, self.names)
        return found

    def combined(
        self, function: Callable[[Tensor], Tensor], labels: pd.DataFrame, title: str | None = None
    ) -> MarginResults:
        """Return functions of these numbers as margins of their own.

        Parameters
        ----------
        function : callable
            (m,) numbers -> (h,) numbers, differentiable by torch.
        labels : pandas.DataFrame
            (h, ...) what each is, with at least the column "term".
        title : str, optional
            What they are called; None keeps the title.

        Returns
        -------
        MarginResults
        """
        values, jacobian = chained(function, self.estimates, self.jacobian)
        composed = None if self.function is None else Composed(self.function, function)
        name = self.title if title is None else title
        return MarginResults(
            self.of, labels, values, jacobian, composed, name, None, draws_through(function, self.kept)
        )

    # tables

    def coefficient_table(self) -> np.ndarray:
        """Return (m, 4) number, standard error, statistic and p-value, in NumPy.

        Returns
        -------
        numpy.ndarray
            (m, 4).
        """
        return to_numpy(self._found.table())

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
        return to_numpy(self._found.bounds(alpha, method))

    def tidy(self, conf_level: float = 0.95, exponentiate: bool = False, adjust: Adjustment = None) -> pd.DataFrame:
        """Return a row for each number: its labels, its statistics under broom's column names, and of single rows their variables.

        Parameters
        ----------
        conf_level : float
            The share that the intervals cover, between 0 and 1.
        exponentiate : bool
            Whether logarithms of ratios are ratios, as in `regtable`: those of "lnratio" and "lnor", and which="linear" of a logit or a
            logarithmic mean. Other numbers stay as they are.
        adjust : str or Adjust, optional
            How p-values and intervals are adjusted for the number of margins, as in `Adjust`.

        Returns
        -------
        pandas.DataFrame
            (m, ...).

        Raises
        ------
        OptionError
            A level that is not between 0 and 1, or an unknown value of another option.
        """
        labels = self.labels.reset_index(drop=True)
        parts = [labels, statistics(self, conf_level, exponentiate, adjust)]
        if self.rows is not None:
            own = self.rows.reset_index(drop=True).iloc[labels[ROW].to_numpy()].reset_index(drop=True)
            parts[0] = labels = labels.drop(columns=[name for name in after_row(labels) if name in self.rows])
            taken = {*labels.columns, *parts[1].columns}
            parts.append(own[[name for name in own.columns if name not in taken]])
        found: pd.DataFrame = pd.concat(parts, axis=1)
        return found

    def summary(self, alpha: float = 0.05, title: str | None = None, digits: int | None = None) -> Table:
        """Return a table: a row for each number with its standard error, test and interval.

        Of more than 60 numbers the first and the last ones are printed; the frame of the table has all.

        Parameters
        ----------
        alpha : float
            Intervals have coverage 1 - alpha.
        title : str, optional
            The heading.
        digits : int, optional
            Decimals of all numbers, as in `regtable`.

        Returns
        -------
        Table
            With `to_frame`, `to_text`, `to_html`, `to_latex`, `to_markdown`, `to_typst` and `to_docx`.

        Raises
        ------
        OptionError
            An alpha that is not between 0 and 1, or a title that is no string.
        """
        return summary_of(self, alpha, self.title if title is None else title, digits)

    def plot(self, **options: Any) -> Any:
        """Draw the numbers with their intervals; each group of `by` has markers of its own beside those of the others.

        Parameters
        ----------
        **options
            Those of `betahat.coefplot`.

        Returns
        -------
        matplotlib.axes.Axes
        """
        groups = {place: self._part(rows) for place, rows in places_of(self.labels)}
        return coefplot(groups or self, **options)

    def __repr__(self) -> str:
        """Return the summary as text."""
        return self.summary().to_text()

    def _repr_html_(self) -> str:
        return self.summary().to_html()

    # keeping

    def save(self, path: str | PathLike[str] | BinaryIO, remove_data: bool = False) -> Path | BinaryIO:
        """Write the numbers, and the results that they are of, to one file, which `betahat.load` reads without running any code.

        How the numbers depend on the parameters is code: a file has them with their derivatives, and of a bootstrap with their replicates. So
        they can be put under any other covariance but bootstraps, which take the margins of the loaded results again.

        Parameters
        ----------
        path : str, path, or binary file
            As in `Results.save`.
        remove_data : bool
            Leave the rows out, as `Results.remove_data` does, and the variables of single rows, but not their labels.

        Returns
        -------
        pathlib.Path
            The file; or the open one.

        Raises
        ------
        DataError
            As in `Results.save`.
        """
        check_flag("remove_data", remove_data)
        of = self.of._stored_form(remove_data)
        rows = self.rows[[]] if remove_data and self.rows is not None else self.rows
        return files.write(path, replace(self, of=of, rows=rows, function=None, kept=self._found.to_keep()))

    def __getstate__(self) -> dict[str, Any]:
        """Return what a pickle has: what a file has."""
        state = {name: value for name, value in vars(self).items() if name in self.__dataclass_fields__}
        return {**state, "function": None, "kept": self._found.to_keep()}

    def __copy__(self) -> Self:
        """Return itself, since nothing of it can be changed."""
        return self

    def __deepcopy__(self, memo: Any) -> Self:
        """Return itself."""
        return self

    # private

    def _part(self, rows: list[int]) -> MarginResults:
        """Return some of the numbers, under their terms and contrasts alone."""
        labels = self.labels.iloc[rows][["term", "contrast"]].reset_index(drop=True)
        return replace(self.combined(lambda numbers: numbers[..., rows], labels), null=self.null, scale=self.scale)

    def _restrictions(self, r_matrix: Any) -> tuple[Tensor, Tensor]:
        places = [f"b{i}" for i in range(len(self.estimates))]
        return formulas.read_restrictions(r_matrix, self.names, self.estimates, places)


@about.register
def _(result: MarginResults) -> About:
    known = about(result.of)
    return About(
        source=result.of,
        fit=known.fit,
        effects=known.effects,
        unidentified=result.unidentified,
        clusters=known.clusters,
        options=known.options,
        asked_t=known.asked_t,
        no_logarithms=frozenset() if result.scale == "log" else frozenset(name for _, name in result.equation_terms),
        null=null_of(result),
    )


@joint_of.register
def _(result: MarginResults) -> Joint:
    return result._found.joint(result.of.fit)
