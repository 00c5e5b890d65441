"""`TorchModel`: inference for any module, fitted by anyone in any way."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, Literal

import torch
from torch import Tensor, nn

from betahat.calculus.autodiff import working_route
from betahat.calculus.problem import Problem
from betahat.calculus.rows import Bread, BreadName, read_bread
from betahat.covariance.names import CovType, covariance_of, resolve
from betahat.data.checks import check_size
from betahat.data.container import Frames
from betahat.data.design import Design
from betahat.data.engine import numbered
from betahat.data.frame import check_columns, check_index
from betahat.data.kept import keep_tensors
from betahat.data.modes import in_ordinary_mode
from betahat.data.sample import COUNTS, Batch, Sample
from betahat.data.schema import Schema
from betahat.data.source import Held, Source
from betahat.data.user_data import UserData
from betahat.data.workers import one_at_a_time, read_engine
from betahat.errors import DataError, OptionError, check_flag
from betahat.fits.fit import Fit
from betahat.fits.general import fit_general
from betahat.fits.linear import fit_least_squares
from betahat.models.cautions import warn_perfect
from betahat.models.inputs import (
    Inputs,
    check_no_loader,
    check_pair,
    check_stream,
    labelled_inputs,
    like_those_of_fit,
    read_inputs,
    read_target,
)
from betahat.models.loaders import is_loader, read_pairs
from betahat.models.losses import ReadLoss, read_loss
from betahat.models.module import Outputs, functional, write_back
from betahat.models.names import names_of
from betahat.models.options import (
    FEWEST_ROWS,
    check_general_options,
    check_values,
    kept_generators,
    read_penalty,
    rows_in_block,
    user_code,
    warn_far,
)
from betahat.models.own_inputs import derived_regressors, own_regressors
from betahat.models.probes import (
    call_once,
    check_differentiable,
    check_rows_apart,
    few_rows,
    held_route,
    is_affine,
    outputs_apart,
)
from betahat.models.read_again import inputs_of, read_again_pairs
from betahat.models.regressors import row_sums
from betahat.models.row_weights import read_row_weights
from betahat.models.target_shape import matching_target
from betahat.models.targets_read import Tried, check_targets, length_of_target, read_as, units_of_all
from betahat.objectives.base import Route
from betahat.objectives.own import ModelLoss
from betahat.results.general import GeneralResults, ModelView
from betahat.solvers.least_squares import RowSum
from betahat.solvers.memory import check_memory

_KEPT_JACOBIAN = 2**27  # numbers: one that is kept replaces X, and may take a gigabyte


@in_ordinary_mode
class TorchModel:
    """Standard errors, tests and tables for a torch module and its loss.

    Parameters
    ----------
    module : nn.Module
        Fitted by anyone in any way, or not at all. It is copied; your own is not changed.
    loss : nn.Module or callable
        (output, target) -> loss, a number or one for each row. nn.MSELoss, BCELoss, BCEWithLogitsLoss,
        CrossEntropyLoss, NLLLoss, PoissonNLLLoss, GaussianNLLLoss, HuberLoss and SmoothL1Loss are recognised.
    inputs : Tensor, array, dataframe, tuple or dict of them, Dataset, DataLoader, or None
        (n, ...) what the module is called with; None for a module that holds its own data and is called without arguments. A Dataset or a
        DataLoader of (inputs, target), without `target`, is read once, in its order; see `stream`.
    target : Tensor, array or series
        (n, ...).
    params : sequence of str, optional
        Patterns of the parameters to estimate, such as ``["head.*"]``; the rest is conditioned on. None takes all that
        require a gradient.
    penalty : float or callable, optional
        What was added to the loss in training. A number is torch's weight decay, penalty / 2 times the sum of squares;
        a callable takes the parameters, ``p["fc.weight"]``, and returns a number.
    likelihood : bool, optional
        Whether minus the loss is a log-density; None assumes it for the losses that are recognised.
    names : sequence of str, optional
        (k,) the parameters' names.
    weights : array_like, optional
        (n,) analytic weights: they multiply a row's loss, and enter a sandwich's meat squared.
    freq_weights : array_like, optional
        (n,) whole numbers, how often a row occurs: the fit is that of the repeated rows.
    stream : bool
        Read a Dataset or a DataLoader of (inputs, target) batch by batch on each pass, in its order, which must not be shuffled, and hold no more than
        a batch and a block of rows; every fit is then by Newton's method, and what has a number for each row, such as `fittedvalues`, is refused.
    engine : Executor, dask Client or the module ray, optional
        As in `OLS`. A module is called by one thread at a time, so processes share the work, and threads do not.

    Raises
    ------
    DataError, OptionError
        Raised before any work starts: a loss that neither adds nor averages rows, rows that depend on each
        other, shapes, dtypes, devices, patterns that match nothing.

    References
    ----------
    White (1982), Econometrica 50(1), for the sandwich of a possibly misspecified model.

    Examples
    --------
    >>> import torch
    >>> import betahat as bh
    >>> x = torch.tensor([[1.0], [2.0], [3.0], [4.0]])
    >>> y = torch.tensor([[1.0], [2.0], [4.0], [5.0]])
    >>> res = bh.TorchModel(torch.nn.Linear(1, 1), torch.nn.MSELoss(), x, y).fit()
    >>> res.names, res.bse.round(decimals=4)
    (('weight', 'bias'), tensor([0.1414, 0.3873], dtype=torch.float64))
    """

    def __init__(
        self,
        module: nn.Module,
        loss: Any,
        inputs: Any = None,
        target: Any = None,
        params: Sequence[str] | None = None,
        penalty: float | Callable[..., Any] | None = None,
        likelihood: bool | None = None,
        *,
        names: Sequence[str] | None = None,
        weights: Any = None,
        freq_weights: Any = None,
        stream: bool = False,
        engine: Any = None,
    ) -> None:
        """Copy the module, read the data, and try what the loss does."""
        self._engine = read_engine(engine)
        with kept_generators():
            self._read(module, loss, inputs, target, params, penalty, likelihood, names, weights, freq_weights, stream)

    def fit(
        self,
        cov_type: CovType | None = None,
        cov_kwds: Mapping[str, Any] | None = None,
        use_t: bool | None = None,
        *,
        polish: bool = True,
        bread: BreadName = "observed",
        rank: Literal["pinv"] | None = None,
        update_module: bool = False,
    ) -> GeneralResults:
        """Find the optimum, or keep the parameters as they are, and estimate their covariance.

        Parameters
        ----------
        cov_type : str or estimator, optional
            As in `OLS.fit`; None is "nonrobust" for a likelihood and least squares, and "HC0", the sandwich, for any
            other loss, where there is a penalty, and for classes of several positions of a row, which may depend on each other.
        cov_kwds, use_t
            As in `OLS.fit`.
        polish : bool
            Whether to minimise, in float64 and from the module's parameters; False takes them as they are.
        bread : {"observed", "expected", "gauss-newton", "opg"}
            The information A of the covariance A^-1 B A^-1: the Hessian, Fisher's information, the sum of J' l'' J
            over the outputs' Jacobians J (what R's `nls` and NIST print), or the sum of s s'.
        rank : {"pinv"}, optional
            With directions in which the loss is flat: the pseudoinverse; None is an error that names the parameters.
        update_module : bool
            Write the estimates into your module, in its dtype.

        Returns
        -------
        GeneralResults

        Raises
        ------
        EstimationError
            No minimum, a flat direction, a solver that does not converge; classical errors far from the optimum.

        Warns
        -----
        ConvergenceWarning
            `polish=False` at parameters that are more than a thousandth of a standard error from the optimum.
        """
        kind = read_bread(bread)
        check_flag("polish", polish)
        check_flag("update_module", update_module)
        dispersion, penalty = self.problem.objective.dispersion, self.problem.penalty
        check_general_options(kind, rank, dispersion, penalty)
        if kind is Bread.OPG and dispersion.squares and self.problem.numbers > self.problem.sample.nobs:
            raise OptionError(
                "bread='opg' takes the errors of all outputs to have the same variance and no correlation, which a squared error does not say of "
                "them; pass bread='observed'."
            )
        if kind is Bread.EXPECTED:
            self._loss.objective.expected_curvature(
                self._output
            )  # refused before the work starts, where it is not known
        positions = self._loss.objective.positions and self._output.ndim > 2
        plain = not dispersion.likelihood or penalty is not None or positions
        check_flag("update_module", update_module)
        choice = resolve("HC0" if cov_type is None and plain else cov_type, cov_kwds, use_t)
        fit = self._fitted(kind, polish, rank, row_sums(choice.estimator))
        warn_perfect(fit, length_of_target(self._target, self.problem.sample))
        if not polish:
            warn_far(fit, self._free.start, self._units)
        covariance = covariance_of(fit, choice)
        if update_module:
            write_back(self.module, self._free.tensors, fit.params)
        return GeneralResults(self, fit, covariance, self._view)

    def outputs(self, params: Tensor, inputs: tuple[Tensor, ...]) -> Tensor:
        """Return the module's (b, ...) outputs at (k,) parameters, differentiable by torch.

        Parameters
        ----------
        params : Tensor
            (k,).
        inputs : tuple of Tensor
            (b, ...) each.

        Returns
        -------
        Tensor
            (b, ...).

        Raises
        ------
        DataError
            The module cannot be called with them.
        """
        with user_code("The module cannot be called with the inputs", "pass inputs like those of the fit"):
            return self._free(params, inputs)

    def read_inputs(self, inputs: Any) -> Inputs:
        """Read new inputs for a prediction.

        Parameters
        ----------
        inputs : object
            As in `TorchModel`.

        Returns
        -------
        Inputs

        Raises
        ------
        DataError
            Other names, columns or shapes than those of the fit.
        """
        if not self._inputs.tensors:
            raise DataError(
                "The module holds its own data, so there are no inputs to exchange; call predict() without any."
            )
        check_no_loader(inputs, "inputs")
        read = read_inputs(inputs, self._free.start.device, self._inputs.columns)
        if self._inputs.columns is not None and read.columns is not None:
            check_columns(self._inputs.columns, read.columns)
        return like_those_of_fit(self._inputs, read)

    @property
    def endog_names(self) -> str:
        """The target's name."""
        return self.endog_name

    @property
    def exog_names(self) -> list[str]:
        """(k,) the parameters' names, where statsmodels keeps them for likelihoods of your own."""
        return list(self.names)

    @property
    def nobs(self) -> float:
        """n, the number of rows, or the sum of the frequency weights."""
        return float(self.problem.sample.nobs)

    def __repr__(self) -> str:
        """Name the module, its loss and its size."""
        return f"<TorchModel: {type(self.module).__name__} by {self._loss.name}, {len(self.names)} parameters, n = {self.problem.sample.nobs}>"

    # private

    def _read(
        self,
        module: nn.Module,
        loss: Any,
        inputs: Any,
        target: Any,
        params: Sequence[str] | None,
        penalty: float | Callable[..., Any] | None,
        likelihood: bool | None,
        names: Sequence[str] | None,
        weights: Any,
        freq_weights: Any,
        stream: bool,
    ) -> None:
        check_flag("stream", stream)
        check_stream(stream, inputs)
        check_pair(inputs, target)
        check_flag("likelihood", likelihood, none=True)
        likelihood = None if likelihood is None else bool(likelihood)
        self.module = module
        free = functional(module, params)
        device = free.start.device
        again = read_again_pairs(inputs, device) if stream else None
        if again is not None:
            inputs, target = inputs_of(again)
        elif is_loader(inputs):
            inputs, target = read_pairs(inputs, device)
        self._inputs = read_inputs(inputs, device)
        given, container, self.endog_name = read_target(target, device)
        if isinstance(container, Frames) and isinstance(self._inputs.container, Frames):
            check_index("target", container.row_labels, self._inputs.container.row_labels, "inputs")
        self._container = self._inputs.container or container
        free = replace(free, keywords=self._inputs.keywords)
        check_memory(len(free.start), FEWEST_ROWS if self._inputs.tensors else len(given), device)
        check_values([*labelled_inputs(self._inputs.tensors), ("target", given)])
        free, self._inputs, output = call_once(free, self._inputs, inputs)
        matched = matching_target(loss, output, given)
        rows = len(matched) if again is None else again.source.rows
        beside = read_row_weights(weights, freq_weights, rows, free.start, self._container)
        self._source = None if again is None else read_as(again.source, loss, output, matched)
        (*tensors, matched), seals = keep_tensors([*labelled_inputs(self._inputs.tensors), ("target", matched)])
        self._beside, self._target = beside, matched
        self._inputs = replace(self._inputs, tensors=tuple(tensors))
        self._user_data = UserData.of(self._inputs.data, len(matched), seals)
        self._rows = rows_in_block(len(free.start) + sum(part[:1].numel() for part in tensors))
        self._loss: ReadLoss = read_loss(loss, output, matched, likelihood, self._rows)
        self._free = replace(free, row_shape=output.shape[1:]) if self._inputs.tensors else free
        if self._inputs.tensors:
            check_rows_apart(self._free, self._inputs.tensors)
        self.names = names_of(self._free, self._inputs, names)
        if self._source is not None:
            check_targets(self._source, loss, self._loss.objective, output, self._rows)
        self._units = self._loss.units
        if penalty is not None:
            tried = Tried(loss, self._loss, output, matched, likelihood, self._rows)
            self._units = units_of_all(tried, rows, None if again is None else again.step, beside.get(COUNTS))
        self._penalty = read_penalty(penalty, self._free.tensors, self._units, self._free.start)
        self._output = output[:1]
        self.problem = self._build(output)
        check_size(self.problem.numbers, len(self.names))

    def _fitted(self, bread: Bread, polish: bool, rank: Literal["pinv"] | None, also: tuple[RowSum, ...]) -> Fit:
        problem = self.problem
        design = problem.sample
        direct = problem.objective.least_squares and bread is not Bread.OPG and problem.penalty is None and polish
        if direct and isinstance(design, Design):
            fit = fit_least_squares(design, "pinv", also)
            if fit.rank == design.width or rank == "pinv":
                return replace(fit, bread_kind=bread)
        start = self._free.start
        return fit_general(problem, start, bread, polish=polish, rank=rank)

    def _build(self, output: Tensor) -> Problem:
        free, inputs, loss = self._free, self._inputs.tensors, self._loss.objective
        width = len(free.start)
        apart = bool(inputs)

        def flat(params: Tensor, columns: tuple[Tensor, ...]) -> Tensor:
            result = free(params, columns)
            return result.reshape(len(result), -1)

        outputs, columns = Outputs(free), (*inputs, self._target)
        few = few_rows(columns) if apart else columns

        def losses(params: Tensor, rows: tuple[Tensor, ...]) -> Tensor:
            return loss.losses(outputs(params, rows), rows[-1])

        check_differentiable(losses, free.start, few, "The module with its loss", 1)
        nobs = len(self._target)
        linear = output.numel() == nobs and loss.one_index is not None and nobs * width <= _KEPT_JACOBIAN
        linear = linear and self._source is None
        self._route: Route | None = None  # of what is mapped, found out when it is
        if linear and apart:
            own = own_regressors(flat, free.start, inputs, output.reshape(nobs))
            if own is not None:
                offset = output.new_full((nobs,), own.constant) if own.constant else None
                return Problem(loss, self._regression(own.jacobian, offset), self._penalty)
        route = working_route(flat, free.start, few_rows(inputs)) if apart else held_route(flat, free.start)
        self._route = route
        affine = is_affine(flat, free.start, inputs, route)
        rows = self._rows
        value = outputs_apart(flat, free.start, inputs, output, route, rows) if apart else output.reshape(nobs, -1)
        if affine and linear:
            made = derived_regressors(flat, free.start, inputs, value[:, 0], route, rows)
            if made is not None:
                return Problem(loss, self._regression(*made), self._penalty)
        check_differentiable(losses, free.start, few, "The module with its loss", 2)
        objective = ModelLoss(outputs, loss, affine, route)
        if apart:
            surer = working_route(lambda params, rows: objective.losses(params, rows)[:, None], free.start, few)
            objective = replace(objective, route=surer)
        source: Source = Held({**numbered(columns).columns, **self._beside}, self._user_data)
        if self._source is not None:
            source = self._source.replaced(self._beside) if self._beside else self._source
        sample: Sample = Batch(self._schema, source, one_at_a_time(rows if apart else nobs, self._engine))
        return Problem(objective, sample, self._penalty)

    def _regression(self, jacobian: Tensor, offset: Tensor | None) -> Design:
        """Return (n, k) regressors as a design, with what the outputs have beside them; a squared error takes it off the target."""
        target = self._target.reshape(-1).to(torch.float64)
        gaussian = self._loss.objective.least_squares
        columns = {"exog": jacobian, "endog": target - offset if offset is not None and gaussian else target}
        columns |= {} if offset is None or gaussian else {"offset": offset}
        return Design(self._schema, Held({**columns, **self._beside}, self._user_data))

    @property
    def _schema(self) -> Schema:
        return Schema(self._container, self.endog_name, self.names)

    @property
    def _view(self) -> ModelView:
        return ModelView(
            title=type(self.module).__name__,
            loss=self._loss.name,
            tensors=self._free.tensors,
            notes=self._free.notes,
            outputs=self.outputs,
            inputs=self._inputs.tensors,
            target=self._target,
            columns=self._inputs.columns,
            route=self._route,
            rows=rows_in_block(len(self._free.start)),
            mean=self._loss.objective.mean,
            variables=self._inputs.variables,
        )
