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
from betahat.inference.resampled import Method, no_replicates
from betahat.plots.canvas import COLOURS, LINE, axes_of, plain_frame

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_DASHES = ("-", (0, (5, 2)), (0, (1, 1)), (0, (5, 1, 1, 1)))
_MOST_BINS = 80


@runtime_checkable
class Replicates(Protocol):
    """What a picture of replicates needs of a result."""

    @property
    def names(self) -> tuple[str, ...]: ...  # noqa: D102
    @property
    def cov(self) -> Covariance: ...  # noqa: D102
    def delta(self, function: Callable[[Parameters], Any]) -> Delta:
        """Return a function of the parameters."""
        ...

    def interval_table(self, alpha: float, method: Method | None) -> np.ndarray:
        """Return (k, 2) intervals."""
        ...


def plot_draws(
    result: Replicates,
    which: str | Callable[[Parameters], Any],
    *,
    method: Method | Sequence[Method | None] | None = (None, "percentile"),
    alpha: float = 0.05,
    ax: Axes | None = None,
) -> Axes:
    """Draw the replicates of a coefficient, or of a function of the parameters, as a histogram, with the estimate and intervals.

    Parameters
    ----------
    result : Results
        Under a bootstrap.
    which : str or callable
        A coefficient's name, or a function as `Results.delta` takes it, which returns a number.
    method : str, None or sequence of them
        The intervals, as in ``Results.conf_int``, a bar each; None is the reported one.
    alpha : float
        Each covers with probability 1 - alpha.
    ax : matplotlib.axes.Axes, optional
        Where to draw; None makes a figure.

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
    The curve is the normal distribution about the estimate with its standard error, in whose place a bootstrap puts the replicates.

    Examples
    --------
    >>> import betahat as bh
    >>> res = bh.OLS([1.0, 2.0, 4.0, 5.0, 7.0, 7.0], bh.add_constant([1.0, 2.0, 3.0, 4.0, 5.0, 6.0])).fit(bh.Bootstrap(199, "wild", seed=1))
    >>> bh.plot_draws(res, "x1").get_xlabel()
    'x1'
    """
    if not isinstance(result, Replicates):
        raise OptionError(f"plot_draws needs one result, as .fit() returns it, and {described(result)} came.")
    if result.cov.draws is None:
        raise OptionError(no_replicates("plot_draws"))
    if isinstance(which, str):
        if which not in result.names:
            raise OptionError(
                f"which is {shown(which)}, and no coefficient; the names are {listed(result.names, limit=30)}."
            )
    elif not callable(which):
        raise OptionError(
            f"{shown(which)} is neither a coefficient's name nor a function of the parameters; pass one of them."
        )
    found = result.delta(which if callable(which) else lambda params: params[which])
    assert found.replicated is not None
    if found.estimates.numel() != 1:
        raise OptionError(f"The function returns {found.estimates.numel()} numbers; plot_draws takes one.")
    methods = [method] if method is None or isinstance(method, str) else list(method)
    bounds = [_ends(result, found, which, one, alpha) for one in methods]
    axes = axes_of(ax, 5.6, 3.6)
    draws = to_numpy(found.replicated.draws[:, 0])
    top = _draw_histogram(axes, draws, float(found.estimates), float(found.matrix.sqrt()))
    for number, (name, ends) in enumerate(zip(methods, bounds, strict=True)):
        _draw_bar(axes, ends, top * (1.08 + 0.09 * number), name or "reported", number)
    axes.set_ylim(0.0, top * (1.08 + 0.09 * len(methods)))
    axes.set_yticks([])
    axes.set_xlabel(which if isinstance(which, str) else "Function of the parameters", parse_math=False)
    plain_frame(axes, "left")
    return axes


def _ends(result: Replicates, found: Delta, which: Any, method: Method | None, alpha: float) -> np.ndarray:
    """(2,) the ends of an interval: those of `conf_int`, of the coefficient or of the function."""
    if isinstance(which, str):
        ends: np.ndarray = result.interval_table(alpha, method)[result.names.index(which)]
        return ends
    return to_numpy(torch.as_tensor(found.conf_int(alpha, method)))


def _draw_bar(axes: Axes, ends: np.ndarray, height: float, name: str, number: int) -> None:
    """Draw an interval and its name at the right side; one without an end goes to the frame, and its name says so."""
    endless = np.isinf(ends)
    drawn = np.where(endless, axes.get_xlim(), ends)
    look = {"color": COLOURS[number % len(COLOURS)], "linestyle": _DASHES[number % len(_DASHES)], "linewidth": 2.0}
    axes.plot(drawn, [height, height], marker="|", markersize=8, label=name, **look)
    text = f"{name}, endless" if endless.any() else name
    axes.annotate(
        text, (1.01, height), xycoords=("axes fraction", "data"), va="center", color=look["color"], fontsize="small"
    )


def _draw_histogram(axes: Axes, draws: np.ndarray, estimate: float, error: float) -> float:
    """Draw the density of replicates, the normal one and the estimate; return the height of the highest."""
    edges = np.histogram_bin_edges(draws, "fd")
    edges = edges if len(edges) <= _MOST_BINS else np.linspace(draws.min(), draws.max(), _MOST_BINS + 1)
    heights = axes.hist(draws, edges, density=True, color="0.85", edgecolor="0.6", linewidth=0.5)[0]
    grid = np.linspace(estimate - 4.0 * error, estimate + 4.0 * error, 201)
    density = np.exp(-0.5 * ((grid - estimate) / error) ** 2) / (error * np.sqrt(2.0 * np.pi))
    axes.plot(grid, density, **LINE)
    top = max(float(heights.max()), float(density.max()))
    axes.vlines(estimate, 0.0, top, color="black", linewidth=1.4)
    return top
