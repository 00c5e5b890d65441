"""Rows that models of the user's own code read again on each pass: batches of a torch Dataset or DataLoader, or columns of files."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import reduce
from typing import TYPE_CHECKING, Any

import narwhals as nw
import torch
from torch import Tensor

from betahat.data.arrays import read_columns
from betahat.data.checks import Tally, refuse_counts, refuse_weights
from betahat.data.datasets.base import Dataset, Partition
from betahat.data.engine import THREADS
from betahat.data.sample import COUNTS, WEIGHTS
from betahat.data.source import Source
from betahat.data.streamed import Builder, Built, Streamed
from betahat.data.turned import every
from betahat.errors import DataError, counted, described, shown
from betahat.lazy import lazily
from betahat.models.asked import Head
from betahat.models.loaders import BATCHES, check_all_handed_out, check_passes, is_loader, loader_of, named_of, pair_of
from betahat.models.options import PROBED_ROWS, user_code

if TYPE_CHECKING:
    from betahat.data.datasets import open as datasets
else:
    datasets = lazily("betahat.data.datasets.open")

# Rows that a user's code is tried on.
_TRIED = 2**12


@dataclass(frozen=True, eq=False)
class ReadAgain:
    """Rows that are read on each pass, and some of them to try code on.

    Attributes
    ----------
    source : Source
        Columns by their numbers, and weights and counts beside them.
    some : dict of str to Tensor
        (m, ...) every so many-th row of the same.
    names : tuple of str
        What the numbered columns are called, where they have names.
    structure : object
        A batch as a loader hands it out; None of files.
    """

    source: Source
    some: dict[str, Tensor]
    names: tuple[str, ...]
    structure: Any = None

    @property
    def columns(self) -> tuple[Tensor, ...]:
        """(m, ...) some rows of the numbered columns."""
        return tuple(column for name, column in self.some.items() if name.isdigit())

    @property
    def step(self) -> int:
        """From one of some rows to the next."""
        return _step(self.source.rows)


def read_again_pairs(given: Any, device: torch.device) -> ReadAgain:
    """Read a Dataset or a DataLoader of (inputs, target) on each pass: inputs are numbered in their order, and the target is the last column."""
    return _of_loader(given, device, lambda batch: _flat_pair(given, batch), ())


def read_again_named(given: Any, device: torch.device) -> ReadAgain:
    """Read a Dataset or a DataLoader of dicts on each pass."""
    names: list[str] = []

    def flat(batch: Any) -> tuple[Any, ...]:
        columns = named_of(given, batch)
        if not names:
            names.extend(map(str, columns))
        return tuple(columns.values())

    found = _of_loader(given, device, flat, names)
    return replace(found, names=tuple(names))


def read_again_files(
    dataset: Dataset, wanted: Callable[[Head], Sequence[str]], beside: Mapping[str, Any], device: torch.device
) -> ReadAgain:
    """Read columns of a dataset on each pass: those that are wanted of the first rows', and weights and counts by their names."""
    for option, name in beside.items():
        if not isinstance(name, str) or name not in dataset.columns:
            raise DataError(
                f"{option} is {described(name) if not isinstance(name, str) else shown(name)}, but the rows lie in {dataset.name}; pass the name of one of its columns."
            )
    options = {"weights": WEIGHTS, "freq_weights": COUNTS}
    weights = {options[option]: name for option, name in beside.items()}
    numbers = wanted(_head(dataset))
    places = {str(i): name for i, name in enumerate(numbers)} | weights
    labels = {**{name: f"data[{name!r}]" for name in numbers}, **{name: option for option, name in beside.items()}}
    builder = _OfFrames(places, {column: labels[name] for column, name in places.items()})
    source, tallies = _learnt(dataset, builder, device)
    if WEIGHTS in tallies:
        refuse_weights(tallies[WEIGHTS].negative, tallies[WEIGHTS].any, "weights")
    if COUNTS in tallies:
        refuse_counts(tallies[COUNTS].negative + tallies[COUNTS].not_whole, tallies[COUNTS].any)
    return ReadAgain(source, _some(source), tuple(numbers))


