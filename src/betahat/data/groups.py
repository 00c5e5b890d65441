"""Labels of rows become codes: clusters, their intersections, and the order of time."""

from __future__ import annotations

import datetime
import difflib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from betahat.data.container import check_real, real_array
from betahat.data.frame import column_of, columns_of, is_column, is_frame
from betahat.data.labels import LabelList, complex_labels, labels_of, numbered, sorted_labels, text_codes, whole
from betahat.data.learnt_labels import LearntLabels, learn_labels
from betahat.data.modes import check_held
from betahat.data.row_codes import HeldCodes, ReadCodes, RowCodes
from betahat.data.rows_in_use import RowsInUse
from betahat.data.sample import Sample
from betahat.data.streamed import Streamed, stream_below
from betahat.data.threads import remembered
from betahat.errors import DataError, OptionError, counted, listed, shown
from betahat.lazy import lazily

if TYPE_CHECKING:
    import pandas as pd
else:
    pd = lazily("pandas")

# What is no vector; of other types each is asked.
_SINGLE = (str, bytes, int, float, complex, type(None), np.generic, datetime.date, datetime.timedelta)


@dataclass(frozen=True, eq=False)
class Groups:
    """A partition of the rows in use.

    Attributes
    ----------
    of_rows : RowCodes
        Each row's group, from 0 to `count` - 1, in the sorted order of the labels.
    count : int
        How many groups there are; unused levels of a category are none.
    name : str
        What to call it in a sentence.
    column : str
        What to call it in a table: the column's name, or nothing where a vector has none.
    labels : pandas.Index
        (count,) the labels, sorted.
    declared : pandas.Index or None
        (count,) the labels in the order of an unordered category's levels.
    learnt_sizes : Tensor or None
        (count,) the rows in each, where they were counted as labels were read.
    """

    of_rows: RowCodes
    count: int
    name: str
    column: str
    labels: pd.Index
    declared: pd.Index | None = None
    learnt_sizes: Tensor | None = None

    @property
    def codes(self) -> Tensor:
        """(n,) int64 each row's group, in memory; passes over rows go by `of_rows`."""
        return self.of_rows.whole

    @remembered
    def sizes(self) -> Tensor:
        """(count,) the rows in each."""
        learnt = self.learnt_sizes
        return torch.bincount(self.codes, minlength=self.count) if learnt is None else learnt


def read_groups(sample: Sample, given: Any, option: str) -> tuple[Groups, ...]:
    """Read one or several partitions of the rows.

    Given are a column's name, a vector with a label for each row of the original data or for each row in use, a list of names or of vectors,
    or a dataframe or an array, (n, q), for several partitions; `option` is what they are called in a sentence.
    """
    return tuple(_groups(sample, *column) for column in _columns(sample, given, option))


def partitions_with_gaps(sample: Sample, given: Any, option: str) -> tuple[Groups, ...]:
    """Read partitions as `read_groups` does; rows whose label is missing have the code -1."""
    return tuple(_with_gaps(sample, *column) for column in _columns(sample, given, option))


def read_numbers(sample: Sample, given: Any, option: str) -> Tensor:
    """Read a finite number for each row in use, such as a coordinate; `given` is a column's name or a vector."""
    read, name = _numbers(sample, given, option)
    bad = int((~torch.isfinite(read)).sum())
    if bad:
        raise DataError(f"{name} has {counted(bad, 'missing or infinite value')} in the rows in use; fill them in.")
    return read


def numbers_with_gaps(sample: Sample, given: Any, option: str) -> Tensor:
    """Read a number for each row in use as `read_numbers` does, NaN where it is missing."""
    return _numbers(sample, given, option)[0]


def _numbers(sample: Sample, given: Any, option: str) -> tuple[Tensor, str]:
    """Return (n,) numbers of the rows in use, and what to call them."""
    columns = _columns(sample, given, option)
    if len(columns) != 1:
        raise OptionError(f"{option} has {len(columns)} columns; pass one.")
    values, name, _ = columns[0]
    if isinstance(values, _ReadColumn):
        raise OptionError(
            f"{name} is a number of each row, which is needed in memory; pass a vector of the {sample.rows} rows in use."
        )
    values = whole(values)
    try:
        what = f"{name}: a vector"
        read = values if isinstance(values, Tensor) else torch.from_numpy(real_array(values, what))
        check_held(read, what)
        check_real(read, what)
    except DataError:
        raise
    except (TypeError, ValueError) as error:
        raise DataError(f"{name} is not numeric; pass numbers.") from error
    return _in_use(sample, read.to(device=sample.device, dtype=torch.float64), name), name


def intersection(groups: Sequence[Groups]) -> Groups:
    """Return the partition into the groups' intersections."""
    joint = groups[0].codes
    for other in groups[1:]:
        joint, labels = numbered(joint * other.count + other.codes)
    count = len(labels)
    return Groups(HeldCodes(joint), count, names_together(groups), "", pd.RangeIndex(count))


