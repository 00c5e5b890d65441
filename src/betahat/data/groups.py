"""Labels of rows become codes: clusters, their intersections, and the order of time."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from betahat.data.frame import to_pandas
from betahat.data.sample import Sample
from betahat.errors import DataError, OptionError, counted, listed


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
    labels : pandas.Index
        (count,) the labels, sorted.
    """

    codes: Tensor
    count: int
    name: str
    labels: pd.Index

    @property
    def sizes(self) -> Tensor:
        """(count,) the rows in each."""
        return torch.bincount(self.codes, minlength=self.count)


def read_groups(sample: Sample, given: Any, option: str) -> tuple[Groups, ...]:
    """Read one or several partitions of the rows.

    Parameters
    ----------
    sample : Sample
        The rows in use, and the user's data.
    given : str, vector, or several of them
        A column's name; a vector with a label for each row of the original data, or for each row in use; a list of
        names or of vectors, a dataframe or an array (n, q) for several partitions.
    option : str
        What the option is called, in a sentence.

    Returns
    -------
    tuple of Groups

    Raises
    ------
    DataError, OptionError
        No such column, another length, another index, missing labels.
    """
    return tuple(_groups(sample, values, name) for name, values in _columns(sample, given, option))


def read_group(sample: Sample, given: Any, option: str) -> Groups:
    """Read one partition; the parameters are those of `read_groups`."""
    found = read_groups(sample, given, option)
    if len(found) != 1:
        raise OptionError(f"{option} has {len(found)} columns; pass one.")
    return found[0]


def read_numbers(sample: Sample, given: Any, option: str) -> Tensor:
    """Read a finite number for each row in use, such as a coordinate; `given` is a column's name or a vector."""
    ((name, values),) = _columns(sample, given, option)
    try:
        read = torch.as_tensor(np.asarray(values, dtype=float)) if not isinstance(values, Tensor) else values
    except (TypeError, ValueError) as error:
        raise DataError(f"{name} is not numeric; pass numbers.") from error
    read = _in_use(sample, read.to(device=sample.columns[0].device, dtype=torch.float64), name)
    bad = int((~torch.isfinite(read)).sum())
    if bad:
        raise DataError(f"{name} has {counted(bad, 'missing or infinite value')} in the rows in use; fill them in.")
    return read


def intersection(groups: Sequence[Groups]) -> Groups:
    """Return the partition into the groups' intersections."""
    joint = groups[0].codes
    for other in groups[1:]:
        joint = torch.unique(joint * other.count + other.codes, return_inverse=True)[1]
    count = int(joint.max()) + 1
    return Groups(joint, count, " and ".join(group.name for group in groups), pd.RangeIndex(count))


def gaps(times: Groups) -> list[Any]:
    """Return the labels after which whole-number times skip one; none for other labels."""
    labels = times.labels
    if not pd.api.types.is_integer_dtype(labels.dtype):
        return []
    return [before for before, after in itertools.pairwise(labels) if after != before + 1]


def _columns(sample: Sample, given: Any, option: str) -> list[tuple[str, Any]]:
    """Name each of the vectors that were given."""
    if given is None:
        raise OptionError(f"{option} is None; pass a column's name, or a vector with a label for each row.")
    if isinstance(given, str):
        return [(f"{option} {given!r}", _look_up(sample, given, option))]
    if isinstance(given, list | tuple):
        return _listed_columns(sample, given, option)
    if isinstance(given, Tensor | np.ndarray):
        if given.ndim == 2 and given.shape[1] > 1:
            return [(f"{option}[{i}]", given[:, i]) for i in range(given.shape[1])]
        return [(option, given.reshape(-1))]
    if isinstance(given, pd.Series | pd.Index):
        return [(option if given.name is None else f"{option} {given.name!r}", given)]
    columns = given if isinstance(given, Mapping) else to_pandas(given, None)
    return [(f"{option} {name!r}", columns[name]) for name in columns]


