"""A layout as LaTeX: a tabular, a float with its notes, or a complete document."""

from __future__ import annotations

import re
import textwrap
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import singledispatch
from typing import TYPE_CHECKING, Any, Literal

from pylatexenc.latexencode import RULE_DICT, UnicodeToLatexConversionRule, UnicodeToLatexEncoder

from betahat.data.printable import printable
from betahat.errors import OptionError, check_flag, is_one_of, listed, shown
from betahat.lazy import lazily
from betahat.tables.cells import Block, Cell, Layout, Line
from betahat.tables.tex import Tex

if TYPE_CHECKING:
    from betahat.inference import printed
else:
    printed = lazily("betahat.inference.printed")

Fit = Literal["resize", "landscape"]


@dataclass(frozen=True)
class LatexStyle:
    r"""How a journal sets its tables.

    Attributes
    ----------
    top, middle, bottom : str
        The rules, such as ``\toprule``.
    partial : str
        The rule below a head that spans several columns; a range such as ``{2-3}`` is appended.
    marks : bool
        Whether stars are printed and explained.
    lead : str
        How the notes begin, in LaTeX: ``\textit{Notes:}``.
    parentheses : bool
        Whether the numbers of the columns are in parentheses.
    packages : tuple of str
        The packages that the rules need.
    """

    top: str = r"\toprule"
    middle: str = r"\midrule"
    bottom: str = r"\bottomrule"
    partial: str = r"\cmidrule(lr)"
    marks: bool = True
    lead: str = ""
    parentheses: bool = True
    packages: tuple[str, ...] = ("booktabs",)

    def __post_init__(self) -> None:
        """Refuse options of other types."""
        check_flag("marks", self.marks)
        check_flag("parentheses", self.parentheses)
        for option in ("top", "middle", "bottom", "partial", "lead"):
            if not isinstance(getattr(self, option), str):
                raise OptionError(f"{option} is {shown(getattr(self, option))}; pass a string of LaTeX.")
        if not isinstance(self.packages, tuple | list) or not all(isinstance(name, str) for name in self.packages):
            raise OptionError(f"packages is {shown(self.packages)}; pass a tuple of names, such as ('booktabs',).")


_RULED = LatexStyle(
    r"\hline\hline\noalign{\smallskip}",
    r"\noalign{\smallskip}\hline\noalign{\smallskip}",
    r"\noalign{\smallskip}\hline\hline",
    r"\cline",
    packages=(),
)
STYLES = {
    "booktabs": LatexStyle(),
    "hline": _RULED,
    # American Economic Association: no asterisks for significance, standard errors in parentheses.
    "aer": LatexStyle(marks=False, lead=r"\textit{Notes:}"),
    # R's fixest has this as its "qje": as the AER, between double rules.
    "qje": LatexStyle(top=r"\toprule\toprule", bottom=r"\bottomrule\bottomrule", lead=r"\textit{Notes:}"),
    # Econometric Society: no asterisks, LaTeX's own rules.
    "econometrica": replace(_RULED, marks=False, lead=r"\textit{Notes:}"),
    # JFQA's style guide: the numbers of the columns without parentheses.
    "jfqa": LatexStyle(parentheses=False),
}


@dataclass(frozen=True)
class LatexOptions:
    """The options of `Table.to_latex`."""

    style: str | LatexStyle = "booktabs"
    siunitx: bool = False
    caption: str | None = None
    label: str | None = None
    position: str | None = None
    fit: Fit | None = None
    standalone: bool = False

    def __post_init__(self) -> None:
        """Refuse values that LaTeX would refuse."""
        check_flag("siunitx", self.siunitx)
        check_flag("standalone", self.standalone)
        if not isinstance(self.style, LatexStyle) and not is_one_of(self.style, STYLES):
            raise OptionError(f"style is {shown(self.style)}; use one of {listed(STYLES)}, or a bh.LatexStyle.")
        if not is_one_of(self.fit, (None, "resize", "landscape")):
            raise OptionError(f"fit is {shown(self.fit)}; use 'resize', 'landscape' or None.")
        for option, text in (("caption", self.caption), ("position", self.position)):
            if text is not None and not isinstance(text, str):
                raise OptionError(f"{option} is {shown(text)}; pass a string.")
        printed.check_label(self.label)
        if self.position is not None and not re.fullmatch(r"[htbpH!]+", self.position):
            raise OptionError(
                f"position is {shown(self.position)}; pass some of the letters of 'htbp!H', such as 'htbp'."
            )

    @property
    def floats(self) -> bool:
        """Whether the table is a float: it has a caption, a label, a position or a page of its own."""
        return self.fit == "landscape" or (self.caption, self.label, self.position) != (None, None, None)


