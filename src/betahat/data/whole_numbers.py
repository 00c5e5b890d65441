"""Whole numbers beyond 2^53, which floats cannot tell from their neighbours."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from betahat.errors import DataError
from betahat.lazy import lazily

if TYPE_CHECKING:
    import pandas as pd
else:
    pd = lazily("pandas")

_EXACT = 2**53


def check_told_apart(parts: Sequence[pd.Series], name: str) -> None:
    """Refuse parts of a column, (n,) each, of integers beyond 2^53 and of floats, which would be joined as floats; `name` is for the sentence."""
    kinds = {part.dtype for part in parts}
    if len(kinds) < 2:
        return
    if any(pd.api.types.is_integer_dtype(kind) for kind in kinds) and any(map(_is_rounded, kinds)):
        numbers = [part.dropna() for part in parts if pd.api.types.is_integer_dtype(part.dtype)]
        if any(len(part) and max(-int(part.min()), int(part.max())) > _EXACT for part in numbers):
            raise DataError(not_told_apart(name, "in other parts of the data"))


def not_told_apart(name: str, where: str) -> str:
    """Say that a column has integers beyond 2^53, and floats elsewhere."""
    return (
        f"{name} has whole numbers beyond 2**53, and is of a floating type {where}, which cannot tell such numbers from their neighbours; give the "
        "column one type everywhere, integers or text."
    )


def _is_rounded(kind: Any) -> bool:
    """Tell whether integers that are joined with a type may become floats."""
    return bool(pd.api.types.is_float_dtype(kind)) or str(kind).lower() == "uint64"
