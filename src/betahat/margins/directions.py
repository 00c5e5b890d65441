"""Derivatives of regressors in a variable that stands inside of functions, by differences whose error is checked row by row."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

# Shifts in steps, and their shares, of the difference of fourth order at the end of five points.
_FORWARD = ((1.0, 4.0), (2.0, -3.0), (3.0, 4 / 3), (4.0, -1 / 4))
# The step as a share of the variable's size: an error of step^4 beside one of 1e-16 / step.
_STEP = 2.0**-10
# Two differences, one of half the step of the other, agree to so much of the derivative's size, or shorter steps are tried.
_AGREES = 1e-11
_ATTEMPTS, _FEWEST = 12, 2
_SMALLEST = 1e-290

# (values, which rows) -> the (m, c) columns.
Columns = Callable[[np.ndarray, np.ndarray], np.ndarray]


def derivative(columns: Columns, values: np.ndarray, low: float, high: float, spread: float) -> np.ndarray:
    """Return (m, c) the derivatives of columns in (m,) a variable, with no step that leaves [low, high], the range of the data, unless it is left already.

    A difference and that of half its step agree where the columns are smooth. Where they do not (near a knot, a bound or a jump), differences
    to either side and shorter steps are tried, and those that agree best are taken: at a knot the derivative on one side.
    """
    size = np.minimum(np.maximum(np.abs(values), _STEP * spread), max(high - low, _STEP * spread))
    step = 2.0 ** np.floor(np.log2(_STEP * np.maximum(size, _SMALLEST)))  # a power of two, so that x + step is exact
    every = np.arange(len(values))
    sides = np.where(values - 2.0 * step < low, 1.0, np.where(values + 2.0 * step > high, -1.0, 0.0))
    slopes: np.ndarray | None = None
    gaps = np.full(len(values), np.inf)

    def attempt(rows: np.ndarray, step: np.ndarray, side: float) -> None:
        nonlocal slopes
        if not len(rows):
            return
        found, apart = _both(columns, values[rows], rows, step, side)
        slopes = np.zeros((len(values), found.shape[1])) if slopes is None else slopes
        better = ~(apart >= gaps[rows])
        slopes[rows[better]], gaps[rows[better]] = found[better], apart[better]

    for side in (0.0, 1.0, -1.0):
        attempt(every[sides == side], step[sides == side], side)
    unsure = every[~(gaps <= _AGREES)]
    for attempted in range(_ATTEMPTS):
        before, shorter = gaps[unsure], step[unsure] * 4.0**-attempted
        for side in (0.0, 1.0, -1.0):
            inside = _stays(values[unsure], shorter, side, low, high)
            attempt(unsure[inside], shorter[inside], side)
        goes_on = (attempted < _FEWEST) | (gaps[unsure] < 0.5 * before)  # otherwise rounding is what is left
        unsure = unsure[~(gaps[unsure] <= _AGREES) & goes_on]
    assert slopes is not None
    return slopes


def _stays(values: np.ndarray, step: np.ndarray, side: float, low: float, high: float) -> np.ndarray:
    """Tell of which rows a difference stays within the data's range, or goes towards it."""
    if side == 0.0:
        return (values - 2.0 * step >= low) & (values + 2.0 * step <= high)
    return (
        (values + 4.0 * step <= high) | (values < low) if side > 0 else (values - 4.0 * step >= low) | (values > high)
    )


def _both(
    columns: Columns, values: np.ndarray, rows: np.ndarray, step: np.ndarray, side: float
) -> tuple[np.ndarray, np.ndarray]:
    """Return (m, c) differences of half a step, and (m,) how far those of a whole one are from them, as a share of the derivative's size."""
    whole, half = (_difference(columns, values, rows, part, side) for part in (step, 0.5 * step))
    distance, size = np.abs(whole - half).max(1, initial=0.0), np.abs(half).max(1, initial=0.0)
    with np.errstate(invalid="ignore", divide="ignore"):
        return half, np.where(distance == 0.0, 0.0, distance / size)


def _difference(columns: Columns, values: np.ndarray, rows: np.ndarray, step: np.ndarray, side: float) -> np.ndarray:
    """Return (m, c) differences in the middle (side 0) or to one side (1, -1)."""

    def at(shift: float) -> np.ndarray:
        return columns(values + shift * step, rows)

    found: np.ndarray
    if side:
        start = at(0.0)
        found = sum(share * (at(side * shift) - start) for shift, share in _FORWARD) * (side / step)[:, None]
    else:
        found = (8.0 * (at(1.0) - at(-1.0)) - (at(2.0) - at(-2.0))) / (12.0 * step)[:, None]
    return found
