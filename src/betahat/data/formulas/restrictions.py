"""Linear restrictions R b = q, given as text, as a matrix, or as both sides; patsy reads the text."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any

import patsy
import torch
from torch import Tensor

from betahat.data.container import to_tensor
from betahat.errors import FormulaError, listed, shown

_NUMBER = re.compile(r"-?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?")


def read_restrictions(
    restrictions: Any, names: Sequence[str], like: Tensor, others: Sequence[str] = ()
) -> tuple[Tensor, Tensor]:
    """Read linear restrictions R b = q on (k,) named parameters; return R, (J, k), and q, (J,).

    They are given as ``"educ = 2*exper, tenure = 0"``, a list or a dict of such, a matrix R or one row of it, with q = 0, or a tuple (R, q).
    A string that cannot be read with `names` is read with `others`, alternative names of the same parameters.
    """
    if isinstance(restrictions, tuple) and len(restrictions) == 2 and not isinstance(restrictions[0], str):
        matrix = _as_rows(to_tensor(restrictions[0], like))
        values = to_tensor(restrictions[1], like).reshape(-1)
    elif isinstance(restrictions, str | Mapping) or _all_strings(restrictions):
        try:
            quoted_names, quoted = _with_numbers_quoted(restrictions, names)
            read = patsy.DesignInfo(quoted_names).linear_constraint(quoted)
        except (patsy.PatsyError, ValueError, TypeError, KeyError, IndexError) as error:
            with suppress(FormulaError):
                if others:
                    return read_restrictions(restrictions, others, like)
            raise FormulaError(
                f"The restriction {shown(restrictions)} cannot be read ({_reason(error)}); the parameters are {listed(names, limit=30)}."
            ) from error
        matrix, values = to_tensor(read.coefs, like), to_tensor(read.constants[:, 0], like)
    else:
        matrix = _as_rows(_restriction_matrix(restrictions, like))
        values = torch.zeros(matrix.shape[0], dtype=torch.float64, device=like.device)
    if matrix.ndim != 2 or matrix.shape[1] != len(names):
        raise FormulaError(
            f"The restrictions have {matrix.shape[-1]} columns for {len(names)} parameters; pass one column for each parameter."
        )
    if values.shape != matrix.shape[:1]:
        raise FormulaError(
            f"There are {matrix.shape[0]} restrictions but {values.numel()} right-hand sides; pass one for each restriction."
        )
    if not bool(torch.isfinite(matrix).all() and torch.isfinite(values).all()):
        raise FormulaError("The restrictions have missing or infinite values; pass a number for each parameter.")
    return matrix, values


def _with_numbers_quoted(restrictions: Any, names: Sequence[str]) -> tuple[list[str], Any]:
    """Put names that are numbers into backticks, also in the restrictions, in which a number that stands alone after = remains a number."""
    numbers = [name for name in names if _NUMBER.fullmatch(name) and f"`{name}`" not in names]
    if not numbers:
        return list(names), restrictions if isinstance(restrictions, str | Mapping) else list(restrictions)
    words = sorted(set(names) - set(numbers), key=len, reverse=True)
    pattern = re.compile("|".join([*map(re.escape, words), rf"(?<![\w.`]){_NUMBER.pattern}(?![\w.`])"]))

    def write(text: str) -> str:
        def name_of(match: re.Match[str]) -> str:
            before, after = text[: match.start()].rstrip(), text[match.end() :].lstrip()
            alone = before.endswith("=") and after[:1] in ("", ",")
            return match[0] if alone or match[0] not in numbers else f"`{match[0]}`"

        return pattern.sub(name_of, text)

    known = [f"`{name}`" if name in numbers else name for name in names]
    if isinstance(restrictions, Mapping):
        return known, {write(str(name)): value for name, value in restrictions.items()}
    return known, write(restrictions) if isinstance(restrictions, str) else [write(part) for part in restrictions]


def _restriction_matrix(restrictions: Any, like: Tensor) -> Tensor:
    try:
        matrix = to_tensor(restrictions, like)
    except (TypeError, ValueError):
        matrix = None
    if matrix is None or matrix.ndim == 0:
        raise FormulaError(
            f"The restrictions are {shown(restrictions)}; pass a string such as 'x1 = x2', a matrix, or a tuple (R, q)."
        )
    return matrix


def _reason(error: Exception) -> str:
    """Return why patsy cannot read a restriction, in other words than patsy's, which calls an unknown name a token."""
    origin = getattr(error, "origin", None)
    if isinstance(error, IndexError):
        return "it is empty"
    reason = str(error).partition("\n")[0].replace("a noun", "a name or a number")
    if origin is None or not reason.startswith("unrecognized token"):
        return reason
    # Where 'educ' is a parameter, patsy has already read that much of 'education'.
    begun = re.search(r"[\w.]*$", origin.code[: origin.start])
    word = re.match(r"[\w.]+|.", origin.code[begun.start() if begun else origin.start :])
    return f"{word[0]!r} is neither a parameter nor a number" if word else reason


def _as_rows(matrix: Tensor) -> Tensor:
    return matrix[None] if matrix.ndim == 1 else matrix


def _all_strings(values: Any) -> bool:
    return isinstance(values, list | tuple) and bool(values) and all(isinstance(value, str) for value in values)
