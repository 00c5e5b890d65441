"""What goes in decides what comes out: the one place that hands results out, each time a copy that may be worked on in place."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
import torch
from narwhals.dependencies import is_pandas_dataframe, is_pandas_index, is_pandas_series
from torch import Tensor

from betahat.data.modes import check_held, settled
from betahat.errors import DataError, shown
from betahat.lazy import lazily

if TYPE_CHECKING:
    import pandas as pd
else:
    pd = lazily("pandas")

Names = Callable[[], Sequence[str]]
T = TypeVar("T")


class _Copied:
    """A field of a record: reading it gives a copy of what is kept."""

    def __init__(self, name: str) -> None:
        """Take the name that it is kept under."""
        self.name = name

    def __get__(self, record: Any, owner: type) -> Any:
        """Return a copy."""
        return self if record is None else copied(record.__dict__[self.name])

    def __set__(self, record: Any, value: Any) -> None:
        """Keep a value, which only the record's own `__init__` does, since it is frozen."""
        record.__dict__[self.name] = value


class _CopiedIndex(_Copied):
    """A field that may hold an index, of which a view of our own is kept: nobody else can change its name."""

    def __set__(self, record: Any, value: Any) -> None:
        """Keep a value."""
        record.__dict__[self.name] = value.view() if is_pandas_index(value) else value


def hands_out_copies(cls: type[T]) -> type[T]:
    """Let those fields of a frozen record be read as copies that hold tensors, frames or mappings: what one does to them changes no answer."""
    for entry in fields(cls):  # type: ignore[arg-type]
        if str(entry.type) == "Any" or any(kind in str(entry.type) for kind in _CHANGEABLE):
            setattr(cls, entry.name, (_CopiedIndex if "Index" in str(entry.type) else _Copied)(entry.name))
    return cls


def held(record: Any, name: str) -> Any:
    """Return what a record of copies keeps in a field, to be read at once and not handed out."""
    return record.__dict__[name]


def replaced(record: T, **changes: Any) -> T:
    """Return a record of copies with other values in some fields, as `dataclasses.replace` does, and copy nothing."""
    found: T = object.__new__(type(record))
    kept = {name: record.__dict__[name] for name in type(record).__dataclass_fields__}  # type: ignore[attr-defined]
    found.__dict__.update(kept, **changes)
    return found


# What annotations call things that can be changed in place; Df is a number or a tensor.
_CHANGEABLE = ("Tensor", "Df", "DataFrame", "Index", "Mapping")


class _CachedCopy(property):
    """A property that is computed once, and read as a copy each time."""

    def __set_name__(self, owner: type, name: str) -> None:
        """Remember where it is kept."""
        self.name = name

    def __get__(self, record: Any, owner: type | None = None) -> Any:
        """Return a copy."""
        if record is None:
            return self
        if self.name not in record.__dict__:
            assert self.fget is not None
            record.__dict__[self.name] = self.fget(record)
        return copied(record.__dict__[self.name])


def cached_copy(function: Callable[[Any], T]) -> T:
    """Make a property that is computed once, and read as a copy each time."""
    made: Any = _CachedCopy(function)
    found: T = made
    return found


def copied(value: Any) -> Any:
    """Return a copy of what can be changed in place, and anything else itself."""
    if isinstance(value, Tensor):
        return value.clone()
    if is_pandas_index(value):
        return value.view()  # whose name alone can be changed
    table = is_pandas_dataframe(value) or is_pandas_series(value)
    return value.copy() if table or isinstance(value, np.ndarray | dict | list) else value


class Container(ABC):
    """How results are handed to the user: tensors, NumPy arrays or labelled pandas objects."""

    @abstractmethod
    def plain(self, values: Tensor) -> Any:
        """Hand out numbers without labels: a tensor or an array."""

    @abstractmethod
    def present(self, values: Tensor, names: Names, columns: Sequence[Any] | None = None) -> Any:
        """Hand out a vector or a matrix with one row for each parameter.

        Parameters
        ----------
        values : Tensor
            (k,) or (k, m).
        names : callable
            Returns the (k,) parameters' names; called only where they show.
        columns : sequence, optional
            (m,) the columns' names; None takes the parameters'.
        """

    @abstractmethod
    def present_rows(self, values: Tensor, columns: Sequence[Any] | None = None) -> Any:
        """Hand out a vector or a matrix with one row for each row of the data."""

    @abstractmethod
    def relabelled(self, labels: Any) -> Container:
        """Return the container of other rows."""

    @property
    @abstractmethod
    def row_labels(self) -> Any:
        """The labels of the rows in use, or None."""


