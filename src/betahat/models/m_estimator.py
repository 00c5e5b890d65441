"""`MEstimator`: inference for any loss of parameters and data, written as a function."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

from betahat.calculus.autodiff import working_route
from betahat.calculus.problem import Problem
from betahat.calculus.rows import Bread, BreadName, read_bread
from betahat.covariance.names import CovType, covariance_of, resolve
from betahat.data.arrays import read_columns
from betahat.data.checks import check_size
from betahat.data.container import Arrays, Container, Frames, check_real
from betahat.data.container import Tensors as TensorContainer
from betahat.data.engine import OneAtATime, fold, numbered
from betahat.data.frame import check_index
from betahat.data.kept import keep_tensors
from betahat.data.modes import check_held, in_ordinary_mode, settled
from betahat.data.quiet import quiet
from betahat.data.sample import Batch
from betahat.data.schema import Schema
from betahat.data.user_data import UserData
from betahat.errors import DataError, OptionError, check_flag, counted, described, listed, shown
from betahat.fits.general import fit_general
from betahat.lazy import lazily
from betahat.models.module import parameter_names
from betahat.models.options import (
    FEWEST_ROWS,
    PLAIN,
    Manners,
    Tensors,
    by_name,
    check_general_options,
    check_values,
    has_changed,
    kept_generators,
    read_names,
    read_penalty,
    rows_in_block,
    user_code,
    warn_far,
)
from betahat.models.probes import AGREE, apart, check_differentiable, draws, few_rows, same_rows
from betahat.objectives.base import Route
from betahat.objectives.dispersion import Dispersion, ResidualVariance, Undefined, Unity
from betahat.objectives.own import RowLoss
from betahat.results.general import GeneralResults, ModelView
from betahat.solvers.memory import check_memory

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


@in_ordinary_mode
class MEstimator:
    """M-estimation: minimise the sum over rows of a loss of parameters and data.

    Parameters
    ----------
    row_loss : callable
        Called as ``row_loss(params, data)`` with two dicts of tensors, or with those of their entries that its arguments
        name, ``row_loss(beta, x, y)``. It returns the loss of each row, (n,); a function written for a single row
        is mapped over them.
    params : mapping
        Starting values by name: tensors, arrays or numbers.
    data : mapping
        (n, ...) tensors, arrays or series by name.
    likelihood : bool
        Whether minus the loss is a log-density, so that its Hessian alone is a covariance.
    penalty : float or callable, optional
        Added to the sum: a number times half the sum of squares, or a function of the parameters.
    names : sequence of str, optional
        (k,) the parameters' names.

    Raises
    ------
    DataError, OptionError
        In one sentence, before any work starts.

    References
    ----------
    Huber (1967), Proc. Fifth Berkeley Symp. 1. Stefanski and Boos (2002), Am. Stat. 56(1).

    Examples
    --------
    >>> import torch
    >>> import betahat as bh
    >>> x, y = torch.tensor([1.0, 2.0, 3.0, 4.0]), torch.tensor([1.0, 2.0, 4.0, 5.0])
    >>> def row_loss(p, d):
    ...     return torch.log(torch.cosh(d["y"] - p["a"] - p["b"] * d["x"]))
    >>> bh.MEstimator(row_loss, params={"a": 0.0, "b": 1.0}, data={"x": x, "y": y}).fit().cov_type
    'HC0'
    """

    def __init__(
        self,
        row_loss: Callable[..., Any],
        params: Mapping[str, Any],
        data: Mapping[str, Any],
        likelihood: bool = False,
        penalty: float | Callable[..., Any] | None = None,
        *,
        names: Sequence[str] | None = None,
    ) -> None:
        """Read the data, and find out how the loss wants to be called."""
        with kept_generators():
            self._read(row_loss, params, data, likelihood, penalty, names)

    def fit(
        self,
        cov_type: CovType | None = None,
        cov_kwds: Mapping[str, Any] | None = None,
        use_t: bool | None = None,
        *,
        polish: bool = True,
        bread: BreadName = "observed",
        rank: Literal["pinv"] | None = None,
    ) -> GeneralResults:
        """Go to the optimum, or stay at the parameters, and estimate their covariance.

        Parameters
        ----------
        cov_type, cov_kwds, use_t, polish, rank
            As in `TorchModel.fit`.
        bread : {"observed", "gauss-newton", "opg"}
            As in `TorchModel.fit`. With "gauss-newton" a row's loss is read as half a squared residual: the fit is
            nonlinear least squares, and the classical covariance s^2 (J'J)^-1. A factor of the loss changes the scale
            and the log-likelihood, and no standard error.

        Returns
        -------
        GeneralResults

        Raises
        ------
        OptionError, EstimationError
            As in `TorchModel.fit`; bread="expected", since a row loss shows no distribution.
        """
        kind = read_bread(bread)
        check_flag("polish", polish)
        if kind is Bread.EXPECTED:
            raise OptionError(
                "bread='expected' needs the distribution of a model's output, which a row loss does not show; pass 'observed', "
                "'gauss-newton' or 'opg', or use TorchModel."
            )
        dispersion = ResidualVariance() if kind is Bread.GAUSS_NEWTON else self._dispersion
        check_general_options(kind, rank, dispersion, self._penalty)
        plain = not dispersion.likelihood or self._penalty is not None
        choice = resolve("HC0" if cov_type is None and plain else cov_type, cov_kwds, use_t)
        problem = self._problem(dispersion)
        fit = fit_general(problem, self._start, kind, polish=polish, rank=rank)
        if not polish:
            warn_far(fit, self._start, 1.0)
        view = ModelView(
            title=type(self).__name__,
            loss=getattr(self.row_loss, "__name__", type(self.row_loss).__name__),
            tensors=self._tensors,
            notes=(),
            outputs=None,
            inputs=(),
            target=None,
            columns=None,
            route=self._route,
            rows=FEWEST_ROWS,
            mean=None,
        )
        return GeneralResults(self, fit, covariance_of(fit, choice), view)

    @property
    def endog_names(self) -> str:
        """What is minimised."""
        return "loss"

    @property
    def exog_names(self) -> list[str]:
        """(k,) the parameters' names, where statsmodels keeps them for likelihoods of one's own."""
        return list(self.names)

    @property
    def nobs(self) -> float:
        """n, the number of rows."""
        return float(len(self._columns[0]))

    def __repr__(self) -> str:
        """Name the parameters and the size."""
        return f"<MEstimator: {len(self.names)} parameters, n = {len(self._columns[0])}>"

    def _read(
        self,
        row_loss: Callable[..., Any],
        params: Mapping[str, Any],
        data: Mapping[str, Any],
        likelihood: bool,
        penalty: float | Callable[..., Any] | None,
        names: Sequence[str] | None,
    ) -> None:
        if not callable(row_loss):
            raise OptionError(f"row_loss is {shown(row_loss)}; pass a function that returns the loss of each row.")
        check_flag("likelihood", likelihood, none=True)
        self.row_loss = row_loss
        self._start, self._tensors, device = _read_params(params)
        check_memory(len(self._start), FEWEST_ROWS, device)
        read, self._keys, self._container = _read_data(data, device)
        columns, seals = keep_tensors(
            [(f"data[{key!r}]", column) for key, column in zip(self._keys, read, strict=True)]
        )
        self._columns = tuple(columns)
        self._user_data = UserData.of(data, len(columns[0]), seals)
        self.names = parameter_names(self._tensors) if names is None else read_names(names)
        if len(self.names) != len(self._start) or len(set(self.names)) < len(self.names):
            raise OptionError(
                f"names has {counted(len(self.names), 'name')}, {len(set(self.names))} of them different, for {len(self._start)} parameters; "
                "pass a different one for each."
            )
        self._losses = _as_batch(_calling(row_loss, self._tensors, self._keys), self._start, self._columns)
        self._dispersion = Unity() if likelihood else Undefined()
        few = few_rows(self._columns)
        with user_code(
            "row_loss has no gradient", "write it with torch operations on p['name'] and d['name'] throughout"
        ):
            probe = self._start.clone().requires_grad_(True)
            if not self._losses(probe, few).requires_grad:
                raise TypeError("its result does not depend on the parameters through torch")
            check_differentiable(self._losses, self._start, few, "row_loss", 2)
            self._route = working_route(lambda theta, rows: self._losses(theta, rows)[:, None], self._start, few)
        _check_all_rows(self._losses, self._start, self._columns, self._route, self._rows)
        self._penalty = read_penalty(penalty, self._tensors, 1.0, self._start)
        check_size(len(self._columns[0]), len(self._start))

    @property
    def _rows(self) -> int:
        return rows_in_block(len(self._start) + sum(column[:1].numel() for column in self._columns))

    def _problem(self, dispersion: Dispersion) -> Problem:
        schema = Schema(self._container, "loss", self.names)
        sample = Batch(schema, replace(numbered(self._columns), of_user=self._user_data), OneAtATime(self._rows))
        return Problem(RowLoss(self._losses, dispersion, self._route), sample, self._penalty)


def _read_params(params: Mapping[str, Any]) -> tuple[Tensor, Tensors, torch.device]:
    if not isinstance(params, Mapping) or not params:
        raise OptionError(
            f"params is {shown(params)}; pass starting values by name, such as {{'beta': torch.zeros(3)}}."
        )
    device = next((value.device for value in params.values() if isinstance(value, Tensor)), torch.get_default_device())
    pieces, tensors, begin = [], {}, 0
    for name, given in params.items():
        value = settled(given) if isinstance(given, Tensor) else given
        if isinstance(value, Tensor):
            check_held(value, f"params[{name!r}]")
        try:
            check_real(value if isinstance(value, Tensor) else np.asarray(value), f"params[{name!r}]: an array")
            piece = torch.as_tensor(value, dtype=torch.float64, device=device).detach()
        except DataError:
            raise
        except (RuntimeError, TypeError, ValueError) as error:
            raise DataError(f"params[{shown(name)}] is {shown(value)}; pass numbers.") from error
        if not piece.numel() or not bool(torch.isfinite(piece).all()):
            raise DataError(f"params[{shown(name)}] is empty or not finite; pass starting values that are.")
        pieces.append(piece.flatten())
        tensors[str(name)] = (begin, piece.shape)
        begin += piece.numel()
    return torch.cat(pieces), tensors, device


def _read_data(data: Mapping[str, Any], device: torch.device) -> tuple[tuple[Tensor, ...], tuple[str, ...], Container]:
    if not isinstance(data, Mapping) or not data:
        raise DataError(
            f"data is {described(data)}; pass the rows by name, such as {{'x': X, 'y': y}}, or dict(df[['x', 'y']])."
        )
    columns: list[Tensor] = []
    containers: list[Container] = []
    frames: list[tuple[str, pd.Index]] = []
    for name, given in data.items():
        label = f"data[{name!r}]"
        value = settled(given) if isinstance(given, Tensor) else given
        if isinstance(value, Tensor):
            if value.device != device:
                raise DataError(
                    f"{label} is on {value.device} and the parameters on {device}; move one with .to({str(device)!r})."
                )
            column = value.detach()
            containers.append(TensorContainer())
        else:
            read = read_columns(value, label, device, None)
            column = read.values
            containers.append(Arrays() if read.index is None else Frames(read.index))
            if read.index is not None:
                frames.append((label, read.index))
                check_index(label, read.index, frames[0][1], frames[0][0])
        if column.ndim == 0:
            raise DataError(f"{label} is a single number; pass a row for each observation.")
        check_values([(label, column)])
        column = column.to(torch.float64) if column.is_floating_point() else column
        columns.append(column)
    lengths = {len(column) for column in columns}
    if len(lengths) != 1 or 0 in lengths:
        raise DataError(f"The data have {listed(sorted(lengths))} rows; pass as many rows in each, and at least one.")
    kind = next((c for c in containers if isinstance(c, TensorContainer)), containers[0])
    return tuple(columns), tuple(map(str, data)), kind


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


def _calling(row_loss: Callable[..., Any], tensors: Tensors, keys: tuple[str, ...]) -> RowLosses:
    """Find out from the arguments' names how row_loss wants to be called."""
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
            f"row_loss takes {listed(absent)}, found neither in params nor in data; name its arguments as they do, "
            f"{listed([*tensors, *keys])}, or take two dicts, row_loss(params, data)."
        )
    return RowLosses(row_loss, tensors, keys, (), False)


