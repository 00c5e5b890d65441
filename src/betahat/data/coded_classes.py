"""Classes of a dataset's column: they are learnt in a pass, and each chunk gets a column of their codes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from betahat.data.datasets.base import Dataset, Partition
from betahat.data.engine import Engine
from betahat.data.frame import to_pandas
from betahat.data.learnt_labels import check_ordered_alike
from betahat.data.whole_numbers import check_told_apart
from betahat.errors import DataError, shown


@dataclass(frozen=True, eq=False)
class Coded(Dataset):
    """A dataset with a column of codes beside the others.

    Attributes
    ----------
    base : Dataset
    column : str
        The column of classes.
    codes : str
        What the column of their codes is called.
    classes : pandas.Index
        The classes, at the places that are their codes.
    """

    base: Dataset
    column: str
    codes: str
    classes: pd.Index

    @property
    def name(self) -> str:
        """What messages call it."""
        return self.base.name

    @property
    def columns(self) -> tuple[str, ...]:
        """The names of all its columns."""
        return (*self.base.columns, self.codes)

    @property
    def partitions(self) -> tuple[Partition, ...]:
        """Its rows."""
        return tuple(_Coded(part, self.column, self.codes, self.classes) for part in self.base.partitions)


@dataclass(frozen=True, eq=False)
class _Coded(Partition):
    """A partition with the codes of its classes."""

    base: Partition
    column: str
    codes: str
    classes: pd.Index

    @property
    def name(self) -> str:
        return self.base.name

    def chunks(self, columns: Sequence[str]) -> Iterator[Any]:
        """Yield some columns; with the codes they are dataframes of pandas."""
        if self.codes not in columns:
            yield from self.base.chunks(columns)
            return
        needed = tuple(dict.fromkeys([self.column, *(name for name in columns if name != self.codes)]))
        for chunk in self.base.chunks(needed):
            frame = to_pandas(chunk, None)
            yield frame.assign(**{self.codes: _codes(frame[self.column], self.classes)})[list(columns)]


def learn_classes(dataset: Dataset, column: str, engine: Engine) -> pd.Series:
    """Return the values of a column, each once, or the categories that are declared, without missing ones."""
    found: pd.Series | None = None
    for values, partition in zip(engine.over(_Values(column), dataset), dataset.partitions, strict=True):
        if values is not None:
            found = values if found is None else _together(found, values, column, partition.name)
    return pd.Series([], dtype=float) if found is None else found


@dataclass(frozen=True)
class _Values:
    """The values of a column of a partition, each once; None where there is no row."""

    column: str

    def __call__(self, partition: Partition) -> pd.Series | None:
        found: pd.Series | None = None
        for chunk in partition.chunks((self.column,)):
            series = to_pandas(chunk, None)[self.column]
            if len(series):
                own = _once(series)
                found = own if found is None else _together(found, own, self.column, partition.name)
        return found


def _together(first: pd.Series, second: pd.Series, column: str, name: str) -> pd.Series:
    """Return the values of both, each once; categories of the second stand behind those of the first."""
    one, other = first.dtype, second.dtype
    if not first.empty and not second.empty:
        check_ordered_alike([one, other], f"Column {shown(column)}")
    if isinstance(one, pd.CategoricalDtype) and isinstance(other, pd.CategoricalDtype):
        declared = list(dict.fromkeys([*one.categories, *other.categories]))
        joint = pd.CategoricalDtype(declared, ordered=bool(one.ordered and other.ordered))
        return _once(pd.Series([*first, *second]).astype(joint))
    if not first.empty and not second.empty and _is_text(first) != _is_text(second):
        raise DataError(
            f"Column {shown(column)} is text in some of the data and numbers in others, such as {name}; convert it to one type."
        )
    check_told_apart([part for part in (first, second) if len(part)], f"Column {shown(column)}")
    return _once(pd.concat([part for part in (first, second) if len(part)] or [first]))


def _once(values: pd.Series) -> pd.Series:
    """Return the values that are there, each once."""
    found: pd.Series = values.dropna().drop_duplicates().reset_index(drop=True)
    return found


def _is_text(values: pd.Series) -> bool:
    return isinstance(values.iloc[0], str)


def _codes(values: pd.Series, classes: pd.Index) -> np.ndarray:
    """Return (n,) codes of values, NaN for a missing one."""
    if isinstance(values.dtype, pd.CategoricalDtype):
        places = np.append(classes.get_indexer(values.cat.categories), -1)[values.cat.codes]
    else:
        places = classes.get_indexer(pd.Index(values))
    return np.where(places < 0, np.nan, places.astype(float))