def render_latex(layout: Layout, options: LatexOptions) -> str:
    """Return the table as LaTeX."""
    style = options.style if isinstance(options.style, LatexStyle) else STYLES[options.style]
    layout = layout if style.marks else layout.without_marks()
    layout = layout if style.parentheses else _bare_numbers(layout)
    long = options.standalone and not options.floats and options.fit is None and len(layout.lines) > _PAGE
    packages = _packages(options, style, "".join([*layout.texts, options.caption or ""]), long)
    body = _float(layout, options, style) if options.floats else _alone(layout, options, style, long)
    if not options.standalone:
        fonts = "% Needs \\usepackage[T1]{fontenc}.\n" if _T1.search(body) else ""
        return fonts + (f"% Needs \\usepackage{{{','.join(packages)}}}.\n" if packages else "") + body
    return (
        "\\documentclass{article}\n\\usepackage[T1]{fontenc}\n\\IfFileExists{lmodern.sty}{\\usepackage{lmodern}}{}\n"
        + "\\usepackage[margin=2.5cm]{geometry}\n"
        + "".join(f"\\usepackage{{{package}}}\n" for package in packages)
        + f"\\begin{{document}}\n\\thispagestyle{{empty}}\n{body}\\end{{document}}\n"
    )


@singledispatch
def escape_latex(text: str) -> str:
    r"""Escape a string so that LaTeX prints it as it is; other scripts are left alone, for XeLaTeX and LuaLaTeX.

    >>> print(escape_latex("log_wage ~ 5% & β"))
    log\_wage {\textasciitilde} 5\% \& \ensuremath{\beta}
    """
    composed = unicodedata.normalize("NFC", " ".join(printable(text).split()))
    parts = _ACCENTED.split(composed)  # text, letter, accent, text, ...
    escaped = "".join(
        _encoded(part) if i % 3 == 0 else rf"\ensuremath{{\{_ACCENTS[parts[i + 1]]}{{{_encoded(part)}}}}}"
        for i, part in enumerate(parts)
        if i % 3 < 2
    )
    return re.sub(r"-(?=-)", "-{}", escaped)  # two hyphens would become a dash


@escape_latex.register
def _(text: Tex) -> str:
    """Return what LaTeX reads; at the beginning of a row, a star or a bracket would be read as part of the preceding command."""
    return "{}" * text.latex.startswith(("*", "[")) + text.latex


@singledispatch
def _wrapped(note: str, width: int) -> list[str]:
    """Cut a note into lines of a number of letters."""
    return textwrap.wrap(note, width)


@_wrapped.register
def _(note: Tex, width: int) -> list[str]:
    return [note]


@singledispatch
def _typeset(text: str) -> str:
    """Escape a text of a cell, with minus signs, powers of ten and narrow gaps between thousands."""
    escaped = re.sub(r"(?<![\w.])-(?=\d|inf\b)", "$-$", escape_latex(text))
    escaped = _POWER.sub(lambda found: rf"$\times10^{{{int(found[1])}}}$", escaped)
    return _GAP.sub(r"\,", escaped) if _NUMBER.fullmatch(text) else escaped


@_typeset.register
def _(text: Tex) -> str:
    return escape_latex(text)


def _encoded(text: str) -> str:
    encoded: str = _ENCODER.unicode_to_latex(text)
    return encoded


