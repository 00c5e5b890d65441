"""`estimated`: quantities of a grid become `MarginResults`."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import TYPE_CHECKING

from betahat.errors import CollinearityWarning, listed, user_level
from betahat.lazy import lazily
from betahat.margins.absorbed import check_effects
from betahat.margins.estimates import MarginResults
from betahat.margins.functions import OfRows
from betahat.margins.grid import Grid
from betahat.margins.labels import labels_of
from betahat.margins.quantities import Groups, Quantity
from betahat.margins.subject import Subject

if TYPE_CHECKING:
    import pandas as pd
else:
    pd = lazily("pandas")


def estimated(
    subject: Subject,
    grid: Grid,
    quantities: Sequence[Quantity],
    groups: tuple[Groups, pd.DataFrame] | None,
    title: str,
) -> MarginResults:
    """Evaluate quantities at the estimates; `title` is what they are called: predictions, comparisons or slopes."""
    response, results = subject.response, subject.results
    chosen = None if groups is None else groups[0]
    check_effects(subject, quantities, chosen)
    function = OfRows(tuple(quantities), chosen, response.mean, response.engine, response.of_index)
    estimates, jacobian = function.with_jacobian(results.fit.params)
    places, rows = (None, len(grid)) if groups is None else (groups[1], len(groups[1]))
    outcomes = [name.removeprefix(f"{response.endog_name}=") for name in response.outcomes]
    terms = [(quantity.term, quantity.contrast) for quantity in quantities]
    made = MarginResults(
        results,
        labels_of(
            outcomes if len(outcomes) > 1 else (), terms, places, rows, grid.values_said if groups is None else None
        ),
        estimates,
        jacobian,
        function,
        f"Average {title}" if groups is not None else title.capitalize(),
        _rows(subject, grid) if groups is None else None,
    )
    warn_unidentified(made)
    return made


def warn_unidentified(margins: MarginResults) -> None:
    """Warn of numbers that collinear columns leave unidentified."""
    lost = margins.unidentified
    if lost:
        warnings.warn(
            f"The data do not identify {listed(lost)}: columns are collinear, so that they depend on how the coefficients were chosen, and have no "
            "standard errors.",
            CollinearityWarning,
            stacklevel=user_level(),
        )


def _rows(subject: Subject, grid: Grid) -> pd.DataFrame:
    """Return the variables of each row, under the labels of the rows where they are those of the fit."""
    labels = subject.results.fit.sample.container.row_labels if grid.of_fit else None
    return grid.frame if labels is None else grid.frame.set_axis(labels, axis=0)