def dataset_of_names(data: Any) -> Dataset | None:
    """Return data with named columns that lie elsewhere as a dataset; None where they are in memory."""
    return None if isinstance(data, Mapping) or is_loader(data) else datasets.dataset_of(data)


def _of_loader(
    given: Any, device: torch.device, flat: Callable[[Any], tuple[Any, ...]], names: Sequence[str]
) -> ReadAgain:
    name, loader = type(given).__name__, loader_of(given)
    with user_code(f"The {name} cannot be read", BATCHES):
        first, again = next(iter(loader), None), next(iter(loader), None)
    check_passes(name, first, again)
    with user_code(f"The {name} cannot be read", BATCHES):
        head = flat(first)
        shapes = {str(i): tuple(part.shape[1:]) for i, part in enumerate(head)}
    labels = {str(i): f"data[{names[i]!r}]" if names else "inputs" for i in range(len(head))}
    if not names:
        labels[str(len(head) - 1)] = "target"
    dataset = _Loaded(name, tuple(shapes), (_Batches(name, loader, flat),))
    source, _ = _learnt(dataset, _OfBatches(shapes, labels), device)
    check_all_handed_out(name, loader, source.rows)
    return ReadAgain(source, _some(source), (), first)


def _flat_pair(given: Any, batch: Any) -> tuple[Any, ...]:
    """Return the tensors of inputs, and the target behind them."""
    inputs, target = pair_of(given, batch)
    if isinstance(inputs, Mapping):
        return (*inputs.values(), target)
    return (*inputs, target) if isinstance(inputs, tuple) else (inputs, target)


def inputs_of(given: ReadAgain) -> tuple[Any, Tensor]:
    """Return some rows as a module is called with them, and their target."""
    *parts, target = given.columns
    inputs = given.structure[0]
    if len(given.structure) == 2 and isinstance(inputs, Mapping):
        return dict(zip(map(str, inputs), parts, strict=True)), target
    return parts[0] if len(parts) == 1 else tuple(parts), target


def _learnt(dataset: Dataset, builder: _Labelled, device: torch.device) -> tuple[Streamed, dict[str, Tally]]:
    """Count rows and what is wrong with them, in a pass, and return them as a source."""
    found = list(THREADS.over(_Counted(builder), dataset))
    kept, tallies = tuple(rows for rows, _ in found), [tallies for _, tallies in found if tallies]
    both = reduce(lambda one, other: {name: one[name] + other[name] for name in one}, tallies) if tallies else {}
    for name, tally in both.items():
        if tally.not_finite:
            parts = zip(dataset.partitions, found, strict=True)
            where = [part.name for part, (_, one) in parts if one and one[name].not_finite]
            first = f"in {where[0]}" if len(where) == 1 else f"the first of them in {where[0]}"
            raise DataError(
                f"{builder.labels[name]} has {counted(tally.not_finite, 'missing or infinite value')} ({first}); leave those rows out, or fill them in."
            )
    return Streamed(dataset, builder, kept, device), both


