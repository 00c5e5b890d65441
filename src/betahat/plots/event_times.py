"""Effects by time since a treatment, of one estimator or of several side by side."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import singledispatch
from typing import TYPE_CHECKING, Any

import numpy as np

from betahat.errors import OptionError, check_flag, is_number, listed, shown, texts_of
from betahat.inference.resampled import Method
from betahat.plots.canvas import DASHED, LINE, axes_of, matplotlib, plain_frame, style
from betahat.tables.adjusted import Adjust, adjusted
from betahat.tables.columns import CovTypes, Results, read_columns
from betahat.tables.estimates import Estimates
from betahat.tables.foreign import Foreign

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# As `i(year, ref=-1)` names the coefficients of the levels of a number, here and in fixest.
_LEVEL = re.compile(r"([^:]+)::\[?(?:T\.)?(-?\d+(?:\.\d+)?)\]?")


@dataclass(frozen=True)
class EventTimes:
    """Which numbers of a result are effects by time since a treatment.

    Attributes
    ----------
    places : mapping of str to float
        The time of each number, by its name.
    reference : tuple of float or None
        The times from which effects are measured; None where the result does not know them.
    label : str
        What the estimator is called, or "".
    """

    places: Mapping[str, float]
    reference: tuple[float, ...] | None = None
    label: str = ""


@dataclass(frozen=True, eq=False)
class _Series:
    """What is drawn with one marker, by time."""

    label: str
    times: np.ndarray  # (m,)
    values: np.ndarray  # (m,)
    intervals: np.ndarray  # (m, 2)
    bands: np.ndarray | None  # (m, 2) that hold at once
    reference: tuple[float, ...]


@singledispatch
def event_times(result: Any) -> EventTimes:
    """Return the times of the coefficients of one variable's levels, as `i()` names them; other kinds of results are registered."""
    found: dict[str, dict[str, float]] = {}
    for name in result.names:
        match = _LEVEL.fullmatch(name)
        if match is not None:
            found.setdefault(match[1], {})[name] = float(match[2])
    if len(found) != 1:
        what = (
            f"of {listed(found)}" if found else "named like those of i(time, ref=-1), such as 'time::-2' and 'time::0'"
        )
        raise OptionError(
            f"eventplot draws the coefficients of the levels of one variable, and there are {'some ' if found else 'none '}{what}; pass the results of "
            "bh.event_study, or draw these with coefplot."
        )
    return EventTimes(next(iter(found.values())))


def eventplot(
    results: Results,
    *,
    cov: CovTypes | None = None,
    use_t: bool | None = None,
    labels: Sequence[str] | None = None,
    ref: float | Sequence[float] = -1,
    window: tuple[float, float] | None = None,
    alpha: float = 0.05,
    method: Method | None = None,
    band: bool = False,
    ax: Axes | None = None,
) -> Axes:
    """Draw an event study: effects by time since a treatment with their intervals, of one estimator or of several side by side.

    Parameters
    ----------
    results : EventStudy, Results, sequence or mapping of them
        Those of `event_study`, or regressions on ``i(time, ref=-1)``; results of other packages as in `regtable`.
    cov : str, estimator, sequence or mapping of them, optional
        The covariance of each, repeated as in `regtable`; None takes the results as they are.
    use_t : bool, optional
        Whether intervals use the t or the normal distribution; None lets each result keep its own.
    labels : sequence of str, optional
        The entries of the legend; by default the keys of a mapping, or the estimators.
    ref : float or sequence of float
        The times that regressions leave out, which are drawn at zero; those of `event_study` know theirs.
    window : (float, float), optional
        The first and the last time that are drawn, such as (-5, 10), and that a band holds for; by default all.
    alpha : float
        Intervals have coverage 1 - alpha.
    method : str, optional
        The type of bootstrap interval, as in ``Results.conf_int``.
    band : bool
        Whether to draw a simultaneous band as well, thin and with caps: with probability 1 - alpha it holds the effects at all times at once (sup-t).
    ax : matplotlib.axes.Axes, optional
        Where to draw; by default on a new figure.

    Returns
    -------
    matplotlib.axes.Axes

    Raises
    ------
    OptionError
        No effects by time, or an unknown option.
    MissingPackageError
        matplotlib is not installed.

    References
    ----------
    Freyaldenhoven, Hansen, Perez Perez and Shapiro (2021), Visualization, identification, and estimation in the linear panel event-study design, NBER 29170.

    Examples
    --------
    >>> import betahat as bh
    >>> since = [-2, -1, 0, 1] * 3
    >>> data = {"y": [t + i * i % 5 for i, t in enumerate(since)], "time": since}
    >>> res = bh.ols("y ~ i(time, ref=-1)", data).fit("HC1")
    >>> ax = bh.eventplot(res, band=True)
    >>> ax.get_xlabel()
    'Periods since treatment (95% intervals and bands)'
    """
    columns = read_columns(results, cov, use_t, "eventplot")
    check_flag("band", band)
    reference, shown_times = _read_reference(ref), _read_window(window)
    known = [event_times(model) for model in columns.results]
    captions = _captions(columns.names, known, labels)
    series = [
        _series(model, times, label, reference, shown_times, alpha, method, band)
        for model, times, label in zip(columns.results, known, captions, strict=True)
    ]
    axes = _draw(series, ax)
    names = list(dict.fromkeys(model.endog_name for model in columns.results))
    axes.set_ylabel(f"Effect{f' on {names[0]}' if len(names) == 1 else ''}", parse_math=False)
    axes.set_xlabel(f"Periods since treatment ({100.0 * (1.0 - alpha):.4g}% intervals{' and bands' if band else ''})")
    return axes


