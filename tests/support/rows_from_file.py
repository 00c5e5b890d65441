"""A source that reads blocks of rows from files, for the tests of sources; processes of a pool import it, too."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from betahat.data.source import Source


@dataclass(frozen=True, eq=False)
class RowsFromFile(Source):
    """Columns that lie in .npy files, a file each; it notes the most rows that were asked for at once."""

    folder: Path
    names: tuple[str, ...]
    most: int
    asked: list[int] = field(default_factory=list)

    @classmethod
    def written(cls, folder: Path, columns: Mapping[str, Tensor], most: int) -> RowsFromFile:
        for name, column in columns.items():
            np.save(folder / f"{name}.npy", column.numpy())
        return cls(folder, tuple(columns), most)

    def _open(self, name: str) -> np.ndarray:
        return np.load(self.folder / f"{name}.npy", mmap_mode="r")

    @property
    def rows(self) -> int:
        return len(self._open(self.names[0]))

    @property
    def device(self) -> torch.device:
        return torch.device("cpu")

    @property
    def shapes(self) -> Mapping[str, tuple[int, ...]]:
        return {name: self._open(name).shape[1:] for name in self.names}

    def _read(self, names: Sequence[str], places: slice | np.ndarray) -> tuple[Tensor, ...]:
        parts = tuple(torch.tensor(self._open(name)[places]) for name in names)
        self.asked.append(len(parts[0]))
        wide = any(part.ndim > 1 for part in parts)
        if wide and len(parts[0]) > self.most:
            raise MemoryError(f"{len(parts[0])} rows were asked for at once, and blocks have at most {self.most}")
        return parts

    def read(self, names: Sequence[str], start: int, stop: int) -> tuple[Tensor, ...]:
        return self._read(names, slice(start, stop))

    def take(self, names: Sequence[str], places: Tensor) -> tuple[Tensor, ...]:
        return self._read(names, places.numpy())

    def check(self, *, whole: bool) -> None:
        """Files stay as they are."""
