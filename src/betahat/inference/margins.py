"""Marginal effects of the regressors on the mean, by automatic differentiation, with delta-method standard errors."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from betahat.covariance.base import Covariance
from betahat.data.container import Container, to_numpy
from betahat.data.engine import THREADS, Block, Engine, column_of_rows, fold, gather
from betahat.data.handed_out import hands_out_copies
from betahat.data.source import Source
from betahat.data.threads import remembered
from betahat.errors import (
    CollinearityWarning,
    EstimationError,
    OptionError,
    check_flag,
    is_one_of,
    listed,
    shown,
    user_level,
)
from betahat.inference.coefficients import interval
from betahat.inference.distribution import two_sided
from betahat.inference.effects_table import effects_summary
from betahat.inference.identified import identified
from betahat.inference.margin_points import moving, points_at
from betahat.inference.variances import Variances, over
from betahat.lazy import lazily

if TYPE_CHECKING:
    import pandas as pd
    from statsmodels.iolib.summary import Summary
else:
    pd = lazily("pandas")

# Means that are the same function agree to rounding.
_SAME = 1e-9
_AT = ("overall", "mean", "median", "zero", "all")
_METHODS = {"dydx": "dy/dx", "eyex": "d(lny)/d(lnx)", "dyex": "dy/d(lnx)", "eydx": "d(lny)/dx"}


@dataclass(frozen=True, eq=False)
class Response:
    """The mean whose marginal effects are computed.

    Attributes
    ----------
    mean : callable
        ((k,) parameters, (b, p) regressors, (b,) offset or None) -> (b, J) means, differentiable by torch.
    source : callable
        () -> the rows: `exog`, (n, p) the regressors, and where there are some `offset`, (n,), and `counts`, frequency weights.
    names : tuple of str
        (p,) the names of the regressors.
    model, endog_name : str
        For the summary.
    outcomes : tuple of str
        (J,) the names of the means: one, or one for each class.
    engine : Engine
        What computes passes over the rows.
    categories : frozenset of str
        The regressors whose numbers stand for categories, such as those that a module embeds.
    of_index : callable or None
        (b,) values of x'b and the offset -> (b,) means, where the mean is a function of these alone and b are all parameters.
    """

    mean: Callable[[Tensor, Tensor, Tensor | None], Tensor]
    source: Callable[[], Source]
    names: tuple[str, ...]
    model: str
    endog_name: str
    outcomes: tuple[str, ...]
    engine: Engine = THREADS
    categories: frozenset[str] = frozenset()
    of_index: Callable[[Tensor], Tensor] | None = None

    @remembered
    def rows(self) -> Source:
        """The rows of the fit; there are none if the results were kept without their data."""
        return self.source()

    @property
    def exog(self) -> Tensor:
        """(n, p) the regressors in memory."""
        return column_of_rows(self.rows, "exog")

    @property
    def offset(self) -> Tensor | None:
        """(n,) the offset in memory, or None."""
        return column_of_rows(self.rows, "offset") if "offset" in self.rows.shapes else None


def has_logarithmic_index(response: Response) -> bool:
    """Tell whether the mean is exp of its index, or a probability whose odds are."""
    if response.of_index is None:
        return False
    index = torch.tensor([-1.3, 0.4, 1.1], dtype=torch.float64)
    found = response.of_index(index)
    return any(torch.allclose(found, mean(index), rtol=_SAME, atol=0.0) for mean in (torch.exp, torch.sigmoid))


def linear_mean(theta: Tensor, x: Tensor, offset: Tensor | None) -> Tensor:
    """Return (b, J) x'b of J columns of coefficients, one below the other."""
    index = x.to(theta) @ theta.reshape(-1, x.shape[1]).mT
    return index if offset is None else index + offset[:, None]


def only_one(which: Any, what: str) -> None:
    """Refuse a choice where a model predicts one thing."""
    if which is not None:
        raise OptionError(f"which is {shown(which)}, and this model predicts {what} alone; leave which out.")


