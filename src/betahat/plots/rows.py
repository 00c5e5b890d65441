"""Figures of residuals, their quantiles, their scale and leverage: whether the assumptions behind the standard errors hold.

They are the four of R's ``plot.lm``. For discrete models, residuals and leverage use Pearson residuals, quantiles and scale deviance residuals.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

import numpy as np
import torch
from torch import Tensor

from betahat.data.container import to_numpy
from betahat.errors import BetahatWarning, EstimationError, OptionError, counted, described, shown, user_level
from betahat.inference.cases import Cases
from betahat.lazy import lazily
from betahat.plots.canvas import COLOURS, DASHED, LINE, axes_of, matplotlib, plain_frame

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from scipy import special, stats
    from statsmodels.nonparametric import smoothers_lowess
else:
    special = lazily("scipy.special")
    stats = lazily("scipy.stats")
    smoothers_lowess = lazily("statsmodels.nonparametric.smoothers_lowess")

# With more rows than this, points become hexagons, shaded by the logarithm of their number, and quantiles are thinned.
MOST_POINTS = 10_000
# How many quantiles are kept in each tail, how many between the tails, and how many rows are smoothed.
_TAIL, _MIDDLE, _SMOOTHED = 500, 1000, 5000
_POINT = {"s": 14.0, "facecolors": "none", "edgecolors": "0.3", "linewidths": 0.7}
_SMOOTH = {"color": COLOURS[1], "linewidth": 1.6}
_SIZE = (4.6, 4.0)
# The height of the label of a row, in points.
_LETTERS = 8.0
# Residuals below this share of the largest fitted value are rounding errors.
_EXACT = 1e-13


@dataclass(frozen=True, eq=False)
class _Points:
    """What is drawn, (m,) each: the coordinates, the size that decides which points are labelled, and the row."""

    x: np.ndarray
    y: np.ndarray
    size: np.ndarray
    rows: np.ndarray


@runtime_checkable
class HasCases(Protocol):
    """What a figure of rows needs from a result."""

    @property
    def cases(self) -> Cases: ...  # noqa: D102


def plot_residuals(result: HasCases, ax: Axes | None = None, *, mark: int = 3) -> Axes:
    """Draw residuals against fitted values, with a smooth line: what the mean has missed.

    Parameters
    ----------
    result : Results
        A result of a model with one mean for each row. Residuals are y - x'b, times the square root of analytic weights; for discrete
        models, Pearson residuals against the linear index; for a module whose loss does not imply the variance of y, y minus its mean.
    ax : matplotlib.axes.Axes, optional
        Where to draw; by default on a new figure.
    mark : int
        How many of the largest residuals are labelled with their row.

    Returns
    -------
    matplotlib.axes.Axes

    Raises
    ------
    EstimationError
        The model has no residuals, or several for each row.
    MissingPackageError
        matplotlib is not installed.

    Notes
    -----
    With more than 10,000 rows, points become hexagons, darker with the logarithm of their number. The line is LOWESS (Cleveland 1979) as in
    R's ``plot.lm``: a span of two thirds of the rows and three robust iterations, or none for a binary y; with more than 10,000 rows it is
    computed from 5,000 of them, evenly spaced in the order of the fitted values.

    Examples
    --------
    >>> import betahat as bh
    >>> res = bh.OLS([1.0, 2.0, 4.0, 5.0], bh.add_constant([1.0, 2.0, 3.0, 4.0])).fit()
    >>> bh.plot_residuals(res).get_ylabel()
    'Residual'
    """
    cases = _cases(result, mark)
    axes = axes_of(ax, *_SIZE)
    axes.axhline(0.0, **DASHED)
    points = _cloud(axes, cases.fitted, cases.residuals, cases.residuals.abs())
    _draw_smooth(axes, points, cases)
    axes.set_xlabel(_fitted_name(cases))
    axes.set_ylabel(_residual_name(cases))
    _name_points(axes, points, cases, mark)
    return axes


def plot_qq(result: HasCases, ax: Axes | None = None, *, mark: int = 3) -> Axes:
    """Draw the quantiles of standardised residuals against those of the normal distribution.

    Parameters
    ----------
    result, ax, mark
        As in `plot_residuals`; residuals are divided by s sqrt(1 - h), and for discrete models they are deviance residuals.

    Returns
    -------
    matplotlib.axes.Axes

    Raises
    ------
    EstimationError, MissingPackageError
        As in `plot_residuals`, or the variance of y is unknown.

    Notes
    -----
    The i-th of n residuals is drawn at the quantile of (i - 1/2) / n; on the line, the quantiles are equal. For least squares, the band is
    pointwise: it contains each quantile of normal errors with probability 95%, by the beta distribution of order statistics. With more than
    10,000 rows, 2,000 quantiles are drawn, including the 500 most extreme of each tail.

    Examples
    --------
    >>> import betahat as bh
    >>> res = bh.OLS([1.0, 2.0, 4.0, 5.0], bh.add_constant([1.0, 2.0, 3.0, 4.0])).fit()
    >>> bh.plot_qq(res).get_ylabel()
    'Standardised residual'
    """
    cases = _cases(result, mark)
    values = cases.standardized_deviance
    _check_any(torch.isfinite(values))
    finite = torch.isfinite(values).nonzero()[:, 0]
    _check_drawn(len(values), len(finite))
    ordered, order = values[finite].sort()
    weights = torch.ones_like(ordered) if cases.counts is None else cases.counts.to(ordered)[finite][order]
    shares = (weights.cumsum(0) - 0.5 * weights) / weights.sum()
    picked = _picked(len(ordered)).to(order.device)
    x, y, rows = special.ndtri(to_numpy(shares[picked])), to_numpy(ordered[picked]), to_numpy(finite[order[picked]])
    axes = axes_of(ax, *_SIZE)
    if cases.least_squares and cases.counts is None:
        rank = to_numpy(picked) + 1.0
        band = [special.ndtri(stats.beta.ppf(tail, rank, len(ordered) + 1.0 - rank)) for tail in (0.025, 0.975)]
        axes.fill_between(x, *band, color="0.9", linewidth=0, zorder=0)
    axes.plot(x[[0, -1]], x[[0, -1]], **LINE)
    axes.scatter(x, y, **_POINT)
    _name_points(axes, _Points(x, y, np.abs(y), rows), cases, mark, tails=True)
    axes.set_xlabel("Normal quantile")
    axes.set_ylabel(f"Standardised {'' if cases.least_squares else 'deviance '}residual")
    plain_frame(axes)
    return axes


def plot_scale(result: HasCases, ax: Axes | None = None, *, mark: int = 3) -> Axes:
    """Draw the square roots of absolute standardised residuals against fitted values: whether the variance is constant.

    Parameters
    ----------
    result, ax, mark
        As in `plot_qq`.

    Returns
    -------
    matplotlib.axes.Axes

    Raises
    ------
    EstimationError, MissingPackageError
        As in `plot_qq`.

    Examples
    --------
    >>> import betahat as bh
    >>> res = bh.OLS([1.0, 2.0, 4.0, 5.0], bh.add_constant([1.0, 2.0, 3.0, 4.0])).fit()
    >>> bh.plot_scale(res).get_xlabel()
    'Fitted value'
    """
    cases = _cases(result, mark)
    values = cases.standardized_deviance.abs()
    axes = axes_of(ax, *_SIZE)
    points = _cloud(axes, cases.fitted, values.sqrt(), values)
    _draw_smooth(axes, points, cases)
    axes.set_ylim(bottom=0.0)
    _name_points(axes, points, cases, mark)
    axes.set_xlabel(_fitted_name(cases))
    what = "residual" if cases.least_squares else r"deviance\ residual"
    axes.set_ylabel(rf"$\sqrt{{|\mathrm{{standardised\ {what}}}|}}$")
    return axes


def plot_leverage(result: HasCases, ax: Axes | None = None, *, mark: int = 3) -> Axes:
    """Draw standardised residuals against leverage, with contours of Cook's distance: which rows move the coefficients.

    Parameters
    ----------
    result, ax, mark
        As in `plot_qq`; the rows with the largest Cook's distance are labelled, and discrete models have Pearson residuals.

    Returns
    -------
    matplotlib.axes.Axes

    Raises
    ------
    EstimationError, MissingPackageError
        As in `plot_qq`.

    Notes
    -----
    Cook's distance is r^2 h / ((1 - h) k); its contours at 0.5 and 1 are drawn where they are close to any row. The dotted line is the average
    leverage, k / n.

    Examples
    --------
    >>> import betahat as bh
    >>> res = bh.OLS([1.0, 2.0, 4.0, 9.0], bh.add_constant([1.0, 2.0, 3.0, 4.0])).fit()
    >>> bh.plot_leverage(res).get_title("right")
    "largest Cook's distance 2.2"
    """
    cases = _cases(result, mark)
    residuals, leverage, distance = cases.standardized, cases.leverage, cases.cooks_distance
    axes = axes_of(ax, *_SIZE)
    axes.axhline(0.0, **DASHED)
    axes.axvline(cases.fit.rank / cases.fit.nobs, color="0.6", linewidth=0.8, linestyle=":", zorder=0)
    points = _cloud(axes, leverage, residuals, distance)
    axes.set_xlim(0.0, 1.05 * points.x.max())
    axes.locator_params(axis="x", nbins=5)
    _draw_contours(axes, cases.fit.rank)
    _name_points(axes, points, cases, mark)
    axes.set_xlabel("Leverage")
    axes.set_title(f"largest Cook's distance {float(torch.nan_to_num(distance).max()):.2g}", loc="right", fontsize=8)
    axes.set_ylabel(f"Standardised {'' if cases.least_squares else 'Pearson '}residual")
    return axes


def plot_diagnostics(result: HasCases, axes: Any = None, *, mark: int = 3) -> Any:
    """Draw the four figures of R's ``plot.lm``: `plot_residuals`, `plot_qq`, `plot_scale` and `plot_leverage`.

    Parameters
    ----------
    result, mark
        As in `plot_residuals`.
    axes : array_like of matplotlib.axes.Axes, optional
        Four of them; by default, a new figure of two by two.

    Returns
    -------
    numpy.ndarray of matplotlib.axes.Axes

    Raises
    ------
    OptionError
        There are not four axes.
    EstimationError, MissingPackageError
        As in `plot_qq`.

    Examples
    --------
    >>> import betahat as bh
    >>> res = bh.OLS([1.0, 2.0, 4.0, 5.0], bh.add_constant([1.0, 2.0, 3.0, 4.0])).fit()
    >>> bh.plot_diagnostics(res).shape
    (2, 2)
    """
    _check_any(torch.isfinite(_cases(result, mark).standardized))  # before a figure is made
    if axes is None:
        axes = matplotlib("pyplot").subplots(2, 2, figsize=(8.4, 7.2), layout="constrained")[1]
    if not isinstance(axes, np.ndarray):
        items = list(axes) if isinstance(axes, list | tuple) else [axes]
        axes = np.empty(len(items), dtype=object)
        for place, item in enumerate(items):  # np.array would take a tensor apart
            axes[place] = item
    panels = axes
    if panels.size != 4:
        raise OptionError(f"axes has {counted(panels.size, 'element')}; pass four axes, or omit it for a new figure.")
    for panel in panels.flat:
        axes_of(panel, 1.0, 1.0)
    for draw, panel in zip((plot_residuals, plot_qq, plot_scale, plot_leverage), panels.flat, strict=True):
        draw(result, panel, mark=mark)
    return panels


def _cases(result: HasCases, mark: int) -> Cases:
    if not isinstance(result, HasCases):
        raise OptionError(f"A figure of rows needs one result, as returned by .fit(), not {described(result)}.")
    if not isinstance(mark, int | np.integer) or mark < 0:
        raise OptionError(f"mark is {shown(mark)}; pass the number of rows to label, such as 3.")
    cases = result.cases
    if cases.least_squares and bool(cases.residuals.abs().max() < _EXACT * cases.fitted.abs().max()):
        raise EstimationError("There are no residuals to draw: the fit is exact, and what remains is rounding error.")
    return cases


def _fitted_name(cases: Cases) -> str:
    return "Fitted value" if cases.least_squares or not cases.variance_known else "Linear index"


def _residual_name(cases: Cases) -> str:
    if not cases.least_squares:
        return "Pearson residual" if cases.variance_known else "Residual"
    return r"Residual $\times$ $\sqrt{\mathrm{weight}}$" if cases.weighted else "Residual"


def _check_any(drawn: Tensor) -> None:
    if not bool(drawn.any()):
        raise EstimationError(
            "No row has a standardised residual: the fit is exact, or each row determines a coefficient on its own."
        )


def _check_drawn(rows: int, drawn: int) -> None:
    """Warn of rows that are left out."""
    if drawn < rows:
        warnings.warn(
            f"{counted(rows - drawn, 'row')} with a leverage of one left out: such a row is fitted exactly and has no standardised residual.",
            BetahatWarning,
            stacklevel=user_level(),
        )


def _picked(count: int) -> Tensor:
    """Return which of `count` sorted values are drawn: all, or the tails and evenly spaced ones between them."""
    if count <= MOST_POINTS:
        return torch.arange(count)
    middle = torch.linspace(_TAIL, count - 1 - _TAIL, _MIDDLE, dtype=torch.float64).round().long()
    return torch.cat([torch.arange(_TAIL), middle, torch.arange(count - _TAIL, count)])


def _cloud(axes: Axes, across: Tensor, up: Tensor, size: Tensor) -> _Points:
    """Draw a point for each row, or hexagons."""
    _check_any(torch.isfinite(up))
    x, y, order = (to_numpy(values) for values in (across, up, size))
    rows = np.flatnonzero(np.isfinite(x) & np.isfinite(y))
    _check_drawn(len(x), len(rows))
    points = _Points(x[rows], y[rows], order[rows], rows)
    if len(rows) <= MOST_POINTS:
        axes.scatter(points.x, points.y, **_POINT)
    else:
        shades = matplotlib("colors").LinearSegmentedColormap.from_list("", ["0.85", "0.0"])
        axes.hexbin(points.x, points.y, gridsize=55, bins="log", cmap=shades, mincnt=1, linewidths=0.1)
    plain_frame(axes)
    return points


def _draw_smooth(axes: Axes, points: _Points, cases: Cases) -> None:
    if np.ptp(points.x) > 0:
        axes.plot(*_smoothed(points.x, points.y, 0 if cases.binary else 3), **_SMOOTH)


def _smoothed(x: np.ndarray, y: np.ndarray, iterations: int) -> tuple[np.ndarray, np.ndarray]:
    if len(x) > MOST_POINTS:
        rows = np.argsort(x, kind="stable")[np.linspace(0, len(x) - 1, _SMOOTHED).round().astype(int)]
        x, y = x[rows], y[rows]
    line = smoothers_lowess.lowess(y, x, frac=2.0 / 3.0, it=iterations, delta=0.01 * np.ptp(x))
    across, up = line[np.isfinite(line).all(1)].T
    return across, up


def _name_points(axes: Axes, points: _Points, cases: Cases, mark: int, *, tails: bool = False) -> None:
    """Label the points of the largest size without overlap: towards the inside, or, for tails, above and below the line."""
    labels, chosen = cases.labels, np.argsort(-points.size, kind="stable")[:mark]
    axes.get_xlim(), axes.get_ylim()  # settles the limits, and thereby the transformation
    pixels = axes.transData.transform(np.column_stack([points.x[chosen], points.y[chosen]]))
    left = points.y[chosen] > 0 if tails else axes.transAxes.inverted().transform(pixels)[:, 0] > 0.6
    rise = np.where(left, 1.0, 1.0 - _LETTERS) if tails else np.full(len(left), -3.0)
    across, heights = pixels.T * 72.0 / axes.figure.dpi
    written: list[tuple[float, float]] = []
    for place in np.argsort(heights):
        free = [height + _LETTERS for at, height in written if abs(at - across[place]) < 8.0 * _LETTERS]
        height = max([heights[place] + rise[place], *free])
        written.append((across[place], height))
        row = points.rows[chosen[place]]
        axes.annotate(
            str(row if labels is None else labels[row]),
            (points.x[chosen[place]], points.y[chosen[place]]),
            (-4.0 if left[place] else 4.0, height - heights[place]),
            textcoords="offset points",
            ha="right" if left[place] else "left",
            fontsize=_LETTERS - 1.0,
        )


def _draw_contours(axes: Axes, rank: int) -> None:
    """Draw where Cook's distance is 0.5 and 1, within the current frame, with the value at the right."""
    (low, high), right = axes.get_ylim(), axes.get_xlim()[1]
    leverage = np.linspace(right / 400.0, min(right, 1.0 - 1e-9), 400)
    look = {"xycoords": ("axes fraction", "data"), "color": COLOURS[0], "fontsize": 8, "va": "center"}
    ends: list[float] = []
    for distance, dashes in ((0.5, (0, (6, 3))), (1.0, (0, (2, 2)))):
        contour = np.sqrt(distance * rank * (1.0 - leverage) / leverage)
        for line in (contour, -contour):
            axes.plot(leverage, line, color=COLOURS[0], linewidth=1.0, linestyle=dashes, scalex=False, scaley=False)
            # at a leverage of one, all contours meet
            if low < line[-1] < high and all(abs(line[-1] - end) > 0.05 * (high - low) for end in ends):
                axes.annotate(f"{distance:g}", (1.01, line[-1]), **look)
                ends.append(float(line[-1]))
