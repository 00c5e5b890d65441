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

from betahat.data.container import check_real, real_array, to_numpy
from betahat.data.frame import column_of, columns_of, is_column, is_frame
from betahat.data.labels import LabelList, complex_labels, labels_of, text_codes, unordered, whole
from betahat.data.modes import check_held
from betahat.data.sample import Sample
from betahat.data.threads import remembered
from betahat.errors import DataError, OptionError, counted, listed, shown
from betahat.lazy import lazily

if TYPE_CHECKING:
    import pandas as pd
else:
    pd = lazily("pandas")

# Whole numbers in a range of up to so many times the rows are numbered by a table.
_TABLE = 4
# What is no vector; of other types each is asked.
_SINGLE = (str, bytes, int, float, complex, type(None), np.generic, datetime.date, datetime.timedelta)


@dataclass(frozen=True, eq=False)
class Groups:
    """A partition of the rows in use.

    Attributes
    ----------
    codes : Tensor
        (n,) int64, from 0 to `count` - 1, in the sorted order of the labels.
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
    """

    codes: Tensor
    count: int
    name: str
    column: str
    labels: pd.Index
    declared: pd.Index | None = None

    @remembered
    def sizes(self) -> Tensor:
        """(count,) the rows in each."""
        return torch.bincount(self.codes, minlength=self.count)


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
        joint, labels = _numbered(joint * other.count + other.codes)
    count = len(labels)
    return Groups(joint, count, " and ".join(group.name for group in groups), "", pd.RangeIndex(count))


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
    data = sample.user_data.data
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
        raise OptionError(
            f"{option}={shown(name)} is not a column of the model's data; {hint}; a vector with an entry for each row will do, too."
        )
    sample.user_data.check_column(name)
    return data[name] if isinstance(data, Mapping) else column_of(data, name)


def _groups(sample: Sample, values: Any, name: str, column: str) -> Groups:
    """Give numbers to the labels of the rows in use, none of which may be missing."""
    found = _with_gaps(sample, values, name, column)
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
    if isinstance(values, Tensor):
        check_held(values, name)
        if values.is_complex():
            raise complex_labels(name)
    if isinstance(values, pd.Series):
        _check_labels(sample, values, name)
    read = labels_of(values, name)
    if isinstance(read, Tensor):
        codes, labels = _numbered(_in_use(sample, read.to(device).reshape(-1), name))
    else:
        rows = _in_use(sample, torch.arange(len(read.codes)), name).cpu().numpy()
        places, some = read.of_rows(rows)
        found, labels = _sorted(some, name)
        if isinstance(some.dtype, pd.CategoricalDtype) and not some.dtype.ordered:
            declared = some.dtype.categories[np.unique(some.cat.codes[found >= 0])]
        codes = torch.as_tensor(found[places], dtype=torch.int64, device=device)
    return Groups(codes, len(labels), name, column, pd.Index(labels), declared)


def _numbered(values: Tensor) -> tuple[Tensor, np.ndarray]:
    """Return (n,) codes in the order of the labels, -1 for NaN, and the labels."""
    hashed = values.device.type == "cpu"
    if values.is_floating_point():
        values = (
            values if values.element_size() > 2 else values.to(torch.float32)
        )  # pandas has no index of half precision
        if hashed:
            return _by_table_of_hashes(values)
        there = ~torch.isnan(values)
        labels, inverse = torch.unique(values[there], return_inverse=True)
        return torch.full_like(values, -1, dtype=torch.int64).masked_scatter_(there, inverse), labels.cpu().numpy()
    low, high = (int(end) for end in torch.aminmax(values.long()))
    if high - low >= _TABLE * len(values):
        if hashed:
            return _by_table_of_hashes(values)
        labels, codes = torch.unique(values, return_inverse=True)
        return codes, labels.cpu().numpy()
    shifted = values.long() - low  # numbers as dense as these need no sorting, only a table
    there = torch.zeros(high - low + 1, dtype=torch.bool, device=values.device).index_fill_(0, shifted, True)
    if bool(there.all()):
        return shifted, np.arange(low, high + 1)
    return (there.cumsum(0) - 1)[shifted], (there.nonzero().flatten() + low).cpu().numpy()


def _by_table_of_hashes(values: Tensor) -> tuple[Tensor, np.ndarray]:
    """Sort the labels alone, which takes a third of the time of sorting rows."""
    codes, labels = pd.factorize(to_numpy(values), sort=True)
    return torch.from_numpy(codes), labels


def _sorted(some: pd.Series, name: str) -> tuple[np.ndarray, Any]:
    """Return (m,) codes in the order of the labels, a category's own where it has one, -1 for missing ones, and the labels."""
    there = np.ones(len(some), dtype=bool)
    if isinstance(some.dtype, pd.CategoricalDtype) and not some.dtype.ordered:
        codes = some.cat.codes.to_numpy()
        there = codes >= 0
        some = pd.Series(some.cat.categories.take(codes[there]))
    found = np.full(len(there), -1)
    try:
        found[there], labels = pd.factorize(some, sort=True)
    except TypeError as error:
        raise unordered(name) from error
    return found, labels


def _in_use(sample: Sample, values: Tensor, name: str) -> Tensor:
    """Take the rows in use, of a vector that is as long as they are or as the original data."""
    rows, used = sample.rows, sample.user_data.in_use
    if values.ndim == 0:
        raise DataError(f"{name} is a single value; pass one for each row.")
    if len(values) == sample.user_data.rows:
        return values if used is None else values[used.to(values.device)]
    if len(values) != rows:
        there = (
            f"{rows} rows" if rows == sample.user_data.rows else f"{sample.user_data.rows} rows, {rows} of them in use"
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