def _step(rows: int) -> int:
    return max(rows // _TRIED, 1)


def _some(source: Source) -> dict[str, Tensor]:
    """Return every so many-th row, numbers with a point in float64."""
    some = every(source, _step(source.rows))
    return {name: some.read((name,), 0, some.rows)[0] for name in source.shapes}


@dataclass(frozen=True)
class _Counted:
    """The rows of a partition, and what may be wrong with each column."""

    builder: Builder

    def __call__(self, partition: Partition) -> tuple[int, dict[str, Tally]]:
        rows, tallies = 0, dict[str, Tally]()
        for chunk in partition.chunks(self.builder.needs):
            columns = self.builder.build(chunk).columns
            rows += len(next(iter(columns.values())))
            for name, column in columns.items():
                tallies[name] = tallies.get(name, Tally()) + Tally.of(column)
        return rows, tallies


class _Labelled(Builder):
    """A builder whose columns are called something in sentences."""

    labels: dict[str, str]


@dataclass(frozen=True, eq=False)
class _Loaded(Dataset):
    """What a loader hands out."""

    label: str
    numbers: tuple[str, ...]
    parts: tuple[Partition, ...]

    @property
    def name(self) -> str:
        """What it is called."""
        return f"The {self.label}"

    @property
    def columns(self) -> tuple[str, ...]:
        """Their numbers: no column has a name to look up."""
        return ()

    @property
    def partitions(self) -> tuple[Partition, ...]:
        """All rows."""
        return self.parts


@dataclass(frozen=True, eq=False)
class _Batches(Partition):
    """The batches of a loader."""

    label: str
    loader: Any
    flat: Callable[[Any], tuple[Any, ...]]

    @property
    def name(self) -> str:
        return f"the {self.label}"

    def chunks(self, columns: Sequence[str]) -> Iterator[dict[str, Tensor]]:
        """Yield some of the numbered tensors of one batch after the other."""
        with user_code(f"The {self.label} cannot be read", BATCHES):
            for batch in self.loader:
                parts = self.flat(batch)
                yield {name: parts[int(name)] for name in columns}


@dataclass(frozen=True, eq=False)
class _OfBatches(_Labelled):
    """Tensors of a batch, all of one shape but for their rows."""

    sizes: dict[str, tuple[int, ...]]
    labels: dict[str, str]

    @property
    def needs(self) -> tuple[str, ...]:
        return tuple(self.sizes)

    @property
    def shapes(self) -> Mapping[str, tuple[int, ...]]:
        return self.sizes

    def build(self, chunk: Any) -> Built:
        rows = {len(part) for part in chunk.values()}
        for name, part in chunk.items():
            if tuple(part.shape[1:]) != self.sizes[name] or len(rows) > 1:
                raise DataError(
                    f"{self.labels[name]} has a batch of shape {tuple(part.shape)} and rows of shape {self.sizes[name]} in the first one; {BATCHES}."
                )
        return Built({name: _plain(part.detach()) for name, part in chunk.items()})


@dataclass(frozen=True, eq=False)
class _OfFrames(_Labelled):
    """Columns of dataframes, as float64."""

    places: dict[str, str]
    labels: dict[str, str] = field(default_factory=dict)

    @property
    def needs(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(self.places.values()))

    @property
    def shapes(self) -> Mapping[str, tuple[int, ...]]:
        return dict.fromkeys(self.places, ())

    def build(self, chunk: Any) -> Built:
        frame = nw.from_native(chunk, eager_only=True)
        read = {
            column: read_columns(frame[name].to_native(), self.labels[column], torch.device("cpu"), None).values
            for column, name in self.places.items()
        }
        return Built({column: values.to(torch.float64) for column, values in read.items()})


def _plain(values: Tensor) -> Tensor:
    return values.to(torch.float64) if values.is_floating_point() else values


def _head(dataset: Dataset) -> Head:
    """Return the first rows, a few of them."""
    for partition in dataset.partitions:
        for chunk in partition.chunks(dataset.columns):
            frame = nw.from_native(chunk, eager_only=True)[:PROBED_ROWS]
            if len(frame):
                types = {name: frame[name].dtype for name in frame.columns}
                numbers = [name for name, kind in types.items() if kind.is_numeric() or kind == nw.Boolean]
                columns = (
                    _OfFrames(dict(zip(numbers, numbers, strict=True)), dict(zip(numbers, numbers, strict=True)))
                    .build(frame)
                    .columns
                )
                others = {name: _described(kind) for name, kind in types.items() if name not in columns}
                return Head(dataset.name, partition.name, columns, others)
    raise DataError(f"{dataset.name} has no rows; pass at least one.")


def _described(kind: Any) -> str:
    return "text" if kind in (nw.String, nw.Object) else f"of type {kind}"
