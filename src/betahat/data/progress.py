"""Progress bars: on a terminal, of what takes longer than two seconds."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Iterable, Iterator, Sized
from typing import TypeVar

from tqdm import tqdm

T = TypeVar("T")

# In seconds.
_DELAY = 2.0


class _Bar(tqdm):  # type: ignore[misc]
    """A bar with a lock of its own: tqdm's is shared by all processes, and Ctrl-C may leave it taken, for which forked processes wait for ever."""


_Bar.set_lock(threading.RLock())


def progress(steps: Iterable[T], label: str) -> Iterable[T]:
    """Iterate over steps; a bar of that label appears after two seconds, and never where the output is not a terminal."""
    few = isinstance(steps, Sized) and len(steps) < 2
    return steps if few or sys.stderr is None or not sys.stderr.isatty() else _watched(steps, label)


def _watched(steps: Iterable[T], label: str) -> Iterator[T]:
    begun, bar = time.monotonic(), None
    try:
        for done, step in enumerate(steps):
            if bar is None and time.monotonic() - begun > _DELAY:
                bar = _Bar(
                    total=len(steps) if isinstance(steps, Sized) else None, initial=done, desc=label, leave=False
                )
            yield step
            if bar is not None:
                bar.update()
    finally:
        if bar is not None:
            bar.close()
