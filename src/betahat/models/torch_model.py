"""`TorchModel`: inference for any module, fitted by anyone in any way."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor, nn

from betahat.calculus.autodiff import row_jacobian, working_route
from betahat.calculus.problem import Problem
from betahat.calculus.rows import Bread
from betahat.covariance.names import CovType, covariance_of, resolve
from betahat.data.blocks import gather
from betahat.data.container import Arrays, Container, Frames
from betahat.data.container import Tensors as TensorContainer
from betahat.data.design import Design, check_size
from betahat.data.frame import check_index, read_columns
from betahat.data.sample import Batch, Sample
from betahat.errors import DataError, OptionError, counted, listed
from betahat.fit import Fit, fit_general, fit_least_squares
from betahat.models.losses import ReadLoss, matching_target, read_loss
from betahat.models.module import Functional, functional, parameter_names, write_back
from betahat.models.options import (
    FEWEST_ROWS,
    PROBED_ROWS,
    BreadName,
    check_general_options,
    check_values,
    read_bread,
    read_penalty,
    rows_in_block,
    user_code,
    warn_far,
)
from betahat.models.regressors import check_columns
from betahat.objectives.base import Claim, LinearIndex
from betahat.objectives.gaussian import Gaussian
from betahat.objectives.own import ModelLoss, Route
from betahat.results.general import GeneralResults, ModelView
from betahat.solvers.memory import check_memory

# Derivatives that agree to ten digits at three points do not depend on the parameters.
_AFFINE = 1e-10
# A Jacobian that is kept, n x k, replaces X: it may take a gigabyte.
_KEPT_JACOBIAN = 2**27


@dataclass(frozen=True, eq=False)
class Inputs:
    """A module's inputs.

    Attributes
    ----------
    tensors : tuple of Tensor
        (n, ...) each, numbers with a point in float64; empty for a module that holds its own data.
    keywords : tuple of str or None
        Their names, where they are passed by name.
    columns : tuple of str or None
        The columns' names of a dataframe.
    container : Container or None
        What results look like; None leaves it to the target.
    """

    tensors: tuple[Tensor, ...]
    keywords: tuple[str, ...] | None
    columns: tuple[str, ...] | None
    container: Container | None


@dataclass(frozen=True, eq=False)
class Outputs:
    """A module's outputs from row columns, the target last."""

    free: Functional

    def __call__(self, params: Tensor, columns: tuple[Tensor, ...]) -> Tensor:
        """Return (b, ...) the outputs at (k,) parameters."""
        return self.free(params, columns[:-1])