# Combining accents of letters for which Unicode has no single character, such as that of beta hat.
_ACCENTS = {"\u0302": "hat", "\u0303": "tilde", "\u0304": "bar", "\u0307": "dot"}
_ACCENTED = re.compile(f"(.)([{''.join(_ACCENTS)}])")
_FIFTHS = ((1, 5), (2, 5), (3, 5), (4, 5), (1, 6), (5, 6), (1, 8), (3, 8), (5, 8), (7, 8))
_OWN = {
    # A bracket at the beginning of a row would be read as an option of the preceding \\; in OT1, LaTeX's default encoding, a bar is printed
    # as a dash; a backtick would form a ligature with ! and ?.
    **{"[": "{[}", "]": "{]}", "|": r"{\textbar}", "`": r"{\textasciigrave}", "\u00b2": "$^2$", "\u00d7": r"$\times$"},
    # Here the encoder's own commands need amsmath, amssymb or Cyrillic fonts.
    **{"\u2011": "-", "\u2153": r"$\frac{1}{3}$", "\u2154": r"$\frac{2}{3}$", "\u2205": r"$\emptyset$"},
    **{"\u2a7d": r"$\leq$", "\u2a7e": r"$\geq$", "\u2266": r"$\leq$", "\u2267": r"$\geq$"},
    **{chr(letter): chr(letter) for letter in range(0x400, 0x530)},
    # Characters that the encoder does not know, or writes with packages that are rarely installed.
    **dict.fromkeys("\u2713\u2714\u2611", r"\ensuremath{\checkmark}"),
    **dict.fromkeys("\u2717\u2718\u2715\u2716", r"$\times$"),
    **{"\u2605": r"\ensuremath{\bigstar}", "\u2606": r"$\star$", "\u25cf": r"$\bullet$", "\u2022": r"$\bullet$"},
    **{
        "\u25b2": r"\ensuremath{\blacktriangle}",
        "\u25bc": r"\ensuremath{\blacktriangledown}",
        "\u2610": r"\ensuremath{\square}",
    },
    **{"\u25c6": r"\ensuremath{\blacklozenge}", "\u25c7": r"$\diamond$"},
    **{chr(0x2155 + i): rf"$\frac{{{a}}}{{{b}}}$" for i, (a, b) in enumerate(_FIFTHS)},
}
_ENCODER: Any = UnicodeToLatexEncoder(
    conversion_rules=[
        UnicodeToLatexConversionRule(RULE_DICT, {ord(letter): command for letter, command in _OWN.items()}),
        "defaults",
    ],
    unknown_char_policy="keep",
    unknown_char_warning=False,
)


# The characters whose commands need amssymb, and the commands of European letters that the OT1 encoding lacks.
_AMSSYMB = re.compile(
    "["
    r"\u03d2\u03f0\u03f6\u2035\u2102\u210c\u210d\u2111\u2115\u2119\u211a\u211c\u211d\u2124\u2128\u212d\u2136-"
    r"\u2138\u219a\u219b\u219e\u21a0\u21a2\u21a3\u21ab-\u21ae\u21b0\u21b1\u21b6\u21b7\u21ba\u21bb\u21be"
    r"\u21bf\u21c2-\u21c4\u21c6-\u21cb\u21cd-\u21cf\u21da\u21db\u21dd\u2201\u2204\u220e\u2214\u2216\u2221"
    r"\u2222\u2224\u2226\u2234\u2235\u223d\u224a\u224e\u224f\u2251-\u2253\u2256\u2257\u225c\u2268\u2269"
    r"\u226c\u226e-\u2277\u227e-\u2281\u2288-\u228b\u228f\u2290\u229a\u229b\u229d-\u22a1\u22a9\u22aa\u22ac-"
    r"\u22af\u22b2-\u22b5\u22b8\u22ba\u22bb\u22c7\u22c9-\u22d4\u22d6\u22d7\u22da\u22db\u22de\u22df\u22e6"
    r"\u22e7\u22e9-\u22ed\u2305\u231c-\u231f\u25a0\u25a1\u25aa\u25b4\u25b5\u25b8\u25be\u25bf\u25c2\u25ca"
    r"\u266f\u27ff\u29eb\u2a85-\u2a8c\u2a95\u2a96\u2ab5-\u2aba\u2ac5\u2ac6\u2acb\u2acc"
    r"\u2713\u2714\u2611\u2605\u25b2\u25bc\u2610\u25c6\U0001d504-\U0001d537]"
)
_T1 = re.compile(
    r"\\(?:guillemot(?:left|right)|guilsingl(?:left|right)|quote(?:singl|dbl)base|D[HJ]|d[hj]|TH|th|NG|ng|k)\b"
)


