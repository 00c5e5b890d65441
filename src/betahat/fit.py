"""`Fit`: what the solver found, and what may be asked of it. It knows no covariance."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property

from torch import Tensor

from betahat.calculus import Rows, rows_of
from betahat.data.blocks import Block, gather, total
from betahat.data.design import Constant, Design
from betahat.objectives.base import LinearIndex
from betahat.objectives.gaussian import Gaussian
from betahat.solvers.least_squares import (
    Rank,
    RowSum,
    has_implicit_constant,
    least_squares,
)


@dataclass(frozen=True, eq=False)
class Fit:
    """An objective at its optimum on a design.

    Attributes
    ----------
    objective : LinearIndex
        The loss, its derivatives and its dispersion rule.
    design : Design
        The rows and the columns that have a coefficient.
    params : Tensor
        (k,) float64.
    root : Tensor
        (k, r) Z; the bread A^-1 is Z Z'.
    triangle : Tensor
        (k, k) R with R'R = A.
    loss : Tensor
        () the sum of the losses.
    route : str
        How the solver got there.
    well_conditioned : bool
        Whether sums of products of the columns themselves keep their digits.
    given : Design
        The design as the user gave it, aliased columns included.
    kept : tuple of int
        The columns of `given` with an independent part; under `rank="drop"` the ones in `design`.
    sums : dict
        Sums over rows that are known already; `sum_rows` adds to it.
    """

    objective: LinearIndex
    design: Design
    params: Tensor
    root: Tensor
    triangle: Tensor
    loss: Tensor
    route: str
    well_conditioned: bool
    given: Design
    kept: tuple[int, ...]
    sums: dict[RowSum, Tensor] = field(default_factory=dict, repr=False)

    def __repr__(self) -> str:
        """Name the objective, the size and the route."""
        return f"<Fit: {type(self.objective).__name__}, n = {self.nobs}, k = {len(self.params)}, rank {self.rank}, by {self.route}>"

    @property
    def nobs(self) -> int:
        """The number of rows, n."""
        return self.design.nobs

    @property
    def rank(self) -> int:
        """The number of independent columns, r."""
        return len(self.kept)

    @property
    def df_resid(self) -> float:
        """Residual degrees of freedom, n - r."""
        return float(self.nobs - self.rank)

    @property
    def df_model(self) -> float:
        """Model degrees of freedom: r, less one if there is a constant."""
        return float(self.rank - self.k_constant)

    @cached_property
    def k_constant(self) -> int:
        """1 if a column, or a combination of columns, is constant."""
        count = self.constant.count
        return int(has_implicit_constant(self.design)) if count is None else count

    @property
    def constant(self) -> Constant:
        """The constant column, if there is one."""
        return self.design.constant

    @cached_property
    def bread(self) -> Tensor:
        """(k, k) A^-1: (X'WX)^-1 for least squares."""
        return self.root @ self.root.mT

    @cached_property
    def dispersion(self) -> Tensor:
        """() the factor of the classical covariance: s^2 = RSS / (n - r) for least squares."""
        return self.objective.dispersion(self.loss, self.df_resid)

    def sum_rows(self, term: RowSum) -> Tensor:
        """Sum `term(rows)` over all rows, once: the same term, asked again, costs nothing.

        Parameters
        ----------
        term : callable
            Hashable; maps `Rows` to a tensor.

        Returns
        -------
        Tensor
        """
        if term not in self.sums:
            (self.sums[term],) = total(lambda block: (term(self._rows(block)),), *self.design.columns)
        return self.sums[term]

    def map_rows(self, function: Callable[[Rows], Tensor]) -> Tensor:
        """Concatenate `function(rows)`: one row out for each row of the data."""
        return gather(lambda block: function(self._rows(block)), *self.design.columns)

    def _rows(self, block: Block) -> Rows:
        return rows_of(block, self.objective, self.params, self.root, self.well_conditioned)


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
        objective=Gaussian(),
        design=design.select(solution.kept) if dropped else design,
        params=solution.params,
        root=solution.root,
        triangle=solution.triangle,
        loss=solution.loss,
        route=solution.route,
        well_conditioned=solution.well_conditioned,
        given=design,
        kept=solution.kept,
        sums=solution.sums,
    )
