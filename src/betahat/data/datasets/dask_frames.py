"""Dataframes of dask: with a Client as engine their rows stay with its workers, and without one they are computed here, one partition at a time."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from betahat.data.datasets.base import Dataset, Partition
from betahat.data.datasets.elsewhere import Elsewhere, Lying
from betahat.data.datasets.partitioned import Partitioned
from betahat.errors import optional_module


@dataclass(frozen=True, eq=False)
class Delayed(Lying):
    """A dataframe of pandas that dask can compute.

    Attributes
    ----------
    delayed : dask.delayed.Delayed
    """

    delayed: Any

    @property
    def library(self) -> str:
        """It is dask's."""
        return "dask"

    @property
    def remote(self) -> Any:
        """The delayed dataframe."""
        return self.delayed

    def fetch(self) -> Any:
        """Compute it: by the Client whose workers hold it, by the scheduler that the user has chosen, else in this thread."""
        distributed = sys.modules.get("distributed")
        held = [] if distributed is None else distributed.futures_of(self.delayed)
        if held:
            return held[0].client.compute(self.delayed).result()
        scheduler = optional_module("dask.base", "Dataframes of dask need dask", "dask").get_scheduler()
        return self.delayed.compute(**({} if scheduler else {"scheduler": "synchronous"}))


@dataclass(frozen=True, eq=False)
class Frames:
    """The partitions of a dataframe of dask, by the columns that are read, so that dask reads no others from files.

    Attributes
    ----------
    frame : dask.dataframe.DataFrame
    known : dict of tuple of str to list
        The delayed partitions of some columns.
    """

    frame: Any
    known: dict[tuple[str, ...], list[Any]] = field(default_factory=dict)

    def of(self, columns: Sequence[str]) -> list[Any]:
        """Return the delayed partitions with some of the columns."""
        asked = tuple(columns)
        if asked not in self.known:  # simplified only: all of dask's optimizations would also join small partitions
            self.known[asked] = self.frame[list(asked)].simplify().to_delayed(optimize_graph=False)
        return self.known[asked]


@dataclass(frozen=True, eq=False)
class DaskPartition(Partition):
    """A partition of a dataframe of dask.

    Attributes
    ----------
    frames : Frames
    number : int
        Which one it is, from zero.
    """

    frames: Frames
    number: int

    @property
    def name(self) -> str:
        """What messages call it."""
        return f"partition {self.number} of the dask DataFrame"

    @property
    def apart(self) -> bool:
        """It lies with a worker, or is read by one."""
        return True

    def ready(self, columns: Sequence[str]) -> Partition:
        """Return it with the delayed dataframe of some columns."""
        return Elsewhere(self.name, Delayed(self.frames.of(columns)[self.number]))

    def chunks(self, columns: Sequence[str]) -> Iterator[Any]:
        """Yield frames of 65,536 rows."""
        return self.ready(columns).chunks(columns)


def dask_frame(frame: Any) -> Dataset:
    """Return a dataframe of dask as a dataset."""
    frames = Frames(frame)
    parts = tuple(DaskPartition(frames, number) for number in range(frame.npartitions))
    return Partitioned("the dask DataFrame", tuple(frame.columns), parts)
