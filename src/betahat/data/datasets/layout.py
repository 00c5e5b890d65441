"""`Layout`: the columns that several files share, and what keeps one of them from being read; `Contents`: what one file has."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from betahat.data.datasets.base import Partition
from betahat.data.datasets.files import File, arrow
from betahat.data.whole_numbers import not_told_apart
from betahat.errors import DataError, listed, shown


@dataclass(frozen=True)
class Layout:
    """What is known of all files' columns.

    Attributes
    ----------
    types : dict of str to pyarrow.DataType
        In which type each column is handed out, whichever file it comes from.
    faults : dict of str to str
        Why a column cannot be read, a sentence.
    """

    types: dict[str, Any]
    faults: dict[str, str]

    @classmethod
    def of(cls, schemas: Iterable[tuple[str, Any]]) -> Layout:
        """Find the types of columns in schemas, each with the name of its file."""
        types: dict[str, Any] = {}
        origin: dict[str, str] = {}
        faults: dict[str, str] = {}
        before: list[str] = []
        last = None
        for file, schema in schemas:
            if last is not None and schema.equals(last):
                continue
            last, here = schema, list(schema.names)
            for name in dict.fromkeys(here):
                if here.count(name) > 1:
                    faults.setdefault(name, f"{file} has {here.count(name)} columns called {shown(name)}; rename them.")
                if name not in types:
                    types[name], origin[name] = schema.field(here.index(name)).type, file
                    if before:
                        faults.setdefault(name, _absent(before[0], name, file))
                    continue
                found = schema.field(here.index(name)).type
                joined = types[name] if types[name] == found else _joined(types[name], found)
                if joined is None:
                    faults.setdefault(
                        name,
                        f"Column {shown(name)} is {types[name]} in {origin[name]}, but {found} in {file}; write the files with one type, or pass "
                        "them one type at a time.",
                    )
                else:
                    types[name] = joined
            for name in types.keys() - set(here):
                faults.setdefault(name, _absent(file, name, origin[name]))
            before.append(file)
        return cls({name: handed_out_as(kind) for name, kind in types.items()}, faults)

    def check(self, columns: Sequence[str]) -> None:
        """Refuse columns that are not there, or cannot be read of each file."""
        for name in columns:
            if name not in self.types:
                raise DataError(f"There is no column {shown(name)}; there are {listed(self.types)}.")
            if name in self.faults:
                raise DataError(self.faults[name])

    def table(self, rows: Any, columns: Sequence[str], keys: Mapping[str, Any]) -> Any:
        """Return a record batch or table as a table of some columns, in the types that all files share; keys are the same in each row."""
        pa, parts = arrow(), []
        for name in columns:
            constant = name in keys
            part = pa.repeat(pa.scalar(keys[name]), rows.num_rows) if constant else rows.column(name)
            parts.append(part if part.type == self.types[name] else _cast(part, self.types[name], name))
        return pa.Table.from_arrays(parts, names=list(columns))


class Contents(ABC):
    """What a file says of itself before its rows are read."""

    @property
    @abstractmethod
    def schema(self) -> Any:
        """Its columns and their types."""

    @abstractmethod
    def partitions(self, file: File, layout: Layout) -> Sequence[Partition]:
        """Cut its rows into partitions, in order."""


def handed_out_as(kind: Any) -> Any:
    """Return the type in which a column of some type is read: decimals, and columns without values, are floats."""
    return arrow().float64() if arrow().types.is_decimal(kind) or arrow().types.is_null(kind) else kind


def _absent(file: str, name: str, other: str) -> str:
    return f"{file} has no column {shown(name)}, which {other} has; leave the file out, or write the column into it, with missing values if need be."


def _joined(one: Any, other: Any) -> Any:
    """Return the type that holds the values of both; None where there is none."""
    pa = arrow()
    kinds = pa.types
    if kinds.is_dictionary(one) != kinds.is_dictionary(other):  # categories in some files, text in others: text
        one = one.value_type if kinds.is_dictionary(one) else one
        other = other.value_type if kinds.is_dictionary(other) else other
    if one == other:
        return one
    try:
        both = [pa.schema([("x", kind)]) for kind in (one, other)]
        return pa.unify_schemas(both, promote_options="permissive").field("x").type
    except pa.ArrowException:
        return None


def _cast(part: Any, kind: Any, name: str) -> Any:
    """Return a column in another type; integers that a floating type cannot tell from their neighbours are refused."""
    kinds = arrow().types
    if not (kinds.is_floating(kind) and kinds.is_integer(part.type)):
        return part.cast(kind, safe=not kinds.is_floating(kind))
    try:
        return part.cast(kind)
    except arrow().ArrowInvalid as error:
        raise DataError(not_told_apart(f"Column {shown(name)}", "in other files")) from error
