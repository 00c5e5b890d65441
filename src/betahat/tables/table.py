"""`Table`: printed cells beside the numbers they were printed from, and three ways to render them."""

from __future__ import annotations

import html
import math
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

Row = tuple[str, ...]


@dataclass(frozen=True, eq=False)
class Table:
    """A table of estimates.

    Attributes
    ----------
    frame : pandas.DataFrame
        The numbers.
    heads : tuple of tuple of str
        The rows of the head; the first cell of each is above the row names.
    body : tuple of tuple of str
        Rows of coefficients; the first cell is the row's name.
    foot : tuple of tuple of str
        Rows of statistics.
    notes : tuple of str
        Sentences under the table.
    title : str
        Its heading in text and HTML.
    """

    frame: pd.DataFrame
    heads: tuple[Row, ...]
    body: tuple[Row, ...]
    foot: tuple[Row, ...]
    notes: tuple[str, ...]
    title: str

    def to_frame(self) -> pd.DataFrame:
        """Return the numbers behind the table, unrounded."""
        return self.frame.copy()

    def to_text(self) -> str:
        """Return the table as text, in columns of equal width."""
        rows = [*self.heads, *self.body, *self.foot]
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        width = sum(widths) + 2 * (len(widths) - 1)
        thick, thin = "=" * width, "-" * width
        return "\n".join(
            [
                self.title.center(width).rstrip(),
                thick,
                *(_padded(row, widths) for row in self.heads),
                thin,
                *(_padded(row, widths) for row in self.body),
                thin,
                *(_padded(row, widths) for row in self.foot),
                thick,
                *self.notes,
            ]
        )

    def to_html(self) -> str:
        """Return a semantic HTML table, everything escaped."""
        columns = len(self.heads[0])
        heads = "".join(_html_row(row, "th", "th scope='col'") for row in self.heads)
        body = "".join(_html_row(row, "th scope='row'", "td") for row in self.body)
        foot = "".join(_html_row(row, "th scope='row'", "td") for row in self.foot)
        notes = "".join(f"<tr><td colspan='{columns}'>{html.escape(note)}</td></tr>\n" for note in self.notes)
        return (
            f"<table class='betahat'>\n<caption>{html.escape(self.title)}</caption>\n<thead>\n{heads}</thead>\n"
            f"<tbody>\n{body}</tbody>\n<tfoot>\n{foot}{notes}</tfoot>\n</table>"
        )

    def to_latex(self, path: str | Path | None = None) -> str:
        r"""Return a LaTeX tabular, and write it to `path` if one is given.

        It needs ``\usepackage{booktabs}`` in the document.

        Parameters
        ----------
        path : str or Path, optional
            A file to write; it is replaced.

        Returns
        -------
        str
        """
        columns = len(self.heads[0])
        lines = [
            rf"\begin{{tabular}}{{l{'c' * (columns - 1)}}}",
            r"\toprule",
            *map(_latex_row, self.heads),
            r"\midrule",
            *map(_latex_row, self.body),
            r"\midrule",
            *map(_latex_row, self.foot),
            r"\bottomrule",
            *(rf"\multicolumn{{{columns}}}{{l}}{{\footnotesize {escape_latex(note)}}} \\" for note in self.notes),
            r"\end{tabular}",
        ]
        text = "\n".join(lines) + "\n"
        if path is not None:
            Path(path).write_text(text, encoding="utf-8")
        return text

    def __str__(self) -> str:
        """Return the table as text."""
        return self.to_text()

    __repr__ = __str__

    def _repr_html_(self) -> str:
        """Show the table in a notebook."""
        return self.to_html()


def escape_latex(text: str) -> str:
    r"""Write a text so that LaTeX prints it as it is.

    Examples
    --------
    >>> print(escape_latex("log_wage ~ 5% & β"))
    log\_wage \textasciitilde{} 5\% \& $\beta$
    """
    return "".join(_SPECIAL.get(letter) or _greek(letter) for letter in text)


def number(value: float, digits: int = 4) -> str:
    """Print a number with `digits` significant digits, at most three decimals more than it needs.

    Examples
    --------
    >>> number(0.08267441), number(1234.5678), number(1.5e-7), number(float("nan"))
    ('0.0827', '1234.568', '1.50e-07', '')
    """
    if math.isnan(value):
        return ""
    if value == 0 or 1e-3 <= abs(value) < 1e5:
        return f"{value:.{digits if abs(value) < 10 else 3}f}"
    return f"{value:#.{digits - 1}g}"


def stars(pvalue: float) -> str:
    """Return *, ** and *** for p-values below 0.1, 0.05 and 0.01."""
    return "*" * sum(pvalue < level for level in _LEVELS)


STARS_NOTE = "* p<0.1, ** p<0.05, *** p<0.01"
_LEVELS = (0.1, 0.05, 0.01)
_SPECIAL = {
    "\\": r"\textbackslash{}",
    "{": r"\{",
    "}": r"\}",
    "$": r"\$",
    "&": r"\&",
    "#": r"\#",
    "%": r"\%",
    "_": r"\_",
    "^": r"\textasciicircum{}",
    "~": r"\textasciitilde{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    "\u00b2": r"$^2$",
    "\u2212": "-",
    "\u00d7": r"$\times$",
}


def _greek(letter: str) -> str:
    name = unicodedata.name(letter, "")
    size, _, greek = name.partition(" LETTER ")
    if size not in ("GREEK SMALL", "GREEK CAPITAL") or (" " in greek and greek != "FINAL SIGMA"):
        return letter
    known = {"LAMDA": "lambda", "OMICRON": "o", "FINAL SIGMA": "varsigma"}.get(greek, greek.lower())
    if "CAPITAL" in size:
        latin = {"alpha": "A", "beta": "B", "epsilon": "E", "zeta": "Z", "eta": "H", "iota": "I", "kappa": "K",
                 "mu": "M", "nu": "N", "o": "O", "rho": "P", "tau": "T", "chi": "X"}  # fmt: skip
        return rf"$\mathrm{{{latin[known]}}}$" if known in latin else rf"$\{known.capitalize()}$"
    return "$o$" if known == "o" else rf"$\{known}$"


def _padded(row: Row, widths: Sequence[int]) -> str:
    first, *others = zip(row, widths, strict=True)
    return "  ".join([first[0].ljust(first[1]), *(cell.rjust(width) for cell, width in others)]).rstrip()


def _html_row(row: Row, first: str, other: str) -> str:
    tags = [first, *[other] * (len(row) - 1)]
    cells = "".join(f"<{tag}>{html.escape(cell)}</{tag.split()[0]}>" for tag, cell in zip(tags, row, strict=True))
    return f"<tr>{cells}</tr>\n"


def _latex_row(row: Row) -> str:
    return " & ".join(map(escape_latex, row)) + r" \\"
