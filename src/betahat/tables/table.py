"""`Table`: the numbers of a table, and the ways to print them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from betahat.data.handed_out import hands_out_copies
from betahat.errors import OptionError, check_flag, described
from betahat.lazy import lazily
from betahat.tables.cells import Layout
from betahat.tables.documents import render_markdown, render_typst, write_docx
from betahat.tables.html import render_html
from betahat.tables.latex import Fit, LatexOptions, LatexStyle, render_latex
from betahat.tables.text import render_text

if TYPE_CHECKING:
    import pandas as pd
else:
    pd = lazily("pandas")


@hands_out_copies
@dataclass(frozen=True, eq=False, repr=False)
class Table:
    """A table of estimates, as `regtable` and `compare` return it.

    Attributes
    ----------
    frame : pandas.DataFrame
        The numbers, unrounded.
    layout : Layout
        What is printed.
    """

    frame: pd.DataFrame
    layout: Layout

    def to_frame(self) -> pd.DataFrame:
        """Return the numbers behind the table, unrounded.

        Returns
        -------
        pandas.DataFrame
        """
        return self.frame.copy()

    def to_text(self) -> str:
        """Return the table as text, in columns of equal width with numbers aligned at the decimal point.

        Returns
        -------
        str
        """
        return render_text(self.layout)

    def to_html(self, path: str | Path | None = None) -> str:
        """Return the table as semantic HTML, escaped and free of scripts, which takes on the colours of the page.

        Parameters
        ----------
        path : str or Path, optional
            A file to write; it is replaced.

        Returns
        -------
        str
        """
        return _written(render_html(self.layout), path)

    def to_latex(
        self,
        path: str | Path | None = None,
        *,
        style: str | LatexStyle = "booktabs",
        siunitx: bool = False,
        caption: str | None = None,
        label: str | None = None,
        position: str | None = None,
        fit: Fit | None = None,
        standalone: bool = False,
    ) -> str:
        r"""Return a LaTeX tabular, and write it to `path` if given; the first line lists the packages that it needs.

        Parameters
        ----------
        path : str or Path, optional
            A file to write; it is replaced.
        style : str or LatexStyle
            "booktabs"; "hline", LaTeX's own rules; or the style of a journal, "aer", "qje", "econometrica" or "jfqa": the AER and
            Econometrica print no stars.
        siunitx : bool
            Align numbers at the decimal point with S columns (siunitx 3, of 2021, or later).
        caption, label : str, optional
            Make it a ``table`` float, with notes set by threeparttable. The label is for ``\ref``; without a caption, the title of the
            table is the caption.
        position : str, optional
            Where the float may go: "htbp".
        fit : {"resize", "landscape"}, optional
            Shrink a table that is wider than the text (adjustbox), or set it on a landscape page (pdflscape).
        standalone : bool
            Return a complete document.

        Returns
        -------
        str

        Raises
        ------
        OptionError
            An unknown style or fit, or a label or position that LaTeX would refuse.

        Examples
        --------
        >>> import betahat as bh
        >>> res = bh.OLS([1.0, 2.0, 4.0, 5.0], [1.0, 2.0, 3.0, 4.0]).fit()
        >>> print(bh.regtable(res, stats=["nobs"]).to_latex(), end="")
        % Needs \usepackage{booktabs}.
        \begin{tabular}{lc}
        \toprule
         & \multicolumn{1}{c}{y} \\
         & \multicolumn{1}{c}{(1)} \\
        \midrule
        x1 & 1.2333\textsuperscript{***} \\
         & (0.0638) \\
        \midrule
        N & 4 \\
        \bottomrule
        \multicolumn{2}{l}{\footnotesize Standard errors in parentheses.} \\
        \multicolumn{2}{l}{\footnotesize * p\ensuremath{<}0.1, ** p\ensuremath{<}0.05,
        *** p\ensuremath{<}0.01} \\
        \end{tabular}
        """
        check_flag("siunitx", siunitx)
        check_flag("standalone", standalone)
        options = LatexOptions(style, siunitx, caption, label, position, fit, standalone)
        return _written(render_latex(self.layout, options), path)

    def to_markdown(self, path: str | Path | None = None) -> str:
        """Return the table as a GitHub Markdown pipe table, by pandoc (``pip install 'betahat[documents]'``).

        Parameters
        ----------
        path : str or Path, optional
            A file to write; it is replaced.

        Returns
        -------
        str

        Raises
        ------
        MissingPackageError
            pandoc is not installed.
        """
        return _written(render_markdown(self.layout), path)

    def to_typst(self, path: str | Path | None = None) -> str:
        """Return the table as a Typst figure, by pandoc (``pip install 'betahat[documents]'``).

        Parameters
        ----------
        path : str or Path, optional
            A file to write; it is replaced.

        Returns
        -------
        str

        Raises
        ------
        MissingPackageError
            pandoc is not installed.
        """
        return _written(render_typst(self.layout), path)

    def to_docx(self, path: str | Path) -> None:
        """Write a Word document, by python-docx (``pip install 'betahat[documents]'``).

        Parameters
        ----------
        path : str or Path
            The file to write; it is replaced.

        Raises
        ------
        MissingPackageError
            python-docx is not installed.
        """
        write_docx(self.layout, _writable(path))

    def __str__(self) -> str:
        """Return the table as text."""
        return self.to_text()

    __repr__ = __str__

    def _repr_html_(self) -> str:
        """Show the table in a notebook."""
        return self.to_html()

    def _repr_latex_(self) -> str:
        """Show the table in a notebook that is exported to LaTeX."""
        return self.to_latex()


def _written(text: str, path: str | Path | None) -> str:
    if path is not None:
        target = _writable(path)
        try:
            target.write_text(text, encoding="utf-8")
        except OSError as error:
            raise OptionError(
                f"The table cannot be written to {str(path)!r} ({error.strerror}); choose another file."
            ) from error
    return text


def _writable(path: str | Path) -> Path:
    """Return a path after checking that it names a file in an existing folder."""
    if not isinstance(path, str | Path):
        raise OptionError(f"path is {described(path)}; pass the name of a file, such as 'table.tex'.")
    target = Path(path)
    problem = ""
    try:
        if target.is_dir():
            problem = "is a folder"
        elif not target.absolute().parent.is_dir():
            problem = "is in a folder that does not exist"
        target.lstat()
    except (FileNotFoundError, PermissionError):
        pass
    except (OSError, ValueError) as error:  # names that are too long, or contain a NUL
        problem = f"is not a valid file name ({error})"
    if problem:
        raise OptionError(f"{str(path)[:80]!r} {problem}; pass a file in an existing folder.")
    return target
