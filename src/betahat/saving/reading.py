"""A tree and named tensors become records, tensors, labels and dataframes again; only known classes are created, and no code is run."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Mapping
from enum import Enum
from functools import cache
from types import UnionType
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from betahat.saving.records import FREQUENCY, SHARED, ZONE, Older, fields_of, made, needed_of

_DTYPE = re.compile(r"[<>|=][biufmM]\d{1,2}(\[\d{0,6}[a-zA-Z]{1,2}\])?")
_EXTENSION = re.compile(r"str|string|object|boolean|U?Int(8|16|32|64)|Float(32|64)")


class UnreadableError(Exception):
    """The contents are not what any `Writer` produces."""


class Reader:
    """Turns a tree into objects of the `known` classes, with tensors looked up by name and moved to `device`; `older` converts old records."""

    def __init__(
        self,
        known: Mapping[str, type],
        tensor: Callable[[str], Tensor],
        device: torch.device | str | None,
        older: Older,
    ) -> None:
        """Begin at the root of a tree."""
        self._known = known
        self._older = older
        self._tensor_of = tensor
        self._device = device
        self._made: list[Any] = []

    def value(self, node: Any) -> Any:
        """Return the object that a node represents."""
        if node is None or isinstance(node, bool | int | str):
            return node
        if isinstance(node, float):
            if not math.isfinite(node):
                raise UnreadableError("a number that is not finite")
            return node
        if not isinstance(node, dict) or not node:
            raise UnreadableError("a node without a kind")
        kind = next(iter(node))
        if kind not in _KINDS:
            raise UnreadableError(f"the unknown kind {str(kind)[:60]!r}")
        found = _KINDS[kind](self, node)
        if kind in SHARED:
            self._made.append(found)
        return found

    def _same(self, node: Any) -> Any:
        place = node["same"]
        if not isinstance(place, int) or not 0 <= place < len(self._made):
            raise UnreadableError("a reference to nothing")
        return self._made[place]

    def _float(self, node: Any) -> float:
        return {"nan": math.nan, "inf": math.inf, "-inf": -math.inf}[node["float"]]

    def _enum(self, node: Any) -> Any:
        name, member = node["enum"]
        if name in self._older.members:
            return self._older.members[name](member)
        cls = self._class(name)
        if not issubclass(cls, Enum):
            raise UnreadableError(f"{name} is not an enumeration")
        return cls[member]

    def _dict(self, node: Any) -> dict[Any, Any]:
        return {self.value(key): self.value(part) for key, part in node["dict"]}

    def _record(self, node: Any) -> Any:
        name, given = node["record"], node["fields"]
        if not isinstance(given, dict):
            raise UnreadableError(f"the fields of {str(name)[:60]!r} are not a mapping")
        older = self._older.records.get(name) if isinstance(name, str) else None
        if older is None:
            self._check_fields(name, given)
        values = {
            field: self.value(part) for field, part in given.items()
        }  # in the file's order, since references are by place
        if older is not None:
            name, values = older(values)
            self._check_fields(name, values)
        cls = self._class(name)
        hints = _hints(cls)
        for field, value in values.items():
            if not fits(value, hints.get(field, Any)):
                raise UnreadableError(f"{name}.{field} is a {type(value).__name__}")
        return made(cls, values)

    def _check_fields(self, name: Any, given: Mapping[str, Any]) -> None:
        cls = self._class(name)
        names = fields_of(cls)
        if names is None or not needed_of(cls) <= set(given) <= set(names):
            raise UnreadableError(f"the fields of {name} are not those of this version")

    def _class(self, name: Any) -> type:
        if not isinstance(name, str) or name not in self._known:
            raise UnreadableError(f"the unknown record {str(name)[:60]!r}")
        return self._known[name]

    def _tensor(self, node: Any) -> Tensor:
        tensor = self._tensor_of(node["tensor"]).clone().to(self._device or "cpu")
        order = node["order"]
        return tensor.permute([order.index(dim) for dim in range(tensor.ndim)])

    def _bytes(self, name: Any) -> bytes:
        content = self._tensor_of(name)
        if content.dtype != torch.uint8 or content.ndim != 1:
            raise UnreadableError("bytes of another type")
        return content.numpy().tobytes()

    def _words(self, name: Any) -> list[Any]:
        words = json.loads(self._bytes(name))
        if not isinstance(words, list) or not all(w is None or isinstance(w, bool | int | float | str) for w in words):
            raise UnreadableError("a list with values other than text, numbers, booleans and None")
        return words

    def _array(self, node: Any) -> np.ndarray:
        if not _DTYPE.fullmatch(node["dtype"]):
            raise UnreadableError("an array of an unknown kind")
        flat = np.frombuffer(self._bytes(node["array"]), dtype=np.dtype(node["dtype"]))
        return flat.reshape(_shape(node)).copy()

    def _object(self, node: Any) -> np.ndarray:
        words = self._words(node["object"])
        found = np.empty(len(words), dtype=object)
        found[:] = words
        return found.reshape(_shape(node))

    def _column(self, node: Any) -> Any:
        kind = next(iter(node))
        if kind not in _COLUMNS:
            raise UnreadableError(f"the unknown kind of column {str(kind)[:60]!r}")
        return _COLUMNS[kind](self, node)

    def _categories(self, node: Any) -> pd.Categorical:
        kind = pd.CategoricalDtype(self.value(node["categories"]), bool(node["ordered"]))
        return pd.Categorical.from_codes(self._array(node["codes"]), dtype=kind)

    def _zoned(self, node: Any) -> Any:
        times = pd.DatetimeIndex(self._array(node["zoned"])).tz_localize("UTC")
        return times.tz_convert(_word(node["zone"], ZONE)).array

    def _periods(self, node: Any) -> Any:
        periods: Any = pd.PeriodIndex
        return periods.from_ordinals(self._array(node["periods"]), freq=_word(node["freq"], FREQUENCY)).array

    def _intervals(self, node: Any) -> Any:
        left, right = (self.value(side) for side in node["intervals"])
        return pd.arrays.IntervalArray.from_arrays(left, right, closed=node["closed"])

    def _extension(self, node: Any) -> Any:
        values, kind = self._words(node["column"]), node["dtype"]
        return pd.array(values, dtype=kind if _EXTENSION.fullmatch(kind) else "object")

    def _labels(self, node: Any) -> pd.Index:
        found: pd.Index = pd.Index(self._column(node["labels"]), name=self.value(node["name"]))
        if node["freq"] is None or not isinstance(found, pd.DatetimeIndex | pd.TimedeltaIndex):
            return found
        return type(found)(found, freq=_word(node["freq"], FREQUENCY))

    def _range(self, node: Any) -> pd.RangeIndex:
        start, stop, step = node["range"]
        return pd.RangeIndex(start, stop, step, name=self.value(node["name"]))

    def _levels(self, node: Any) -> pd.MultiIndex:
        levels = [self.value(level) for level in node["levels"]]
        codes: Any = [self._array(part) for part in node["codes"]]
        return pd.MultiIndex(levels=levels, codes=codes, names=self.value(node["names"]))

    def _series(self, node: Any) -> pd.Series:
        return pd.Series(self._column(node["series"]), index=self.value(node["index"]), name=self.value(node["name"]))

    def _frame(self, node: Any) -> pd.DataFrame:
        columns = [self._column(column) for column in node["frame"]]
        names, index = self.value(node["names"]), self.value(node["index"])
        if len(names) != len(columns):
            raise UnreadableError("a dataframe without names for its columns")
        frame = pd.DataFrame(dict(enumerate(columns)), index=index)
        frame.columns = names
        return frame


_KINDS: dict[str, Callable[[Reader, Any], Any]] = {
    "same": Reader._same,
    "float": Reader._float,
    "enum": Reader._enum,
    "size": lambda reader, node: torch.Size(node["size"]),
    "tuple": lambda reader, node: tuple(reader.value(part) for part in node["tuple"]),
    "list": lambda reader, node: [reader.value(part) for part in node["list"]],
    "words": lambda reader, node: reader._words(node["words"]),
    "dict": Reader._dict,
    "record": Reader._record,
    "tensor": Reader._tensor,
    "array": Reader._array,
    "object": Reader._object,
    "labels": Reader._labels,
    "range": Reader._range,
    "levels": Reader._levels,
    "series": Reader._series,
    "frame": Reader._frame,
}


_COLUMNS: dict[str, Callable[[Reader, Any], Any]] = {
    "array": Reader._array,
    "codes": Reader._categories,
    "zoned": Reader._zoned,
    "periods": Reader._periods,
    "intervals": Reader._intervals,
    "column": Reader._extension,
}


@cache
def _hints(cls: type) -> dict[str, Any]:
    return get_type_hints(cls)


def fits(value: Any, hint: Any) -> bool:
    """Tell whether a value is of an annotated type."""
    if hint is Any or isinstance(hint, TypeVar):
        return True
    if hint is None:
        return value is None
    if get_origin(hint) is not None:
        return _fits_parts(value, get_origin(hint), get_args(hint))
    if getattr(hint, "_is_protocol", False):
        return fields_of(type(value)) is not None
    return isinstance(value, (int, float) if hint is float else hint)


def _fits_parts(value: Any, origin: Any, parts: tuple[Any, ...]) -> bool:
    """Tell whether a value is of a generic type."""
    if origin in (Union, UnionType):
        return any(fits(value, part) for part in parts)
    if origin is Literal:
        return value in parts
    if origin is tuple:
        kinds = (
            (parts[0],) * len(value) if len(parts) == 2 and parts[1] is Ellipsis and isinstance(value, tuple) else parts
        )
        return isinstance(value, tuple) and len(value) == len(kinds) and all(map(fits, value, kinds))
    if origin is list:
        return isinstance(value, list) and all(fits(part, parts[0]) for part in value)
    if issubclass(origin, Mapping):
        return isinstance(value, Mapping) and all(fits(k, parts[0]) and fits(v, parts[1]) for k, v in value.items())
    return callable(value)


def _word(text: Any, pattern: re.Pattern[str]) -> str:
    if not isinstance(text, str) or not pattern.fullmatch(text):
        raise UnreadableError(f"the invalid name {str(text)[:60]!r}")
    return text


def _shape(node: Any) -> tuple[int, ...]:
    shape = node["shape"]
    if not isinstance(shape, list) or not all(type(size) is int and size >= 0 for size in shape):
        raise UnreadableError("a shape of an unknown kind")
    return tuple(shape)
