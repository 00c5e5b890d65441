"""What the comparison tables say: one model under many covariances, and many models."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np
import pandas as pd

from betahat.tables.table import STARS_NOTE, Table, number, stars


class Estimates(Protocol):
    """What a column of a table needs of a result."""

    @property
    def names(self) -> tuple[str, ...]: ...  # noqa: D102
    @property
    def endog_name(self) -> str: ...  # noqa: D102
    @property
    def cov_type(self) -> str: ...  # noqa: D102
    @property
    def nobs(self) -> float: ...  # noqa: D102
    @property
    def rsquared(self) -> float: ...  # noqa: D102
    def coefficient_table(self) -> np.ndarray:
        """Return (k, 4) coefficient, standard error, statistic and p-value."""
        ...


def covariance_table(results: Sequence[Estimates], labels: Sequence[str]) -> Table:
    """Put the standard errors of one model under several covariances side by side.

    Parameters
    ----------
    results : sequence
        The same fit under each covariance.
    labels : sequence of str
        The columns' heads.

    Returns
    -------
    Table
        Its frame has the coefficients in "coef" and the standard errors in a column for each label.
    """
    first = results[0]
    tables = [result.coefficient_table() for result in results]
    frame = pd.DataFrame(
        {"coef": tables[0][:, 0], **{label: table[:, 1] for label, table in zip(labels, tables, strict=True)}},
        index=list(first.names),
    )
    body = [
        (name, number(tables[0][i, 0]), *(f"({number(table[i, 1])}){stars(table[i, 3])}" for table in tables))
        for i, name in enumerate(first.names)
    ]
    blanks = [""] * (len(results) - 1)
    return Table(
        frame,
        heads=(("", "coef", *labels),),
        body=tuple(body),
        foot=(
            ("Std. errors", "", *(result.cov_type for result in results)),
            ("N", f"{first.nobs:.0f}", "", *blanks),
            ("R²", number(first.rsquared), "", *blanks),
        ),
        notes=("Standard errors in parentheses.", STARS_NOTE),
        title=f"Dependent variable: {first.endog_name}",
    )


def model_table(results: Sequence[Estimates]) -> Table:
    """Put several models side by side, each with its own covariance.

    Returns
    -------
    Table
        Its frame has rows (term, "coef" or "std err") and a column for each model, (1), (2), ...
    """
    tables = [result.coefficient_table() for result in results]
    terms = list(dict.fromkeys(name for result in results for name in result.names))
    columns = [dict(zip(result.names, table, strict=True)) for result, table in zip(results, tables, strict=True)]
    heads = [f"({i})" for i in range(1, len(results) + 1)]
    body: list[tuple[str, ...]] = []
    for term in terms:
        cells = [column.get(term) for column in columns]
        body.append((term, *("" if cell is None else number(cell[0]) + stars(cell[3]) for cell in cells)))
        body.append(("", *("" if cell is None else _in_parentheses(cell[1]) for cell in cells)))
    return Table(
        _model_frame(terms, columns, heads),
        heads=(("", *(result.endog_name for result in results)), ("", *heads)),
        body=tuple(body),
        foot=(
            ("Std. errors", *(result.cov_type for result in results)),
            ("N", *(f"{result.nobs:.0f}" for result in results)),
            ("R²", *(number(result.rsquared) for result in results)),
        ),
        notes=("Standard errors in parentheses.", STARS_NOTE),
        title="Regression results",
    )


def _model_frame(terms: Sequence[str], columns: Sequence[dict[str, Any]], heads: Sequence[str]) -> pd.DataFrame:
    missing = (np.nan,) * 4
    index = pd.MultiIndex.from_product([terms, ["coef", "std err"]], names=["term", "statistic"])
    values = [[column.get(term, missing)[part] for column in columns] for term in terms for part in (0, 1)]
    return pd.DataFrame(values, index=index, columns=list(heads))


def _in_parentheses(value: float) -> str:
    return "" if math.isnan(value) else f"({number(value)})"
