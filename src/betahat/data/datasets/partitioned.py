"""`Partitioned`: a dataset that is a list of partitions."""

from __future__ import annotations

from dataclasses import dataclass

from betahat.data.datasets.base import Dataset, Partition


@dataclass(frozen=True, eq=False)
class Partitioned(Dataset):
    """Partitions with the same columns.

    Attributes
    ----------
    label : str
        What they are called together.
    names : tuple of str
        The names of all columns.
    parts : tuple of Partition
    """

    label: str
    names: tuple[str, ...]
    parts: tuple[Partition, ...]

    @property
    def name(self) -> str:
        """What they are called together."""
        return self.label

    @property
    def columns(self) -> tuple[str, ...]:
        """The names of all columns."""
        return self.names

    @property
    def partitions(self) -> tuple[Partition, ...]:
        """Their rows, in order."""
        return self.parts
