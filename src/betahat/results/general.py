"""`GeneralResults` of `TorchModel` and `MEstimator`: any loss, with an honest summary."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, Protocol

import torch
from torch import Tensor

from betahat.calculus.autodiff import row_jacobian, working_route
from betahat.data.container import Container, Frames
from betahat.data.engine import OneAtATime, gather, numbered
from betahat.data.modes import in_ordinary_mode
from betahat.data.sample import WithoutRows, in_order_of_call
from betahat.data.source import refuse_rows
from betahat.errors import EstimationError, OptionError, is_one_of, shown
from betahat.inference.cases import Cases, no_cases, output_cases
from betahat.inference.coefficients import interval
from betahat.inference.identified import identified, warn_unidentified
from betahat.inference.margins import Margins, Response, marginal_effects
from betahat.inference.observations import observation_bounds
from betahat.inference.response import ResponsePrediction
from betahat.lazy import lazily
from betahat.objectives.base import Route
from betahat.results.core import UnstoredModel
from betahat.results.inputs import module_response
from betahat.results.layout import Vector
from betahat.results.statsmodels_names import Results
from betahat.results.summaries import general_content
from betahat.tables.summary import Content

if TYPE_CHECKING:
    import pandas as pd
else:
    pd = lazily("pandas")


class Inputs(Protocol):
    """New inputs of a module."""

    @property
    def tensors(self) -> tuple[Tensor, ...]: ...  # noqa: D102
    @property
    def container(self) -> Container | None: ...  # noqa: D102


@dataclass(frozen=True, eq=False, repr=False)
class ModelView:
    """What results show of a user's own model.

    Attributes
    ----------
    title, loss : str
        The module's class and the loss.
    tensors : mapping
        The parameter tensors: where each begins in the vector, and its shape.
    notes : tuple of str
        What the results are conditioned on.
    outputs : callable or None
        ((k,) parameters, inputs) -> (b, ...) outputs; None for a row loss, which shows none.
    inputs : tuple of Tensor
        Those of the fit.
    target : Tensor or None
        What the outputs are compared with.
    columns : tuple of str or None
        The inputs' columns, of a dataframe.
    route : Route or None
        How the outputs of single rows are differentiated; None if that was not tried yet.
    rows : int
        The rows in a block.
    mean : callable or None
        output -> E(y), where the loss knows it.
    variables : tuple of str
        The names of all columns of the inputs.
    """

    title: str
    loss: str
    tensors: Mapping[str, tuple[int, torch.Size]]
    notes: tuple[str, ...]
    outputs: Callable[[Tensor, tuple[Tensor, ...]], Tensor] | None
    inputs: tuple[Tensor, ...]
    target: Tensor | None
    columns: tuple[str, ...] | None
    route: Route | None
    rows: int
    mean: Callable[[Tensor], Tensor] | None
    variables: tuple[str, ...] = ()


# How many rows show how outputs are differentiated.
_TRIED = 16


@in_ordinary_mode
@dataclass(frozen=True, eq=False, repr=False)
class GeneralResults(Results):
    """Results of a torch module or of a row loss; what is shared with other models is in `Results`.

    Attributes
    ----------
    model, fit, cov
        As in `Results`.
    view : ModelView
        What the model shows of itself.
    """

    view: ModelView

    # how well it fits

    @property
    def df_model(self) -> float:
        """k, the number of parameters."""
        return float(self.fit.rank)

    @property
    def loss(self) -> float:
        """The sum of the losses over the rows, without the penalty; half the residual sum of squares for nn.MSELoss."""
        return float(self.fit.loss)

    @property
    def goodness(self) -> tuple[str, float]:
        """The log-likelihood, or the summed loss where there is no likelihood, with its name in a table."""
        if not self.fit.objective.dispersion.likelihood:
            return "Loss", self.loss
        return "Log-Likelihood", self.llf

    @property
    def converged(self) -> bool:
        """Whether the parameters are the optimum that a solver found; False for those taken as they were."""
        return self.diagnostics.converged

    def state(self) -> dict[str, Tensor]:
        """Return the estimates as the parameter tensors, float64, under their names in the module.

        Returns
        -------
        dict
            str -> Tensor of the parameter's own shape.
        """
        return {
            name: self.fit.params[begin : begin + shape.numel()].view(shape).clone()
            for name, (begin, shape) in self.view.tensors.items()
        }

    # predictions

    @property
    def fittedvalues(self) -> Any:
        """(n, ...) the module's outputs at the estimates."""
        return self.predict()

    @property
    def resid(self) -> Any:
        """(n, ...) target less mean, for a model whose target has the mean's shape."""
        with torch.no_grad():
            output = self._outputs()(self.fit.params, self._given.inputs)
        mean = output if self.view.mean is None else self.view.mean(output)
        if self.view.target is None or self.view.target.shape != mean.shape:
            raise EstimationError(
                "The shape of the target differs from that of the mean, as for classes, so there are no residuals."
            )
        return _presented(self._container, self.view.target.to(mean) - mean)

    @cached_property
    def cases(self) -> Cases:
        """Residuals and leverage of each row, as the pictures show them."""
        if self.view.outputs is None or self.view.mean is None:
            raise no_cases("a row loss shows no output; use TorchModel, whose outputs and targets are known")
        with torch.no_grad():
            output = self.view.outputs(self.fit.params, self._given.inputs)
            return output_cases(self.fit, output, self.view.mean(output), self.view.target)

    def predict(self, inputs: Any = None, which: str = "output") -> Any:
        """Return the module's outputs at the estimates, or with which="mean" what the loss takes E(y) to be.

        Parameters
        ----------
        inputs : object, optional
            As those of the fit, which None takes.
        which : {"output", "mean"}
            Logits, say, or probabilities.

        Returns
        -------
        (m, ...)

        Raises
        ------
        OptionError, DataError, EstimationError
            An unknown `which`, inputs that do not fit, a row loss, which predicts nothing.
        """
        _check_which(which)
        outputs = self._outputs()
        tensors, container = self._inputs(inputs)
        with torch.no_grad():
            found = outputs(self.fit.params, tensors).detach()
        if which == "mean" and self.view.mean is not None:
            found = self.view.mean(found)
        return _presented(container, found)

    def get_prediction(self, inputs: Any = None, which: str = "output") -> ResponsePrediction:
        """Return predictions, one for each row, with standard errors by the delta method; on the same scale as `predict`.

        Parameters
        ----------
        inputs : object, optional
            As in `predict`.
        which : {"output", "mean"}
            The module's output, logits say, or what the loss takes E(y) to be, as `DiscreteResults.get_prediction` has it. Intervals
            of the mean are those of the output, transformed.

        Returns
        -------
        ResponsePrediction
            Its frame has the column "predicted", or "output" for an output that is not the mean itself. Intervals for a new observation,
            ``conf_int(obs=True)``, where the loss is the likelihood of a number.

        Raises
        ------
        OptionError, EstimationError, DataError
            An unknown `which`, a module of several outputs, a row loss, or inputs that do not fit.
        """
        _check_which(which)
        outputs, mean = self._outputs(), self.view.mean
        tensors, container = self._inputs(inputs)
        with torch.no_grad():
            output = outputs(self.fit.params, tensors)
            expected = output if mean is None else mean(output)
        value = expected if which == "mean" else output
        if value.numel() != len(value):
            raise EstimationError(
                "The module has several outputs for a row; use delta for functions of the parameters."
            )
        params = self.fit.params

        def error_of(columns: tuple[Tensor, ...], transform: Callable[[Tensor], Tensor] | None) -> Tensor:
            def predicted(at: Tensor, rows: tuple[Tensor, ...]) -> Tensor:
                found = outputs(at, rows)
                return (found if transform is None else transform(found)).reshape(-1, 1)

            route = self.view.route or working_route(predicted, params, tuple(part[:_TRIED] for part in columns))
            jacobian = row_jacobian(predicted, params, columns, route)
            known = identified(self.fit.unidentified, jacobian[:, 0])
            return torch.where(known, self._pair.variances.errors(jacobian[:, 0]), torch.nan)

        def errors(transform: Callable[[Tensor], Tensor] | None) -> Tensor:
            if not tensors:
                return error_of((), transform)
            return gather(
                numbered(tensors), lambda b: error_of(in_order_of_call(b), transform), OneAtATime(self.view.rows)
            )

        through = mean if which == "mean" else None
        single = through is not None and output.numel() == len(output)
        error = errors(through)
        of_output = errors(None) if single else error
        df, labels = self._pair.df, container.row_labels
        if self.fit.unidentified.shape[1]:
            warn_unidentified(~torch.isnan(error), labels)

        def bounds(alpha: float) -> Tensor:
            if not single or through is None:
                return interval(value.reshape(-1), error, alpha, df)
            ends = interval(output.reshape(-1), of_output, alpha, df)
            return torch.stack([through(end.reshape(output.shape)).reshape(-1) for end in ends.unbind(1)], 1)

        loss = self.fit.objective.output_loss
        assert loss is not None  # what shows outputs has a loss of them

        def observed(alpha: float) -> Tensor:
            single_output = output.reshape(-1) if output.numel() == len(output) else output.reshape(len(output), -1)
            return observation_bounds(loss, single_output, of_output, float(self.fit.dispersion), df, alpha)

        own = which == "output" and (expected.shape != output.shape or not torch.equal(expected, output))
        name = "output" if own else "predicted"
        return ResponsePrediction(value.reshape(-1), error, bounds, container, labels, name, observed)

    def get_margeff(
        self, at: str = "overall", method: str = "dydx", atexog: Any = None, dummy: bool = False, count: bool = False
    ) -> Margins:
        """Return marginal effects of the inputs on the mean, by automatic derivatives with delta-method errors.

        The mean is a probability for the losses of logits, e^output for those of a logarithm, and the output otherwise.

        Parameters
        ----------
        at, method, atexog, dummy, count
            As in `DiscreteResults.get_margeff`.

        Returns
        -------
        Margins

        Raises
        ------
        EstimationError, OptionError, DataError
            Other inputs than one matrix of numbers, or unknown options.
        """
        self._outputs()
        inputs = self._given.inputs
        if len(inputs) != 1 or inputs[0].ndim != 2 or not inputs[0].is_floating_point():
            raise EstimationError(
                "Marginal effects need one (n, p) input of floating-point numbers, and this module takes others; use avg_slopes."
            )
        return marginal_effects(
            self.response,
            self.fit.params,
            self._pair.variances,
            self.fit.unidentified,
            self._container,
            at=at,
            method=method,
            atexog=atexog,
            dummy=dummy,
            count=count,
            cov=self.cov,
            nobs=self.nobs,
        )

    margins = get_margeff

    # tables

    def glance(self) -> pd.DataFrame:
        """Return one row of statistics of the model, under broom's column names.

        Returns
        -------
        pandas.DataFrame
            (1, ...).
        """
        likelihood = self.fit.objective.dispersion.likelihood
        nothing = float("nan")
        return pd.DataFrame(
            {
                "logLik": [self.llf if likelihood else nothing],
                "AIC": [self.aic if likelihood else nothing],
                "BIC": [self.bic if likelihood else nothing],
                "loss": [self.loss],
                "df.residual": [self.df_resid],
                "nobs": [int(self.nobs)],
            }
        )

    # private

    def _response(self, which: Any) -> Response:
        _check_which("mean" if which is None else which)
        return module_response(self, self._outputs(), which == "output")

    @property
    def _formula(self) -> None:
        return None

    def _content(self, alpha: float) -> Content:
        return general_content(self, alpha)

    def _laid_out(self) -> Vector:
        return Vector(self.fit, self.view.tensors)

    _learned = ("llf", "df_resid")

    def _without_rows(self, rows: WithoutRows) -> Mapping[str, Any]:
        """Let the module or the loss go as well, which is code."""
        view = replace(self.view, outputs=None, inputs=(), target=None, mean=None)
        return {"model": UnstoredModel(self._kind), "view": view}

    def _outputs(self) -> Callable[[Tensor, tuple[Tensor, ...]], Tensor]:
        if isinstance(self.fit.sample, WithoutRows):
            refuse_rows()
        if self.view.outputs is None:
            raise EstimationError(
                "A row loss shows no output, so there is nothing to predict; use TorchModel, or delta."
            )
        return self.view.outputs

    @property
    def _given(self) -> ModelView:
        """The view of inputs and target that nobody has written on."""
        self.fit.check_data()
        if self.fit.sample.source.stream is not None:
            raise EstimationError(
                "The inputs are read batch by batch and not held, so that nothing with a number for each row is handed out; pass inputs to predict or "
                "get_prediction, a batch at a time."
            )
        return self.view

    def _inputs(self, inputs: Any) -> tuple[tuple[Tensor, ...], Container]:
        if inputs is None:
            return self._given.inputs, self._container
        read = self.model.read_inputs(inputs)
        return read.tensors, self._container if read.container is None else read.container


def _check_which(which: str) -> None:
    if not is_one_of(which, ("output", "mean")):
        raise OptionError(f"which is {shown(which)}; use 'output' or 'mean'.")


def _presented(container: Container, values: Tensor) -> Any:
    """Hand out (n, ...) values in the data's kind: a dataframe's rows have labels, and a single output is a series."""
    if not isinstance(container, Frames) or values.ndim > 2:
        return container.plain(values)
    return container.present_rows(values.reshape(len(values)) if values.numel() == len(values) else values)
