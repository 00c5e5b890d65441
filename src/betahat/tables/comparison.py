"""`compare`: the standard errors of one model under many covariances."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from betahat.covariance.names import CovType
from betahat.errors import OptionError, described
from betahat.lazy import lazily
from betahat.tables.cells import Block, Cell, Layout, Line, plain
from betahat.tables.columns import effect_lines, read_columns
from betahat.tables.estimates import Estimates, full_name, unidentified_note
from betahat.tables.numbers import number_format
from betahat.tables.stars import Stars, read_stars
from betahat.tables.table import Table
from betahat.tables.terms import Rename, Terms, choose, renamed

if TYPE_CHECKING:
    import pandas as pd
else:
    pd = lazily("pandas")


def compare(
    results: Estimates,
    covariances: Sequence[CovType] | Mapping[str, CovType] | None = None,
    *,
    cov: Sequence[CovType] | Mapping[str, CovType] | None = None,
    use_t: bool | None = None,
    keep: Terms | None = None,
    drop: Terms | None = None,
    order: Terms | None = None,
    rename: Rename | None = None,
    stars: Stars = True,
    digits: int | None = None,
    significant: int | None = None,
    thousands: str | None = None,
) -> Table:
    """Put the standard errors of one model under several covariances side by side.

    Parameters
    ----------
    results : Results
        The model; whatever has been computed for one covariance is reused for the others.
    covariances : sequence or mapping of str or estimator
        Each as in `cov_type`; the keys of a mapping become heads: ``{"robust": "HC1", "by firm": bh.Cluster("firm")}``.
    cov : sequence or mapping of str or estimator
        The same, under the name that `regtable` and `coefplot` have.
    use_t, keep, drop, order, rename, stars, digits, significant, thousands
        As in `regtable`.

    Returns
    -------
    Table
        Its frame has the coefficients in "coef" and one column of standard errors for each covariance; printed, each standard error
        carries the stars of its own test.

    Raises
    ------
    OptionError
        Nothing to compare, or an unknown covariance, coefficient or option.

    Examples
    --------
    >>> import betahat as bh
    >>> res = bh.OLS([1.0, 2.0, 4.0, 5.0], bh.add_constant([1.0, 2.0, 3.0, 4.0])).fit()
    >>> bh.compare(res, ["nonrobust", "HC1"]).to_frame().round(4)
           coef  nonrobust     HC1
    const  -0.5     0.3873  0.2646
    x1      1.4     0.1414  0.0849
    """
    if covariances is not None and cov is not None:
        raise OptionError("compare has covariances and cov, which are two names of the same; pass one of them.")
    covariances = cov if covariances is None else covariances
    if isinstance(covariances, str) or not isinstance(covariances, Mapping | Sequence) or not covariances:
        raise OptionError("compare needs a list of covariances, such as ['nonrobust', 'HC1', 'HC3'].")
    if not isinstance(results, Estimates):
        raise OptionError(f"compare needs results, as returned by .fit(), not {described(results)}.")
    columns = read_columns(results, covariances, use_t, "compare")
    tables = [result.coefficient_table() for result in columns.results]
    terms = [full_name(key) for key in results.equation_terms]
    places = [i for name in choose(terms, keep, drop, order) for i, term in enumerate(terms) if term == name]
    names = [renamed(terms[i], rename) for i in places]
    marks, shown = read_stars(stars), number_format(digits, significant, thousands)
    numbers = np.column_stack([tables[0][:, 0], *(table[:, 1] for table in tables)])[places]
    lines = tuple(
        Line(
            name,
            (
                Cell(shown(tables[0][i, 0]), decimal=True),
                *(Cell(_in_parentheses(shown(table[i, 1])), marks(table[i, 3]), decimal=True) for table in tables),
            ),
        )
        for i, name in zip(places, names, strict=True)
    )
    measure, value = results.goodness
    blanks = [Cell("")] * len(tables)
    layout = Layout(
        f"Dependent variable: {renamed(results.endog_name, rename)}",
        heads=(plain(["coef", *columns.covariances]),),
        body=(Block("", lines),),
        foot=(
            *(Line(line.name, (*line.cells, *blanks)) for line in effect_lines([results], rename)),
            *([] if results.nobs is None else [Line("N", (Cell(shown.count(round(results.nobs))), *blanks))]),
            *([Line(measure, (Cell(shown(value), decimal=True), *blanks))] if measure else []),
        ),
        notes=("Standard errors in parentheses.", *unidentified_note([results])),
        marks_note=marks.note,
    )
    return Table(pd.DataFrame(numbers, columns=["coef", *columns.covariances], index=names), layout)


def _in_parentheses(text: str) -> str:
    return f"({text})" if text else ""
