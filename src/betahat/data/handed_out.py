"""The one door: a record of results is read as it is within a call of betahat, and from outside each time as a copy.

So what a user does to what was handed out changes no answer, and betahat's own code reads plain attributes that cost nothing.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import fields
from typing import Any, ParamSpec, TypeVar

import numpy as np
from narwhals.dependencies import is_pandas_dataframe, is_pandas_index, is_pandas_series
from torch import Tensor

P = ParamSpec("P")
R = TypeVar("R")
T = TypeVar("T")


class _Here(threading.local):
    """Whether the running thread is within a call of betahat."""

    within = False


_HERE = _Here()
# What annotations call things that can be changed in place; Df is a number or a tensor.
_CHANGEABLE = ("Tensor", "Df", "DataFrame", "Index", "Mapping")


def within(function: Callable[P, R], /, *args: P.args, **kwargs: P.kwargs) -> R:
    """Call a function of betahat's, which reads records as they are."""
    before = _HERE.within
    try:
        _HERE.within = True
        return function(*args, **kwargs)
    finally:
        _HERE.within = before


def outside(function: Callable[P, R], /, *args: P.args, **kwargs: P.kwargs) -> R:
    """Call a function of the user's from within betahat: what it reads of records are copies."""
    before = _HERE.within
    try:
        _HERE.within = False
        return function(*args, **kwargs)
    finally:
        _HERE.within = before


class _Field:
    """A field of a record that can be changed in place."""

    def __init__(self, name: str) -> None:
        """Take the name that it is kept under."""
        self.name = name

    def __get__(self, record: Any, owner: type) -> Any:
        """Return what is kept, or a copy of it."""
        if record is None:
            return self
        value = record.__dict__[self.name]
        return value if _HERE.within else copied(value)

    def __set__(self, record: Any, value: Any) -> None:
        """Keep a value, which only the record's own `__init__` does, since it is frozen."""
        record.__dict__[self.name] = value


class _IndexField(_Field):
    """A field that may hold an index, of which a view of our own is kept: nobody else can change its name."""

    def __set__(self, record: Any, value: Any) -> None:
        """Keep a value."""
        record.__dict__[self.name] = value.view() if is_pandas_index(value) else value


class _Computed(property):
    """A property that is computed once, and can be changed in place."""

    def __set_name__(self, owner: type, name: str) -> None:
        """Remember where it is kept."""
        self.name = name

    def __get__(self, record: Any, owner: type | None = None) -> Any:
        """Return what is kept, or a copy of it."""
        if record is None:
            return self
        if self.name not in record.__dict__:
            assert self.fget is not None
            record.__dict__[self.name] = within(self.fget, record)
        value = record.__dict__[self.name]
        return value if _HERE.within else copied(value)


def hands_out_copies(cls: type[T]) -> type[T]:
    """Let outsiders read copies of those fields of a frozen record that hold tensors, frames or mappings."""
    for entry in fields(cls):  # type: ignore[arg-type]
        if str(entry.type) == "Any" or any(kind in str(entry.type) for kind in _CHANGEABLE):
            setattr(cls, entry.name, (_IndexField if "Index" in str(entry.type) else _Field)(entry.name))
    return cls


def computed(function: Callable[[Any], T]) -> T:
    """Make a property of a record that is computed once, and that outsiders read as a copy."""
    made: Any = _Computed(function)
    found: T = made
    return found


def copied(value: Any) -> Any:
    """Return a copy of what can be changed in place, and anything else itself."""
    if isinstance(value, Tensor):
        return value.clone()
    if is_pandas_index(value):
        return value.view()  # whose name alone can be changed
    table = is_pandas_dataframe(value) or is_pandas_series(value)
    return value.copy() if table or isinstance(value, np.ndarray | dict | list) else value
