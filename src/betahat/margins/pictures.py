"""`plot_predictions`, `plot_comparisons` and `plot_slopes`: margins along a variable, by others."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

import numpy as np

from betahat.errors import OptionError, described, listed, shown
from betahat.inference.distribution import check_alpha
from betahat.inference.resampled import Method
from betahat.lazy import lazily
from betahat.margins.data_grid import DataGrid, sorted_values
from betahat.margins.estimates import MarginResults
from betahat.margins.labels import has_outcomes
from betahat.margins.subject import Kind, Subject
from betahat.plots.coefficients import simultaneous
from betahat.plots.curves import Curve, Frame, draw_curves
from betahat.tables.adjusted import Adjustment, adjusted
from betahat.tables.terms import Rename, renamed

if TYPE_CHECKING:
    import pandas as pd
else:
    pd = lazily("pandas")

_POINTS = 60
# The axis, colours, panels.
_DEEPEST = 3
_LEVELS = {"minmax": [0, 100], "fivenum": [0, 25, 50, 75, 100]}
# Where nothing changes.
_NOTHING = {"difference": 0.0, "lnratio": 0.0, "lnor": 0.0, "lift": 0.0, "ratio": 1.0, "or": 1.0}


@runtime_checkable
class Margined(Protocol):
    """Results that have margins."""

    def avg_predictions(self, variables: Any = None, by: Any = None, newdata: Any = None) -> MarginResults:
        """Return averages of the mean."""
        ...


def plot_predictions(
    results: Margined,
    condition: str | Sequence[str] | Mapping[str, Any] | None = None,
    by: str | Sequence[str] | None = None,
    *,
    newdata: Any = None,
    wts: Any = None,
    which: str | None = None,
    alpha: float = 0.05,
    method: Method | None = None,
    adjust: Adjustment = None,
    rename: Rename | None = None,
    ax: Any = None,
) -> Any:
    """Draw predictions along a variable with their intervals, of typical rows (`condition`) or on average in groups of the data (`by`).

    Parameters
    ----------
    results : Results
        The fit and its covariance.
    condition : str, list or dict, optional
        The variables on the axis, in colours, and in panels; the others are at typical values, as in `datagrid`. In a dict by variable the
        values, "minmax", "threenum" (the mean, and a standard deviation from it), "fivenum", or None: a grid on the axis, otherwise Tukey's
        five numbers, and all values of what is not a number.
    by : str or list of str, optional
        Instead of `condition`, columns of the data: predictions are averaged for each of their values, on the axis, in colours, and in panels.
    newdata, wts : optional
        As in `Results.avg_predictions`, with `by`.
    which : str, optional
        What is predicted, as in `Results.avg_predictions`.
    alpha : float
        Intervals have coverage 1 - alpha.
    method : str, optional
        The type of bootstrap interval, as in ``Results.conf_int``; "sup-t" is a band that covers the whole curve.
    adjust : str or Adjust, optional
        Intervals that hold for all numbers of the figure: "sup-t", "bonferroni", ..., as in `coefplot`.
    rename : mapping, optional
        From names of variables and values to what is written.
    ax : matplotlib.axes.Axes, or as many as there are panels, optional
        Where to draw; by default on a new figure.

    Returns
    -------
    matplotlib.axes.Axes, or an array of them where there are several panels

    Raises
    ------
    OptionError
        Neither or both of `condition` and `by`, unknown variables, or more values than colours.
    MissingPackageError
        matplotlib is not installed.

    Notes
    -----
    The numbers are those of ``res.predictions(newdata=bh.datagrid(x=...))`` and ``res.avg_predictions(by=...)``. Probabilities of several
    outcomes have colours, or panels, of their own.

    Examples
    --------
    >>> import betahat as bh
    >>> data = {"y": [1.0, 2.0, 4.0, 5.0, 7.0], "x": [1.0, 2.0, 3.0, 4.0, 5.0]}
    >>> data["old"] = [0, 0, 1, 0, 1]
    >>> res = bh.ols("y ~ x + old", data).fit()
    >>> ax = bh.plot_predictions(res, ["x", "old"])
    >>> ax.get_xlabel(), ax.get_ylabel()
    ('x', 'y')
    """
    asked = _asked(results, "plot_predictions", condition, by, newdata, wts, which)
    found = asked.results.predictions(**asked.rows) if by is None else asked.results.avg_predictions(**asked.groups)
    return _drawn(asked, found, results_name(results, rename), None, alpha, method, adjust, rename, ax)


def plot_comparisons(
    results: Margined,
    *,
    variables: Any = None,
    condition: str | Sequence[str] | Mapping[str, Any] | None = None,
    by: str | Sequence[str] | None = None,
    comparison: Any = "difference",
    newdata: Any = None,
    wts: Any = None,
    which: str | None = None,
    alpha: float = 0.05,
    method: Method | None = None,
    adjust: Adjustment = None,
    rename: Rename | None = None,
    ax: Any = None,
) -> Any:
    """Draw how much predictions change with variables, along another variable or in groups.

    Parameters
    ----------
    results : Results
        The fit and its covariance.
    variables : str, list or dict
        What changes, and how, as in `Results.comparisons`.
    condition, by, newdata, wts, which, alpha, method, adjust, rename, ax
        As in `plot_predictions`.
    comparison : str or callable
        As in `Results.comparisons`.

    Returns
    -------
    matplotlib.axes.Axes, or an array of them where there are several panels

    Raises
    ------
    OptionError, MissingPackageError
        As in `plot_predictions`.

    Examples
    --------
    >>> import betahat as bh
    >>> data = {"y": [1.0, 2.0, 4.0, 5.0, 9.0], "x": [1.0, 2.0, 3.0, 4.0, 5.0]}
    >>> data["old"] = [0, 0, 1, 0, 1]
    >>> res = bh.ols("y ~ x * old", data).fit()
    >>> bh.plot_comparisons(res, variables="old", condition="x").get_ylabel()
    'old: 1 - 0'
    """
    asked = _asked(results, "plot_comparisons", condition, by, newdata, wts, which)
    options = {"variables": variables, "comparison": comparison}
    if by is None:
        found = asked.results.comparisons(**asked.rows, **options)
    else:
        found = asked.results.avg_comparisons(**asked.groups, **options)
    nothing = _NOTHING.get(comparison) if isinstance(comparison, str) else None
    return _drawn(asked, found, "Comparison", nothing, alpha, method, adjust, rename, ax)


def plot_slopes(
    results: Margined,
    *,
    variables: Any = None,
    condition: str | Sequence[str] | Mapping[str, Any] | None = None,
    by: str | Sequence[str] | None = None,
    slope: str = "dydx",
    newdata: Any = None,
    wts: Any = None,
    which: str | None = None,
    alpha: float = 0.05,
    method: Method | None = None,
    adjust: Adjustment = None,
    rename: Rename | None = None,
    ax: Any = None,
) -> Any:
    """Draw slopes of predictions in variables, along the same or another variable or in groups.

    Parameters
    ----------
    results : Results
        The fit and its covariance.
    variables : str or list
        The variables of the slopes, as in `Results.slopes`.
    condition, by, newdata, wts, which, alpha, method, adjust, rename, ax
        As in `plot_predictions`.
    slope : str
        As in `Results.slopes`.

    Returns
    -------
    matplotlib.axes.Axes, or an array of them where there are several panels

    Raises
    ------
    OptionError, MissingPackageError
        As in `plot_predictions`.

    Examples
    --------
    >>> import betahat as bh
    >>> data = {"y": [1.0, 2.0, 4.0, 5.0, 9.0], "x": [1.0, 2.0, 3.0, 4.0, 5.0]}
    >>> res = bh.ols("y ~ x + I(x**2)", data).fit()
    >>> bh.plot_slopes(res, variables="x", condition="x").get_ylabel()
    'x: dY/dX'
    """
    asked = _asked(results, "plot_slopes", condition, by, newdata, wts, which)
    options = {"variables": variables, "slope": slope}
    found = (
        asked.results.slopes(**asked.rows, **options)
        if by is None
        else asked.results.avg_slopes(**asked.groups, **options)
    )
    return _drawn(asked, found, "Slope", 0.0, alpha, method, adjust, rename, ax)


def results_name(results: Any, rename: Rename | None) -> str:
    """Return what the dependent variable is called."""
    return renamed(results.endog_name, rename)


@dataclass(frozen=True, eq=False)
class _Asked:
    """What a figure is of: rows of a grid along variables, or groups of the data."""

    results: Any
    variables: tuple[str, ...]  # on the axis, in colours, in panels
    rows: dict[str, Any]  # options of predictions in rows of a grid
    groups: dict[str, Any]  # options of averages
    lines: bool


def _asked(results: Any, where: str, condition: Any, by: Any, newdata: Any, wts: Any, which: Any) -> _Asked:
    """Read what a figure is of."""
    if not isinstance(results, Margined):
        raise OptionError(f"{where} needs one result, as returned by .fit(), not {described(results)}.")
    if (condition is None) == (by is None):
        raise OptionError(
            f"{where} needs condition=, the variables along which typical rows vary, or by=, columns of the data, and not both; pass one of them."
        )
    option, given = ("condition", condition) if by is None else ("by", by)
    names = (given,) if isinstance(given, str) else tuple(given) if isinstance(given, Sequence | Mapping) else ()
    if not 1 <= len(names) <= _DEEPEST or not all(isinstance(name, str) for name in names):
        raise OptionError(
            f"{option} is {shown(given)}; pass one to {_DEEPEST} names of variables: on the axis, in colours, and in panels."
        )
    if by is not None:
        return _Asked(
            results, names, {}, {"by": list(names), "newdata": newdata, "wts": wts, "which": which}, lines=False
        )
    if newdata is not None or wts is not None:
        raise OptionError("newdata and wts go with by=, whose averages are of the data; omit them beside condition=.")
    subject: Subject = results._subject(which)  # type: ignore[attr-defined]
    subject.check_variables(names)
    values = dict(given) if isinstance(given, Mapping) else dict.fromkeys(names)
    chosen = {name: _values(subject, name, value, name == names[0]) for name, value in values.items()}
    lines = subject.kind(names[0]) is Kind.NUMBER and len(chosen[names[0]]) > 2
    return _Asked(results, names, {"newdata": DataGrid(chosen, "mean_or_mode", ()), "which": which}, {}, lines)


def _values(subject: Subject, name: str, value: Any, first: bool) -> list[Any]:
    """Return the values of a variable along which a figure goes."""
    column = subject.column(name)
    if subject.kind(name) is not Kind.NUMBER:
        return sorted_values(column) if value is None else _listed(value)
    numbers = column.to_numpy(float)
    if value is None and first:
        return list(np.linspace(numbers.min(), numbers.max(), _POINTS))
    if isinstance(value, str) and value == "threenum":
        return [numbers.mean() + share * numbers.std(ddof=1) for share in (-1.0, 0.0, 1.0)]
    known = "fivenum" if value is None else value
    if isinstance(known, str):
        if known not in _LEVELS:
            raise OptionError(
                f"condition asks {name!r} for {shown(value)}; pass values, or one of {listed([*_LEVELS, 'threenum'])}."
            )
        return list(np.unique(np.percentile(numbers, _LEVELS[known], method="midpoint")))
    return _listed(value)


def _listed(value: Any) -> list[Any]:
    """Return values of the user's."""
    return [value] if isinstance(value, str) or np.ndim(value) == 0 else list(value)


