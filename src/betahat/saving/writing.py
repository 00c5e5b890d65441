"""Records, tensors, labels and dataframes become a tree that JSON can hold, and named tensors."""

from __future__ import annotations

import json
import math
import warnings
from collections.abc import Mapping
from contextlib import suppress
from enum import Enum
from functools import singledispatch
from types import NoneType
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from betahat.data.formulas.formula import Formula
from betahat.data.formulas.stored import stored_formula
from betahat.data.frame import is_frame, is_series, to_pandas
from betahat.errors import BetahatWarning, DataError, listed, user_level
from betahat.saving.records import FREQUENCY, SHARED, ZONE, fields_of, stored_values

_KINDS = "biufmM"
# Longer lists of strings and numbers are stored outside the tree.
_LONG = 64


class UnstorableError(TypeError):
    """A value that is neither a number nor a string."""


class Writer:
    """Collects the contents of a file: a tree, and tensors by the names by which the tree refers to them."""

    def __init__(self) -> None:
        """Begin an empty file."""
        self.tensors: dict[str, Tensor] = {}
        self._storages: set[int] = set()
        self._places: dict[int, int] = {}
        self._held: list[Any] = []
        self._left_out: list[str] = []
        self._as_text = False

    def node(self, value: Any) -> Any:
        """Return the tree of a value, or, if the value has been written before, a reference to it."""
        if id(value) in self._places:
            return {"same": self._places[id(value)]}
        found = tree(value, self)
        if isinstance(found, dict) and next(iter(found)) in SHARED:
            self._places[id(value)] = len(self._places)
            self._held.append(value)  # so that no other object can get its id
        return found

    def say_what_is_missing(self) -> None:
        """Warn of what could not be saved as it is."""
        losses = []
        if self._left_out:
            losses.append(f"the columns {listed(self._left_out)} were left out, so with_cov cannot use them")
        if self._as_text:
            losses.append("the labels of rows were saved as strings")
        if losses:
            warnings.warn(
                f"A file can only hold numbers and strings, but these results contain other objects: {'; '.join(losses)}.",
                BetahatWarning,
                stacklevel=user_level(),
            )

    def named(self, tensor: Tensor) -> str:
        """Store a contiguous tensor, and return its name."""
        name = f"t{len(self.tensors)}"
        storage = tensor.untyped_storage().data_ptr()
        self.tensors[name] = (
            tensor.clone() if storage in self._storages else tensor
        )  # safetensors refuses shared memory
        self._storages.add(storage)
        return name

    def content(self, content: bytes) -> str:
        """Store bytes, and return their name."""
        return self.named(torch.from_numpy(np.frombuffer(content, dtype=np.uint8).copy()))

    def words(self, values: list[Any]) -> str:
        """Store a list of strings and numbers, and return its name; an `UnstorableError` if it contains anything else."""
        text = json.dumps([_word(value) for value in values], separators=(",", ":"))
        return self.content(text.encode())

    def column(self, values: Any) -> Any:
        """Return the tree of a pandas array."""
        kind = values.dtype
        if isinstance(kind, pd.CategoricalDtype):
            codes = tree(np.asarray(values.codes), self)
            return {"codes": codes, "categories": self.node(kind.categories), "ordered": bool(kind.ordered)}
        if isinstance(kind, pd.DatetimeTZDtype):
            if not ZONE.fullmatch(str(kind.tz)):
                raise UnstorableError(f"the time zone {kind.tz!r} has no name")
            return {"zoned": tree(values.tz_convert("UTC").tz_localize(None).to_numpy(), self), "zone": str(kind.tz)}
        if isinstance(kind, pd.PeriodDtype):
            return {
                "periods": tree(np.asarray(values.asi8), self),
                "freq": str(kind).removeprefix("period[").removesuffix("]"),
            }
        if isinstance(kind, pd.IntervalDtype):
            sides = [self.node(pd.Index(values.left)), self.node(pd.Index(values.right))]
            return {"intervals": sides, "closed": kind.closed}
        if isinstance(kind, np.dtype) or (isinstance(values, pd.arrays.NumpyExtensionArray) and kind.kind in _KINDS):
            return tree(values.to_numpy(), self)
        plain = [None if value is pd.NA else value for value in values]
        return {"column": self.words(plain), "dtype": str(kind)}

    def left_out(self, column: Any) -> None:
        """Note a column of the user's data that cannot be saved."""
        self._left_out.append(str(column))

    def as_text(self) -> None:
        """Note that labels were converted to strings."""
        self._as_text = True


