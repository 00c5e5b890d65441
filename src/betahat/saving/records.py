"""What a record is to a file: its class's name, and its fields."""

from __future__ import annotations

import re
from abc import ABC
from collections.abc import Callable, Mapping
from dataclasses import MISSING, Field, dataclass, field, fields, is_dataclass
from typing import Any, ClassVar

# The kinds of nodes that another node may refer to, by the number of such nodes that were whole before.
SHARED = frozenset({"record", "tensor", "array", "object", "labels", "range", "levels", "series", "frame"})
# How time zones and frequencies are written; a zone is looked up by its name, and never as a file's.
ZONE = re.compile(r"(?!dateutil)[A-Za-z_]{1,32}(/[A-Za-z0-9_+-]{1,32}){0,2}|UTC[+-]\d\d:\d\d")
FREQUENCY = re.compile(r"[A-Za-z0-9-]{1,20}")


class Stored(ABC):
    """A class that is no dataclass, and tells which attributes make it.

    Attributes
    ----------
    stored : tuple of str
        Their names.
    """

    stored: ClassVar[tuple[str, ...]]


@dataclass(frozen=True)
class Older:
    """How what an older version wrote is read.

    Attributes
    ----------
    records : mapping
        A record's old name -> a function of its old fields, which returns its name and its fields of today.
    members : mapping
        An enumeration's old name -> a function of a member's name, which returns what stands for it today.
    """

    records: Mapping[str, Callable[[dict[str, Any]], tuple[str, dict[str, Any]]]] = field(default_factory=dict)
    members: Mapping[str, Callable[[str], Any]] = field(default_factory=dict)


def fields_of(cls: type) -> tuple[str, ...] | None:
    """Return the names of the fields that a file holds of a class; None of a class that is no record."""
    if issubclass(cls, Stored):
        return cls.stored
    return tuple(entry.name for entry in fields(cls) if _is_stored(entry)) if is_dataclass(cls) else None


def needed_of(cls: type) -> frozenset[str]:
    """Return the names of the fields of a record without which it cannot be made: a file of before may lack those with a default."""
    names = frozenset(fields_of(cls) or ())
    if not is_dataclass(cls):
        return names
    return names - {entry.name for entry in fields(cls) if (entry.default, entry.default_factory) != (MISSING, MISSING)}


def made(cls: type, values: dict[str, Any]) -> Any:
    """Make a record of its fields."""
    if not issubclass(cls, Stored):
        return cls(**values)
    record = cls.__new__(cls)
    for name, value in values.items():
        setattr(record, name, value)
    return record


def _is_stored(entry: Field[Any]) -> bool:
    return bool(entry.metadata.get("stored", True))
