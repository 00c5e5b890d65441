"""Margins of rows that are read in parts: averages are sums over chunks, and nothing is held for each row."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from betahat.data.container import to_numpy
from betahat.data.datasets.base import Partition
from betahat.data.engine import Engine, Sums, in_force
from betahat.data.frame import rows_of_frame, to_pandas
from betahat.data.streamed import Streamed
from betahat.errors import DataError, OptionError, listed, shown
from betahat.lazy import lazily
from betahat.margins.absorbed import check_effects
from betahat.margins.estimates import MarginResults
from betahat.margins.evaluating import warn_unidentified
from betahat.margins.functions import Function, sums_at
from betahat.margins.grid import Grid, weighted
from betahat.margins.labels import labels_of
from betahat.margins.quantities import Groups, Mean, Quantity, of_averages, sums_of
from betahat.margins.subject import Subject

if TYPE_CHECKING:
    import pandas as pd
else:
    pd = lazily("pandas")

Grouped = tuple[Groups, "pd.DataFrame"]


@dataclass(frozen=True, eq=False)
class Asked:
    """What is averaged over the rows of a dataset.

    Attributes
    ----------
    subject : Subject
        The model.
    stream : Streamed
        The rows of the fit.
    quantities : tuple of Quantity
        (q,) the numbers of each row, whose grids stand for those of chunks.
    shape : callable
        The grid of a chunk -> the one whose rows count, which repeats them where predictions are counterfactual.
    groups : callable
        A grid -> which of its rows are averaged together, and the values of each group.
    columns : tuple of str
        The columns of the dataset that are read.
    wts : str or None
        The column of weights.
    """

    subject: Subject
    stream: Streamed
    quantities: tuple[Quantity, ...]
    shape: Callable[[Grid], Grid]
    groups: Callable[[Grid], Grouped | None]
    columns: tuple[str, ...]
    wts: str | None

    def grid(self, chunk: Any) -> Grid | None:
        """Return the rows of a chunk that are in use; None where there are none."""
        rows = rows_of_frame(chunk)
        if not rows:
            return None
        built = self.stream.builder.build(chunk)
        used = built.places(rows)
        if not len(used):
            return None
        frame = to_pandas(chunk, None).iloc[to_numpy(used.cpu())].reset_index(drop=True)
        offset, counts = (
            None if column is None else column.to(torch.float64)
            for column in (built.columns.get("offset"), built.columns.get("counts"))
        )
        grid = Grid(self.subject, frame, offset, counts)
        return self.shape(grid if self.wts is None else weighted(grid, self.wts))


@dataclass(frozen=True, eq=False)
class _Summed:
    """The sums of a partition's chunks by group, of each quantity: with derivatives at one point, or without at several."""

    asked: Asked
    sums: Callable[[Quantity, Groups], Sums]

    def __call__(self, partition: Partition) -> list[tuple[pd.DataFrame, list[Sums]]]:
        """Return of each chunk the values of its groups and the sums of each quantity."""
        found = []
        for chunk in partition.chunks(self.asked.columns):
            grid = self.asked.grid(chunk)
            if grid is not None:
                grouped = self.asked.groups(grid)
                assert grouped is not None
                each = [self.sums(replace(quantity, grid=grid), grouped[0]) for quantity in self.asked.quantities]
                found.append((grouped[1], each))
        return found


@dataclass(frozen=True, eq=False)
class _AtPoint:
    """Sums with derivatives at (k,) parameters."""

    mean: Mean
    point: Tensor

    def __call__(self, quantity: Quantity, groups: Groups) -> Sums:
        """Return those of a chunk."""
        return sums_of(quantity, groups, self.mean, self.point)


@dataclass(frozen=True, eq=False)
class _AtPoints:
    """Sums at (R, k) parameters."""

    mean: Mean
    points: Tensor

    def __call__(self, quantity: Quantity, groups: Groups) -> Sums:
        """Return those of a chunk."""
        return sums_at(quantity, groups, self.mean, self.points)


