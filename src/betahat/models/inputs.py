"""What a module is called with, and what its output is compared with: tensors, arrays, dataframes, alone or several."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from betahat.data.arrays import read_columns
from betahat.data.container import Arrays, Container, Frames
from betahat.data.container import Tensors as TensorContainer
from betahat.data.frame import check_together, columns_of, is_frame
from betahat.data.modes import check_held, settled
from betahat.errors import DataError, OptionError, counted, described, listed
from betahat.models.options import check_values


@dataclass(frozen=True, eq=False)
class Inputs:
    """A module's inputs.

    Attributes
    ----------
    tensors : tuple of Tensor
        (n, ...) each, numbers with a point in float64; empty for a module that holds its own data.
    keywords : tuple of str or None
        Their names, where they are passed by name.
    columns : tuple of str or None
        The columns' names of a dataframe.
    container : Container or None
        What results look like; None leaves it to the target.
    data : object
        The dataframe or the dict that was given, in which groups are looked up by name.
    named : tuple of tuple of str, or None, each
        The names of each input's columns, where they have some.
    """

    tensors: tuple[Tensor, ...]
    keywords: tuple[str, ...] | None
    columns: tuple[str, ...] | None
    container: Container | None
    data: Any = None
    named: tuple[tuple[str, ...] | None, ...] = ()

    @property
    def variables(self) -> tuple[str, ...]:
        """The names of all columns of all inputs: a dataframe's, that of an input passed by name, or x1, x2, ..."""
        found: list[str] = []
        for i, part in enumerate(self.tensors):
            width = part[0].numel()
            columns = self.columns if self.columns is not None else self.named[i] if self.named else None
            if columns is not None and len(columns) == width:
                found += columns
            elif self.keywords is not None:
                found += [self.keywords[i]] if width == 1 else [f"{self.keywords[i]}[{j}]" for j in range(width)]
            else:
                found += [f"x{len(found) + j}" for j in range(1, width + 1)]
        return tuple(found)


def read_inputs(inputs: Any, device: torch.device, wanted: Sequence[str] | None = None) -> Inputs:
    """Read the inputs of a module, as in `TorchModel`; `wanted` are the columns of a dataframe in the order of the fit."""
    if inputs is None:
        return Inputs((), None, None, None)
    if isinstance(inputs, Mapping):
        check_together([(f"inputs[{name!r}]", value) for name, value in inputs.items()])
        read = [_one_input(value, f"inputs[{name!r}]", device) for name, value in inputs.items()]
        named = tuple(_column_names(value) for value in inputs.values())
        tensors = tuple(part[0] for part in read)
        found = Inputs(tensors, tuple(map(str, inputs)), None, _first_container(read), inputs, named)
    elif isinstance(inputs, tuple) or (isinstance(inputs, list) and any(isinstance(part, Tensor) for part in inputs)):
        check_together([(f"inputs[{i}]", value) for i, value in enumerate(inputs)])
        read = [_one_input(value, f"inputs[{i}]", device) for i, value in enumerate(inputs)]
        named = tuple(map(_column_names, inputs))
        found = Inputs(tuple(part[0] for part in read), None, None, _first_container(read), None, named)
    elif isinstance(inputs, Tensor) or (isinstance(inputs, np.ndarray) and inputs.ndim > 2):
        value, container = _one_input(inputs, "inputs", device)
        found = Inputs((value,), None, None, container)
    else:
        columns = read_columns(inputs, "inputs", device, None, wanted)
        values = columns.values if columns.values.ndim > 1 or columns.names is None else columns.values[:, None]
        container = Arrays() if columns.index is None else Frames(columns.index)
        found = Inputs((values.to(torch.float64),), None, columns.names, container, inputs if columns.names else None)
    if not found.tensors:
        raise DataError(
            "inputs is empty; pass what the module is called with, or None for a module that holds its own data."
        )
    lengths = {len(part) if part.ndim else 0 for part in found.tensors}
    if len(lengths) != 1 or 0 in lengths:
        raise DataError(f"The inputs have {listed(sorted(lengths))} rows; pass as many rows in each, and at least one.")
    return found


def check_stream(stream: bool, given: Any) -> None:
    """Refuse to read anything but a Dataset or a DataLoader batch by batch."""
    if stream and not isinstance(given, DataLoader | Dataset):
        raise OptionError(
            f"stream=True reads a torch Dataset or DataLoader batch by batch, and the data are {described(given)}; leave stream out, or pass one of these."
        )


