"""`Experiment`: which treatment each unit was assigned, read from the data of a model."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

import numpy as np
import torch
from torch import Tensor

from betahat.covariance.base import Covariance
from betahat.data.container import to_numpy
from betahat.data.design import Design
from betahat.data.frame import columns_of, to_pandas
from betahat.data.groups import Groups, read_groups
from betahat.data.labels import numbered
from betahat.errors import DataError, EstimationError, OptionError, listed, shown
from betahat.fits.fit import Fit
from betahat.lazy import lazily
from betahat.resampling.assignments import Assignments

if TYPE_CHECKING:
    import pandas as pd
else:
    pd = lazily("pandas")


@runtime_checkable
class Fitted(Protocol):
    """What randomization inference needs from a result."""

    @property
    def model(self) -> Any: ...  # noqa: D102
    @property
    def fit(self) -> Fit: ...  # noqa: D102
    @property
    def cov(self) -> Covariance: ...  # noqa: D102
    @property
    def names(self) -> tuple[str, ...]: ...  # noqa: D102
    def coefficient_table(self) -> np.ndarray:
        """Return (k, 4): coefficient, standard error, statistic and p-value."""
        ...


@dataclass(frozen=True, eq=False)
class Experiment:
    """Who was assigned what.

    Attributes
    ----------
    variable : str
        What was assigned.
    assignments : Assignments
        The treatments of units, within strata.
    units : Tensor
        (n,) the unit of each row in use.
    levels : pandas.Index
        The values of the treatments.
    frame : pandas.DataFrame or None
        The data of a formula, all their rows; None of columns.
    in_use : ndarray
        (n,) the positions of the rows in use among them.
    """

    variable: str
    assignments: Assignments
    units: Tensor
    levels: pd.Index
    frame: pd.DataFrame | None
    in_use: np.ndarray

    @property
    def rows(self) -> int:
        """N, the rows in use."""
        return len(self.units)


def read_experiment(results: Fitted, variable: str, strata: Any, clusters: Any) -> Experiment:
    """Read what was assigned to whom."""
    design: Design = results.model.design
    if design.source.stream is not None:
        raise EstimationError(
            "Randomization inference needs all rows in memory, and these are read in turn; fit a dataframe, or a sample of the rows."
        )
    if design.counts is not None:
        raise EstimationError(
            "Randomization inference exchanges units, and with freq_weights or compress a row stands for several; pass the rows themselves."
        )
    if results.fit.instruments is not None:
        raise EstimationError(
            "Randomization inference permutes regressors, and with instruments it is those that are random; test the reduced form, a regression on the instruments."
        )
    frame, values = _values(results, design, variable)
    used = design.user_data.in_use
    in_use = np.arange(design.rows) if used is None or frame is None else to_numpy(used)
    codes, levels = pd.factorize(values if frame is None else values.iloc[in_use], sort=False)
    if (codes < 0).any():
        raise DataError(f"{variable!r} is missing in rows in use; fill it in, or leave those rows out of the data.")
    rows = torch.from_numpy(codes.astype(np.int64)).to(design.device)
    if len(levels) < 2:
        raise DataError(
            f"{variable!r} is the same in all rows in use, so there is no other assignment; pass what was assigned."
        )
    units, treatments = torch.arange(design.rows, device=design.device), rows
    if clusters is not None:
        way = _one_way(design, clusters, "clusters")
        units, treatments = way.codes, _of_units(rows, way, f"{variable!r}", "and is assigned to whole clusters")
    within = torch.zeros_like(treatments)
    if strata is not None:
        layers = _one_way(design, strata, "strata").codes
        within = (
            layers if clusters is None else _of_units(layers, way, "strata", "and clusters are assigned within strata")
        )
    found = Assignments(treatments, within)
    if not found.varying:
        raise DataError(
            f"{variable!r} is the same for all units of each stratum, so there is no other assignment; pass coarser strata, or the clusters that were assigned."
        )
    return Experiment(variable, found, units, pd.Index(levels), frame, in_use)


def is_in(variable: str, words: str) -> bool:
    """Tell whether a name stands in the words of a term or a column."""
    return re.search(rf"(?<!\w){re.escape(variable)}(?!\w)", words) is not None


def _values(results: Fitted, design: Design, variable: str) -> tuple[pd.DataFrame | None, Any]:
    """Return the data of a formula, or None, and the values of a variable in all of their rows, or in those in use."""
    formula = results.model.source
    if formula is None:
        if variable not in design.names:
            raise OptionError(
                f"variable is {shown(variable)}, which is not a regressor; the names are {listed(design.names, limit=30)}. What is made of another variable is "
                "computed anew in formulas alone."
            )
        return None, to_numpy(design.exog[:, design.names.index(variable)])
    data = design.user_data.data
    known = list(data) if isinstance(data, dict) else list(columns_of(data))
    if variable not in known or not any(is_in(variable, term) for term in design.schema.terms or {}):
        raise OptionError(
            f"variable is {shown(variable)}, which is not a column of the data on the right-hand side of {results.model.formula!r}; pass one that is."
        )
    if any(is_in(variable, levels.name) for levels in design.schema.effects):
        raise OptionError(
            f"{variable!r} is absorbed as an effect, which has no coefficient to test; write it as a regressor."
        )
    frame = to_pandas(data, None).reset_index(drop=True)
    return frame, frame[variable]


def _one_way(design: Design, given: Any, option: str) -> Groups:
    ways = read_groups(design, given, option)
    if len(ways) != 1:
        raise OptionError(f"{option} has {len(ways)} columns; pass one, such as the combinations of several.")
    return ways[0]


def _of_units(rows: Tensor, way: Groups, what: str, why: str) -> Tensor:
    """Return (G,) the code of each cluster, whose rows must share it."""
    found = rows.new_zeros(way.count).index_copy_(0, way.codes, rows)
    wrong = int((found[way.codes] != rows).sum())
    if wrong:
        raise DataError(
            f"{what} varies within {way.name}, {why}; pass the clusters within which it does not vary, or assign rows."
        )
    return numbered(found)[0]
