"""What the comparison tables say: one model under many covariances, and many models."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Protocol, runtime_checkable

import numpy as np
import pandas as pd

from betahat.covariance.names import CovType
from betahat.errors import OptionError
from betahat.tables.table import STARS_NOTE, Table, number, stars


@runtime_checkable
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
    def goodness(self) -> tuple[str, float]: ...  # noqa: D102
    def with_cov(self, cov_type: CovType) -> Estimates:
        """Return the same fit under another covariance."""
        ...

    def coefficient_table(self) -> np.ndarray:
        """Return (k, 4) coefficient, standard error, statistic and p-value."""
        ...


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
        With `to_frame`, `to_text`, `to_html` and `to_latex`; the frame has the coefficients in "coef" and the
        standard errors in a column for each covariance.

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
    labels = [result.cov_type for result in switched]
    return _covariance_table(
        switched,
        [f"{label} ({i})" if ["coef", *labels].count(label) > 1 else label for i, label in enumerate(labels, 1)],
    )


def regtable(results: Sequence[Estimates]) -> Table:
    """Put several models side by side, each with its own standard errors.

    Parameters
    ----------
    results : sequence of Results
        One column each, in this order.

    Returns
    -------
    Table
        With `to_frame`, `to_text`, `to_html` and `to_latex`.

    Raises
    ------
    OptionError
        There is nothing to put in the table.

    Examples
    --------
    >>> import betahat as bh
    >>> x = bh.add_constant([1.0, 2.0, 3.0, 4.0])
    >>> res = bh.OLS([1.0, 2.0, 4.0, 5.0], x).fit()
    >>> bh.regtable([res, res.with_cov("HC1")]).to_frame().round(4)
                        (1)     (2)
    term  statistic
    const coef      -0.5000 -0.5000
          std err    0.3873  0.2646
    x1    coef       1.4000  1.4000
          std err    0.1414  0.0849
    """
    if isinstance(results, Estimates):
        results = [results]
    if not results or not all(isinstance(result, Estimates) for result in results):
        raise OptionError("regtable needs a list of results, such as [res1, res2].")
    return _model_table(results)


def _covariance_table(results: Sequence[Estimates], labels: Sequence[str]) -> Table:
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
        (name, number(tables[0][i, 0]), *(_in_parentheses(table[i, 1]) + stars(table[i, 3]) for table in tables))
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
            (first.goodness[0], number(first.goodness[1]), "", *blanks),
        ),
        notes=("Standard errors in parentheses.", STARS_NOTE),
        title=f"Dependent variable: {first.endog_name}",
    )


def _model_table(results: Sequence[Estimates]) -> Table:
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
            *_goodness_rows(results),
        ),
        notes=("Standard errors in parentheses.", STARS_NOTE),
        title="Regression results",
    )


def _goodness_rows(results: Sequence[Estimates]) -> list[tuple[str, ...]]:
    """Return a row for each measure: R², pseudo R² or loss, in the columns that have it."""
    kinds = dict.fromkeys(result.goodness[0] for result in results)
    return [
        (kind, *(number(result.goodness[1]) if result.goodness[0] == kind else "" for result in results))
        for kind in kinds
    ]


def _model_frame(terms: Sequence[str], columns: Sequence[dict[str, Any]], heads: Sequence[str]) -> pd.DataFrame:
    missing = (np.nan,) * 4
    index = pd.MultiIndex.from_product([terms, ["coef", "std err"]], names=["term", "statistic"])
    values = [[column.get(term, missing)[part] for column in columns] for term in terms for part in (0, 1)]
    return pd.DataFrame(values, index=index, columns=list(heads))


def _in_parentheses(value: float) -> str:
    return "" if math.isnan(value) else f"({number(value)})"
