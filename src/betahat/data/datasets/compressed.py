"""Rows that repeat are counted once: by the group-by of the library whose lazy frame they are, else of each partition, and these together."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from itertools import chain
from typing import TYPE_CHECKING, Any

import narwhals as nw

from betahat.data.datasets.base import Dataset, Partition
from betahat.data.engine import Engine
from betahat.data.frame import to_pandas
from betahat.data.whole_numbers import check_told_apart
from betahat.errors import DataError, shown
from betahat.lazy import lazily

if TYPE_CHECKING:
    import pandas as pd
else:
    pd = lazily("pandas")

# Distinct rows of chunks are put together once they are so many, or more than are known.
_PENDING = 2**18
# Of so many rows more than half must repeat, or they are not compressed.
_MANY = 2**22


@dataclass(frozen=True)
class Compression:
    """What counting rows that repeat did.

    Attributes
    ----------
    rows : int
        The rows of the data.
    distinct : int
        Those that differ, which were fitted with their frequencies; as many as `rows` where too few repeat, so that they were read as they are.
    columns : tuple of str
        The columns in which they differ.
    """

    rows: int
    distinct: int
    columns: tuple[str, ...]


def counted_frame(frame: pd.DataFrame, count: str) -> pd.DataFrame:
    """Return a frame's distinct rows, in order, and how often each occurs in a column of its own; missing values are equal."""
    return _summed(frame.assign(**{count: 1}), count)


def counted_lazily(data: Any, columns: Sequence[str], count: str) -> Any:
    """Return the same of a lazy frame, as an eager one, by the group-by of its own library; None where it is no lazy frame."""
    kind = getattr(sys.modules.get("dask.dataframe"), "DataFrame", None)  # which whoever made one has imported
    if kind is not None and isinstance(data, kind):
        return _told("dask", partial(_by_dask, data, list(columns), count))
    frame = nw.from_native(data, pass_through=True)
    if not isinstance(frame, nw.LazyFrame):
        return None
    by = _by_polars if frame.implementation.is_polars() else _by_columns
    return _told(frame.implementation.value, partial(by, frame, list(columns), count))


def _told(library: str, group: Callable[[], Any]) -> Any:
    """Group, or say what the library says."""
    try:
        return group()
    except Exception as error:  # whatever the library raises, which betahat may not import
        reason = str(error).strip().partition("\n")[0].rstrip(".")
        raise DataError(
            f"The rows cannot be counted by {library} ({type(error).__name__}: {reason}); leave compress out, or mend the frame."
        ) from error


def _by_dask(frame: Any, columns: list[str], count: str) -> pd.DataFrame:
    """Group by dask, whose workers count their own rows."""
    found = frame[columns].groupby(columns, dropna=False, observed=True).size().compute()
    return _summed(found.rename(count).reset_index(), count)


def _by_polars(frame: nw.LazyFrame[Any], columns: list[str], count: str) -> Any:
    """Group by polars, with rows in the order of appearance, which is that of its categories."""
    polars, native, first = nw.get_native_namespace(frame), frame.to_native(), f"first of {count}"
    rows = native.select(columns).with_row_index(first)
    grouped = rows.group_by(columns).agg(polars.len().alias(count), polars.col(first).min())
    return grouped.collect(engine="streaming").sort(first).drop(first)


def _by_columns(frame: nw.LazyFrame[Any], columns: list[str], count: str) -> Any:
    """Group by any other library, which may hand rows out in any order."""
    return frame.select(*columns).group_by(*columns).agg(nw.len().alias(count)).collect().sort(*columns).to_native()


def counted_dataset(dataset: Dataset, columns: Sequence[str], count: str, engine: Engine) -> pd.DataFrame | None:
    """Return the same of a dataset, partition by partition; None where too few rows repeat."""
    found = _together(engine.over(partial(_of_partition, tuple(columns), count), dataset), count)
    return None if found is None or _too_many(found, count) else found


def _of_partition(columns: tuple[str, ...], count: str, partition: Partition) -> pd.DataFrame | None:
    none = pd.DataFrame(columns=[*columns, count])  # for a partition without rows
    return _together(chain([none], _of_chunks(columns, count, partition)), count)


def _of_chunks(columns: tuple[str, ...], count: str, partition: Partition) -> Iterator[pd.DataFrame]:
    for chunk in partition.chunks(columns):
        yield counted_frame(to_pandas(chunk, None)[list(columns)].reset_index(drop=True), count)


def _together(parts: Iterable[pd.DataFrame | None], count: str) -> pd.DataFrame | None:
    """Put distinct rows together, some parts at a time; None where too few rows repeat."""
    pending: list[pd.DataFrame] = []
    waiting = known = 0
    for part in parts:
        if part is None:
            return None
        pending.append(part)
        waiting += len(part)
        if waiting > known + max(_PENDING, known):
            pending = [_summed(_joined(pending), count)]
            waiting = known = len(pending[0])
            if _too_many(pending[0], count):
                return None
    return _summed(_joined(pending), count) if len(pending) > 1 else pending[0]


def _too_many(found: pd.DataFrame, count: str) -> bool:
    return len(found) > _MANY and 2 * len(found) > int(found[count].sum())


def _joined(parts: Sequence[pd.DataFrame]) -> pd.DataFrame:
    """Put frames below each other; categories have the levels of all, in order of appearance."""
    parts = [part for part in parts if len(part)] or list(parts[:1])
    for name in parts[0].columns:
        check_told_apart([part[name] for part in parts], f"Column {shown(name)}")
        if not all(isinstance(part[name].dtype, pd.CategoricalDtype) for part in parts):
            continue
        levels = list(dict.fromkeys(level for part in parts for level in part[name].cat.categories))
        if any(len(part[name].cat.categories) < len(levels) for part in parts):
            parts = [part.assign(**{name: part[name].cat.set_categories(levels)}) for part in parts]
    return pd.concat(parts, ignore_index=True)


def _summed(frame: pd.DataFrame, count: str) -> pd.DataFrame:
    """Add up how often each row occurs."""
    columns = [name for name in frame.columns if name != count]
    if not columns:
        return pd.DataFrame({count: [int(frame[count].sum())]})
    found = frame.groupby(columns, dropna=False, observed=True, sort=False)[count].sum().reset_index()
    with suppress(TypeError):  # labels of several types have no order
        found = found.sort_values(columns, ignore_index=True)
    return found
