"""What goes in decides what comes out: the one place that turns tensors into a user's objects."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from betahat.errors import DataError

Names = Callable[[], Sequence[str]]


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


def to_tensor(values: Any, like: Tensor) -> Tensor:
    """Put numbers of any kind into float64 on the device of `like`."""
    if isinstance(values, Tensor):
        return values.detach().to(like.device, torch.float64)
    try:
        return torch.as_tensor(np.array(values, dtype=float), device=like.device)
    except (ValueError, TypeError) as error:
        raise DataError(f"{values!r} came where numbers were expected; pass an array of numbers.") from error


def _labelled(values: Tensor, index: Any, columns: Any) -> pd.Series | pd.DataFrame:
    if values.ndim == 1:
        return pd.Series(to_numpy(values), index=index)
    return pd.DataFrame(to_numpy(values), index=index, columns=columns)
