"""Coefficients with their intervals, of several models or covariances, and how standard errors differ."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from betahat.covariance.names import CovType
from betahat.errors import OptionError, check_flag, counted, described, shown
from betahat.inference.multiple import procedure_of
from betahat.inference.resampled import Method
from betahat.plots.canvas import DASHED, axes_of, matplotlib, plain_frame, style
from betahat.tables.adjusted import Adjust, Adjustment, Simultaneous, adjusted, read_adjust
from betahat.tables.columns import Columns, CovTypes, Results, read_columns
from betahat.tables.estimates import Estimates, about
from betahat.tables.exponentiated import exponentiated
from betahat.tables.terms import Rename, Terms, choose, renamed

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# With more rows than this, labels are illegible and the figure is taller than two pages.
_MOST = 100
# The width of a figure and of a letter, in inches; beyond the last number of letters, labels make the figure wider.
_WIDTH, _LETTER, _SHORT = 6.4, 0.085, 24
_NOTHING = np.full(2, np.nan)


@dataclass(frozen=True, eq=False)
class _Series:
    """What is drawn with one marker, by the names of the coefficients."""

    label: str
    values: dict[str, float]  # where the markers are
    bounds: list[dict[str, np.ndarray]]  # the (2,) ends of the intervals, from the widest level


def coefplot(
    results: Results,
    *,
    cov: CovTypes | None = None,
    use_t: bool | None = None,
    labels: Sequence[str] | None = None,
    keep: Terms | None = None,
    drop: Terms | None = None,
    order: Terms | None = None,
    rename: Rename | None = None,
    alpha: float | Sequence[float] = 0.05,
    method: Method | None = None,
    exponentiate: bool = False,
    adjust: Adjustment = None,
    ax: Axes | None = None,
) -> Axes:
    """Draw coefficients with confidence intervals: of one result, of several models, or of one model under several covariances.

    Parameters
    ----------
    results : Results, sequence or mapping of them
        One marker each; results of other packages as in `regtable`.
    cov : str, estimator, sequence or mapping of them, optional
        The covariance of each, repeated as in `regtable`; None takes the results as they are.
    use_t : bool, optional
        Whether intervals use the t or the normal distribution; None lets each result keep its own.
    labels : sequence of str, optional
        The entries of the legend; by default the keys of a mapping, the covariances of a single model, or the numbers of the models.
    keep, drop, order : str, re.Pattern or sequence of them, optional
        Which coefficients are shown, and which come first. A string is one name, a compiled pattern all names that it matches.
    rename : mapping, optional
        From names or compiled patterns to the labels on the axis.
    alpha : float or sequence of float
        Intervals have coverage 1 - alpha; if there are several, shorter ones are thicker.
    method : str, optional
        The type of bootstrap interval, as in ``Results.conf_int``.
    exponentiate : bool
        Whether to draw exp(b) with transformed intervals, on a logarithmic axis with a line at 1: odds ratios, ratios of rates, hazard
        ratios. Parameters that are not coefficients, such as cut points, are left out.
    adjust : str or Adjust, optional
        Draw simultaneous intervals, which cover all the coefficients of a result that are shown: "sup-t", "bonferroni", ..., as in `Adjust`.
    ax : matplotlib.axes.Axes, optional
        Where to draw; by default on a new figure, which is taller the more coefficients there are.

    Returns
    -------
    matplotlib.axes.Axes

    Raises
    ------
    OptionError
        An unknown name or option, nothing to draw, or more than 100 coefficients.
    MissingPackageError
        matplotlib is not installed.

    Notes
    -----
    Intervals are those of ``conf_int``; an arrow at the frame means that an interval is unbounded. A coefficient that no model could
    estimate keeps its row and is marked as such.

    Examples
    --------
    >>> import betahat as bh
    >>> x = bh.add_constant([1.0, 2.0, 3.0, 4.0])
    >>> res = bh.OLS([1.0, 2.0, 4.0, 5.0], x).fit()
    >>> ax = bh.coefplot(res, cov=["nonrobust", "HC1"], alpha=[0.05, 0.1])
    >>> [label.get_text() for label in ax.get_yticklabels()]
    ['const', 'x1']
    """
    columns = read_columns(results, cov, use_t, "coefplot")
    check_flag("exponentiate", exponentiate)
    models = columns.results
    names, levels = _chosen(models, keep, drop, order, exponentiate), _levels(alpha)
    captions = _captions(_called(columns, cov), labels)
    family = simultaneous(adjust)
    numbers: Sequence[Estimates | Simultaneous] = models
    if family is not None:
        visible = set(names)
        among = [np.array([name in visible for name in model.names], dtype=bool) for model in models]
        numbers = adjusted(models, models, family, among)[0]
    series = [
        _estimated(model, own, label, levels, method, exponentiate)
        for model, own, label in zip(models, numbers, captions, strict=True)
    ]
    axes = _draw_rows(series, names, [renamed(name, rename) for name in names], ax, 1.0 if exponentiate else 0.0)
    if exponentiate:
        _draw_logarithmic(axes)
    estimate = "Exponentiated estimate" if exponentiate else "Estimate"
    *shorter, longest = [f"{100.0 * (1.0 - level):.4g}%" for level in reversed(levels)]
    kind = "" if family is None else "simultaneous "
    axes.set_xlabel(
        f"{estimate} with {', '.join(shorter)} and {longest} {kind}intervals, thick to thin"
        if shorter
        else f"{estimate} with {longest} {kind}interval"
    )
    return axes


def plot_cov(
    result: Estimates,
    covariances: Sequence[CovType],
    *,
    relative: bool = True,
    labels: Sequence[str] | None = None,
    keep: Terms | None = None,
    drop: Terms | None = None,
    order: Terms | None = None,
    rename: Rename | None = None,
    ax: Axes | None = None,
) -> Axes:
    """Draw how the standard errors of one model differ by covariance.

    Parameters
    ----------
    result : Results
        The model.
    covariances : sequence or mapping of str or estimator
        As in `compare`.
    relative : bool
        Whether to draw standard errors as multiples of those of the first covariance, which is then the line at 1, or as they are, on
        a logarithmic axis.
    labels, keep, drop, order, rename, ax
        As in `coefplot`.

    Returns
    -------
    matplotlib.axes.Axes

    Raises
    ------
    OptionError, MissingPackageError
        As in `coefplot`.

    Examples
    --------
    >>> import betahat as bh
    >>> res = bh.OLS([1.0, 2.0, 4.0, 5.0], bh.add_constant([1.0, 2.0, 3.0, 4.0])).fit()
    >>> bh.plot_cov(res, ["nonrobust", "HC1", "HC3"]).get_xlabel()
    'Standard error, as a multiple of nonrobust'
    """
    if not isinstance(result, Estimates):
        raise OptionError(
            f"plot_cov needs one result, as returned by .fit(), not {described(result)}; coefplot draws several models."
        )
    check_flag("relative", relative)
    columns = read_columns(result, covariances, None, "plot_cov")
    models = columns.results
    if len(models) < 2 and relative:
        raise OptionError("plot_cov needs at least two covariances, such as ['nonrobust', 'HC3'].")
    captions = _captions(columns.covariances, labels)
    errors = [model.coefficient_table()[:, 1] for model in models]
    base = errors[0] if relative else np.ones_like(errors[0])
    ratios = [np.divide(error, base, out=np.full_like(error, np.nan), where=base > 0) for error in errors]
    series = [
        _Series(label, dict(zip(models[0].names, ratio, strict=True)), [])
        for label, ratio in zip(captions, ratios, strict=True)
    ]
    names = _chosen(models, keep, drop, order)
    shown = [renamed(name, rename) for name in names]
    axes = _draw_rows(series[1:] if relative else series, names, shown, ax, 1.0 if relative else None)
    if relative:
        axes.set_xlabel(f"Standard error, as a multiple of {captions[0]}")
    else:
        _draw_logarithmic(axes)
        axes.set_xlabel("Standard error")
    return axes


def _draw_logarithmic(axes: Axes) -> None:
    """Make the axis logarithmic; within three decades, where matplotlib's tick labels would overlap, with a few round numbers."""
    axes.set_xscale("log")
    low, high = axes.get_xlim()
    if high < 1000.0 * low:
        ticker = matplotlib("ticker")
        rounds = ticker.MaxNLocator(6) if high < 10.0 * low else ticker.LogLocator(subs=(1.0, 2.0, 5.0))
        axes.xaxis.set_major_locator(rounds)
        axes.xaxis.set_major_formatter("{x:g}")
        axes.xaxis.set_minor_locator(ticker.NullLocator())


