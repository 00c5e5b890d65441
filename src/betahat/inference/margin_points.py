"""Where marginal effects are computed: at all rows, at their mean or median, at zero, or at rows of the user's."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from numbers import Integral
from typing import Any

import torch
from torch import Tensor

from betahat.data.container import to_tensor
from betahat.data.engine import Block, Engine, column_of_rows, fold, gather
from betahat.data.source import Held, Source
from betahat.data.turned import with_columns_at
from betahat.errors import DataError, OptionError, listed, shown


def moving(
    rows: Source, engine: Engine, dummy: bool, count: bool
) -> tuple[Tensor, dict[int, tuple[float | None, float | None]]]:
    """Return (p,) which columns vary, and which take differences: from 0 to 1 for dummies, from x - 1 to x + 1 for counts."""
    rows = rows.only("exog")
    first = rows.read(("exog",), 0, 1)[0][0].to(torch.float64)

    def kinds(block: Block) -> tuple[Tensor]:
        x = block["exog"]
        return (torch.stack([(found).sum(0) for found in (x != first, x != x.round(), x < 0, x == 0, x == 1, x > 1)]),)

    (counts,) = fold(rows, kinds, engine)
    others, broken, below, zeros, ones, above = counts.unbind(0)
    varies, whole = others > 0, (broken == 0) & (below == 0)
    binary = whole & (zeros > 0) & (ones > 0) & (above == 0)
    steps: dict[int, tuple[float | None, float | None]] = {}
    if count:
        steps |= dict.fromkeys((whole & varies & ~binary).nonzero().flatten().tolist(), (None, None))
    if dummy:
        steps |= dict.fromkeys(binary.nonzero().flatten().tolist(), (0.0, 1.0))
    return varies, steps


def points_at(rows: Source, engine: Engine, names: Sequence[str], varies: Tensor, at: str, atexog: Any) -> Source:
    """Return the rows at which effects are computed, with their offset and counts."""
    points = _replaced(rows, names, atexog)
    if at in ("overall", "all"):
        return points
    shifted = "offset" in points.shapes
    if at == "zero":
        return _point((~varies).to(torch.float64), varies.new_zeros(1, dtype=torch.float64) if shifted else None)
    if at == "mean":
        size, *sums = fold(points, _sums_of_points, engine)
        return _point(*(total / size for total in sums))
    counts = column_of_rows(points, "counts").long() if "counts" in points.shapes else None
    middle = [_median(points, "exog", i, counts) for i in range(len(varies))]
    return _point(torch.stack(middle), _median(points, "offset", None, counts)[None] if shifted else None)


def _point(exog: Tensor, offset: Tensor | None = None) -> Held:
    """Return one row, of (p,) regressors and (1,) offset."""
    return Held({"exog": exog[None], **({} if offset is None else {"offset": offset})})


def _sums_of_points(block: Block) -> tuple[Tensor, ...]:
    """Return the number of rows, copies included, (p,) the sums of the regressors, and (1,) that of the offset where there is one."""
    x, shift, counts = block["exog"], block.get("offset"), block.get("counts")
    often = torch.ones_like(x[:, 0]) if counts is None else counts.to(x)
    return often.sum(), often @ x, *([] if shift is None else [(often @ shift.to(x))[None]])


def _median(points: Source, name: str, place: int | None, counts: Tensor | None) -> Tensor:
    """Return () the median of a column of all rows, each as often as it occurs."""

    def own(block: Block) -> Tensor:
        return (block[name] if place is None else block[name][:, place]).to(torch.float64)

    values = gather(points.only(name), own)
    ordered = (values if counts is None else values.repeat_interleave(counts)).sort().values
    size = len(ordered)
    return (ordered[(size - 1) // 2] + ordered[size // 2]) / 2.0


def _check_numbers(values: Tensor) -> None:
    if not bool(torch.isfinite(values).all()):
        raise DataError("atexog has missing or infinite values; pass a number for each.")


def _replaced(rows: Source, names: Sequence[str], atexog: Any) -> Source:
    """Return the rows with regressors that the user passed: some columns, or rows of their own."""
    if atexog is None:
        return rows
    like = torch.zeros((), dtype=torch.float64, device=rows.device)
    if isinstance(atexog, Mapping):
        columns = {}
        for key, value in atexog.items():
            if key not in names and not (isinstance(key, Integral) and 0 <= int(key) < len(names)):
                raise OptionError(
                    f"atexog has the column {shown(key)}, which does not exist; the columns are {listed(names)}."
                )
            column = to_tensor(value, like)
            if column.ndim > 0 and column.shape != (rows.rows,):
                raise DataError(
                    f"atexog[{shown(key)}] has shape {tuple(column.shape)}; pass one value, or one for each of {rows.rows} rows."
                )
            _check_numbers(column)
            columns[names.index(key) if key in names else int(key)] = column
        return with_columns_at(rows, columns)
    points = to_tensor(atexog, like)
    _check_numbers(points)
    points = points[None] if points.ndim == 1 else points
    if points.ndim != 2 or not len(points):
        raise DataError(f"atexog has shape {tuple(points.shape)}; pass one row of regressors, or several.")
    if points.shape[1] != len(names):
        raise DataError(f"atexog has {points.shape[1]} columns, but the model has {len(names)}; pass as many.")
    beside = [name for name in rows.shapes if name != "exog"]
    if len(points) == rows.rows:
        return rows.replaced({"exog": points})
    if beside:
        raise DataError(
            f"atexog has {len(points)} rows, but the offset or freq_weights belong to the {rows.rows} rows of the data; pass "
            "as many rows, or a dict of columns."
        )
    return Held({"exog": points})