def among_labels(groups: Groups, labels: Any) -> Groups:
    """Return a partition as one among all groups that have these labels, some of which may have no rows."""
    try:
        everyone = pd.Index(np.asarray(labels).reshape(-1)).dropna().unique().sort_values()
    except TypeError as error:
        raise OptionError(f"among is {shown(labels)}; pass the labels of all clusters, which have an order.") from error
    places = everyone.get_indexer(groups.labels)
    if (places < 0).any():
        raise OptionError(
            f"among does not have {listed(groups.labels[places < 0])}, which {groups.name} has; pass the labels of all clusters."
        )
    codes = torch.from_numpy(places).to(groups.codes)[groups.codes]
    return Groups(HeldCodes(codes), len(everyone), groups.name, groups.column, everyone)


def names_together(groups: Sequence[Groups]) -> str:
    """Return what to call the intersection of groups in a sentence."""
    return " and ".join(group.name for group in groups)


def _columns(sample: Sample, given: Any, option: str) -> list[tuple[Any, str, str]]:
    """Return each of the vectors that were given, its name in a sentence, and its own name."""
    if given is None:
        raise OptionError(
            f"{option} is None; pass a column's name, or a vector with a label for each row, in cov_kwds={{'{option}': ...}} where a name "
            "stands for the covariance."
        )
    if isinstance(given, str):
        return [_named(_look_up(sample, given, option), option, given)]
    alone = is_column(given)
    several = alone or isinstance(given, list | tuple | Mapping) or is_frame(given)
    if (not several and np.ndim(given) == 0) or len(given) == 0:
        raise OptionError(f"{option} is {shown(given)}; pass a column's name, or a vector with a label for each row.")
    if isinstance(given, list | tuple):
        return _listed_columns(sample, given, option)
    if alone:
        return [(given, option, "")]
    if isinstance(given, Mapping) or is_frame(given):
        columns = given if isinstance(given, Mapping) else columns_of(given)
        return [_named(columns[name], option, name) for name in columns]
    if isinstance(given, pd.Series | pd.Index):
        return [(given, option, "") if given.name is None else _named(given, option, given.name)]
    return _array_columns(given if isinstance(given, Tensor) else np.asarray(given), option)


def _array_columns(array: Any, option: str) -> list[tuple[Any, str, str]]:
    """Return an array's columns, or its only one."""
    if array.ndim > 2:
        raise OptionError(f"{option} has {array.ndim} dimensions; pass a vector, or a column for each way of grouping.")
    if array.ndim == 2 and array.shape[1] > 1:
        return [(array[:, i], f"{option}[{i}]", "") for i in range(array.shape[1])]
    return [(array.reshape(-1), option, "")]


def _named(values: Any, option: str, name: Any) -> tuple[Any, str, str]:
    return values, f"{option} {name!r}", str(name)


def _listed_columns(sample: Sample, given: Sequence[Any], option: str) -> list[tuple[Any, str, str]]:
    """Tell a list of names, or of vectors, from a list of labels."""
    many = len(given) in {sample.user_data.rows, sample.rows}
    names = set(_names(sample)) if isinstance(given[0], str) else set()
    if (
        many and isinstance(given[0], str) and given[0] not in names
    ):  # no names, then, and Arrow tells text from vectors in a glance
        codes = text_codes(given)
        if codes is not None:
            return [(LabelList(given, codes), option, "")]
    kinds = frozenset(map(type, given))
    named = all(issubclass(kind, str) for kind in kinds) and (not many or names.issuperset(given))
    vectors = {kind for kind in kinds if not issubclass(kind, _SINGLE)}
    if named or (vectors and any(type(entry) in vectors and _is_vector(entry) for entry in given)):
        return [
            _named(_look_up(sample, entry, option), option, entry)
            if isinstance(entry, str)
            else (entry, f"{option}[{i}]", "")
            for i, entry in enumerate(given)
        ]
    return [(LabelList(given, kinds=kinds), option, "")]


def _is_vector(entry: Any) -> bool:
    return isinstance(entry, list | tuple) or is_column(entry) or np.ndim(entry) > 0


def _names(sample: Sample) -> list[str]:
    data, stream = sample.user_data.data, sample.source.stream
    if stream is not None:
        return list(stream.dataset.columns)
    if data is None:
        return []
    return list(data if isinstance(data, Mapping) else columns_of(data))