@dataclass(frozen=True)
class Tensors(Container):
    """Tensors in, tensors out, on their device."""

    def plain(self, values: Tensor) -> Tensor:
        """Return a copy of the tensor."""
        return values.clone()

    def present(self, values: Tensor, names: Names, columns: Any = None) -> Tensor:
        """Return a copy of the tensor."""
        return values.clone()

    def present_rows(self, values: Tensor, columns: Any = None) -> Tensor:
        """Return a copy of the tensor."""
        return values.clone()

    def relabelled(self, labels: Any) -> Container:
        """Return the container itself, which has no labels."""
        return self

    @property
    def row_labels(self) -> None:
        """Tensors have no row labels."""
        return None


@dataclass(frozen=True)
class Arrays(Container):
    """Arrays, lists and scalars in, NumPy arrays out."""

    def plain(self, values: Tensor) -> np.ndarray:
        """Return a NumPy array, a copy."""
        return to_numpy(values).copy()

    def present(self, values: Tensor, names: Names, columns: Any = None) -> np.ndarray:
        """Return a NumPy array, a copy."""
        return to_numpy(values).copy()

    def present_rows(self, values: Tensor, columns: Any = None) -> np.ndarray:
        """Return a NumPy array, a copy."""
        return to_numpy(values).copy()

    def relabelled(self, labels: Any) -> Container:
        """Return the container itself, which has no labels."""
        return self

    @property
    def row_labels(self) -> None:
        """Arrays have no row labels."""
        return None


@hands_out_copies
@dataclass(frozen=True, eq=False)
class Frames(Container):
    """Any dataframe or a formula in, labelled pandas objects out.

    Attributes
    ----------
    rows : pandas.Index
        (n,) the labels of the rows in use.
    """

    rows: pd.Index

    def plain(self, values: Tensor) -> np.ndarray:
        """Return a NumPy array, a copy."""
        return to_numpy(values).copy()

    def present(self, values: Tensor, names: Names, columns: Any = None) -> pd.Series | pd.DataFrame:
        """Return a Series or a DataFrame whose index is the parameters' names."""
        return _labelled(values.clone(), names(), names() if columns is None else columns)

    def present_rows(self, values: Tensor, columns: Any = None) -> pd.Series | pd.DataFrame:
        """Return a Series or a DataFrame with the data's own row labels."""
        return _labelled(values.clone(), self.rows, columns)

    def relabelled(self, labels: Any) -> Frames:
        """Return the container of rows with these labels."""
        return Frames(pd.Index(labels))

    @property
    def row_labels(self) -> pd.Index:
        """The labels of the rows in use."""
        return self.rows


def to_numpy(values: Tensor) -> np.ndarray:
    """Hand a tensor on any device to NumPy; on the CPU they share memory."""
    return values.detach().cpu().numpy()


def check_real(values: Tensor | np.ndarray, what: str) -> None:
    """Refuse complex numbers, dates and spans of time where real numbers are expected, before a part of them is dropped."""
    if values.is_complex() if isinstance(values, Tensor) else holds_complex(values):
        raise DataError(
            f"{what} of complex numbers was passed; betahat needs real ones: pass the real part, or both parts on their own."
        )
    if isinstance(values, np.ndarray) and values.dtype.kind in "mM":
        raise DataError(f"{what} of dates or time spans was passed; pass numbers, such as days.")


def holds_complex(values: np.ndarray) -> bool:
    """Tell whether an array holds complex numbers, as its type or as objects."""
    kind = values.dtype.kind
    return kind == "c" or (
        kind == "O"
        and any(issubclass(each, complex | np.complexfloating) for each in set(map(type, values.ravel().tolist())))
    )


def real_array(values: Any, what: str) -> np.ndarray:
    """Return real numbers of any kind as a float64 array, a copy; what numpy cannot convert is its ValueError or TypeError."""
    array = np.asarray(values)
    check_real(array, what)
    return np.array(array, dtype=float)


def to_tensor(values: Any, like: Tensor) -> Tensor:
    """Put real numbers of any kind into float64 on the device of `like`."""
    if isinstance(values, Tensor):
        check_held(values, "A tensor")
        check_real(values, "A tensor")
        return settled(values).detach().to(like.device, torch.float64)
    try:
        return torch.as_tensor(real_array(values, "An array"), device=like.device)
    except DataError:
        raise
    except (ValueError, TypeError, OverflowError) as error:
        raise DataError(f"{shown(values)} was passed where numbers are expected; pass an array of numbers.") from error


def _labelled(values: Tensor, index: Any, columns: Any) -> pd.Series | pd.DataFrame:
    if values.ndim == 1:
        return pd.Series(to_numpy(values), index=index, copy=False)
    return pd.DataFrame(to_numpy(values), index=index, columns=columns, copy=False)
