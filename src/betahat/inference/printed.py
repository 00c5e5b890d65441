"""statsmodels' summaries, made safe: statsmodels does not escape names, which may come from somebody else's file."""

from __future__ import annotations

import re
from collections.abc import Callable
from copy import deepcopy
from typing import Any

import pandas as pd
from statsmodels.iolib import summary, summary2
from statsmodels.iolib.table import SimpleTable

from betahat.data.printable import printable, printable_lines
from betahat.errors import OptionError, shown

Change = Callable[[str], str]


class PrintedTable(SimpleTable):  # type: ignore[misc]
    """A table of statsmodels' that escapes names in HTML and LaTeX."""

    def as_text(self, **fmt_dict: Any) -> str:
        """Return the table as text."""
        return str(SimpleTable.as_text(_changed(self, printable), **fmt_dict))

    def as_html(self, **fmt_dict: Any) -> str:
        """Return the table as HTML."""
        return str(SimpleTable.as_html(_changed(self, _html), **fmt_dict))

    def as_latex_tabular(self, center: bool = True, **fmt_dict: Any) -> str:
        """Return the table as a LaTeX tabular."""
        return str(SimpleTable.as_latex_tabular(_changed(self, _latex), center, **fmt_dict))


class Summary(summary.Summary):  # type: ignore[misc]
    """statsmodels' summary."""

    def add_table_2cols(self, *given: Any, **options: Any) -> None:
        """Add a table of names and values, as statsmodels does."""
        summary.Summary.add_table_2cols(self, *given, **options)
        self.tables[-1] = printed(self.tables[-1])

    def add_table_params(self, *given: Any, **options: Any) -> None:
        """Add a table of coefficients, as statsmodels does."""
        summary.Summary.add_table_params(self, *given, **options)
        self.tables[-1] = printed(self.tables[-1])

    def as_text(self) -> str:
        """Return the tables as text."""
        return str(summary.Summary.as_text(self._with_notes(printable_lines)))

    def as_html(self) -> str:
        """Return the tables as HTML."""
        return str(summary.Summary.as_html(self._with_notes(_html_lines)))

    def as_latex(self) -> str:
        """Return the tables as LaTeX."""
        return str(summary.Summary.as_latex(self._with_notes(_latex_text)))

    def _with_notes(self, change: Change) -> summary.Summary:
        """Return a summary with the same tables and converted notes."""
        safe = summary.Summary()
        safe.tables = self.tables
        safe.extra_txt = None if self.extra_txt is None else change(self.extra_txt)
        return safe


class SecondSummary(summary2.Summary):  # type: ignore[misc]
    """statsmodels' second summary."""

    def as_text(self) -> str:
        """Return the tables as text."""
        return str(summary2.Summary.as_text(self._changed(printable, printable)))

    def as_html(self) -> str:
        """Return the tables as HTML."""
        return str(summary2.Summary.as_html(self._changed(_html, _html_lines)))

    def as_latex(self, label: str = "") -> str:
        r"""Return the table as LaTeX; `label` is for ``\ref``."""
        check_label(label or None)
        return str(summary2.Summary.as_latex(self._changed(_latex, _latex_text), label))

    def _changed(self, change: Change, notes: Change) -> summary2.Summary:
        """Return a summary whose strings are converted."""
        safe = summary2.Summary()
        safe.settings, safe._merge_latex = self.settings, self._merge_latex
        safe.title = None if self.title is None else notes(printable(self.title))
        of_any = _of_any(change)
        safe.tables = [
            table.rename(index=of_any, columns=of_any).map(of_any) if isinstance(table, pd.DataFrame) else table
            for table in self.tables
        ]
        safe.extra_txt = [notes(note) for note in self.extra_txt]
        return safe


def printed(table: SimpleTable) -> PrintedTable:
    """Return a copy of a statsmodels table that escapes what it prints."""
    safe: PrintedTable = deepcopy(table)
    safe.__class__ = PrintedTable
    return safe


def check_label(label: object) -> None:
    """Refuse a label that LaTeX would refuse."""
    if label is not None and not isinstance(label, str):
        raise OptionError(f"label is {shown(label)}; pass a string.")
    if label is not None and not re.fullmatch(r"[^\\{}%#&~^$\s,]+", label):
        raise OptionError(f"label is {shown(label)}; pass letters, digits and any of ':-_./', such as 'tab:wages'.")


def _changed(table: SimpleTable, change: Change) -> SimpleTable:
    """Return the table with converted strings, or the table itself if none changes."""
    of_any = _of_any(change)
    title = of_any(table.title)
    if title == table.title and all(of_any(cell.data) == cell.data for row in table for cell in row):
        return table
    safe = deepcopy(table)
    safe.title = title
    for row in safe:
        row.table._colwidths = {}  # the cached widths are those of the old strings
        for cell in row:
            cell.data = of_any(cell.data)
    safe._colwidths = {}
    return safe


def _of_any(change: Change) -> Callable[[Any], Any]:
    return lambda value: change(value) if isinstance(value, str) else value


def _html(text: str) -> str:
    return _html_lines(printable(text))


def _html_lines(text: str) -> str:
    """Escape what begins a tag or an entity; statsmodels' own "P>|t|" stays unchanged, byte for byte."""
    return printable_lines(text).replace("&", "&amp;").replace("<", "&lt;")


# The characters of a cell that statsmodels does not escape; it escapes # $ % & > _ | itself, so these must not be added here.
_COMMANDS: dict[str, str | int | None] = {
    "\\": r"\textbackslash{}",
    "{": r"\{",
    "}": r"\}",
    "^": r"\textasciicircum{}",
    "~": r"\textasciitilde{}",
    "<": r"\textless{}",
}
_ALL: dict[str, str | int | None] = {
    **_COMMANDS,
    **{letter: f"\\{letter}" for letter in "#$%&_"},
    ">": "$>$",
    "|": "$|$",
}


def _latex(text: str) -> str:
    r"""Escape a cell; a leading bracket would be read as an option of the preceding \\, except in the head of an interval."""
    escaped = printable(text).translate(str.maketrans(_COMMANDS))
    return escaped if re.match(r"\[[\d.]*$|(?!\s*\[)", escaped) else escaped.replace("[", "{[}", 1)


def _latex_text(text: str) -> str:
    """Escape a title or notes, in which statsmodels escapes nothing."""
    return printable_lines(text).translate(str.maketrans(_ALL))