def _listed_columns(sample: Sample, given: Sequence[Any], option: str) -> list[tuple[str, Any]]:
    """Tell a list of names, or of vectors, from a list of labels."""
    lengths = {sample.origin.rows, len(sample.columns[0])}
    named = all(isinstance(entry, str) for entry in given) and (len(given) not in lengths or _known(sample, given))
    if named or any(not isinstance(entry, str) and np.ndim(entry) for entry in given):
        return [
            (f"{option} {entry!r}", _look_up(sample, entry, option))
            if isinstance(entry, str)
            else (f"{option}[{i}]", entry)
            for i, entry in enumerate(given)
        ]
    return [(option, pd.Series(list(given)).to_numpy())]


def _known(sample: Sample, names: Sequence[str]) -> bool:
    return all(name in _names(sample) for name in names)


def _names(sample: Sample) -> list[str]:
    data = sample.origin.data
    if data is None:
        return []
    return list(data) if isinstance(data, Mapping) else list(to_pandas(data, None).columns)


def _look_up(sample: Sample, name: str, option: str) -> Any:
    data = sample.origin.data
    if data is None:
        raise OptionError(
            f"{option}={name!r} is a column's name, and the model has no dataframe to look it up in; pass the vector itself."
        )
    names = _names(sample)
    if name not in names:
        raise OptionError(f"{option}={name!r} is no column of the data; the columns are {listed(names, limit=30)}.")
    return data[name] if isinstance(data, Mapping) else to_pandas(data, name)[name]


def _groups(sample: Sample, values: Any, name: str) -> Groups:
    device = sample.columns[0].device
    if isinstance(values, Tensor):
        found = _in_use(sample, values.to(device).reshape(-1), name)
        if found.is_floating_point() and bool(torch.isnan(found).any()):
            _refuse_missing(sample, torch.isnan(found).nonzero().flatten().tolist(), name)
        levels, places = torch.unique(found, return_inverse=True)
        return Groups(places, len(levels), name, pd.Index(levels.cpu().numpy()))
    series = values if isinstance(values, pd.Series) else pd.Series(np.asarray(values).reshape(-1))
    _check_labels(sample, values, name)
    used = series.iloc[_in_use(sample, torch.arange(len(series)), name).cpu().numpy()]
    ordered = isinstance(used.dtype, pd.CategoricalDtype) and used.dtype.ordered
    plain = (
        used if ordered or not isinstance(used.dtype, pd.CategoricalDtype) else used.astype(used.cat.categories.dtype)
    )
    try:
        codes, labels = pd.factorize(plain, sort=True)
    except TypeError as error:
        raise DataError(
            f"{name} has labels of several types, which have no order; make them all strings or numbers."
        ) from error
    if bool((codes < 0).any()):
        _refuse_missing(sample, np.flatnonzero(codes < 0).tolist(), name)
    return Groups(torch.as_tensor(codes, dtype=torch.int64, device=device), len(labels), name, pd.Index(labels))


def _in_use(sample: Sample, values: Tensor, name: str) -> Tensor:
    """Take the rows in use, of a vector that is as long as they are or as the original data."""
    rows, kept = len(sample.columns[0]), sample.origin.kept
    if len(values) == sample.origin.rows:
        return values if kept is None else values[kept.to(values.device)]
    if len(values) != rows:
        there = f"{rows} rows" if rows == sample.origin.rows else f"{sample.origin.rows} rows, {rows} of them in use"
        raise DataError(f"{name} has {counted(len(values), 'label')} and the data {there}; pass one for each row.")
    return values


def _check_labels(sample: Sample, values: Any, name: str) -> None:
    """Refuse a series whose index is another than that of the data."""
    labels = sample.container.row_labels
    if labels is None or not isinstance(values, pd.Series):
        return
    kept = sample.origin.kept
    index = values.index
    if len(index) == sample.origin.rows and kept is not None:
        index = index[kept.cpu().numpy()]
    if len(index) == len(labels) and not index.equals(labels):
        raise DataError(
            f"The indices of {name} and the data differ, so their rows may not belong together; align them first, or pass an array."
        )


def _refuse_missing(sample: Sample, places: list[int], name: str) -> None:
    raise DataError(
        f"{name} is missing in {counted(len(places), 'row')} (labelled {sample.row_names(places)}); fill the labels in, or leave those rows "
        "out of the data."
    )
