"""`regtable`: several models side by side, or one under several covariances."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, get_args

import numpy as np

from betahat.errors import OptionError, check_flag, counted, described, is_one_of, listed
from betahat.errors import shown as in_words
from betahat.inference.distribution import check_alpha
from betahat.tables.adjusted import Adjust, Adjustment, adjusted, adjusted_note, read_adjust
from betahat.tables.cells import Block, Cell, Layout, Line, plain, spanning
from betahat.tables.coefficients import AROUND_NAMES, Below, Key, body_of, chosen_terms, frame_of, rows_of
from betahat.tables.columns import CovTypes, Results, effect_lines, indicated, read_columns
from betahat.tables.estimates import (
    DEFAULT,
    Coefficients,
    Estimates,
    Statistics,
    about,
    shown_of,
    statistic_rows,
    unidentified_note,
    value_cell,
)
from betahat.tables.exponentiated import (
    Exponentiate,
    exponentiated,
    exponentiated_note,
    has_ratios,
    null_notes,
    read_exponentiate,
)
from betahat.tables.numbers import Numbers, is_whole, number_format
from betahat.tables.stars import Stars, read_stars
from betahat.tables.table import Table
from betahat.tables.terms import Rename, Terms, renamed
from betahat.tables.tex import text_of_label


def regtable(
    results: Results,
    *,
    cov: CovTypes | None = None,
    use_t: bool | None = None,
    below: Below | Sequence[Below] | None = "se",
    alpha: float = 0.05,
    exponentiate: Exponentiate = False,
    adjust: Adjustment = None,
    stars: Stars = True,
    keep: Terms | None = None,
    drop: Terms | None = None,
    order: Terms | None = None,
    rename: Rename | None = None,
    groups: Mapping[str, Terms] | None = None,
    indicate: Mapping[str, Terms] | None = None,
    heads: Sequence[str] | Sequence[Sequence[str]] | None = None,
    dependent: bool = True,
    numbers: bool = True,
    stats: Statistics = DEFAULT,
    extra: Mapping[str, Sequence[Any]] | None = None,
    notes: str | Sequence[str] = (),
    digits: int | None = None,
    significant: int | None = None,
    thousands: str | None = None,
    title: str = "Regression results",
) -> Table:
    r"""Put models side by side, each with its own standard errors, or one model under several covariances.

    Parameters
    ----------
    results : Results, iterable or mapping of them
        One column each, in this order; the keys of a mapping become heads. Marginal effects (`get_margeff`) are columns, too, and so are
        results of statsmodels, linearmodels, pyfixest and marginaleffects, with their own numbers.
    cov : str, estimator, sequence or mapping of them, optional
        The covariance of each column; the keys of a mapping become heads. None, here or in the sequence, keeps the covariance of the
        results. The shorter of models and covariances is repeated: one covariance for all models, or one model under several.
    use_t : bool, optional
        Whether all tests use the t or the normal distribution; None lets each column keep its own.
    below : {"se", "t", "p", "ci"}, several of them, or None
        What is printed below a coefficient, one row each: standard error, t or z statistic, p-value, confidence interval.
    alpha : float
        Confidence intervals have coverage 1 - alpha.
    exponentiate : bool or sequence of bool
        Whether coefficients are printed as exp(b): odds ratios of `Logit`, ratios of rates of `Poisson`, hazard ratios of `PHReg`. A sequence
        has a value for each column. Standard errors are those of exp(b) by the delta method, intervals are transformed, and tests
        stay those of b = 0. What is no coefficient stays as it is: cut points, and margins but logarithms of ratios.
    adjust : str or Adjust, optional
        How p-values, stars and intervals are adjusted for the number of coefficients that are shown in each column: "holm", "bh",
        "romano-wolf", "sup-t", ...; `Adjust` chooses among them, and takes all columns together.
    stars : bool, sequence of float, or mapping
        True marks p-values below 0.1, 0.05 and 0.01; a sequence sets other thresholds, a mapping the marks as well:
        ``{"+": 0.1, "*": 0.05}``; False prints none.
    keep, drop, order : str, re.Pattern, or several of them, optional
        Which coefficients are shown, and which come first. A string is one name, a compiled pattern all names that it matches.
    rename : mapping, optional
        From names or patterns to what is printed: ``{"educ": "Education", re.compile(r"C\((\w+)\)\[T\.(\w+)\]"): r"\1: \2"}``. Coefficients of
        different models that get the same name share a row. Dependent variables and equations are renamed, too.
    groups : mapping, optional
        From a title to the coefficients under it, as in `keep`; the others follow. The equations of `MNLogit` already are groups.
    indicate : mapping, optional
        From a label to coefficients, as in `keep`, that are not shown: a row of this label says "yes" in the columns that have them, as the
        rows of absorbed effects do: ``{"Region effects": re.compile("region")}``.
    heads : sequence of str, or several of them, optional
        Further rows of heads, one string for each column; equal neighbours are merged.
    dependent, numbers : bool
        Whether the head names the dependent variables and numbers the columns.
    stats : sequence of str, or mapping
        The statistics below: "cov_type", "clusters", "nobs", "goodness" (R², pseudo R² or the loss), and any attribute of the results
        that is a number: "rsquared_adj", "aic", "llf", "fvalue", ... The keys of a mapping name them, and its values may be functions of
        a result: ``{"N": "nobs", "Share of women": lambda res: ...}``. A statistic that only some models have is left empty in the others.
    extra : mapping, optional
        Your own rows above the statistics, with a string, a number or None for each column: ``{"Region effects": ["no", "yes"]}``.
    notes : str or sequence of str
        Your own sentences, after the table's notes.
    digits, significant : int, optional
        Decimals or significant digits of all numbers; by default four decimals below 10, and fewer above. A number with stars keeps its sign
        when it is rounded to zero.
    thousands : {",", " ", "'", ""}, optional
        What separates thousands in all numbers; by default a comma in counts, and nothing in other numbers.
    title : str
        The heading in text and HTML, and the caption of a LaTeX float without a caption of its own; "" for none.

    Returns
    -------
    Table
        With `to_frame`, `to_text`, `to_html`, `to_latex`, `to_markdown`, `to_typst` and `to_docx`.

    Raises
    ------
    OptionError
        Nothing to put in the table; covariances, heads or rows whose number is not that of the columns; unknown coefficients or statistics;
        the same name for two coefficients of a model.

    Notes
    -----
    Nothing is refitted. Stars and intervals use the distribution that goes with each covariance: t with its degrees of freedom, or normal.

    Examples
    --------
    >>> import betahat as bh
    >>> x = bh.add_constant([1.0, 2.0, 3.0, 4.0])
    >>> res = bh.OLS([1.0, 2.0, 4.0, 5.0], x).fit()
    >>> look = {"drop": "const", "rename": {"x1": "Years"}, "digits": 3}
    >>> bh.regtable(res, cov=["nonrobust", "HC1"], **look)
            Regression results
    =================================
                          y
                 --------------------
                    (1)        (2)
    ---------------------------------
    Years          1.400**   1.400***
                  (0.141)   (0.085)
    ---------------------------------
    Std. errors  nonrobust     HC1
    N                4          4
    R²             0.980     0.980
    =================================
    Standard errors in parentheses.
    * p<0.1, ** p<0.05, *** p<0.01
    """
    check_alpha(alpha)
    check_flag("dependent", dependent)
    check_flag("numbers", numbers)
    read = read_columns(results, cov, use_t, "regtable")
    columns = read.results
    marks = read_stars(stars)
    chosen = _below(below)
    shown = number_format(digits, significant, thousands)
    ratios = read_exponentiate(exponentiate, len(columns))
    family = read_adjust(adjust)
    plain_of = tuple(shown_of(column) for column in columns)
    aside = indicated(plain_of, {} if indicate is None else indicate)
    hidden = {name for names in aside.values() for name in names}
    keys = chosen_terms(plain_of, keep, drop, order, hidden)
    rows = rows_of(plain_of, keys, rename, groups)
    tested, sizes = _adjusted(columns, plain_of, family, keys)
    numbers_of = tuple(
        exponentiated(own, about(column).no_ratios) if ratio else own
        for column, own, ratio in zip(columns, tested, ratios, strict=True)
    )
    ratios = [ratio and has_ratios(column) for column, ratio in zip(columns, ratios, strict=True)]
    check_title(title)
    labels = tuple(f"({i})" for i in range(1, len(columns) + 1))
    foot = (
        *_extra({} if extra is None else extra, len(columns), shown),
        *effect_lines(columns, rename, numbers_of, aside),
        *(Line(label, cells) for label, cells in statistic_rows(columns, read.kinds, stats, shown)),
    )
    layout = Layout(
        title,
        heads=_heads(columns, read.names, heads, rename, dependent, labels if numbers else ()),
        body=body_of(numbers_of, rows, chosen, alpha, shown, marks) if rows else (Block("", foot),),
        foot=foot if rows else (),
        notes=(
            *(_note(chosen, columns, alpha) if rows else ()),
            *(exponentiated_note(columns, ratios, chosen) if rows else ()),
            *(() if family is None else adjusted_note(family, sizes, chosen)),
            *(null_notes(columns) if rows else ()),
            *unidentified_note(columns),
            *sentences_of(notes),
        ),
        marks_note=marks.note if rows else "",
    )
    return Table(frame_of(numbers_of, rows, chosen, alpha, labels), layout)


def _adjusted(
    columns: Sequence[Estimates], numbers: Sequence[Coefficients], adjust: Adjust | None, keys: Sequence[Key]
) -> tuple[Sequence[Coefficients], list[int]]:
    """Return what is shown of each column with adjusted p-values and intervals, and how many hypotheses each family has."""
    if adjust is None:
        return numbers, []
    visible = set(keys)
    among = [np.array([key in visible for key in own.equation_terms], dtype=bool) for own in numbers]
    return adjusted(columns, numbers, adjust, among)


def _below(below: Below | Sequence[Below] | None) -> tuple[Below, ...]:
    one = isinstance(below, str) or not isinstance(below, Iterable)
    chosen: tuple[Any, ...] = () if below is None else (below,) if one else tuple(below)
    known = all(is_one_of(entry, get_args(Below)) for entry in chosen)
    if not known or len(set(chosen)) < len(chosen):
        raise OptionError(f"below is {in_words(below)}; use some of {listed(get_args(Below))}, each once, or None.")
    return chosen


def _heads(
    columns: Sequence[Estimates],
    names: tuple[str, ...],
    heads: Sequence[str] | Sequence[Sequence[str]] | None,
    rename: Rename | None,
    dependent: bool,
    labels: tuple[str, ...],
) -> tuple[tuple[Cell, ...], ...]:
    """Return the rows of the head: dependent variables, the user's own heads, numbers."""
    one = isinstance(heads, str) or not isinstance(heads, Iterable)
    entries: list[Any] = [] if heads is None else [heads] if one else list(heads)
    own = [entries] if entries and _texts(entries) else entries
    for row in own:
        if not _texts(row) or len(row) != len(columns):
            raise OptionError(
                f"heads has {in_words(row)}, but the table {counted(len(columns), 'column')}; pass a string for each column, or several such rows."
            )
    rows = [spanning([renamed(column.endog_name, rename) for column in columns])] if dependent else []
    rows += [spanning(names)] if names else []
    rows += [spanning(list(map(text_of_label, row))) for row in own]
    rows += [plain(labels)] if labels else []
    return tuple(rows) or (plain([""] * len(columns)),)


