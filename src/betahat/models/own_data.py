"""Starting values and data by name, of models that are a function of both."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from betahat.data.arrays import read_columns
from betahat.data.container import Arrays, Container, Frames, check_real
from betahat.data.container import Tensors as TensorContainer
from betahat.data.frame import check_index
from betahat.data.modes import check_held, settled
from betahat.errors import DataError, OptionError, described, listed, shown
from betahat.lazy import lazily
from betahat.models.options import Tensors, check_values

if TYPE_CHECKING:
    import pandas as pd
else:
    pd = lazily("pandas")


def read_params(params: Mapping[str, Any]) -> tuple[Tensor, Tensors, torch.device]:
    """Return (k,) the starting values, where each name's begin with their shapes, and their device."""
    if not isinstance(params, Mapping) or not params:
        raise OptionError(
            f"params is {shown(params)}; pass starting values by name, such as {{'beta': torch.zeros(3)}}."
        )
    device = next((value.device for value in params.values() if isinstance(value, Tensor)), torch.get_default_device())
    pieces, tensors, begin = [], {}, 0
    for name, given in params.items():
        value = settled(given) if isinstance(given, Tensor) else given
        if isinstance(value, Tensor):
            check_held(value, f"params[{name!r}]")
        try:
            check_real(value if isinstance(value, Tensor) else np.asarray(value), f"params[{name!r}]: an array")
            piece = torch.as_tensor(value, dtype=torch.float64, device=device).detach()
        except DataError:
            raise
        except (RuntimeError, TypeError, ValueError) as error:
            raise DataError(f"params[{shown(name)}] is {shown(value)}; pass numbers.") from error
        if not piece.numel() or not bool(torch.isfinite(piece).all()):
            raise DataError(f"params[{shown(name)}] is empty or not finite; pass starting values that are.")
        pieces.append(piece.flatten())
        tensors[str(name)] = (begin, piece.shape)
        begin += piece.numel()
    return torch.cat(pieces), tensors, device


def read_data(data: Mapping[str, Any], device: torch.device) -> tuple[tuple[Tensor, ...], tuple[str, ...], Container]:
    """Return the (n, ...) columns, their names, and how results are handed back."""
    if not isinstance(data, Mapping) or not data:
        raise DataError(
            f"data is {described(data)}; pass the rows by name, such as {{'x': X, 'y': y}}, or dict(df[['x', 'y']])."
        )
    columns: list[Tensor] = []
    containers: list[Container] = []
    frames: list[tuple[str, pd.Index]] = []
    for name, given in data.items():
        label = f"data[{name!r}]"
        value = settled(given) if isinstance(given, Tensor) else given
        if isinstance(value, Tensor):
            if value.device != device:
                raise DataError(
                    f"{label} is on {value.device} and the parameters on {device}; move one with .to({str(device)!r})."
                )
            column = value.detach()
            containers.append(TensorContainer())
        else:
            read = read_columns(value, label, device, None)
            column = read.values
            containers.append(Arrays() if read.index is None else Frames(read.index))
            if read.index is not None:
                frames.append((label, read.index))
                check_index(label, read.index, frames[0][1], frames[0][0])
        if column.ndim == 0:
            raise DataError(f"{label} is a single number; pass a row for each observation.")
        check_values([(label, column)])
        column = column.to(torch.float64) if column.is_floating_point() else column
        columns.append(column)
    lengths = {len(column) for column in columns}
    if len(lengths) != 1 or 0 in lengths:
        raise DataError(f"The data have {listed(sorted(lengths))} rows; pass as many rows in each, and at least one.")
    kind = next((c for c in containers if isinstance(c, TensorContainer)), containers[0])
    return tuple(columns), tuple(map(str, data)), kind