class TorchModel:
    """Standard errors, tests and tables for a torch module and its loss.

    Parameters
    ----------
    module : nn.Module
        Fitted by anyone in any way, or not at all. It is copied; your own is not changed.
    loss : nn.Module or callable
        (output, target) -> loss, a number or one for each row. nn.MSELoss, BCELoss, BCEWithLogitsLoss,
        CrossEntropyLoss, NLLLoss, PoissonNLLLoss, GaussianNLLLoss, HuberLoss and SmoothL1Loss are recognised.
    inputs : Tensor, array, dataframe, tuple or dict of them, or None
        (n, ...) what the module is called with; None for a module that holds its own data and is called without.
    target : Tensor, array or series
        (n, ...).
    params : sequence of str, optional
        Patterns of the parameters to estimate, such as ``["head.*"]``; the rest is conditioned on. None takes all that
        require a gradient.
    penalty : float or callable, optional
        What was added to the loss in training. A number is torch's weight decay, penalty / 2 times the sum of squares;
        a callable takes the parameters, ``p["fc.weight"]``, and returns a number.
    likelihood : bool, optional
        Whether minus the loss is a log-density; None believes it of the losses that are recognised.
    names : sequence of str, optional
        (k,) the parameters' names.

    Raises
    ------
    DataError, OptionError
        In one sentence, before any work starts: a loss that neither adds nor averages rows, rows that depend on each
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
    ) -> None:
        """Copy the module, read the data, and try what the loss does."""
        if target is None:
            raise DataError("There is no target; pass what the loss compares the output with as the fourth argument.")
        if likelihood not in (None, True, False):
            raise OptionError(f"likelihood is {likelihood!r}; use True, False, or None to go by the loss.")
        self.module = module
        free = functional(module, params)
        device = free.start.device
        self._inputs = read_inputs(inputs, device)
        given, container, self.endog_name = read_target(target, device)
        if isinstance(container, Frames) and isinstance(self._inputs.container, Frames):
            check_index("target", container.rows, self._inputs.container.rows, "inputs")
        self._container = self._inputs.container or container
        free = replace(free, keywords=self._inputs.keywords)
        check_memory(len(free.start), FEWEST_ROWS if self._inputs.tensors else len(given), device)
        check_values([*_labelled_inputs(self._inputs.tensors), ("target", given)])
        self._inputs, output = _called(free, self._inputs, inputs)
        matched = matching_target(loss, output, given)
        self._loss: ReadLoss = read_loss(loss, output, matched, likelihood)
        self._free = replace(free, row_shape=output.shape[1:]) if self._inputs.tensors else free
        if self._inputs.tensors:
            check_rows_apart(self._free, self._inputs.tensors)
        self._target = matched
        self.names = _names(self._free, self._inputs, names)
        self._penalty = read_penalty(penalty, self._free.tensors, self._loss.units, self._free.start)
        self._output = output[:1]
        self._problem = self._build(output)
        check_size(self._problem.sample.nobs, len(self.names))

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
        """Go to the optimum, or stay at the parameters, and estimate their covariance.

        Parameters
        ----------
        cov_type : str or estimator, optional
            As in `OLS.fit`; None is "nonrobust" for a likelihood and least squares, and "HC0", the sandwich, for any
            other loss and where there is a penalty.
        cov_kwds, use_t
            As in `OLS.fit`.
        polish : bool
            Minimise from the module's parameters in float64; False takes them as they are.
        bread : {"observed", "expected", "gauss-newton", "opg"}
            Which information A the covariance A^-1 B A^-1 takes: the Hessian, Fisher's information, the sum of J' l'' J
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
            No minimum, a flat direction, a solver that does not arrive; classical errors far from the optimum.

        Warns
        -----
        ConvergenceWarning
            `polish=False` at parameters that are more than a thousandth of a standard error from the optimum.
        """
        kind = read_bread(bread)
        claim, penalty = self._problem.objective.claim, self._problem.penalty
        check_general_options(kind, rank, claim, penalty)
        if kind is Bread.EXPECTED:
            self._loss.objective.expected_curvature(
                self._output
            )  # refused before the work starts, where it is not known
        plain = claim is Claim.NONE or penalty is not None
        estimator = resolve("HC0" if cov_type is None and plain else cov_type, cov_kwds)
        fit = self._fitted(kind, polish, rank)
        if not polish:
            warn_far(fit, self._free.start, self._loss.units)
        covariance = covariance_of(fit, estimator, use_t)
        if update_module:
            write_back(self.module, self._free.tensors, fit.params)
        return GeneralResults(self, fit, covariance, self._view)

    def outputs(self, params: Tensor, inputs: tuple[Tensor, ...]) -> Tensor:
        """Return the module's (b, ...) outputs at (k,) parameters, differentiable by torch."""
        with user_code("The module cannot be called with the inputs", "pass inputs like those of the fit"):
            return self._free(params, inputs)

    def read_inputs(self, inputs: Any) -> Inputs:
        """Read new inputs for a prediction."""
        if not self._inputs.tensors:
            raise DataError(
                "The module holds its own data, so there are no inputs to exchange; call predict() without any."
            )
        read = read_inputs(inputs, self._free.start.device, self._inputs.columns)
        if self._inputs.columns is not None and read.columns is not None:
            check_columns(self._inputs.columns, read.columns)
        own = self._inputs
        if own.keywords is not None and set(read.keywords or ()) != set(own.keywords):
            came = "they came without names" if read.keywords is None else f"{listed(read.keywords)} came"
            raise DataError(
                f"The module takes the inputs {listed(own.keywords)}, and {came}; pass a dict of the former."
            )
        if own.keywords is not None and read.keywords is not None:
            places = [read.keywords.index(name) for name in own.keywords]
            read = replace(read, tensors=tuple(read.tensors[i] for i in places), keywords=own.keywords)
        if len(read.tensors) != len(own.tensors):
            raise DataError(
                f"The module takes {counted(len(own.tensors), 'input')}, and {len(read.tensors)} came; pass as many."
            )
        for i, (new, old) in enumerate(zip(read.tensors, own.tensors, strict=True)):
            if new.shape[1:] != old.shape[1:]:
                raise DataError(
                    f"Input {i} has rows of shape {tuple(new.shape[1:])} and that of the fit {tuple(old.shape[1:])}; pass the same "
                    f"columns{'' if own.columns is None else ', ' + listed(own.columns)}."
                )
        check_values(_labelled_inputs(read.tensors))
        return replace(read, tensors=tuple(n.to(o.dtype) for n, o in zip(read.tensors, own.tensors, strict=True)))

    @property
    def nobs(self) -> float:
        """n, the number of rows."""
        return float(len(self._target))

    def __repr__(self) -> str:
        """Name the module, its loss and its size."""
        return f"<TorchModel: {type(self.module).__name__} by {self._loss.name}, {len(self.names)} parameters, n = {len(self._target)}>"

    # private

    def _fitted(self, bread: Bread, polish: bool, rank: Literal["pinv"] | None) -> Fit:
        problem = self._problem
        design = problem.sample
        direct = (
            isinstance(problem.objective, Gaussian) and bread is not Bread.OPG and problem.penalty is None and polish
        )
        if direct and isinstance(design, Design):
            fit = fit_least_squares(design, "pinv")
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

        few = _few(inputs)
        route = working_route(flat, free.start, few) if apart else _held_route(flat, free.start)
        self._route = route
        affine = _is_affine(flat, free.start, few, route) and _adds(flat, free.start, inputs)
        rows = rows_in_block(width + sum(part[:1].numel() for part in inputs))
        nobs = len(self._target)
        single = output.numel() == len(output)
        if affine and single and isinstance(loss, LinearIndex) and nobs * width <= _KEPT_JACOBIAN:
            design = self._linear_design(flat, route, rows)
            if design is not None:
                return Problem(loss, design, self._penalty)
        objective = ModelLoss(Outputs(free), loss, affine, route)
        if apart:
            columns = (*few, self._target[_places(nobs, inputs)])
            surer = working_route(lambda params, rows: objective.losses(params, rows)[:, None], free.start, columns)
            objective = replace(objective, route=surer)
        sample: Sample = Batch(
            (*inputs, self._target), self.names, self._container, self.endog_name, nobs, rows if apart else nobs
        )
        return Problem(objective, sample, self._penalty)

    def _linear_design(
        self, flat: Callable[[Tensor, tuple[Tensor, ...]], Tensor], route: Route, rows: int
    ) -> Design | None:
        """Return the regressors of a module that is linear in its parameters: its Jacobian; None where it is not."""
        free, inputs = self._free, self._inputs.tensors
        zero = torch.zeros_like(free.start)
        with torch.no_grad():
            if inputs:
                jacobian = gather(lambda b: row_jacobian(flat, free.start, b.columns, route)[:, 0], *inputs, rows=rows)
                offset = gather(lambda b: flat(zero, b.columns)[:, 0], *inputs, rows=rows)
                value = gather(lambda b: flat(free.start, b.columns)[:, 0], *inputs, rows=rows)
            else:
                jacobian = row_jacobian(flat, free.start, (), route)[:, 0]
                offset, value = flat(zero, ())[:, 0], flat(free.start, ())[:, 0]
        gap = (jacobian @ free.start + offset - value).abs().max()
        if bool(gap > 1e-9 * (1.0 + value.abs().max())):
            return None
        there = bool(offset.any())
        target = self._target.reshape(-1).to(torch.float64)
        gaussian = isinstance(self._loss.objective, Gaussian)
        return Design(
            target - offset if there and gaussian else target,
            jacobian,
            None,
            self._container,
            self.endog_name,
            self.names,
            offset=offset if there and not gaussian else None,
        )

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
        )