def _texts(row: object) -> bool:
    return isinstance(row, Sequence) and not isinstance(row, str) and all(isinstance(text, str) for text in row)


def _extra(rows: Mapping[str, Sequence[Any]], width: int, shown: Numbers) -> list[Line]:
    if not isinstance(rows, Mapping):
        raise OptionError(f"extra needs a mapping of names to rows, not {described(rows)}.")
    lines = []
    for name, row in rows.items():
        values = None if isinstance(row, str) or not isinstance(row, Iterable) else list(row)
        if values is None or len(values) != width:
            raise OptionError(
                f"extra has {in_words(row)} for {in_words(name)}, but the table {counted(width, 'column')}; pass a list with a value for each."
            )
        # Whole numbers are printed without separators: they may be years.
        cells = (Cell(str(value)) if is_whole(value) else value_cell(value, shown) for value in values)
        lines.append(Line(text_of_label(name), tuple(cells)))
    return lines


def check_title(title: object) -> None:
    """Refuse a title that is no string."""
    if not isinstance(title, str):
        raise OptionError(f"title is {in_words(title)}; pass a string, '' for none.")


def sentences_of(notes: str | Sequence[str]) -> list[str]:
    """Return the user's notes."""
    sentences = [notes] if isinstance(notes, str) else notes
    if not isinstance(sentences, Iterable) or not all(isinstance(note, str) for note in sentences):
        raise OptionError(f"notes is {in_words(notes)}; pass a sentence, or a list of sentences.")
    return [note for note in sentences if note.strip()]


def _note(below: Sequence[Below], columns: Sequence[Estimates], alpha: float) -> list[str]:
    """Return the sentence that explains what is printed below the coefficients."""
    if not below:
        return []
    kinds = {column.use_t for column in columns}
    ratio = "t and z statistics" if len(kinds) > 1 else "t statistics" if kinds == {True} else "z statistics"
    names = {
        "se": "standard errors",
        "t": ratio,
        "p": "p-values",
        "ci": f"{100 * (1 - alpha):g}% confidence intervals",
    }
    parts = [
        f"{names[part]} in {'brackets' if part == 'ci' else AROUND_NAMES[place]}" for place, part in enumerate(below)
    ]
    return [", ".join(parts).replace("standard", "Standard", 1 if below[0] == "se" else 0) + "."]
