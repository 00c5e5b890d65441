"""The user's loss of each row: how it is called, and whether it treats rows alone and all of them."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

from betahat.data.engine import OneAtATime, fold, numbered
from betahat.data.quiet import quiet
from betahat.errors import DataError, OptionError, described, listed, shown
from betahat.lazy import lazily
from betahat.models.options import (
    PLAIN,
    Manners,
    Tensors,
    by_name,
    has_changed,
    kept_generators,
    user_code,
)
from betahat.models.probes import AGREE, apart, draws, few_rows, same_rows
from betahat.objectives.base import Route

if TYPE_CHECKING:
    import pandas as pd
else:
    pd = lazily("pandas")


_ROWS_MIX = (
    "A row's loss depends on other rows or on its place, so that single rows have no scores; write row_loss so that row i of its "
    "result uses row i of the data alone, summing over the last dimension and not over rows, and pass statistics of all rows "
    "as data."
)

# What gives another thing of a row's single number than of a column of them.
_REDUCE = {
    "sum", "mean", "prod", "amax", "amin", "max", "min", "aminmax", "std", "var", "std_mean", "var_mean",
    "median", "nanmedian", "nansum", "nanmean", "quantile", "nanquantile", "mode", "logsumexp", "softmax",
    "log_softmax", "softmin", "cumsum", "cumprod", "cummax", "cummin", "logcumsumexp", "norm", "linalg_norm",
    "linalg_vector_norm", "vector_norm", "normalize", "layer_norm", "sort", "argsort", "argmax", "argmin", "topk",
    "kthvalue", "roll", "flip", "count_nonzero",
}  # fmt: skip


@dataclass(frozen=True, eq=False)
class RowLosses:
    """The losses of a batch, from a function that is called as its arguments ask for.

    Attributes
    ----------
    function : callable
        The user's.
    tensors : mapping
        Where each parameter tensor begins, and its shape.
    keys : tuple of str
        The names of the data's columns.
    names : tuple of str
        The arguments that are passed by name; none for two dicts.
    params_first : bool
        Whether the first argument is the dict of parameters, and the others are columns by name.
    single : bool
        Whether the function is called with single rows.
    summed : bool
        Whether it gives one number for all rows.
    manners : Manners
        What the function does beside computing.
    """

    function: Callable[..., Any]
    tensors: Tensors
    keys: tuple[str, ...]
    names: tuple[str, ...]
    params_first: bool
    single: bool = False
    summed: bool = False
    manners: Manners = PLAIN

    def call(self, params: Tensor, columns: tuple[Tensor, ...]) -> Any:
        """Return what the function returns."""
        with self.manners.kept(columns) as rows:
            return self._call(by_name(params, self.tensors), dict(zip(self.keys, rows, strict=True)))

    def _call(self, given: dict[str, Tensor], data: dict[str, Tensor]) -> Any:
        if self.params_first:
            return self.function(given, **{name: data[name] for name in self.names})
        if self.names:
            both = {**given, **data}
            return self.function(**{name: both[name] for name in self.names})
        return self.function(given, data)

    def __call__(self, params: Tensor, columns: tuple[Tensor, ...]) -> Tensor:
        """Return (b,) losses at (k,) parameters."""
        if not self.single:
            losses: Tensor = self.call(params, columns).reshape(-1)
            return losses
        mapped: Tensor = torch.vmap(lambda *row: self.call(params, row).reshape(()), in_dims=(0,) * len(columns))(
            *columns
        )
        return mapped


def calling(row_loss: Callable[..., Any], tensors: Tensors, keys: tuple[str, ...], what: str = "row_loss") -> RowLosses:
    """Find out from the arguments' names how a function wants to be called; `what` is its name in a sentence."""
    known = {*tensors, *keys}
    try:
        arguments = inspect.signature(row_loss).parameters.values()
    except (TypeError, ValueError):  # built-in functions have no signature
        return RowLosses(row_loss, tensors, keys, (), False)
    plain = [a for a in arguments if a.kind not in (a.VAR_KEYWORD, a.VAR_POSITIONAL)]
    wanted = [a.name for a in plain if a.default is a.empty]
    named = tuple(a.name for a in plain if a.default is a.empty or a.name in known)
    if wanted and set(wanted) <= known:
        return RowLosses(row_loss, tensors, keys, named, False)
    if len(wanted) > 1 and set(wanted[1:]) <= set(keys):
        return RowLosses(row_loss, tensors, keys, tuple(name for name in named if name != wanted[0]), True)
    if len(wanted) != 2:
        absent = [name for name in wanted if name not in known]
        raise OptionError(
            f"{what} takes {listed(absent)}, found neither in params nor in data; name its arguments as they do, "
            f"{listed([*tensors, *keys])}, or take two dicts, {what}(params, data)."
        )
    return RowLosses(row_loss, tensors, keys, (), False)


def two_dicts(called: RowLosses) -> RowLosses | None:
    """Return a function of two arguments that are the names of columns, called with two dicts instead; None where it is none."""
    return replace(called, names=(), params_first=False) if len(called.names) + called.params_first == 2 else None


