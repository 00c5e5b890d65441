"""`MEstimator`: inference for any loss of parameters and data, written as a function."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

import torch

from betahat.calculus.autodiff import working_route
from betahat.calculus.problem import Problem
from betahat.calculus.rows import Bread, BreadName, read_bread
from betahat.covariance.names import CovType, covariance_of, resolve
from betahat.data.checks import check_size
from betahat.data.container import Container, Frames, Tensors
from betahat.data.engine import numbered
from betahat.data.kept import keep_tensors
from betahat.data.modes import in_ordinary_mode
from betahat.data.sample import Batch
from betahat.data.schema import Schema
from betahat.data.source import Held
from betahat.data.user_data import UserData
from betahat.data.workers import one_at_a_time, read_engine
from betahat.errors import OptionError, check_flag, counted, shown
from betahat.fits.general import fit_general
from betahat.lazy import lazily
from betahat.models.asked import Head, columns_asked_for
from betahat.models.inputs import check_stream
from betahat.models.loaders import is_loader, read_named
from betahat.models.module import parameter_names
from betahat.models.options import (
    FEWEST_ROWS,
    check_general_options,
    kept_generators,
    read_names,
    read_penalty,
    rows_in_block,
    user_code,
    warn_far,
)
from betahat.models.own_data import read_data, read_params
from betahat.models.probes import check_differentiable, few_rows
from betahat.models.read_again import ReadAgain, dataset_of_names, read_again_files, read_again_named
from betahat.models.row_losses import as_batch, calling, check_all_rows
from betahat.models.row_weights import read_row_weights
from betahat.objectives.dispersion import Dispersion, ResidualVariance, Undefined, Unity
from betahat.objectives.own import RowLoss
from betahat.results.general import GeneralResults, ModelView
from betahat.solvers.memory import check_memory

if TYPE_CHECKING:
    import pandas as pd
else:
    pd = lazily("pandas")


@in_ordinary_mode
class MEstimator:
    """M-estimation: minimise the sum over rows of a loss of parameters and data.

    Parameters
    ----------
    row_loss : callable
        Called as ``row_loss(params, data)`` with two dicts of tensors, or with the entries that its arguments
        name, ``row_loss(beta, x, y)``. It returns the loss of each row, (n,); a function written for a single row
        is mapped over them.
    params : mapping
        Starting values by name: tensors, arrays or numbers.
    data : mapping, Dataset, DataLoader, path or anything else with named columns
        (n, ...) tensors, arrays or series by name; a Dataset or a DataLoader of dicts is read once, in its order. Files, their glob, lazy frames and
        whatever else `ols` reads are read on each pass, only the columns that the loss asks for, and never held in memory.
    likelihood : bool
        Whether minus the loss is a log-density, so that its Hessian alone is a covariance.
    penalty : float or callable, optional
        Added to the sum: a number times half the sum of squares, or a function of the parameters.
    names : sequence of str, optional
        (k,) the parameters' names.
    weights, freq_weights : array_like, optional
        (n,) as in `TorchModel`; of files, the name of a column.
    stream : bool
        Read a Dataset or a DataLoader batch by batch on each pass, in its order, which must not be shuffled, and hold no more than a batch and a block.
    engine : Executor, dask Client or the module ray, optional
        As in `OLS`. A row_loss is called by one thread at a time, so processes share the work, and threads do not.

    Raises
    ------
    DataError, OptionError
        The data or an option cannot be used; raised before any work starts.

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
    >>> start, data = {"a": 0.0, "b": 1.0}, {"x": x, "y": y}
    >>> bh.MEstimator(row_loss, start, data).fit().cov_type
    'HC0'
    """

    def __init__(
        self,
        row_loss: Callable[..., Any],
        params: Mapping[str, Any],
        data: Any,
        likelihood: bool = False,
        penalty: float | Callable[..., Any] | None = None,
        *,
        names: Sequence[str] | None = None,
        weights: Any = None,
        freq_weights: Any = None,
        stream: bool = False,
        engine: Any = None,
    ) -> None:
        """Read the data, and find out how the loss wants to be called."""
        self._engine = read_engine(engine)
        with kept_generators():
            self._read(row_loss, params, data, likelihood, penalty, names, weights, freq_weights, stream)

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
        """Find the optimum, or keep the parameters as they are, and estimate their covariance.

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
            As in `TorchModel.fit`; bread="expected", since the distribution behind a row loss is not known.
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
        """(k,) the parameters' names, where statsmodels keeps them for likelihoods of your own."""
        return list(self.names)

    @property
    def nobs(self) -> float:
        """n, the number of rows, or the sum of the frequency weights."""
        return float(self._sample.nobs)

    def __repr__(self) -> str:
        """Name the parameters and the size."""
        return f"<MEstimator: {len(self.names)} parameters, n = {self._sample.nobs}>"

    def _read(
        self,
        row_loss: Callable[..., Any],
        params: Mapping[str, Any],
        data: Any,
        likelihood: bool,
        penalty: float | Callable[..., Any] | None,
        names: Sequence[str] | None,
        weights: Any,
        freq_weights: Any,
        stream: bool,
    ) -> None:
        if not callable(row_loss):
            raise OptionError(f"row_loss is {shown(row_loss)}; pass a function that returns the loss of each row.")
        check_flag("likelihood", likelihood, none=True)
        self.row_loss = row_loss
        self._start, self._tensors, device = read_params(params)
        check_memory(len(self._start), FEWEST_ROWS, device)
        self._rows_of(data, weights, freq_weights, stream, device)
        self.names = parameter_names(self._tensors) if names is None else read_names(names)
        if len(self.names) != len(self._start) or len(set(self.names)) < len(self.names):
            raise OptionError(
                f"names has {counted(len(self.names), 'name')}, {len(set(self.names))} of them different, for {len(self._start)} parameters; "
                "pass a different one for each."
            )
        self._losses = as_batch(calling(row_loss, self._tensors, self._keys), self._start, self._columns)
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
        check_all_rows(self._losses, self._start, self._columns, self._route, self._rows)
        self._penalty = read_penalty(penalty, self._tensors, 1.0, self._start)
        check_size(self.nobs, len(self._start))

    def _rows_of(self, data: Any, weights: Any, freq_weights: Any, stream: bool, device: torch.device) -> None:
        """Read the data, or some rows of what is read again on each pass."""
        check_flag("stream", stream)
        check_stream(stream, data)
        dataset = dataset_of_names(data)
        self._read_again: ReadAgain | None = None
        self._container: Container = Tensors()
        if dataset is not None:
            beside = {"weights": weights, "freq_weights": freq_weights}
            named = {option: name for option, name in beside.items() if name is not None}
            self._read_again = read_again_files(dataset, self._wanted, named, device)
            self._container = Frames(pd.RangeIndex(self._read_again.source.rows))
            self._beside = {}
        elif stream:
            self._read_again = read_again_named(data, device)
        if self._read_again is None:
            data = read_named(data, device) if is_loader(data) else data
            read, self._keys, self._container = read_data(data, device)
            labels = [(f"data[{key!r}]", column) for key, column in zip(self._keys, read, strict=True)]
            columns, seals = keep_tensors(labels)
            self._columns = tuple(columns)
            self._user_data = UserData.of(data, len(columns[0]), seals)
        else:
            self._keys, self._columns = self._read_again.names, self._read_again.columns
        if dataset is None:
            rows = len(self._columns[0]) if self._read_again is None else self._read_again.source.rows
            self._beside = read_row_weights(weights, freq_weights, rows, self._start, self._container)

    def _wanted(self, head: Head) -> list[str]:
        """Return the columns that the loss takes."""
        return columns_asked_for(self.row_loss, self._tensors, self._start, head)

    @property
    def _rows(self) -> int:
        return rows_in_block(len(self._start) + sum(column[:1].numel() for column in self._columns))

    def _problem(self, dispersion: Dispersion) -> Problem:
        return Problem(RowLoss(self._losses, dispersion, self._route), self._sample, self._penalty)

    @property
    def _sample(self) -> Batch:
        schema = Schema(self._container, "loss", self.names)
        if self._read_again is not None:
            read = self._read_again.source
            return Batch(
                schema,
                read.replaced(self._beside) if self._beside else read,
                one_at_a_time(self._rows, self._engine),
            )
        source = Held({**numbered(self._columns).columns, **self._beside}, self._user_data)
        return Batch(schema, source, one_at_a_time(self._rows, self._engine))