def _as_batch(losses: RowLosses, start: Tensor, columns: tuple[Tensor, ...]) -> RowLosses:
    """Find out whether the function takes a batch or a single row; an error if neither, or if the loss of a row depends on others."""
    few = few_rows(columns)
    rows, shaken = len(few[0]), _shaken(start)
    remedy = "it must return a loss for each row, by torch operations on p['name'] and d['name']"
    copies, moving = tuple(column.clone() for column in few), shaken.clone()
    with kept_generators() as moved:
        whole = _tried(losses, moving, copies)
        if isinstance(whole, Tensor) and (not whole.is_floating_point() or whole.layout != torch.strided):
            kind = "sparse" if whole.layout != torch.strided else str(whole.dtype)
            raise DataError(f"row_loss returned a {kind} tensor; {remedy}, dense, real and floating-point.")
        losses = replace(losses, manners=Manners(has_changed(copies, few), moved()))
        again = _tried(losses, shaken.clone(), few) if losses.manners.draws else whole
        if isinstance(whole, Tensor) and isinstance(again, Tensor) and not torch.equal(whole, again):
            raise DataError(
                "row_loss is random: two calls with the same data differ; remove the random numbers from it."
            )
    if has_changed((moving,), (shaken,)):
        raise DataError(
            "row_loss changes the parameters, which would move the estimates; hold them in their range by a function of a free "
            "parameter, such as exp()."
        )
    if isinstance(whole, Tensor) and whole.shape in ((rows,), (rows, 1)) and rows > 1:
        if _same_alone(losses, shaken, few, whole.reshape(-1)):
            return losses
        single = replace(losses, single=True)
        if _is_of_one_row(losses, shaken, few) and _moves(single, shaken, few):
            return single
        raise DataError(_ROWS_MIX)
    if isinstance(whole, Tensor) and whole.ndim > 1 and whole.numel() > rows and not _picks(losses, shaken, few, whole):
        raise DataError(
            f"row_loss gave a tensor of shape {tuple(whole.shape)} for {rows} rows, as when (n, 1) meets (n,) and each row is compared "
            f"with every other; {remedy}."
        )
    with quiet(), user_code(f"row_loss fails for {rows} rows", remedy):  # torch warns of the variance of a single row
        if not isinstance(whole, Exception | Tensor):
            raise TypeError(f"it returned {described(whole)}")
        mapped = replace(losses, single=True)(shaken, few)
    if isinstance(whole, Tensor) and whole.numel() == 1 and rows > 1:
        _check_number(whole, mapped.sum(), mapped.abs().sum(), rows)
        return replace(losses, single=True, summed=True)
    return replace(losses, single=True)