@dataclass(frozen=True, eq=False)
class OfParts(Function):
    """Averages of quantities over the rows of a dataset, by passes over it.

    Attributes
    ----------
    asked : Asked
        What is averaged.
    engine : Engine
        What computes the passes.
    """

    asked: Asked
    engine: Engine

    @property
    def _mean(self) -> Mean:
        return self.asked.subject.response.mean

    def values(self, points: Tensor) -> Tensor:
        """Return (R, J q G) numbers at (R, k) parameters."""
        _, each = self._passed(_AtPoints(self._mean, points))
        found = []
        for quantity, (total, size) in zip(self.asked.quantities, each, strict=True):
            means = (total / size[:, None, None, None]).movedim(1, 0)
            found.append(quantity.combined(means.unbind(2)).detach())
        return torch.stack(found).permute(1, 3, 0, 2).flatten(1)

    def with_jacobian(self, point: Tensor) -> tuple[Tensor, Tensor]:
        """Return (J q G,) numbers and (J q G, k) their derivatives."""
        return self.with_places(point)[1:]

    def jacobians(self, points: Tensor) -> Tensor:
        """Return (R, J q G, k) the derivatives at (R, k) parameters."""
        return torch.stack([self.with_jacobian(point)[1] for point in points])

    def with_places(self, point: Tensor) -> tuple[pd.DataFrame, Tensor, Tensor]:
        """Return (G, ...) the values of each group, (J q G,) numbers and (J q G, k) their derivatives."""
        places, each = self._passed(_AtPoint(self._mean, point))
        found = []
        for quantity, (total, slope, size) in zip(self.asked.quantities, each, strict=True):
            value, weight = of_averages(quantity, total / size[:, None, None])
            found.append((value, (weight[..., None] * slope / size[:, None, None, None]).sum(1)))
        values, slopes = (torch.stack(part).movedim(2, 0) for part in zip(*found, strict=True))
        return places, values.flatten(), slopes.reshape(-1, len(point))

    def _passed(self, sums: Callable[[Quantity, Groups], Sums]) -> tuple[pd.DataFrame, list[Sums]]:
        """Return the groups in their order, and the sums of each quantity in them."""
        asked = self.asked
        parts = in_force(self.engine).over(_Summed(asked, sums), asked.stream.dataset, asked.columns)
        chunks = [chunk for part in parts for chunk in part]
        values = pd.concat([where for where, _ in chunks], ignore_index=True)
        if len(values.columns):
            grouped = values.groupby(list(values.columns), observed=True, sort=True, dropna=False)
            codes, places = torch.tensor(grouped.ngroup().to_numpy()), grouped.size().index.to_frame(index=False)
        else:
            codes, places = torch.zeros(len(values), dtype=torch.int64), values.head(1)
        found = []
        for i in range(len(asked.quantities)):
            columns = [torch.cat(several) for several in zip(*(each[i] for _, each in chunks), strict=True)]
            found.append(
                tuple(
                    column.new_zeros(len(places), *column.shape[1:]).index_add(0, codes.to(column.device), column)
                    for column in columns
                )
            )
        return places, found


def estimated_in_parts(
    grid: Grid,
    stream: Streamed,
    quantities: Sequence[Quantity],
    shape: Callable[[Grid], Grid],
    groups: Callable[[Grid], Grouped | None],
    by: Any,
    wts: Any,
    title: str,
) -> MarginResults:
    """Average quantities over the rows of a dataset by passes; `grid` has rows that stand for these."""
    subject = grid.subject
    names = [by] if isinstance(by, str) else [] if isinstance(by, bool) else list(by)
    if by is False:
        raise OptionError(
            f"The rows are read from {stream.dataset.name}, so that nothing with a number for each row is returned; use avg_{title}, or pass newdata."
        )
    if wts is not None and not isinstance(wts, str):
        raise DataError("wts has a weight for each row, and the rows are read in parts; pass the name of a column.")
    wanted = [*names, *([] if wts is None else [wts])]
    unknown = [name for name in wanted if name not in stream.dataset.columns]
    if unknown:
        raise OptionError(
            f"{shown(unknown[0])} is not a column of the data; the columns are {listed(stream.dataset.columns, limit=12)}."
        )
    columns = tuple(dict.fromkeys([*stream.builder.needs, *wanted]))
    check_effects(subject, quantities, None)
    results, response = subject.results, subject.response
    asked = Asked(subject, stream, tuple(quantities), shape, groups, columns, wts)
    function = OfParts(asked, results.fit.given.engine)
    places, estimates, jacobian = function.with_places(results.fit.params)
    outcomes = [name.removeprefix(f"{response.endog_name}=") for name in response.outcomes]
    terms = [(quantity.term, quantity.contrast) for quantity in quantities]
    labels = labels_of(outcomes if len(outcomes) > 1 else (), terms, places, len(places))
    made = MarginResults(results, labels, estimates, jacobian, function, f"Average {title}", None)
    warn_unidentified(made)
    return made