def _called(columns: Columns, cov: CovTypes | None) -> Sequence[str]:
    """Return the names of the series: the keys of a mapping, the covariances of a single model, or numbers."""
    if columns.names and len(set(columns.names)) == len(columns.names):
        return columns.names
    fits = {id(about(model).fit or model) for model in columns.results}
    if cov is not None and len(fits) == 1:
        return columns.covariances
    return [f"({number})" for number in range(1, len(columns.results) + 1)]


def _captions(defaults: Sequence[str], labels: Sequence[str] | None) -> Sequence[str]:
    if labels is None:
        return defaults
    try:
        chosen = [] if isinstance(labels, str) else [str(label) for label in labels]
    except (TypeError, RuntimeError):
        chosen = []
    if len(chosen) != len(defaults):
        raise OptionError(f"labels is {shown(labels)}; pass a list of {counted(len(defaults), 'label')}, one for each.")
    return chosen


def _levels(alpha: float | Sequence[float]) -> list[float]:
    """Return the values of alpha, in ascending order: the widest interval first."""
    try:
        levels = sorted(np.atleast_1d(np.asarray(alpha, dtype=float)).tolist())
    except (TypeError, ValueError, RuntimeError, OverflowError):
        levels = []
    if not levels:
        raise OptionError(
            f"alpha is {shown(alpha)}; pass one minus the coverage, such as 0.05, or several such values."
        )
    return levels


