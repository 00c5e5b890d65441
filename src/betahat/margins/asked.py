"""What `predictions`, `comparisons`, `slopes` and their averages ask for, as quantities of a grid."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from betahat.errors import EstimationError, OptionError, is_one_of, listed, shown
from betahat.lazy import lazily
from betahat.margins.comparing import Comparing, comparing_of
from betahat.margins.estimates import MarginResults, estimated
from betahat.margins.grid import Grid, grid_of
from betahat.margins.quantities import Comparison, Groups, Prediction, Quantity, Slope
from betahat.margins.subject import Kind, Subject

if TYPE_CHECKING:
    import pandas as pd
else:
    pd = lazily("pandas")

SLOPES = {"dydx": "dY/dX", "eyex": "eY/eX", "eydx": "eY/dX", "dyex": "dY/eX"}


def predictions(subject: Subject, variables: Any, by: Any, newdata: Any, wts: Any) -> MarginResults:
    """Return the means at rows, or their averages."""
    grid = grid_of(subject, newdata, wts)
    columns = {"exog": grid.exog} | _offset(grid)
    return estimated(subject, grid, [Prediction("", "", columns)], _groups(grid, by), by)


def comparisons(subject: Subject, variables: Any, by: Any, newdata: Any, comparison: Any, wts: Any) -> MarginResults:
    """Return how the mean changes with variables, in rows or on average."""
    grid, comparing = grid_of(subject, newdata, wts), comparing_of(comparison)
    found = [each for name, value in _variables(subject, variables) for each in _compared(grid, name, value, comparing)]
    return estimated(subject, grid, found, _groups(grid, by), by)


def slopes(subject: Subject, variables: Any, by: Any, newdata: Any, slope: Any, wts: Any) -> MarginResults:
    """Return derivatives of the mean with respect to numbers, and differences for other variables."""
    if not is_one_of(slope, SLOPES):
        raise OptionError(f"slope is {shown(slope)}; use one of {listed(SLOPES)}.")
    grid, difference = grid_of(subject, newdata, wts), comparing_of("difference")
    found: list[Quantity] = []
    for name, value in _variables(subject, variables):
        if subject.kind(name) is not Kind.NUMBER:
            found += _compared(grid, name, value, difference)
            continue
        values = torch.tensor(grid.frame[name].to_numpy(float)).to(grid.exog)
        columns = {"exog": grid.exog, "direction": grid.direction(name), "values": values} | _offset(grid)
        found.append(Slope(name, SLOPES[slope], columns, slope))
    return estimated(subject, grid, found, _groups(grid, by), by)


def _variables(subject: Subject, variables: Any) -> list[tuple[str, Any]]:
    """Return the variables asked for, and how far each is moved where that is said."""
    if variables is None:
        found = [(name, None) for name in subject.variables]
        if not found:
            raise EstimationError("No regressor varies, so that there is nothing to compare; use avg_predictions.")
        return found
    if isinstance(variables, str):
        variables = [variables]
    if not isinstance(variables, Mapping | Sequence):
        raise OptionError(
            f"variables is {shown(variables)}; pass a name, a list of names, or a dict such as {{'x': 1}}."
        )
    pairs = list(variables.items()) if isinstance(variables, Mapping) else [(name, None) for name in variables]
    if not pairs or not all(isinstance(name, str) for name, _ in pairs):
        raise OptionError(f"variables is {shown(variables)}; pass names of variables of the model.")
    subject.check_variables([name for name, _ in pairs])
    return pairs


def _compared(grid: Grid, name: str, value: Any, comparing: Comparing) -> list[Comparison]:
    """Return the comparisons of one variable."""
    return [
        Comparison(
            name,
            comparing.label.format(high=high_label, low=low_label) if said is None else said,
            {"high": grid.at({name: high}), "low": grid.at({name: low})} | _offset(grid),
            comparing,
        )
        for high, low, high_label, low_label, said in _moves(grid, name, value)
    ]


def _moves(grid: Grid, name: str, value: Any) -> list[tuple[Any, Any, str, str, str | None]]:
    """Return what each comparison compares with what: both values, their labels, and that of the contrast if it is another."""
    subject = grid.subject
    kind = subject.kind(name)
    if kind is Kind.TRUTH:
        return [(True, False, "True", "False", None)]
    if kind is Kind.BINARY:
        return [(1, 0, "1", "0", None)]
    if kind is Kind.CATEGORY:
        first, *others = subject.levels(name)
        return [(level, first, str(level), str(first), None) for level in others]
    step = 1 if value is None else value
    values = grid.frame[name].to_numpy(float)
    return [(values + step / 2.0, values - step / 2.0, "", "", f"+{step:g}")]


def _offset(grid: Grid) -> dict[str, Tensor]:
    return {} if grid.offset is None else {"offset": grid.offset}


def _groups(grid: Grid, by: Any) -> tuple[Groups, pd.DataFrame] | None:
    """Return which rows are averaged together and (G, ...) the values of each group; None where none are."""
    if by is False:
        return None
    device, rows = grid.exog.device, len(grid.exog)
    if by is True:
        return Groups(torch.zeros(rows, dtype=torch.int64, device=device), 1, grid.weights), pd.DataFrame(index=[0])
    names = [by] if isinstance(by, str) else by
    if not isinstance(names, Sequence) or not names or not all(isinstance(name, str) for name in names):
        raise OptionError(f"by is {shown(by)}; pass the name of a column, or a list of names.")
    unknown = [name for name in names if name not in grid.frame.columns]
    if unknown:
        raise OptionError(
            f"by is {shown(unknown[0])}, which is not a column of the data; the columns are {listed(grid.frame.columns, limit=12)}."
        )
    grouped = grid.frame.groupby(list(names), observed=True, sort=True, dropna=False)
    codes = torch.tensor(grouped.ngroup().to_numpy()).to(device)
    values = grouped.size().index.to_frame(index=False)
    return Groups(codes, len(values), grid.weights), values