@hands_out_copies
@dataclass(frozen=True, eq=False)
class Margins:
    """Marginal effects, with statsmodels' names.

    Attributes
    ----------
    effects : Tensor
        (p, J) the effects; (n, p, J) for at="all".
    errors : Tensor or None
        (p, J) their standard errors; None for at="all".
    covariance : Tensor or None
        (p J, p J) outcome by outcome.
    names, outcomes : tuple of str
        The names of the regressors that vary, and of the means.
    options : dict
        "at" and "method".
    response : Response
        The mean.
    container : Container
        How arrays are handed out.
    cov : Covariance or None
        The covariance of the parameters.
    nobs : float
        n, the number of rows used.
    """

    effects: Tensor
    errors: Tensor | None
    covariance: Tensor | None
    names: tuple[str, ...]
    outcomes: tuple[str, ...]
    options: Mapping[str, str]
    response: Response
    container: Container
    cov: Covariance | None = None
    nobs: float = float("nan")

    @property
    def margeff(self) -> Any:
        """(p,) or (p, J) the effects; for at="all", those of each row."""
        return self.container.plain(_single(self.effects))

    @property
    def margeff_se(self) -> Any:
        """(p,) or (p, J) standard errors by the delta method."""
        return self.container.plain(_single(self._errors))

    @property
    def margeff_cov(self) -> Any:
        """(p J, p J) the covariance of the effects, outcome by outcome."""
        self._errors  # noqa: B018  # refuses at="all"
        assert self.covariance is not None
        return self.container.plain(self.covariance)

    @property
    def tvalues(self) -> Any:
        """(p,) or (p, J) effects over standard errors."""
        return self.container.plain(_single(over(self.effects, self._errors)))

    @property
    def pvalues(self) -> Any:
        """(p,) or (p, J) two-sided p-values by the normal distribution."""
        return self.container.plain(_single(two_sided(over(self.effects, self._errors), None)))

    def conf_int(self, alpha: float = 0.05) -> Any:
        """Return (p, 2) or (p, 2, J) intervals of coverage 1 - alpha.

        Parameters
        ----------
        alpha : float
            Intervals have coverage 1 - alpha.

        Returns
        -------
        array
            (p, 2) or (p, 2, J).

        Raises
        ------
        OptionError
            `alpha` is not between 0 and 1, or at="all", which has no standard errors.
        """
        return self.container.plain(_single(self._bounds(alpha)))

    def summary_frame(self, alpha: float = 0.05) -> pd.DataFrame:
        """Return the table as a DataFrame; its column names are statsmodels'.

        Parameters
        ----------
        alpha : float
            Intervals have coverage 1 - alpha.

        Returns
        -------
        pandas.DataFrame
            (p J, 6).

        Raises
        ------
        OptionError
            As in `conf_int`.
        """
        bounds = self._bounds(alpha)
        statistic = over(self.effects, self._errors)
        parts = (self.effects, self._errors, statistic, two_sided(statistic, None), bounds[:, 0], bounds[:, 1])
        table = np.column_stack([to_numpy(part).ravel(order="F") for part in parts])
        heads = [_METHODS[self.options["method"]], "Std. Err.", "z", "Pr(>|z|)", "Conf. Int. Low", "Cont. Int. Hi."]
        if len(self.outcomes) == 1:
            return pd.DataFrame(table, index=list(self.names), columns=heads)
        index = pd.MultiIndex.from_product([self.outcomes, self.names], names=["endog", "exog"])
        return pd.DataFrame(table, index=index, columns=heads)

    def summary(self, alpha: float = 0.05) -> Summary:
        """Return statsmodels' table of marginal effects.

        Parameters
        ----------
        alpha : float
            Intervals have coverage 1 - alpha.

        Returns
        -------
        statsmodels.iolib.summary.Summary

        Raises
        ------
        OptionError
            As in `conf_int`.
        """
        statistic = over(self.effects, self._errors)
        return effects_summary(
            model=self.response.model,
            endog_name=self.response.endog_name,
            options=self.options,
            head=_METHODS[self.options["method"]],
            names=self.names,
            outcomes=self.outcomes,
            columns=[to_numpy(part) for part in (self.effects, self._errors, statistic, two_sided(statistic, None))],
            bounds=to_numpy(self._bounds(alpha)),
            alpha=alpha,
        )

    def __repr__(self) -> str:
        """Return the table as text."""
        return (
            str(self.summary()) if self.errors is not None else f"<Margins at every row: {tuple(self.effects.shape)}>"
        )

    @property
    def _errors(self) -> Tensor:
        if self.errors is None:
            raise OptionError("at='all' gives the effects in each row, without standard errors; use at='overall'.")
        return self.errors

    def _bounds(self, alpha: float) -> Tensor:
        flat = interval(self.effects.flatten(), self._errors.flatten(), alpha, None)
        return flat.reshape(*self.effects.shape, 2).movedim(-1, 1)