def check_keys(called: RowLosses, gave: Any, what: str) -> None:
    """Refuse a name that a function asks its dicts for, and neither has."""
    known = [*called.tensors, *called.keys]
    absent = gave.args[0] if isinstance(gave, KeyError) and gave.args else None
    if isinstance(absent, str) and not called.names and absent not in known:
        raise DataError(
            f"{what} takes {shown(absent)}, found neither in params nor in data, which have {listed(known)}."
        )


def check_arguments(called: RowLosses, gave: Any, what: str) -> None:
    """Refuse two arguments that got dicts, and could not do with them, where one is the name of a parameter or a column: the other is a mistake."""
    unusable = not isinstance(gave, Tensor | Exception) or isinstance(gave, TypeError) or "'dict'" in str(gave)
    if called.names or called.params_first or not unusable:
        return
    try:
        names = list(inspect.signature(called.function).parameters)
    except (TypeError, ValueError):
        return
    known = [*called.tensors, *called.keys]
    absent = [name for name in names if name not in known]
    if len(absent) == 1 and len(names) == 2:
        raise OptionError(
            f"{what} takes {shown(absent[0])}, found neither in params nor in data; name its arguments as they do, {listed(known)}, or take two dicts, "
            f"{what}(params, data)."
        )


def as_batch(losses: RowLosses, start: Tensor, columns: tuple[Tensor, ...]) -> RowLosses:
    """Find out whether the function takes a batch or a single row; an error if neither, or if the loss of a row depends on others."""
    few = few_rows(columns)
    rows, near = len(few[0]), shaken(start)
    remedy = "it must return a loss for each row, by torch operations on p['name'] and d['name']"
    losses, whole = watched(losses, near, few, "row_loss", remedy)
    if isinstance(whole, Tensor) and whole.shape in ((rows,), (rows, 1)) and rows > 1:
        if _same_alone(losses, near, few, whole.reshape(-1)):
            return losses
        single = replace(losses, single=True)
        if _is_of_one_row(losses, near, few) and _moves(single, near, few):
            return single
        raise DataError(_ROWS_MIX)
    if isinstance(whole, Tensor) and whole.ndim > 1 and whole.numel() > rows and not _picks(losses, near, few, whole):
        raise DataError(
            f"row_loss gave a tensor of shape {tuple(whole.shape)} for {rows} rows, as when (n, 1) meets (n,) and each row is compared "
            f"with every other; {remedy}."
        )
    with quiet(), user_code(f"row_loss fails for {rows} rows", remedy):  # torch warns of the variance of a single row
        if not isinstance(whole, Exception | Tensor):
            raise TypeError(f"it returned {described(whole)}")
        mapped = replace(losses, single=True)(near, few)
    if isinstance(whole, Tensor) and whole.numel() == 1 and rows > 1:
        _check_number(whole, mapped.sum(), mapped.abs().sum(), rows)
        return replace(losses, single=True, summed=True)
    return replace(losses, single=True)


def check_all_rows(losses: RowLosses, start: Tensor, columns: tuple[Tensor, ...], route: Route, rows: int) -> None:
    """Compare the loss of all rows, as the user would call it, with that of the rows in blocks: few rows may not show a weight."""
    params, nobs = shaken(start), len(columns[0])
    if losses.summed:
        whole = _called(losses, params, columns)
        summed, size = fold(
            numbered(columns), lambda b: _sums(losses(params, tuple(b.columns.values()))), OneAtATime(rows)
        )
        _check_number(whole, summed, size, nobs)
    elif not losses.single:
        whole = _called(losses, params, columns)
        if whole.numel() != nobs or not same_rows(whole.reshape(-1), apart(losses, params, columns, route, rows)):
            raise DataError(_ROWS_MIX)


def _called(losses: RowLosses, params: Tensor, columns: tuple[Tensor, ...]) -> Tensor:
    with (
        torch.no_grad(),
        user_code(f"row_loss fails for all {len(columns[0])} rows", "it must take any number of rows"),
    ):
        whole: Tensor = losses.call(params, columns)
    return whole


def _sums(values: Tensor) -> tuple[Tensor, Tensor]:
    return values.detach().sum(), values.detach().abs().sum()


def _check_number(whole: Tensor, summed: Tensor, size: Tensor, rows: int) -> None:
    """Refuse one number for all rows that is neither their sum nor their mean; where it is not finite, the solver tells."""
    together, added, scale = float(whole.detach().sum()), float(summed.detach()), float(size.detach())
    if not math.isfinite(together):
        return
    if not min(abs(together - added), abs(together * rows - added)) <= AGREE * (scale + 1e-300):
        raise DataError(
            "row_loss gave one number for all rows, which is neither the sum nor the mean of what it gives for single rows, as "
            "where weights are divided by their sum or a statistic of all rows is in it; return a loss for each row, by torch "
            "operations on p['name'] and d['name'], times its weight where there is one, and pass a penalty as penalty=."
        )


def shaken(start: Tensor) -> Tensor:
    """Return (k,) parameters near the start."""
    return start + 0.01 * draws(start, 1) * (1.0 + start.abs())