def simultaneous(adjust: Adjustment) -> Adjust | None:
    """Read the option `adjust` of a figure, which shows intervals alone."""
    family = read_adjust(adjust)
    if family is not None and not procedure_of(family.method).intervals:
        raise OptionError(
            f"adjust is {shown(family.method)}, a false discovery rate, which adjusts p-values and has no intervals to draw; use 'sup-t' or 'bonferroni'."
        )
    return family


def _estimated(
    result: Estimates,
    plain: Estimates | Simultaneous,
    label: str,
    levels: Sequence[float],
    method: Method | None,
    ratios: bool,
) -> _Series:
    numbers = exponentiated(plain, about(result).no_ratios) if ratios else plain
    drawn = set(_drawn(result, ratios))
    values = {
        name: value
        for name, value in zip(result.names, numbers.coefficient_table()[:, 0].tolist(), strict=True)
        if name in drawn
    }
    bounds = [
        {
            name: ends
            for name, ends in zip(result.names, numbers.interval_table(level, method), strict=True)
            if name in drawn
        }
        for level in levels
    ]
    return _Series(label, values, bounds)


def _drawn(result: Estimates, ratios: bool) -> list[str]:
    """Return the names of the numbers that are drawn; of ratios those that are coefficients."""
    if not ratios:
        return list(result.names)
    single = about(result).no_ratios
    return [name for name, (_, own) in zip(result.names, result.equation_terms, strict=True) if own not in single]


def _chosen(
    models: Sequence[Estimates],
    keep: Terms | None,
    drop: Terms | None,
    order: Terms | None,
    ratios: bool = False,
) -> list[str]:
    known = list(dict.fromkeys(name for model in models for name in _drawn(model, ratios)))
    if not known and any(model.names for model in models):
        raise OptionError(
            "exponentiate=True draws ratios, and none of these numbers is the logarithm of one; omit it, or take comparison='lnratio' of margins."
        )
    if not known:
        raise OptionError(
            "There is no coefficient to draw, since the models have none; absorbed effects are in fixed_effects()."
        )
    names = choose(known, keep, drop, order)
    if not 0 < len(names) <= _MOST:
        raise OptionError(
            f"There are {counted(len(names), 'coefficient')} to draw, but a figure shows 1 to {_MOST}; choose them with keep and drop."
        )
    return names


