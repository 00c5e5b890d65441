"""How much memory is free, and an error where a number for each row of a stream does not fit into it."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

from betahat.errors import EstimationError


def check_rows_fit(part: Tensor, rows: int) -> None:
    """Refuse as many numbers for each of `rows` rows as (b, ...) the first ones have, where they do not fit into memory twice: in parts, and joined."""
    needed, free = 2 * part.element_size() * part.numel() * rows // max(len(part), 1), free_memory(part.device)
    if free is not None and needed > free:
        raise EstimationError(
            f"This has numbers for each of {rows:,} rows, which take {needed / 1e9:,.1f} GB of memory, but only {free / 1e9:,.1f} GB are free; fitted values and "
            "residuals are written beside the rows by res.predict(path=...), and what is a sum over rows, as summaries, covariances and average margins are, "
            "needs no such room."
        )


def free_memory(device: torch.device) -> int | None:
    """Return the free memory of a device in bytes, or None if it is unknown."""
    if device.type == "cuda":
        return int(torch.cuda.mem_get_info(device)[0])
    known = Path("/proc/meminfo")
    if device.type != "cpu" or not known.exists():
        return None
    fields = dict(line.split(":") for line in known.read_text().splitlines())
    return int(fields["MemAvailable"].split()[0]) * 1024 if "MemAvailable" in fields else None
