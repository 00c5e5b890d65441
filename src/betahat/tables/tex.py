"""`Tex`: a label that LaTeX reads as it is."""

from __future__ import annotations

import re
from functools import singledispatch
from typing import TYPE_CHECKING, Any

from betahat.data.printable import printable, whole
from betahat.errors import OptionError, described, shown
from betahat.lazy import lazily

if TYPE_CHECKING:
    from pylatexenc import latex2text
else:
    latex2text = lazily("pylatexenc.latex2text")


class Tex(str):
    r"""A label written in LaTeX, which `to_latex` prints as it is; other formats print plain text in its place.

    It can stand for any text of a table: a name in `rename`, a head, a title, a note, a group, a row of `extra`.

    Parameters
    ----------
    latex : str
        What LaTeX reads. Packages that its commands need are yours to load, or to name in `LatexStyle`.
    text : str, optional
        What text, HTML, Markdown, Typst and Word print; by default what the LaTeX says, as far as Unicode has the letters.

    Notes
    -----
    In a `rename` by patterns it may refer to their groups, ``{re.compile(r"event::(.*)"): bh.Tex(r"$t=\1$")}``.

    Raises
    ------
    OptionError
        Not a string, or LaTeX that would break the table that it stands in: unbalanced braces or dollar signs, a comment, or
        ``&`` and ``\\`` outside braces.

    Examples
    --------
    >>> import betahat as bh
    >>> label = bh.Tex(r"$\hat\beta_{\text{educ}}$", "b(educ)")
    >>> res = bh.OLS([1.0, 2.0, 4.0, 5.0], [1.0, 2.0, 3.0, 4.0]).fit()
    >>> table = bh.regtable(res, rename={"x1": label}, stats=["nobs"], stars=False)
    >>> print(table.to_latex().splitlines()[6])
    $\hat\beta_{\text{educ}}$ & 1.2333 \\
    >>> print(table.to_text().splitlines()[5])
    b(educ)   1.2333
    """

    latex: str
    plain: str | None

    def __new__(cls, latex: str, text: str | None = None) -> Tex:
        """Check the LaTeX, and find what the other formats print."""
        for given in (latex, "" if text is None else text):
            if not isinstance(given, str):
                raise OptionError(f"Tex takes a string of LaTeX, such as r'$\\beta_1$', not {described(given)}.")
        _check(latex)
        label = str.__new__(cls, _plain(latex) if text is None else printable(text))
        label.latex, label.plain = printable(latex), text
        return label

    def __getnewargs__(self) -> tuple[str, str | None]:  # type: ignore[override]
        """Return what makes a copy."""
        return self.latex, self.plain

    def __repr__(self) -> str:
        """Show the LaTeX."""
        return f"Tex({self.latex!r})"

    __str__ = str.__str__


@singledispatch
def one_line(text: str) -> str:
    """Return a text in one line, in which invisible characters are shown (see `printable`)."""
    return printable(text)


@one_line.register
def _(text: Tex) -> str:
    return text


@singledispatch
def text_of_label(label: Any) -> str:
    """Return a label of the user's as a text: a name, a number, or a `Tex`, which stays one."""
    return whole(str(label))


@text_of_label.register
def _(label: Tex) -> str:
    return label


def _plain(latex: str) -> str:
    """Return what LaTeX says in Unicode, or the LaTeX itself if that is nothing."""
    said = latex2text.LatexNodes2Text().latex_to_text(latex)
    return printable(" ".join(said.split()) or latex)


def _check(latex: str) -> None:
    """Refuse LaTeX that would end a cell, a row or a group of the table, or hide what follows."""
    tokens = re.findall(r"\\.|.", latex, re.DOTALL)
    depth, lowest, outside = 0, 0, []
    for token in tokens:
        depth += {"{": 1, "}": -1}.get(token, 0)
        lowest = min(lowest, depth)
        outside += [token] if depth == 0 else []
    problem = ""
    if depth or lowest:
        problem = "has a brace without its partner"
    elif tokens.count("$") % 2:
        problem = r"has a dollar sign without its partner; write \$ for the sign itself"
    elif "%" in tokens or "#" in tokens:
        problem = r"has a % or a #; write \% or \#"
    elif "&" in outside or r"\\" in outside:
        problem = r"has an & or a \\ outside of braces, which would end the cell; write \& for the sign itself"
    elif tokens[-1:] == ["\\"]:
        problem = "ends in a backslash"
    if problem:
        raise OptionError(f"The LaTeX {shown(latex)} {problem}.")