def _packages(options: LatexOptions, style: LatexStyle, text: str, long: bool) -> list[str]:
    """Return what the table needs; `long` is whether it continues on the next page."""
    wanted = {
        "amssymb": _AMSSYMB.search(text) is not None,
        "siunitx": options.siunitx,
        "threeparttable": options.floats,
        "adjustbox": options.fit == "resize",
        "pdflscape": options.fit == "landscape",
        "float": options.position is not None and "H" in options.position,
        "longtable": long,
    }
    return [*style.packages, *(package for package, needed in wanted.items() if needed)]


def _float(layout: Layout, options: LatexOptions, style: LatexStyle) -> str:
    caption = escape_latex(layout.title if options.caption is None else options.caption)
    notes = [escape_latex(note) for note in layout.sentences]
    if notes and style.lead:
        notes[0] = f"{style.lead} {notes[0]}"
    table = [
        r"\begin{threeparttable}",
        rf"\caption{{{caption}}}",
        *([rf"\label{{{options.label}}}"] if options.label else []),
        *_tabular(layout, options, style, []),
        *([r"\begin{tablenotes}[flushleft]", r"\footnotesize"] if notes else []),
        *(rf"\item {note}" for note in notes),
        *([r"\end{tablenotes}"] if notes else []),
        r"\end{threeparttable}",
    ]
    where = f"[{options.position}]" if options.position else ""
    lines = [rf"\begin{{table}}{where}", r"\centering", *_resized(table, options), r"\end{table}"]
    if options.fit == "landscape":
        lines = [r"\begin{landscape}", *lines, r"\end{landscape}"]
    return "\n".join(lines) + "\n"


# How many letters of a note, which is set smaller, fit into the width of one letter of the table; the shortest line of a note, in letters.
_NOTE_LETTERS = 1.2
_NOTE_WIDTH = 32


# More lines than these do not fit on a page of a standalone document.
_PAGE = 44


def _alone(layout: Layout, options: LatexOptions, style: LatexStyle, long: bool) -> str:
    """Return a tabular whose last rows are the notes, wrapped to the width of the table."""
    lead = f"{style.lead} " if style.lead else ""
    width = max(round(_NOTE_LETTERS * _length(layout)), _NOTE_WIDTH)
    parts = [part for note in layout.sentences for part in _wrapped(note, width)]
    notes = [(lead if i == 0 else "") + escape_latex(part) for i, part in enumerate(parts)]
    return "\n".join(_resized(_tabular(layout, options, style, notes, long), options)) + "\n"


def _resized(lines: list[str], options: LatexOptions) -> list[str]:
    """Shrink a table that is wider than the page."""
    if options.fit != "resize":
        return lines
    return [r"\begin{adjustbox}{max width=\linewidth}", *lines, r"\end{adjustbox}"]


def _length(layout: Layout) -> int:
    """Return roughly how many characters a row has."""
    stub = max(len(line.name) for line in layout.lines)
    widths = [
        max(len(cell.text + cell.marks) for cell in cells)
        for cells in zip(*(line.cells for line in layout.lines), strict=True)
    ]
    return stub + sum(widths) + 2 * len(widths)


def _tabular(
    layout: Layout, options: LatexOptions, style: LatexStyle, notes: Sequence[str], long: bool = False
) -> list[str]:
    """Return the lines of a table with its notes as the last rows; a long one has its heads on each page."""
    environment = "longtable" if long else "tabular"
    columns = layout.columns
    spec = "".join(map(_number_column, _by_column(layout))) if options.siunitx else "c" * columns
    title = rf"\multicolumn{{{columns + 1}}}{{l}}"
    lines = [rf"\begin{{{environment}}}{{l{spec}}}", style.top]
    for cells in layout.heads:
        lines += _head(cells, style)
    lines += [style.middle, *([r"\endhead"] if long else [])]
    for i, block in enumerate(layout.body):
        gap = [r"\addlinespace"] if i and "booktabs" in style.packages else []
        lines += [style.middle] if block.ruled else gap
        lines += [rf"{title}{{\textit{{{escape_latex(block.title)}}}}} \\"] if block.title else []
        lines += [_row(line, block, options.siunitx) for line in block.lines]
    lines += [style.middle, *(_row(line, None, options.siunitx) for line in layout.foot)] if layout.foot else []
    lines.append(style.bottom)
    lines += [rf"{title}{{\footnotesize {note}}} \\" for note in notes]
    return [*lines, rf"\end{{{environment}}}"]


