"""Datasets made of tables in memory, for tests of what is read in partitions."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pandas as pd
import torch
from torch import Tensor

from betahat.data.datasets.base import Dataset, Partition
from betahat.data.streamed import Builder, Built, Streamed


@dataclass(frozen=True, eq=False)
class TensorPartition(Partition):
    """Named tensors, handed out in chunks of so many rows."""

    label: str
    columns: dict[str, Tensor]
    chunk: int
    opened: list[tuple[str, ...]] = field(default_factory=list)

    @property
    def name(self):
        return self.label

    def chunks(self, columns):
        self.opened.append(tuple(columns))
        rows = len(next(iter(self.columns.values())))
        for start in range(0, rows, self.chunk):
            yield {name: self.columns[name][start : start + self.chunk] for name in columns}


@dataclass(frozen=True, eq=False)
class TensorDataset(Dataset):
    """Partitions of named tensors."""

    parts: tuple[TensorPartition, ...]

    @property
    def name(self):
        return "tensors"

    @property
    def columns(self):
        return tuple(self.parts[0].columns)

    @property
    def partitions(self):
        return self.parts


@dataclass(frozen=True, eq=False)
class FramePartition(Partition):
    """A dataframe, handed out in chunks of so many rows, as what `made` makes of them."""

    label: str
    frame: pd.DataFrame
    chunk: int
    made: Callable[[pd.DataFrame], Any]
    opened: list[tuple[str, ...]] = field(default_factory=list)

    @property
    def name(self):
        return self.label

    def chunks(self, columns):
        self.opened.append(tuple(columns))
        for start in range(0, len(self.frame), self.chunk):
            yield self.made(self.frame.iloc[start : start + self.chunk][list(columns)])


@dataclass(frozen=True, eq=False)
class FrameDataset(Dataset):
    """Partitions of dataframes."""

    parts: tuple[FramePartition, ...]

    @property
    def name(self):
        return "frames"

    @property
    def columns(self):
        return tuple(self.parts[0].frame.columns)

    @property
    def partitions(self):
        return self.parts


def in_partitions(frame: pd.DataFrame, sizes, chunk=300, made=lambda frame: frame) -> FrameDataset:
    """Return a dataframe in partitions of so many rows, which may be empty, in chunks that are dataframes of any library."""
    places = [0, *itertools.accumulate(sizes)]
    return FrameDataset(
        tuple(
            FramePartition(f"part {i}", frame.iloc[a:b], chunk, made)
            for i, (a, b) in enumerate(itertools.pairwise(places))
        )
    )


@dataclass(frozen=True, eq=False)
class Plain(Builder):
    """Columns as they are; a chunk is a dict of tensors."""

    sizes: dict[str, tuple[int, ...]]

    @property
    def needs(self):
        return tuple(self.sizes)

    @property
    def shapes(self):
        return self.sizes

    def build(self, chunk):
        return Built({name: chunk[name] for name in self.sizes})


def streamed(columns: dict[str, Tensor], sizes, chunk=500, beside=None) -> Streamed:
    """Return (n, ...) tensors as a stream in partitions of so many rows, which may be empty; further columns of the dataset are vectors of any kind."""
    places = torch.tensor([0, *sizes]).cumsum(0).tolist()
    every = {**columns, **(beside or {})}
    parts = tuple(
        TensorPartition(f"part {i}", {name: values[a:b] for name, values in every.items()}, chunk)
        for i, (a, b) in enumerate(itertools.pairwise(places))
    )
    shapes = {name: tuple(values.shape[1:]) for name, values in columns.items()}
    return Streamed(TensorDataset(parts), Plain(shapes), tuple(sizes))