def _drawn(
    asked: _Asked,
    found: MarginResults,
    title: str,
    reference: float | None,
    alpha: float,
    method: Method | None,
    adjust: Adjustment,
    rename: Rename | None,
    ax: Any,
) -> Any:
    """Draw margins."""
    check_alpha(alpha)
    family = simultaneous(adjust)
    numbers = found if family is None else adjusted([found], [found], family)[0][0]
    values, bounds = found.coefficient_table()[:, 0], numbers.interval_table(alpha, method)
    axis, *others = asked.variables
    labels = _described(found, rename)
    places = (
        found.labels if found.rows is None else found.rows.iloc[found.labels["rowid"].to_numpy()].reset_index(drop=True)
    )
    several = [name for name in ("outcome", "contrast") if len(labels[name].unique()) > 1]
    if not others and several:
        colours, panels = several[0], several[1:]
    else:
        colours, panels = (others[0] if others else ""), [*others[1:], *several]
    texts = {name: _texts(places[name], name, rename, plain=name == colours) for name in others}
    texts |= {name: labels[name].tolist() for name in several}
    above = (
        [", ".join(parts) for parts in zip(*(texts[name] for name in panels), strict=True)]
        if panels
        else [""] * len(values)
    )
    beside = texts[colours] if colours else [""] * len(values)
    x, ticks = _positions(places[axis], asked.lines, rename)
    keys = list(zip(above, beside, strict=True))
    curves = []
    for key in dict.fromkeys(keys):
        rows = np.array([own == key for own in keys])
        curves.append(Curve(*key, x[rows], values[rows], bounds[rows]))
    (contrast,) = set(labels["contrast"]) if "contrast" not in several else {""}
    legend = "" if colours in several else renamed(colours, rename)
    title = "Prediction" if "outcome" in several and not contrast and reference is None else title
    frame = Frame(renamed(axis, rename), contrast or title, legend, ticks, asked.lines, reference)
    return draw_curves(curves, frame, ax)


