"""Progress bars: on a terminal, of what takes longer than two seconds."""

from __future__ import annotations

from collections.abc import Iterable, Sized
from typing import TypeVar

from tqdm import tqdm

T = TypeVar("T")


def progress(steps: Iterable[T], label: str) -> Iterable[T]:
    """Iterate over steps; a bar of that label appears after two seconds, and never where the output is not a terminal."""
    if isinstance(steps, Sized) and len(steps) < 2:
        return steps
    bar: Iterable[T] = tqdm(steps, label, leave=False, disable=None, delay=2.0)
    return bar