def marginal_effects(
    response: Response,
    params: Tensor,
    variances: Variances,
    idle: Tensor,
    container: Container,
    *,
    at: str,
    method: str,
    atexog: Any,
    dummy: bool,
    count: bool,
    cov: Covariance,
    nobs: float,
) -> Margins:
    """Return the derivatives of the mean with respect to the regressors that vary; `idle` is (k, d) the directions that are not identified.

    The other options are those of `get_margeff`. Greene (2018), Econometric Analysis, chapter 17.
    """
    at, method = str(at).lower(), str(method).lower()
    if not is_one_of(at, _AT):
        raise OptionError(f"at is {shown(at)}; use one of {listed(_AT)}.")
    if not is_one_of(method, _METHODS):
        raise OptionError(f"method is {shown(method)}; use one of {listed(_METHODS)}.")
    for option, value in (("dummy", dummy), ("count", count)):
        check_flag(option, value)
    if (dummy or count) and method in ("dyex", "eyex"):
        raise OptionError(f"method {shown(method)} is not defined for discrete changes; use 'dydx' or 'eydx'.")
    if (dummy or count) and at in ("median", "zero"):
        raise OptionError(f"at={shown(at)} cannot be combined with dummy or count; use 'overall' or 'mean'.")
    varies, steps = moving(response.rows, response.engine, dummy, count)
    points = points_at(response.rows, response.engine, response.names, varies, at, atexog)
    chosen = varies.nonzero().flatten()
    names = tuple(response.names[i] for i in chosen.tolist())
    if not names:
        raise EstimationError(
            "No regressor varies, so there are no marginal effects; the effect of a constant is not defined."
        )

    def effects(theta: Tensor, x: Tensor, shift: Tensor | None) -> Tensor:
        return _effects(response.mean, theta, x, shift, method, steps)[:, chosen]

    if at == "all":

        def each(block: Block) -> Tensor:
            with torch.enable_grad():
                return effects(params, block["exog"], block.get("offset")).detach()

        found = gather(points.only("exog", "offset"), each, response.engine)
        return Margins(found, None, None, names, response.outcomes, {"at": at, "method": method}, response, container)
    average, jacobian = _averaged(effects, params, points, response.engine)
    rows = jacobian.movedim(1, 0).reshape(-1, len(params))  # outcome by outcome
    known = identified(idle, rows)
    if not bool(known.all()):
        bad = (~known).reshape(average.shape[1], -1).any(0)
        which = listed(name for name, lost in zip(names, bad.tolist(), strict=True) if lost)
        warnings.warn(
            f"The data do not identify the effect of {which}: columns are collinear, so it depends on how the coefficients were chosen, "
            "and has no standard error.",
            CollinearityWarning,
            stacklevel=user_level(),
        )
    covariance = torch.where(known & known[:, None], variances.covariance(rows), torch.nan)
    errors = torch.where(known, variances.errors(rows), torch.nan).reshape(average.shape[1], -1).mT
    return Margins(
        average,
        errors,
        covariance,
        names,
        response.outcomes,
        {"at": at, "method": method},
        response,
        container,
        cov,
        nobs,
    )


def _effects(
    mean: Callable[[Tensor, Tensor, Tensor | None], Tensor],
    theta: Tensor,
    x: Tensor,
    offset: Tensor | None,
    method: str,
    steps: Mapping[int, tuple[float | None, float | None]],
) -> Tensor:
    """Return (b, p, J) the effects in each row, differentiable with respect to theta."""
    leaf = x.detach().requires_grad_(True)
    value = mean(theta, leaf, offset)
    slopes = [torch.autograd.grad(column.sum(), leaf, create_graph=True)[0] for column in value.unbind(1)]
    effect = torch.stack(slopes, 2)
    if method in ("eyex", "dyex"):
        effect = effect * x[:, :, None]
    if method in ("eyex", "eydx"):
        effect = effect / value[:, None, :]
    if not steps:
        return effect
    columns = list(effect.unbind(1))
    for column, (low, high) in steps.items():
        below, above = x.clone(), x.clone()
        below[:, column] = x[:, column] - 1.0 if low is None else low
        above[:, column] = x[:, column] + 1.0 if high is None else high
        ends = [mean(theta, point, offset) for point in (below, above)]
        ends = [end.log() for end in ends] if method == "eydx" else ends
        columns[column] = (ends[1] - ends[0]) * (0.5 if low is None else 1.0)
    return torch.stack(columns, 1)


def _averaged(
    effects: Callable[[Tensor, Tensor, Tensor | None], Tensor],
    params: Tensor,
    points: Source,
    engine: Engine,
) -> tuple[Tensor, Tensor]:
    """Return (p, J) averages over the rows and (p, J, k) their derivatives."""

    def term(block: Block) -> tuple[Tensor, Tensor, Tensor]:
        x, shift, weights = block["exog"], block.get("offset"), block.get("counts")
        with torch.enable_grad():
            theta = params.detach().requires_grad_(True)
            each = effects(theta, x, shift)
            block_sum = (each if weights is None else each * weights[:, None, None]).sum(0)
            rows = [_gradient(entry, theta) for entry in block_sum.flatten().unbind()]
        size = x.new_tensor(float(len(x))) if weights is None else weights.sum(dtype=torch.float64)
        return block_sum.detach(), torch.stack(rows).reshape(*block_sum.shape, len(params)), size

    summed, slope, rows = fold(points, term, engine)
    return summed / rows, slope / rows


def _gradient(entry: Tensor, theta: Tensor) -> Tensor:
    (row,) = torch.autograd.grad(entry, theta, retain_graph=True, allow_unused=True)
    return torch.zeros_like(theta) if row is None else row


def _single(values: Tensor) -> Tensor:
    """Drop the axis of outcomes if there is only one."""
    return values[..., 0] if values.shape[-1] == 1 else values
