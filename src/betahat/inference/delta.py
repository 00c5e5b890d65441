"""The delta method: any differentiable function of the parameters, with its exact gradient."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from betahat.covariance.base import Covariance, Resampling
from betahat.data.container import Container, to_numpy, to_tensor
from betahat.data.handed_out import hands_out_copies
from betahat.errors import EstimationError, OptionError, listed, shown
from betahat.inference.coefficients import interval
from betahat.inference.distribution import Df, two_sided
from betahat.inference.resampled import Method, Replicated, Tail, no_replicates
from betahat.inference.variances import Variances, over
from betahat.lazy import lazily
from betahat.solvers.lengths import lengths

if TYPE_CHECKING:
    import pandas as pd
else:
    pd = lazily("pandas")


@dataclass(frozen=True, eq=False)
class View:
    """How a user refers to the entries of the parameter vector.

    Attributes
    ----------
    names : tuple of str
        (k,) one for each entry.
    kept : tuple of int
        The entries that were not omitted as collinear.
    tensors : mapping
        For a torch model, where each of its parameter tensors begins, and its shape.
    """

    names: tuple[str, ...]
    kept: tuple[int, ...]
    tensors: Mapping[str, tuple[int, torch.Size]]


class Parameters:
    """The parameters as a user's function sees them: ``p["educ"]``, ``p[0]``, or all of them as ``p.vector``.

    In a torch model, the name of a parameter gives the tensor in its shape: ``p["fc.weight"][0, 3]``.
    """

    def __init__(self, vector: Tensor, view: View) -> None:
        """Name the entries of a (k,) vector."""
        self.vector = vector
        self.view = view

    def __getitem__(self, key: str | int | slice) -> Tensor:
        """Return one parameter, a tensor without dimensions, a slice of them, or a tensor of parameters."""
        names = self.view.names
        if isinstance(key, slice):
            return self.vector[key]
        if isinstance(key, str):
            if key in self.view.tensors:
                begin, shape = self.view.tensors[key]
                return self.vector[begin : begin + shape.numel()].reshape(shape)
            if key not in names:
                known = list(dict.fromkeys([*self.view.tensors, *names]))
                raise OptionError(f"There is no parameter {shown(key)}; the parameters are {listed(known, limit=30)}.")
            key = names.index(key)
        if not -len(names) <= key < len(names):
            raise OptionError(f"There is no parameter at position {key}; there are {len(names)}, from 0.")
        if key % len(names) not in self.view.kept:
            raise EstimationError(
                f"The parameter {names[key]!r} was omitted as collinear; use the columns that are estimated."
            )
        return self.vector[key]

    def __iter__(self) -> Iterator[Tensor]:
        """Iterate over the parameters."""
        return iter(self.vector)

    def __len__(self) -> int:
        """Return k."""
        return len(self.view.names)


@hands_out_copies
@dataclass(frozen=True, eq=False)
class Delta:
    """A function of the parameters, with its standard error.

    Attributes
    ----------
    estimates : Tensor
        (m,) g(b).
    jacobian : Tensor
        (m, k) dg/db.
    matrix : Tensor
        (m, m) J V J'.
    errors : Tensor
        (m,) the standard errors.
    df : float or None
        Degrees of freedom; None is the normal distribution.
    container : Container
        How arrays are handed out.
    replicated : Replicated or None
        For a bootstrap, g in each replicate; the standard errors are then the standard deviations of these.
    """

    estimates: Tensor
    jacobian: Tensor
    matrix: Tensor
    errors: Tensor
    df: Df
    container: Container
    replicated: Replicated | None = None

    @property
    def estimate(self) -> Any:
        """(m,) g(b); a number if g returns one."""
        return self._hand_out(self.estimates)

    @property
    def bse(self) -> Any:
        """(m,) the standard errors, sqrt(diag(J V J')); a number if g returns one."""
        return self._hand_out(self.errors)

    @property
    def statistic(self) -> Any:
        """(m,) g(b) / standard error: the test of g = 0."""
        return self._hand_out(over(self.estimates, self.errors))

    @property
    def pvalue(self) -> Any:
        """(m,) its two-sided p-value."""
        return self._hand_out(two_sided(over(self.estimates, self.errors), self.df))

    def cov(self) -> Any:
        """Return (m, m) J V J'.

        Returns
        -------
        array
            (m, m).
        """
        return self.container.plain(self.matrix)

    @property
    def draws(self) -> Any:
        """(R, m) g in each replicate of a bootstrap."""
        return self.container.plain(self._replicates("draws").draws)

    def bootstrap_pvalue(self, value: float = 0.0, tail: Tail = "symmetric") -> Any:
        """Return (m,) p-values of g = value, from the distances between replicates and the estimate; a number if g returns one.

        Parameters
        ----------
        value : float or array_like
            q of the null hypothesis g = q.
        tail : {"symmetric", "equal"}
            Distances of either sign, or twice the smaller tail.

        Returns
        -------
        array or float
            (m,), or a number if g is one.

        Raises
        ------
        OptionError
            The covariance has no replicates.
        """
        values = to_tensor(value, self.estimates)
        if values.ndim > 1 or values.numel() not in (1, len(self.estimates)):
            raise OptionError(f"value is {shown(value)}; pass one number, or one for each value of the function.")
        values = values.expand_as(self.estimates)
        return self._hand_out(self._replicates("bootstrap_pvalue").pvalues(values, tail))

    def conf_int(self, alpha: float = 0.05, method: Method | None = None) -> Any:
        """Return (m, 2) intervals of coverage 1 - alpha, or (2,) if g returns a number; `method` is for bootstraps.

        Parameters
        ----------
        alpha, method
            As in `Results.conf_int`.

        Returns
        -------
        array
            (m, 2), or (2,) for a number.

        Raises
        ------
        OptionError, EstimationError
            As in `Results.conf_int`.
        """
        values = self._bounds(alpha, method)
        values = values[0] if len(values) == 1 else values
        return self.container.plain(values)

    def summary_frame(self, alpha: float = 0.05) -> pd.DataFrame:
        """Return a DataFrame with one row for each value of g.

        Parameters
        ----------
        alpha : float
            Intervals have coverage 1 - alpha.

        Returns
        -------
        pandas.DataFrame
            (m, 6).
        """
        bounds = interval(self.estimates, self.errors, alpha, self.df)
        statistic = over(self.estimates, self.errors)
        letter = "z" if self.df is None else "t"
        return pd.DataFrame(
            {
                "estimate": to_numpy(self.estimates),
                "std err": to_numpy(self.errors),
                letter: to_numpy(statistic),
                f"P>|{letter}|": to_numpy(two_sided(statistic, self.df)),
                "Conf. Int. Low": to_numpy(bounds[:, 0]),
                "Conf. Int. Upp.": to_numpy(bounds[:, 1]),
            }
        )

    def __repr__(self) -> str:
        """Return the table as text."""
        return self.summary_frame().to_string()

    def _bounds(self, alpha: float, method: Method | None) -> Tensor:
        if method is None:
            return interval(self.estimates, self.errors, alpha, self.df)
        return self._replicates(f"method={method!r}").interval(method, alpha)

    def _replicates(self, what: str) -> Replicated:
        if self.replicated is None:
            raise OptionError(no_replicates(what))
        return self.replicated

    def _hand_out(self, values: Tensor) -> Any:
        plain = self.container.plain(values)
        if len(values) > 1:
            return plain
        return plain[0] if isinstance(plain, Tensor) else float(values)


def delta_method(
    function: Callable[[Parameters], Any],
    params: Tensor,
    variances: Variances,
    df_of: Callable[[Tensor], Df],
    view: View,
    container: Container,
    covariance: Covariance | None = None,
) -> Delta:
    """Return g(b) with covariance J V J', J the exact (m, k) Jacobian of g at b, or with the replicates of a bootstrap `covariance`.

    `df_of` maps the Jacobian to degrees of freedom, `view` names the parameters, including those omitted as collinear. Oehlert (1992), A note
    on the delta method, Am. Stat. 46(1).
    """
    if not callable(function):
        raise OptionError(f"delta needs a function, such as lambda p: p['a'] / p['b'], not {shown(function)}.")

    def of_vector(vector: Tensor) -> Any:
        places = torch.tensor(list(view.kept), device=vector.device)  # created here, outside the user's inference mode
        value = function(
            Parameters(vector.new_full((len(view.names),), float("nan")).index_copy(0, places, vector), view)
        )
        if not isinstance(value, list | tuple):
            return value
        return torch.cat([torch.as_tensor(v).reshape(-1) for v in value]) if value else vector[:0]

    remedy = "write it with torch operations (torch.log, torch.exp, + - * /) on p['name']"
    with torch.inference_mode(False), torch.enable_grad():
        leaf = params.detach().clone().requires_grad_(True)
        try:
            value = of_vector(leaf)
        except (RuntimeError, TypeError, AttributeError) as error:
            raise EstimationError(
                f"The function cannot be differentiated ({str(error).splitlines()[0]}); {remedy}."
            ) from error
        if not isinstance(value, Tensor) or not value.requires_grad:
            raise EstimationError(
                f"The function returned {shown(value)}, which does not depend on the parameters through torch; {remedy}."
            )
        if value.layout != torch.strided or value.numel() == 0:
            what = "nothing" if value.layout == torch.strided else "a sparse tensor"
            raise EstimationError(f"The function returned {what}; return a number, or a vector of at least one number.")
        if value.is_complex() or not bool(torch.isfinite(value).all()):
            raise EstimationError(
                f"The function is {value.detach()} at the estimates, but the delta method needs real numbers: check its logarithms and roots."
            )
        flat = value.reshape(-1).to(torch.float64)
        rows = [torch.autograd.grad(entry, leaf, retain_graph=True, allow_unused=True)[0] for entry in flat]
    jacobian = torch.stack([torch.zeros_like(params) if row is None else row for row in rows])
    if not bool(torch.isfinite(jacobian).all()):
        raise EstimationError(
            "The gradient of the function at the estimates is not finite, so the delta method does not apply; test an equivalent restriction instead."
        )
    estimates = flat.detach()
    if covariance is None or covariance.draws is None:
        matrix = variances.covariance(jacobian)
        return Delta(estimates, jacobian, matrix, variances.errors(jacobian), df_of(jacobian), container)
    replicated = replicated_function(
        covariance, lambda vector: of_vector(vector).reshape(-1).to(torch.float64), estimates, jacobian
    )
    matrix = replicated_covariance(covariance, replicated.draws)
    errors = torch.where(torch.isnan(variances.errors(jacobian)), torch.nan, replicated.errors)
    return Delta(estimates, jacobian, matrix, errors, covariance.df, container, replicated)


def replicated_function(
    covariance: Covariance, function: Callable[[Tensor], Tensor], estimates: Tensor, jacobian: Tensor
) -> Replicated:
    """Return g for each replicate of a bootstrap, given its (m,) values and (m, k) Jacobian at the estimate."""
    draws = covariance.draws
    assert draws is not None
    jacobians = partial(_mapped, torch.func.jacrev(function), draws)
    return replicated(covariance, estimates, _mapped(function, draws), jacobian, jacobians)


def replicated(
    covariance: Covariance, estimates: Tensor, values: Tensor, jacobian: Tensor, jacobians: Callable[[], Tensor]
) -> Replicated:
    """Return (m,) g and its (R, m) values in the replicates of a bootstrap; its Jacobians there, (R, m, k), are computed if they are needed."""
    resampling = covariance.resampling
    if not bool(torch.isfinite(values).all()):
        bad = int((~torch.isfinite(values).all(1)).sum())
        raise EstimationError(
            f"The function is not finite at {bad} of {len(values)} replicates, so it has no bootstrap standard error; use a function that is "
            "defined around the estimates, or another covariance."
        )

    def known() -> Resampling:
        if resampling is None:
            raise OptionError(
                "This covariance has draws of your own, of which nothing else is known; use 'percentile' or 'basic'."
            )
        return resampling

    return Replicated(
        estimates,
        lengths((values - values.mean(0)).mT) / math.sqrt(len(values) - _lost_degrees(covariance)),
        values,
        lambda: known().variances(jacobian, jacobians()),
        lambda: known().acceleration(jacobian),
        covariance.df,
    )


def replicated_covariance(covariance: Covariance, draws: Tensor) -> Tensor:
    """Return the (m, m) covariance of (R, m) replicates."""
    moved = draws - draws.mean(0)
    return moved.mT @ moved / (len(moved) - _lost_degrees(covariance))


def _lost_degrees(covariance: Covariance) -> int:
    """Return the degrees of freedom that the mean of the replicates costs: none if they are all there are."""
    return 0 if covariance.resampling is not None and covariance.resampling.exhaustive else 1


def _mapped(function: Callable[[Tensor], Tensor], draws: Tensor) -> Tensor:
    """Return `function` of each row, at once by vmap if possible."""
    try:
        found: Tensor = torch.func.vmap(function)(draws)
    except (RuntimeError, NotImplementedError, TypeError, ValueError, IndexError):
        found = torch.stack([function(draw) for draw in draws])
    return found.detach()