def _draw_rows(
    series: Sequence[_Series], names: Sequence[str], shown: Sequence[str], ax: Axes | None, reference: float | None
) -> Axes:
    """Draw one row for each coefficient, from the top, and within it each series below the previous one."""
    rows, many = len(names), len(series)
    letters = max(map(len, shown)) + (max(len(one.label) for one in series) if many > 1 else 0)
    width = _WIDTH + _LETTER * max(letters - _SHORT, 0)
    axes = axes_of(ax, width, max(0.75 + rows * max(0.27, 0.14 * many + 0.1), 1.6))
    axes.set_ylim(rows - 0.5, -0.5)
    if reference is not None:
        axes.axvline(reference, **DASHED)
    step, height = min(0.2, 0.72 / many), _label_rows(axes, names, shown)
    for number, one in enumerate(series):
        look = {**style(number), "markersize": min(5.0, height * (step if many > 1 else 0.5))}
        _draw_series(axes, one, names, (number - (many - 1) / 2) * step, look)
    for row in range(1, rows, 2):
        axes.axhspan(row - 0.5, row + 0.5, color="0.95", linewidth=0, zorder=-1)
    for row, name in enumerate(names):
        if all(np.isnan(one.values.get(name, np.nan)) for one in series):
            at = {"xycoords": ("axes fraction", "data"), "ha": "center", "va": "center"}
            axes.annotate("not estimated", (0.5, row), color="0.4", style="italic", fontsize="small", **at)
    plain_frame(axes, "left")
    if many > 1:
        place = {"loc": "upper left", "bbox_to_anchor": (1.0, 1.0)} if ax is None else {"loc": "best"}
        axes.legend(frameon=ax is not None, handletextpad=0.3, **place)
    return axes


def _draw_series(axes: Axes, series: _Series, names: Sequence[str], shift: float, look: Mapping[str, Any]) -> None:
    """Draw markers and bars; where an interval is unbounded, an arrow goes from the estimate to the frame."""
    places = np.arange(len(names)) + shift
    values = np.array([series.values.get(name, np.nan) for name in names])
    axes.plot(values, places, label=series.label, zorder=3, **look)
    for level, bounds in enumerate(series.bounds):
        bar = {"color": look["color"], "linewidth": 1.1 + 1.5 * level, "zorder": 2}
        ends = np.array([bounds.get(name, _NOTHING) for name in names])
        endless = np.isinf(ends)
        finite = np.where(endless, values[:, None], ends)
        drawn = np.isfinite(finite).all(1)
        axes.hlines(places[drawn], *finite[drawn].T, **bar)
        arrow = {"arrowstyle": "-|>", "shrinkA": 0.0, "shrinkB": 0.0, **bar}
        at = {"xycoords": ("axes fraction", "data"), "textcoords": "data", "arrowprops": arrow}
        for row, side in np.argwhere(endless):
            axes.annotate("", (float(side), places[row]), (values[row], places[row]), **at)


def _label_rows(axes: Axes, names: Sequence[str], shown: Sequence[str]) -> float:
    """Write the names beside the rows, smaller if the rows are narrow; return the height of a row in points.

    Dollar signs start mathematics in names that the user chose, but not in the names of columns.
    """
    axes.set_yticks(range(len(shown)), shown)
    axes.tick_params(axis="y", length=0)
    height: float = axes.get_window_extent().height * 72.0 / axes.figure.dpi / len(shown)
    for label, name, words in zip(axes.get_yticklabels(), names, shown, strict=True):
        label.set_parse_math(words != name)
        label.set_fontsize(min(label.get_fontsize(), max(0.85 * height, 4.0)))
    return height
