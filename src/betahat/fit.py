"""`Fit`: what a solver found, and what may be asked of it. It knows no covariance."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Hashable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any, NoReturn, TypeVar

import torch
from torch import Tensor

from betahat.calculus.index import index_rows
from betahat.calculus.problem import Local, Problem
from betahat.calculus.rows import Bread, Point, Rows, times
from betahat.data.blocks import block_rows
from betahat.data.container import cached_copy, hands_out_copies, held
from betahat.data.design import Constant, Design
from betahat.data.sample import Removed, Sample, refuse_rows
from betahat.data.threads import remembered
from betahat.errors import ConvergenceWarning, EstimationError, counted, listed, user_level
from betahat.objectives.base import Claim, LinearIndex, Objective, dispersion
from betahat.objectives.gaussian import Gaussian
from betahat.objectives.own import ModelLoss, RowLoss, Unstored, UnstoredPenalty
from betahat.objectives.softmax import Softmax
from betahat.solvers.curvature import lowest_curvature
from betahat.solvers.least_squares import (
    Rank,
    RowSum,
    column_rank,
    column_relation,
    has_implicit_constant,
    idle_directions,
    kept_first,
    least_squares,
    minimum_norm_map,
)
from betahat.solvers.levenberg_marquardt import levenberg_marquardt
from betahat.solvers.newton import (
    Optimum,
    are_finite,
    newton,
    newton_step,
    noise,
    parameters_along,
    unit_scale,
    why_stopped,
)
from betahat.solvers.quasi_newton import quasi_newton
from betahat.solvers.slopes import check_gradient, check_hessian
from betahat.solvers.triangles import certified, inverse_triangle, joined_triangle, triangle_of

T = TypeVar("T")

# From this many parameters on, a Hessian costs more than some hundred gradients.
_MANY = 50
# An eigenvalue of the scaled information below 1e-10 of the largest leaves a standard error no digit to trust: its
# inverse is dominated by rounding, which a Hessian by loops has at 1e-13 or so.
_NULL = 1e-10
# Rounding of a Hessian by loops leaves eigenvalues of either sign below this.
_DOWNWARD = 1e-7
# A Hessian by loops and a Hessian-vector product agree to rounding; where a pseudoinverse was taken, to what it left out.
_UNCERTAIN = 1e-5
# Where the whole size of a parameter moves the fit 1e-12 times as much as another's, rounding hides it.
_IDLE = 1e-12
# Null directions of a Hessian by loops have entries of rounding below this share of the largest.
_FAINT = 1e-7
# A decrement of 1e-6 is a thousandth of a standard error.
_THOUSANDTH = 1e-6
# A large sample starts from the optimum of every so many rows.
_SAMPLE_ROWS = 2**15
# The optimum of all rows is about k of a sample's squared standard errors away from that of the sample.
_AS_NEAR = 4.0


@dataclass(frozen=True)
class Diagnostics:
    """How a fit was found, and how far it may be trusted.

    Attributes
    ----------
    route : str
        How the optimum was found.
    derivatives : str
        How scores and second derivatives were taken.
    bread : str
        "observed", "expected", "gauss-newton" or "opg".
    decrement : float
        The Newton decrement g'A^-1 g over the dispersion: the squared distance from the optimum in standard errors.
    iterations : int
        The solver's steps.
    converged : bool
        Whether the solver stopped at an optimum; False for parameters that were taken as they are.
    condition : float
        The condition of the information, scaled to a unit diagonal.
    rank : int
        Independent parameters.
    blocks : int
        The row blocks of a pass.
    certificate : float or None
        The largest relative difference of the Hessian from a Hessian-vector product; None for closed forms.
    dtype : str
        What the derivatives were computed in.
    """

    route: str
    derivatives: str
    bread: str
    decrement: float
    iterations: int
    converged: bool
    condition: float
    rank: int
    blocks: int
    certificate: float | None
    dtype: str = "torch.float64"


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
    equations : tuple of str
        Names of the equations, of a model that has a coefficient for each column and each of them.
    path : Optimum or None
        What the solver says of its way; None for least squares, which is direct.
    certificate : float or None
        The largest relative difference of R'R from a Hessian-vector product, where the Hessian is by autodiff.
    sums : dict
        Sums over rows, and what else was asked for, that are known already; `sum_rows` and `once` add to it.
    facts : dict
        Numbers of the data that are known already, and stay when the rows go; `fact` adds to it.
    idle : Tensor or None
        (columns of `given`, d) the directions in which the coefficients of one equation move and no fitted value does, where columns
        are dependent.
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
    equations: tuple[str, ...] = ()
    path: Optimum | None = None
    certificate: float | None = None
    sums: dict[Any, Any] = field(default_factory=dict, repr=False, metadata={"stored": False})
    facts: dict[str, Any] = field(default_factory=dict, repr=False)
    idle: Tensor | None = None

    def __repr__(self) -> str:
        """Name the objective, the size and the route."""
        return f"<Fit: {type(self.objective).__name__}, n = {self.nobs}, k = {len(self.params)}, rank {self.rank}, by {self.route}>"

    @property
    def objective(self) -> Objective:
        """The loss, its derivatives and its claim."""
        return self.problem.objective

    @property
    def sample(self) -> Sample:
        """The rows; some of large data are compared with what they were."""
        return self.problem.sample.checked()

    @property
    def design(self) -> Design:
        """The rows of a model of regressors.

        Raises
        ------
        EstimationError
            The model is a torch module or a loss of its own, which has no regressors.
        """
        sample = self.problem.sample.checked(whole=True)
        if isinstance(sample, Removed):
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
        columns = self.given.names
        return tuple(f"{e}:{name}" for e in self.equations for name in columns) if self.equations else columns

    @property
    def coefficients(self) -> tuple[str, ...]:
        """(k,) the names of the parameters that are estimated."""
        columns = self.sample.names
        return tuple(f"{e}:{name}" for e in self.equations for name in columns) if self.equations else columns

    @property
    def width(self) -> int:
        """The number of `names`, which it does not take to know."""
        return self.given.width * max(len(self.equations), 1)

    @property
    def nobs(self) -> int | float:
        """The number of rows, n; the sum of the frequency weights where there are some."""
        return self.sample.nobs

    @property
    def rank(self) -> int:
        """The number of independent parameters, r."""
        return int(held(self, "root").shape[1])

    @remembered
    def unidentified(self) -> Tensor:
        """(k, d) the directions in which the parameters move and no fitted value does; no column where all are identified."""
        width, rank = self.root.shape
        if width == rank:
            return self.root.new_zeros(width, 0)
        if self.idle is not None:
            return _repeated(self.idle, max(len(self.equations), 1))
        return _complement(self.root, torch.linalg.vector_norm(self.triangle, dim=0))

    @property
    def df_resid(self) -> float:
        """Residual degrees of freedom, n - r; of m outputs, each an equation of its own, those of one, n - r / m."""
        return float(self.nobs - self.rank / self.outputs)

    @property
    def numbers(self) -> float:
        """n, or n m of m outputs that are equations of their own."""
        return self.fact("numbers", lambda: self.problem.numbers)

    @property
    def outputs(self) -> float:
        """m, the equations that the coefficients are shared out to in degrees of freedom; 1 but for modules of several outputs."""
        return self.numbers / self.nobs

    @property
    def df_model(self) -> float:
        """Model degrees of freedom: r, less one if there is a constant."""
        return float(self.rank - self.k_constant)

    @remembered
    def k_constant(self) -> int:
        """1 if a column, or a combination of columns, is constant."""
        count = self.constant.count
        if count is None:
            return self.fact("implicit constant", lambda: int(has_implicit_constant(self.design)))
        return count

    @property
    def constant(self) -> Constant:
        """The constant column, if there is one."""
        return self.fact("constant", lambda: self.design.constant)

    @cached_copy
    def bread(self) -> Tensor:
        """(k, k) A^-1: (X'WX)^-1 for least squares."""
        root: Tensor = held(self, "root")
        return root @ root.mT

    @cached_copy
    def dispersion(self) -> Tensor:
        """() the factor of the classical covariance: s^2 = RSS / (n - r) for least squares, 1 for a likelihood.

        Of several outputs it is the mean of their variances, RSS / (n m - r).
        """
        return dispersion(self.objective.claim, held(self, "loss"), float(self.numbers - self.rank))

    @property
    def point(self) -> Point:
        """Where rows are looked at."""
        return Point(held(self, "params"), held(self, "root"), self.bread_kind, self.well_conditioned)

    @property
    def diagnostics(self) -> Diagnostics:
        """How the fit was found, and how far it may be trusted."""
        return self.fact("diagnostics", self._diagnosed)

    def _diagnosed(self) -> Diagnostics:
        path, objective = self.path, self.objective
        scaled = self.triangle / torch.linalg.vector_norm(self.triangle, dim=0).clamp_min(1e-300)
        values = torch.linalg.svdvals(scaled)
        columns = self.sample.columns
        step = self.sample.block_rows or block_rows(sum(c[:1].numel() for c in columns), columns[0].device)
        return Diagnostics(
            route=self.route,
            derivatives=_derivatives(objective, self.bread_kind),
            bread=self.bread_kind.value,
            decrement=0.0 if path is None else path.decrement,
            iterations=0 if path is None else path.iterations,
            converged=True if path is None else path.converged,
            condition=float((values[0] / values[-1]).square()) if float(values[-1]) > 0 else math.inf,
            rank=self.rank,
            blocks=-(-len(columns[0]) // step),
            certificate=self.certificate,
        )

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
            (self.sums[term],) = self.problem.total(lambda rows: (term(rows),), self.point)
        found: Tensor = self.sums[term].clone()  # an estimator may work on it in place
        return found

    def once(self, key: Hashable, compute: Callable[[], T]) -> T:
        """Return what `compute` does, which is called the first time only that this key is asked for.

        Parameters
        ----------
        key : hashable
            What it is kept under.
        compute : callable
            Without arguments.

        Returns
        -------
        object
            What `compute` returned.
        """
        if key not in self.sums:
            self.sums[key] = compute()
        found: T = self.sums[key]
        return found

    def known(self, function: Callable[[Fit], T]) -> T:
        """Return `function` of this fit, which is called once.

        Parameters
        ----------
        function : callable
            Hashable; maps a `Fit` to what is kept.

        Returns
        -------
        object
            What `function` returned.
        """
        return self.once(function, lambda: function(self))

    def fact(self, name: str, compute: Callable[[], T]) -> T:
        """Return a number of the data that stays when the rows go.

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
        self.problem.sample.checked(whole=True)

    def without_rows(self) -> Fit:
        """Return the fit with its facts, and without the rows; a loss or a penalty that is code goes as well.

        Returns
        -------
        Fit
        """
        problem = self.problem
        given = _removed(self.given)
        sample = given if problem.sample is self.given else _removed(problem.sample)
        own = isinstance(problem.objective, RowLoss | ModelLoss)
        objective = Unstored(problem.objective.claim) if own else problem.objective
        penalty = None if problem.penalty is None else UnstoredPenalty()
        return replace(self, problem=Problem(objective, sample, penalty), given=given, sums={}, facts=dict(self.facts))

    def each(self, function: Callable[[Rows], Tensor]) -> Iterator[Tensor]:
        """Yield `function(rows)` of one row block after the other, in the order of the data.

        Parameters
        ----------
        function : callable
            Maps `Rows` to a tensor.

        Yields
        ------
        Tensor
            What it returns of the next block.
        """
        self.check_data()
        return self.problem.each(function, self.point)

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
            What it returns of the next block.
        """
        self.check_data()
        sample = self.sample
        width = sum(column[:1].numel() for column in sample.columns)
        for places in torch.split(order, sample.block_rows or block_rows(width, order.device)):
            yield from replace(self.problem, sample=sample.take(places)).each(function, self.point)

    def sum_groups(self, codes: Tensor, count: int, function: Callable[[Rows], Tensor]) -> Tensor:
        """Return (count, ...) the sums of `function(rows)`, (b, ...), over groups of rows.

        Parameters
        ----------
        codes : Tensor
            (n,) each row's group, from 0 to `count` - 1.
        count : int
            How many groups there are.
        function : callable
            Maps `Rows` to a tensor with a row for each.

        Returns
        -------
        Tensor
            (count, ...).
        """
        start, sums = 0, None
        for values in self.each(function):
            sums = values.new_zeros(count, *values.shape[1:]) if sums is None else sums
            sums.index_add_(0, codes[start : start + len(values)], values)
            start += len(values)
        assert sums is not None
        return sums

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


def fit_least_squares(design: Design, rank: Rank, also: tuple[RowSum, ...] = ()) -> Fit:
    """Fit a linear model.

    Parameters
    ----------
    design : Design
        The data.
    rank : {"pinv", "drop"}
        What becomes of dependent columns; see `solvers.least_squares`.
    also : tuple of callable
        Sums over rows that the covariance is going to ask for.

    Returns
    -------
    Fit
    """
    solution = least_squares(design, rank, also)
    dropped = len(solution.params) < design.width
    return Fit(
        problem=Problem(Gaussian(), design.select(solution.kept) if dropped else design),
        params=solution.params,
        root=solution.root,
        triangle=solution.triangle,
        loss=solution.loss,
        route=solution.route,
        well_conditioned=solution.well_conditioned,
        given=design,
        kept=solution.kept,
        sums=solution.sums,
        idle=solution.idle,
    )


def fit_index(
    objective: LinearIndex | Softmax,
    design: Design,
    bread: Bread,
    rank: Rank,
    equations: tuple[str, ...] = (),
    start: Tensor | None = None,
) -> Fit:
    """Fit a model of one linear index, or of one for each equation, by Newton's method.

    Parameters
    ----------
    objective : LinearIndex or Softmax
        The loss.
    design : Design
        The data.
    bread : Bread
        Which information the bread is the inverse of.
    rank : {"pinv", "drop"}
        What becomes of dependent columns, as in least squares.
    equations : tuple of str
        The equations' names, for softmax.
    start : Tensor, optional
        (k,) where to start; None is zero, and for large data the optimum of a sample of rows.

    Returns
    -------
    Fit

    Notes
    -----
    Unless the Gram matrix is certified, Newton works in orthonormal columns X R^-1, so that neither units nor
    collinearity cost digits or steps.
    """
    kept, triangle = column_rank(design)
    whole = len(kept) == design.width
    reduced = design if whole else design.select(kept)
    problem, count = Problem(objective, reduced), max(len(equations), 1)
    if triangle is None:
        first = _sample_start(problem, count) if start is None else start
        return _newton_fit(problem, first, bread, design, kept, equations)
    ordered = triangle if whole else kept_first(triangle, kept)
    right = ordered[: len(kept), : len(kept)]
    back = _repeated(inverse_triangle(right), count)
    orthonormal = replace(
        reduced, exog=reduced.exog.to(torch.float64) @ inverse_triangle(right), given_names=reduced.names
    )
    turned = Problem(objective, orthonormal, back=back)
    first = _first(turned, count) if start is None or not whole else _repeated(right, count) @ start
    found = _newton_fit(turned, first, bread, design, kept, equations)
    fit = replace(
        found,
        problem=problem,
        params=back @ found.params,
        root=back @ found.root,
        triangle=found.triangle @ _repeated(right, count),
        well_conditioned=False,
    )
    if whole:
        return fit
    relation = column_relation(ordered, kept)
    fit = replace(fit, idle=idle_directions(relation, kept))
    if rank == "drop":
        return fit
    relation, spread = _repeated(relation, count), _repeated(minimum_norm_map(relation), count)
    return replace(
        fit,
        problem=Problem(objective, design),
        params=spread @ fit.params,
        root=spread @ fit.root,
        triangle=torch.nn.functional.pad(fit.triangle @ relation, (0, 0, 0, len(spread) - spread.shape[1])),
    )


def fit_general(problem: Problem, start: Tensor, bread: Bread, *, polish: bool, rank: Rank | None = None) -> Fit:
    """Fit any loss from a start, or take the parameters as they are.

    Parameters
    ----------
    problem : Problem
        What to minimise.
    start : Tensor
        (k,) float64.
    bread : Bread
        Which information the bread is the inverse of.
    polish : bool
        Whether to minimise; otherwise the fit is at the start.
    rank : {"pinv"} or None
        What to do about null directions: the pseudoinverse, or an error.

    Returns
    -------
    Fit
    """
    closed = isinstance(problem.objective, LinearIndex | Softmax)
    if not closed or problem.penalty is not None:
        check_gradient(problem, start)
    if not polish:
        # Where a Hessian is by autodiff, that takes as many passes as there are parameters.
        local = problem.evaluate(start, bread if _by_autodiff(problem) else Bread.OBSERVED)
        unit = 1.0 if local.bread is Bread.OPG else noise(problem, local)
        decrement = abs(float(newton_step(local) @ local.gradient)) / unit
        path, route = Optimum(local, decrement, 0, converged=False), "as given"
    else:
        params, steps, route = (_nearer_start(problem, start) if closed else start), 0, "newton"
        if problem.objective.claim is Claim.LEAST_SQUARES and problem.penalty is None and not closed:
            params, steps = levenberg_marquardt(problem, params)
            route = "levenberg-marquardt, newton"
        elif len(params) > _MANY and not closed:
            params, steps = quasi_newton(problem, params)
            route = "quasi-newton, newton"
        path = newton(problem, params, cheap=closed)
        lost = not path.converged or not bool(path.local.information.any())
        if lost and isinstance(problem.objective, LinearIndex):
            # An untrained linear module may start where all probabilities are 0 or 1, and no digit of the curvature is left.
            path = newton(problem, _first(problem, 1), cheap=True)
        path = replace(path, iterations=path.iterations + steps)
        _check_converged(problem, path)
    return _fit_at(problem, path, bread, route, problem.sample, tuple(range(len(start))), (), rank)


def refit_without(fit: Fit, rows: Tensor) -> Tensor:
    """Return (k,) the estimates without some rows, by Newton's method from those with them.

    Parameters
    ----------
    fit : Fit
        The estimates with all rows.
    rows : Tensor
        (m,) the positions of the rows to leave out.

    Raises
    ------
    EstimationError
        The module holds its own data, or there is no estimate without them.
    """
    objective, sample = fit.objective, fit.sample
    if isinstance(objective, ModelLoss) and len(sample.columns) == 1:
        raise EstimationError(
            "The module holds its own data, so that no row can be left out; pass inputs to TorchModel, or take the one-step jackknife."
        )
    held = torch.ones(len(sample.columns[0]), dtype=torch.bool, device=rows.device).index_fill_(0, rows, False)
    try:
        return refit_on(fit, sample.take(held.nonzero().flatten()))
    except EstimationError as error:
        raise EstimationError(
            f"There is no estimate without the rows labelled {sample.row_names(rows.tolist())}: they alone keep the data from "
            "separation, or fix a coefficient; leave them out, or take the one-step jackknife, refit=False."
        ) from error


def refit_on(fit: Fit, sample: Sample) -> Tensor:
    """Return (k,) the estimates on other rows, or with other weights or targets, by Newton's method from those of the fit.

    Raises
    ------
    EstimationError
        There is no estimate.
    """
    part, start, back = sample, fit.params, None
    if isinstance(part, Design) and not fit.equations and fit.problem.penalty is None:  # in orthonormal columns XZ
        back = fit.root
        start = back.mT @ (fit.triangle.mT @ (fit.triangle @ start))
        names = tuple(map(str, range(fit.rank)))
        part = replace(part, exog=part.exog.to(torch.float64) @ back, given_names=names)
    problem = Problem(fit.objective, part, fit.problem.penalty)
    path = newton(problem, start, cheap=isinstance(fit.objective, LinearIndex))
    _check_minimum(problem, path.local)
    _check_converged(problem, path)
    return path.local.params if back is None else back @ path.local.params


def _removed(sample: Sample) -> Removed:
    """Return a sample without its rows."""
    if isinstance(sample, Removed):
        return sample
    return Removed(
        names=sample.names,
        given_names=sample.given_names if isinstance(sample, Design) else sample.names,
        container=sample.container.relabelled([]),
        endog_name=sample.endog_name,
        nobs=sample.nobs,
        place=sample.columns[0].new_empty(0),
        terms=sample.terms if isinstance(sample, Design) else None,
    )


def _newton_fit(
    problem: Problem, start: Tensor, bread: Bread, given: Sample, kept: tuple[int, ...], equations: tuple[str, ...]
) -> Fit:
    path = newton(problem, start, cheap=True)
    _check_converged(problem, path)
    return _fit_at(problem, path, bread, "newton", given, kept, equations)


def _repeated(matrix: Tensor, count: int) -> Tensor:
    """Return a block for each equation."""
    blocks_of: Tensor = torch.block_diag(*[matrix] * count)  # type: ignore[no-untyped-call]
    return blocks_of


def _fit_at(
    problem: Problem,
    path: Optimum,
    bread: Bread,
    route: str,
    given: Sample,
    kept: tuple[int, ...],
    equations: tuple[str, ...],
    rank: Rank | None = None,
) -> Fit:
    _check_minimum(problem, path.local)
    _warn_near(path)
    local = path.local if path.local.bread is bread else problem.evaluate(path.local.params, bread)
    loss = local.loss if problem.penalty is None else local.loss - problem.penalty(local.params)
    root, triangle, sound = _root(problem, local, bread, rank)
    if bread is Bread.OPG:  # the scores of the log-likelihood are those of the loss over the dispersion
        factor = dispersion(problem.objective.claim, loss, float(problem.numbers - root.shape[1])).sqrt()
        root, triangle = root * factor, triangle / factor
    return Fit(
        problem,
        local.params,
        root,
        triangle,
        loss,
        route,
        sound,
        given,
        kept,
        bread,
        equations,
        replace(path, local=local),
        _certificate(problem, local.params, triangle) if bread is Bread.OBSERVED else None,
    )


def _certificate(problem: Problem, params: Tensor, triangle: Tensor) -> float | None:
    found = problem.certificate(params, triangle.mT @ triangle)
    if found is not None and not found < _UNCERTAIN:
        raise EstimationError(
            f"Two computations of the Hessian differ by {found:.1g} of it, so neither can be trusted; look for a module that is not "
            "twice differentiable, or whose output is not the same at every call."
        )
    if found is not None:
        check_hessian(problem, params, triangle.mT @ triangle)
    return found


def _root(problem: Problem, local: Local, bread: Bread, rank: Rank | None) -> tuple[Tensor, Tensor, bool]:
    """Return Z with Z Z' = A^-1, R with R'R = A, and whether the columns' products keep their digits."""
    closed = isinstance(problem.objective, LinearIndex | Softmax)
    scale = unit_scale(local.information)
    scaled = local.information / scale / scale[:, None]
    if not closed and rank is None:
        _check_moves(problem, local, scale)
    if closed and certified(scaled):
        triangle = torch.linalg.cholesky(scaled).mT * scale
        return inverse_triangle(triangle), triangle, True
    by_rows = None if problem.penalty is not None else _triangle_by_rows(problem, local.params, bread)
    if by_rows is not None and _full_rank(by_rows):
        return inverse_triangle(by_rows), by_rows, False
    if not bool(local.information.any()):
        raise EstimationError(
            "The loss has no curvature at all, so its Hessian gives no standard error: an absolute loss or a quantile's has "
            "none, nor has nn.NLLLoss in its outputs, nor a sigmoid far from zero. Use a smooth loss, such as nn.HuberLoss() or "
            "nn.MSELoss(), other starting values, or another bread."
        )
    spectrum, vectors = torch.linalg.eigh(scaled)
    held = spectrum > _NULL * spectrum[-1]
    if bool(held.all()):
        triangle = torch.linalg.cholesky(scaled).mT * scale
        return inverse_triangle(triangle), triangle, False
    if rank != "pinv":
        raise EstimationError(_null_sentence(problem, vectors[:, ~held], scale))
    spectrum, vectors = torch.linalg.eigh(local.information)
    held = spectrum > _NULL * spectrum[-1]
    triangle = (vectors * spectrum.clamp_min(0.0).sqrt()).mT
    return vectors[:, held] * spectrum[held].rsqrt(), triangle, False


def _complement(root: Tensor, sizes: Tensor) -> Tensor:
    """Return (k, k - r) N with Z'N = 0, found in parameters that are measured by the `sizes` of their columns."""
    sizes = torch.where(sizes > 0, sizes, torch.ones_like(sizes))
    scaled = root / sizes[:, None]
    left = torch.linalg.svd(scaled / torch.linalg.vector_norm(scaled, dim=0), full_matrices=True)[0]
    idle = left[:, root.shape[1] :]
    idle = torch.where(idle.abs() > _FAINT * idle.abs().amax(0), idle, torch.zeros_like(idle))
    return idle / sizes[:, None]


def _full_rank(triangle: Tensor) -> bool:
    norms = torch.linalg.vector_norm(triangle, dim=0)
    return bool((norms > 0).all()) and bool(torch.linalg.svdvals(triangle / norms)[-1] > _NULL)


def _check_moves(problem: Problem, local: Local, scale: Tensor) -> None:
    """Refuse a parameter of which even its whole size moves nothing, as where an exponential has vanished."""
    reach = scale * (1.0 + local.params.abs())
    idle = (reach <= _IDLE * reach.max()) | (local.information.diagonal() == 0)
    if not bool(idle.any()) or not bool(local.information.any()):
        return
    names = [problem.sample.names[i] for i in idle.nonzero().flatten().tolist()]
    raise EstimationError(
        f"The loss does not depend on {listed(names)} at {'these values' if len(names) > 1 else 'this value'}, so it says nothing "
        "about them. Start elsewhere, fix them with requires_grad_(False), leave them out of params=[...], or add a penalty=."
    )


def _triangle_by_rows(problem: Problem, params: Tensor, bread: Bread) -> Tensor | None:
    """Return R by TSQR of rows W with W'W = A, where the objective has them: twice the digits of the sum."""
    at = Point(params, params.new_empty(0), bread)
    factors: list[Tensor] = []
    for part in problem.each(lambda rows: _triangle_of_rows(rows.whitened(bread)), at):
        if part is None:
            return None
        factors.append(part)
    joint = joined_triangle(factors)
    return joint if len(joint) == len(params) and bool(torch.isfinite(joint).all()) else None


def _triangle_of_rows(rows: Tensor | None) -> Tensor | None:
    return None if rows is None else triangle_of(rows)


def _check_minimum(problem: Problem, local: Local) -> None:
    """Refuse a point where the Hessian is not finite, or curves downward; whatever the bread is going to be."""
    if not are_finite(local.information):
        raise EstimationError(
            "The second derivatives of the loss are not finite at these parameters; pass parameters where they are."
        )
    scale = unit_scale(local.information)
    if local.bread is not Bread.OBSERVED:
        _check_upward(problem, local, scale)
        return
    if not int(torch.linalg.cholesky_ex(local.information).info):
        return
    scaled = local.information / scale / scale[:, None]
    spectrum = torch.linalg.eigvalsh(scaled)
    if float(spectrum[0]) < -_DOWNWARD * max(-float(spectrum[0]), float(spectrum[-1])):
        vectors = torch.linalg.eigh(scaled)[1]
        _refuse_downward(problem, vectors[:, 0] / scale, scale, f"of {float(spectrum[0]):.3g}")


def _check_upward(problem: Problem, local: Local, scale: Tensor) -> None:
    """Check a minimum without a Hessian, by its products; where these do not tell, by the Hessian."""
    params = local.params
    lowest = lowest_curvature(
        lambda direction: problem.hessian_product(params, direction),
        local.information,
        scale,
        max(_MANY, len(params) // 4),
    )
    if lowest is not None and lowest.certain:
        return
    if lowest is not None:
        along = lowest.direction
        share = float(along @ problem.hessian_product(params, along) / (along * scale).square().sum())
        if share < -_DOWNWARD * len(params):  # no eigenvalue of a unit diagonal is larger than their number
            _refuse_downward(problem, along, scale, f"below {0.99 * share:.3g}")
    _check_minimum(problem, problem.evaluate(params, Bread.OBSERVED))


def _by_autodiff(problem: Problem) -> bool:
    """Tell whether a Hessian takes a backward pass for each parameter."""
    objective = problem.objective
    return isinstance(objective, RowLoss) or (isinstance(objective, ModelLoss) and not objective.affine)


def _refuse_downward(problem: Problem, along: Tensor, scale: Tensor, eigenvalue: str) -> NoReturn:
    raise EstimationError(
        f"This is not a minimum: the loss curves downward along {parameters_along(problem, along[:, None], scale)} (the scaled Hessian has an "
        f"eigenvalue {eigenvalue}). Start elsewhere, add a penalty=, or fit with polish=True where the parameters were taken as given."
    )


def _null_sentence(problem: Problem, scaled: Tensor, scale: Tensor) -> str:
    count, names = scaled.shape[1], parameters_along(problem, scaled / scale[:, None], scale)
    return (
        f"The loss is flat in {counted(count, 'direction')} of {names}, so these parameters are not "
        "identified separately. Leave some out of params=[...], fix them with requires_grad_(False), add a penalty=, or pass "
        "rank='pinv' for the solution of least norm."
    )


def _sample_start(problem: Problem, count: int) -> Tensor:
    """Return the optimum of a sample of rows, where there are so many that it saves steps."""
    part = _every_row_of_many(problem)
    return _first(problem, count) if part is None else _optimum_or(part, _first(part, count))


def _nearer_start(problem: Problem, start: Tensor) -> Tensor:
    """Return the optimum of a sample of rows, unless a start is about as near to that of them all."""
    part = None if problem.penalty is not None else _every_row_of_many(problem)
    if part is None:
        return start
    local = part.evaluate(start, Bread.OBSERVED)
    distance = abs(float(newton_step(local) @ local.gradient)) / noise(part, local)
    return start if distance < _AS_NEAR * len(start) else _optimum_or(part, start)


def _every_row_of_many(problem: Problem) -> Problem | None:
    """Return the problem of every so many rows; None where there are few."""
    design = problem.sample
    assert isinstance(design, Design)
    every = design.rows // _SAMPLE_ROWS
    return None if every < 4 else Problem(problem.objective, design.every(every))


def _optimum_or(part: Problem, first: Tensor) -> Tensor:
    """Return the optimum of a sample, or where that is looked for from, if there is none."""
    try:
        path = newton(part, first, cheap=True)
    except EstimationError:  # a rare category may separate the sample and not the data
        return first
    return path.local.params if path.converged and bool(torch.isfinite(path.local.params).all()) else first


def _first(problem: Problem, count: int) -> Tensor:
    """Return zeros, or one step of weighted least squares from an index near each target, whichever has the lower loss.

    The step goes along with the units of y, of weights, offsets and exposures, from which zeros may be too far.

    References
    ----------
    McCullagh and Nelder (1989), Generalized Linear Models, section 2.5.
    """
    objective, design = problem.objective, problem.sample
    assert isinstance(design, Design)
    zero = torch.zeros(design.width * count, dtype=torch.float64, device=design.exog.device)
    if not isinstance(objective, LinearIndex):
        return zero
    scale = times(torch.ones_like(zero[:1]).expand(design.rows), design.weights, design.counts)
    mean = (scale * design.endog).sum() / scale.sum()
    at = Point(zero, zero[:0])
    information, moments = problem.total(lambda rows: index_rows(rows).first_step(mean), at)
    step = newton_step(Local(zero, mean, -moments, information))
    if not are_finite(step):
        return zero
    near, far = float(problem.loss(step)), float(problem.loss(zero))
    return step if math.isfinite(near) and not near > far else zero


def _check_converged(problem: Problem, path: Optimum) -> None:
    if not path.converged:
        raise EstimationError(
            f"The solver stopped after {counted(path.iterations, 'step')} at a distance of {path.decrement**0.5:.2g} standard errors from "
            f"an optimum. {why_stopped(problem, path)}"
        )


def _warn_near(path: Optimum) -> None:
    """Warn of an optimum that is near enough for standard errors, and was not reached."""
    distance = f"The parameters are {path.decrement**0.5:.2g} standard errors from the optimum"
    if path.converged and path.decrement > _THOUSANDTH:
        warnings.warn(
            f"{distance}, as near as rounding lets them come: residuals, or the standard errors themselves, are of its size, and have few correct "
            "digits.",
            ConvergenceWarning,
            stacklevel=user_level(),
        )
    elif path.converged and path.limited:
        warnings.warn(
            f"{distance}, where the solver stopped after {counted(path.iterations, 'step')}: it is near enough for standard errors, but the loss "
            "is nearly flat there. A penalty=, or fewer parameters, would make it certain.",
            ConvergenceWarning,
            stacklevel=user_level(),
        )


def _derivatives(objective: Objective, bread: Bread) -> str:
    if isinstance(objective, LinearIndex | Softmax):
        return "closed form of a linear index"
    assert isinstance(objective, RowLoss | ModelLoss)
    scores = f"scores by {objective.route.value}"
    if isinstance(objective, ModelLoss) and objective.affine:
        return f"{scores}, Hessian J' l'' J of outputs that are linear in the parameters"
    kind = {
        Bread.OBSERVED: "Hessian by double backward",
        Bread.EXPECTED: "Fisher's information from the outputs' Jacobian",
        Bread.GAUSS_NEWTON: "Gauss-Newton from the outputs' Jacobian",
        Bread.OPG: "outer products of the scores",
    }
    return f"{scores}, {kind[bread]}"
