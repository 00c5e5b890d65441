"""Rows that lie with the workers of dask or ray: a task of theirs is sent to where they are, and anybody else fetches them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import narwhals as nw

from betahat.data.datasets.base import Partition
from betahat.data.datasets.sizes import evenly
from betahat.errors import DataError, listed


class Lying(ABC):
    """A dataframe that workers of an engine have, or can make."""

    @property
    @abstractmethod
    def library(self) -> str:
        """Whose engine it is, "dask" or "ray"."""

    @property
    @abstractmethod
    def remote(self) -> Any:
        """What the library's tasks take as an argument in the place of the dataframe."""

    @abstractmethod
    def fetch(self) -> Any:
        """Return the dataframe, here."""


@dataclass(frozen=True, eq=False)
class Fetched(Lying):
    """A dataframe that has come to a worker.

    Attributes
    ----------
    frame : object
    """

    frame: Any

    @property
    def library(self) -> str:
        """It is here."""
        return ""

    @property
    def remote(self) -> Any:
        """The dataframe."""
        return self.frame

    def fetch(self) -> Any:
        """Return it."""
        return self.frame


@dataclass(frozen=True, eq=False)
class Elsewhere(Partition):
    """A partition that lies with a worker.

    Attributes
    ----------
    label : str
        What messages call it.
    rows : Lying
        Its dataframe.
    """

    label: str
    rows: Lying

    @property
    def name(self) -> str:
        """What messages call it."""
        return self.label

    @property
    def apart(self) -> bool:
        """It lies with a worker."""
        return True

    def chunks(self, columns: Sequence[str]) -> Iterator[Any]:
        """Yield frames of 65,536 rows."""
        try:
            frame = nw.from_native(self.rows.fetch(), eager_only=True)
            absent = [name for name in columns if name not in frame.columns]
        except KeyError as error:  # the library chose the columns
            absent = [str(error)]
        if absent:
            raise DataError(
                f"{self.label} lacks columns that other parts have: {listed(absent)}; give all parts the same columns."
            )
        return evenly([nw.maybe_reset_index(frame.select(list(columns)))])