def read_inputs(inputs: Any, device: torch.device, wanted: Sequence[str] | None = None) -> Inputs:
    """Read what a module is called with.

    Parameters
    ----------
    inputs : object
        As in `TorchModel`.
    device : torch.device
        The module's.
    wanted : sequence of str, optional
        A dataframe's columns, in the order of the fit.
    """
    if inputs is None:
        return Inputs((), None, None, None)
    if isinstance(inputs, Mapping):
        read = [_one_input(value, f"inputs[{name!r}]", device) for name, value in inputs.items()]
        found = Inputs(tuple(part[0] for part in read), tuple(map(str, inputs)), None, _first_container(read))
    elif isinstance(inputs, tuple) or (isinstance(inputs, list) and any(isinstance(part, Tensor) for part in inputs)):
        read = [_one_input(value, f"inputs[{i}]", device) for i, value in enumerate(inputs)]
        found = Inputs(tuple(part[0] for part in read), None, None, _first_container(read))
    elif isinstance(inputs, Tensor) or (isinstance(inputs, np.ndarray) and inputs.ndim > 2):
        value, container = _one_input(inputs, "inputs", device)
        found = Inputs((value,), None, None, container)
    else:
        columns = read_columns(inputs, "inputs", device, None, wanted)
        values = columns.values if columns.values.ndim > 1 or columns.names is None else columns.values[:, None]
        container = Arrays() if columns.index is None else Frames(columns.index)
        found = Inputs((values.to(torch.float64),), None, columns.names, container)
    if not found.tensors:
        raise DataError(
            "inputs is empty; pass what the module is called with, or None for a module that holds its own data."
        )
    lengths = {len(part) if part.ndim else 0 for part in found.tensors}
    if len(lengths) != 1 or 0 in lengths:
        raise DataError(f"The inputs have {listed(sorted(lengths))} rows; pass as many rows in each, and at least one.")
    return found


