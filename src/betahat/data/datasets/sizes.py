"""How rows are cut into partitions and chunks."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import narwhals as nw

# A partition has so many rows, or a row group more; a chunk has so many.
PARTITION_ROWS = 1_000_000
CHUNK_ROWS = 2**16


def cuts(sizes: Sequence[int]) -> list[tuple[int, int]]:
    """Join groups of so many rows to partitions of about a million, by the first group of each and one past its last; there is at least one."""
    firsts, rows, left = [0], 0, sum(sizes)
    for i, size in enumerate(sizes):
        if rows >= PARTITION_ROWS and left >= PARTITION_ROWS // 2:
            firsts.append(i)
            rows = 0
        rows += size
        left -= size
    return list(zip(firsts, [*firsts[1:], len(sizes)], strict=True))


def evenly(frames: Iterable[Any]) -> Iterator[Any]:
    """Yield the rows of dataframes of one library in chunks of 65,536, whatever the sizes of the frames."""
    held: list[nw.DataFrame[Any]] = []
    rows = 0
    for frame in frames:
        read = nw.from_native(frame, eager_only=True)
        if not len(read):
            continue
        held.append(read)
        rows += len(read)
        if rows >= CHUNK_ROWS:
            joined = nw.concat(held) if len(held) > 1 else read
            for start in range(0, rows - CHUNK_ROWS + 1, CHUNK_ROWS):
                yield joined[start : start + CHUNK_ROWS].to_native()
            rows %= CHUNK_ROWS
            held = [joined[len(joined) - rows :]] if rows else []
    if rows:
        yield (nw.concat(held) if len(held) > 1 else held[0]).to_native()
