"""`dataset_of`: what a user may pass in the place of a dataframe, as a dataset."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Any

from betahat.data.datasets.base import Dataset, Partition
from betahat.data.datasets.files import File, found_files
from betahat.data.datasets.layout import Layout
from betahat.data.datasets.parquet import Footer
from betahat.errors import DataError, shown


def dataset_of(data: Any) -> Dataset | None:
    """Return data that do not lie in memory as a dataset; None where they are an ordinary dataframe, or nothing that is known here."""
    if isinstance(data, Dataset):
        return data
    if isinstance(data, str | os.PathLike):
        return _of_files(shown(os.fspath(data)), found_files([data]))
    if isinstance(data, list | tuple) and data and all(isinstance(path, str | os.PathLike) for path in data):
        return _of_files(
            f"{shown(os.fspath(data[0]))} and others" if len(data) > 1 else shown(data[0]), found_files(data)
        )
    return None


@dataclass(frozen=True, eq=False)
class Files(Dataset):
    """Partitions with the same columns.

    Attributes
    ----------
    label : str
        What they are called together.
    layout : Layout
    parts : tuple of Partition
    """

    label: str
    layout: Layout
    parts: tuple[Partition, ...]

    @property
    def name(self) -> str:
        """What they are called together."""
        return self.label

    @property
    def columns(self) -> tuple[str, ...]:
        """The names of all columns."""
        return tuple(self.layout.types)

    @property
    def partitions(self) -> tuple[Partition, ...]:
        """Files, or row groups of large ones, in order."""
        return self.parts


def _of_files(label: str, files: tuple[File, ...]) -> Files:
    for file in files:
        if file.kind != "Parquet":
            raise DataError(f"{file.name} is {file.kind}, and rows are read from Parquet; write it as Parquet.")
    footers = [Footer.of(file) for file in files]
    layout = Layout.of((file.name, footer.schema) for file, footer in zip(files, footers, strict=True))
    parts = [part for file, footer in zip(files, footers, strict=True) for part in footer.partitions(file, layout)]
    return Files(label, layout, tuple(parts))
