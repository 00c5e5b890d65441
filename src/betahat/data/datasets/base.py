"""`Dataset`: named columns that lie elsewhere, in partitions, each of which is read from its first row to its last."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from typing import Any


class Partition(ABC):
    """Rows of a dataset that one worker reads in one go: a file, some row groups of one, a partition of a dask frame.

    It is pickled for workers, read as often as it is asked for, and gives the same rows in the same chunks each time.
    """

    @property
    @abstractmethod
    def name(self) -> str:
        """What it is called in a sentence, such as "taxi/part-03.parquet"."""

    @abstractmethod
    def chunks(self, columns: Sequence[str]) -> Iterator[Any]:
        """Yield eager dataframes of some columns, in row order, of a size that fits into memory several times.

        Files that are gone, have changed since the dataset was made, or cannot be read are a `DataError` that names them.
        """

    @property
    def apart(self) -> bool:
        """Whether its rows lie with a worker of an engine."""
        return False

    def ready(self, columns: Sequence[str]) -> Partition:
        """Return what is sent to a worker that is going to read some of its columns."""
        return self


class Dataset(ABC):
    """Named columns in partitions, in order."""

    @property
    @abstractmethod
    def name(self) -> str:
        """What it is called in a sentence, such as "taxi/*.parquet"."""

    @property
    @abstractmethod
    def columns(self) -> tuple[str, ...]:
        """The names of all its columns."""

    @property
    @abstractmethod
    def partitions(self) -> tuple[Partition, ...]:
        """Its rows; the user's order is the rows' order."""
