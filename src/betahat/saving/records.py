"""What a file holds of a record: the name of its class, and its fields."""

from __future__ import annotations

import re
from abc import ABC
from collections.abc import Callable, Mapping
from dataclasses import MISSING, Field, dataclass, field, fields, is_dataclass
from types import NoneType
from typing import TYPE_CHECKING, Any, ClassVar, get_type_hints

import numpy as np

from betahat.lazy import lazily

if TYPE_CHECKING:
    from betahat.saving import reading
else:
    reading = lazily("betahat.saving.reading")

# The kinds of nodes that other nodes may refer to, by their number in order of completion.
SHARED = frozenset({"record", "tensor", "array", "object", "labels", "range", "levels", "series", "frame"})
# How time zones and frequencies are written; a zone may be looked up by name, but never as a path to a file.
ZONE = re.compile(r"(?!dateutil)[A-Za-z_]{1,32}(/[A-Za-z0-9_+-]{1,32}){0,2}|UTC[+-]\d\d:\d\d")
FREQUENCY = re.compile(r"[A-Za-z0-9-]{1,20}")
_PLAIN = (str, bool, int, float, NoneType)


class Stored(ABC):
    """A class, not a dataclass, whose attributes named in `stored` make up the object."""

    stored: ClassVar[tuple[str, ...]]


@dataclass(frozen=True)
class Older:
    """How records of an older version are read."""

    # A record's old name -> a function from its old fields to today's name and fields.
    records: Mapping[str, Callable[[dict[str, Any]], tuple[str, dict[str, Any]]]] = field(default_factory=dict)
    # An enumeration's old name -> a function from the name of a member to what replaces it.
    members: Mapping[str, Callable[[str], Any]] = field(default_factory=dict)


def plain_record(value: Any) -> Any:
    """Return a record of betahat's own whose fields are numbers and words of the annotated types, which a file can hold; None in place of others."""
    cls = type(value)
    if not is_dataclass(value) or cls.__module__.partition(".")[0] != "betahat":
        return None
    hints = get_type_hints(cls)
    parts = {name: getattr(value, name) for name in fields_of(cls) or ()}
    numbers = {name: part.item() if isinstance(part, np.generic) else part for name, part in parts.items()}
    plain = (isinstance(part, _PLAIN) and reading.fits(part, hints.get(name, Any)) for name, part in numbers.items())
    return value if all(plain) else None


def stored_values(record: Any) -> dict[str, Any]:
    """Return what a file holds of each field: its value, or what the function under "stored" in its metadata makes of it."""
    cls = type(record)
    values = {name: getattr(record, name) for name in fields_of(cls) or ()}
    functions = [] if issubclass(cls, Stored) else [(entry.name, entry.metadata.get("stored")) for entry in fields(cls)]
    return values | {name: function(values[name]) for name, function in functions if callable(function)}


def fields_of(cls: type) -> tuple[str, ...] | None:
    """Return the names of the fields of a class that are saved, or None if the class is not a record."""
    if issubclass(cls, Stored):
        return cls.stored
    return tuple(entry.name for entry in fields(cls) if _is_stored(entry)) if is_dataclass(cls) else None


def needed_of(cls: type) -> frozenset[str]:
    """Return the names of the fields that a file must contain; older files may lack fields that have a default."""
    names = frozenset(fields_of(cls) or ())
    if not is_dataclass(cls):
        return names
    return names - {entry.name for entry in fields(cls) if (entry.default, entry.default_factory) != (MISSING, MISSING)}


def made(cls: type, values: dict[str, Any]) -> Any:
    """Create a record from its fields."""
    if not issubclass(cls, Stored):
        return cls(**values)
    record = cls.__new__(cls)
    for name, value in values.items():
        setattr(record, name, value)
    return record


def _is_stored(entry: Field[Any]) -> bool:
    return bool(entry.metadata.get("stored", True))
