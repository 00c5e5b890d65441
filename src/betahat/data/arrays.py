"""Arrays, tensors and the columns of dataframes become tensors."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from numbers import Real
from typing import TYPE_CHECKING, Any, NoReturn

import narwhals as nw
import numpy as np
import torch
from torch import Tensor

from betahat.data.frame import named_by_words, narwhals_of, numeric, word_of
from betahat.data.modes import check_dense, check_held, settled
from betahat.errors import DataError, is_number, listed, shown
from betahat.lazy import lazily

if TYPE_CHECKING:
    import pandas as pd
else:
    pd = lazily("pandas")

Device = torch.device | str | None


@dataclass(frozen=True, eq=False)
class Columns:
    """What was read from one of the user's objects.

    Attributes
    ----------
    values : Tensor
        (n,) or (n, k).
    names : tuple of str or None
        The columns' names, where they have some.
    index : pandas.Index or None
        The rows' labels; None unless the object is a dataframe.
    is_tensor : bool
        Whether the user gave a tensor.
    """

    values: Tensor
    names: tuple[str, ...] | None = None
    index: pd.Index | None = None
    is_tensor: bool = False


def read_columns(
    values: Any, label: str, device: Device, dtype: torch.dtype | None, names: Sequence[str] | None = None
) -> Columns:
    """Read one object, (n,) or (n, k): a tensor, anything NumPy understands, or a series or dataframe, of which the columns `names` come if it has them."""
    if isinstance(values, Tensor):
        read = Columns(_tensor(values, label, device, dtype), is_tensor=True)
    elif isinstance(values, np.ndarray | list | tuple | int | float):
        read = Columns(_array(values, label, device, dtype))
    else:
        read = _read_frame(values, label, device, dtype, names)
    if read.values.ndim not in (1, 2):
        raise DataError(f"{label} has {read.values.ndim} dimensions; pass one column, or rows by columns.")
    return read


def read_weights(
    weights: Any, exog: Tensor, device: Device, dtype: torch.dtype | None, label: str = "weights"
) -> Columns | None:
    """Read weights: None, one number for every row, or one for each."""
    if weights is None:
        return None
    if isinstance(weights, str):
        refuse_name(weights, label)
    if isinstance(weights, Real) or (isinstance(weights, Tensor | np.ndarray) and weights.ndim == 0):
        if not is_number(number := weights.item() if isinstance(weights, Tensor | np.ndarray) else weights):
            raise DataError(f"{label} is {shown(weights)}; pass a number, or one for each row.")
        return Columns(torch.full((exog.shape[0],), float(number), dtype=torch.float64, device=exog.device))
    read = single(read_columns(weights, label, device, dtype), label)
    return read if read.is_tensor else replace(read, values=read.values.to(exog.device))


def single(columns: Columns, label: str) -> Columns:
    """Return one column as (n,); refuse several."""
    values = columns.values
    if values.ndim == 2 and values.shape[1] == 1:
        return replace(columns, values=values[:, 0])
    if values.ndim == 2:
        raise DataError(f"{label} has {values.shape[1]} columns; pass one.")
    return columns


def refuse_name(name: str, label: str) -> NoReturn:
    """Say that a model without a formula knows no columns by name."""
    function = {"weights": "wls", "status": "phreg", "entry": "phreg"}.get(label, "poisson")
    raise DataError(
        f"{label} is {shown(name)}, a name, but there is no dataframe to look it up in; pass the numbers themselves, or "
        f"use a formula, such as bh.{function}('y ~ x', data, {label}={shown(name)})."
    )


def _tensor(values: Tensor, label: str, device: Device, dtype: torch.dtype | None) -> Tensor:
    check_dense(values, label)
    values = settled(values)
    if values.is_complex():
        raise DataError(
            f"{label} is complex; betahat needs real numbers: pass its real part, or real and imaginary parts as two columns."
        )
    if device is not None:
        check_held(values, label)
    wanted = dtype or (values.dtype if values.is_floating_point() else torch.float64)
    return values.detach().to(device=device, dtype=wanted) if device is not None else values.detach().to(wanted)


def _array(values: Any, label: str, device: Device, dtype: torch.dtype | None) -> Tensor:
    if isinstance(values, np.ma.MaskedArray):
        values = np.ma.filled(values.astype(float), np.nan)
    try:
        array = np.asarray(values)
    except ValueError as error:
        raise DataError(f"{label} has rows of different lengths; pass rows with as many values each.") from error
    kind = array.dtype.kind
    if kind == "c":
        raise DataError(
            f"{label} is complex; betahat needs real numbers: pass its real part, or real and imaginary parts as two columns."
        )
    if kind not in "fiub":
        hint = "" if label.startswith("weights") else ", or name categories in a formula: bh.ols('y ~ C(group)', data)"
        raise DataError(
            f"{label} is an array of {'strings' if kind in 'US' else array.dtype.name + ' values'}, not of numbers; "
            f"convert it with .astype(float){hint}."
        )
    if array.dtype not in (np.float32, np.float64):
        array = array.astype(np.float64)
    if not array.dtype.isnative or any(stride < 0 for stride in array.strides):
        array = np.array(array, dtype=array.dtype.newbyteorder("="))
    elif not array.flags.writeable:
        array = np.asarray(_Unwarned(array)) if _is_mapped(array) else array.copy()
    tensor = torch.from_numpy(array)
    target = torch.get_default_device() if device is None else device
    return tensor.to(device=target, dtype=dtype or tensor.dtype)


class _Unwarned:
    """An array that cannot be written to as NumPy sees one that can, so that torch, which nobody here writes with, does not warn of it."""

    def __init__(self, array: np.ndarray) -> None:
        self.array = array  # whose memory lives as long
        described = array.__array_interface__
        self.__array_interface__ = {**described, "data": (described["data"][0], False)}


def _is_mapped(array: np.ndarray) -> bool:
    """Tell whether an array's memory is a file's, which is larger than memory perhaps."""
    base: Any = array
    while isinstance(base, np.ndarray):
        if isinstance(base, np.memmap):
            return True
        base = base.base
    return False


def _read_frame(
    data: Any, label: str, device: Device, dtype: torch.dtype | None, wanted: Sequence[str] | None
) -> Columns:
    if isinstance(data, pd.DataFrame):
        data = named_by_words(data, label)
        data = data[list(wanted)] if wanted is not None and set(wanted) <= set(data.columns) else data
    frame = narwhals_of(data, label)
    if isinstance(frame, np.ndarray):
        return Columns(_array(frame, label, device, dtype))
    is_series = isinstance(frame, nw.Series)
    if not is_series and wanted is not None and set(wanted) <= set(frame.columns):
        frame = frame.select(*wanted)
    index = nw.maybe_get_index(frame)
    names: tuple[str, ...] | None
    if is_series:
        names = (word_of(frame.name),) if frame.name not in (None, "") else None
        schema = {label if names is None else names[0]: frame.dtype}
    else:
        names = tuple(str(name) for name in frame.columns)
        schema = dict(frame.schema)
    bad = [name for name, kind in schema.items() if not (kind.is_numeric() or kind == nw.Boolean)]
    if bad:
        raise DataError(
            f"{label} has columns that are not numbers: {listed(bad)}; convert them, classes to 0, 1, ..., for example with pd.factorize, or name them in a formula: "
            "bh.ols('y ~ C(column)', data) makes the dummies."
        )
    if is_series:
        array = numeric(frame)
    elif isinstance(data, pd.DataFrame) and all(kind == np.dtype(float) for kind in data.dtypes):
        array = frame.to_numpy()
    else:
        array = np.empty((len(frame.columns), len(frame))).T
        for i, name in enumerate(frame.columns):
            array[:, i] = numeric(frame[name])
    rows = pd.RangeIndex(len(array)) if index is None else index
    return Columns(_array(array, label, device, dtype), names, rows)
