"""`RowsInUse`: labels of the rows of a stream, which are found in a pass over its dataset where somebody asks for them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from betahat.data.datasets.base import Partition
from betahat.data.engine import THREADS, in_force
from betahat.data.frame import rows_of_frame
from betahat.data.streamed import Builder, Streamed
from betahat.data.threads import remembered
from betahat.lazy import lazily

if TYPE_CHECKING:
    import pandas as pd
else:
    pd = lazily("pandas")


@dataclass(frozen=True, eq=False)
class RowsInUse:
    """The positions in a dataset of those of its rows that are in use, in the place of an index that holds them.

    Attributes
    ----------
    stream : Streamed
    """

    stream: Streamed

    def view(self) -> pd.Index:
        """Return (n,) the positions."""
        found: pd.Index = self._found[0]
        return found.view()

    @property
    def rows(self) -> int:
        """How many rows the dataset has."""
        rows: int = self._found[1]
        return rows

    @remembered
    def _found(self) -> Any:
        dataset, builder = self.stream.dataset, self.stream.builder
        start, places = 0, []
        for rows, used in in_force(THREADS).over(_Used(builder), dataset, builder.needs):
            places.append(start + used)
            start += rows
        return pd.Index(np.concatenate(places)), start


@dataclass(frozen=True, eq=False)
class _Used:
    """Finds which rows of a partition are in use."""

    builder: Builder

    def __call__(self, partition: Partition) -> tuple[int, np.ndarray]:
        """Return how many rows there are, and (m,) the positions of those in use."""
        start, places = 0, [np.empty(0, np.int64)]
        for chunk in partition.chunks(self.builder.needs):
            rows = rows_of_frame(chunk)
            if rows:
                places.append(start + self.builder.build(chunk).places(rows).cpu().numpy())
            start += rows
        return start, np.concatenate(places)
