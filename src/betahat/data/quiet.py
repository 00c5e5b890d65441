"""Silence for other packages' warnings, in one thread: `warnings.catch_warnings` is for one thread at a time."""

from __future__ import annotations

import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any


class _Here:
    """A pattern that every message fits, in the thread that made it."""

    def __init__(self) -> None:
        self._thread = threading.get_ident()

    def match(self, _: str) -> bool:
        """Tell whether a warning comes from the thread."""
        return threading.get_ident() == self._thread


@contextmanager
def quiet() -> Iterator[None]:
    """Ignore the warnings of this thread, and leave the filters of all others as they are.

    Where another thread copies the filters in between and puts the old ones back, both lists lose the entry.
    """
    entry = ("ignore", _Here(), Warning, None, 0)
    before: Any = warnings.filters
    before.insert(0, entry)
    try:
        yield
    finally:
        after: Any = warnings.filters
        for filters in (before, after):
            with suppress(ValueError):
                filters.remove(entry)
