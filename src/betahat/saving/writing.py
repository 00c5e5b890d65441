"""Records, tensors, labels and dataframes become a tree that JSON can hold, and named tensors beside it."""

from __future__ import annotations

import json
import math
import warnings
from collections.abc import Mapping
from enum import Enum
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from betahat.data.formula import Formula
from betahat.data.frame import is_frame, to_pandas
from betahat.data.stored_formula import stored_formula
from betahat.errors import BetahatWarning, DataError, listed
from betahat.saving.records import fields_of

_KINDS = "biufmM"
# A longer list of words and numbers stands beside the tree.
_LONG = 64


class Unstorable(TypeError):
    """A value that is neither number nor word."""


class Writer:
    """What a file is made of.

    Attributes
    ----------
    tensors : dict of str to Tensor
        By the names that the tree has for them.
    """

    def __init__(self) -> None:
        """Begin an empty file."""
        self.tensors: dict[str, Tensor] = {}
        self._places: dict[int, int] = {}
        self._held: list[Any] = []
        self._left_out: list[str] = []
        self._as_text = False

    def node(self, value: Any) -> Any:
        """Return the tree of a value."""
        if isinstance(value, np.generic):
            value = value.item()
        if value is None or type(value) in (bool, int, str):
            return value
        if isinstance(value, Enum):
            return {"enum": [type(value).__name__, value.name]}
        if isinstance(value, str):
            return str(value)
        if isinstance(value, float):
            return float(value) if math.isfinite(value) else {"float": str(float(value))}
        if isinstance(value, torch.Size):
            return {"size": list(value)}
        if isinstance(value, tuple):
            return {"tuple": [self.node(part) for part in value]}
        if isinstance(value, list):
            return self._list(value)
        if isinstance(value, Mapping):
            return {"dict": [[self.node(key), self.node(part)] for key, part in value.items()]}
        if id(value) in self._places:
            return {"same": self._places[id(value)]}
        self._held.append(value)  # so that no other object gets its id
        found = self._shared(value)
        self._places[id(value)] = len(self._places)
        return found

    def warn(self) -> None:
        """Say what could not be stored as it is."""
        said = []
        if self._left_out:
            said.append(f"the data's columns {listed(self._left_out)} were left out, and with_cov cannot look them up")
        if self._as_text:
            said.append("the rows' labels were stored as text")
        if said:
            warnings.warn(
                f"A file holds numbers and words, and these results hold other objects: {'; '.join(said)}.",
                BetahatWarning,
                stacklevel=4,
            )

    def _shared(self, value: Any) -> Any:
        if isinstance(value, Tensor):
            return self._tensor(value)
        if isinstance(value, np.ndarray):
            return self._array(value)
        if isinstance(value, pd.Index):
            return self._labels(value)
        if isinstance(value, pd.Series):
            name = self.node(value.name)
            return {"series": [self._column(value.array), self.node(value.index), name]}
        if isinstance(value, pd.DataFrame):
            return self._frame(value)
        if isinstance(value, Formula):
            return self.node(stored_formula(value))
        names = fields_of(type(value))
        if names is not None and type(value).__module__.partition(".")[0] == "betahat":
            return {"record": type(value).__name__, "fields": {name: self.node(getattr(value, name)) for name in names}}
        if is_frame(value):
            return self._frame(to_pandas(value, None))
        raise DataError(
            f"These results hold a {type(value).__name__}, which is code or an object of your own, and a file holds numbers and words; "
            "switch to a covariance of betahat's with with_cov, or use pickle."
        )

    def _tensor(self, value: Tensor) -> Any:
        """Store columns one after the other where they lie so: products round by the order in memory."""
        plain = value.detach().cpu()
        turned = plain.ndim == 2 and not plain.is_contiguous() and plain.mT.is_contiguous()
        return {"tensor": self._named((plain.mT if turned else plain).contiguous()), "turned": turned}

    def _named(self, tensor: Tensor) -> str:
        name = f"t{len(self.tensors)}"
        shared = any(
            tensor.untyped_storage().data_ptr() == other.untyped_storage().data_ptr() for other in self.tensors.values()
        )
        self.tensors[name] = tensor.clone() if shared and tensor.numel() else tensor
        return name

    def _bytes(self, content: bytes) -> str:
        return self._named(torch.from_numpy(np.frombuffer(content, dtype=np.uint8).copy()))

    def _words(self, values: list[Any]) -> str:
        try:
            text = json.dumps([_word(value) for value in values], separators=(",", ":"))
        except Unstorable:
            raise
        except (TypeError, ValueError) as error:
            raise Unstorable(str(error)) from error
        return self._bytes(text.encode())

    def _list(self, values: list[Any]) -> Any:
        if len(values) <= _LONG:
            return {"list": [self.node(part) for part in values]}
        try:
            return {"words": self._words(values)}
        except Unstorable:
            return {"list": [self.node(part) for part in values]}

    def _array(self, values: np.ndarray) -> Any:
        if values.dtype.kind not in _KINDS:
            return {"object": self._words(values.ravel().tolist()), "shape": list(values.shape)}
        content = self._bytes(np.ascontiguousarray(values).tobytes())
        return {"array": content, "dtype": values.dtype.str, "shape": list(values.shape)}

    def _column(self, values: Any) -> Any:
        """Return the tree of a column of pandas'."""
        kind = values.dtype
        if isinstance(kind, pd.CategoricalDtype):
            codes = self._array(np.asarray(values.codes))
            return {"codes": codes, "categories": self.node(kind.categories), "ordered": bool(kind.ordered)}
        if isinstance(kind, pd.DatetimeTZDtype):
            return {"zoned": self._array(values.tz_convert("UTC").tz_localize(None).to_numpy()), "zone": str(kind.tz)}
        if isinstance(kind, pd.PeriodDtype):
            return {"periods": self._array(np.asarray(values.asi8)), "freq": kind.freq.freqstr}
        if isinstance(kind, pd.IntervalDtype):
            sides = [self.node(pd.Index(values.left)), self.node(pd.Index(values.right))]
            return {"intervals": sides, "closed": kind.closed}
        if isinstance(kind, np.dtype) and kind.kind in _KINDS:
            return self._array(values.to_numpy())
        plain = [None if value is pd.NA else value for value in values]
        return {"column": self._words(plain), "dtype": str(kind)}

    def _labels(self, index: pd.Index) -> Any:
        if isinstance(index, pd.RangeIndex):
            return {"range": [index.start, index.stop, index.step], "name": self.node(index.name)}
        if isinstance(index, pd.MultiIndex):
            return {
                "levels": [self.node(level) for level in index.levels],
                "codes": [self._array(np.asarray(codes)) for codes in index.codes],
                "names": self.node(list(index.names)),
            }
        try:
            column = self._column(index.array)
        except Unstorable:
            self._as_text = True
            column = self._column(pd.Index([str(label) for label in index]).array)
        return {"labels": column, "name": self.node(index.name), "freq": getattr(index, "freqstr", None)}

    def _frame(self, frame: pd.DataFrame) -> Any:
        columns, kept = [], []
        for place, name in enumerate(frame.columns):
            try:
                columns.append(self._column(frame.iloc[:, place].array))
                kept.append(place)
            except Unstorable:
                self._left_out.append(str(name))
        return {"frame": columns, "names": self.node(frame.columns[kept]), "index": self.node(frame.index)}


def _word(value: Any) -> Any:
    plain = value.item() if isinstance(value, np.generic) else value
    if plain is None or isinstance(plain, bool | int | float | str):
        return plain
    raise Unstorable(f"{type(plain).__name__} is neither number nor word")
