"""What a model keeps of the user's objects, so that results never change: copies of what is small, and a seal on what is large.

A copy takes milliseconds up to a quarter of a million numbers. Beyond, memory is shared with the user, as a copy would double it, and a
`Seal` notices that it was written on: a look at 256 rows takes 10 microseconds, one at every bit a tenth of X'X.
"""

from __future__ import annotations

import datetime
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import narwhals as nw
import numpy as np
import torch
from torch import Tensor

from betahat.errors import DataError
from betahat.lazy import lazily

if TYPE_CHECKING:
    import pandas as pd
else:
    pd = lazily("pandas")

# Up to so many numbers a copy takes less than a millisecond.
SMALL = 2**18
_LOOKED_AT = 256
# Bits are summed in pieces, so that rows that change places are noticed, too.
_PIECE = 2**12
_WORDS = {1: torch.uint8, 2: torch.int16, 4: torch.int32, 8: torch.int64}


@dataclass(frozen=True, eq=False)
class Seal:
    """What large data were when they were read.

    Attributes
    ----------
    label : str
        What to call them in a sentence.
    values : Tensor or dataframe
        (n, ...) the data, whose memory is the user's.
    few : Tensor, ndarray, Series or DataFrame
        (256, ...) some of the rows.
    sums : Tensor or None
        The sums of the bits of 4,096 numbers each, of a tensor.
    """

    label: str
    values: Any
    few: Any
    sums: Tensor | None

    def check(self, *, whole: bool) -> None:
        """Refuse data that have been written to since, comparing some rows or the `whole`."""
        same = _same(_some(self.values), self.few)
        if same and whole and self.sums is not None:
            same = torch.equal(_sums(self.values), self.sums)
        if not same:
            raise DataError(
                f"{self.label} was changed in place after the model was made, but large data are not copied; make the model and fit it "
                "again, or hand it a copy to keep."
            )


def keep_tensors(named: Sequence[tuple[str, Tensor]]) -> tuple[list[Tensor], tuple[Seal, ...]]:
    """Return tensors that are copies where they are small, and seals of the large ones."""
    kept = [values.clone() if values.numel() <= SMALL else values for _, values in named]
    return kept, tuple(sealed(label, values) for label, values in named if values.numel() > SMALL)


def keep_columns(data: Any) -> tuple[Any, dict[str, Seal]]:
    """Keep a dataframe, a series, or a mapping of columns, in which names are looked up later, and the seals of its columns by name.

    pandas' copy on write makes a shallow copy one that later changes do not reach; the columns of polars and arrow never change.
    """
    if data is None:
        return None, {}
    if isinstance(data, Mapping):
        pairs = {name: _keep_column(f"column {name!r} of the data", values) for name, values in data.items()}
        seals = {str(name): seal for name, (_, seal) in pairs.items() if seal is not None}
        return {name: values for name, (values, _) in pairs.items()}, seals
    kept, seal = _keep_frame("data", data)
    return kept, {} if seal is None else {"": seal}


def keep_labels(given: Any) -> Any:
    """Copy labels of rows that an estimator is made with: a vector, several, or a frame of them; names are what they are."""
    if given is None or isinstance(given, str | int | float | datetime.date | datetime.timedelta):
        return given
    if isinstance(given, Tensor):
        return given.detach().clone()
    if isinstance(given, np.ndarray | pd.DataFrame | pd.Series):
        return given.copy()
    if isinstance(given, Mapping):
        return {name: keep_labels(values) for name, values in given.items()}
    if type(given) in (list, tuple):
        labels = len(given) > _LOOKED_AT and isinstance(given[0], str | int | float | datetime.date)
        return type(given)(given if labels else map(keep_labels, given))  # so many are no vectors, which might change
    read = nw.from_native(given, eager_only=True, allow_series=True, pass_through=True)
    return nw.to_native(read[:]) if isinstance(read, nw.DataFrame | nw.Series) else given


def sealed(label: str, values: Tensor) -> Seal:
    """Seal a tensor."""
    return Seal(label, values, _some(values), _sums(values))