def like_those_of_fit(own: Inputs, read: Inputs) -> Inputs:
    """Return new inputs in the order and the types of those of the fit; refuse others."""
    if own.keywords is not None and set(read.keywords or ()) != set(own.keywords):
        came = "they came without names" if read.keywords is None else f"{listed(read.keywords)} came"
        raise DataError(f"The module takes the inputs {listed(own.keywords)}, and {came}; pass a dict of the former.")
    if own.keywords is not None and read.keywords is not None:
        places = [read.keywords.index(name) for name in own.keywords]
        read = replace(read, tensors=tuple(read.tensors[i] for i in places), keywords=own.keywords)
    if len(read.tensors) != len(own.tensors):
        raise DataError(
            f"The module takes {counted(len(own.tensors), 'input')}, not {len(read.tensors)}; pass as many."
        )
    for i, (new, old) in enumerate(zip(read.tensors, own.tensors, strict=True)):
        if new.shape[1:] != old.shape[1:]:
            raise DataError(
                f"Input {i} has rows of shape {tuple(new.shape[1:])} and that of the fit {tuple(old.shape[1:])}; pass the same "
                f"columns{'' if own.columns is None else ', ' + listed(own.columns)}."
            )
    check_values(labelled_inputs(read.tensors))
    return replace(read, tensors=tuple(n.to(o.dtype) for n, o in zip(read.tensors, own.tensors, strict=True)))


def check_pair(inputs: Any, target: Any) -> None:
    """Refuse batches but of both, and inputs without a target."""
    if not (isinstance(inputs, DataLoader | Dataset) and target is None):
        check_no_loader(inputs, "inputs")
        if target is None:
            raise DataError("There is no target; pass what the loss compares the output with as the fourth argument.")
    check_no_loader(target, "target")


def check_no_loader(value: Any, label: str) -> None:
    """Refuse what hands out batches, in an order of its own."""
    if isinstance(value, DataLoader | Dataset) or (isinstance(value, Iterator) and not isinstance(value, Tensor)):
        rows = (
            "[loader.dataset[i] for i in range(len(loader.dataset))]" if isinstance(value, DataLoader) else "the rows"
        )
        raise DataError(
            f"{label} is {described(value)}, which hands out batches; pass tensors of all rows in one order, inputs and target, such as "
            f"x, y = map(torch.stack, zip(*{rows})), or dataset.tensors of a TensorDataset."
        )


def read_target(target: Any, device: torch.device) -> tuple[Tensor, Container, str]:
    """Read what the loss compares the output with: a tensor, its container and its name."""
    if isinstance(target, Tensor):
        return _one_input(target, "target", device)[0], TensorContainer(), "y"
    if isinstance(target, np.ndarray) and target.dtype.kind in "iub":
        return torch.as_tensor(target.astype(np.int64), device=device), Arrays(), "y"
    read = read_columns(target, "target", device, None)
    name = read.names[0] if read.names and len(read.names) == 1 else "y"
    container = Arrays() if read.index is None else Frames(read.index)
    return read.values.to(torch.float64), container, name


def labelled_inputs(inputs: tuple[Tensor, ...]) -> list[tuple[str, Tensor]]:
    """Return the inputs with what to call them in a sentence."""
    return [(f"inputs[{i}]" if len(inputs) > 1 else "inputs", part) for i, part in enumerate(inputs)]


def _one_input(value: Any, label: str, device: torch.device) -> tuple[Tensor, Container]:
    if isinstance(value, np.ndarray) and (value.ndim > 2 or value.dtype.kind in "iub"):
        value = torch.as_tensor(value, device=device)
        return (value.to(torch.float64) if value.is_floating_point() else value), Arrays()
    if not isinstance(value, Tensor):
        read = read_columns(value, label, device, None)
        return read.values.to(torch.float64), Arrays() if read.index is None else Frames(read.index)
    if value.device != device:
        raise DataError(f"{label} is on {value.device} and the module on {device}; move one with .to({str(device)!r}).")
    check_held(value, label)
    if value.is_complex():
        raise DataError(f"{label} is complex; betahat needs real numbers: pass real and imaginary parts as columns.")
    if value.ndim == 0:
        raise DataError(f"{label} is a single number; pass a row for each observation.")
    detached = settled(value).detach()
    return detached.to(torch.float64) if value.is_floating_point() else detached, TensorContainer()


def _column_names(value: Any) -> tuple[str, ...] | None:
    """Return the names of the columns of a dataframe or a series; None of what has none."""
    if is_frame(value):
        return tuple(columns_of(value))
    name = getattr(value, "name", None)
    return (name,) if isinstance(name, str) else None


def _first_container(read: Sequence[tuple[Tensor, Container]]) -> Container:
    kinds = [container for _, container in read]
    return next((kind for kind in kinds if isinstance(kind, TensorContainer)), kinds[0]) if kinds else TensorContainer()
