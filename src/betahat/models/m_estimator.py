"""`MEstimator`: inference for any loss of parameters and data, written as a function."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal

import torch
from torch import Tensor

from betahat.calculus.autodiff import working_route
from betahat.calculus.problem import Problem
from betahat.calculus.rows import Bread
from betahat.covariance.names import CovType, covariance_of, resolve
from betahat.data.container import Arrays, Container, Frames
from betahat.data.container import Tensors as TensorContainer
from betahat.data.design import check_size
from betahat.data.frame import read_columns
from betahat.data.sample import Batch
from betahat.errors import DataError, OptionError, counted, listed
from betahat.fit import fit_general
from betahat.models.discrete import BreadName, check_opg, read_bread
from betahat.models.module import Tensors, parameter_names
from betahat.models.torch_model import read_penalty, warn_far
from betahat.objectives.base import Claim
from betahat.objectives.own import RowLoss
from betahat.results.general import GeneralResults, ModelView
from betahat.solvers.memory import check_memory

_PROBED_ROWS = 16
_BLOCK, _FEWEST, _MOST = 2**21, 256, 2**15
_ROWS_AGREE = 1e-9


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
        if not callable(row_loss):
            raise OptionError(f"row_loss is {row_loss!r}; pass a function that returns the loss of each row.")
        if likelihood not in (True, False, None):
            raise OptionError(f"likelihood is {likelihood!r}; use True or False.")
        self.row_loss = row_loss
        self._start, self._tensors, device = _read_params(params)
        check_memory(len(self._start), _FEWEST, device)
        self._columns, self._keys, self._container = _read_data(data, device)
        self.names = parameter_names(self._tensors) if names is None else tuple(map(str, names))
        if len(self.names) != len(self._start) or len(set(self.names)) < len(self.names):
            raise OptionError(
                f"names has {len(set(self.names))} different names for {len(self._start)} parameters; pass one for each."
            )
        self._losses = _as_batch(_calling(row_loss, self._tensors, self._keys), self._start, self._columns)
        self._claim = Claim.LIKELIHOOD if likelihood else Claim.NONE
        few = tuple(column[:_PROBED_ROWS] for column in self._columns)
        self._route = working_route(lambda theta, rows: self._losses(theta, rows)[:, None], self._start, few)
        self._penalty = read_penalty(penalty, self._tensors, 1.0)
        check_size(len(self._columns[0]), len(self._start))

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
        """
        kind = read_bread(bread)
        if rank not in (None, "pinv"):
            raise OptionError(f"rank is {rank!r}; use None (a flat direction is an error) or 'pinv'.")
        if kind is Bread.EXPECTED:
            raise OptionError(
                "bread='expected' needs the distribution of a model's output, which a row loss does not show; pass 'observed', "
                "'gauss-newton' or 'opg', or use TorchModel."
            )
        claim = Claim.LEAST_SQUARES if kind is Bread.GAUSS_NEWTON else self._claim
        check_opg(kind, claim, self._penalty is not None)
        plain = claim is Claim.NONE or self._penalty is not None
        estimator = resolve("HC0" if cov_type is None and plain else cov_type, cov_kwds)
        problem = self._problem(claim)
        fit = fit_general(problem, self._start, kind, polish=polish, rank=rank)
        if not polish:
            warn_far(fit, self._start, self._tensors, 1.0)
        view = ModelView(
            title=type(self).__name__,
            loss=getattr(self.row_loss, "__name__", type(self.row_loss).__name__),
            tensors=self._tensors,
            notes=(),
            outputs=None,
            inputs=(),
            target=None,
            columns=None,
            mean=None,
        )
        return GeneralResults(self, fit, covariance_of(fit, estimator, use_t), view)

    @property
    def nobs(self) -> float:
        """n, the number of rows."""
        return float(len(self._columns[0]))

    def __repr__(self) -> str:
        """Name the parameters and the size."""
        return f"<MEstimator: {len(self.names)} parameters, n = {len(self._columns[0])}>"

    def _problem(self, claim: Claim) -> Problem:
        width = len(self._start) + sum(column[:1].numel() for column in self._columns)
        rows = min(max(_BLOCK // width, _FEWEST), _MOST)
        nobs = len(self._columns[0])
        sample = Batch(self._columns, self.names, self._container, "loss", nobs, rows)
        return Problem(RowLoss(self._losses, claim, self._route), sample, self._penalty)


def _read_params(params: Mapping[str, Any]) -> tuple[Tensor, Tensors, torch.device]:
    if not isinstance(params, Mapping) or not params:
        raise OptionError(f"params is {params!r}; pass starting values by name, such as {{'beta': torch.zeros(3)}}.")
    device = next((value.device for value in params.values() if isinstance(value, Tensor)), torch.get_default_device())
    pieces, tensors, begin = [], {}, 0
    for name, value in params.items():
        try:
            piece = torch.as_tensor(value, device=device).detach().to(torch.float64)
        except (RuntimeError, TypeError, ValueError) as error:
            raise DataError(f"params[{name!r}] is {value!r}; pass numbers.") from error
        if not piece.numel() or not bool(torch.isfinite(piece).all()):
            raise DataError(f"params[{name!r}] is empty or not finite; pass starting values that are.")
        pieces.append(piece.flatten())
        tensors[str(name)] = (begin, piece.shape)
        begin += piece.numel()
    return torch.cat(pieces), tensors, device


def _read_data(data: Mapping[str, Any], device: torch.device) -> tuple[tuple[Tensor, ...], tuple[str, ...], Container]:
    if not isinstance(data, Mapping) or not data:
        raise DataError(f"data is a {type(data).__name__}; pass the rows by name, such as {{'x': X, 'y': y}}.")
    columns: list[Tensor] = []
    containers: list[Container] = []
    for name, value in data.items():
        label = f"data[{name!r}]"
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
        if column.ndim == 0:
            raise DataError(f"{label} is a single number; pass a row for each observation.")
        column = column.to(torch.float64) if column.is_floating_point() else column
        bad = int((~torch.isfinite(column)).sum())
        if bad:
            raise DataError(
                f"{label} has {counted(bad, 'missing or infinite value')}; leave those rows out, or fill them in."
            )
        columns.append(column)
    lengths = {len(column) for column in columns}
    if len(lengths) != 1 or 0 in lengths:
        raise DataError(f"The data have {listed(sorted(lengths))} rows; pass as many rows in each, and at least one.")
    kind = next((c for c in containers if isinstance(c, TensorContainer)), containers[0])
    return tuple(columns), tuple(map(str, data)), kind


def _calling(row_loss: Callable[..., Any], tensors: Tensors, keys: tuple[str, ...]) -> Callable[..., Any]:
    """Return ((k,) parameters, columns) -> what row_loss returns, called as its arguments ask for."""
    known = {*tensors, *keys}
    try:
        wanted = [
            name
            for name, parameter in inspect.signature(row_loss).parameters.items()
            if parameter.default is parameter.empty and parameter.kind is not parameter.VAR_KEYWORD
        ]
    except (TypeError, ValueError):
        wanted = []
    by_name = bool(wanted) and set(wanted) <= known
    first_is_params = len(wanted) > 1 and set(wanted[1:]) <= set(keys) and wanted[0] not in known

    def call(theta: Tensor, columns: tuple[Tensor, ...]) -> Any:
        params = {name: theta[begin : begin + shape.numel()].view(shape) for name, (begin, shape) in tensors.items()}
        data = dict(zip(keys, columns, strict=True))
        if by_name:
            both = {**params, **data}
            return row_loss(**{name: both[name] for name in wanted})
        if first_is_params:
            return row_loss(params, **{name: data[name] for name in wanted[1:]})
        return row_loss(params, data)

    return call


def _as_batch(
    call: Callable[..., Any], start: Tensor, columns: tuple[Tensor, ...]
) -> Callable[[Tensor, tuple[Tensor, ...]], Tensor]:
    """Return a function of a batch: row_loss itself if it takes one, else mapped over single rows.

    Raises
    ------
    DataError
        It takes neither, or a row's loss depends on other rows.
    """
    few = tuple(column[:_PROBED_ROWS] for column in columns)
    rows = len(few[0])

    def mapped(theta: Tensor, parts: tuple[Tensor, ...]) -> Tensor:
        losses: Tensor = torch.vmap(lambda *row: call(theta, row).reshape(()), in_dims=(0,) * len(parts))(*parts)
        return losses

    whole = _tried(call, start, few)
    if isinstance(whole, Tensor) and whole.shape in ((rows,), (rows, 1)):
        noise = torch.randn(len(start), generator=torch.Generator().manual_seed(1), dtype=torch.float64).to(start)
        for params in (start, start + 0.01 * noise * (1.0 + start.abs())):
            together = _tried(call, params, few)
            alone = [_tried(call, params, tuple(part[i : i + 1] for part in few)) for i in range(rows)]
            if isinstance(together, Tensor) and all(isinstance(one, Tensor) and one.numel() == 1 for one in alone):
                joined = torch.cat([one.reshape(1) for one in alone])
                gap = (together.reshape(-1) - joined).abs() > _ROWS_AGREE * (1.0 + joined.abs())
                if bool(gap.any()):
                    raise DataError(
                        "A row's loss depends on other rows, so that single rows have no scores; write row_loss so that row i of "
                        "its result uses row i of the data alone."
                    )
        return lambda theta, parts: call(theta, parts).reshape(-1)
    try:
        single = mapped(start, few)
    except (RuntimeError, TypeError, ValueError, IndexError, AttributeError) as error:
        reason = whole if isinstance(whole, str) else str(error).splitlines()[0]
        came = f"a tensor of shape {tuple(whole.shape)}" if isinstance(whole, Tensor) else f"an error: {reason}"
        raise DataError(
            f"row_loss gave {came} for {rows} rows; it must return a loss for each row, by torch operations on p['name'] and d['name']."
        ) from error
    if single.shape != (rows,):
        raise DataError(
            f"row_loss gave a tensor of shape {tuple(single.shape)} for {rows} rows; it must return a loss for each row."
        )
    return mapped


def _tried(call: Callable[..., Any], params: Tensor, columns: tuple[Tensor, ...]) -> Any:
    """Return what the call gives, or the first line of its complaint."""
    try:
        return call(params, columns)
    except (RuntimeError, TypeError, ValueError, IndexError, KeyError) as error:
        return str(error).splitlines()[0] if str(error) else type(error).__name__