def _read_reference(ref: Any) -> tuple[float, ...]:
    values = list(ref) if isinstance(ref, Sequence) and not isinstance(ref, str) else [ref]
    if not all(is_number(value) for value in values):
        raise OptionError(f"ref is {shown(ref)}; pass the time that is left out, such as -1, or several.")
    return tuple(map(float, values))


def _read_window(window: Any) -> tuple[float, float]:
    """Read the first and the last time."""
    if window is None:
        return -np.inf, np.inf
    if not isinstance(window, Sequence) or len(window) != 2 or not all(is_number(end) for end in window):
        raise OptionError(f"window is {shown(window)}; pass the first and the last time to draw, such as (-5, 10).")
    return float(window[0]), float(window[1])


def _captions(names: Sequence[str], known: Sequence[EventTimes], labels: Sequence[str] | None) -> list[str]:
    """Return what the series are called: as the user says, or by the keys of a mapping, or by distinct estimators, or by number."""
    if labels is not None:
        return texts_of("labels", labels, len(known), "series")
    own = [times.label for times in known]
    for found in (list(names), own):
        if len(set(found)) == len(known) and all(found):
            return found
    return [f"({number})" for number in range(1, len(known) + 1)]


def _series(
    model: Estimates,
    known: EventTimes,
    label: str,
    reference: tuple[float, ...],
    window: tuple[float, float],
    alpha: float,
    method: Method | None,
    band: bool,
) -> _Series:
    names = list(model.names)
    first, last = window
    inside = [name for name, time in known.places.items() if first <= time <= last]
    if not inside:
        raise OptionError(
            f"window is {shown(window)}, and no effect lies within it; there are those at times {min(known.places.values()):g} to {max(known.places.values()):g}."
        )
    places = sorted((names.index(name) for name in inside), key=lambda i: known.places[names[i]])
    times = np.array([known.places[names[i]] for i in places])
    values = model.coefficient_table()[places, 0]
    bands = _bands(model, places, alpha) if band else None
    left_out = reference if known.reference is None else known.reference
    return _Series(
        label,
        times,
        values,
        model.interval_table(alpha, method)[places],
        bands,
        tuple(time for time in left_out if time not in times and first <= time <= last),
    )


def _bands(model: Estimates, places: Sequence[int], alpha: float) -> np.ndarray:
    """Return (m, 2) intervals that hold at once."""
    if isinstance(model, Foreign):
        raise OptionError(
            f"band needs the covariance of the effects, and of results of {model.package} a table has standard errors alone; omit band."
        )
    among = np.isin(np.arange(len(model.names)), places)
    ((found,), _) = adjusted([model], [model], Adjust("sup-t"), [among])
    return found.interval_table(alpha)[places]


def _draw(series: Sequence[_Series], ax: Axes | None) -> Axes:
    """Draw the series beside each other at each time."""
    times = np.unique(np.concatenate([np.append(one.times, one.reference) for one in series]))
    many, gap = len(series), float(np.diff(times).min()) if len(times) > 1 else 1.0
    axes = axes_of(ax, min(6.4 + 0.06 * max(len(times) * many - 24, 0), 11.0), 3.8)
    axes.axhline(0.0, **LINE, zorder=0)
    if times.min() < 0 <= times.max():
        axes.axvline(-0.5 * gap, **DASHED)
    step = gap * min(0.18, 0.7 / many)
    for number, one in enumerate(series):
        look = {**style(number), "markersize": 5.0 if len(times) * many <= 60 else 3.5}
        shift = (number - (many - 1) / 2) * step
        axes.plot(
            np.append(one.times, one.reference) + shift,
            np.append(one.values, np.zeros(len(one.reference))),
            label=one.label,
            zorder=3,
            **look,
        )
        _draw_bars(axes, one.times + shift, one.intervals, {"color": look["color"], "linewidth": 1.6, "zorder": 2})
        if one.bands is not None:
            thin = {"color": look["color"], "linewidth": 0.8, "zorder": 1}
            _draw_bars(axes, one.times + shift, one.bands, thin, 0.35 * step if many > 1 else 0.06 * gap)
    axes.xaxis.set_major_locator(matplotlib("ticker").MaxNLocator("auto", integer=True, steps=[1, 2, 5, 10]))
    plain_frame(axes)
    if many > 1:
        axes.legend(frameon=False, loc="best", handletextpad=0.3)
    return axes


def _draw_bars(axes: Axes, places: np.ndarray, ends: np.ndarray, look: Mapping[str, Any], cap: float = 0.0) -> None:
    """Draw vertical bars, with caps of a half-width where there are some; unbounded intervals have none."""
    there = np.isfinite(ends).all(1)
    axes.vlines(places[there], *ends[there].T, **look)
    if cap:
        for end in ends[there].T:
            axes.hlines(end, places[there] - cap, places[there] + cap, **look)
