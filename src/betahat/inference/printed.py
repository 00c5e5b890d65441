"""statsmodels' summaries, whose HTML escapes what it says: names may come from somebody else's file."""

from __future__ import annotations

from copy import deepcopy
from typing import Any

import pandas as pd
from statsmodels.iolib import summary, summary2


class Summary(summary.Summary):  # type: ignore[misc]
    """statsmodels' summary."""

    def as_html(self) -> str:
        """Return the tables as HTML.

        Returns
        -------
        str
        """
        safe = summary.Summary()
        safe.tables = [_escaped(table) for table in self.tables]
        safe.extra_txt = _text(self.extra_txt)
        return str(safe.as_html())


class SecondSummary(summary2.Summary):  # type: ignore[misc]
    """statsmodels' second summary."""

    def as_html(self) -> str:
        """Return the tables as HTML.

        Returns
        -------
        str
        """
        safe = summary2.Summary()
        safe.settings = self.settings
        safe.tables = [
            table.rename(index=_text, columns=_text).map(_text) if isinstance(table, pd.DataFrame) else table
            for table in self.tables
        ]
        safe.extra_txt = [_text(note) for note in self.extra_txt]
        return str(safe.as_html())


def _escaped(table: Any) -> Any:
    """Return a copy of a table of statsmodels' whose texts are escaped."""
    safe = deepcopy(table)
    safe.title = _text(safe.title)
    for cell in (cell for row in safe for cell in row):
        cell.data = _text(cell.data)
    return safe


def _text(value: Any) -> Any:
    """Escape what begins a tag or a character; statsmodels' own "P>|t|" stays, byte for byte."""
    return value.replace("&", "&amp;").replace("<", "&lt;") if isinstance(value, str) else value