@singledispatch
def tree(value: Any, writer: Writer) -> Any:
    """Return a value as JSON can hold it: itself, or a dict whose first key is its kind; a `DataError` for code and objects of the user's own."""
    cls = type(value)
    names = fields_of(cls)
    if names is not None and cls.__module__.partition(".")[0] == "betahat":
        return {
            "record": cls.__name__,
            "fields": {name: writer.node(part) for name, part in stored_values(value).items()},
        }
    if is_frame(value):
        return tree(to_pandas(value, None), writer)
    if is_series(value):
        return tree(to_pandas(value, None).iloc[:, 0], writer)
    raise DataError(
        f"These results contain a {cls.__name__}, which is code or an object of your own, but a file can only hold numbers and strings; switch to "
        "one of betahat's covariances with with_cov, or use pickle."
    )


@tree.register(bool | int | NoneType)
def _(value: Any, writer: Writer) -> Any:
    return value


@tree.register
def _(value: str, writer: Writer) -> Any:
    return str(value)


@tree.register
def _(value: float, writer: Writer) -> Any:
    return float(value) if math.isfinite(value) else {"float": str(float(value))}


@tree.register
def _(value: np.generic, writer: Writer) -> Any:
    return tree(value.item(), writer)


@tree.register
def _(value: Enum, writer: Writer) -> Any:
    return {"enum": [type(value).__name__, value.name]}


@tree.register
def _(value: torch.Size, writer: Writer) -> Any:
    return {"size": list(value)}


@tree.register
def _(value: tuple, writer: Writer) -> Any:  # type: ignore[type-arg]
    return {"tuple": [writer.node(part) for part in value]}


@tree.register
def _(value: list, writer: Writer) -> Any:  # type: ignore[type-arg]
    if len(value) > _LONG:
        with suppress(UnstorableError):
            return {"words": writer.words(value)}
    return {"list": [writer.node(part) for part in value]}


@tree.register
def _(value: Mapping, writer: Writer) -> Any:  # type: ignore[type-arg]
    return {"dict": [[writer.node(key), writer.node(part)] for key, part in value.items()]}


@tree.register
def _(value: Tensor, writer: Writer) -> Any:
    # the order in memory stays, because products round by it
    strides = value.stride()
    order = sorted(range(value.ndim), key=lambda dim: -strides[dim])
    return {"tensor": writer.named(value.detach().cpu().permute(order).contiguous()), "order": order}


@tree.register
def _(value: np.ndarray, writer: Writer) -> Any:
    if value.dtype.kind not in _KINDS:
        return {"object": writer.words(value.ravel().tolist()), "shape": list(value.shape)}
    content = writer.content(np.ascontiguousarray(value).tobytes())
    return {"array": content, "dtype": value.dtype.str, "shape": list(value.shape)}


@tree.register
def _(value: Formula, writer: Writer) -> Any:
    return tree(stored_formula(value), writer)


@tree.register
def _(value: pd.Index, writer: Writer) -> Any:
    try:
        column = writer.column(value.array)
    except UnstorableError:
        writer.as_text()
        column = writer.column(pd.Index([str(label) for label in value]).array)
    freq = getattr(value, "freqstr", None)
    freq = freq if freq is not None and FREQUENCY.fullmatch(freq) else None
    return {"labels": column, "name": writer.node(value.name), "freq": freq}


@tree.register
def _(value: pd.RangeIndex, writer: Writer) -> Any:
    return {"range": [value.start, value.stop, value.step], "name": writer.node(value.name)}


@tree.register
def _(value: pd.MultiIndex, writer: Writer) -> Any:
    return {
        "levels": [writer.node(level) for level in value.levels],
        "codes": [tree(np.asarray(codes), writer) for codes in value.codes],
        "names": writer.node(list(value.names)),
    }


@tree.register
def _(value: pd.Series, writer: Writer) -> Any:
    return {"series": writer.column(value.array), "index": writer.node(value.index), "name": writer.node(value.name)}


@tree.register
def _(value: pd.DataFrame, writer: Writer) -> Any:
    columns, kept = [], []
    for place, name in enumerate(value.columns):
        try:
            columns.append(writer.column(value.iloc[:, place].array))
            kept.append(place)
        except UnstorableError:
            writer.left_out(name)
    return {"frame": columns, "names": writer.node(value.columns[kept]), "index": writer.node(value.index)}


def _word(value: Any) -> Any:
    plain = value.item() if isinstance(value, np.generic) else value
    if plain is None or isinstance(plain, bool | int | float | str):
        return plain
    raise UnstorableError(f"{type(plain).__name__} is neither a number nor a string")
