"""A torch Dataset or DataLoader as data: read once, in its order, into tensors of all rows."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import (
    DataLoader,
    Dataset,
    IterableDataset,
    RandomSampler,
    SubsetRandomSampler,
    TensorDataset,
    WeightedRandomSampler,
)

from betahat.errors import DataError, described
from betahat.models.options import user_code

# Rows of a dataset that are read together.
_ROWS = 1024
BATCHES = "let it hand out batches of tensors, all of one shape but for their number of rows"


def is_loader(given: Any) -> bool:
    """Tell whether data are a Dataset or a DataLoader."""
    return isinstance(given, DataLoader | Dataset)


def read_pairs(given: Any, device: torch.device) -> tuple[Any, Tensor]:
    """Return what a module is called with, and the target, of all rows of a loader of (inputs, target) or (input, ..., input, target)."""
    return pair_of(given, _read(given, device))


def pair_of(given: Any, rows: Any) -> tuple[Any, Tensor]:
    """Return what a module is called with, and the target, of the rows that a loader hands out."""
    if not isinstance(rows, tuple | list) or len(rows) < 2 or not isinstance(rows[-1], Tensor):
        came = "dicts" if isinstance(rows, Mapping) else "rows without a target"
        raise DataError(
            f"The {type(given).__name__} hands out {came}; let it hand out (inputs, target), or pass tensors of all rows as inputs and target."
        )
    *inputs, target = rows
    return inputs[0] if len(inputs) == 1 else tuple(inputs), target


def read_named(given: Any, device: torch.device) -> dict[str, Tensor]:
    """Return the columns, by name, of all rows of a loader of dicts."""
    return named_of(given, _read(given, device))


def named_of(given: Any, rows: Any) -> dict[str, Tensor]:
    """Return the columns, by name, of the rows that a loader hands out."""
    if not isinstance(rows, Mapping):
        raise DataError(
            f"The {type(given).__name__} hands out rows without names; let it hand out tensors by name, {{'x': x, 'y': y}}, or pass a dict of tensors of all rows."
        )
    return dict(rows)


def _read(given: Any, device: torch.device) -> Any:
    """Return the structure of a batch with tensors of all rows."""
    name = type(given).__name__
    if isinstance(given, TensorDataset):
        return _on(given.tensors, device)
    loader = loader_of(given)
    with user_code(f"The {name} cannot be read", BATCHES):
        batches = list(loader)
        first = next(iter(loader), None)
        rows = _joined(batches) if batches else None
    check_passes(name, batches[0] if batches else None, first)
    check_all_handed_out(name, loader, _length(rows))
    return _on(rows, device)


def loader_of(given: Any) -> DataLoader[Any]:
    """Return what hands out batches of a Dataset or a DataLoader; refuse one whose rows have no end or no order."""
    name = type(given).__name__
    loader = given if isinstance(given, DataLoader) else None
    if isinstance(given if loader is None else loader.dataset, IterableDataset):
        raise DataError(
            f"The {name} has no length, so that it need not end, nor hand out the same rows again; pass a Dataset with __len__ and "
            "__getitem__, or tensors of all rows."
        )
    if loader is not None and loader.batch_sampler is None:
        raise DataError(
            f"The {name} has batch_size=None, so that it does not say whether it hands out rows or batches; pass its dataset, or a batch_size."
        )
    samplers = () if loader is None else (loader.sampler, getattr(loader.batch_sampler, "sampler", None))
    if any(isinstance(part, RandomSampler | SubsetRandomSampler | WeightedRandomSampler) for part in samplers):
        raise DataError(
            f"The {name} shuffles its rows, so that results of rows, clusters and times would have no order to follow; pass one with shuffle=False, or "
            "its dataset."
        )
    if loader is not None:
        return loader
    with user_code(f"The {name} cannot be read", BATCHES):
        return DataLoader(given, batch_size=_ROWS)


def check_passes(name: str, one: Any, other: Any) -> None:
    """Refuse no rows, and passes whose first batches differ."""
    if one is None:
        raise DataError(f"The {name} hands out no rows; pass one that does.")
    if not _same(one, other):
        raise DataError(
            f"Two passes over the {name} hand out different rows, as where inputs are changed at random or the order is drawn; pass one that hands "
            "out the same rows each time."
        )


def check_all_handed_out(name: str, loader: DataLoader[Any], held: int) -> None:
    """Refuse a loader that leaves rows out at its end."""
    there = len(loader.sampler) if loader.drop_last else held  # type: ignore[arg-type]
    if held < there:
        raise DataError(f"The {name} leaves out {there - held} rows at its end; pass one with drop_last=False.")


def _joined(batches: list[Any]) -> Any:
    """Return the structure of a batch with the tensors of all of them, one after the other."""
    first = batches[0]
    if isinstance(first, Tensor):
        return torch.cat(batches)
    if isinstance(first, Mapping):
        return {str(key): _joined([batch[key] for batch in batches]) for key in first}
    if isinstance(first, tuple | list):
        return tuple(_joined(list(parts)) for parts in zip(*batches, strict=True))
    raise TypeError(f"it hands out {described(first)}")


def _same(one: Any, other: Any) -> bool:
    if isinstance(one, Tensor):
        same = torch.equal(one, other)
        return same or (one.is_floating_point() and torch.allclose(one, other, rtol=0.0, atol=0.0, equal_nan=True))
    keys = one if isinstance(one, Mapping) else range(len(one))
    return all(_same(one[key], other[key]) for key in keys)


def _length(rows: Any) -> int:
    return (
        len(rows)
        if isinstance(rows, Tensor)
        else _length(next(iter(rows.values())) if isinstance(rows, Mapping) else rows[0])
    )


def _on(rows: Any, device: torch.device) -> Any:
    if isinstance(rows, Tensor):
        return rows.to(device)
    if isinstance(rows, Mapping):
        return {key: _on(part, device) for key, part in rows.items()}
    return tuple(_on(part, device) for part in rows)