def read_target(target: Any, device: torch.device) -> tuple[Tensor, Container, str]:
    """Read what the loss compares the output with: a tensor, its container and its name."""
    if isinstance(target, Tensor):
        return _one_input(target, "target", device)[0], TensorContainer(), "y"
    if isinstance(target, np.ndarray) and target.dtype.kind in "iub":
        return torch.as_tensor(target.astype(np.int64), device=device), Arrays(), "y"
    read = read_columns(target, "target", device, None)
    name = read.names[0] if read.names and len(read.names) == 1 else "y"
    container = Arrays() if read.index is None else Frames(read.index)
    return read.values.to(torch.float64), container, name


def check_rows_apart(free: Functional, inputs: tuple[Tensor, ...]) -> None:
    """Refuse a module whose output of a row depends on other rows: compare a batch with its rows one by one.

    Raises
    ------
    DataError
        Scores of single rows would have no meaning.
    """
    few = _few(inputs)
    generator = torch.Generator().manual_seed(1)
    noise = torch.randn(len(free.start), generator=generator, dtype=torch.float64).to(free.start)
    for params in (free.start, free.start + 0.1 * noise * (1.0 + free.start.abs())):
        with torch.no_grad():
            whole = free(params, few)
            try:
                alone = torch.cat([free(params, tuple(part[i : i + 1] for part in few)) for i in range(len(whole))])
            except (RuntimeError, ValueError, IndexError) as error:
                raise DataError(
                    f"The module cannot be called with a single row ({str(error).splitlines()[0]}), which scores need; make "
                    "forward() work for any number of rows."
                ) from error
        far = (whole - alone).abs() > 1e-9 * (1.0 + whole.abs())
        if bool(far.any()) or bool((torch.isnan(whole) != torch.isnan(alone)).any()):
            raise DataError(
                "A row's output depends on the other rows of the batch, as with batch statistics, a softmax over the batch or "
                "a random layer, so that single rows have no scores; make forward() work row by row."
            )


def _places(rows: int, inputs: tuple[Tensor, ...]) -> Tensor:
    """Return a few rows from first to last, since data may be sorted."""
    return torch.linspace(0, rows - 1, min(rows, PROBED_ROWS), device=inputs[0].device).long()


