"""What goes in decides what comes out: the one place that hands results out, each time a copy that may be worked on in place."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from betahat.data.handed_out import hands_out_copies
from betahat.data.modes import check_held, settled
from betahat.errors import DataError, shown
from betahat.lazy import lazily

if TYPE_CHECKING:
    import pandas as pd
else:
    pd = lazily("pandas")

Names = Callable[[], Sequence[str]]


class Container(ABC):
    """How results are handed to the user: tensors, NumPy arrays or labelled pandas objects."""

    @abstractmethod
    def plain(self, values: Tensor) -> Any:
        """Hand out numbers without labels: a tensor or an array."""

    @abstractmethod
    def present(self, values: Tensor, names: Names, columns: Sequence[Any] | None = None) -> Any:
        """Hand out a (k,) vector or (k, m) matrix with one row for each parameter; `names` is called only if the names are needed."""

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
        (n,) the labels of the rows in use, or a `RowsInUse` that finds them.
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
        return _labelled(values.clone(), self.row_labels, columns)

    def relabelled(self, labels: Any) -> Frames:
        """Return the container of rows with these labels."""
        return Frames(pd.Index(labels))

    @property
    def row_labels(self) -> pd.Index:
        """The labels of the rows in use: a view, whose name alone can be changed."""
        return self.rows.view()


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
