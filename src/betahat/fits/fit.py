"""`Fit`: what a solver found, and what may be asked of it. It knows no covariance."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

import torch
from torch import Tensor

from betahat.calculus.absorbed import Absorbed
from betahat.calculus.counts import Counts
from betahat.calculus.index import deviance, pearson
from betahat.calculus.problem import Problem
from betahat.calculus.rows import Bread, Point, Rows
from betahat.data.design import Constant, Design
from betahat.data.handed_out import computed, hands_out_copies
from betahat.data.row_codes import RowCodes
from betahat.data.sample import Sample, WithoutRows, without_rows
from betahat.data.source import refuse_rows
from betahat.data.threads import remembered
from betahat.errors import EstimationError
from betahat.fits.diagnostics import Diagnostics, diagnosed
from betahat.fits.directions import unidentified
from betahat.fits.dummies import leverage_beside
from betahat.fits.instrumented import Instruments
from betahat.objectives.base import Objective
from betahat.objectives.dispersion import Misfit
from betahat.objectives.equation import Equation
from betahat.objectives.own import Unstored, UnstoredPenalty
from betahat.solvers.least_squares import RowSum, has_implicit_constant
from betahat.solvers.newton import Optimum

T = TypeVar("T")


@hands_out_copies
@dataclass(frozen=True, eq=False)
class Fit:
    """An objective at its optimum on a sample.

    Attributes
    ----------
    problem : Problem
        The objective, the rows that have a coefficient, and the penalty.
    params : Tensor
        (k,) float64.
    root : Tensor
        (k, r) Z; the bread A^-1 is Z Z'.
    triangle : Tensor
        (k, k) R with R'R = A.
    loss : Tensor
        () the sum of the losses, without the penalty.
    route : str
        How the solver got there.
    well_conditioned : bool
        Whether sums of products of the columns themselves keep their digits.
    given : Sample
        The data as the user gave them, aliased columns included.
    kept : tuple of int
        The columns of `given` with an independent part; under `rank="drop"` the ones in `problem`.
    bread_kind : Bread
        Which information A is.
    path : Optimum or None
        The report of the solver; None for least squares, which is solved directly.
    certificate : float or None
        The largest relative difference of R'R from a Hessian-vector product, where the Hessian is by autodiff.
    sums : dict
        Sums over rows, and other quantities, that are known already; `sum_rows` and functions `of_fit` add to it.
    facts : dict
        Numbers about the data that are known already, and are kept when the rows are removed; `fact` adds to it.
    idle : Tensor or None
        (columns of `given`, d) the directions in which the coefficients of one equation move and no fitted value does, where columns
        are dependent.
    instruments : Instruments or None
        What an estimate by instruments is made of.
    absorbed : Absorbed or None
        The effects that were projected away; the sample of `problem` has what was left.
    """

    problem: Problem
    params: Tensor
    root: Tensor
    triangle: Tensor
    loss: Tensor
    route: str
    well_conditioned: bool
    given: Sample
    kept: tuple[int, ...]
    bread_kind: Bread = Bread.OBSERVED
    path: Optimum | None = None
    certificate: float | None = None
    sums: dict[Any, Any] = field(default_factory=dict, repr=False, metadata={"stored": False})
    facts: dict[str, Any] = field(default_factory=dict, repr=False)
    idle: Tensor | None = None
    instruments: Instruments | None = None
    absorbed: Absorbed | None = None

    def __repr__(self) -> str:
        """Name the objective, the size and the route."""
        return f"<Fit: {type(self.objective).__name__}, n = {self.nobs}, k = {len(self.params)}, rank {self.rank}, by {self.route}>"

    @property
    def objective(self) -> Objective:
        """The loss, its derivatives, and all that depends on the distribution of y."""
        return self.problem.objective

    @property
    def sample(self) -> Sample:
        """The rows; some of large data are compared with what they were."""
        sample = self.problem.sample
        sample.source.check(whole=False)
        return sample

    @property
    def design(self) -> Design:
        """The rows of a model of regressors.

        Raises
        ------
        EstimationError
            The model is a torch module or a loss of its own, which has no regressors.
        """
        sample = self.problem.sample
        sample.source.check(whole=True)
        if isinstance(sample, WithoutRows):
            refuse_rows()
        if not isinstance(sample, Design):
            raise EstimationError(
                "This is defined for models of regressors (OLS, Logit, ...), and a torch model has none; predict and margins "
                "work for it."
            )
        return sample

    @property
    def names(self) -> tuple[str, ...]:
        """The parameters' names, those left out as collinear included."""
        return self.objective.parameter_names(self.given.names)

    @property
    def coefficients(self) -> tuple[str, ...]:
        """(k,) the names of the parameters that are estimated."""
        return self.objective.parameter_names(self.sample.names)

    @property
    def width(self) -> int:
        """The number of `names`, without building them."""
        return len(self.objective.columns_of_parameters(self.given.width))

    @property
    def equations(self) -> tuple[Equation, ...]:
        """The linear indices, if there are several."""
        return self.objective.equations

    @property
    def nobs(self) -> int | float:
        """The number of rows, n; the sum of the frequency weights where there are some."""
        return self.sample.nobs

    @property
    def rank(self) -> int:
        """The number of independent parameters, r."""
        return int(self.root.shape[1])

    @computed
    def unidentified(self) -> Tensor:
        """(k, d) the directions in which the parameters move and no fitted value does; no column where all are identified."""
        return unidentified(self.root, self.triangle, self.idle, self.equations)

    @property
    def counts(self) -> Counts:
        """The numbers of rows and coefficients that degrees of freedom depend on."""
        return Counts(float(self.nobs), self.rank, self.outputs, () if self.absorbed is None else self.absorbed.sizes)

    @property
    def size(self) -> float:
        """The number of independent coefficients, those of absorbed effects included."""
        return replace(self.counts, outputs=1.0).coefficients()

    @property
    def df_resid(self) -> float:
        """Residual degrees of freedom, n - r; of m outputs, each an equation of its own, those of one, n - r / m."""
        return self.counts.free

    @property
    def numbers(self) -> float:
        """n, or n m of m outputs that are equations of their own."""
        return self.fact("numbers", lambda: self.problem.numbers)

    @property
    def outputs(self) -> float:
        """m, the equations that share the coefficients in degrees of freedom; 1 except for modules with several outputs."""
        return self.numbers / self.nobs

    @property
    def df_model(self) -> float:
        """Model degrees of freedom: r, less one if there is a constant among the regressors; absorbed effects are not counted."""
        return float(self.rank - (0 if self._constant_absorbed else self.k_constant))

    @remembered
    def k_constant(self) -> int:
        """1 if a column, or a combination of columns, is constant; absorbed dummies sum to one."""
        count = self.constant.count
        if count is None:
            return self.fact("implicit constant", lambda: int(has_implicit_constant(self.design)))
        return count

    @property
    def constant(self) -> Constant:
        """The constant column, if there is one."""
        return Constant(1, None) if self._constant_absorbed else self.fact("constant", lambda: self.raw.constant)

    @property
    def _constant_absorbed(self) -> bool:
        return self.absorbed is not None and self.absorbed.constant

    @computed
    def bread(self) -> Tensor:
        """(k, k) A^-1: (X'WX)^-1 for least squares."""
        root: Tensor = self.root
        return root @ root.mT

    @computed
    def dispersion(self) -> Tensor:
        """() the factor of the classical covariance: s^2 = RSS / (n - r) for least squares, 1 for a likelihood.

        Of several outputs it is the mean of their variances, RSS / (n m - r).
        """
        return self.objective.dispersion.value(
            self.loss, replace(self.counts, nobs=self.numbers, outputs=1.0).free, self.misfit
        )

    @property
    def misfit(self) -> Misfit:
        """Pearson's statistic and the deviance of a model of one linear index, each computed when it is asked for."""
        return Misfit(
            lambda: self.loss.new_tensor(self.fact("pearson", lambda: float(self.sum_rows(pearson)))),
            lambda: self.loss.new_tensor(self.fact("deviance", lambda: float(self.sum_rows(deviance)))),
        )

    @remembered
    def point(self) -> Point:
        """Where rows are evaluated."""
        beside = leverage_beside(self.absorbed, self.given)
        return Point(self.params, self.root, self.bread_kind, self.well_conditioned, beside)

    @property
    def raw(self) -> Design:
        """The rows of a model of regressors, before absorbed effects were taken off."""
        return self.given if self.absorbed is not None and isinstance(self.given, Design) else self.design

    @property
    def diagnostics(self) -> Diagnostics:
        """How the fit was found, and how far it may be trusted."""
        return self.fact("diagnostics", lambda: diagnosed(self))

    def sum_rows(self, term: RowSum) -> Tensor:
        """Sum `term(rows)` over all rows, once: the same term, asked again, costs nothing.

        Parameters
        ----------
        term : callable
            Hashable; maps `Rows` to a tensor.

        Returns
        -------
        Tensor
            (...), the shape of a term.
        """
        if term not in self.sums:
            self.check_data()
            (self.sums[term],) = self.problem.total(_One(term), self.point)
        found: Tensor = self.sums[term].clone()  # an estimator may work on it in place
        return found

    def fact(self, name: str, compute: Callable[[], T]) -> T:
        """Return a number about the data that is kept when the rows are removed.

        Parameters
        ----------
        name : str
            What it is called.
        compute : callable
            Called the first time only.

        Returns
        -------
        What `compute` returns.
        """
        if name not in self.facts:
            self.facts[name] = compute()
        found: T = self.facts[name]
        return found

    def check_data(self) -> None:
        """Refuse large tensors and arrays, which are not copied, if any bit of them has changed since they were read.

        Raises
        ------
        DataError
        """
        self.problem.sample.source.check(whole=True)

    def without_rows(self) -> Fit:
        """Return the fit with its facts, and without the rows; a loss or a penalty that is code is removed, too.

        Returns
        -------
        Fit
        """
        problem = self.problem
        given = without_rows(self.given)
        sample = given if problem.sample is self.given else without_rows(problem.sample)
        own = not problem.objective.closed_form
        objective = Unstored(problem.objective.dispersion) if own else problem.objective
        penalty = None if problem.penalty is None else UnstoredPenalty()
        bare, absorbed = (
            Problem(objective, sample, penalty),
            self.absorbed and replace(self.absorbed, weights=None, explained=None),
        )
        return replace(self, problem=bare, given=given, sums={}, facts=dict(self.facts), absorbed=absorbed)

    def each(self, function: Callable[[Rows], Tensor]) -> Iterator[Tensor]:
        """Yield `function(rows)` of one row block after the other, in the order of the data.

        Parameters
        ----------
        function : callable
            Maps `Rows` to a tensor.

        Yields
        ------
        Tensor
            Its value for the next block.
        """
        self.check_data()
        return self.problem.each(function, self.point)

    def each_beside(self, codes: RowCodes, function: Callable[[Rows], Tensor]) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield `function(rows)` of one row block after the other, and the numbers of its rows.

        Parameters
        ----------
        codes : RowCodes
            A number for each row.
        function : callable
            Maps `Rows` of b rows to a (b, ...) tensor.

        Yields
        ------
        tuple of Tensor
            (b, ...) and (b,).
        """
        self.check_data()
        return self.problem.each_beside(codes, function, self.point)

    def each_in(self, order: Tensor, function: Callable[[Rows], Tensor]) -> Iterator[Tensor]:
        """Yield `function(rows)` of blocks of the rows in another order, (n,) positions.

        Parameters
        ----------
        order : Tensor
            (n,) positions of rows.
        function : callable
            Maps `Rows` to a tensor.

        Yields
        ------
        Tensor
            Its value for the next block.
        """
        self.check_data()
        sample = self.sample
        if not self.objective.separable:
            yield self.problem.gather(function, self.point)[order]
            return
        for places in torch.split(order, sample.block_rows):
            beside = None if self.point.beside is None else self.point.beside.taken(places)
            yield from replace(self.problem, sample=sample.take(places)).each(
                function, replace(self.point, beside=beside)
            )

    def sum_groups(self, codes: RowCodes, count: int, function: Callable[[Rows], Tensor]) -> Tensor:
        """Return (count, ...) the sums of `function(rows)`, (b, ...), over groups of rows.

        Parameters
        ----------
        codes : RowCodes
            Each row's group, from 0 to `count` - 1.
        count : int
            How many groups there are.
        function : callable
            Maps `Rows` to a tensor with a row for each.

        Returns
        -------
        Tensor
            (count, ...).
        """
        self.check_data()
        return self.problem.sum_groups(codes, count, function, self.point)

    def map_rows(self, function: Callable[[Rows], Tensor]) -> Tensor:
        """Concatenate `function(rows)`: one row out for each row of the data.

        Parameters
        ----------
        function : callable
            Maps `Rows` of b rows to a (b, ...) tensor.

        Returns
        -------
        Tensor
            (n, ...), in the order of the data.
        """
        self.check_data()
        return self.problem.gather(function, self.point)


@dataclass(frozen=True)
class _One:
    """A term as a tuple of one."""

    term: RowSum

    def __call__(self, rows: Rows) -> tuple[Tensor]:
        return (self.term(rows),)
