"""The table of margins: a row for each, with its standard error, test and interval."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from betahat.inference.distribution import check_alpha
from betahat.lazy import lazily
from betahat.margins.labels import words_of
from betahat.tables.cells import Block, Cell, Layout, Line, plain
from betahat.tables.estimates import about
from betahat.tables.numbers import Numbers, number_format
from betahat.tables.regression import check_title
from betahat.tables.table import Table

if TYPE_CHECKING:
    import pandas as pd

    from betahat.margins.estimates import MarginResults
else:
    pd = lazily("pandas")

# More numbers than the first are not printed, but the second from both ends.
_MOST, _ENDS = 60, 5
# The place of the p-value in a row.
_P = 3


def summary_of(margins: MarginResults, alpha: float, title: str, digits: int | None) -> Table:
    """Lay out margins as a table."""
    check_alpha(alpha)
    check_title(title)
    shown, letter = number_format(digits, None), "t" if margins.use_t else "z"
    heads = ["estimate", "std err", letter, f"P>|{letter}|", f"[{alpha / 2:g}", f"{1 - alpha / 2:g}]"]
    table = np.column_stack([margins.coefficient_table(), margins.interval_table(alpha)])
    count = len(table)
    places = np.arange(count) if count <= _MOST else np.r_[:_ENDS, count - _ENDS : count]
    words = words_of(margins.labels.iloc[places])
    contrasts = any(words.contrasts)
    blocks: dict[str, list[Line]] = {}
    for i, (place, outcome, term, where) in enumerate(
        zip(places, words.outcomes, words.terms, words.places, strict=True)
    ):
        parts = [part for part in (margins.title_of_outcome(outcome) if outcome else "", term, where) if part]
        name = parts.pop() if term or where else "Prediction"
        cells = [*([Cell(words.contrasts[i])] if contrasts else []), *_cells(table[place], shown)]
        blocks.setdefault(", ".join(parts), []).append(Line(name, tuple(cells)))
        if count > _MOST and i == _ENDS - 1:
            blocks[", ".join(parts)].append(Line("...", tuple(Cell("") for _ in cells)))
    layout = Layout(
        title,
        heads=(plain([*(["contrast"] if contrasts else []), *heads]),),
        body=tuple(Block(name, tuple(lines)) for name, lines in blocks.items()),
        foot=(),
        notes=(_about(margins), *([f"{2 * _ENDS} of {count:,} numbers."] if count > _MOST else [])),
    )
    labels = margins.labels.reset_index(drop=True)
    return Table(pd.concat([labels, pd.DataFrame(table, columns=heads)], axis=1), layout)


def _cells(row: np.ndarray, shown: Numbers) -> list[Cell]:
    """Print a row; p-values have three decimals, as in summaries of fits."""
    return [Cell(_pvalue(value) if i == _P else shown(value), decimal=True) for i, value in enumerate(row)]


def _pvalue(value: float) -> str:
    return "" if np.isnan(value) else f"{value:.3f}"


def _about(margins: MarginResults) -> str:
    """Return the sentence that says of what they are, under which covariance, and of how many rows."""
    clusters = " and ".join(way.column for way in about(margins).clusters if way.column)
    by = f" by {clusters}" if clusters else ""
    said = null_of(margins)
    null = f" {said[0].upper()}{said[1:]}." if said else ""
    return f"Dependent variable: {margins.endog_name}. Standard errors: {margins.cov_type}{by}. N = {round(margins.nobs):,}.{null}"


def null_of(margins: MarginResults) -> str:
    """Return what numbers are tested against, where that is not zero or might be thought to be another value."""
    if margins.null:
        return f"numbers are tested against {margins.null:g}"
    return "ratios are tested against 0; hypothesis=1 tests against 1" if margins.scale == "ratio" else ""
