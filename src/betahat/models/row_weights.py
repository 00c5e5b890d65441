"""Weights beside the rows of a torch model: analytic ones, and how often a row occurs."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from betahat.data.arrays import read_weights
from betahat.data.checks import check_counts, check_weights
from betahat.data.container import Container, Frames
from betahat.data.frame import check_index
from betahat.data.sample import COUNTS, WEIGHTS
from betahat.errors import DataError
from betahat.models.options import check_values


def read_row_weights(
    weights: Any, freq_weights: Any, rows: int, like: Tensor, container: Container
) -> dict[str, Tensor]:
    """Read analytic and frequency weights of so many rows, on the device of `like`; return the columns of a sample that there are."""
    found: dict[str, Tensor] = {}
    for label, column, given in (("weights", WEIGHTS, weights), ("freq_weights", COUNTS, freq_weights)):
        read = read_weights(given, like.new_empty(rows), like.device, None, label)
        if read is None:
            continue
        if len(read.values) != rows:
            raise DataError(f"{label} has {len(read.values)} rows and the data have {rows}; pass one for each row.")
        if isinstance(container, Frames):
            check_index(label, read.index, container.row_labels, "the data")
        check_values([(label, read.values)])
        found[column] = read.values.to(torch.float64)
    check_weights(found.get(WEIGHTS))
    check_counts(found.get(COUNTS))
    return found
