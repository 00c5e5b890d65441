"""`GMM`: any estimating equations of parameters and data, solved, or weighed where there are more of them than parameters."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal, get_args

from torch import Tensor

from betahat.calculus.autodiff import summed_route, working_route
from betahat.covariance.names import CovType, covariance_of, resolve
from betahat.data.checks import check_size
from betahat.data.container import to_tensor
from betahat.data.engine import numbered
from betahat.data.kept import keep_tensors
from betahat.data.modes import in_ordinary_mode
from betahat.data.sample import Batch
from betahat.data.schema import Schema
from betahat.data.source import Held
from betahat.data.user_data import UserData
from betahat.data.workers import one_at_a_time, read_engine
from betahat.errors import OptionError, check_flag, counted, is_one_of, listed, shown
from betahat.fits.moment_weights import check_weights
from betahat.fits.moments import fit_moments
from betahat.models.loaders import is_loader, read_named
from betahat.models.module import parameter_names
from betahat.models.options import FEWEST_ROWS, kept_generators, read_names, rows_in_block
from betahat.models.own_data import read_data, read_params
from betahat.models.probes import few_rows
from betahat.models.row_moments import check_all_moments, moments_of
from betahat.models.row_weights import read_row_weights
from betahat.objectives.moment_conditions import MomentConditions, Steps, Weighting
from betahat.results.moments import GMMResults, MomentView
from betahat.solvers.memory import check_memory

WeightName = Literal["identity", "two-step", "iterated", "continuously-updated"]


@in_ordinary_mode
class GMM:
    """Generalized method of moments: the parameters at which the sums of moments are zero, or closest to it.

    With as many moments as parameters the equations sum(m) = 0 are solved, and stacked estimators are of this kind. With more, F'W F is minimised, F the sum
    of the moments. A row's influence is -(G'W G)^-1 G'W m, G the Jacobian of F by automatic derivatives, of which every covariance is made.

    Parameters
    ----------
    moments : callable
        Called as ``moments(params, data)`` with two dicts of tensors, or with the entries that its arguments
        name, ``moments(beta, x, y)``. It returns the moments of each row, (n, q); a function written for a single row, which returns (q,), is mapped over
        them.
    params : mapping
        Starting values by name: tensors, arrays or numbers.
    data : mapping, Dataset or DataLoader
        (n, ...) tensors, arrays or series by name; a Dataset or a DataLoader of dicts is read once, in its order.
    weights : {"two-step", "identity", "iterated", "continuously-updated"} or array_like
        W, where there are more moments than parameters. "two-step": the inverse of the sum of m m' at the estimate with the identity;
        "iterated": updated until the estimate settles; "continuously-updated": a function of the parameters; or a (q, q) symmetric
        positive definite matrix.
    names : sequence of str, optional
        (k,) the parameters' names.
    center : bool
        Whether the moments are centred before the weight is computed.
    freq_weights : array_like, optional
        (n,) how often each row occurs. For other weights, multiply the moments.
    engine : Executor, dask Client or the module ray, optional
        As in `OLS`. Moments are called by one thread at a time, so processes share the work, and threads do not.

    Raises
    ------
    DataError, OptionError
        The data or an option cannot be used; raised before any work starts.

    References
    ----------
    Hansen (1982), Econometrica 50(4). Hansen, Heaton and Yaron (1996), JBES 14(3). Newey and McFadden (1994), Handbook of Econometrics 4, section 6, on stacked
    moments.

    Examples
    --------
    >>> import torch
    >>> import betahat as bh
    >>> y = torch.tensor([1.0, 2.0, 4.0, 5.0])
    >>> def moments(mean, variance, y):
    ...     return torch.stack([y - mean, (y - mean) ** 2 - variance], 1)
    >>> bh.GMM(moments, params={"mean": 0.0, "variance": 1.0}, data={"y": y}).fit().params
    tensor([3.0000, 2.5000], dtype=torch.float64)
    """

    def __init__(
        self,
        moments: Callable[..., Any],
        params: Mapping[str, Any],
        data: Mapping[str, Any],
        weights: WeightName | Any = "two-step",
        *,
        names: Sequence[str] | None = None,
        center: bool = False,
        freq_weights: Any = None,
        engine: Any = None,
    ) -> None:
        """Read the data, and find out how the moments want to be called."""
        self._engine = read_engine(engine)
        with kept_generators():
            self._read(moments, params, data, weights, names, center, freq_weights)

    def fit(
        self,
        cov_type: CovType | None = None,
        cov_kwds: Mapping[str, Any] | None = None,
        use_t: bool | None = None,
        *,
        polish: bool = True,
    ) -> GMMResults:
        """Solve the equations, or keep the parameters as they are, and estimate their covariance.

        Parameters
        ----------
        cov_type, cov_kwds
            As in `OLS.fit`; None is "HC0", which holds for any weight. "nonrobust" is the bread (G'W G)^-1, the covariance where W is efficient: found from
            the moments, or with as many moments as parameters. Covariances that divide by one minus a leverage are not defined.
        use_t : bool, optional
            t or normal tests; None takes the normal distribution.
        polish : bool
            False takes the parameters as they are.

        Returns
        -------
        GMMResults

        Raises
        ------
        OptionError
            An unknown name or option.
        EstimationError
            No solution, parameters that the moments do not identify, a Jacobian that is not the derivative of the moments, or moments without an efficient
            weight.
        """
        check_flag("polish", polish)
        choice = resolve("HC0" if cov_type is None else cov_type, cov_kwds, use_t)
        fit = fit_moments(self._conditions, self._sample, self._start, polish=polish)
        conditions = fit.objective.moments
        assert conditions is not None
        view = MomentView(
            getattr(self.moments, "__name__", type(self.moments).__name__),
            self._tensors,
            self._count,
            self._weighting.steps.value,
            self._weighting.center,
            float(fit.loss) if conditions.efficient else None,
        )
        return GMMResults(self, fit, covariance_of(fit, choice), view)

    @property
    def endog_names(self) -> str:
        """What is solved."""
        return "moments"

    @property
    def exog_names(self) -> list[str]:
        """(k,) the parameters' names, where statsmodels keeps them."""
        return list(self.names)

    @property
    def nobs(self) -> float:
        """n, the number of rows, or the sum of the frequency weights."""
        return float(self._sample.nobs)

    def __repr__(self) -> str:
        """Name the parameters, the moments and the size."""
        return f"<GMM: {self._count} moments, {len(self.names)} parameters, n = {self._sample.nobs}>"

    def _read(
        self,
        moments: Callable[..., Any],
        params: Mapping[str, Any],
        data: Mapping[str, Any],
        weights: Any,
        names: Sequence[str] | None,
        center: bool,
        freq_weights: Any,
    ) -> None:
        if not callable(moments):
            raise OptionError(
                f"moments is {shown(moments)}; pass a function that returns the (n, q) moments of the rows."
            )
        check_flag("center", center)
        self.moments = moments
        self._start, self._tensors, device = read_params(params)
        check_memory(len(self._start), FEWEST_ROWS, device)
        data = read_named(data, device) if is_loader(data) else data
        read, keys, self._container = read_data(data, device)
        columns, seals = keep_tensors([(f"data[{key!r}]", column) for key, column in zip(keys, read, strict=True)])
        self._columns = tuple(columns)
        self._beside = read_row_weights(None, freq_weights, len(columns[0]), self._start, self._container)
        self._user_data = UserData.of(data, len(columns[0]), seals)
        self.names = parameter_names(self._tensors) if names is None else read_names(names)
        if len(self.names) != len(self._start) or len(set(self.names)) < len(self.names):
            raise OptionError(
                f"names has {counted(len(self.names), 'name')}, {len(set(self.names))} of them different, for {len(self._start)} parameters; "
                "pass a different one for each."
            )
        rows, self._count = moments_of(moments, self._start, self._tensors, self._columns, keys)
        if self._count < len(self._start):
            raise OptionError(
                f"{counted(self._count, 'moment')} cannot determine {counted(len(self._start), 'parameter')}; add "
                f"{counted(len(self._start) - self._count, 'moment')}, or leave parameters out."
            )
        check_all_moments(rows, self._start, self._columns, self._count, self._rows, self.names)
        self._weighting = _read_weights(weights, self._count, center, self._start)
        few = few_rows(self._columns)
        route = summed_route(lambda theta: rows(theta, few).sum(0), self._start, self._count)
        of_rows = working_route(rows, self._start, few)
        self._conditions = MomentConditions(rows, self._count, route, of_rows, self._weighting)
        check_size(self.nobs, len(self._start))

    @property
    def _rows(self) -> int:
        return rows_in_block(2 * self._count + sum(column[:1].numel() for column in self._columns))

    @property
    def _sample(self) -> Batch:
        schema = Schema(self._container, "moments", self.names)
        source = Held({**numbered(self._columns).columns, **self._beside}, self._user_data)
        return Batch(schema, source, one_at_a_time(self._rows, self._engine))


def _read_weights(weights: Any, count: int, center: bool, like: Tensor) -> Weighting:
    """Read a name, or a (q, q) matrix."""
    if is_one_of(weights, get_args(WeightName)):
        return Weighting(Steps(weights), None, center)
    if weights is None or isinstance(weights, str | bool):
        raise OptionError(
            f"weights is {shown(weights)}; use one of {listed(get_args(WeightName))}, or a ({count}, {count}) matrix. How often rows occur is freq_weights."
        )
    matrix = to_tensor(weights, like)
    if matrix.shape != (count, count):
        raise OptionError(
            f"weights has shape {tuple(matrix.shape)}; pass a ({count}, {count}) matrix, a row and a column for each moment, or a name. Weights of rows are "
            "factors of their moments, or freq_weights."
        )
    check_weights(matrix)
    return Weighting(Steps.GIVEN, 0.5 * (matrix + matrix.mT), center)