def _few(inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    return tuple(part[_places(len(part), inputs)] for part in inputs)


def _labelled_inputs(inputs: tuple[Tensor, ...]) -> list[tuple[str, Tensor]]:
    return [(f"inputs[{i}]" if len(inputs) > 1 else "inputs", part) for i, part in enumerate(inputs)]


def _called(free: Functional, read: Inputs, inputs: Any) -> tuple[Inputs, Tensor]:
    """Call the module; where an array of whole numbers does not do as numbers with a point, try them as they are."""
    try:
        return read, _first_output(replace(free, keywords=read.keywords), read.tensors)
    except DataError:
        array = np.asarray(inputs) if isinstance(inputs, np.ndarray | list) else None
        if array is None or array.dtype.kind not in "iu":
            raise
    whole = replace(read, tensors=(torch.as_tensor(array.astype(np.int64), device=free.start.device),))
    return whole, _first_output(free, whole.tensors)


def _adds(function: Callable[[Tensor, tuple[Tensor, ...]], Tensor], start: Tensor, inputs: tuple[Tensor, ...]) -> bool:
    """Tell whether f(a + b) + f(0) = f(a) + f(b) in every row, as of an affine function of the parameters."""
    generator = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for size in (0.5, 3.0):
            noise = torch.randn(2, len(start), generator=generator, dtype=torch.float64).to(start)
            a, b = size * (1.0 + start.abs()) * noise
            values = [function(at, inputs) for at in (a + b, torch.zeros_like(start), a, b)]
            gap = (values[0] + values[1] - values[2] - values[3]).abs()
            scale = sum(value.abs().amax() for value in values)
            if not bool((gap <= 1e-10 * (1.0 + scale)).all()):
                return False
    return True


def _one_input(value: Any, label: str, device: torch.device) -> tuple[Tensor, Container]:
    if isinstance(value, np.ndarray) and (value.ndim > 2 or value.dtype.kind in "iub"):
        value = torch.as_tensor(value, device=device)
        return (value.to(torch.float64) if value.is_floating_point() else value), Arrays()
    if not isinstance(value, Tensor):
        read = read_columns(value, label, device, None)
        return read.values.to(torch.float64), Arrays() if read.index is None else Frames(read.index)
    if value.device != device:
        raise DataError(f"{label} is on {value.device} and the module on {device}; move one with .to({str(device)!r}).")
    if value.is_complex():
        raise DataError(f"{label} is complex; betahat needs real numbers: pass real and imaginary parts as columns.")
    if value.ndim == 0:
        raise DataError(f"{label} is a single number; pass a row for each observation.")
    detached = value.detach()
    return detached.to(torch.float64) if value.is_floating_point() else detached, TensorContainer()


def _first_container(read: Sequence[tuple[Tensor, Container]]) -> Container:
    kinds = [container for _, container in read]
    return next((kind for kind in kinds if isinstance(kind, TensorContainer)), kinds[0]) if kinds else TensorContainer()


def _first_output(free: Functional, inputs: tuple[Tensor, ...]) -> Tensor:
    remedy = (
        "pass inputs as forward() takes them, as a tuple or a dict where there are several, and keep tensors of its own as "
        "attributes or buffers of the module, since it is called in float64"
    )
    with torch.no_grad(), user_code("The module cannot be called with the inputs", remedy):
        output = free(free.start, inputs)
    rows = len(inputs[0]) if inputs else None
    if output.ndim == 0 or (rows is not None and len(output) != rows):
        raise DataError(
            f"The module returned a tensor of shape {tuple(output.shape)}{'' if rows is None else f' for {rows} rows'}; it must return "
            "a row for each row of the data."
        )
    if not bool(torch.isfinite(output).all()):
        raise DataError(
            "The module's output has values that are not finite at its parameters; look for NaN in the inputs, or train it again."
        )
    return output


def _names(free: Functional, inputs: Inputs, own: Sequence[str] | None) -> tuple[str, ...]:
    names = parameter_names(free.tensors)
    if own is not None:
        given = tuple(map(str, own))
        if len(given) != len(names) or len(set(given)) < len(given):
            raise OptionError(
                f"names has {counted(len(given), 'name')}, {len(set(given))} of them different, for {len(names)} parameters; pass one for each."
            )
        return given
    first = _first_linear(free, inputs)
    if first is None or inputs.columns is None:
        return names
    weight = f"{first}.weight" if first else "weight"
    if weight not in free.tensors:
        return names
    begin, shape = free.tensors[weight]
    labels = list(names)
    for place in range(shape.numel()):
        row, column = divmod(place, shape[1])
        labels[begin + place] = inputs.columns[column] if shape[0] == 1 else f"{weight}[{row},{inputs.columns[column]}]"
    return tuple(labels) if len(set(labels)) == len(labels) else names


def _first_linear(free: Functional, inputs: Inputs) -> str | None:
    """Return the name of the linear layer that the dataframe's columns meet, by watching what it is called with."""
    if inputs.columns is None or len(inputs.tensors) != 1:
        return None
    data = inputs.tensors[0][:PROBED_ROWS]
    met: list[str] = []
    hooks = [
        part.register_forward_pre_hook(
            lambda _, args, name=name: met.append(name) if args and args[0] is data else None
        )
        for name, part in free.module.named_modules()
        if isinstance(part, nn.Linear) and part.in_features == len(inputs.columns)
    ]
    with torch.no_grad():
        free(free.start, (data,))
    for hook in hooks:
        hook.remove()
    return met[0] if met else None


def _is_affine(
    function: Callable[[Tensor, tuple[Tensor, ...]], Tensor], start: Tensor, columns: tuple[Tensor, ...], route: Route
) -> bool:
    """Tell whether the outputs' Jacobian is the same wherever it is taken."""
    if route is Route.BACKWARD and not columns:
        return False
    generator = torch.Generator().manual_seed(2)
    first = row_jacobian(function, start, columns, route)
    for size in (0.5, 3.0):
        noise = torch.randn(len(start), generator=generator, dtype=torch.float64).to(start)
        other = row_jacobian(function, start + size * (1.0 + start.abs()) * noise, columns, route)
        if not bool(((first - other).abs() <= _AFFINE * (1.0 + first.abs())).all()):
            return False
    return True


def _held_route(function: Callable[[Tensor, tuple[Tensor, ...]], Tensor], start: Tensor) -> Route:
    """Return forward mode for a module that holds its data, or backward where it has no forward derivative."""
    try:
        row_jacobian(function, start, (), Route.FORWARD)
    except (RuntimeError, NotImplementedError):
        return Route.BACKWARD
    return Route.FORWARD
