"""`compare`: the standard errors of one model under many covariances."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from betahat.covariance.names import CovType
from betahat.errors import OptionError
from betahat.tables.cells import Block, Cell, Layout, Line, number, plain
from betahat.tables.estimates import Estimates
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
    switched = [results.with_cov(cov_type) for cov_type in covariances]
    tables = [result.coefficient_table() for result in switched]
    labels = _distinct([result.cov_type for result in switched])
    names = [f"{equation}:{term}" if equation else term for equation, term in results.equation_terms]
    marks = read_stars(True)
    frame = pd.DataFrame(
        {"coef": tables[0][:, 0], **{label: table[:, 1] for label, table in zip(labels, tables, strict=True)}},
        index=names,
    )
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
    blanks = [Cell("")] * len(switched)
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


def _distinct(labels: Sequence[str]) -> list[str]:
    """Tell equal labels apart by their numbers."""
    return [f"{label} ({i})" if ["coef", *labels].count(label) > 1 else label for i, label in enumerate(labels, 1)]


def _in_parentheses(text: str) -> str:
    return f"({text})" if text else ""