def _look_up(sample: Sample, name: str, option: str) -> Any:
    data = sample.user_data.data
    if data is None:
        raise OptionError(
            f"{option}={shown(name)} is the name of a column, but the model has no dataframe to look it up in; pass the vector itself."
        )
    names = _names(sample)
    if name not in names:
        close = difflib.get_close_matches(name.lstrip("~ "), [str(known) for known in names], n=1)
        hint = f"did you mean {close[0]!r}" if close else f"the columns are {listed(names, limit=12)}"
        if sample.schema.compression is not None:
            hint = f"compress=[{name!r}] keeps a column of all rows when those that are alike are counted"
        raise OptionError(
            f"{option}={shown(name)} is not a column of the model's data; {hint}; a vector with an entry for each row will do, too."
        )
    if sample.source.stream is not None:
        return _ReadColumn(sample.source.stream, name)
    sample.user_data.check_column(name)
    return data[name] if isinstance(data, Mapping) else column_of(data, name)


def _groups(sample: Sample, values: Any, name: str, column: str) -> Groups:
    """Give numbers to the labels of the rows in use, none of which may be missing."""
    found = _with_gaps(sample, values, name, column)
    if isinstance(values, _ReadColumn):
        _check_learnt(learn_labels(values.stream, values.column, name, sample.engine), name)
        return found
    if int(found.codes.min()) < 0:
        missing = (found.codes < 0).nonzero().flatten().tolist()
        raise DataError(
            f"{name} is missing in {counted(len(missing), 'row')} (labelled {sample.row_names(missing)}); fill the labels in, or leave "
            "those rows out of the data."
        )
    return found


def _with_gaps(sample: Sample, values: Any, name: str, column: str) -> Groups:
    """Give numbers to the labels of the rows in use, -1 to missing ones."""
    device, declared = sample.device, None
    if isinstance(values, _ReadColumn):
        return _read(values, name, sample)
    if isinstance(values, Tensor):
        check_held(values, name)
        if values.is_complex():
            raise complex_labels(name)
    if isinstance(values, pd.Series):
        _check_labels(sample, values, name)
    read = labels_of(values, name)
    if isinstance(read, Tensor):
        codes, labels = numbered(_in_use(sample, read.to(device).reshape(-1), name))
    else:
        rows = _in_use(sample, torch.arange(len(read.codes)), name).cpu().numpy()
        places, some = read.of_rows(rows)
        found, labels = sorted_labels(some, name)
        if isinstance(some.dtype, pd.CategoricalDtype) and not some.dtype.ordered:
            declared = some.dtype.categories[np.unique(some.cat.codes[found >= 0])]
        codes = torch.as_tensor(found[places], dtype=torch.int64, device=device)
    return Groups(HeldCodes(codes), len(labels), name, column, pd.Index(labels), declared)


@dataclass(frozen=True, eq=False)
class _ReadColumn:
    """A column of a dataset."""

    stream: Streamed
    column: str


def _read(given: _ReadColumn, name: str, sample: Sample) -> Groups:
    """Return groups whose labels are learnt in one pass, and numbered as rows are read."""
    learnt = learn_labels(given.stream, given.column, name, sample.engine)
    labels, codes = learnt.codes.labels, ReadCodes(given.stream, learnt.codes)
    return Groups(codes, len(labels), name, given.column, labels, learnt.declared, learnt.sizes.to(sample.device))


def _check_learnt(learnt: LearntLabels, name: str) -> None:
    """Refuse missing labels."""
    missing = learnt.missing
    if missing:
        rows, where = sum(missing.values()), next(iter(missing))
        raise DataError(
            f"{name} is missing in {counted(rows, 'row')} ({missing[where]} of {where}); fill the labels in, or leave those rows out of the data."
        )


def _in_use(sample: Sample, values: Tensor, name: str) -> Tensor:
    """Take the rows in use, of a vector that is as long as they are or as the original data."""
    rows, used = sample.rows, sample.user_data.in_use
    if values.ndim == 0:
        raise DataError(f"{name} is a single value; pass one for each row.")
    if len(values) == sample.user_data.rows:
        return values if used is None else values[used.to(values.device)]
    if len(values) != rows:
        stream = stream_below(sample.source)
        known = None if stream is None or stream.rows != rows else RowsInUse(stream)
        if known is not None and len(values) == known.rows:
            return values[torch.as_tensor(known.view().to_numpy(copy=True), device=values.device)]
        there = (
            f"{known.rows} rows, {rows} of them in use"
            if known is not None and known.rows != rows
            else f"{rows} rows"
            if rows == sample.user_data.rows
            else f"{sample.user_data.rows} rows, {rows} of them in use"
        )
        raise DataError(f"{name} has {counted(len(values), 'label')} and the data {there}; pass one for each row.")
    return values


def _check_labels(sample: Sample, values: pd.Series, name: str) -> None:
    """Refuse a series whose index is another than that of the data."""
    labels = sample.container.row_labels
    if labels is None:
        return
    used = sample.user_data.in_use
    index = values.index
    if len(index) == sample.user_data.rows and used is not None:
        index = index[used.cpu().numpy()]
    if len(index) == len(labels) and not index.equals(labels):
        raise DataError(
            f"The indices of {name} and the data differ, so their rows may not belong together; align them first, or pass an array."
        )
