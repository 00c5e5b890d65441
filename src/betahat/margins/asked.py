"""What `predictions`, `comparisons`, `slopes` and their averages ask for, as quantities of a grid."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from itertools import product
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from betahat.errors import (
    BetahatWarning,
    DataError,
    OptionError,
    check_flag,
    is_one_of,
    listed,
    shown,
    user_level,
)
from betahat.lazy import lazily
from betahat.margins.comparing import SLOPES, Comparing, Scale, comparing_of
from betahat.margins.data_grid import crossed, sorted_values
from betahat.margins.estimates import MarginResults
from betahat.margins.evaluating import estimated
from betahat.margins.grid import Grid, grid_of
from betahat.margins.hypotheses import tested
from betahat.margins.moves import Move, asked_variables, moves
from betahat.margins.quantities import Comparison, Groups, Prediction, Quantity, Slope
from betahat.margins.streams import estimated_in_parts
from betahat.margins.subject import Kind, Subject

if TYPE_CHECKING:
    import pandas as pd
else:
    pd = lazily("pandas")

_SPREADS = ("sd", "2sd", "iqr", "minmax", "threenum", "fivenum")
# Values beyond which a number's own are surely not what is meant.
_MOST_VALUES = 50


def predictions(subject: Subject, variables: Any, by: Any, newdata: Any, wts: Any, hypothesis: Any) -> MarginResults:
    """Return the means at rows, or their averages."""
    grid, values = grid_of(subject, newdata, wts, by), None
    if variables is not None:
        values = _counterfactual(subject, variables)
        grid = _repeated(grid, values)
        by = list(values) if by is None else by
    by = True if by is None else by
    return tested(_taken(grid, [Prediction("", "", grid)], by, wts, "predictions", _scale(subject), values), hypothesis)


def comparisons(
    subject: Subject,
    variables: Any,
    by: Any,
    newdata: Any,
    comparison: Any,
    wts: Any,
    hypothesis: Any,
    cross: bool,
) -> MarginResults:
    """Return how the mean changes with variables, in rows or on average."""
    if is_one_of(comparison, SLOPES):
        return slopes(subject, variables, by, newdata, comparison, wts, hypothesis)
    comparing = comparing_of(comparison)
    by = True if by is None or (by is False and comparing.is_average) else by
    pairs = asked_variables(subject, variables)
    check_flag("cross", cross)
    if cross and variables is None:
        raise OptionError("cross=True needs variables, the names of those that change together.")
    grid = grid_of(subject, newdata, wts, by)
    each = [moves(subject, name, value) for name, value in pairs]
    if cross:
        found = [_compared(grid, "cross", together, comparing) for together in product(*each)]
    else:
        found = [_compared(grid, move.name, [move], comparing) for several in each for move in several]
    scale = _scale(subject) if is_one_of(comparison, ("difference", "differenceavg")) else comparing.scale
    return tested(_taken(grid, found, by, wts, "comparisons", scale), hypothesis)


def slopes(
    subject: Subject, variables: Any, by: Any, newdata: Any, slope: Any, wts: Any, hypothesis: Any
) -> MarginResults:
    """Return derivatives of the mean with respect to numbers, and differences for other variables."""
    if not is_one_of(slope, SLOPES):
        raise OptionError(f"slope is {shown(slope)}; use one of {listed(SLOPES)}.")
    by = True if by is None else by
    pairs = asked_variables(subject, variables)
    grid, difference = grid_of(subject, newdata, wts, by), comparing_of("difference")
    found: list[Quantity] = []
    for name, value in pairs:
        if subject.kind(name) is Kind.NUMBER and value is None:
            _warn_of_jumps(subject, name)
            found.append(Slope(name, SLOPES[slope], grid, slope))
        else:
            found += [_compared(grid, name, [move], difference) for move in moves(subject, name, value)]
    scale = _scale(subject) if slope == "dydx" else ""
    return tested(_taken(grid, found, by, wts, "slopes", scale), hypothesis)


def _scale(subject: Subject) -> Scale:
    """Return what means and their differences are."""
    return "log" if subject.logarithmic else ""


def _warn_of_jumps(subject: Subject, name: str) -> None:
    """Warn that a slope says nothing of what changes at once."""
    jumps = subject.jumps(name)
    if jumps:
        warnings.warn(
            f"The slope in {shown(name)} leaves out the jumps of {listed(jumps)}; avg_comparisons, from one value to another, takes them in.",
            BetahatWarning,
            stacklevel=user_level(),
        )


def _taken(
    grid: Grid,
    quantities: Sequence[Quantity],
    by: Any,
    wts: Any,
    title: str,
    scale: Scale,
    values: Mapping[str, Sequence[Any]] | None = None,
) -> MarginResults:
    """Evaluate quantities in the rows of a grid, or by passes over rows that are read in parts, each of them at counterfactual `values` of variables."""
    if grid.stream is None:
        return replace(estimated(grid.subject, grid, quantities, _groups(grid, by), title), scale=scale)
    shape = partial(_repeated, values=values or {})
    found = estimated_in_parts(grid, grid.stream, quantities, shape, partial(_groups, by=by), by, wts, title)
    return replace(found, scale=scale)


def _compared(grid: Grid, term: str, together: Sequence[Move], comparing: Comparing) -> Comparison:
    """Return the comparison of the mean where variables, one or several together, are high with that where they are low."""
    contrast = ", ".join(move.label(comparing.label) for move in together)
    high, low = {move.name: move.high for move in together}, {move.name: move.low for move in together}
    return Comparison(term, contrast, grid, high, low, comparing)


def _counterfactual(subject: Subject, variables: Any) -> dict[str, list[Any]]:
    """Return the values of variables at which predictions are made of every row."""
    return {name: _values(subject, name, value) for name, value in asked_variables(subject, variables)}


def _values(subject: Subject, name: str, value: Any) -> list[Any]:
    """Return the values of a variable asked for: each level, those given, or some of its distribution."""
    if value is None:
        found = sorted_values(subject.frame[name])
        if subject.kind(name) is Kind.NUMBER:
            subject.check_held(name)
        if len(found) > _MOST_VALUES and subject.kind(name) is Kind.NUMBER:
            raise OptionError(
                f"The number {name!r} has {len(found)} values; choose some, such as variables={{{name!r}: [1, 2]}} or {{{name!r}: 'fivenum'}}."
            )
        return found
    if isinstance(value, str) and subject.kind(name) is Kind.NUMBER:
        if value not in _SPREADS:
            raise OptionError(f"variables asks {name!r} for {shown(value)}; pass values, or one of {listed(_SPREADS)}.")
        known = subject.column(name).to_numpy(float)
        mean, deviation = known.mean(), known.std(ddof=1)
        return {
            "sd": lambda: [mean - deviation / 2.0, mean + deviation / 2.0],
            "2sd": lambda: [mean - deviation, mean + deviation],
            "iqr": lambda: list(np.percentile(known, [25, 75])),
            "minmax": lambda: [known.min(), known.max()],
            "threenum": lambda: [mean - deviation / 2.0, mean, mean + deviation / 2.0],
            "fivenum": lambda: list(np.percentile(known, [0, 25, 50, 75, 100], method="midpoint")),
        }[value]()
    return [value] if isinstance(value, str) or np.ndim(value) == 0 else list(value)


def _repeated(grid: Grid, values: Mapping[str, Sequence[Any]]) -> Grid:
    """Return a grid with all rows once for each combination of values."""
    if not values:
        return grid
    frame, times = crossed(grid.frame, values), int(np.prod([len(each) for each in values.values()]))
    offset, weights = (None if column is None else column.repeat(times) for column in (grid.offset, grid.weights))
    return replace(grid, frame=frame, offset=offset, weights=weights, of_fit=False)


def _groups(grid: Grid, by: Any) -> tuple[Groups, pd.DataFrame] | None:
    """Return which rows are averaged together and (G, ...) the values of each group; None where none are."""
    if by is False:
        return None
    device, rows = grid.exog.device, len(grid)
    _refuse_missing(grid)
    names = [] if by is True else [by] if isinstance(by, str) else by
    if (
        not isinstance(names, Sequence)
        or not all(isinstance(name, str) for name in names)
        or (not names and by is not True)
    ):
        raise OptionError(f"by is {shown(by)}; pass the name of a column, or a list of names, True or False.")
    names = [name for name in names if name != "group" or "group" in grid.frame.columns]  # outcomes are always apart
    if not names:
        return Groups(torch.zeros(rows, dtype=torch.int64, device=device), 1, grid.weights), pd.DataFrame(index=[0])
    unknown = [name for name in names if name not in grid.frame.columns]
    if unknown:
        raise OptionError(
            f"by is {shown(unknown[0])}, which is not a column of the data; the columns are {listed(grid.frame.columns, limit=12)}."
        )
    grouped = grid.frame.groupby(list(names), observed=True, sort=True, dropna=False)
    codes = torch.tensor(grouped.ngroup().to_numpy()).to(device)
    values = grouped.size().index.to_frame(index=False)
    return Groups(codes, len(values), grid.weights), values


def _refuse_missing(grid: Grid) -> None:
    """Refuse averages over rows with missing values."""
    if grid.of_fit:
        return
    columns = [name for name in grid.subject.variables if name in grid.frame.columns]
    missing = [name for name in columns if grid.frame[name].isna().any()]
    if missing:
        raise DataError(
            f"newdata has missing values of {listed(missing)}, so that its rows have no average; leave those rows out, or fill them in."
        )