def _keep_column(label: str, values: Any) -> tuple[Any, Seal | None]:
    if isinstance(values, Tensor):
        (kept,), seals = keep_tensors([(label, values.detach())])
        return kept, seals[0] if seals else None
    if isinstance(values, np.ndarray):
        if values.size <= SMALL:
            return values.copy(), None
        if _shared(values):
            return values, sealed(label, torch.from_numpy(values))
        return values, Seal(label, values, _some(values), None)
    if isinstance(values, list | tuple):
        return list(values), None
    read = nw.from_native(values, eager_only=True, allow_series=True, pass_through=True)
    is_array = not isinstance(read, nw.DataFrame | nw.Series) and np.ndim(values) == 1  # of pandas' or arrow's, a range
    return _keep_frame(label, pd.Series(values) if is_array else values)


def _keep_frame(label: str, data: Any) -> tuple[Any, Seal | None]:
    if isinstance(data, pd.DataFrame | pd.Series):
        small = data.size <= SMALL
        kept = data.copy(deep=small)
        return kept, None if small else Seal(label, kept, _some(kept), None)
    read = nw.from_native(data, eager_only=True, allow_series=True, pass_through=True)
    if not isinstance(read, nw.DataFrame | nw.Series):
        return data, None
    if int(np.prod(read.shape)) <= SMALL:
        return nw.to_native(read[np.arange(len(read)).tolist()]), None
    kept = nw.to_native(read[:])
    return kept, Seal(label, kept, _some(kept), None)


def _shared(values: np.ndarray) -> bool:
    """Tell whether torch reads an array where it lies."""
    plain = values.dtype.kind in "fiub" and values.dtype.isnative and values.dtype.itemsize in _WORDS
    return plain and values.flags.writeable and min(values.strides) >= 0


def _places(count: int) -> np.ndarray:
    return np.unique(np.linspace(0, max(count - 1, 0), _LOOKED_AT).astype(np.int64))


def _some(values: Any) -> Any:
    """Return some of the rows, copied."""
    places = _places(len(values))
    if isinstance(values, Tensor):
        return _words(values[torch.from_numpy(places).to(values.device)])
    if isinstance(values, pd.DataFrame | pd.Series):
        return values.iloc[places]
    if isinstance(values, np.ndarray):
        return values[places]
    some = nw.from_native(values, eager_only=True, allow_series=True)[places.tolist()]
    frame = some.to_frame() if isinstance(some, nw.Series) else some
    return pd.DataFrame({name: pd.Series(frame[name].to_list(), dtype=object) for name in frame.columns})


def _same(now: Any, then: Any) -> bool:
    """Compare rows; a missing value is the same as another."""
    if isinstance(now, Tensor):
        return torch.equal(now, then)
    if isinstance(now, np.ndarray):
        now, then = pd.Series(now.tolist(), dtype=object), pd.Series(then.tolist(), dtype=object)
    return bool(now.equals(then))


def _words(values: Tensor) -> Tensor:
    """Return (...) the bits of numbers as whole numbers."""
    return values if values.dtype == torch.bool else values.contiguous().view(_WORDS[values.element_size()])


def _sums(values: Tensor) -> Tensor:
    """Return (m,) the sums of the bits of 4,096 numbers each, in the order of memory where that is dense; whole numbers add up exactly."""
    strides = values.stride()
    dense = values.permute(sorted(range(values.ndim), key=lambda axis: -strides[axis]))
    if not dense.is_contiguous():
        step = max(1, SMALL // max(values[:1].numel(), 1))
        return torch.cat([_sums(part.contiguous()) for part in torch.split(values, step)])
    flat = _words(dense.reshape(-1))
    whole = len(flat) - len(flat) % _PIECE
    found = torch.empty(whole // _PIECE + 1, dtype=torch.int64, device=flat.device)
    pieces = zip(torch.split(flat[:whole], SMALL), torch.split(found[:-1], SMALL // _PIECE), strict=True)
    for (
        part,
        sums,
    ) in (
        pieces
    ):  # in 64 bits, of narrow words a copy, between which small results would keep memory from being used again
        torch.sum(part.view(-1, _PIECE), 1, out=sums)
    found[-1] = flat[whole:].sum()
    return found
