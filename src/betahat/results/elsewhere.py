"""Predictions partition by partition: for rows that do not lie in memory, and for files of predictions."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from betahat.data.container import Container, Frames, to_numpy
from betahat.data.datasets.base import Dataset, Partition
from betahat.data.datasets.open import dataset_of
from betahat.data.engine import THREADS, in_force
from betahat.data.frame import check_columns, rows_of_frame
from betahat.data.streamed import Builder, stream_below
from betahat.errors import OptionError, described
from betahat.lazy import lazily
from betahat.results.core import Core
from betahat.saving.parquet_folder import Columns, write_partitions
from betahat.solvers.memory import check_numbers_fit

if TYPE_CHECKING:
    import pandas as pd
else:
    pd = lazily("pandas")


def in_parts(exog: Any, path: Any) -> bool:
    """Tell whether predictions are made partition by partition: they are to be written, or of rows that do not lie in memory."""
    return path is not None or dataset_of(exog) is not None


def predict_in_parts(
    results: Core,
    exog: Any,
    path: Any,
    transform: bool,
    beside: Mapping[str, Any] | None = None,
    residuals: bool = False,
    **options: Any,
) -> Any:
    """Return predictions for a dataset, or write those for one, for a frame, or for the data of the fit.

    They are those of `results.predict` under its `options` and with what stands `beside` new rows, such as an offset. With `residuals` the rows of the fit
    get what y lies above its prediction, too.
    """
    given = {} if beside is None else {name: value for name, value in beside.items() if value is not None}
    dataset, stream = dataset_of(exog), None
    if exog is None and results.compression is not None:
        raise OptionError(
            "Rows that are alike were counted once (compress), so that the fit does not know the data's own rows; pass the data as exog to have predictions for each."
        )
    of: Callable[[Partition], Iterable[Columns]]
    if dataset is not None:
        for name, value in given.items():
            if not isinstance(value, str):
                raise OptionError(
                    f"{name} is {described(value)}, and new data that are not in memory are read in parts; pass the name of a column, or an expression."
                )
        read = _columns_read(results, dataset, given.values())
        of = _OfNewRows(_Predicted(results, {"transform": transform, **given, **options}), read)
    elif exog is None and (stream := stream_below(results.fit.given.source)) is not None:
        if given:
            raise OptionError(
                f"{' and '.join(given)} of the data of the fit are those of the fit; pass exog as well to predict under others."
            )
        dataset, read, labels = stream.dataset, stream.builder.needs, results.fit.absorbed is not None
        of = _OfTheFit(_Predicted(results, {"transform": labels, **options}), stream.builder, labels, residuals)
    else:
        values = _Predicted(results, {"transform": transform, **given, **options}).columns(exog)
        if exog is None:
            values = _with_all_rows(results, values, residuals)
        return write_partitions(path, _InMemory(), (), _AtHand(values), THREADS)
    engine = in_force(results.fit.given.engine)
    if path is not None:
        return write_partitions(path, dataset, read, of, engine)
    return _joined(results, engine.over(_Listed(of), dataset, read))


@dataclass(frozen=True, eq=False)
class _Predicted:
    """Predictions of new rows under options, as columns."""

    results: Any
    options: Mapping[str, Any]

    def columns(self, rows: Any, **beside: Any) -> dict[str, np.ndarray]:
        """Return (m,) columns: "predicted", or of several numbers a row one for each."""
        found = self.results.predict(rows, **self.options, **beside)
        if isinstance(found, pd.DataFrame):
            return {f"predicted_{name}": column.to_numpy() for name, column in found.items()}
        values = to_numpy(found) if isinstance(found, Tensor) else np.asarray(found)
        if values.ndim == 1:
            return {"predicted": values}
        return {f"predicted_{i}": values[:, i] for i in range(values.shape[1])}


@dataclass(frozen=True, eq=False)
class _OfNewRows:
    """Predictions for the chunks of a partition, of which some columns are read."""

    predicted: _Predicted
    read: tuple[str, ...]

    def __call__(self, partition: Partition) -> Iterator[Columns]:
        """Yield the columns of one chunk after the other."""
        for chunk in partition.chunks(self.read):
            if rows_of_frame(chunk):
                yield self.predicted.columns(chunk)


@dataclass(frozen=True, eq=False)
class _OfTheFit:
    """Predictions for the rows of the fit, NaN for those that are not in use.

    Attributes
    ----------
    predicted : _Predicted
    builder : Builder
        What made the rows.
    labels : bool
        Whether a prediction needs labels of absorbed effects, which the chunks have, and not regressors alone.
    residuals : bool
        Whether to give y less its prediction as well.
    """

    predicted: _Predicted
    builder: Builder
    labels: bool
    residuals: bool

    def __call__(self, partition: Partition) -> Iterator[Columns]:
        """Yield the columns of one chunk after the other."""
        for chunk in partition.chunks(self.builder.needs):
            rows = rows_of_frame(chunk)
            if not rows:
                continue
            built = self.builder.build(chunk)
            used = built.places(rows).cpu()
            offset = built.columns.get("offset")
            if self.labels:
                beside = {} if offset is None else {"offset": offset.new_zeros(rows).index_copy_(0, used, offset)}
                every = self.predicted.columns(chunk, **beside)
                columns = {name: column[used.numpy()] for name, column in every.items()}
            else:
                columns = self.predicted.columns(
                    built.columns["exog"], **({} if offset is None else {"offset": offset})
                )
            if self.residuals:
                columns["resid"] = to_numpy(built.columns["endog"].to(torch.float64)) - columns["predicted"]
            yield {name: _spread(column, used.numpy(), rows) for name, column in columns.items()}


@dataclass(frozen=True, eq=False)
class _AtHand:
    """Columns that are in memory."""

    values: Columns

    def __call__(self, partition: Partition) -> Iterator[Columns]:
        """Yield them."""
        yield self.values


@dataclass(frozen=True, eq=False)
class _Listed:
    """The columns of all chunks of a partition in a list, which crosses processes."""

    of: Callable[[Partition], Iterable[Columns]]

    def __call__(self, partition: Partition) -> list[Columns]:
        """List them."""
        return list(self.of(partition))


@dataclass(frozen=True)
class _InMemory(Dataset, Partition):
    """The only partition of rows that are at hand."""

    @property
    def name(self) -> str:
        """What they are called."""
        return "rows in memory"

    @property
    def columns(self) -> tuple[str, ...]:
        """Nothing is read of them."""
        return ()

    @property
    def partitions(self) -> tuple[Partition, ...]:
        """The rows themselves."""
        return (self,)

    def chunks(self, columns: Any) -> Iterator[Any]:
        """Yield nothing."""
        return iter(())


def _columns_read(results: Core, dataset: Dataset, texts: Iterable[str]) -> tuple[str, ...]:
    """Return the columns of a dataset that predictions are made of: those of the formula, of effects and of expressions beside."""
    source = results.model.source
    schema = results.fit.given.schema
    wanted = {column for effect in schema.effects for column in (*effect.columns, *effect.variables)}
    for text in texts:
        wanted |= {text, *re.findall(r"[^\W\d]\w*", text)}
    if source is not None:
        check_columns(source.variables, dataset.columns)
    wanted |= set(results.fit.given.names if source is None else source.variables)
    return (
        tuple(name for name in dataset.columns if name in wanted) or dataset.columns[:1]
    )  # which tells how many rows there are


def _with_all_rows(results: Core, values: dict[str, np.ndarray], residuals: bool) -> dict[str, np.ndarray]:
    """Return columns with NaN for the rows of the user's data that are not in use."""
    given = results.fit.given
    if residuals:
        values["resid"] = to_numpy(given.target.to(torch.float64)) - values["predicted"]
    used, rows = given.user_data.in_use, given.user_data.rows
    return values if used is None else {name: _spread(part, used.cpu().numpy(), rows) for name, part in values.items()}


def _spread(column: np.ndarray, used: np.ndarray, rows: int) -> np.ndarray:
    """Return (rows,) a column with the rows in use where they are, and NaN elsewhere."""
    if len(column) == rows:
        return column
    whole = np.full(rows, np.nan)
    whole[used] = column
    return whole


def _joined(results: Core, parts: Iterable[list[Columns]]) -> Any:
    """Hand out the columns of all partitions, one below the other."""
    held: list[Columns] = []
    count = 0
    for part in parts:
        held += part
        count += sum(column.size for columns in part for column in columns.values())
        check_numbers_fit(
            count, f"The first {count:,} predictions", results.fit.params.device, "pass path= to write them to files"
        )
    names = list(held[0]) if held else ["predicted"]
    columns = [np.concatenate([part[name] for part in held]) if held else np.empty(0) for name in names]
    values = torch.as_tensor(np.column_stack(columns) if len(columns) > 1 else columns[0])
    container: Container = Frames(pd.RangeIndex(len(values)))
    return container.present_rows(values, [name.removeprefix("predicted_") for name in names])
