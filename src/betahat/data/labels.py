"""Labels of rows, in any container, become numbers: equal ones are found by what is fast there, and one of each says what it is.

Of a million rows, a container's own labels are converted only where they first appear, so that text never becomes objects of Python.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from betahat.data.container import to_numpy
from betahat.data.frame import column_codes, column_rows, is_column
from betahat.errors import DataError
from betahat.lazy import lazily

if TYPE_CHECKING:
    import pandas as pd
else:
    pd = lazily("pandas")

# Whole numbers in a range of up to so many times the rows are numbered by a table.
_TABLE = 4
# Text of fixed width is read in blocks that fit into a cache.
_ROWS = 8192
# An odd number whose bits have no pattern, 2**64 over the golden ratio, spreads words over all 64 bits.
_ODD, _SHIFT = np.uint64(0x9E3779B97F4A7C15), np.uint64(29)
_PLAIN = {int: np.int64, float: np.float64, bool: np.bool_}


@dataclass(frozen=True, eq=False)
class Labels:
    """A label for each row.

    Attributes
    ----------
    codes : ndarray
        (n,) from 0 to m - 1, in the order in which labels appear; equal labels may have several, such as text that two categories share.
    take : callable
        Returns the labels of (m,) places, as a series.
    """

    codes: np.ndarray
    take: Callable[[np.ndarray], pd.Series]

    def of_rows(self, rows: np.ndarray) -> tuple[np.ndarray, pd.Series]:
        """Return (m,) codes of the rows at these places, and the first label of each; their type is that of all."""
        places = first_places(self.codes)
        if len(rows) == len(self.codes):
            return self.codes, self.take(places)
        codes = _in_order(self.codes[rows])
        firsts = rows[first_places(codes)]
        return codes, self.take(np.concatenate([places, firsts])).iloc[len(places) :]


@dataclass(frozen=True, eq=False)
class LabelList:
    """A list of labels, whose type is what pandas takes them for, and not one of vectors.

    Attributes
    ----------
    values : sequence
        (n,).
    codes : ndarray or None
        (n,) as in `Labels`, of text.
    kinds : set of type
        Of labels that are not known to be text.
    """

    values: Sequence[Any]
    codes: np.ndarray | None = None
    kinds: frozenset[type] = frozenset()

    def read(self) -> Any:
        """Return the labels, or an array of them."""
        if self.codes is not None:
            return Labels(
                self.codes, lambda places: pd.Series(pd.Series([self.values[i] for i in places.tolist()]).to_numpy())
            )
        plain = _plain(self.values, self.kinds)
        return pd.Series(list(self.values)).to_numpy() if plain is None else plain


def whole(values: Any) -> Any:
    """Return a vector of any kind as NumPy reads it."""
    if isinstance(values, LabelList):
        return pd.Series(list(values.values)).to_numpy()
    return column_rows(values, None) if is_column(values) else values


def labels_of(values: Any, name: str) -> Labels | Tensor:
    """Return the labels in a vector of any kind, whole numbers as a tensor."""
    values = values.read() if isinstance(values, LabelList) else values
    values = _of_list(values) if isinstance(values, list | tuple) else values
    if isinstance(values, pd.Series) and str(values.dtype).startswith("dictionary<"):
        arrow: Any = values.array
        values = arrow.__arrow_array__()  # pandas would count entries that no row has
    if is_column(values):
        codes = column_codes(values)
        values = column_rows(values, None) if codes is None else Labels(_in_order(codes), partial(column_rows, values))
    if isinstance(values, Labels | Tensor):
        return values
    if isinstance(values, pd.Index) and not isinstance(values, pd.MultiIndex):
        return Labels(_pandas_codes(pd.Series(values), name), lambda places: pd.Series(np.asarray(values[places])))
    vector = values if isinstance(values, pd.Series) else np.asarray(values).reshape(-1)
    if isinstance(vector.dtype, np.dtype) and vector.dtype.kind == "i":
        return torch.from_numpy(np.array(vector, dtype=np.int64))
    if isinstance(vector, pd.Series):
        return Labels(_pandas_codes(vector, name), lambda places: vector.iloc[places])
    return Labels(_array_codes(vector, name), lambda places: pd.Series(vector[places]))


def _of_list(values: Sequence[Any]) -> Any:
    """Return the labels in a list beside others, or an array of them, whose type is what NumPy takes them for."""
    codes = text_codes(values)
    if codes is not None:
        some = [values[i] for i in first_places(codes).tolist()]
        if all(isinstance(label, str) for label in some):  # NumPy would make text of others
            return Labels(codes, lambda places: pd.Series(np.asarray([values[i] for i in places.tolist()])))
    plain = _plain(values, frozenset(map(type, values)))
    return np.asarray(values) if plain is None else plain


def first_places(codes: np.ndarray) -> np.ndarray:
    """Return (m,) the first place of each code."""
    places = np.empty(int(codes.max(initial=-1)) + 1, dtype=np.int64)
    places[codes[::-1]] = np.arange(len(codes) - 1, -1, -1)
    return places


def _in_order(codes: np.ndarray) -> np.ndarray:
    """Return (n,) codes that are numbered in the order in which they appear."""
    return pd.factorize(codes, use_na_sentinel=False)[0]


def _pandas_codes(series: pd.Series, name: str) -> np.ndarray:
    """Return (n,) codes of a series, whatever its type."""
    kind = series.dtype
    if isinstance(kind, pd.CategoricalDtype):
        return _in_order(series.cat.codes.to_numpy())
    if isinstance(kind, pd.IntervalDtype):
        left, right = (pd.factorize(end, use_na_sentinel=False)[0] for end in (series.array.left, series.array.right))
        return _in_order(left * np.int64(right.max(initial=0) + 1) + right)
    if (isinstance(kind, np.dtype) and kind.kind == "O") or (
        isinstance(kind, pd.StringDtype) and kind.storage == "python"
    ):
        return _array_codes(series.to_numpy(dtype=object), name)
    return _array_codes(series.to_numpy(), name) if isinstance(kind, np.dtype) else _factorized(series, name)


def _array_codes(values: np.ndarray, name: str) -> np.ndarray:
    """Return (n,) codes of an array, of objects of Python say."""
    if values.dtype.kind == "c":
        raise complex_labels(name)
    if values.dtype in (np.float32, np.float64):
        return _factorized(values.view(f"i{values.itemsize}"), name)  # bits take half the time of numbers
    if values.dtype != object:
        fixed = _fixed_width_codes(values) if values.dtype.kind in "US" and values.dtype.itemsize else None
        return _factorized(values, name) if fixed is None else fixed
    entries = values.tolist()
    codes = text_codes(entries)
    if codes is not None:
        return codes
    kinds = frozenset(map(type, entries))
    if any(issubclass(kind, complex | np.complexfloating) for kind in kinds):
        raise complex_labels(name)
    plain = _plain(entries, kinds)
    return _factorized(values if plain is None else plain, name)


def _factorized(values: Any, name: str) -> np.ndarray:
    try:
        codes: np.ndarray = pd.factorize(values, use_na_sentinel=False)[0]
    except TypeError as error:
        raise unordered(name) from error
    return codes


def numbered(values: Tensor) -> tuple[Tensor, np.ndarray]:
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


def sorted_labels(some: pd.Series, name: str) -> tuple[np.ndarray, Any]:
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


def unordered(name: str) -> DataError:
    """Return what is said of labels that cannot be sorted."""
    return DataError(f"{name} has labels of several types, which have no order; make them all strings or numbers.")


def complex_labels(name: str) -> DataError:
    """Return what is said of complex labels, whose order nobody knows."""
    return DataError(f"{name} has complex labels; pass real numbers, text or dates.")


def _plain(values: Sequence[Any], kinds: frozenset[type]) -> np.ndarray | None:
    """Return (n,) Python's own numbers of a single type, as NumPy's; None of anything else."""
    kind = next(iter(kinds)) if len(kinds) == 1 else object
    if kind not in _PLAIN:
        return None
    try:
        return np.fromiter(values, _PLAIN[kind], len(values))
    except OverflowError:  # more than 64 bits
        return None


def text_codes(values: Sequence[Any]) -> np.ndarray | None:
    """Return (n,) codes of text by Arrow, which is there wherever pandas keeps text in it; None of anything that is not text."""
    if not isinstance(values[0], str):
        return None
    arrow: Any = pd.api and sys.modules.get("pyarrow")  # which pandas imports
    if arrow is None:
        return None
    try:
        made = arrow.array(values, from_pandas=True)
    except (ValueError, TypeError, NotImplementedError):  # of several types, or halves of characters
        return None
    codes = column_codes(made) if made.type == arrow.string() else None
    return codes if codes is None or codes.min() >= 0 else _in_order(codes)


def _fixed_width_codes(values: np.ndarray) -> np.ndarray | None:
    """Return (n,) codes of text of NumPy's, whose words of 64 bits are mixed into one; None where two labels are mixed into the same."""
    rows, width = len(values), values.dtype.itemsize
    whole = values.view(f"V{width}") if values.flags.c_contiguous else np.ascontiguousarray(values).view(f"V{width}")
    mixed = np.empty(rows, np.uint64)
    padded = np.zeros((min(rows, _ROWS), -(-width // 8) * 8), np.uint8)
    for start in range(0, rows, _ROWS):
        part = whole[start : start + _ROWS].view(np.uint8).reshape(-1, width)
        padded[: len(part), :width] = part
        words = padded[: len(part)].view(np.uint64)
        into = mixed[start : start + _ROWS]
        into[:] = 0
        for i in range(words.shape[1]):
            into ^= into >> _SHIFT
            into += words[:, i]
            into *= _ODD
    codes: np.ndarray = pd.factorize(mixed)[0]
    some = whole[first_places(codes)]
    for start in range(0, rows, _ROWS):
        stop = start + _ROWS
        if whole[start:stop].tobytes() != some[codes[start:stop]].tobytes():
            return None
    return codes
