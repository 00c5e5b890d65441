"""What a fit is going to hold, and a sentence where it will not fit."""

from __future__ import annotations

from pathlib import Path

import torch

from betahat.errors import EstimationError

# The Hessian, its scaled copy, its eigenvectors and LAPACK's room.
_MATRICES = 5
# Scores, what they are made of, and what becomes of them.
_COPIES = 3


def check_memory(width: int, rows: int, device: torch.device) -> None:
    """Refuse parameters so many that their k x k matrices, and a block of scores, do not fit into the free memory.

    Parameters
    ----------
    width : int
        k.
    rows : int
        The rows of a block of scores: all, where rows cannot be told apart.
    device : torch.device
        Where they are going to lie.
    remedy : str
        What to do where they do not fit.

    Raises
    ------
    EstimationError
        It says how much is needed and how much there is.
    """
    needed, free = 8 * (_MATRICES * width**2 + _COPIES * rows * width), free_memory(device)
    if free is not None and needed > free:
        raise EstimationError(
            f"The covariance of {width:,} parameters needs {needed / 1e9:,.1f} GB, for its Hessian and the scores of {rows:,} rows at a "
            f"time, and {free / 1e9:,.1f} GB are free; "
            "choose parameters with params=['head.*'] and condition on the rest, or freeze them with requires_grad_(False)."
        )


def check_numbers_fit(
    count: int, what: str, device: torch.device, remedy: str = "use fewer groups or columns, or another covariance"
) -> None:
    """Refuse tables of so many numbers that they do not fit into the free memory twice.

    Parameters
    ----------
    count : int
        How many numbers.
    what : str
        What they are, in a sentence.
    device : torch.device
        Where they are going to lie.
    remedy : str
        What to do where they do not fit.

    Raises
    ------
    EstimationError
    """
    needed, free = 16 * count, free_memory(device)
    if free is not None and needed > free:
        raise EstimationError(f"{what} need {needed / 1e9:,.1f} GB, and {free / 1e9:,.1f} GB are free; {remedy}.")


def free_memory(device: torch.device) -> int | None:
    """Return the free bytes of a device; None where nobody knows."""
    if device.type == "cuda":
        return int(torch.cuda.mem_get_info(device)[0])
    known = Path("/proc/meminfo")
    if device.type != "cpu" or not known.exists():
        return None
    fields = dict(line.split(":") for line in known.read_text().splitlines())
    return int(fields["MemAvailable"].split()[0]) * 1024 if "MemAvailable" in fields else None
