"""`compare`: the standard errors of one model under many covariances."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from betahat.covariance.names import CovType
from betahat.errors import OptionError
from betahat.tables.cells import Block, Cell, Layout, Line, number, plain
from betahat.tables.columns import read_columns
from betahat.tables.estimates import Estimates, full_name
from betahat.tables.stars import read_stars
from betahat.tables.table import Table


def compare(results: Estimates, covariances: Sequence[CovType]) -> Table:
    """Put the standard errors of one model under several covariances side by side.

    Parameters
    ----------
    results : Results
        The model; what it has been computed for one covariance serves the others.
    covariances : sequence of str or estimator
        As `cov_type`.

    Returns
    -------
    Table
        Its frame has the coefficients in "coef" and the standard errors in a column for each covariance; printed, each has the stars of
        its own test.

    Raises
    ------
    OptionError
        Nothing to compare, or an unknown covariance.

    Examples
    --------
    >>> import betahat as bh
    >>> res = bh.OLS([1.0, 2.0, 4.0, 5.0], bh.add_constant([1.0, 2.0, 3.0, 4.0])).fit()
    >>> bh.compare(res, ["nonrobust", "HC1"]).to_frame().round(4)
           coef  nonrobust     HC1
    const  -0.5     0.3873  0.2646
    x1      1.4     0.1414  0.0849
    """
    if isinstance(covariances, str) or not covariances:
        raise OptionError("compare needs a list of covariances, such as ['nonrobust', 'HC1', 'HC3'].")
    if not isinstance(results, Estimates):
        raise OptionError(f"compare needs results, as .fit() returns them, and a {type(results).__name__} came.")
    columns = read_columns(results, list(covariances), "compare")
    tables = [result.coefficient_table() for result in columns.results]
    labels = columns.covariances
    names = [full_name(key) for key in results.equation_terms]
    marks = read_stars(True)
    numbers = np.column_stack([tables[0][:, 0], *(table[:, 1] for table in tables)])
    frame = pd.DataFrame(numbers, columns=["coef", *labels], index=names)
    lines = tuple(
        Line(
            name,
            (
                Cell(number(tables[0][i, 0]), decimal=True),
                *(Cell(_in_parentheses(number(table[i, 1])), marks(table[i, 3]), decimal=True) for table in tables),
            ),
        )
        for i, name in enumerate(names)
    )
    measure, value = results.goodness
    blanks = [Cell("")] * len(labels)
    layout = Layout(
        f"Dependent variable: {results.endog_name}",
        heads=(plain(["coef", *labels]),),
        body=(Block("", lines),),
        foot=(
            Line("N", (Cell(f"{round(results.nobs):,}"), *blanks)),
            Line(measure, (Cell(number(value), decimal=True), *blanks)),
        ),
        notes=("Standard errors in parentheses.",),
        marks_note=marks.note,
    )
    return Table(frame, layout)


def _in_parentheses(text: str) -> str:
    return f"({text})" if text else ""