class _Reductions(TorchFunctionMode):
    """Notes what a function of a single row does, and one of a column of rows would do otherwise.

    Attributes
    ----------
    idle : bool
        Whether something is summed, averaged or ordered that such a function would leave alone: one number, or data without
        parameters.
    used : bool
        Whether it sums all of what the parameters have entered, or takes one value out of a row.
    """

    idle = False
    used = False

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Look at the first argument of a reduction."""
        first, second = (*args, None, None)[:2]
        name = getattr(func, "__name__", "")
        if isinstance(first, Tensor) and not isinstance(second, Tensor):
            if name in _REDUCE:
                dims = (kwargs or {}).get("dim", second)
                self.idle |= first.numel() == 1 or not first.requires_grad
                self.used |= first.requires_grad and not (isinstance(dims, int) and dims < 0)
            elif name == "__getitem__":
                self.used |= isinstance(second, int) and not first.requires_grad
        return func(*args, **(kwargs or {}))


def _is_of_one_row(losses: RowLosses, params: Tensor, few: tuple[Tensor, ...]) -> bool:
    """Tell whether a function that mixes rows was written for a single one: it sums over what the parameters have entered.

    y - y.mean(), x / x.abs().amax(0) and y - means[group] can be taken of a single row, and mean something else there.
    """
    leaf, row = params.detach().requires_grad_(True), tuple(part[0] for part in few)
    with _Reductions() as seen, torch.enable_grad():
        alone = tried(losses, leaf, row)
    batch = tried(losses, params, tuple(part[:1] for part in few))
    if not isinstance(alone, Tensor) or not isinstance(batch, Tensor) or alone.numel() != 1 or batch.numel() != 1:
        return False
    return seen.used and not seen.idle and same_rows(alone.detach().reshape(1), batch.detach().reshape(1))


def _picks(losses: RowLosses, params: Tensor, few: tuple[Tensor, ...], whole: Tensor) -> bool:
    """Tell whether a matrix of a batch is one number of a single row, as of losses[y], which takes a row's class or a batch's rows."""
    one = tried(losses, params, tuple(part[0] for part in few))
    return whole.shape[:2] != (len(few[0]),) * 2 and isinstance(one, Tensor) and one.numel() == 1


def _moves(losses: RowLosses, params: Tensor, few: tuple[Tensor, ...]) -> bool:
    """Tell whether the function of single rows works, and each of them depends on the parameters."""
    leaf = params.detach().requires_grad_(True)
    with quiet():
        mapped = tried(losses.__call__, leaf, few)
    if not isinstance(mapped, Tensor) or not mapped.requires_grad:
        return False
    slopes = [torch.autograd.grad(entry, leaf, retain_graph=True)[0] for entry in mapped]
    return all(bool(slope.any()) for slope in slopes)


def _same_alone(losses: RowLosses, params: Tensor, few: tuple[Tensor, ...], together: Tensor) -> bool:
    alone = [tried(losses, params, tuple(part[i : i + 1] for part in few)) for i in range(len(few[0]))]
    if not all(isinstance(one, Tensor) and one.numel() == 1 for one in alone):
        return False
    return same_rows(torch.cat([one.reshape(1) for one in alone]), together)


def watched(
    called: RowLosses, params: Tensor, few: tuple[Tensor, ...], what: str, remedy: str
) -> tuple[RowLosses, Any]:
    """Call a user's function with copies of its data; return it with its manners, and what it gave or raised, unless that is no loss or moments at all."""
    copies, moving = tuple(column.clone() for column in few), params.clone()
    with kept_generators() as moved:
        whole = tried(called, moving, copies)
        dicts = two_dicts(called) if isinstance(whole, Exception) else None
        if dicts is not None and not isinstance(given := tried(dicts, moving, copies), Exception):
            called, whole = dicts, given  # loss(p, d), where a column is called d
        check_arguments(called, whole, what)
        check_keys(called, whole, what)
        if isinstance(whole, Tensor) and (not whole.is_floating_point() or whole.layout != torch.strided):
            kind = "sparse" if whole.layout != torch.strided else str(whole.dtype)
            raise DataError(f"{what} returned a {kind} tensor; {remedy}, dense, real and floating-point.")
        called = replace(called, manners=Manners(has_changed(copies, few), moved()))
        again = tried(called, params.clone(), few) if called.manners.draws else None
        if isinstance(whole, Tensor) and isinstance(again, Tensor) and not torch.equal(whole, again):
            raise DataError(
                f"{what} is random: two calls with the same data differ; remove the random numbers from it."
            )
    if has_changed((moving,), (params,)):
        raise DataError(
            f"{what} changes the parameters, which would move the estimates; hold them in their range by a function of a free "
            "parameter, such as exp()."
        )
    return called, whole


def tried(losses: Callable[..., Any], params: Tensor, columns: tuple[Tensor, ...]) -> Any:
    """Return what a call gives, or what it raises."""
    call = losses.call if isinstance(losses, RowLosses) else losses
    try:
        return call(params, columns)
    except Exception as error:  # whatever a user's function raises
        return error
