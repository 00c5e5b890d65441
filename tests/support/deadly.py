"""A dataset that kills the worker who reads it, the first time."""

import os
import signal
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from betahat.data.datasets.base import Dataset, Partition


@dataclass(frozen=True)
class DeadlyPartition(Partition):
    """Rows of x; another process than the one that made it is killed before it has read them, once."""

    label: str
    mark: str
    home: int
    deadly: bool

    @property
    def name(self):
        return self.label

    def chunks(self, columns):
        yield {"x": np.arange(4.0)}
        if self.deadly and os.getpid() != self.home and not Path(self.mark).exists():
            Path(self.mark).touch()
            os.kill(os.getpid(), signal.SIGKILL)
        yield {"x": np.arange(3.0)}


@dataclass(frozen=True)
class DeadlyDataset(Dataset):
    """Three partitions, the second of which is deadly."""

    mark: str

    @property
    def name(self):
        return "deadly rows"

    @property
    def columns(self):
        return ("x",)

    @property
    def partitions(self):
        return tuple(DeadlyPartition(f"part {i}", self.mark, os.getpid(), i == 1) for i in range(3))