def _described(found: MarginResults, rename: Rename | None) -> pd.DataFrame:
    """Return (m, 2) the outcome of each number, and what is compared with what."""
    own = found.labels
    nothing = pd.Series([""] * len(own))
    outcome = own["group"].map(lambda group: found.title_of_outcome(group, rename)) if has_outcomes(own) else nothing
    contrast = (
        nothing
        if "term" not in own or not own["term"].any()
        else pd.Series(
            [f"{renamed(term, rename)}: {said}" for term, said in zip(own["term"], own["contrast"], strict=True)]
        )
    )
    return pd.DataFrame({"outcome": outcome.to_numpy(), "contrast": contrast.to_numpy()})


def _texts(column: pd.Series, name: str, rename: Rename | None, *, plain: bool) -> list[str]:
    """Return what is written for values of a variable, with its name unless that stands above them."""
    words = [f"{value:.4g}" if isinstance(value, float) else str(value) for value in column.tolist()]
    return [renamed(word, rename) if plain else f"{renamed(name, rename)}={renamed(word, rename)}" for word in words]


def _positions(column: pd.Series, lines: bool, rename: Rename | None) -> tuple[np.ndarray, tuple[str, ...] | None]:
    """Return (m,) where numbers stand along the axis, and the names of the places of what is not a number."""
    number = pd.api.types.is_numeric_dtype(column.dtype) and column.dtype != bool
    if lines or (number and column.nunique() > 2):
        return column.to_numpy(float), None
    values = list(dict.fromkeys(column.tolist()))
    found = np.array([values.index(value) for value in column.tolist()], dtype=float)
    return found, tuple(renamed(str(value), rename) for value in values)
