"""Any loss from a start, or at parameters that were found elsewhere."""

from __future__ import annotations

from dataclasses import replace

from torch import Tensor

from betahat.calculus.problem import Problem
from betahat.calculus.rows import Bread
from betahat.data.turned import every
from betahat.fits.at_optimum import MANY, check_converged, fit_of, taken_at
from betahat.fits.fit import Fit
from betahat.fits.index import first_params, nearer_start
from betahat.solvers.least_squares import Rank
from betahat.solvers.levenberg_marquardt import levenberg_marquardt
from betahat.solvers.newton import newton
from betahat.solvers.quasi_newton import quasi_newton
from betahat.solvers.slopes import check_gradient

# Rows that are enough to compare a gradient with the values of a loss.
_SOME = 2**12


def fit_general(problem: Problem, start: Tensor, bread: Bread, *, polish: bool, rank: Rank | None = None) -> Fit:
    """Fit any loss from a (k,) start, or, without `polish`, take the start as it is; `rank` "pinv" allows null directions."""
    closed = problem.objective.closed_form
    if not closed or problem.penalty is not None:
        check_gradient(_of_some_rows(problem), start)
    if not polish:
        path, route = taken_at(problem, start, bread), "as given"
    else:
        params, steps, route = (nearer_start(problem, start) if closed else start), 0, "newton"
        if problem.objective.dispersion.squares and problem.penalty is None and not closed:
            params, steps = levenberg_marquardt(problem, params)
            route = "levenberg-marquardt, newton"
        elif len(params) > MANY and not closed:
            params, steps = quasi_newton(problem, params)
            route = "quasi-newton, newton"
        path = newton(problem, params, cheap=closed)
        lost = not path.converged or not bool(path.local.information.any())
        if lost and closed:
            # An untrained linear module may start where all probabilities are 0 or 1, and no digit of the curvature is left.
            path = newton(problem, first_params(problem), cheap=True)
        path = replace(path, iterations=path.iterations + steps)
        check_converged(problem, path)
    return fit_of(problem, path, bread, route, problem.sample, tuple(range(len(start))), rank)


def _of_some_rows(problem: Problem) -> Problem:
    """Return the problem of every so many-th row, where rows are read anew on each pass: a function is the same for all of them."""
    sample = problem.sample
    if sample.source.stream is None:
        return problem
    return replace(problem, sample=replace(sample, source=every(sample.source, max(sample.rows // _SOME, 1))))