def _check_all_rows(losses: RowLosses, start: Tensor, columns: tuple[Tensor, ...], route: Route, rows: int) -> None:
    """Compare the loss of all rows, as the user would call it, with that of the rows in blocks: few rows may not show a weight."""
    params, nobs = _shaken(start), len(columns[0])
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


def _shaken(start: Tensor) -> Tensor:
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
        alone = _tried(losses, leaf, row)
    batch = _tried(losses, params, tuple(part[:1] for part in few))
    if not isinstance(alone, Tensor) or not isinstance(batch, Tensor) or alone.numel() != 1 or batch.numel() != 1:
        return False
    return seen.used and not seen.idle and same_rows(alone.detach().reshape(1), batch.detach().reshape(1))


def _picks(losses: RowLosses, params: Tensor, few: tuple[Tensor, ...], whole: Tensor) -> bool:
    """Tell whether a matrix of a batch is one number of a single row, as of losses[y], which takes a row's class or a batch's rows."""
    one = _tried(losses, params, tuple(part[0] for part in few))
    return whole.shape[:2] != (len(few[0]),) * 2 and isinstance(one, Tensor) and one.numel() == 1


def _moves(losses: RowLosses, params: Tensor, few: tuple[Tensor, ...]) -> bool:
    """Tell whether the function of single rows works, and each of them depends on the parameters."""
    leaf = params.detach().requires_grad_(True)
    with quiet():
        mapped = _tried(losses.__call__, leaf, few)
    if not isinstance(mapped, Tensor) or not mapped.requires_grad:
        return False
    slopes = [torch.autograd.grad(entry, leaf, retain_graph=True)[0] for entry in mapped]
    return all(bool(slope.any()) for slope in slopes)


def _same_alone(losses: RowLosses, params: Tensor, few: tuple[Tensor, ...], together: Tensor) -> bool:
    alone = [_tried(losses, params, tuple(part[i : i + 1] for part in few)) for i in range(len(few[0]))]
    if not all(isinstance(one, Tensor) and one.numel() == 1 for one in alone):
        return False
    return same_rows(torch.cat([one.reshape(1) for one in alone]), together)


def _tried(losses: Callable[..., Any], params: Tensor, columns: tuple[Tensor, ...]) -> Any:
    """Return what a call gives, or what it raises."""
    call = losses.call if isinstance(losses, RowLosses) else losses
    try:
        return call(params, columns)
    except Exception as error:  # whatever a user's function raises
        return error