def _head(cells: tuple[Cell, ...], style: LatexStyle) -> list[str]:
    """Return a row of heads, and the rules below those that span several columns."""
    texts, rules, place = [], [], 2
    for cell in cells:
        text = escape_latex(cell.text)
        texts.append(rf"\multicolumn{{{cell.span}}}{{c}}{{{text}}}" if text else " & ".join([""] * cell.span))
        rules += [f"{style.partial}{{{place}-{place + cell.span - 1}}}"] if cell.span > 1 and text else []
        place += cell.span
    return [" & ".join(["", *texts]) + r" \\", *(["".join(rules)] if rules else [])]


def _row(line: Line, block: Block | None, aligned: bool) -> str:
    indent = r"\quad " if block is not None and block.indented and line.name else ""
    name = re.sub(r"^\*", "{*}", escape_latex(line.name))  # a star would be read as part of the preceding \\
    cells = [_aligned(cell) if aligned else _centred(cell) for cell in line.cells]
    return " & ".join([indent + name, *cells]) + r" \\"


_POWER = re.compile(r"(?<=\d)e([+-]\d+)(?!\w)")
_GAP = re.compile(r"(?<=\d) (?=\d{3})")
_NUMBER = re.compile(r"([(\[{<]?)(-?)(\d{1,3}(?:[, ']\d{3})+|\d+)(\.\d*)?(?:e([+-]\d+))?([)\]}>]?)")
_SEPARATOR = re.compile(r"(?<=\d)([, '])(?=\d{3})")


def _centred(cell: Cell) -> str:
    return _typeset(cell.text) + _marks(cell)


def _aligned(cell: Cell) -> str:
    """Typeset a cell of an S column (siunitx), in which everything but numbers goes into braces."""
    found = _NUMBER.fullmatch(cell.text) if cell.decimal else None
    if found is None:
        return f"{{{_centred(cell)}}}" if cell.text else ""
    opening, sign, digits, decimals, power, closing = found.groups()
    before, after = escape_latex(opening), escape_latex(closing) + _marks(cell)
    number = sign + _SEPARATOR.sub("", digits) + (decimals or "") + (f"e{int(power)}" if power else "")
    return (f"{{{before}}}" if before else "") + number + (f"{{{after}}}" if after else "")


def _marks(cell: Cell) -> str:
    return rf"\textsuperscript{{{escape_latex(cell.marks)}}}" if cell.marks else ""


def _by_column(layout: Layout) -> list[tuple[Cell, ...]]:
    return list(zip(*(line.cells for line in layout.lines), strict=True))


def _number_column(cells: tuple[Cell, ...]) -> str:
    """Return an S column with room for its longest number, parentheses and stars."""
    found = [match for match in (_NUMBER.fullmatch(cell.text) for cell in cells if cell.decimal) if match]
    if not found:
        return "c"
    whole = max(len(_SEPARATOR.sub("", match[3])) for match in found)
    decimals = max(len((match[4] or ".")[1:]) for match in found)
    sign = "-" if any(match[2] for match in found) else ""
    power = max((len(str(abs(int(match[5])))) for match in found if match[5]), default=0)
    exponent = f"e-{power}" if power else ""
    before = max((match[1] for match in found), key=len)
    after = max([_marks(cell) for cell in cells] + [escape_latex(match[6]) for match in found], key=len)
    space = (f"{{{escape_latex(before)}}}" if before else "", f"{{{after}}}" if after else "")
    close = "table-align-exponent=false," if exponent else ""
    separators = [gap[1] for match in found if (gap := _SEPARATOR.search(match[3]))]
    digits = (
        f"group-digits=integer,group-minimum-digits=4,group-separator={_BETWEEN[separators[0]]}"
        if separators
        else "group-digits=none"
    )
    return (
        f"S[table-format={{{space[0]}{sign}{whole}.{decimals}{exponent}{space[1]}}},{close}"
        f"table-align-text-before=false,table-align-text-after=false,{digits}]"
    )


# What stands between thousands, as siunitx takes it.
_BETWEEN = {",": "{,}", " ": r"{\,}", "'": "{'}"}


def _bare_numbers(layout: Layout) -> Layout:
    """Write the numbers of the columns without parentheses."""
    heads = tuple(
        tuple(replace(cell, text=re.sub(r"^\((\d+)\)$", r"\1", cell.text)) for cell in cells) for cells in layout.heads
    )
    return replace(layout, heads=heads)
