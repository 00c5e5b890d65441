"""How much memory a fit will need, and an error if there is not enough."""

from __future__ import annotations

import torch

from betahat.data.memory import free_memory
from betahat.errors import EstimationError

# The Hessian, its scaled copy, its eigenvectors and LAPACK's workspace.
_MATRICES = 5
# Scores, their inputs, and their outputs.
_COPIES = 3


def check_memory(width: int, rows: int, device: torch.device) -> None:
    """Refuse so many parameters, `width`, that k x k matrices and the scores of a block of `rows` do not fit into the free memory of a device."""
    needed, free = 8 * (_MATRICES * width**2 + _COPIES * rows * width), free_memory(device)
    if free is not None and needed > free:
        raise EstimationError(
            f"The covariance of {width:,} parameters needs {needed / 1e9:,.1f} GB, for the Hessian and the scores of {rows:,} rows at a "
            f"time, but only {free / 1e9:,.1f} GB are free; "
            "choose parameters with params=['head.*'] and condition on the rest, or freeze them with requires_grad_(False)."
        )


def check_numbers_fit(
    count: int, what: str, device: torch.device, remedy: str = "use fewer groups or columns, or another covariance"
) -> None:
    """Refuse tables of `count` numbers that do not fit into the free memory of a device twice; `what` they are begins the sentence."""
    needed, free = 16 * count, free_memory(device)
    if free is not None and needed > free:
        raise EstimationError(f"{what} need {needed / 1e9:,.1f} GB, but only {free / 1e9:,.1f} GB are free; {remedy}.")
