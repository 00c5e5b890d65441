"""Classes of a categorical dependent variable: their codes and their levels."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from betahat.data.container import check_real, holds_complex, to_numpy
from betahat.data.engine import THREADS, Engine
from betahat.data.frame import to_pandas
from betahat.data.modes import check_held
from betahat.errors import BetahatError, DataError, FormulaError, listed, shown
from betahat.lazy import lazily

if TYPE_CHECKING:
    import pandas as pd

    from betahat.data import coded_classes as coded
    from betahat.data.datasets import open as datasets
else:
    pd = lazily("pandas")
    coded = lazily("betahat.data.coded_classes")
    datasets = lazily("betahat.data.datasets.open")

_CODES = "betahat_classes"


def read_classes(endog: Any) -> tuple[Any, tuple[Any, ...]]:
    """Return (n,) codes 0, 1, ... of classes, of the kind that came in, and the levels, sorted or in a category's own order; missing stay missing."""
    if endog is None:
        raise DataError("endog is None; pass a column of classes.")
    if isinstance(endog, Tensor):
        check_held(endog, "endog")
        if endog.ndim == 0:
            raise DataError("endog is a single number; pass a column of classes.")
        flat = endog.detach().reshape(len(endog), -1)
        if flat.shape[1] != 1:
            raise DataError(f"endog has {flat.shape[1]} columns; pass one column of classes.")
        column = flat[:, 0]
        check_real(column, "endog: a column")
        there = ~torch.isnan(column)
        levels, inverse = torch.unique(column[there], return_inverse=True)
        _check_levels(levels.tolist())
        missing = torch.full(column.shape, torch.nan, dtype=torch.float64, device=column.device)
        return missing.masked_scatter_(there, inverse.to(torch.float64)), tuple(_plain_levels(levels))
    series = endog if isinstance(endog, pd.Series) else _series(endog)
    codes, levels = _factorize(series)
    if isinstance(endog, np.ndarray | list | tuple):
        return codes, levels
    return pd.Series(codes, index=series.index, name=series.name), levels


@dataclass(frozen=True, eq=False)
class ClassFormula:
    """A formula in which codes stand in the place of classes.

    Attributes
    ----------
    text : str
        The formula.
    data : DataFrame or Dataset
        The data, with the codes.
    name : str
        The column of classes.
    levels : tuple
        (J,) the classes.
    kind : dtype
        The type of the column, pandas'.
    """

    text: str
    data: Any
    name: str
    levels: tuple[Any, ...]
    kind: Any


def class_formula(formula: str, data: Any, engine: Engine = THREADS) -> ClassFormula:
    """Replace the classes on the left-hand side of a formula by codes; those of a dataset are learnt in a pass by an engine."""
    if not isinstance(formula, str) or "~" not in formula:
        raise FormulaError(f"The formula {shown(formula)} has no left-hand side; write 'y ~ x', y a column of classes.")
    left, right = formula.split("~", maxsplit=1)
    name = re.sub(r"^C\((.*)\)$", r"\1", left.strip())
    dataset = datasets.dataset_of(data)
    frame = pd.DataFrame() if dataset is not None else to_pandas(data, None)
    columns = frame.columns if dataset is None else dataset.columns
    if name not in columns:
        raise FormulaError(
            f"The left-hand side {left.strip()!r} is not a column of the data; it must be a column of classes, one of "
            f"{listed(columns, limit=12)}."
        )
    text = f"{_CODES} ~ {right.strip()}"
    if dataset is None:
        codes, levels = _factorize(frame[name])
        return ClassFormula(text, frame.assign(**{_CODES: codes}), name, levels, frame[name].dtype)
    values = coded.learn_classes(dataset, name, engine)
    classes, levels = values.astype("category").cat.categories, _factorize(values)[1]
    return ClassFormula(text, coded.Coded(dataset, name, _CODES, classes), name, levels, values.dtype)


@contextmanager
def told_of_classes(name: str) -> Iterator[None]:
    """Let sentences about the formula that `class_formula` returned say the column's own name in the place of that of its codes."""
    try:
        yield
    except BetahatError as error:
        sentence = str(error).replace(f", '{_CODES}'", "")
        raise type(error)(sentence.replace(_CODES, name)) from None


def class_name(level: Any) -> str:
    """Write a class as statsmodels does: whole numbers without a point."""
    return str(int(level)) if isinstance(level, int | float) and float(level).is_integer() else str(level)


def _series(endog: Any) -> pd.Series:
    if isinstance(endog, np.ndarray | list | tuple):
        try:
            array = np.asarray(endog)
        except ValueError as error:
            raise DataError("endog has rows of different lengths; pass one column of classes.") from error
        array = array[:, 0] if array.ndim == 2 and array.shape[1] == 1 else array
        if array.ndim != 1:
            raise DataError(f"endog has shape {array.shape}; pass one column of classes.")
        return pd.Series(array)
    frame = endog if isinstance(endog, pd.DataFrame) else to_pandas(endog, None)
    if frame.shape[1] != 1:
        raise DataError(f"endog has {frame.shape[1]} columns; pass one column of classes.")
    return frame.iloc[:, 0]


def _check_levels(levels: Any) -> None:
    """Refuse infinity, which is no class."""
    if any(isinstance(level, float) and math.isinf(level) for level in levels):
        raise DataError(
            "endog has infinite values, which are not classes; replace them, or make them missing with missing='drop'."
        )


def _factorize(series: pd.Series) -> tuple[np.ndarray, tuple[Any, ...]]:
    if series.dtype.kind in "cO" and holds_complex(series.to_numpy()):
        raise DataError(
            "endog: a column of complex numbers was passed; pass classes: whole numbers, text or a category."
        )
    category = series.astype("category").cat
    _check_levels(category.categories)
    codes = category.codes.to_numpy().astype(float)
    codes[codes < 0] = np.nan
    categories = category.categories
    if categories.dtype.kind == "f":
        return codes, tuple(_as_printed(categories.to_numpy()))
    return codes, tuple(level.item() if isinstance(level, np.generic) else level for level in categories)


def _plain_levels(levels: Tensor) -> list[Any]:
    """Return (J,) classes of a tensor as Python's numbers."""
    if not levels.is_floating_point():
        return levels.tolist()
    return _as_printed(to_numpy(levels.float() if levels.dtype == torch.bfloat16 else levels))


def _as_printed(levels: np.ndarray) -> list[float]:
    """Return (J,) numbers as they print in their own precision: 0.1 in single precision is 0.1, and not 0.10000000149."""
    return [float(str(level)) for level in levels]
