"""The distribution of an estimate over the replicates of a bootstrap."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

import numpy as np
import torch

from betahat.covariance.base import Covariance
from betahat.data.container import to_numpy
from betahat.errors import OptionError, described, listed, shown
from betahat.inference.delta import Delta, Parameters
from betahat.inference.multiple import TIE
from betahat.inference.randomization import RandomizationTest
from betahat.inference.resampled import Method, no_replicates
from betahat.plots.canvas import COLOURS, LINE, axes_of, plain_frame

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_DASHES = ("-", (0, (5, 2)), (0, (1, 1)), (0, (5, 1, 1, 1)))
_MOST_BINS = 80
# So many values are bars of their own.
_FEW_VALUES = 25


@runtime_checkable
class Replicates(Protocol):
    """What a figure of replicates needs from a result."""

    @property
    def names(self) -> tuple[str, ...]: ...  # noqa: D102
    @property
    def cov(self) -> Covariance: ...  # noqa: D102
    def delta(self, function: Callable[[Parameters], Any]) -> Delta:
        """Return the estimate of a function of the parameters."""
        ...

    def interval_table(self, alpha: float, method: Method | None) -> np.ndarray:
        """Return the (k, 2) confidence intervals."""
        ...


def plot_draws(
    result: Replicates,
    which: str | Callable[[Parameters], Any],
    *,
    method: Method | Sequence[Method | None] | None = (None, "percentile"),
    alpha: float = 0.05,
    ax: Axes | None = None,
) -> Axes:
    """Draw a histogram of the bootstrap replicates of a coefficient or of a function of the parameters, with the estimate and intervals.

    Parameters
    ----------
    result : Results
        A result with a bootstrap covariance.
    which : str or callable
        The name of a coefficient, or a function as in `Results.delta` that returns one number.
    method : str, None or sequence of them
        The types of interval, as in ``Results.conf_int``, one bar each; None is the reported one.
    alpha : float
        Intervals have coverage 1 - alpha.
    ax : matplotlib.axes.Axes, optional
        Where to draw; by default on a new figure.

    Returns
    -------
    matplotlib.axes.Axes

    Raises
    ------
    OptionError
        There are no replicates, or no such coefficient or method.
    MissingPackageError
        matplotlib is not installed.

    Notes
    -----
    The curve is the normal density around the estimate with its standard error, the approximation that the bootstrap replaces.

    Examples
    --------
    >>> import betahat as bh
    >>> x = bh.add_constant([1.0, 2.0, 3.0, 4.0, 5.0, 6.0])
    >>> y = [1.0, 2.0, 4.0, 5.0, 7.0, 7.0]
    >>> res = bh.OLS(y, x).fit(bh.Bootstrap(199, "wild", seed=1))
    >>> bh.plot_draws(res, "x1").get_xlabel()
    'x1'
    """
    if not isinstance(result, Replicates):
        raise OptionError(f"plot_draws needs one result, as returned by .fit(), not {described(result)}.")
    if result.cov.draws is None:
        raise OptionError(no_replicates("plot_draws"))
    if isinstance(which, str):
        if which not in result.names:
            raise OptionError(
                f"which is {shown(which)}, which is not a coefficient; the names are {listed(result.names, limit=30)}."
            )
    elif not callable(which):
        raise OptionError(
            f"{shown(which)} is neither the name of a coefficient nor a function of the parameters; pass one of them."
        )
    estimate = result.delta(which if callable(which) else lambda params: params[which])
    assert estimate.replicated is not None
    if estimate.estimates.numel() != 1:
        raise OptionError(f"The function returns {estimate.estimates.numel()} numbers; plot_draws takes one.")
    methods = [method] if method is None or isinstance(method, str) else list(method)
    bounds = [_ends(result, estimate, which, one, alpha) for one in methods]
    axes = axes_of(ax, 5.6, 3.6)
    draws = to_numpy(estimate.replicated.draws[:, 0])
    top = _draw_histogram(axes, draws, float(estimate.estimates), float(estimate.matrix.sqrt()))
    for number, (name, ends) in enumerate(zip(methods, bounds, strict=True)):
        _draw_bar(axes, ends, top * (1.08 + 0.09 * number), name or "reported", number)
    axes.set_ylim(0.0, top * (1.08 + 0.09 * len(methods)))
    axes.set_yticks([])
    axes.set_xlabel(which if isinstance(which, str) else "Function of the parameters", parse_math=False)
    plain_frame(axes, "left")
    return axes


def plot_ritest(test: RandomizationTest, *, ax: Axes | None = None) -> Axes:
    """Draw the distribution of a statistic over assignments of a treatment, those as extreme as the actual one in colour, and the actual one as a line.

    Parameters
    ----------
    test : RandomizationTest
        What `ritest` returned.
    ax : matplotlib.axes.Axes, optional
        Where to draw; by default on a new figure.

    Returns
    -------
    matplotlib.axes.Axes

    Raises
    ------
    OptionError
        Not a test that `ritest` returned.
    MissingPackageError
        matplotlib is not installed.

    Examples
    --------
    >>> import betahat as bh
    >>> tea = {"guess": [1, 1, 1, 0, 1, 0, 0, 0], "truth": [1, 1, 1, 1, 0, 0, 0, 0]}
    >>> bh.plot_ritest(bh.ritest(bh.ols("guess ~ truth", tea).fit(), "truth")).get_xlabel()
    't of truth under other assignments (p = 0.4857)'
    """
    if not isinstance(test, RandomizationTest):
        raise OptionError(f"plot_ritest needs what ritest returned, not {described(test)}.")
    axes = axes_of(ax, 5.6, 3.2)
    draws, bar = test.draws[~np.isnan(test.draws)], abs(test.statistic)
    sides = {"two-sided": (draws >= bar - TIE * bar) | (draws <= TIE * bar - bar)}
    sides |= {"greater": draws >= test.statistic - TIE * bar, "less": draws <= test.statistic + TIE * bar}
    extreme = sides[test.alternative]
    top = _draw_few(axes, draws, extreme) if _few(draws) is not None else _draw_many(axes, draws, extreme, bar)
    lines = [test.statistic, -test.statistic] if test.alternative == "two-sided" else [test.statistic]
    for number, line in enumerate(lines):
        axes.vlines(line, 0.0, top, color="black", linewidth=1.4, linestyle=_DASHES[number])
    axes.set_ylabel("Assignments")
    name = f"t of {test.coefficient}" if test.kind == "t" else test.coefficient
    axes.set_xlabel(f"{name} under other assignments (p = {test.pvalue:.4f})", parse_math=False)
    plain_frame(axes)
    return axes


def _few(draws: np.ndarray) -> np.ndarray | None:
    """Return the distinct values of draws, up to rounding; None where there are many."""
    unit = max(float(np.abs(draws).max()), 1e-300)
    values = np.unique(np.round(draws / unit, 9)) * unit
    return values if len(values) <= _FEW_VALUES else None


def _draw_few(axes: Axes, draws: np.ndarray, extreme: np.ndarray) -> float:
    """Draw a bar for each value; return the largest height."""
    values = _few(draws)
    assert values is not None
    width = 0.6 * float(np.diff(values).min()) if len(values) > 1 else 0.6
    nearest = np.abs(draws[:, None] - values).argmin(1)
    for some, colour in ((slice(None), "0.85"), (extreme, COLOURS[0])):
        counts = np.bincount(nearest[some], minlength=len(values))
        axes.bar(values, counts, width, color=colour, edgecolor="0.6", linewidth=0.5)
    return float(np.bincount(nearest).max())


def _draw_many(axes: Axes, draws: np.ndarray, extreme: np.ndarray, bar: float) -> float:
    """Draw a histogram whose bins end at the statistic, so that none is part extreme and part not; return the largest height."""
    reach = float(np.abs(draws).max())
    spread = float(np.subtract(*np.percentile(draws, [75.0, 25.0])))
    width = max(2.0 * spread / len(draws) ** (1.0 / 3.0), 2.0 * reach / _MOST_BINS)
    inside = max(round(2.0 * bar / width), 1)
    width = 2.0 * bar / inside if bar > 0.0 else width
    steps = np.arange(1, int(max(reach - bar, 0.0) / width) + 2)
    inner = np.linspace(-bar, bar, inside + 1) * (1.0 - 2.0 * TIE) if bar > 0.0 else np.zeros(1)
    edges = np.concatenate([-bar - width * steps[::-1], inner, bar + width * steps])
    heights = axes.hist(draws, edges, color="0.85", edgecolor="0.6", linewidth=0.5)[0]
    axes.hist(draws[extreme], edges, color=COLOURS[0], edgecolor="0.6", linewidth=0.5)
    return float(heights.max())


def _ends(result: Replicates, estimate: Delta, which: Any, method: Method | None, alpha: float) -> np.ndarray:
    """Return the (2,) ends of an interval of `conf_int`, for the coefficient or for the function."""
    if isinstance(which, str):
        ends: np.ndarray = result.interval_table(alpha, method)[result.names.index(which)]
        return ends
    return to_numpy(torch.as_tensor(estimate.conf_int(alpha, method)))


def _draw_bar(axes: Axes, ends: np.ndarray, height: float, name: str, number: int) -> None:
    """Draw an interval with its name at the right; an unbounded one extends to the frame, and its name says so."""
    endless = np.isinf(ends)
    drawn = np.where(endless, axes.get_xlim(), ends)
    look = {"color": COLOURS[number % len(COLOURS)], "linestyle": _DASHES[number % len(_DASHES)], "linewidth": 2.0}
    axes.plot(drawn, [height, height], marker="|", markersize=8, label=name, **look)
    text = f"{name}, endless" if endless.any() else name
    axes.annotate(
        text, (1.01, height), xycoords=("axes fraction", "data"), va="center", color=look["color"], fontsize="small"
    )


def _draw_histogram(axes: Axes, draws: np.ndarray, estimate: float, error: float) -> float:
    """Draw the density of the replicates, the normal density and the estimate; return the largest height."""
    edges = np.histogram_bin_edges(draws, "fd")
    edges = edges if len(edges) <= _MOST_BINS else np.linspace(draws.min(), draws.max(), _MOST_BINS + 1)
    heights = axes.hist(draws, edges, density=True, color="0.85", edgecolor="0.6", linewidth=0.5)[0]
    grid = np.linspace(estimate - 4.0 * error, estimate + 4.0 * error, 201)
    density = np.exp(-0.5 * ((grid - estimate) / error) ** 2) / (error * np.sqrt(2.0 * np.pi))
    axes.plot(grid, density, **LINE)
    top = max(float(heights.max()), float(density.max()))
    axes.vlines(estimate, 0.0, top, color="black", linewidth=1.4)
    return top
